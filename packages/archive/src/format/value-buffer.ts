/** The values of one column in memory, without its NULLs: taken from PostgreSQL's binary form, kept as Parquet's plain bytes. */
import { isUtf8 } from 'node:buffer'
import { CopyFormatError, UnrepresentableValue } from './format-error.js'
import type { ArchivedColumn } from './types.js'

const initialBytes = 16 * 1024
/** Below this many bytes a loop is faster than making a view for `set`. */
const loopedBytes = 48

/** PostgreSQL counts from 2000-01-01, Parquet from 1970-01-01. */
const epochDays = 10_957
const epochMicros = 946_684_800_000_000n
const epochLow = Number(epochMicros & 0xffff_ffffn)
const epochHigh = Number(epochMicros >> 32n)

export abstract class ValueBuffer {
  bytes: Uint8Array = new Uint8Array(initialBytes)
  view: DataView = new DataView(this.bytes.buffer)
  /** In bytes. */
  length = 0
  /** Of values. */
  count = 0

  constructor(readonly column: string) {}

  /** @throws UnrepresentableValue, CopyFormatError */
  abstract append(source: Uint8Array, view: DataView, at: number, length: number): void

  /** The values so far: valid until the next `append` or `clear`. */
  get used(): Uint8Array {
    return this.bytes.subarray(0, this.length)
  }

  /** @param keptBytes a buffer that has grown beyond it is given back */
  clear(keptBytes: number): void {
    this.length = 0
    this.count = 0
    if (this.bytes.length > keptBytes) this.#resize(initialBytes)
  }

  protected reserve(bytes: number): void {
    const needed = this.length + bytes
    if (needed > this.bytes.length) this.#resize(Math.max(needed, this.bytes.length * 2))
  }

  protected expect(length: number, wanted: number): void {
    if (length !== wanted)
      throw new CopyFormatError(`a value of ${length} bytes instead of ${wanted} in column '${this.column}'`)
  }

  #resize(capacity: number): void {
    const bytes = new Uint8Array(capacity)
    bytes.set(this.bytes.subarray(0, this.length))
    this.bytes = bytes
    this.view = new DataView(bytes.buffer)
  }
}

class BooleanBuffer extends ValueBuffer {
  override append(source: Uint8Array, _view: DataView, at: number, length: number): void {
    this.expect(length, 1)
    this.reserve(1)
    this.bytes[this.length++] = source[at] === 0 ? 0 : 1
    this.count++
  }
}

class Int16Buffer extends ValueBuffer {
  override append(_source: Uint8Array, view: DataView, at: number, length: number): void {
    this.expect(length, 2)
    this.reserve(4)
    this.view.setInt32(this.length, view.getInt16(at), true)
    this.length += 4
    this.count++
  }
}

/** int4 and float4: only the order of the bytes differs. */
class FourByteBuffer extends ValueBuffer {
  override append(_source: Uint8Array, view: DataView, at: number, length: number): void {
    this.expect(length, 4)
    this.reserve(4)
    this.view.setInt32(this.length, view.getInt32(at), true)
    this.length += 4
    this.count++
  }
}

/** int8 and float8. */
class EightByteBuffer extends ValueBuffer {
  override append(_source: Uint8Array, view: DataView, at: number, length: number): void {
    this.expect(length, 8)
    this.reserve(8)
    this.view.setInt32(this.length, view.getInt32(at + 4), true)
    this.view.setInt32(this.length + 4, view.getInt32(at), true)
    this.length += 8
    this.count++
  }
}

class DateBuffer extends ValueBuffer {
  override append(_source: Uint8Array, view: DataView, at: number, length: number): void {
    this.expect(length, 4)
    this.reserve(4)
    const days = view.getInt32(at)
    if (days === 0x7fff_ffff || days === -0x8000_0000) throw new UnrepresentableValue(this.column, 'an infinite date')
    this.view.setInt32(this.length, days + epochDays, true)
    this.length += 4
    this.count++
  }
}

