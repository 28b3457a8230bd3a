/** The guards of an object's rows: many short texts, decoded all at once. */
import { isUtf8 } from 'node:buffer'
import { CopyFormatError } from './format-error.js'

export class GuardBuffer {
  #bytes = Buffer.alloc(16 * 1024)
  #length = 0
  #ends = new Int32Array(1024)
  #count = 0

  append(source: Uint8Array, at: number, length: number): void {
    if (length < 0) throw new CopyFormatError('a guard that is NULL')
    const end = this.#length + length
    if (end > this.#bytes.length) {
      const bytes = Buffer.alloc(Math.max(end, this.#bytes.length * 2))
      bytes.set(this.#bytes.subarray(0, this.#length))
      this.#bytes = bytes
    }
    if (this.#count === this.#ends.length) {
      const ends = new Int32Array(this.#ends.length * 2)
      ends.set(this.#ends)
      this.#ends = ends
    }
    const bytes = this.#bytes
    for (let index = 0, to = this.#length; index < length; index++) bytes[to + index] = source[at + index] ?? 0
    this.#length = end
    this.#ends[this.#count++] = end
  }

  /** The guards so far, and none afterwards. */
  take(): string[] {
    const bytes = this.#bytes.subarray(0, this.#length)
    const texts = new Array<string>(this.#count)
    const whole = bytes.toString('latin1')
    // Where every byte is a character, parts of one long text are much cheaper than texts of their own.
    const plain = bytes.length === Buffer.byteLength(whole)
    if (!plain && !isUtf8(bytes)) throw new CopyFormatError('a guard that is not UTF-8')
    for (let index = 0, start = 0; index < this.#count; index++) {
      const end = this.#ends[index] ?? 0
      texts[index] = plain ? whole.slice(start, end) : bytes.toString('utf8', start, end)
      start = end
    }
    this.#length = 0
    this.#count = 0
    return texts
  }
}
