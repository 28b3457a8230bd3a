import { describe, expect, it } from 'vitest'
import { retentionConfig } from '../src/config.js'
import { beginSlot, withProgress, withRate, withSlotEnded, type Cursor } from '../src/cursor.js'
import { KeyQueue, unpackKeys } from '../src/key-queue.js'
import { forecast, planPolicies, resultOf, stuckFinding } from '../src/plan.js'
import { resolvePolicies } from '../src/policy.js'
import type { PreflightFacts, RelationFacts } from '../src/preflight-facts.js'
import type { PolicyReport, Problem } from '../src/preflight-report.js'

const policies = resolvePolicies(retentionConfig.parse({}))
const [killmails, battles] = policies

function reportOf(policy = killmails!, change: Partial<PolicyReport> = {}): PolicyReport {
  return {
    policy,
    state: 'ready',
    reason: undefined,
    blocked: [],
    warnings: [],
    keys: new Map(),
    partitioning: undefined,
    ...change,
  }
}

function problem(change: Partial<Problem> = {}): Problem {
  return {
    code: 'row-security',
    relation: 'public.killmail_events',
    summary: 'hides rows',
    mend: ['ALTER …'],
    ...change,
  }
}

describe('planPolicies', () => {
  const plan = (reports: readonly PolicyReport[], hasStore = true) =>
    planPolicies({ policies: reports, unindexed: new Set() }, hasStore)

  it('runs what is ready, in order', () => {
    const { runnable, findings, skipped } = plan([reportOf(), reportOf(battles)])
    expect(runnable.map(({ policy }) => policy.name)).toEqual(['killmails', 'battles'])
    expect(findings).toEqual([])
    expect(skipped).toBeUndefined()
  })

  it('skips what is blocked, with the SQL that mends it, and runs the others', () => {
    const { runnable, findings } = plan([
      reportOf(killmails, { state: 'blocked', blocked: [problem(), problem({ code: 'key-missing' })] }),
      reportOf(battles),
    ])
    expect(runnable.map(({ policy }) => policy.name)).toEqual(['battles'])
    expect(findings).toMatchObject([
      {
        key: 'blocked-killmails',
        severity: 'error',
        summary: 'policy killmails deletes nothing: hides rows (and 1 more)',
        details: { problems: [{ code: 'row-security', mend: ['ALTER …'] }, { code: 'key-missing' }] },
      },
    ])
  })

  it('says what only costs time, and is silent about what merely is so', () => {
    const { runnable, findings } = plan([
      reportOf(killmails, {
        warnings: [problem({ code: 'time-index-missing' }), problem({ code: 'relation-missing' })],
      }),
      reportOf(battles, { warnings: [problem({ code: 'partitioned' })] }),
    ])
    expect(runnable).toHaveLength(2)
    expect(findings.map(({ key, severity }) => [key, severity])).toEqual([['preflight-killmails', 'warning']])
  })

  it('deletes nothing that wants an archive where there is no store', () => {
    const alone = plan([reportOf(), reportOf(battles)], false)
    expect(alone.runnable).toEqual([])
    expect(alone.skipped).toMatch(/no cold storage/)
    expect(alone.findings).toMatchObject([{ key: 'no-store', summary: expect.stringContaining('killmails, battles') }])

    const mixed = plan([reportOf({ ...killmails!, archive: false }), reportOf(battles)], false)
    expect(mixed.runnable.map(({ policy }) => policy.name)).toEqual(['killmails'])
    expect(mixed.skipped).toBeUndefined()
    expect(mixed.findings).toMatchObject([{ key: 'no-store' }])
  })

  it.each([
    [[], 'no policies are configured'],
    [[reportOf(killmails, { state: 'not-applicable' })], 'none of the relations exists'],
    [[reportOf(killmails, { state: 'blocked', blocked: [problem()] })], 'every policy is blocked'],
  ])('says why nothing runs', (reports, reason) => {
    expect(plan(reports).skipped).toBe(reason)
  })
})

