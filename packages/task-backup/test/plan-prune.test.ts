import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { takenAt } from '../src/plan.js'
import { planPrune } from '../src/plan-prune.js'
import type { BackupRecord } from '../src/tables.js'
import { backupConfig } from '../src/config.js'
import { before, config, dayMs, hourMs, row } from './rows.js'

const location = 'file:///store'
const only = { keepLast: 1, keepDaily: 1, keepMonthly: 1 }
const removed = (backups: readonly BackupRecord[], rules = {}) =>
  planPrune(backups, location, config({ ...only, ...rules })).remove

/** Daily ones, the newest first: of 03:00 on the 23rd and the days before. */
const daily = (days: number) => Array.from({ length: days }, (_, day) => row({ startedAt: before(day * dayMs) }))

describe('planPrune', () => {
  it('keeps the newest, and removes the oldest first', () => {
    const backups = daily(4)
    expect(removed(backups, { keepLast: 2 })).toEqual([backups[3], backups[2]])
  })

  it('keeps the last of each day, week and month', () => {
    // Sunday the 22nd ends a week that began on Monday the 16th.
    const backups = daily(70)
    const kept = (rules: object) => {
      const gone = new Set(removed(backups, rules))
      return backups.filter((each) => !gone.has(each)).map((each) => takenAt(each).toISOString().slice(5, 10))
    }
    expect(kept({ keepDaily: 3 })).toEqual(['11-23', '11-22', '11-21'])
    expect(kept({ keepWeekly: 3 })).toEqual(['11-23', '11-22', '11-15'])
    expect(kept({ keepMonthly: 3 })).toEqual(['11-23', '10-31', '09-30'])
  })

  it('takes several of one day for one', () => {
    const backups = [0, 1, 2].map((hours) => row({ startedAt: before(hours * hourMs) }))
    expect(removed(backups, { keepDaily: 30 })).toEqual([backups[2], backups[1]])
  })

  it('goes by when they were taken, never by name', () => {
    const old = row({ name: 'zzz', startedAt: before(5 * dayMs) })
    const young = row({ name: 'aaa', startedAt: before(dayMs) })
    expect(removed([old, young])).toEqual([old])
  })

  it.each(['announced', 'running', 'overdue', 'failed', 'vanished'] as const)('leaves alone what is %s', (state) => {
    expect(removed([row({ startedAt: before(0) }), row({ state, startedAt: before(400 * dayMs) })])).toEqual([])
  })

  it('removes nothing for a newer one that failed: it is no backup', () => {
    expect(removed([row({ state: 'failed', startedAt: before(0) }), row({ startedAt: before(300 * dayMs) })])).toEqual(
      [],
    )
  })

  it('removes nothing while the newest is suspiciously small', () => {
    const backups = [row({ startedAt: before(0), sizeBytes: 10 }), ...daily(4)]
    expect(planPrune(backups, location, config(only))).toEqual({
      remove: [],
      heldBack: `${backups[0]?.name ?? ''} is much smaller than ${backups[1]?.name ?? ''}`,
    })
  })

  it('touches nothing that others took, or that lies elsewhere', () => {
    const other = row({ driver: 'http', startedAt: before(300 * dayMs) })
    const elsewhere = row({ location: 's3://other', startedAt: before(300 * dayMs) })
    expect(removed([row(), other, elsewhere])).toEqual([])
  })

  it('ends what was begun, also when pruning is off', () => {
    const begun = row({ state: 'pruning', startedAt: before(300 * dayMs) })
    expect(removed([begun, ...daily(4)], { prune: false })).toEqual([begun])
  })

  it('never removes the newest good one, nor leaves fewer than keepLast, whatever there is', () => {
    const states = ['succeeded', 'failed', 'running', 'pruning', 'vanished'] as const
    const backups = fc.array(
      fc.record({
        state: fc.constantFrom(...states),
        hours: fc.integer({ min: 0, max: 20_000 }),
        sizeBytes: fc.integer({ min: 1, max: 9 }),
      }),
      { maxLength: 60 },
    )
    const rules = fc.record({
      keepLast: fc.integer({ min: 1, max: 5 }),
      keepDaily: fc.integer({ min: 1, max: 40 }),
      keepWeekly: fc.option(fc.integer({ min: 1, max: 9 }), { nil: undefined }),
      keepMonthly: fc.integer({ min: 1, max: 13 }),
    })
    fc.assert(
      fc.property(backups, rules, (given, keep) => {
        const all = given.map(({ hours, ...change }) => row({ ...change, startedAt: before(hours * hourMs) }))
        const plan = planPrune(all, location, backupConfig.parse({ ...keep, minSizeRatio: 0.01 }))
        const good = all
          .filter(({ state }) => state === 'succeeded')
          .sort((a, b) => takenAt(b).getTime() - takenAt(a).getTime())
        const left = good.filter((each) => !plan.remove.includes(each))
        expect(plan.remove.every(({ state }) => state === 'succeeded' || state === 'pruning')).toBe(true)
        expect(left.slice(0, keep.keepLast)).toEqual(good.slice(0, keep.keepLast))
        // Planning again over what is left removes nothing more.
        expect(planPrune(left, location, backupConfig.parse({ ...keep, minSizeRatio: 0.01 })).remove).toEqual([])
      }),
    )
  })
})
