import { z } from 'zod'
import { describe, expect, it } from 'vitest'
import {
  defineCheck,
  measured,
  notApplicable,
  unknown,
  type AnyCheck,
  type AnyOptions,
  type Outcome,
} from '../src/check.js'
import { configOf, optionName, optionsOf } from '../src/config.js'
import { checks } from '../src/checks.js'
import { findingsOf, mostFindings } from '../src/findings.js'
import {
  choose,
  countStates,
  cursorSchema,
  entryOf,
  findingsIn,
  isDue,
  nextCursor,
  obstacleOf,
  planChecks,
  unknownFrom,
  type Chosen,
  type Entry,
} from '../src/plan.js'
import type { Catalog } from '../src/queries.js'

const check: AnyCheck = defineCheck<{ rows: z.ZodDefault<z.ZodNumber> }, number>({
  key: 'some-rows',
  group: 'queues',
  description: 'Rows.',
  interval: 'every-run',
  severity: 'warning',
  holdDownMs: 60_000,
  options: { rows: z.number().default(3) },
  hint: 'look',
  read: () => Promise.resolve(measured(0)),
  judge: (rows, options) => (rows < options.rows ? [] : [{ summary: `${rows} rows` }]),
})
const options: AnyOptions = { enabled: true, severity: 'warning', holdDown: 60_000, rows: 3 }
const at = (iso: string, slotId = iso) => ({ now: new Date(iso), slotId })
const chosen = (change: Partial<Chosen> = {}): Chosen => ({ check, options, before: undefined, ...change })
const made = (iso: string, reading: number, change: Partial<Chosen> = {}): Entry =>
  entryOf(chosen(change), measured(reading), at(iso))

describe('when a check is due', () => {
  const sixHourly: AnyOptions = { ...options, interval: 21_600_000 }
  const sixHourlyAt = (iso: string) => chosen({ options: sixHourly, before: made(iso, 0, { options: sixHourly }) })

  it('is due at first sight', () => {
    expect(isDue(chosen(), at('2026-11-25T12:00:00Z'))).toBe(true)
  })

  it('is due in every run, but once in a slot', () => {
    const before = made('2026-11-25T12:00:00Z', 0)
    expect(isDue(chosen({ before }), at('2026-11-25T12:05:00Z'))).toBe(true)
    expect(isDue(chosen({ before }), at('2026-11-25T12:00:20Z', '2026-11-25T12:00:00Z'))).toBe(false)
  })

  it('is due four times a day with an interval of six hours, whatever the jitter of the runs', () => {
    let current = sixHourlyAt('2026-11-24T00:00:00Z')
    const times: number[] = []
    for (let run = 0; run < 4 * 288; run += 1) {
      const now = new Date(Date.parse('2026-11-25T00:00:00Z') + run * 300_000 + (run % 7) * 3000)
      const occasion = { now, slotId: String(run) }
      if (!isDue(current, occasion)) continue
      times.push(now.getTime())
      current = { ...current, before: entryOf(current, measured(0), occasion) }
    }
    expect(times).toHaveLength(17)
    const gaps = times.slice(2).map((time, index) => time - (times[index + 1] ?? 0))
    expect(Math.min(...gaps)).toBeGreaterThan(21_600_000 - 60_000)
    expect(Math.max(...gaps)).toBeLessThan(21_600_000 + 330_000)
  })

  it('is due at once when one of its options changed, and after a jump of the clock', () => {
    const now = at('2026-11-25T12:05:00Z')
    const before = sixHourlyAt('2026-11-25T12:00:00Z')
    expect(isDue(before, now)).toBe(false)
    expect(isDue({ ...before, options: { ...sixHourly, rows: 4 } }, now)).toBe(true)
    expect(isDue(sixHourlyAt('2026-11-27T12:00:00Z'), now)).toBe(true)
  })

  it('is due in the next run when it was unknown, whatever the interval, but once in a slot', () => {
    const before = entryOf(
      chosen({ options: sixHourly }),
      unknown('no-answer', 'too slow'),
      at('2026-11-25T12:00:00Z', 'slot 1'),
    )
    const blind = chosen({ options: sixHourly, before })
    expect(isDue(blind, at('2026-11-25T12:00:20Z', 'slot 1'))).toBe(false)
    expect(isDue(blind, at('2026-11-25T12:05:00Z', 'slot 2'))).toBe(true)
    const seeing = { ...blind, before: entryOf(blind, measured(0), at('2026-11-25T12:05:00Z', 'slot 2')) }
    expect(isDue(seeing, at('2026-11-25T12:10:00Z', 'slot 3'))).toBe(false)
  })

  it('begins spans of different checks at different times', () => {
    const now = Date.parse('2026-11-25T00:00:00Z')
    const begin = (key: string) => {
      const one = { ...sixHourlyAt('2026-11-25T00:00:00Z'), check: { ...check, key } }
      for (let minute = 0; minute <= 360; minute += 5) {
        if (isDue(one, { now: new Date(now + minute * 60_000), slotId: 'x' })) return minute
      }
      return undefined
    }
    const begins = checks.filter(({ interval }) => interval === 21_600_000).map(({ key }) => begin(key))
    expect(new Set(begins).size).toBeGreaterThan(begins.length / 2)
    expect(begins).not.toContain(undefined)
  })

  it('takes first what was not made for longest', () => {
    const old = chosen({ check: { ...check, key: 'old' }, before: made('2026-11-25T10:00:00Z', 0) })
    const newer = chosen({ check: { ...check, key: 'newer' }, before: made('2026-11-25T11:00:00Z', 0) })
    const fresh = chosen({ check: { ...check, key: 'fresh' } })
    const order = planChecks([newer, old, fresh], at('2026-11-25T12:00:00Z')).map((one) => one.check.key)
    expect(order).toEqual(['fresh', 'old', 'newer'])
  })

  it('leaves out what is off', () => {
    const off = (one: AnyCheck) => ({ ...options, enabled: one.key !== 'off' })
    expect(choose([check, { ...check, key: 'off' }], off, undefined).map((one) => one.check.key)).toEqual(['some-rows'])
  })
})

