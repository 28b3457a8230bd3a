import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { adviceFor, longRunFor } from '../src/advice.js'
import { admit, measuredRate, predict, scanBytesOf, slowerRate, type Memory } from '../src/admission.js'
import { vacuumConfig, type VacuumConfig } from '../src/config.js'
import { holderInWords, lastingHolder, releaseOf } from '../src/horizon.js'
import { failureOf, resultOf, type Attempt } from '../src/outcome.js'
import { planVacuum, remember, type Situation, type VacuumPlan } from '../src/plan.js'
import type { Candidate, Sizes } from '../src/queries.js'
import type { Holder, Settings } from '../src/situation-queries.js'
import { thresholdsOf } from '../src/thresholds.js'

const config = vacuumConfig.parse({ relations: ['public.*'] })
const now = new Date('2026-11-25T04:00:00Z')
const minutesAgo = (minutes: number) => new Date(now.getTime() - minutes * 60_000)

/** PostgreSQL's own defaults. */
const settings: Settings = {
  versionNum: 150_020,
  blockBytes: 8192,
  maintenanceWorkMemBytes: 64 * 1024 * 1024,
  values: {
    autovacuum: 'on',
    autovacuum_vacuum_threshold: '50',
    autovacuum_vacuum_scale_factor: '0.2',
    autovacuum_vacuum_insert_threshold: '1000',
    autovacuum_vacuum_insert_scale_factor: '0.2',
    autovacuum_analyze_threshold: '50',
    autovacuum_analyze_scale_factor: '0.1',
    autovacuum_freeze_max_age: '200000000',
    autovacuum_multixact_freeze_max_age: '400000000',
    autovacuum_vacuum_cost_limit: '-1',
    vacuum_cost_limit: '200',
    vacuum_failsafe_age: '1600000000',
    vacuum_freeze_min_age: '50000000',
  },
}

let oids = 16_384
function candidate(name: string, change: Partial<Candidate> = {}): Candidate {
  return {
    oid: (oids += 1),
    schema: 'public',
    name,
    parents: [],
    permitted: true,
    rows: 10_000,
    deadRows: 0,
    insertedRows: 0,
    pages: 100,
    allVisiblePages: 100,
    parameters: {},
    toast: undefined,
    changedRows: 0,
    frozenAge: 1000,
    multixactAge: 0,
    lastVacuumAt: minutesAgo(24 * 60),
    ...change,
  }
}

function holder(change: Partial<Holder> = {}): Holder {
  return {
    kind: 'session',
    name: '4711',
    user: 'app',
    application: 'api',
    state: 'idle in transaction',
    xmin: '800',
    ageTransactions: 35,
    since: minutesAgo(90),
    ...change,
  }
}

const quietly: Situation = { settings, occupied: [], wraparound: { workers: [], databaseAge: 1000 }, holders: [], now }

const plan = (
  candidates: readonly Candidate[],
  situation: Partial<Situation> = {},
  change: Partial<VacuumConfig> = {},
  relations: Readonly<Record<string, Memory>> = {},
) => planVacuum(candidates, { ...quietly, ...situation }, { ...config, ...change }, { relations })
const names = ({ actions }: VacuumPlan) => actions.map(({ candidate: { name } }) => name)

