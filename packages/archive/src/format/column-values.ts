/** One column of one row group, read back: the reverse of column-chunk.ts, and no more than that. */
import type { ColumnMetaData, PageHeader } from 'hyparquet'
import { parquetHeader } from 'hyparquet/src/column.js'
import { readRleBitPackedHybrid } from 'hyparquet/src/encoding.js'
import { decompress, type Codec } from './codec.js'
import { decodeDelta } from './delta.js'
import { expandDictionary } from './dictionary.js'
import { ArchiveMismatch } from './format-error.js'
import { definitionMask, layouts, repetitionShift, valueLevel } from './layout.js'
import type { ArchivedColumn } from './types.js'

export interface ColumnValues {
  readonly column: ArchivedColumn
  /** See layout.ts. */
  readonly levels: Uint8Array
  /** Plain bytes. */
  readonly values: Uint8Array
}

/** Deflate cannot do better (https://zlib.net/zlib_tech.html): a page that claims to is not made room for. */
const deflateRatio = 1_032
/** No row group of ours comes near it, a single value may: PostgreSQL's own limit is 1 GiB. */
const maxPageBytes = 2 ** 31 - 1

/** @throws ArchiveMismatch when this is no chunk of ours */
export async function readColumnValues(
  file: Uint8Array,
  metadata: ColumnMetaData,
  column: ArchivedColumn,
  rowCount: number,
): Promise<ColumnValues> {
  try {
    return await readChunk(file, metadata, column, rowCount)
  } catch (cause) {
    if (cause instanceof ArchiveMismatch) throw cause
    throw new ArchiveMismatch(`column '${column.name}' cannot be decoded`, { cause })
  }
}

async function readChunk(
  file: Uint8Array,
  metadata: ColumnMetaData,
  column: ArchivedColumn,
  rowCount: number,
): Promise<ColumnValues> {
  const start = Number(metadata.dictionary_page_offset ?? metadata.data_page_offset)
  const chunk = file.subarray(start, start + Number(metadata.total_compressed_size))
  const pages = new PageReader(chunk, metadata.codec)
  const dictionary = metadata.dictionary_page_offset === undefined ? undefined : await pages.dictionary()
  const { width } = layouts[column.encoding]
  const page = pages.data()
  // Before anything is made that large.
  if (BigInt(page.valueCount) !== metadata.num_values || (!column.list && page.valueCount !== rowCount))
    throw new RangeError('another number of entries')
  const levels = readLevels(page, column)
  const count = countValues(levels, column)
  if (countRows(levels, column) !== rowCount) throw new RangeError('another number of rows')
  const bytes = await page.values()
  const values = ((): Uint8Array => {
    if (page.encoding === 'DELTA_BINARY_PACKED' && (width === 4 || width === 8)) return decodeDelta(bytes, width, count)
    if (page.encoding === 'RLE_DICTIONARY' && dictionary) {
      const indexes = new Uint16Array(count)
      // Any array of numbers will do, whatever its type says.
      const output = indexes as unknown as Uint32Array
      readRleBitPackedHybrid(readerOf(bytes.subarray(1)), bytes[0] ?? 0, output, bytes.length - 1)
      return expandDictionary(dictionary.bytes, width, dictionary.count, indexes)
    }
    if (page.encoding !== 'PLAIN') throw new RangeError(`encoded as ${page.encoding}`)
    return column.encoding === 'boolean' ? unpackBooleans(bytes, count) : bytes
  })()
  assertPlain(values, width, count)
  return { column, levels, values }
}

interface DataPage {
  readonly encoding: string
  readonly valueCount: number
  readonly repetitions: Uint8Array
  readonly definitions: Uint8Array
  values(): Promise<Uint8Array>
}

class PageReader {
  #at = 0
  readonly #chunk: Uint8Array
  readonly #codec: string

  constructor(chunk: Uint8Array, codec: string) {
    this.#chunk = chunk
    this.#codec = codec
  }