describe('what stands in the way of a check', () => {
  const catalog: Catalog = {
    user: 'scheduler_health',
    roles: new Set(['pg_monitor']),
    relations: new Map([
      [
        'public.a',
        { exists: true, columns: new Set(['id']), missingPrivileges: [], indexedColumns: new Set(), estimatedRows: 1 },
      ],
      [
        'public.b',
        {
          exists: true,
          columns: new Set(['id']),
          missingPrivileges: ['USAGE ON SCHEMA public', 'SELECT ON public.b'],
          indexedColumns: new Set(),
          estimatedRows: 1,
        },
      ],
    ]),
  }
  const none = () => false
  it.each([
    [
      'a missing relation',
      { relations: [{ relation: 'public.c', columns: [] }] },
      'not-applicable',
      'there is no relation public.c',
    ],
    [
      'a missing column',
      { relations: [{ relation: 'public.a', columns: ['id', 'x'] }] },
      'not-applicable',
      'public.a has no column x',
    ],
    [
      'a missing grant',
      { relations: [{ relation: 'public.b', columns: ['id'] }] },
      'unknown',
      'the grant is missing: GRANT USAGE ON SCHEMA public TO scheduler_health; GRANT SELECT ON public.b TO scheduler_health',
    ],
    [
      'a missing role',
      { roles: ['pg_monitor', 'pg_x'] },
      'unknown',
      'the grant is missing: GRANT pg_x TO scheduler_health',
    ],
    ['a Redis that is not configured', { clients: ['redis'] as never[] }, 'unknown', 'REDIS_URL is not set'],
  ])('%s', (_, needs, outcome, reason) => {
    expect(obstacleOf(needs, catalog, none)).toMatchObject({ outcome, reason })
  })

  it.each([
    ['a grant', { relations: [{ relation: 'public.b', columns: [] }] }, 'select-public.b'],
    ['a role', { roles: ['pg_x'] }, 'grant-pg_x'],
    ['a client', { clients: ['redis'] as never[] }, 'redis'],
  ])('names %s in a way that others share', (_, needs, missing) => {
    expect(obstacleOf(needs, catalog, none)).toMatchObject({ outcome: 'unknown', missing })
  })

  it('nothing, where all is there', () => {
    const needs = {
      relations: [{ relation: 'public.a', columns: ['id'] }],
      roles: ['pg_monitor'],
      clients: ['http'] as const,
    }
    expect(obstacleOf(needs, catalog, () => true)).toBeUndefined()
  })

  it.each([
    ['42501', 'not-permitted'],
    ['57014', 'no-answer'],
    ['08006', 'no-answer'],
    ['redis-permission', 'not-permitted'],
    ['redis-not-configured', 'not-configured'],
  ])('tells what an error of code %s means: %s', (code, cause) => {
    expect(unknownFrom(Object.assign(new Error('why'), { code }))).toMatchObject({ outcome: 'unknown', cause })
  })
})