describe('planVacuum', () => {
  it.each([
    // Autovacuum acts at 50 + 0.2 × 10 000 = 2050 dead rows, so half of it is 1025.
    ['dead rows under half of the threshold', { deadRows: 1024 }, undefined],
    ['dead rows at half of the threshold', { deadRows: 1025 }, 'dead-rows'],
    ['dead rows of a huge relation', { deadRows: 100_000, rows: 1e9 }, 'dead-rows'],
    ['dead rows of a relation that nobody counted', { deadRows: 25, rows: undefined }, 'dead-rows'],
    [
      'a storage parameter that makes it sooner',
      { deadRows: 20, parameters: { autovacuum_vacuum_scale_factor: '0', autovacuum_vacuum_threshold: '40' } },
      'dead-rows',
    ],
    [
      'a storage parameter that makes it later',
      { deadRows: 2000, parameters: { autovacuum_vacuum_threshold: '1000000' } },
      undefined,
    ],
    // 1000 + 0.2 × 10 000 inserted rows.
    ['inserts under half of their threshold', { insertedRows: 1499 }, undefined],
    ['inserts at half of their threshold', { insertedRows: 1500 }, 'inserts'],
    [
      'inserts that are not to count',
      { insertedRows: 1e6, parameters: { autovacuum_vacuum_insert_threshold: '-1' } },
      undefined,
    ],
    [
      'pages out of the visibility map, never vacuumed',
      { pages: 5000, allVisiblePages: 0, lastVacuumAt: undefined },
      'visibility',
    ],
    ['pages out of the visibility map, and nothing happened since', { pages: 5000, allVisiblePages: 0 }, undefined],
    [
      'pages out of the visibility map, and something happened',
      { pages: 5000, allVisiblePages: 3900, insertedRows: 1 },
      'visibility',
    ],
    ['few pages out of the visibility map', { pages: 5000, allVisiblePages: 3977, insertedRows: 1 }, undefined],
    ['a small share of the pages', { pages: 100_000, allVisiblePages: 90_000, insertedRows: 1 }, undefined],
    ['an age under the share', { frozenAge: 159_999_999 }, undefined],
    ['an age at the share', { frozenAge: 160_000_000 }, 'freeze'],
    ['an age of multixacts', { multixactAge: 320_000_000 }, 'freeze'],
    [
      'a storage parameter for the age',
      { frozenAge: 90_000, parameters: { autovacuum_freeze_max_age: '100000' } },
      'freeze',
    ],
    ['freezing above all else', { frozenAge: 160_000_000, deadRows: 1e6 }, 'freeze'],
    ['nothing', {}, undefined],
  ] as const)('%s', (_name, change: Partial<Candidate>, kind) => {
    expect(plan([candidate('t', change)]).actions.map(({ need }) => need.kind)).toEqual(
      kind === undefined ? [] : [kind],
    )
  })

  it('judges a TOAST table by its own rows, and by parameters of its own over those of its relation', () => {
    const toast = { oid: 1, rows: 1000, deadRows: 200, insertedRows: 0, pages: 10, allVisiblePages: 0, parameters: {} }
    expect(plan([candidate('t', { toast })]).actions.map(({ need }) => need.kind)).toEqual(['toast'])
    const later = { autovacuum_vacuum_threshold: '10000' }
    expect(names(plan([candidate('t', { toast, parameters: later })]))).toEqual([])
    const sooner = { ...toast, parameters: { autovacuum_vacuum_threshold: '50' } }
    expect(names(plan([candidate('t', { toast: sooner, parameters: later })]))).toEqual(['t'])
    // Whatever it has of its own takes the place of all that the relation has: autovacuum does not mix them.
    const dearer = { ...toast, parameters: { autovacuum_vacuum_cost_limit: '2000' } }
    expect(names(plan([candidate('t', { toast: dearer, parameters: later })]))).toEqual(['t'])
  })

  it('respects the limit for thresholds that came with PostgreSQL 18', () => {
    const newer = { ...settings, values: { ...settings.values, autovacuum_vacuum_max_threshold: '100000000' } }
    expect(thresholdsOf(candidate('t', { rows: 1e10 }), newer).deadRows).toBe(100_000_000)
    expect(thresholdsOf(candidate('t', { rows: 1e10 }), settings).deadRows).toBe(2_000_000_050)
  })

  it('takes freezing first, then what is furthest beyond its threshold', () => {
    const candidates = [
      candidate('a', { deadRows: 2000 }),
      candidate('b', { deadRows: 9000 }),
      candidate('c', { frozenAge: 170_000_000 }),
      candidate('d', { insertedRows: 3000 }),
    ]
    expect(names(plan(candidates))).toEqual(['c', 'b', 'd', 'a'])
  })

  it('adds ANALYZE where statistics are stale, too', () => {
    const stale = (change: Partial<Candidate>, options: Partial<VacuumConfig> = {}) =>
      plan([candidate('t', { deadRows: 5000, ...change })], {}, options).actions[0]?.analyze
    expect(stale({ changedRows: 524 })).toBe(false)
    expect(stale({ changedRows: 525 })).toBe(true)
    expect(stale({ changedRows: 525 }, { analyze: false })).toBe(false)
  })

  it('freezes half of what made it due, so that it is not due again at once', () => {
    expect(plan([candidate('t', { frozenAge: 170_000_000 })]).actions[0]?.freezeOlderThan).toBe(50_000_000)
    const sooner = { autovacuum_freeze_max_age: '100000' }
    expect(plan([candidate('t', { frozenAge: 90_000, parameters: sooner })]).actions[0]?.freezeOlderThan).toBe(40_000)
    expect(plan([candidate('t', { deadRows: 5000 })]).actions[0]?.freezeOlderThan).toBeUndefined()
  })

  it('leaves alone what others are at, its TOAST table included', () => {
    const a = candidate('a', { deadRows: 5000 })
    const b = candidate('b', {
      deadRows: 5000,
      toast: { oid: 7, rows: 0, deadRows: 0, insertedRows: 0, pages: 0, allVisiblePages: 0, parameters: {} },
    })
    const result = plan([a, b, candidate('c', { deadRows: 5000 })], {
      occupied: [
        { oid: a.oid, by: 'vacuum' },
        { oid: 7, by: 'autovacuum' },
      ],
    })
    expect(names(result)).toEqual(['c'])
    expect(result.occupied.map(({ reason }) => reason)).toEqual([
      'somebody else is vacuuming it',
      'autovacuum is at work on it',
    ])
  })

  it('leaves to autovacuum what it takes by itself to prevent wraparound', () => {
    const result = plan([candidate('a', { frozenAge: 200_000_000 }), candidate('b', { frozenAge: 199_999_999 })])
    expect(names(result)).toEqual(['b'])
    expect(result.leftToAutovacuum.map(({ candidate: { name } }) => name)).toEqual(['a'])
  })

  it('does nothing while autovacuum prevents wraparound, and goes on when that is over', () => {
    const workers = ['autovacuum: VACUUM public.huge (to prevent wraparound)']
    const wraparound = { workers, databaseAge: 200_000_000 }
    const during = plan([candidate('a', { deadRows: 5000 })], { wraparound })
    expect(resultOf(during, [], settings, config)).toMatchObject({
      outcome: 'partial',
      remaining: 1,
      findings: [{ key: 'wraparound', summary: expect.stringContaining('public.huge') as string }],
    })
    const failsafe = plan([], { wraparound: { workers: [], databaseAge: 1_600_000_000 } })
    expect(resultOf(failsafe, [], settings, config)).toMatchObject({ outcome: 'skipped' })
    expect(plan([], { wraparound: { workers: [], databaseAge: 1_599_999_999 } }).emergency).toBeUndefined()
  })

  it('tells what is not permitted and what is missing', () => {
    const result = plan(
      [candidate('a', { permitted: false, deadRows: 5000 })],
      {},
      { relations: ['a', 'gone', 'gon*'] },
    )
    expect(result.actions).toEqual([])
    expect(result.notPermitted.map(({ name }) => name)).toEqual(['a'])
    expect(result.missing).toEqual(['gone'])
    expect(resultOf(result, [], settings, config)).toMatchObject({
      outcome: 'skipped',
      reason: 'no relation may be vacuumed by this role',
    })
  })

  it('takes partitions of what is chosen, leaves out those of what is excluded, and misses no parent', () => {
    const parents = [{ schema: 'public', name: 'p' }]
    const leaf = candidate('p1', { parents, deadRows: 5000 })
    expect(names(plan([leaf], {}, { relations: ['p'] }))).toEqual(['p1'])
    expect(plan([leaf], {}, { relations: ['p'] }).missing).toEqual([])
    expect(names(plan([leaf], {}, { relations: ['p*'], exclude: ['p'] }))).toEqual([])
  })

  it('puts every chosen relation into exactly one place', () => {
    const anyCandidate = fc
      .record({
        deadRows: fc.nat(10_000),
        insertedRows: fc.nat(10_000),
        frozenAge: fc.nat(250_000_000),
        permitted: fc.boolean(),
        lastVacuumAt: fc.option(fc.constant(minutesAgo(10)), { nil: undefined }),
      })
      .map((change) => candidate(`t${oids}`, change))
    fc.assert(
      fc.property(fc.array(anyCandidate, { maxLength: 8 }), fc.boolean(), (candidates, held) => {
        const [first] = candidates
        const result = plan(candidates, {
          holders: held ? [holder()] : [],
          occupied: first === undefined ? [] : [{ oid: first.oid, by: 'vacuum' }],
        })
        const places = [
          ...result.actions.map((planned) => planned.candidate),
          ...result.heldBack.map(({ planned }) => planned.candidate),
          ...[...result.occupied, ...result.leftToAutovacuum].map((leftOut) => leftOut.candidate),
          ...result.quiet,
          ...result.notPermitted,
        ]
        expect(places.map(({ oid }) => oid).sort()).toEqual(candidates.map(({ oid }) => oid).sort())
      }),
    )
  })
})

