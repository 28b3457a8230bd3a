/** Whether a dump in the store is what was written, and whether pg_restore understands it. One read of the object for both. */
import { createHash } from 'node:crypto'
import type { StoreReader } from '@battlescope/cold-storage'
import type { ProgramReader } from './programs.js'

export interface Measured {
  readonly sizeBytes: number
  readonly sha256: string
}

/** Passes bytes on, and knows afterwards what passed. */
export class Meter {
  readonly #hash = createHash('sha256')
  #bytes = 0

  async *pass(body: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
    for await (const chunk of body) {
      this.#hash.update(chunk)
      this.#bytes += chunk.byteLength
      yield chunk
    }
  }

  /** Once, at the end. */
  measured(): Measured {
    return { sizeBytes: this.#bytes, sha256: this.#hash.digest('hex') }
  }
}

/** A dump that is not what it should be. */
export class DumpUnfit extends Error {
  override readonly name = 'DumpUnfit'
  readonly code = 'dump-unfit'
}

/**
 * Reads it back.
 * @param deep unpacks every row, beside reading the list of contents
 * @returns lines of the list; 0 when deep @throws DumpUnfit, ProgramError, StoreError
 */
export async function checkDump(
  store: StoreReader,
  programs: ProgramReader,
  object: string,
  expected: Measured,
  options: { readonly deep?: boolean; readonly signal?: AbortSignal } = {},
): Promise<number> {
  const meter = new Meter()
  const signal = options.signal === undefined ? {} : { signal: options.signal }
  const body = meter.pass(store.get(object, signal))
  const entries = await programs.inspectDump(body, { ...signal, deep: options.deep ?? false })
  const { sizeBytes, sha256 } = meter.measured()
  if (sizeBytes !== expected.sizeBytes)
    throw new DumpUnfit(`${object} has ${sizeBytes} bytes, not the ${expected.sizeBytes} that were written`)
  if (sha256 !== expected.sha256)
    throw new DumpUnfit(`${object} has other bytes than were written: its SHA-256 differs`)
  return entries
}