describe('what a check leaves behind', () => {
  const now = at('2026-11-25T12:05:00Z')
  const wrong = made('2026-11-25T12:00:00Z', 5)

  it('keeps what was wrong when it is unknown, and says that it is', () => {
    const silent = unknown('no-answer', 'Redis does not answer', { dependsOn: ['health/x'] })
    const entry = entryOf(chosen({ before: wrong }), silent, now)
    expect(entry.state).toBe('unknown')
    expect(entry.findings.map(({ key, severity, dependsOn }) => ({ key, severity, dependsOn }))).toEqual([
      { key: 'some-rows:unknown', severity: 'warning', dependsOn: ['health/x'] },
      { key: 'some-rows', severity: 'warning', dependsOn: undefined },
    ])
    const again = entryOf(chosen({ before: entry }), unknown('no-answer', 'still'), now)
    expect(again.findings.map(({ key }) => key)).toEqual(['some-rows:unknown', 'some-rows'])
    expect(entryOf(chosen({ before: again }), measured(0), now)).toMatchObject({ state: 'ok', findings: [] })
  })

  it('says in a whisper what nobody configured', () => {
    const { findings } = entryOf(chosen(), unknown('not-configured', 'REDIS_URL is not set'), now)
    expect(findings).toMatchObject([{ severity: 'info', summary: 'some-rows is unknown: REDIS_URL is not set' }])
  })

  it.each([
    ['no-answer', 0, 900_000],
    ['no-answer', 3_600_000, 3_600_000],
    ['not-permitted', 0, 0],
    ['not-configured', 60_000, 60_000],
  ] as const)('holds %s down, with an own hold-down of %i ms, for %i ms', (cause, holdDown, holdDownMs) => {
    const { findings } = entryOf(chosen({ options: { ...options, holdDown } }), unknown(cause, 'why'), now)
    expect(findings).toMatchObject([{ key: 'some-rows:unknown', holdDownMs }])
  })

  it('takes a finding back when there is nothing of the kind any more', () => {
    const entry = entryOf(chosen({ before: wrong }), notApplicable('no such relation'), now)
    expect(entry).toMatchObject({ state: 'not-applicable', findings: [] })
  })

  it('remembers what it was given, also over a time in which it is unknown', () => {
    const first = entryOf(chosen(), measured(0, { n: 1 }), at('2026-11-25T12:00:00Z'))
    const second = entryOf(chosen({ before: first }), unknown('no-answer', 'x'), now)
    expect(second.memory).toEqual({ atMs: Date.parse('2026-11-25T12:00:00Z'), value: { n: 1 } })
  })

  it('reports again what is not due, and forgets what is off or gone', () => {
    const all = [chosen({ before: wrong }), chosen({ check: { ...check, key: 'other' } })]
    const cursor = nextCursor(all, new Map([['other', made('2026-11-25T12:05:00Z', 0)]]))
    expect(Object.keys(cursor.checks)).toEqual(['some-rows', 'other'])
    expect(findingsIn(cursor)).toMatchObject([{ key: 'some-rows', summary: '5 rows' }])
    expect(countStates(cursor)).toEqual({ ok: 1, found: 1, unknown: 0, 'not-applicable': 0 })
    expect(findingsIn(nextCursor([], new Map()))).toEqual([])
  })

  it('makes findings with key, severity, hold-down and hint', () => {
    const found = [
      { summary: 'a' },
      { subject: 'b', severity: 'critical' as const, summary: 'b', hint: 'do', details: { n: 1 } },
    ]
    expect(findingsOf(check, found, { ...options, severity: 'error' })).toEqual([
      { key: 'some-rows', severity: 'error', summary: 'a', details: { hint: 'look' }, holdDownMs: 60_000 },
      { key: 'some-rows:b', severity: 'critical', summary: 'b', details: { n: 1, hint: 'do' }, holdDownMs: 60_000 },
    ])
  })

  it('has a limit on what one check may say', () => {
    const found = Array.from({ length: mostFindings + 5 }, (_, index) => ({
      subject: String(index),
      summary: `${index}`,
    }))
    const findings = findingsOf(check, found, options)
    expect(findings).toHaveLength(mostFindings)
    expect(findings.at(-1)?.summary).toBe('19 (and 5 more)')
  })
})

