/** Compression by node's own zlib: GZIP everywhere, ZSTD where node has it (22.15 and later). */
import { promisify } from 'node:util'
import * as zlib from 'node:zlib'
import { Lanes } from './lanes.js'

export type Codec = 'GZIP' | 'ZSTD'

/**
 * Measured on killmails as jsonb, 48 MB: level 3 leaves 19.3 % at 92 MB/s, 5 leaves 17.5 % at 63, 6 leaves 17.0 % at 42; `zstd -3` of
 * the same text leaves 17.7 %. So 5 is the first that makes files no larger than `COPY | zstd -3`.
 */
const gzipLevel = 5
const zstdLevel = 3
/** An output buffer that holds everything in one piece, the header and a block that could not be compressed included. */
const spareBytes = 1024

/** Below this a trip to another thread costs more than it saves. */
const inlineBytes = 16 * 1024

const gzip = promisify<zlib.InputType, zlib.ZlibOptions, Buffer>(zlib.gzip)
const gunzip = promisify<zlib.InputType, zlib.ZlibOptions, Buffer>(zlib.gunzip)

interface ZstdOptions {
  readonly chunkSize: number
  readonly maxOutputLength?: number
  /** With it the tables of a compression are no larger than what is compressed. */
  readonly pledgedSrcSize?: number
  readonly params?: Readonly<Record<number, number>>
}

type ZstdCall = (input: Uint8Array, options: ZstdOptions, done: (error: Error | null, output: Buffer) => void) => void

/** The types of Node 20 do not know it. */
const zstd = zlib as unknown as { readonly zstdCompress?: ZstdCall; readonly zstdDecompress?: ZstdCall }
const zstdCompressionLevelParameter = 100

/** What new files are compressed with here. */
export const defaultCodec: Codec = zstd.zstdCompress === undefined ? 'GZIP' : 'ZSTD'

/**
 * Compresses two pieces at a time: that is what two cores can do, and the state of a compression takes megabytes (ZSTD), which would add up
 * over the columns of a relation.
 */
export class Compressor {
  readonly #lanes = new Lanes(2)

  constructor(readonly codec: Codec) {}

  async compress(bytes: Uint8Array): Promise<Uint8Array> {
    // In one piece for what halves, and in a copy at the end, because what zlib gives holds on to the whole buffer.
    const chunkSize = spareBytes + Math.ceil(bytes.length / 2)
    return this.#lanes.run(async () => Uint8Array.from(await compressInto(bytes, this.codec, chunkSize)))
  }
}

async function compressInto(bytes: Uint8Array, codec: Codec, chunkSize: number): Promise<Uint8Array> {
  if (codec === 'ZSTD') {
    const params = { [zstdCompressionLevelParameter]: zstdLevel }
    return callZstd('zstdCompress', bytes, { chunkSize, params, pledgedSrcSize: bytes.length })
  }
  const options = { level: gzipLevel, memLevel: 9, chunkSize }
  return bytes.length < inlineBytes ? zlib.gzipSync(bytes, options) : gzip(bytes, options)
}

/** @param sizeBytes what must come out; an input that gives more is refused */
export async function decompress(bytes: Uint8Array, codec: Codec, sizeBytes: number): Promise<Uint8Array> {
  const limits = { chunkSize: sizeBytes + spareBytes, maxOutputLength: sizeBytes + spareBytes }
  if (codec === 'ZSTD') return callZstd('zstdDecompress', bytes, limits)
  return sizeBytes < inlineBytes * 4 ? zlib.gunzipSync(bytes, limits) : gunzip(bytes, limits)
}

async function callZstd(
  name: 'zstdCompress' | 'zstdDecompress',
  bytes: Uint8Array,
  options: ZstdOptions,
): Promise<Uint8Array> {
  const call = zstd[name]
  if (call === undefined) throw new Error(`this object is compressed with ZSTD, which needs Node 22.15 or later`)
  return promisify(call)(bytes, options)
}

/** A part of this size tells whether compressing is worth it. */
const probeBytes = 16 * 1024

/** Random identifiers and packed numbers do not get smaller: to find out on a part costs a hundredth of trying. */
export function isCompressible(bytes: Uint8Array): boolean {
  if (bytes.length < 4 * probeBytes) return true
  const middle = (bytes.length - probeBytes) >>> 1
  const probe = bytes.subarray(middle, middle + probeBytes)
  return zlib.deflateRawSync(probe, { level: 1, chunkSize: probeBytes * 2 }).length < probeBytes * 0.92
}