class TimestampBuffer extends ValueBuffer {
  override append(_source: Uint8Array, view: DataView, at: number, length: number): void {
    this.expect(length, 8)
    this.reserve(8)
    const low = view.getUint32(at + 4) + epochLow
    const high = view.getInt32(at) + epochHigh + (low > 0xffff_ffff ? 1 : 0)
    // Infinity is the greatest number there is; so is, shifted, what lies in the last years that PostgreSQL knows.
    if (high > 0x7fff_ffff || high - epochHigh === -0x8000_0000)
      throw new UnrepresentableValue(this.column, 'an infinite timestamp, or one after the year 294246')
    this.view.setInt32(this.length, low | 0, true)
    this.view.setInt32(this.length + 4, high, true)
    this.length += 8
    this.count++
  }
}

class UuidBuffer extends ValueBuffer {
  override append(source: Uint8Array, _view: DataView, at: number, length: number): void {
    this.expect(length, 16)
    this.reserve(16)
    const { bytes } = this
    const to = this.length
    for (let index = 0; index < 16; index++) bytes[to + index] = source[at + index] ?? 0
    this.length = to + 16
    this.count++
  }
}

class BytesBuffer extends ValueBuffer {
  override append(source: Uint8Array, _view: DataView, at: number, length: number): void {
    this.reserve(4 + length)
    const { bytes } = this
    const to = this.length + 4
    this.view.setInt32(to - 4, length, true)
    if (length < loopedBytes) for (let index = 0; index < length; index++) bytes[to + index] = source[at + index] ?? 0
    else bytes.set(source.subarray(at, at + length), to)
    this.length = to + length
    this.count++
  }
}

class TextBuffer extends ValueBuffer {
  override append(source: Uint8Array, _view: DataView, at: number, length: number): void {
    this.reserve(4 + length)
    const { bytes } = this
    const to = this.length + 4
    this.view.setInt32(to - 4, length, true)
    let seen = 0
    if (length < loopedBytes) {
      for (let index = 0; index < length; index++) {
        const byte = source[at + index] ?? 0
        seen |= byte
        bytes[to + index] = byte
      }
      if (seen > 0x7f) this.#check(source.subarray(at, at + length))
    } else {
      const value = source.subarray(at, at + length)
      this.#check(value)
      bytes.set(value, to)
    }
    this.length = to + length
    this.count++
  }

  #check(value: Uint8Array): void {
    if (!isUtf8(value)) {
      throw new UnrepresentableValue(this.column, 'text that is not UTF-8', {
        asText: false,
        hint: 'a database in SQL_ASCII holds whatever was put in: convert it to UTF8, or keep this relation out of archives',
      })
    }
  }
}

/** jsonb: a version, then its text. */
class JsonbBuffer extends TextBuffer {
  override append(source: Uint8Array, view: DataView, at: number, length: number): void {
    if (length < 1 || source[at] !== 1) throw new CopyFormatError(`an unknown version of jsonb in '${this.column}'`)
    super.append(source, view, at + 1, length - 1)
  }
}

export function createValueBuffer({ name, typeName, encoding }: ArchivedColumn): ValueBuffer {
  switch (encoding) {
    case 'boolean':
      return new BooleanBuffer(name)
    case 'int16':
      return new Int16Buffer(name)
    case 'int32':
    case 'float32':
      return new FourByteBuffer(name)
    case 'int64':
    case 'float64':
      return new EightByteBuffer(name)
    case 'date':
      return new DateBuffer(name)
    case 'timestamp':
    case 'timestamptz':
      return new TimestampBuffer(name)
    case 'uuid':
      return new UuidBuffer(name)
    case 'json':
      return /^jsonb(\[\])?$/.test(typeName) ? new JsonbBuffer(name) : new TextBuffer(name)
    case 'bytes':
      return new BytesBuffer(name)
    case 'text':
      return new TextBuffer(name)
  }
}
