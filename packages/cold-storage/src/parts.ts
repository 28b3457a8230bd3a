/**
 * What one request carries at most. The least that S3 takes for a part is 5 MiB; of 10 000 parts, an object has at most 78 GiB then. A buffer
 * of this size is all that an upload needs, however long its body is.
 */
export const partBytes = 8 * 1024 * 1024
export const maxParts = 10_000

export interface Part {
  readonly bytes: Uint8Array
  readonly isLast: boolean
}

/**
 * Cuts a body into parts of one size, the last one excepted; an empty body is one empty part. The bytes of a part are overwritten by the next
 * one, so whoever takes a part is done with it before asking for more.
 */
export async function* partsOf(
  body: Uint8Array | AsyncIterable<Uint8Array>,
  sizeBytes: number,
): AsyncGenerator<Part, void> {
  if (body instanceof Uint8Array) {
    let offset = 0
    do {
      const end = Math.min(offset + sizeBytes, body.byteLength)
      yield { bytes: body.subarray(offset, end), isLast: end === body.byteLength }
      offset = end
    } while (offset < body.byteLength)
    return
  }
  // Memory that is not written to is not taken either: small bodies cost no 8 MiB.
  const buffer = Buffer.allocUnsafeSlow(sizeBytes)
  let filled = 0
  for await (const chunk of body) {
    for (let offset = 0; offset < chunk.byteLength;) {
      // Only now it is known that the full part is not the last.
      if (filled === sizeBytes) {
        yield { bytes: buffer, isLast: false }
        filled = 0
      }
      const taken = chunk.subarray(offset, offset + sizeBytes - filled)
      buffer.set(taken, filled)
      filled += taken.byteLength
      offset += taken.byteLength
    }
  }
  yield { bytes: buffer.subarray(0, filled), isLast: true }
}
