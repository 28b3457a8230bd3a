/** COPY in binary form (https://www.postgresql.org/docs/current/sql-copy.html#id-1.9.55.9.4.6), in chunks cut anywhere. */
import { CopyFormatError } from './format-error.js'

const signature = Uint8Array.from([0x50, 0x47, 0x43, 0x4f, 0x50, 0x59, 0x0a, 0xff, 0x0d, 0x0a, 0x00])
/** Signature, flags, length of the extension. */
const headerBytes = signature.length + 8
const initialBytes = 256 * 1024
/** A buffer that a huge row has stretched is given back when no more than this part of it is needed. */
const keptShare = 8

/**
 * Finds the fields of one row after another without copying them out: where each begins and how long it is, in `bytes`.
 *
 *     decoder.push(chunk)
 *     while (decoder.next()) use(decoder.bytes, decoder.offsets, decoder.lengths)
 *
 * What `next` found is valid until the next `push` or `next`. After the last chunk comes `finish`.
 */
export class CopyDecoder {
  bytes: Uint8Array = new Uint8Array(initialBytes)
  view: DataView = new DataView(this.bytes.buffer)
  /** Where the fields' values begin in `bytes`. */
  readonly offsets: Int32Array
  /** -1 is NULL. */
  readonly lengths: Int32Array
  /** Of the row, as it came. */
  rowBytes = 0
  #start = 0
  #end = 0
  #state: 'header' | 'rows' | 'ended' = 'header'

  constructor(readonly fieldCount: number) {
    this.offsets = new Int32Array(fieldCount)
    this.lengths = new Int32Array(fieldCount)
  }

  push(chunk: Uint8Array): void {
    const rest = this.#end - this.#start
    const needed = rest + chunk.length
    const capacity = this.bytes.length
    if (needed > capacity || (capacity > initialBytes && needed < capacity / keptShare)) {
      // Twice of what is needed, so that a row in many chunks is not copied for each of them.
      const bytes = new Uint8Array(Math.max(initialBytes, needed > capacity ? needed * 2 : needed))
      bytes.set(this.bytes.subarray(this.#start, this.#end))
      this.bytes = bytes
      this.view = new DataView(bytes.buffer)
    } else if (this.#start > 0) {
      this.bytes.copyWithin(0, this.#start, this.#end)
    }
    this.bytes.set(chunk, rest)
    this.#start = 0
    this.#end = needed
    if (this.#state === 'header') this.#readHeader()
  }

  /** Whether another whole row is here. @throws CopyFormatError */
  next(): boolean {
    if (this.#state !== 'rows') {
      if (this.#state === 'ended' && this.#end > this.#start) throw new CopyFormatError('bytes after its end')
      return false
    }
    const { view, offsets, lengths, fieldCount } = this
    const end = this.#end
    let at = this.#start + 2
    if (at > end) return false
    const count = view.getInt16(at - 2)
    if (count !== fieldCount) {
      if (count !== -1) throw new CopyFormatError(`a row of ${count} fields instead of ${fieldCount}`)
      this.#state = 'ended'
      this.#start = at
      return this.next()
    }
    for (let field = 0; field < fieldCount; field++) {
      if (at + 4 > end) return false
      const length = view.getInt32(at)
      at += 4
      offsets[field] = at
      lengths[field] = length
      if (length > 0) {
        at += length
        if (at > end) return false
      } else if (length < -1) throw new CopyFormatError(`a field of ${length} bytes`)
    }
    this.rowBytes = at - this.#start
    this.#start = at
    return true
  }

  /** @throws CopyFormatError unless the trailer was the last thing that came */
  finish(): void {
    if (this.#state !== 'ended' || this.#end > this.#start) throw new CopyFormatError('it has no end')
  }

  #readHeader(): void {
    const { bytes, view } = this
    const seen = Math.min(this.#end, signature.length)
    for (let index = 0; index < seen; index++) {
      if (bytes[index] !== signature[index]) throw new CopyFormatError('its signature is missing')
    }
    if (this.#end < headerBytes) return
    // Bits 16 to 31 are for what a reader must understand: today none (bit 16 were OIDs, until version 11).
    if (view.getInt32(signature.length) !== 0) throw new CopyFormatError('flags that are not known')
    const extension = view.getInt32(signature.length + 4)
    if (extension < 0) throw new CopyFormatError('its header has a negative length')
    if (this.#end < headerBytes + extension) return
    this.#start = headerBytes + extension
    this.#state = 'rows'
  }
}
