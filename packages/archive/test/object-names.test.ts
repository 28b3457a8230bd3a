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
