import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { statisticsConfig, type StatisticsConfig } from '../src/config.js'
import { addDays, daysBetween, endOfDays, firstDay, formatRange, isDay } from '../src/days.js'
import { emptyCursor, type Cursor } from '../src/cursor.js'
import { countingOf, cut, differingRange, mergeNoted, planStatistics, sliceBorders, type Facts } from '../src/plan.js'
import type { SourceFacts } from '../src/queries.js'
import { rollupNames, sourceNames, type SourceName } from '../src/rollups.js'

const now = new Date('2026-11-23T10:00:00Z')
const dayMs = 86_400_000
const defaults = statisticsConfig.parse({ sliceRows: 1000 })
const source = (change: Partial<SourceFacts> = {}): SourceFacts => ({
  present: true,
  timeIndex: false,
  systemIndex: true,
  sizeBytes: 1e9,
  ...change,
})
const allSources = (change: Partial<Record<SourceName, Partial<SourceFacts>>> = {}) =>
  Object.fromEntries(sourceNames.map((name) => [name, source(change[name])])) as Record<SourceName, SourceFacts>

/** Ten days of 400 each, the last of them today. */
const density = Array.from({ length: 10 }, (_, index) => ({ day: addDays('2026-11-14', index), rows: 400 }))
const facts = (change: Partial<Facts> = {}): Facts => ({
  now,
  sources: allSources(),
  density,
  oldestCounted: undefined,
  noted: [],
  triggers: undefined,
  ...change,
})
const counted: Cursor = { ...emptyCursor, counted: rollupNames, sweptAt: '2026-11-22T00:00:00Z' }
const plan = (change: Partial<Facts> = {}, config: Partial<StatisticsConfig> = {}, cursor = counted) =>
  planStatistics(facts(change), { ...defaults, ...config }, cursor)
const shown = ({ slices }: ReturnType<typeof plan>) => slices.map(({ kind, range }) => `${kind} ${formatRange(range)}`)

