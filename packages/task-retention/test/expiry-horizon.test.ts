import { createTestDatabase, type TestDatabase } from '@battlescope/scheduler-testing'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { horizonOf } from '../src/policy.js'

const before = (slotAt: string, months: number, days = 0) => horizonOf(new Date(slotAt), { months, days }).toISOString()

describe('the horizon', () => {
  it.each([
    ['2026-11-23T02:00:00.000Z', 60, 0, '2021-11-23T02:00:00.000Z'],
    ['2026-03-31T02:00:00.000Z', 1, 0, '2026-02-28T02:00:00.000Z'],
    ['2028-03-31T02:00:00.000Z', 1, 0, '2028-02-29T02:00:00.000Z'],
    ['2028-02-29T02:00:00.000Z', 12, 0, '2027-02-28T02:00:00.000Z'],
    ['2100-03-01T00:00:00.000Z', 0, 1, '2100-02-28T00:00:00.000Z'],
    ['2026-03-31T02:00:00.000Z', 1, 1, '2026-02-27T02:00:00.000Z'],
    ['2026-01-15T23:59:59.999Z', 1, 0, '2025-12-15T23:59:59.999Z'],
    ['2000-02-29T00:00:00.000Z', 1200, 0, '1900-02-28T00:00:00.000Z'],
  ])('%s less %i months and %i days is %s', (slotAt, months, days, expected) => {
    expect(before(slotAt, months, days)).toBe(expected)
  })

  it('knows no clock change: a month before a summer time is the same hour', () => {
    expect(before('2026-04-15T02:30:00.000Z', 1)).toBe('2026-03-15T02:30:00.000Z')
  })

  it('does not go back beyond the year 1, where PostgreSQL and Date part', () => {
    expect(before('2026-11-23T02:00:00.000Z', 99_999 * 12)).toBe('0001-01-01T00:00:00.000Z')
  })

  describe('on PostgreSQL', () => {
    let database: TestDatabase
    beforeAll(async () => {
      database = await createTestDatabase()
    })
    afterAll(() => database.drop())

    it('is timestamptz - interval in UTC', async () => {
      const cases = fc.sample(
        fc.record({
          slotAt: fc.date({
            min: new Date('1970-01-01T00:00:00Z'),
            max: new Date('2199-12-31T23:59:59.999Z'),
            noInvalidDate: true,
          }),
          months: fc.integer({ min: 0, max: 1500 }),
          days: fc.integer({ min: 0, max: 5000 }),
        }),
        { numRuns: 5000, seed: 1 },
      )
      await database.query(`SET timezone = 'UTC'`)
      const rows = await database.query<{ horizon: string }>(
        `SELECT to_char(t.at - make_interval(months => t.months, days => t.days), 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS horizon
         FROM unnest($1::timestamptz[], $2::int[], $3::int[]) WITH ORDINALITY AS t (at, months, days, position) ORDER BY t.position`,
        [
          cases.map(({ slotAt }) => slotAt.toISOString()),
          cases.map(({ months }) => months),
          cases.map(({ days }) => days),
        ],
      )
      expect(rows.map(({ horizon }) => horizon)).toEqual(
        cases.map(({ slotAt, months, days }) => horizonOf(slotAt, { months, days }).toISOString()),
      )
    })
  })
})
