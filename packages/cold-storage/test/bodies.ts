import { createHash, randomBytes } from 'node:crypto'
import type { StoreReader } from '../src/index.js'

export const MiB = 1024 * 1024

export async function collect(chunks: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const all: Uint8Array[] = []
  for await (const chunk of chunks) all.push(chunk)
  return Buffer.concat(all)
}

export async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const result: T[] = []
  for await (const item of items) result.push(item)
  return result
}

export const read = (store: StoreReader, name: string): Promise<Buffer> => collect(store.get(name))

/** In pieces of `size`, each in the same memory, as encoders do it that use their buffer again. */
export async function* piecesOf(bytes: Uint8Array, size: number): AsyncIterable<Uint8Array> {
  const buffer = Buffer.alloc(size)
  for (let offset = 0; offset < bytes.byteLength; offset += size) {
    const piece = bytes.subarray(offset, offset + size)
    buffer.set(piece)
    yield buffer.subarray(0, piece.byteLength)
  }
}

export const noise = (size: number): Buffer => randomBytes(size)
export const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')
