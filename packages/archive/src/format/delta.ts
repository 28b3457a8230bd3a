/**
 * DELTA_BINARY_PACKED (https://parquet.apache.org/docs/file-format/data-pages/encodings/): differences between neighbours, in as few bits
 * as a block of them needs. Made for keys and times, which come in order. It works in doubles instead of BigInt, which is an order of
 * magnitude faster, and so only for values whose differences are exact in them.
 */

const blockValues = 128
const miniblocks = 4
const miniblockValues = blockValues / miniblocks
const two32 = 4_294_967_296
/** Of values and of their span: twice either is below 2^53, and so exact. Microseconds reach the year 2112 in it. */
const safeLimit = 2 ** 52
/** Differences of 32-bit columns must fit 32 bits for some readers. */
const safeSpan32 = 2 ** 31

export interface IntegerRange {
  readonly min: number
  readonly max: number
}

type IntegerWidth = 4 | 8

const readInteger = (view: DataView, index: number, width: IntegerWidth): number =>
  width === 4
    ? view.getInt32(index * 4, true)
    : view.getInt32(index * 8 + 4, true) * two32 + view.getUint32(index * 8, true)

/** @returns undefined without values, or when one is beyond what a double holds exactly */
export function integerRange(values: Uint8Array, width: IntegerWidth): IntegerRange | undefined {
  const view = new DataView(values.buffer, values.byteOffset, values.byteLength)
  const count = values.length / width
  let min = Infinity
  let max = -Infinity
  for (let index = 0; index < count; index++) {
    const value = readInteger(view, index, width)
    if (value < min) min = value
    if (value > max) max = value
  }
  return count > 0 && min > -safeLimit && max < safeLimit ? { min, max } : undefined
}

export const canBeDelta = ({ min, max }: IntegerRange, width: IntegerWidth): boolean =>
  max - min < (width === 8 ? safeLimit : safeSpan32)

/** @param values at least one, whose range {@link canBeDelta} */
export function encodeDelta(values: Uint8Array, width: IntegerWidth): Uint8Array {
  const view = new DataView(values.buffer, values.byteOffset, values.byteLength)
  const count = values.length / width
  const blocks = Math.ceil((count - 1) / blockValues)
  const writer = new Writer(32 + blocks * (10 + miniblocks + blockValues * 8))
  writer.varint(blockValues)
  writer.varint(miniblocks)
  writer.varint(count)
  let previous = readInteger(view, 0, width)
  writer.zigzag(previous)
  const deltas = new Float64Array(blockValues)
  const widths = new Uint8Array(miniblocks)
  for (let start = 1; start < count; start += blockValues) {
    const size = Math.min(blockValues, count - start)
    let min = Infinity
    for (let index = 0; index < size; index++) {
      const value = readInteger(view, start + index, width)
      const delta = value - previous
      deltas[index] = delta
      if (delta < min) min = delta
      previous = value
    }
    deltas.fill(min, size)
    writer.zigzag(min)
    for (let block = 0; block < miniblocks; block++) {
      let max = 0
      for (let index = block * miniblockValues; index < (block + 1) * miniblockValues; index++) {
        const rest = (deltas[index] ?? 0) - min
        deltas[index] = rest
        if (rest > max) max = rest
      }
      widths[block] = bitsOf(max)
      writer.byte(widths[block] ?? 0)
    }
    for (let block = 0; block < miniblocks; block++) {
      const bits = widths[block] ?? 0
      if (bits > 0) writer.pack(deltas, block * miniblockValues, bits)
    }
  }
  return writer.written
}

/** @throws RangeError when `bytes` are no such encoding of `count` values */
export function decodeDelta(bytes: Uint8Array, width: IntegerWidth, count: number): Uint8Array {
  const reader = new Reader(bytes)
  const header = [reader.varint(), reader.varint(), reader.varint()]
  if (header[0] !== blockValues || header[1] !== miniblocks || header[2] !== count)
    throw new RangeError('differences that were encoded in another way')
  const values = new Uint8Array(count * width)
  const view = new DataView(values.buffer)
  const rests = new Float64Array(miniblockValues)
  let value = reader.zigzag()
  writeInteger(view, 0, width, value)
  for (let start = 1; start < count; start += blockValues) {
    const min = reader.zigzag()
    const widths = [reader.byte(), reader.byte(), reader.byte(), reader.byte()]
    for (let block = 0; block < miniblocks; block++) {
      const bits = widths[block] ?? 0
      const from = start + block * miniblockValues
      const size = Math.min(miniblockValues, count - from)
      if (bits === 0) rests.fill(0)
      else reader.unpack(rests, bits)
      for (let index = 0; index < size; index++) {
        value += min + (rests[index] ?? 0)
        writeInteger(view, from + index, width, value)
      }
    }
  }
  return values
}