describe('who holds back', () => {
  const dead = candidate('t', { deadRows: 5000, lastVacuumAt: minutesAgo(60) })
  const heldBack = (holders: readonly Holder[], relation = dead, memory: Memory = {}) =>
    plan([relation], { holders }, {}, { 'public.t': memory }).heldBack.map((held) => held.holder.name)

  it('is a transaction that began before the last VACUUM', () => {
    expect(heldBack([holder({ since: minutesAgo(90) })])).toEqual(['4711'])
    // There may be something to remove that died between the last VACUUM and its begin.
    expect(heldBack([holder({ since: minutesAgo(30) })])).toEqual([])
    expect(
      heldBack([holder({ since: minutesAgo(90) })], candidate('t', { deadRows: 5000, lastVacuumAt: undefined })),
    ).toEqual([])
  })

  it('is none that passes', () => {
    const justVacuumed = candidate('t', { deadRows: 5000, lastVacuumAt: minutesAgo(1) })
    expect(heldBack([holder({ since: minutesAgo(4) })], justVacuumed)).toEqual([])
    expect(heldBack([holder({ since: minutesAgo(5) })], justVacuumed)).toEqual(['4711'])
  })

  it('is named after a VACUUM only when it is no passing one', () => {
    const passing = holder({ name: '1', since: minutesAgo(4), ageTransactions: 90 })
    const slot = holder({ kind: 'replication slot', name: 'slot1', since: undefined })
    const named = (...holders: readonly Holder[]) => lastingHolder({ holders, now }, config)?.name
    expect(named()).toBeUndefined()
    expect(named(passing)).toBeUndefined()
    expect(named(passing, holder({ since: minutesAgo(5) }))).toBe('4711')
    // Of a slot nobody knows since when.
    expect(named(passing, slot)).toBe('slot1')
  })

  it('is whoever held back at the last VACUUM of ours, as long as it is the oldest', () => {
    const slot = holder({ kind: 'replication slot', name: 'slot1', since: undefined, xmin: '700' })
    expect(heldBack([slot])).toEqual([])
    expect(heldBack([slot], dead, { horizon: '700' })).toEqual(['slot1'])
    expect(heldBack([{ ...slot, xmin: '701' }], dead, { horizon: '700' })).toEqual([])
    expect(heldBack([], dead, { horizon: '700' })).toEqual([])
  })

  it('keeps from freezing only what is as old as itself', () => {
    const old = candidate('t', { frozenAge: 170_000_000, lastVacuumAt: minutesAgo(60) })
    expect(heldBack([holder({ ageTransactions: 159_999_999 })], old)).toEqual([])
    expect(heldBack([holder({ ageTransactions: 160_000_000 })], old)).toEqual(['4711'])
  })

  it('is named, with what would end it', () => {
    expect(holderInWords(holder())).toBe(
      'session 4711 of app (api): idle in transaction, since 2026-11-25T02:30:00Z, 35 transactions old',
    )
    expect(
      holderInWords(
        holder({ kind: 'standby', name: 'b', application: 'b', user: undefined, state: undefined, since: undefined }),
      ),
    ).toBe('standby b: 35 transactions old')
    expect(releaseOf(holder({ kind: 'prepared transaction', name: "it's" }))).toContain(`ROLLBACK PREPARED 'it''s';`)
    expect(releaseOf(holder({ kind: 'replication slot', name: 's' }))).toContain(`pg_drop_replication_slot('s')`)
  })
})

