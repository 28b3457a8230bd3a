/** Rows as COPY sends them become Parquet files of a bounded size, in bounded memory. */
import { createHash } from 'node:crypto'
import { ByteWriter } from 'hyparquet-writer/src/bytewriter.js'
import { writeMetadata } from 'hyparquet-writer/src/metadata.js'
import type { RowGroup as RowGroupMetadata } from 'hyparquet'
import { Compressor, defaultCodec, type Codec } from './codec.js'
import { ColumnChecksum } from './column-checksum.js'
import { CopyDecoder } from './copy-decoder.js'
import { GuardBuffer } from './guard-buffer.js'
import { schemaOf } from './layout.js'
import { formatObjectMetadata, metadataKey, namedChecksums } from './object-metadata.js'
import { RowGroup, rowGroupMetadata, type EncodedRowGroup } from './row-group.js'
import type { ArchivedColumn, EncodedObject } from './types.js'

export interface EncodeOptions {
  readonly columns: readonly ArchivedColumn[]
  /** How many columns come before those, as text: see `archiveSelect`. */
  readonly guardCount: number
  /** COPY … TO STDOUT (FORMAT binary), in chunks cut anywhere. */
  readonly source: AsyncIterable<Uint8Array>
  /** Bytes of rows as they come, after which an object ends. A longer row is an object of its own. Default: 8 MiB. */
  readonly maxObjectBytes?: number
  /** The same for a row group; two are in memory at a time. Default: 2 MiB. */
  readonly rowGroupBytes?: number
  /** Goes into the footer of each file, beside what the format needs itself. */
  readonly metadata?: Readonly<Record<string, string>>
  /** Default: ZSTD where node has it, else GZIP. */
  readonly codec?: Codec
}

const defaultObjectBytes = 8 * 1024 * 1024
const defaultRowGroupBytes = 2 * 1024 * 1024
const magic = Uint8Array.from([0x50, 0x41, 0x52, 0x31])
const createdBy = 'battlescope-archive version 1'

/**
 * Encodes the rows of one COPY, in their order. Without rows there is no object.
 * @throws UnrepresentableValue when a column has to be encoded as text: everything from this call is then to be thrown away
 * @throws CopyFormatError when the bytes are not those of the planned columns, or have no end
 */
export async function* encodeObjects(options: EncodeOptions): AsyncGenerator<EncodedObject, void, undefined> {
  const { columns, guardCount, source } = options
  const { maxObjectBytes = defaultObjectBytes, rowGroupBytes = defaultRowGroupBytes } = options
  const decoder = new CopyDecoder(guardCount + columns.length)
  const object = new ObjectEncoder(options, rowGroupBytes)
  for await (const chunk of source) {
    decoder.push(chunk)
    while (decoder.next()) {
      object.append(decoder)
      if (object.rawBytes >= maxObjectBytes) yield await object.finish()
      else if (object.groupBytes >= rowGroupBytes) await object.nextGroup()
    }
  }
  decoder.finish()
  if (object.rowCount > 0) yield await object.finish()
}

class ObjectEncoder {
  rawBytes = 0
  rowCount = 0
  readonly #options: EncodeOptions
  readonly #compressor: Compressor
  readonly #keptBytes: number
  readonly #guards: readonly GuardBuffer[]
  #filling: RowGroup
  #spare: RowGroup
  /** The row group before the one that is filled, on its way into the file. */
  #pending: Promise<EncodedRowGroup> | undefined
  #checksums: readonly ColumnChecksum[] = []
  #pieces: Uint8Array[] = []
  #sizeBytes = 0
  #rowGroups: RowGroupMetadata[] = []

  constructor(options: EncodeOptions, rowGroupBytes: number) {
    const { columns, guardCount, codec = defaultCodec } = options
    this.#options = options
    this.#compressor = new Compressor(codec)
    this.#keptBytes = rowGroupBytes * 2
    this.#guards = Array.from({ length: guardCount }, () => new GuardBuffer())
    this.#filling = new RowGroup(columns)
    this.#spare = new RowGroup(columns)
    this.#begin()
  }

  get groupBytes(): number {
    return this.#filling.rawBytes
  }

  append(row: CopyDecoder): void {
    const guards = this.#guards
    for (let index = 0; index < guards.length; index++)
      guards[index]?.append(row.bytes, row.offsets[index] ?? 0, row.lengths[index] ?? 0)
    this.#filling.append(row, guards.length)
    this.rawBytes += row.rowBytes
    this.rowCount++
  }

  /** Puts the row group that was compressed meanwhile into the file, and begins to compress the one that is full. */
  async nextGroup(): Promise<void> {
    const full = this.#filling
    for (const [index, { levels, levelCount, values }] of full.columns.entries())
      this.#checksums[index]?.update(levels.subarray(0, levelCount), values.used)
    const encoding = full.encode(this.#compressor)
    // Whoever leaves the generator early leaves this promise, too.
    encoding.catch(() => undefined)
    await this.#settle()
    this.#pending = encoding
    this.#filling = this.#spare
    this.#spare = full
    this.#filling.clear(this.#keptBytes)
  }

  async finish(): Promise<EncodedObject> {
    if (this.#filling.rowCount > 0) await this.nextGroup()
    await this.#settle()
    const { columns } = this.#options
    const checksums = this.#checksums.map(({ text }) => text)
    this.#add(this.#footer(checksums))
    const bytes = Buffer.concat(this.#pieces, this.#sizeBytes)
    const object: EncodedObject = {
      bytes,
      rowCount: this.rowCount,
      sha256: createHash('sha256').update(bytes).digest('hex'),
      checksums: namedChecksums(columns, checksums),
      guards: this.#guards.map((guards) => guards.take()),
    }
    this.#begin()
    return object
  }

  #begin(): void {
    this.rawBytes = 0
    this.rowCount = 0
    this.#checksums = this.#options.columns.map(() => new ColumnChecksum())
    this.#pieces = []
    this.#sizeBytes = 0
    this.#rowGroups = []
    this.#add(magic)
  }

  #add(piece: Uint8Array): void {
    this.#pieces.push(piece)
    this.#sizeBytes += piece.length
  }

  async #settle(): Promise<void> {
    const encoded = await this.#pending
    this.#pending = undefined
    if (encoded === undefined) return
    this.#rowGroups.push(rowGroupMetadata(encoded, this.#sizeBytes))
    for (const { pieces } of encoded.chunks) for (const piece of pieces) this.#add(piece)
  }

  #footer(checksums: readonly string[]): Uint8Array {
    const { columns, metadata = {} } = this.#options
    const writer = new ByteWriter(4096)
    writeMetadata(writer, {
      version: 2,
      schema: schemaOf(columns),
      num_rows: BigInt(this.rowCount),
      row_groups: this.#rowGroups,
      key_value_metadata: [
        { key: metadataKey, value: formatObjectMetadata(columns, checksums) },
        ...Object.entries(metadata).map(([key, value]) => ({ key, value })),
      ],
      created_by: createdBy,
      // For readers of this structure; a writer leaves it out.
      metadata_length: 0,
    })
    writer.appendBytes(magic)
    return writer.getBytes()
  }
}