describe('the list of checks', () => {
  it('has keys that differ, as options as well, and in kebab-case', () => {
    const names = checks.map(({ key }) => optionName(key))
    expect(new Set(names).size).toBe(names.length)
    for (const { key } of checks) expect(key).toMatch(/^[a-z][a-z0-9]*(-[a-z0-9]+)*$/)
  })

  it('has no option of a check that every check has', () => {
    for (const { key, options: own } of checks) {
      const reserved = Object.keys(own as object).filter((name) =>
        ['enabled', 'interval', 'severity', 'holdDown'].includes(name),
      )
      expect({ key, reserved }).toEqual({ key, reserved: [] })
    }
  })

  it('gives every check its options, with defaults from its data', () => {
    const config = configOf(checks).parse({ queueDepth: { jobs: 5, severity: 'critical', interval: '1h' } })
    const depth = checks.find(({ key }) => key === 'queue-depth') as AnyCheck
    expect(optionsOf(config, depth)).toEqual({
      enabled: true,
      jobs: 5,
      severity: 'critical',
      holdDown: 900_000,
      interval: 3_600_000,
    })
    for (const one of checks) {
      expect(optionsOf(config, one)).toMatchObject({
        enabled: true,
        holdDown: one.key === 'queue-depth' ? 900_000 : one.holdDownMs,
      })
    }
  })

  it('refuses what is no severity, and a duration without unit', () => {
    const schema = configOf([check])
    expect(schema.safeParse({ someRows: { severity: 'bad' } }).success).toBe(false)
    expect(schema.safeParse({ someRows: { holdDown: '5' } }).success).toBe(false)
  })
})

describe('checks that cannot be made for the same reason', () => {
  const entryFor = (key: string, outcome: Outcome<never, never>) =>
    entryOf(chosen({ check: { ...check, key } }), outcome, at('2026-11-25T12:00:00Z'))
  const findingsFor = (outcomes: Readonly<Record<string, Outcome<never, never>>>) =>
    findingsIn({
      checks: Object.fromEntries(Object.entries(outcomes).map(([key, one]) => [key, entryFor(key, one)])),
    })
  const missing = unknown('not-permitted', 'the grant is missing: GRANT pg_monitor TO battlescope', {
    missing: 'grant-pg_monitor',
  })

  it('are one finding, whose key does not depend on how many they are', () => {
    expect(findingsFor({ a: missing, b: missing })).toMatchObject([
      {
        key: 'unknown:grant-pg_monitor',
        severity: 'warning',
        summary: '2 checks are unknown: the grant is missing: GRANT pg_monitor TO battlescope',
        details: { cause: 'not-permitted', checks: ['a', 'b'] },
      },
    ])
    expect(findingsFor({ b: missing })).toMatchObject([
      {
        key: 'unknown:grant-pg_monitor',
        summary: '1 check is unknown: the grant is missing: GRANT pg_monitor TO battlescope',
        details: { checks: ['b'] },
      },
    ])
  })

  it('have the same key for another role, whose name is in the text alone', () => {
    const keys = ['battlescope', 'health'].map((user) => {
      const catalog: Catalog = { user, roles: new Set(), relations: new Map() }
      const outcome = obstacleOf({ roles: ['pg_monitor'] }, catalog, () => true)
      return outcome === undefined ? [] : findingsFor({ a: outcome }).map(({ key }) => key)
    })
    expect(keys).toEqual([['unknown:grant-pg_monitor'], ['unknown:grant-pg_monitor']])
  })

  it('stay apart where another thing is missing, an error was thrown, or no answer came', () => {
    const refused = unknownFrom(Object.assign(new Error('permission denied for table a'), { code: '42501' }))
    const silent = unknown('no-answer', 'too slow')
    const redis = unknown('not-configured', 'REDIS_URL is not set', { missing: 'redis' })
    const findings = findingsFor({ a: missing, b: redis, c: silent, d: silent, e: refused, f: refused })
    expect(findings.map(({ key }) => key)).toEqual([
      'unknown:grant-pg_monitor',
      'unknown:redis',
      'c:unknown',
      'd:unknown',
      'e:unknown',
      'f:unknown',
    ])
  })

  it('keep the finding of an entry that an older version stored', () => {
    const old = { ...entryFor('a', unknown('not-permitted', 'the grant is missing: GRANT pg_monitor TO battlescope')) }
    const stored = cursorSchema.parse({
      checks: {
        a: { ...old, findings: [{ key: 'a:unknown', severity: 'warning', summary: 'a is unknown', details: {} }] },
        b: { ...old, findings: [{ key: 'b:unknown', severity: 'warning', summary: 'b is unknown' }] },
      },
    })
    expect(findingsIn(stored).map(({ key, summary }) => ({ key, summary }))).toEqual([
      { key: 'a:unknown', summary: 'a is unknown' },
      { key: 'b:unknown', summary: 'b is unknown' },
    ])
  })

  it('report beside it what was wrong before', () => {
    const before = entryOf(chosen(), measured(5), at('2026-11-25T11:55:00Z'))
    const entry = entryOf(chosen({ before }), missing, at('2026-11-25T12:00:00Z'))
    const keys = findingsIn({ checks: { 'some-rows': entry } }).map(({ key }) => key)
    expect(keys).toEqual(['unknown:grant-pg_monitor', 'some-rows'])
  })
})
