/** The guards of an object's rows: many short texts that wait until their rows have gone, kept as bytes. */
import { isUtf8 } from 'node:buffer'
import { CopyFormatError } from './format-error.js'

/**
 * One guard of each row. Not texts of their own: those of a batch, some ten thousand, outlive the collector's young generation, and each batch
 * would leave megabytes in the old one until the process has twice its size.
 */
export class GuardColumn implements Iterable<string> {
  static readonly empty = new GuardColumn(Buffer.alloc(0), new Int32Array(0))
  /** UTF-8, one text behind the other. */
  readonly bytes: Buffer
  /** Where each of them ends. */
  readonly ends: Int32Array

  constructor(bytes: Buffer, ends: Int32Array) {
    this.bytes = bytes
    this.ends = ends
  }

  static of(texts: readonly string[]): GuardColumn {
    const parts = texts.map((text) => Buffer.from(text))
    let end = 0
    return new GuardColumn(
      Buffer.concat(parts),
      Int32Array.from(parts, ({ length }) => (end += length)),
    )
  }

  /** Several as one, one behind the other. */
  static join(parts: readonly GuardColumn[]): GuardColumn {
    const [first] = parts
    if (first === undefined) return GuardColumn.empty
    if (parts.length === 1) return first
    const ends = new Int32Array(parts.reduce((sum, { length }) => sum + length, 0))
    let row = 0
    let offset = 0
    for (const part of parts) {
      for (const end of part.ends) ends[row++] = offset + end
      offset += part.bytes.length
    }
    return new GuardColumn(Buffer.concat(parts.map(({ bytes }) => bytes)), ends)
  }

  /** Of rows. */
  get length(): number {
    return this.ends.length
  }

  startOf(row: number): number {
    return row === 0 ? 0 : (this.ends[row - 1] ?? 0)
  }

  endOf(row: number): number {
    return this.ends[row] ?? 0
  }

  textAt(row: number): string {
    return this.bytes.toString('utf8', this.startOf(row), this.endOf(row))
  }

  *[Symbol.iterator](): Iterator<string> {
    for (let row = 0; row < this.length; row++) yield this.textAt(row)
  }
}

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
  take(): GuardColumn {
    const bytes = Buffer.from(this.#bytes.subarray(0, this.#length))
    if (!isUtf8(bytes)) throw new CopyFormatError('a guard that is not UTF-8')
    const column = new GuardColumn(bytes, this.#ends.slice(0, this.#count))
    this.#length = 0
    this.#count = 0
    return column
  }
}