describe('admission', () => {
  const mib = 1024 * 1024
  const sizes: Sizes = { heapBytes: 800 * mib, indexBytes: 200 * mib, toastHeapBytes: 0, toastIndexBytes: 0 }
  const pages = (800 * mib) / 8192
  const how = { everyPage: false, analyze: false }

  it('predicts what has to be read: pages that are not visible, those of dead rows twice, and indexes', () => {
    const relation = candidate('t', { pages, allVisiblePages: pages })
    expect(scanBytesOf(relation, sizes, settings, how)).toBe(0)
    expect(scanBytesOf({ ...relation, allVisiblePages: 0 }, sizes, settings, how)).toBe(800 * mib)
    expect(scanBytesOf(relation, sizes, settings, { ...how, everyPage: true })).toBe(800 * mib)
    expect(scanBytesOf({ ...relation, deadRows: 1000 }, sizes, settings, how)).toBe(2 * 1000 * 8192 + 200 * mib)
    // All of the heap twice, and the indexes once for each time that the memory for dead rows is full.
    expect(scanBytesOf({ ...relation, deadRows: 20_000_000 }, sizes, settings, how)).toBe(2 * 800 * mib + 2 * 200 * mib)
    expect(scanBytesOf(relation, sizes, settings, { ...how, analyze: true })).toBe(30_000 * 8192)
    // A hundredth of the rows came since, into free room of pages that were visible: a hundredth of the pages.
    expect(scanBytesOf({ ...relation, insertedRows: 100 }, sizes, settings, how)).toBe((pages / 100) * 8192)
  })

  it('takes the rate that the relation showed, else the slowest known, else the assumed one', () => {
    const of = (own: Memory | undefined, others: readonly Memory[]) => predict(320_000, own, others, config)
    expect(of({ bytesPerMs: 1000 }, [{ bytesPerMs: 10 }])).toMatchObject({ durationMs: 420, bytesPerMs: 1000 })
    expect(of({}, [{ bytesPerMs: 100 }, { bytesPerMs: 10 }, {}])).toMatchObject({ durationMs: 32_100, bytesPerMs: 10 })
    // One that was cut off says that it was slow, not that everything is.
    expect(of({}, [{ bytesPerMs: 0.1, cutOff: true }])).toMatchObject({ bytesPerMs: 33_554.432 })
    expect(of({ bytesPerMs: 0.1, cutOff: true }, [])).toMatchObject({ bytesPerMs: 0.1 })
    expect(of(undefined, [])).toMatchObject({ basis: 'at the assumed rate: none was measured yet' })
    expect(predict(32 * mib, undefined, [], config).durationMs).toBe(1100)
  })

  it('learns from what took long enough to tell, and from what was cancelled', () => {
    expect(measuredRate(4 * mib - 1, 500)).toBeUndefined()
    expect(measuredRate(40 * mib, 1100)).toBeCloseTo((40 * mib) / 1000)
    const prediction = { durationMs: 100, scanBytes: 1_000_000, bytesPerMs: 10_000, basis: '' }
    expect(slowerRate(prediction, 10_000)).toBe(50)
    // Whatever the reason, it is never taken for faster than before.
    expect(slowerRate(prediction, 1)).toBe(5_000)
  })

  it('begins what fits, defers what does not, and hands over what never will', () => {
    const decide = (durationMs: number, remainingMs: number, deferrals = 0) =>
      admit({ durationMs, scanBytes: 0, bytesPerMs: 1, basis: 'at a rate' }, remainingMs, deferrals, config).kind
    expect(decide(10_000, 10_000)).toBe('now')
    expect(decide(10_001, 10_000)).toBe('later')
    expect(decide(10_001, 10_000, 2)).toBe('later')
    expect(decide(10_001, 10_000, 3)).toBe('never')
    expect(decide(10_000, 10_000, 3)).toBe('now')
    expect(decide(30_000, 36_000)).toBe('now')
    expect(decide(30_001, 36_000)).toBe('never')
  })

  it('never begins what is predicted to outlast the budget or the limit of one relation', () => {
    fc.assert(
      fc.property(fc.nat(1e6), fc.nat(1e5), fc.nat(5), (durationMs, remainingMs, deferrals) => {
        const { kind } = admit({ durationMs, scanBytes: 0, bytesPerMs: 1, basis: '' }, remainingMs, deferrals, config)
        expect(kind === 'now').toBe(durationMs <= Math.min(remainingMs, config.relationTimeout))
      }),
    )
  })

  it('forgets relations that are gone', () => {
    const before = { relations: { 'public.a': { bytesPerMs: 1 }, 'public.b': { bytesPerMs: 2 } } }
    expect(remember(before, 'public.a', { bytesPerMs: 3 }, new Set(['public.a']))).toEqual({
      relations: { 'public.a': { bytesPerMs: 3 } },
    })
  })
})

