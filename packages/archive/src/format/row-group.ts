/** The row group that is being filled. There are two of them, so that one is compressed while the other is filled. */
import type { RowGroup as RowGroupMetadata } from 'hyparquet'
import type { Compressor } from './codec.js'
import { ColumnBuffer } from './column-buffer.js'
import { encodeChunk, type EncodedChunk } from './column-chunk.js'
import type { CopyDecoder } from './copy-decoder.js'
import type { ArchivedColumn } from './types.js'

export class RowGroup {
  readonly columns: readonly ColumnBuffer[]
  rowCount = 0
  rawBytes = 0

  constructor(columns: readonly ArchivedColumn[]) {
    this.columns = columns.map((column) => new ColumnBuffer(column))
  }

  /** @throws UnrepresentableValue, CopyFormatError */
  append({ bytes, view, offsets, lengths, rowBytes }: CopyDecoder, firstField: number): void {
    const { columns } = this
    for (let index = 0; index < columns.length; index++) {
      const field = firstField + index
      columns[index]?.append(bytes, view, offsets[field] ?? 0, lengths[field] ?? 0)
    }
    this.rowCount++
    this.rawBytes += rowBytes
  }

  async encode(compressor: Compressor): Promise<EncodedRowGroup> {
    const { rowCount } = this
    const chunks = await Promise.all(this.columns.map((column) => encodeChunk(column, rowCount, compressor)))
    return { rowCount, chunks }
  }

  clear(keptBytes: number): void {
    this.rowCount = 0
    this.rawBytes = 0
    for (const column of this.columns) column.clear(keptBytes)
  }
}

export interface EncodedRowGroup {
  readonly rowCount: number
  readonly chunks: readonly EncodedChunk[]
}

/** @param offset where the row group begins in the file */
export function rowGroupMetadata({ rowCount, chunks }: EncodedRowGroup, offset: number): RowGroupMetadata {
  let at = offset
  let uncompressedBytes = 0n
  const columns = chunks.map((chunk) => {
    const meta_data = chunk.metadata(at)
    at += chunk.sizeBytes
    uncompressedBytes += meta_data.total_uncompressed_size
    return { file_offset: 0n, meta_data }
  })
  return {
    columns,
    total_byte_size: uncompressedBytes,
    num_rows: BigInt(rowCount),
    file_offset: BigInt(offset),
    total_compressed_size: BigInt(at - offset),
  }
}