function writeInteger(view: DataView, index: number, width: IntegerWidth, value: number): void {
  if (width === 4) view.setInt32(index * 4, value, true)
  else {
    view.setUint32(index * 8, value >>> 0, true)
    view.setInt32(index * 8 + 4, Math.floor(value / two32), true)
  }
}

const bitsOf = (value: number): number =>
  value < two32 ? 32 - Math.clz32(value) : 64 - Math.clz32(Math.floor(value / two32))

/** Pieces of so many bits are put together with up to seven pending ones in 32-bit arithmetic. */
const pieceBits = 24
const pieceSize = 2 ** pieceBits

class Writer {
  readonly #bytes: Uint8Array
  #at = 0

  constructor(capacity: number) {
    this.#bytes = new Uint8Array(capacity)
  }

  get written(): Uint8Array {
    return this.#bytes.subarray(0, this.#at)
  }

  byte(value: number): void {
    this.#bytes[this.#at++] = value
  }

  varint(value: number): void {
    for (; value >= 0x80; value = Math.floor(value / 0x80)) this.byte((value % 0x80) | 0x80)
    this.byte(value)
  }

  zigzag(value: number): void {
    this.varint(value < 0 ? -2 * value - 1 : 2 * value)
  }

  /** A miniblock, from the lowest bit on; it ends at the end of a byte. */
  pack(values: Float64Array, from: number, bits: number): void {
    const bytes = this.#bytes
    let at = this.#at
    let pending = 0
    let pendingBits = 0
    for (let index = from; index < from + miniblockValues; index++) {
      let value = values[index] ?? 0
      let left = bits
      for (; left > pieceBits; left -= pieceBits) {
        pending |= (value % pieceSize) << pendingBits
        bytes[at] = pending
        bytes[at + 1] = pending >>> 8
        bytes[at + 2] = pending >>> 16
        pending >>>= 24
        at += 3
        value = Math.floor(value / pieceSize)
      }
      pending |= value << pendingBits
      pendingBits += left
      for (; pendingBits >= 8; pendingBits -= 8) {
        bytes[at++] = pending
        pending >>>= 8
      }
    }
    this.#at = at
  }
}

class Reader {
  readonly #bytes: Uint8Array
  #at = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  byte(): number {
    const value = this.#bytes[this.#at++]
    if (value === undefined) throw new RangeError('differences that are cut')
    return value
  }

  varint(): number {
    let value = 0
    for (let factor = 1; factor < Number.MAX_SAFE_INTEGER; factor *= 0x80) {
      const byte = this.byte()
      value += (byte & 0x7f) * factor
      if (byte < 0x80) return value
    }
    throw new RangeError('a number without an end')
  }

  zigzag(): number {
    const value = this.varint()
    return value % 2 === 0 ? value / 2 : -(value + 1) / 2
  }

  /** A miniblock. */
  unpack(values: Float64Array, bits: number): void {
    const bytes = this.#bytes
    let at = this.#at
    if (at + (miniblockValues / 8) * bits > bytes.length) throw new RangeError('differences that are cut')
    let pending = 0
    let pendingBits = 0
    for (let index = 0; index < miniblockValues; index++) {
      let value = 0
      let factor = 1
      let left = bits
      for (; left > pieceBits; left -= pieceBits) {
        pending |= ((bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8) | ((bytes[at + 2] ?? 0) << 16)) << pendingBits
        value += (pending & (pieceSize - 1)) * factor
        factor *= pieceSize
        pending >>>= pieceBits
        at += 3
      }
      for (; pendingBits < left; pendingBits += 8) pending |= (bytes[at++] ?? 0) << pendingBits
      value += (pending & ((1 << left) - 1)) * factor
      pending >>>= left
      pendingBits -= left
      values[index] = value
    }
    this.#at = at
  }
}