describe('the result', () => {
  const result = plan([candidate('a', { deadRows: 5000 }), candidate('b', { deadRows: 4000 })])
  const [a, b] = result.actions as [VacuumPlan['actions'][number], VacuumPlan['actions'][number]]
  const of = (...attempts: readonly Attempt[]) => resultOf(result, attempts, settings, config)
  const done = (planned: typeof a): Attempt => ({ planned, result: 'vacuumed', deadRowsRemoved: 1 })
  const not = (planned: typeof a, what: 'not-now' | 'failed' | 'later' | 'never' | 'no-connection'): Attempt => ({
    planned,
    result: what,
    reason: 'because',
  })

  it('is partial while something waits for the next run', () => {
    expect(of(done(a))).toMatchObject({ outcome: 'partial', remaining: 1 })
    expect(of(done(a), not(b, 'later'))).toMatchObject({ outcome: 'partial', remaining: 1 })
    expect(of()).toMatchObject({ outcome: 'partial', remaining: 2 })
  })

  it('is a success when something was done, and names what was not', () => {
    expect(of(done(a), done(b))).toEqual({ outcome: 'succeeded', findings: [] })
    expect(of(done(a), not(b, 'not-now'))).toMatchObject({ outcome: 'succeeded', findings: [{ key: 'not-vacuumed' }] })
    expect(of(done(a), not(b, 'never'))).toMatchObject({ outcome: 'succeeded', findings: [{ key: 'too-large' }] })
  })

  it('says how what is too large gets a run of its own, long enough for the largest', () => {
    const large = (planned: typeof a, minutes: number): Attempt => ({
      planned,
      result: 'never',
      reason: 'because',
      predictedMs: minutes * 60_000,
    })
    expect(of(large(a, 1), large(b, 40)).findings).toMatchObject([
      { key: 'too-large', details: { hint: expect.stringContaining('--budget 65m') } },
    ])
  })

  it('tells what failed apart from what was locked, and as an error', () => {
    const of3 = resultOf(result, [done(a), not(b, 'failed'), not(a, 'not-now')], settings, config)
    const relations = (name: string) => ({ relations: [{ relation: name, reason: 'because' }] })
    expect(of3).toEqual({
      outcome: 'succeeded',
      findings: [
        {
          key: 'failed',
          severity: 'error',
          summary: 'VACUUM fails: public.b (because)',
          details: relations('public.b'),
        },
        {
          key: 'not-vacuumed',
          severity: 'warning',
          summary: 'not vacuumed: public.a (because)',
          details: relations('public.a'),
        },
      ],
    })
  })

  it('is skipped, with every reason, when nothing could be done', () => {
    expect(of(not(a, 'not-now'), not(b, 'never'))).toMatchObject({
      outcome: 'skipped',
      reason: 'nothing could be vacuumed: public.a (because), public.b (because)',
    })
    expect(of(not(a, 'no-connection'))).toMatchObject({
      outcome: 'skipped',
      reason: 'because',
      findings: [{ key: 'no-direct-connection' }],
    })
  })

  it('fails when all that was tried had an error of its own', () => {
    expect(failureOf([not(a, 'failed')])).toBe('nothing was vacuumed: public.a (because)')
    expect(failureOf([not(a, 'failed'), done(b)])).toBeUndefined()
    expect(failureOf([not(a, 'failed'), not(b, 'later')])).toBeUndefined()
    expect(failureOf([not(a, 'not-now')])).toBeUndefined()
  })
})