describe('forecast', () => {
  const facts: PreflightFacts = {
    relations: new Map(
      ['public.killmail_events', 'public.killmail_enrichments', 'public.pilot_ship_history'].map((name) => [
        name,
        { estimatedRows: 1000, totalBytes: 500_000 } as RelationFacts,
      ]),
    ),
    references: [],
  }
  const count = {
    rows: 1200,
    oldest: '2020-01-01 00:00:00.000000+00',
    newest: '2020-03-01 00:00:00.000000+00',
    children: new Map([
      ['public.killmail_enrichments', 1200],
      ['public.pilot_ship_history', 0],
    ]),
  }
  const config = { batchRows: 500, maxRowsPerRun: 1000 }

  it('lists what each run does, by relation, with rows, bytes, span, batches and time', () => {
    const work = forecast({ report: reportOf(), count, facts, rate: 100, config })
    expect(work.map(({ kind, target }) => `${kind} ${target}`)).toEqual([
      'archive public.killmail_events',
      'archive public.killmail_enrichments',
      'delete-rows public.killmail_events',
    ])
    expect(work[0]?.reason).toBe('killmails: 1200 rows, about 600000 bytes')
    expect(work[2]?.reason).toBe(
      'killmails: 1200 rows from 2020-01-01 00:00:00.000000+00 to 2020-03-01 00:00:00.000000+00 and what hangs on them; ' +
        '2400 rows in all, about 1200000 bytes, 3 batches, about 24 s, in 3 runs at least',
    )
  })

  it('archives nothing where the policy does not', () => {
    const report = reportOf({ ...killmails!, archive: false })
    const work = forecast({ report, count, facts, rate: undefined, config })
    expect(work.map(({ kind }) => kind)).toEqual(['delete-rows'])
  })

  it('lists nothing where nothing expired', () => {
    expect(forecast({ report: reportOf(), count: { ...count, rows: 0 }, facts, rate: undefined, config })).toEqual([])
  })
})

describe('the cursor', () => {
  const slot = { id: 'retention@2026-11-23T02:00:00Z', scheduledAt: new Date('2026-11-23T02:00:00Z') }
  const next = { id: 'retention@2026-11-24T02:00:00Z', scheduledAt: new Date('2026-11-24T02:00:00Z') }

  it('fixes the horizon of each policy for the slot', () => {
    const cursor = beginSlot(undefined, slot, policies)
    expect(cursor.horizons).toEqual({ killmails: '2021-11-23T02:00:00.000Z', battles: '2021-11-23T02:00:00.000Z' })
    const longer = resolvePolicies(retentionConfig.parse({ keep: '72 months' }))
    expect(beginSlot(cursor, slot, longer).horizons).toEqual(cursor.horizons)
    expect(beginSlot(cursor, next, longer).horizons).toMatchObject({ killmails: '2020-11-24T02:00:00.000Z' })
  })

  it('gives a policy that is configured in the middle of a slot the horizon of that slot', () => {
    const cursor = beginSlot(undefined, slot, policies)
    const more = resolvePolicies(
      retentionConfig.parse({ policies: [{ name: 'late', relation: 'events', timeColumn: 'at', keep: '2 years' }] }),
    )
    const later = beginSlot(cursor, slot, [...policies, ...more])
    expect(later.horizons).toEqual({ ...cursor.horizons, late: '2024-11-23T02:00:00.000Z' })
    // What was stored counts, whatever the period says by now.
    expect(beginSlot(later, slot, resolvePolicies(retentionConfig.parse({ keep: '1 year' }))).horizons).toEqual(
      later.horizons,
    )
  })

  it('forgets progress with the slot, and keeps what was learned', () => {
    let cursor: Cursor = { ...beginSlot(undefined, slot, policies), sizes: { x: 7 } }
    cursor = withProgress(cursor, 'killmails', { parents: 5, rows: 20 })
    cursor = withRate(cursor, 'killmails', 100, 1000)
    cursor = withRate(cursor, 'killmails', 200, 1000)
    expect(beginSlot(cursor, slot, policies).progress).toEqual({
      killmails: { parents: 5, rows: 20, discarded: 0, finished: false },
    })
    const later = beginSlot(cursor, next, policies)
    expect(later).toMatchObject({ progress: {}, sizes: { x: 7 }, rates: { killmails: 130 } })
  })

  it('counts slots in which nothing was deleted although rows expired', () => {
    let cursor = beginSlot(undefined, slot, policies)
    cursor = withSlotEnded(cursor, 'killmails', { expired: true })
    cursor = withSlotEnded(cursor, 'killmails', { expired: true })
    expect(cursor.stuck).toEqual({ killmails: 2 })
    expect(stuckFinding('killmails', 2, { stuckRuns: 3 })).toBeUndefined()
    expect(stuckFinding('killmails', 3, { stuckRuns: 3 })?.key).toBe('stuck-killmails')
    expect(withSlotEnded(cursor, 'killmails', { expired: false }).stuck).toEqual({ killmails: 0 })
    const progressed = withProgress(cursor, 'killmails', { parents: 1 })
    expect(withSlotEnded(progressed, 'killmails', { expired: true }).stuck).toEqual({ killmails: 0 })
  })
})

