/** One column of one row group as Parquet has it: at most one page with a dictionary, then one page with everything else. */
import type { ColumnMetaData, Encoding, Statistics } from 'hyparquet'
import { ByteWriter } from 'hyparquet-writer/src/bytewriter.js'
import { writePageHeader } from 'hyparquet-writer/src/datapage.js'
import { writeRleBitPackedHybrid } from 'hyparquet-writer/src/encoding.js'
import { isCompressible, type Compressor } from './codec.js'
import type { ColumnBuffer } from './column-buffer.js'
import { canBeDelta, encodeDelta, integerRange, type IntegerRange } from './delta.js'
import { buildDictionary, type Dictionary } from './dictionary.js'
import { definitionMask, layouts, pathOf, repetitionShift, valueLevel } from './layout.js'

export interface EncodedChunk {
  readonly pieces: readonly Uint8Array[]
  readonly sizeBytes: number
  /** @param offset where the chunk begins in the file */
  metadata(offset: number): ColumnMetaData
}

interface EncodedValues {
  readonly encoding: Encoding
  readonly bytes: Uint8Array
  readonly dictionary?: Dictionary
}

/** Bytes of a difference that no dictionary has to be tried against. */
const smallDifference = 1.25
/** Less gain than this is not worth the reader's time. */
const worthwhileShare = 0.95

/** Reads `buffer` until the promise is settled. */
export async function encodeChunk(
  buffer: ColumnBuffer,
  rowCount: number,
  compressor: Compressor,
): Promise<EncodedChunk> {
  const { column, levelCount, absentCount } = buffer
  const { type } = layouts[column.encoding]
  const range = rangeOf(buffer)
  const values = encodeValues(buffer, range)
  const { dictionary } = values
  const [data, dictionaryBytes] = await Promise.all([
    compressIfWorthwhile(values.bytes, compressor),
    dictionary && compressIfWorthwhile(dictionary.bytes, compressor),
  ])
  const chunkCodec = data.compressed || dictionaryBytes?.compressed === true ? compressor.codec : 'UNCOMPRESSED'
  const pieces: Uint8Array[] = []
  let uncompressedBytes = 0
  let sizeBytes = 0
  const add = (header: Uint8Array, body: readonly Uint8Array[], uncompressedBodyBytes: number): void => {
    pieces.push(header, ...body)
    uncompressedBytes += header.length + uncompressedBodyBytes
    for (const { length } of [header, ...body]) sizeBytes += length
  }

  if (dictionary && dictionaryBytes) {
    // A dictionary's page has no flag of its own: it is compressed whenever the chunk is.
    const { length } = dictionary.bytes
    const stored =
      chunkCodec === 'UNCOMPRESSED' || dictionaryBytes.compressed
        ? dictionaryBytes.bytes
        : await compressor.compress(dictionary.bytes)
    add(
      header((writer) =>
        writePageHeader(writer, {
          type: 'DICTIONARY_PAGE',
          uncompressed_page_size: length,
          compressed_page_size: stored.length,
          dictionary_page_header: { num_values: dictionary.count, encoding: 'PLAIN' },
        }),
      ),
      [stored],
      length,
    )
  }
  const dataPageOffset = sizeBytes
  const repetitions = column.list ? encodeRepetitions(buffer) : new Uint8Array(0)
  const definitions = encodeDefinitions(buffer)
  const levelBytes = repetitions.length + definitions.length
  add(
    header((writer) =>
      writePageHeader(writer, {
        type: 'DATA_PAGE_V2',
        uncompressed_page_size: levelBytes + values.bytes.length,
        compressed_page_size: levelBytes + data.bytes.length,
        data_page_header_v2: {
          num_values: levelCount,
          num_nulls: absentCount,
          num_rows: rowCount,
          encoding: values.encoding,
          definition_levels_byte_length: definitions.length,
          repetition_levels_byte_length: repetitions.length,
          is_compressed: data.compressed,
        },
      }),
    ),
    [repetitions, definitions, data.bytes],
    levelBytes + values.bytes.length,
  )
  return {
    pieces,
    sizeBytes,
    metadata: (offset) => ({
      type,
      encodings: dictionary ? ['PLAIN', 'RLE', values.encoding] : ['RLE', values.encoding],
      path_in_schema: pathOf(column),
      codec: chunkCodec,
      num_values: BigInt(levelCount),
      total_uncompressed_size: BigInt(uncompressedBytes),
      total_compressed_size: BigInt(sizeBytes),
      data_page_offset: BigInt(offset + dataPageOffset),
      ...(dictionary && { dictionary_page_offset: BigInt(offset) }),
      statistics: statisticsOf(buffer, range),
    }),
  }
}

