/** Dictionary encoding: each distinct value once, and its number in place of every value. */

/** Indexes have two bytes in memory, and no more in the file. */
const maxDistinct = 65_536
const probedValues = 1_024
/** The more values, the more of them repeat: so many distinct ones among the first can still become half of all. */
const probedLimit = 700

export interface Dictionary {
  /** The distinct values in order of appearance, as plain bytes. */
  readonly bytes: Uint8Array
  readonly count: number
  /** One per value. */
  readonly indexes: Uint16Array
  readonly bitWidth: number
}

/**
 * @param width of a value, or 0 for values with a length before each
 * @returns undefined when there are too many distinct values for it to help
 */
export function buildDictionary(values: Uint8Array, width: number, count: number): Dictionary | undefined {
  if (count < 2) return undefined
  const view = new DataView(values.buffer, values.byteOffset, values.byteLength)
  // A look at the first values spares most columns the memory for the rest.
  if (count > probedValues && collect(view, width, probedValues, probedLimit) === undefined) return undefined
  const found = collect(view, width, count, Math.min(maxDistinct, Math.ceil(count / 2)))
  if (found === undefined) return undefined
  const { distinct, starts, ends, indexes } = found
  let length = 0
  for (let index = 0; index < distinct; index++) length += (ends[index] ?? 0) - (starts[index] ?? 0)
  const bytes = new Uint8Array(length)
  for (let index = 0, at = 0; index < distinct; index++) {
    bytes.set(values.subarray(starts[index], ends[index]), at)
    at += (ends[index] ?? 0) - (starts[index] ?? 0)
  }
  return { bytes, count: distinct, indexes, bitWidth: Math.max(1, 32 - Math.clz32(distinct - 1)) }
}

interface Distinct {
  readonly distinct: number
  /** Where the first of each begins and ends. */
  readonly starts: Int32Array
  readonly ends: Int32Array
  readonly indexes: Uint16Array
}

/** Undefined when there are more than `limit`. */
function collect(view: DataView, width: number, count: number, limit: number): Distinct | undefined {
  const tableMask = 2 ** Math.ceil(Math.log2(limit * 2 + 2)) - 1
  /** Number of a distinct value, plus 1; 0 is free. */
  const table = new Int32Array(tableMask + 1)
  const starts = new Int32Array(limit)
  const ends = new Int32Array(limit)
  const indexes = new Uint16Array(count)
  let distinct = 0
  let start = 0
  for (let index = 0; index < count; index++) {
    const end = start + (width === 0 ? 4 + view.getInt32(start, true) : width)
    let slot = hash(view, start, end) & tableMask
    let found = -1
    for (let entry = table[slot] ?? 0; entry !== 0; entry = table[slot] ?? 0) {
      const other = starts[entry - 1] ?? 0
      if ((ends[entry - 1] ?? 0) - other === end - start && same(view, other, start, end)) {
        found = entry - 1
        break
      }
      slot = (slot + 1) & tableMask
    }
    if (found < 0) {
      if (distinct === limit) return undefined
      found = distinct++
      table[slot] = distinct
      starts[found] = start
      ends[found] = end
    }
    indexes[index] = found
    start = end
  }
  return { distinct, starts, ends, indexes }
}

/** Multiplicative, four bytes at a time. */
function hash(view: DataView, start: number, end: number): number {
  let result = end - start
  let at = start
  for (; at + 4 <= end; at += 4) {
    result = Math.imul(result ^ view.getInt32(at, true), 0x9e3779b1)
    result ^= result >>> 15
  }
  for (; at < end; at++) result = Math.imul(result ^ view.getUint8(at), 0x9e3779b1)
  return result ^ (result >>> 13)
}

function same(view: DataView, other: number, start: number, end: number): boolean {
  let at = start
  for (; at + 4 <= end; at += 4, other += 4) if (view.getInt32(at) !== view.getInt32(other)) return false
  for (; at < end; at++, other++) if (view.getUint8(at) !== view.getUint8(other)) return false
  return true
}

/** The reverse. @throws RangeError for an index that is not in the dictionary */
export function expandDictionary(
  dictionary: Uint8Array,
  width: number,
  count: number,
  indexes: Uint16Array,
): Uint8Array {
  const view = new DataView(dictionary.buffer, dictionary.byteOffset, dictionary.byteLength)
  const starts = new Int32Array(count + 1)
  for (let index = 0, at = 0; index < count; index++) {
    at += width === 0 ? 4 + view.getInt32(at, true) : width
    if (at > dictionary.length) throw new RangeError('a dictionary that is cut')
    starts[index + 1] = at
  }
  let length = 0
  for (let position = 0; position < indexes.length; position++) {
    const index = indexes[position] ?? 0
    if (index >= count) throw new RangeError(`entry ${index} of a dictionary of ${count}`)
    length += (starts[index + 1] ?? 0) - (starts[index] ?? 0)
  }
  const values = new Uint8Array(length)
  const target = new DataView(values.buffer)
  let to = 0
  for (let position = 0; position < indexes.length; position++) {
    const index = indexes[position] ?? 0
    const end = starts[index + 1] ?? 0
    let at = starts[index] ?? 0
    for (; at + 4 <= end; at += 4, to += 4) target.setInt32(to, view.getInt32(at))
    for (; at < end; at++) values[to++] = dictionary[at] ?? 0
  }
  return values
}