describe('KeyQueue', () => {
  const pack = (...rows: readonly (readonly [number, string])[]) => ({
    count: rows.length,
    json: JSON.stringify(rows.map(([id, month]) => [`${month}-01 00:00:00.000000+00`, String(id)])),
  })
  const idsOf = (keys: ReturnType<typeof unpackKeys>) => keys.map(({ key }) => key[0])

  it('gives batches of one month, in order, from as many packs as it takes, and takes keys back to the front', () => {
    const queue = new KeyQueue()
    queue.add([pack([1, '2020-01'], [2, '2020-01']), pack([3, '2020-01'], [4, '2020-02'])])
    expect(queue.length).toBe(4)
    const first = queue.take(3)
    expect(idsOf(first)).toEqual(['1', '2', '3'])
    expect(queue.length).toBe(1)
    queue.putBack(first.slice(1))
    expect(queue.length).toBe(3)
    expect(idsOf(queue.take(10))).toEqual(['2', '3'])
    expect(idsOf(queue.take(10))).toEqual(['4'])
    expect(queue.take(10)).toEqual([])
    queue.add([pack([5, '2020-02'])])
    expect(queue.take(1)).toHaveLength(1)
  })

  it('unpacks the month of a year with more than four digits', () => {
    expect(unpackKeys(pack([1, '12020-01']))).toEqual([
      { key: ['1'], time: '12020-01-01 00:00:00.000000+00', month: '12020-01' },
    ])
  })
})

describe('resultOf', () => {
  const horizon = '2021-11-23T02:00:00.000Z'
  const done = { parents: 100, rows: 450, discarded: 0, finished: true }
  const idle = { parents: 0, rows: 0, discarded: 0, finished: true }
  const cursor = { progress: { killmails: done, battles: idle }, horizons: { killmails: horizon, battles: horizon } }

  it('is partial as long as rows remain, and reports no change until they are gone', () => {
    expect(resultOf({ remaining: 0, findings: [], cursor })).toEqual({ outcome: 'partial', remaining: 1, findings: [] })
  })

  it('reports what the whole slot deleted, and nothing when nothing was', () => {
    expect(resultOf({ remaining: undefined, findings: [], cursor })).toEqual({
      outcome: 'succeeded',
      findings: [],
      changes: [
        {
          key: 'completed',
          summary: 'Retention deleted 450 rows: killmails',
          details: { rows: 450, policies: { killmails: { rows: 450, parents: 100, horizon } } },
        },
      ],
    })
    const nothing = { ...cursor, progress: { killmails: idle } }
    expect(resultOf({ remaining: undefined, findings: [], cursor: nothing })).toMatchObject({ changes: [] })
  })
})