describe('planStatistics', () => {
  it('counts everything first, from the newest day to the oldest, without comparing', () => {
    const result = plan({}, {}, emptyCursor)
    expect(shown(result)).toEqual([
      'first-count 2026-11-22..',
      'first-count 2026-11-20..2026-11-21',
      'first-count 2026-11-18..2026-11-19',
      'first-count 2026-11-16..2026-11-17',
      'first-count ..2026-11-15',
    ])
    expect(result.slices.every(({ compare }) => !compare)).toBe(true)
    expect(result.slices.at(-1)?.cursorAfter).toEqual({
      ...emptyCursor,
      counted: rollupNames,
      sweptAt: now.toISOString(),
    })
  })

  it('goes on with a first count where it was, and does not forget the newest days over it', () => {
    const [first, second] = plan({}, {}, emptyCursor).slices
    expect(shown(plan({}, {}, first?.cursorAfter))[0]).toBe('first-count 2026-11-20..2026-11-21')
    expect(shown(plan({}, {}, second?.cursorAfter))).toEqual([
      'trailing 2026-11-22..',
      'trailing 2026-11-21',
      'first-count 2026-11-18..2026-11-19',
      'first-count 2026-11-16..2026-11-17',
      'first-count ..2026-11-15',
    ])
  })

  it('then compares the trailing days alone, until the re-check is due', () => {
    const result = plan()
    expect(shown(result)).toEqual(['trailing 2026-11-22..', 'trailing 2026-11-21'])
    expect(result.slices.every(({ compare }) => compare)).toBe(true)
    expect(result.cursor).toEqual(counted)
    // Three quarters of seven days.
    const due = plan({ now: new Date(Date.parse('2026-11-22T00:00:00Z') + 5.25 * dayMs) })
    expect(due.cursor.sweep).toMatchObject({ before: endOfDays, full: false })
  })

  it('takes so much of the re-check that it ends in time', () => {
    const cursor = plan({ now: new Date('2026-11-28T00:00:00Z') }).cursor
    const after = (days: number) =>
      shown(plan({ now: new Date(Date.parse('2026-11-28T00:00:00Z') + days * dayMs) }, {}, cursor)).filter((text) =>
        text.startsWith('recheck'),
      )
    expect(after(0)).toEqual([])
    expect(after(0.1)).toHaveLength(1)
    expect(after(2.5)).toHaveLength(3)
    expect(after(5.25)).toHaveLength(5)
    expect(after(9)).toHaveLength(5)
  })

  it('covers every day in every re-check, whatever the slots and the density', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 3 * dayMs }), { minLength: 1, maxLength: 60 }),
        fc.array(fc.tuple(fc.integer({ min: 0, max: 400 }), fc.integer({ min: 0, max: 3000 })), { maxLength: 40 }),
        (gaps, days) => {
          const growing = [...new Map(days).entries()]
            .sort(([a], [b]) => a - b)
            .map(([offset, rows]) => ({ day: addDays('2026-01-01', offset), rows }))
          let cursor: Cursor = { ...counted, sweptAt: '2020-01-01T00:00:00Z' }
          let at = now.getTime()
          let next: string | undefined
          for (const gap of gaps) {
            at += gap
            const result = plan({ now: new Date(at), density: growing }, {}, cursor)
            cursor = result.cursor
            for (const { kind, range, cursorAfter } of result.slices.filter((slice) => slice.kind === 'recheck')) {
              expect(kind).toBe('recheck')
              // Each begins where the one before it ended, and the first at the end of time.
              expect(range.to).toBe(next ?? endOfDays)
              next = range.from === firstDay ? undefined : range.from
              cursor = cursorAfter ?? cursor
            }
            // What is due by the time is planned.
            if (cursor.sweep !== null) expect(at - Date.parse(cursor.sweep.startedAt)).toBeLessThan(5.25 * dayMs)
          }
        },
      ),
    )
  })

  it('in mode exact counts what was noted and nothing else, once everything was counted with these triggers', () => {
    const exact = { mode: 'exact' } as const
    const installed = plan({ triggers: '1 2' }, exact)
    expect(installed.slices.every(({ kind }) => kind === 'first-count')).toBe(true)
    const done = installed.slices.at(-1)?.cursorAfter
    expect(done).toMatchObject({ exactSince: '1 2', sweep: null })
    expect(plan({ triggers: '1 2' }, exact, done).slices).toEqual([])
    const noted = ['2026-11-23', '2026-11-15', '2026-11-16', '2024-01-01']
    const result = plan({ triggers: '1 2', noted }, exact, done)
    expect(shown(result)).toEqual(['noted 2026-11-23', 'noted 2026-11-16', 'noted 2026-11-15', 'noted 2024-01-01'])
    expect(result.slices.every(({ compare }) => !compare)).toBe(true)
    // Made anew, they may have missed something.
    expect(plan({ triggers: '1 3' }, exact, done).slices[0]?.kind).toBe('first-count')
  })

  it('in mode exact without triggers does as in mode trailing, and says so', () => {
    const result = plan({}, { mode: 'exact' })
    expect(shown(result)).toEqual(shown(plan()))
    expect(result.findings).toMatchObject([{ key: 'triggers-missing', severity: 'warning' }])
  })

  it('counts notes in mode trailing, too', () => {
    expect(shown(plan({ noted: ['2020-01-01'] }))[0]).toBe('noted 2020-01-01')
  })

  it('does not re-check what freezeAfter freezes', () => {
    const cursor = { ...counted, sweptAt: '2026-01-01T00:00:00Z' }
    const config = { freezeAfter: { months: 0, days: 5 } }
    const begun = plan({}, config, cursor).cursor
    const later = plan({ now: new Date('2026-12-01T00:00:00Z') }, config, begun)
    expect(shown(later).at(-1)).toBe('recheck 2026-11-26..')
    expect(later.slices.at(-1)?.cursorAfter?.sweep).toBeNull()
  })

  it('has nothing to count without relations, and counts parts of a rollup', () => {
    const absent = Object.fromEntries(sourceNames.map((name) => [name, { present: false }]))
    expect(plan({ sources: allSources(absent) })).toMatchObject({ nothingToCount: true, slices: [], findings: [] })
    const { slices, findings } = plan({ sources: allSources({ killmail_events: { present: false } }) })
    expect(slices[0]?.rollups).toHaveLength(5)
    expect(findings).toMatchObject([{ key: 'missing', details: { relations: ['public.killmail_events'] } }])
    const only = plan({ sources: allSources({ ...absent, pilot_ship_history: { present: true } }) })
    expect(only.slices[0]?.rollups.map(({ name }) => name)).toEqual(['ship-type'])
  })

  it('says how to avoid scans', () => {
    const scanned = plan({ sources: allSources({ killmail_events: { systemIndex: false } }) })
    expect(scanned.findings).toMatchObject([
      { key: 'no-time-index', details: { hint: 'CREATE INDEX CONCURRENTLY ON public.killmail_events (occurred_at)' } },
    ])
  })
})

