import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { CopyDecoder } from '../../src/format/copy-decoder.js'
import { copyBytes, text } from './copy-bytes.js'

function decode(bytes: Uint8Array, sizes: readonly number[], fieldCount: number): (string | null)[][] {
  const decoder = new CopyDecoder(fieldCount)
  const rows: (string | null)[][] = []
  for (let at = 0, index = 0; at < bytes.length; index++) {
    const size = sizes[index % sizes.length] ?? 1
    decoder.push(bytes.subarray(at, at + size))
    at += size
    while (decoder.next()) {
      rows.push(
        Array.from(decoder.offsets, (offset, field) => {
          const length = decoder.lengths[field] ?? 0
          return length < 0 ? null : Buffer.from(decoder.bytes.subarray(offset, offset + length)).toString('hex')
        }),
      )
    }
  }
  decoder.finish()
  return rows
}

const field = fc.option(fc.uint8Array({ maxLength: 300 }), { nil: null })
const table = fc
  .integer({ min: 0, max: 5 })
  .chain((width) => fc.array(fc.array(field, { minLength: width, maxLength: width }), { maxLength: 20 }))

describe('CopyDecoder', () => {
  it('finds the same fields however the bytes are cut', () => {
    fc.assert(
      fc.property(table, fc.array(fc.integer({ min: 1, max: 500 }), { minLength: 1, maxLength: 5 }), (rows, sizes) => {
        const expected = rows.map((fields) => fields.map((value) => value && Buffer.from(value).toString('hex')))
        expect(decode(copyBytes(rows), sizes, rows[0]?.length ?? 0)).toEqual(expected)
      }),
    )
  })

  it('finds a row that is much longer than a chunk, and gives its memory back', () => {
    const long = Buffer.alloc(20_000_000, 7)
    const bytes = copyBytes([[text('a')], [long], [text('b')]])
    const decoder = new CopyDecoder(1)
    const lengths: number[] = []
    let largest = 0
    for (let at = 0; at < bytes.length; at += 65_536) {
      decoder.push(bytes.subarray(at, at + 65_536))
      while (decoder.next()) lengths.push(decoder.lengths[0] ?? 0)
      largest = Math.max(largest, decoder.bytes.length)
    }
    decoder.push(new Uint8Array(0))
    decoder.finish()
    expect(lengths).toEqual([1, 20_000_000, 1])
    expect(largest).toBeLessThan(45_000_000)
    expect(decoder.bytes.length).toBeLessThan(1_000_000)
  })

  const whole = copyBytes([
    [text('one'), null],
    [text('two'), text('three')],
  ])

  it('takes no stream without its end', () => {
    for (let length = 0; length < whole.length; length++)
      expect(() => decode(whole.subarray(0, length), [64], 2), `${length} bytes`).toThrow(
        expect.objectContaining({ code: 'copy-format' }),
      )
  })

  it.each([
    ['another signature', Buffer.from('PGCOPZ\n\xff\r\n\0        ', 'latin1'), 'signature'],
    ['flags', Buffer.concat([whole.subarray(0, 11), Buffer.from([0, 1, 0, 0]), whole.subarray(15)]), 'flags'],
    ['another number of fields', copyBytes([[null]]), '1 fields instead of 2'],
    ['bytes behind its end', Buffer.concat([whole, Buffer.from([0])]), 'after its end'],
  ])('refuses %s', (_what, bytes, message) => {
    expect(() => decode(bytes, [7], 2)).toThrow(message)
  })
})
