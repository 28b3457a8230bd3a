import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { canBeDelta, decodeDelta, encodeDelta, integerRange } from '../../src/format/delta.js'
import { buildDictionary, expandDictionary } from '../../src/format/dictionary.js'

const wide = (values: readonly bigint[]): Uint8Array => new Uint8Array(BigInt64Array.from(values).buffer)
const narrow = (values: readonly number[]): Uint8Array => new Uint8Array(Int32Array.from(values).buffer)

const limit = 2n ** 52n
/** Runs with steps of every size, so that every width of bits occurs. */
const safe = fc
  .record({ first: fc.bigInt({ min: -(limit / 4n), max: limit / 4n }), bits: fc.integer({ min: 0, max: 50 }) })
  .chain(({ first, bits }) =>
    fc
      .array(fc.bigInt({ min: 0n, max: 2n ** BigInt(bits) - 1n }), { minLength: 1, maxLength: 400 })
      .map((steps) => steps.map((step) => first + step)),
  )

describe('differences', () => {
  it('give 64-bit values back exactly', () => {
    fc.assert(
      fc.property(safe, (values) => {
        const bytes = wide(values)
        const range = integerRange(bytes, 8)
        expect(range && canBeDelta(range, 8)).toBe(true)
        expect(Buffer.compare(decodeDelta(encodeDelta(bytes, 8), 8, values.length), bytes)).toBe(0)
      }),
      { numRuns: 500 },
    )
  })

  it('give 32-bit values back exactly', () => {
    const values = fc.array(fc.integer({ min: -(2 ** 30), max: 2 ** 30 - 1 }), { minLength: 1, maxLength: 400 })
    fc.assert(
      fc.property(values, (numbers) => {
        const bytes = narrow(numbers)
        expect(Buffer.compare(decodeDelta(encodeDelta(bytes, 4), 4, numbers.length), bytes)).toBe(0)
      }),
    )
  })

  it('take the extremes of what they may be used for', () => {
    const bytes = wide([limit - 1n, 1n, limit - 1n, 1n, 1n, 2n ** 51n])
    expect(canBeDelta(integerRange(bytes, 8)!, 8)).toBe(true)
    expect(Buffer.compare(decodeDelta(encodeDelta(bytes, 8), 8, 6), bytes)).toBe(0)
  })

  it('are not used beyond that', () => {
    expect(integerRange(wide([2n ** 52n]), 8)).toBeUndefined()
    expect(integerRange(wide([-(2n ** 63n), 2n ** 63n - 1n]), 8)).toBeUndefined()
    expect(integerRange(wide([]), 8)).toBeUndefined()
    expect(canBeDelta(integerRange(wide([1n - limit, limit - 1n]), 8)!, 8)).toBe(false)
    expect(canBeDelta(integerRange(narrow([-(2 ** 31), 2 ** 31 - 1]), 4)!, 4)).toBe(false)
  })

  it('that are cut are refused', () => {
    const encoded = encodeDelta(wide(Array.from({ length: 300 }, (_, index) => BigInt(index * index))), 8)
    for (let length = 0; length < encoded.length; length += 7)
      expect(() => decodeDelta(encoded.subarray(0, length), 8, 300)).toThrow(RangeError)
    expect(() => decodeDelta(encoded, 8, 299)).toThrow(RangeError)
  })
})

const plain = (values: readonly string[]): Uint8Array =>
  Buffer.concat(
    values.flatMap((value) => {
      const bytes = Buffer.from(value)
      const length = Buffer.alloc(4)
      length.writeInt32LE(bytes.length)
      return [length, bytes]
    }),
  )

describe('dictionaries', () => {
  it('give values back', () => {
    const values = fc.array(fc.constantFrom('', 'a', 'ab', 'abc', 'abcd', 'abcde', 'abcdx', 'ä'), {
      minLength: 20,
      maxLength: 3_000,
    })
    fc.assert(
      fc.property(values, (texts) => {
        const bytes = plain(texts)
        const dictionary = buildDictionary(bytes, 0, texts.length)
        expect(dictionary?.count).toBe(new Set(texts).size)
        const { bytes: distinct, count, indexes } = dictionary!
        expect(Buffer.compare(expandDictionary(distinct, 0, count, indexes), bytes)).toBe(0)
      }),
    )
  })

  it('are given up when most values are distinct', () => {
    const numbers = Array.from({ length: 5_000 }, (_, index) => BigInt(index))
    expect(buildDictionary(wide(numbers), 8, 5_000)).toBeUndefined()
    expect(buildDictionary(wide(numbers.map((value) => value % 2_000n)), 8, 5_000)).toBeUndefined()
    expect(buildDictionary(wide(numbers.map((value) => value % 500n)), 8, 5_000)?.count).toBe(500)
  })

  it('hold as many values as an index can tell apart', () => {
    const numbers = Array.from({ length: 140_000 }, (_, index) => BigInt((index >> 1) % 65_536))
    const dictionary = buildDictionary(wide(numbers), 8, numbers.length)
    // The first look sees half of the values twice.
    expect(dictionary).toMatchObject({ count: 65_536, bitWidth: 16 })
    const { bytes, count, indexes } = dictionary!
    expect(Buffer.compare(expandDictionary(bytes, 8, count, indexes), wide(numbers))).toBe(0)
  })

  it('refuse an entry that is not theirs', () => {
    expect(() => expandDictionary(wide([1n]), 8, 1, Uint16Array.of(1))).toThrow(RangeError)
    expect(() => expandDictionary(wide([1n]), 8, 2, Uint16Array.of(0))).toThrow(RangeError)
  })
})