  async dictionary(): Promise<{ readonly bytes: Uint8Array; readonly count: number }> {
    const { header, body } = this.#next()
    const { dictionary_page_header: dictionary } = header
    if (dictionary === undefined) throw new RangeError('no dictionary where one should be')
    return { bytes: await this.#decompress(body, header.uncompressed_page_size), count: dictionary.num_values }
  }

  data(): DataPage {
    const { header, body } = this.#next()
    const { data_page_header_v2: page } = header
    if (page === undefined || this.#at !== this.#chunk.length) throw new RangeError('pages of another kind')
    const levelsFrom = page.repetition_levels_byte_length
    const valuesFrom = levelsFrom + page.definition_levels_byte_length
    const values = body.subarray(valuesFrom)
    return {
      encoding: page.encoding,
      valueCount: page.num_values,
      repetitions: body.subarray(0, levelsFrom),
      definitions: body.subarray(levelsFrom, valuesFrom),
      values: async () =>
        page.is_compressed === false ? values : this.#decompress(values, header.uncompressed_page_size - valuesFrom),
    }
  }

  #next(): { readonly header: PageHeader; readonly body: Uint8Array } {
    const reader = readerOf(this.#chunk)
    reader.offset = this.#at
    const header = parquetHeader(reader)
    this.#at = reader.offset + header.compressed_page_size
    if (header.compressed_page_size < 0 || this.#at > this.#chunk.length) throw new RangeError('a page that is cut')
    return { header, body: this.#chunk.subarray(reader.offset, this.#at) }
  }

  async #decompress(bytes: Uint8Array, sizeBytes: number): Promise<Uint8Array> {
    const largest = this.#codec === 'GZIP' ? bytes.length * deflateRatio : maxPageBytes
    if (sizeBytes < 0 || sizeBytes > largest) throw new RangeError(`a page of ${sizeBytes} bytes`)
    if (this.#codec === 'UNCOMPRESSED') return bytes
    if (this.#codec !== 'GZIP' && this.#codec !== 'ZSTD') throw new RangeError(`compressed with ${this.#codec}`)
    const codec: Codec = this.#codec
    const page = await decompress(bytes, codec, sizeBytes)
    if (page.length !== sizeBytes) throw new RangeError(`a page of ${page.length} bytes instead of ${sizeBytes}`)
    return page
  }
}

const readerOf = (bytes: Uint8Array): { view: DataView; offset: number } => ({
  view: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength),
  offset: 0,
})

function readLevels({ valueCount, definitions, repetitions }: DataPage, { list }: ArchivedColumn): Uint8Array {
  const levels = new Uint8Array(valueCount)
  readRleBitPackedHybrid(readerOf(definitions), list ? 2 : 1, levels, definitions.length)
  if (!list) return levels
  const repeated = new Uint8Array(valueCount)
  readRleBitPackedHybrid(readerOf(repetitions), 1, repeated, repetitions.length)
  for (let index = 0; index < valueCount; index++)
    levels[index] = (levels[index] ?? 0) | ((repeated[index] ?? 0) << repetitionShift)
  return levels
}

function countValues(levels: Uint8Array, { list }: ArchivedColumn): number {
  const level = valueLevel(list)
  let count = 0
  for (let index = 0; index < levels.length; index++) if (((levels[index] ?? 0) & definitionMask) === level) count++
  return count
}

function countRows(levels: Uint8Array, { list }: ArchivedColumn): number {
  if (!list) return levels.length
  let count = 0
  for (let index = 0; index < levels.length; index++) if ((levels[index] ?? 0) >>> repetitionShift === 0) count++
  return count
}

function unpackBooleans(bytes: Uint8Array, count: number): Uint8Array {
  if (bytes.length !== Math.ceil(count / 8)) throw new RangeError('another number of values')
  const values = new Uint8Array(count)
  for (let index = 0; index < count; index++) values[index] = ((bytes[index >>> 3] ?? 0) >>> (index & 7)) & 1
  return values
}

/** Values without a width of their own are walked through: their lengths must lead to the end exactly. */
function assertPlain(values: Uint8Array, width: number, count: number): void {
  let end = width * count
  if (width === 0) {
    const view = new DataView(values.buffer, values.byteOffset, values.byteLength)
    for (let index = 0; index < count; index++) end += 4 + view.getUint32(end, true)
  }
  if (end !== values.length) throw new RangeError('another number of values')
}
