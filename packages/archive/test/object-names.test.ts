import { isObjectName } from '@battlescope/cold-storage'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { dataName, manifestName, restoredName } from '../src/index.js'

const batchId = '1f0c9a77-0f9b-4f5e-8a61-0d9fc2b1a001'
const nameOf = (schema: string, name: string): string =>
  dataName({
    relation: { schema, name },
    month: '2020-11',
    slotAt: new Date('2026-11-23T02:00:00.500Z'),
    batchId,
    part: 3,
  })

describe('object names', () => {
  it('say relation, month, slot, batch and part', () => {
    expect(nameOf('public', 'killmail_events')).toBe(
      'data/public.killmail_events/month=2020-11/20261123T020000Z-1f0c9a77-3.parquet',
    )
    expect(manifestName('2020-11', batchId)).toBe(`manifests/month=2020-11/${batchId}.json`)
  })

  it('move to restored/ and keep the rest', () => {
    expect(restoredName(nameOf('public', 'battles'))).toBe(
      'restored/public.battles/month=2020-11/20261123T020000Z-1f0c9a77-3.parquet',
    )
    expect(() => restoredName('manifests/x.json')).toThrow(RangeError)
  })

  it('escape what a store may refuse, byte by byte', () => {
    expect(nameOf('Odd.Schema', 'ä b/c')).toMatch(/^data\/Odd=2ESchema\.=C3=A4=20b=2Fc\//)
  })

  it('of long names that are not ASCII end with a hash, and differ although their beginnings are the same', () => {
    const folder = (name: string) => name.split('/')[1] ?? ''
    // PostgreSQL's longest: 63 bytes, here of three bytes each, and of four.
    const last = fc.string({ unit: fc.constantFrom('雪', '月', '花'), minLength: 3, maxLength: 3 })
    const schema = '戦'.repeat(21)
    fc.assert(
      fc.property(last, last, (a, b) => {
        const [one, other] = [nameOf(schema, '史'.repeat(18) + a), nameOf(schema, '史'.repeat(18) + b)]
        expect(Buffer.byteLength(folder(one))).toBeLessThanOrEqual(255)
        expect(folder(one)).toMatch(/=[0-9a-f]{16}$/)
        expect(isObjectName(one)).toBe(true)
        expect(one === other).toBe(a === b)
        expect(restoredName(one)).toBe(`restored/${one.slice('data/'.length)}`)
      }),
    )
    // The same in every version: an archive keeps the names that it has.
    expect(folder(nameOf(schema, '史'.repeat(21)))).toBe(
      `${'=E6=88=A6'.repeat(21)}.=E5=8F=B2=E5=8F=B2=E5=8F=B2=E5=8F=4dbbb5650cf9c8d3`,
    )
    expect(folder(nameOf('戦'.repeat(6), '史'.repeat(20)))).toBe(`${'=E6=88=A6'.repeat(6)}.${'=E5=8F=B2'.repeat(20)}`)
  })

  it('are valid and never the same for two relations', () => {
    const identifier = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 40 })
    const pair = fc.tuple(identifier, identifier)
    fc.assert(
      fc.property(pair, pair, ([a, b], [c, d]) => {
        const [one, other] = [nameOf(a, b), nameOf(c, d)]
        expect(one).toMatch(/^data\/[A-Za-z0-9._=+-]+\/month=2020-11\/[A-Za-z0-9._=+-]+$/)
        expect(Buffer.byteLength(one.split('/')[1] ?? '')).toBeLessThanOrEqual(240)
        expect(one === other).toBe(a === c && b === d)
      }),
    )
  })
})