describe('slices', () => {
  const days = fc.array(fc.tuple(fc.integer({ min: 0, max: 900 }), fc.integer({ min: 1, max: 5000 })), {
    maxLength: 80,
  })

  it('cover the range once, in order, none larger than asked for unless it is a day', () => {
    fc.assert(
      fc.property(days, fc.option(fc.integer({ min: -2000, max: 900 }), { nil: undefined }), (list, oldest) => {
        const counts = [...new Map(list).entries()]
          .sort(([a], [b]) => a - b)
          .map(([offset, rows]) => ({ day: addDays('2024-01-01', offset), rows }))
        const oldestCounted = oldest === undefined ? undefined : addDays('2024-01-01', oldest)
        const borders = sliceBorders({ density: counts, oldestCounted }, 5000)
        const slices = cut({ from: firstDay, to: endOfDays }, borders)
        expect(slices[0]?.from).toBe(firstDay)
        expect(slices.at(-1)?.to).toBe(endOfDays)
        for (const [index, { from, to }] of slices.entries()) {
          expect(from < to).toBe(true)
          if (index > 0) expect(from).toBe(slices[index - 1]?.to)
          const inside = counts.filter(({ day }) => day >= from && day < to)
          if (inside.length > 1) expect(inside.reduce((sum, { rows }) => sum + rows, 0)).toBeLessThanOrEqual(5000)
        }
      }),
    )
  })

  it('of days that only have rollups left are a month long', () => {
    const borders = sliceBorders({ density: [{ day: '2026-04-01', rows: 5 }], oldestCounted: '2026-01-01' }, 100)
    expect(borders).toEqual(['2026-01-01', '2026-02-01', '2026-03-04', '2026-04-01'])
  })

  it('of noted days hold each of them, and join what lies side by side', () => {
    expect(mergeNoted(['2026-01-05', '2026-01-01', '2026-01-02'])).toEqual([{ from: '2026-01-01', to: '2026-01-06' }])
    expect(mergeNoted(['2026-01-07', '2026-01-02'])).toHaveLength(2)
  })

  it('are read system by system only where that is less than a scan', () => {
    const counting = (change: Partial<SourceFacts>, from: string) =>
      countingOf(facts({ sources: allSources({ killmail_events: change }) }), defaults, 's', {
        from,
        to: endOfDays,
      }).killmailAccess
    expect(counting({}, '2026-11-23')).toBe('by-system')
    expect(counting({}, '2026-11-20')).toBe('plain')
    expect(counting({ timeIndex: true }, '2026-11-23')).toBe('plain')
    expect(counting({ systemIndex: false }, '2026-11-23')).toBe('plain')
    expect(counting({ sizeBytes: 8192 }, '2026-11-23')).toBe('plain')
  })

  it('are written from the first day that differs to the last', () => {
    const on = (day: string) => ({ rollup: 'system' as const, day, added: 1, changed: 0, removed: 0 })
    expect(differingRange([on('2026-01-03'), on('2026-01-02'), on('2026-01-05')])).toEqual({
      from: '2026-01-02',
      to: '2026-01-06',
    })
    expect(differingRange([])).toBeUndefined()
  })

  it('freeze by the calendar: the 31st of a shorter month is its last day', () => {
    const before = (at: string, months: number) =>
      countingOf(facts({ now: new Date(at) }), { freezeAfter: { months, days: 0 } }, 's', {
        from: firstDay,
        to: endOfDays,
      }).freezeBefore
    expect(before('2026-03-31T12:00:00Z', 1)).toBe('2026-02-28')
    expect(before('2026-11-23T23:59:59Z', 60)).toBe('2021-11-23')
  })
})

describe('days', () => {
  it('are the days of the calendar', () => {
    expect(['2026-02-28', '2024-02-29', '0001-01-01'].every(isDay)).toBe(true)
    expect(['2026-02-29', '2026-2-1', '2026-13-01', '9999-12-31', '', 'today', '02026-01-01'].some(isDay)).toBe(false)
    expect(addDays('2024-02-28', 2)).toBe('2024-03-01')
    expect([addDays(firstDay, -1), addDays(endOfDays, 1)]).toEqual([firstDay, endOfDays])
    expect(daysBetween('2023-12-31', '2025-01-01')).toBe(367)
  })

  it('are shown with the last one included', () => {
    expect(formatRange({ from: '2026-01-01', to: '2026-01-02' })).toBe('2026-01-01')
    expect(formatRange({ from: '2026-01-01', to: '2026-01-03' })).toBe('2026-01-01..2026-01-02')
    expect(formatRange({ from: firstDay, to: endOfDays })).toBe('..')
  })
})