describe('advice', () => {
  const adviceOf = (change: Partial<Candidate>, server: Readonly<Record<string, string>> = {}) => {
    const changed = { ...settings, values: { ...settings.values, ...server } }
    const [planned] = planVacuum([candidate('t', change)], { ...quietly, settings: changed }, config, {
      relations: {},
    }).actions
    return adviceFor(planned!, changed, config).sql
  }

  it('lets autovacuum take a large relation more often, and faster', () => {
    expect(adviceOf({ rows: 1e9, deadRows: 1e8 })).toEqual([
      'ALTER TABLE "public"."t" SET (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 10000, ' +
        'autovacuum_vacuum_insert_scale_factor = 0.01, autovacuum_vacuum_cost_limit = 2000);',
    ])
  })

  it('switches it on where it is off', () => {
    expect(adviceOf({ deadRows: 5000 }, { autovacuum: 'off' }).slice(0, 1)).toEqual([
      'ALTER SYSTEM SET autovacuum = on;',
    ])
    expect(adviceOf({ deadRows: 5000, parameters: { autovacuum_enabled: 'false' } })[0]).toContain(
      'autovacuum_enabled = true',
    )
  })

  it('has a run of its own for what fits none', () => {
    const minutes = 60_000
    expect(longRunFor(10 * minutes)).toBe(
      'run --task vacuum --force --budget 30m with SCHEDULER_VACUUM_TIMEOUT=38m and SCHEDULER_VACUUM_RELATION_TIMEOUT=25m',
    )
    expect(longRunFor(40 * minutes)).toBe(
      'run --task vacuum --force --budget 65m with SCHEDULER_VACUUM_TIMEOUT=82m and SCHEDULER_VACUUM_RELATION_TIMEOUT=60m',
    )
  })

  it('says nothing that is so already', () => {
    expect(adviceOf({ deadRows: 5000, parameters: { autovacuum_vacuum_cost_limit: '5000' } })).toEqual([])
    // As they were written: PostgreSQL keeps the text.
    for (const off of ['OFF', 'f', 'No', '0'])
      expect(adviceOf({ deadRows: 5000, parameters: { autovacuum_enabled: off } })[0]).toContain(
        'autovacuum_enabled = true',
      )
    expect(adviceOf({ deadRows: 5000, parameters: { autovacuum_enabled: 'ON' } })[0]).not.toContain('enabled')
  })

  it('names the parameters of the TOAST table where that is what is large', () => {
    const toast = { oid: 1, rows: 1e9, deadRows: 1e8, insertedRows: 0, pages: 1, allVisiblePages: 1, parameters: {} }
    expect(adviceOf({ toast })[0]).toContain('toast.autovacuum_vacuum_scale_factor = 0.01')
    // With one of its own it takes none of the table's any more, so those are said again.
    const parameters = {
      autovacuum_vacuum_cost_limit: '300',
      autovacuum_freeze_max_age: '150000000',
      autovacuum_analyze_threshold: '7',
      log_autovacuum_min_duration: '0',
      fillfactor: '80',
    }
    const [statement = ''] = adviceOf({ toast, parameters })
    expect(statement).toContain('toast.autovacuum_freeze_max_age = 150000000')
    expect(statement).toContain('toast.autovacuum_vacuum_cost_limit = 2000')
    expect(statement).toContain('toast.log_autovacuum_min_duration = 0')
    expect(statement).not.toMatch(/= 300|analyze|fillfactor/)
    const own = { ...toast, parameters: { autovacuum_vacuum_threshold: '9' } }
    expect(adviceOf({ toast: own, parameters })[0]).not.toContain('freeze_max_age')
  })
})