function header(write: (writer: ByteWriter) => void): Uint8Array {
  const writer = new ByteWriter(64)
  write(writer)
  return writer.getBytes()
}

const isInteger = ({ column: { encoding } }: ColumnBuffer): boolean =>
  layouts[encoding].type === 'INT32' || layouts[encoding].type === 'INT64'

function rangeOf(buffer: ColumnBuffer): IntegerRange | undefined {
  if (!isInteger(buffer)) return undefined
  return integerRange(buffer.values.used, layouts[buffer.column.encoding].width as 4 | 8)
}

function statisticsOf(buffer: ColumnBuffer, range: IntegerRange | undefined): Statistics {
  const counted = { null_count: BigInt(buffer.absentCount) }
  if (range === undefined) return counted
  const bound = (value: number): number | bigint =>
    layouts[buffer.column.encoding].type === 'INT64' ? BigInt(value) : value
  return { ...counted, min_value: bound(range.min), max_value: bound(range.max) }
}

/** The smallest of what can be had for the type: a dictionary, differences, or the values as they are. */
function encodeValues(buffer: ColumnBuffer, range: IntegerRange | undefined): EncodedValues {
  const { type, width } = layouts[buffer.column.encoding]
  const { used, count } = buffer.values
  if (type === 'BOOLEAN') return { encoding: 'PLAIN', bytes: packBooleans(used) }
  const plain: EncodedValues = { encoding: 'PLAIN', bytes: used }
  let differences: EncodedValues | undefined
  if (range !== undefined && canBeDelta(range, width as 4 | 8)) {
    differences = { encoding: 'DELTA_BINARY_PACKED', bytes: encodeDelta(used, width as 4 | 8) }
    if (differences.bytes.length < count * smallDifference) return differences
  }
  const dictionary = buildDictionary(used, width, count)
  const indexBytes = dictionary === undefined ? 0 : Math.ceil((count * dictionary.bitWidth) / 8)
  const dictionaryBytes = dictionary === undefined ? Infinity : dictionary.bytes.length + indexBytes
  if (differences && differences.bytes.length < Math.min(used.length, dictionaryBytes)) return differences
  // Compression finds repeated values, too, so a dictionary has to be clearly better.
  if (dictionary === undefined || dictionaryBytes > used.length / 2) return plain
  return { encoding: 'RLE_DICTIONARY', bytes: packIndexes(dictionary, indexBytes), dictionary }
}

function packIndexes({ indexes, bitWidth }: Dictionary, expectedBytes: number): Uint8Array {
  const writer = new ByteWriter(expectedBytes + 64)
  writer.appendUint8(bitWidth)
  // Any array of numbers will do, whatever its type says.
  writeRleBitPackedHybrid(writer, indexes as unknown as Uint32Array, bitWidth)
  return writer.getBytes()
}

function packBooleans(values: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(Math.ceil(values.length / 8))
  for (let index = 0; index < values.length; index++) {
    if (values[index] === 1) bytes[index >>> 3] = (bytes[index >>> 3] ?? 0) | (1 << (index & 7))
  }
  return bytes
}

function encodeDefinitions({ column, levels, levelCount, absentCount }: ColumnBuffer): Uint8Array {
  if (absentCount > 0) return encodeLevels(levels, levelCount, column.list ? 2 : 1, 0, definitionMask)
  // One run, as in most columns.
  const writer = new ByteWriter(16)
  writer.appendVarInt(levelCount * 2)
  writer.appendUint8(valueLevel(column.list))
  return writer.getBytes()
}

function encodeRepetitions({ levels, levelCount }: ColumnBuffer): Uint8Array {
  return encodeLevels(levels, levelCount, 1, repetitionShift, 1)
}

function encodeLevels(levels: Uint8Array, count: number, bitWidth: number, shift: number, mask: number): Uint8Array {
  const parts = new Uint8Array(count)
  for (let index = 0; index < count; index++) parts[index] = ((levels[index] ?? 0) >>> shift) & mask
  const writer = new ByteWriter(64 + Math.ceil((count * bitWidth) / 8))
  writeRleBitPackedHybrid(writer, parts, bitWidth)
  return writer.getBytes()
}

interface Compressed {
  readonly bytes: Uint8Array
  readonly compressed: boolean
}

async function compressIfWorthwhile(bytes: Uint8Array, compressor: Compressor): Promise<Compressed> {
  if (bytes.length > 0 && isCompressible(bytes)) {
    const smaller = await compressor.compress(bytes)
    if (smaller.length < bytes.length * worthwhileShare) return { bytes: smaller, compressed: true }
  }
  // A copy: the buffer is filled with the next row group while this waits for its file.
  return { bytes: bytes.slice(), compressed: false }
}
