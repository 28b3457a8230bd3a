import { configurationJsonSchema, deriveOptions, taskSection } from '@battlescope/scheduler-core'
import { describe, expect, it } from 'vitest'
import { judge } from '../src/answer.js'
import { clusterConfig, type ClusterConfig } from '../src/config.js'
import { cluster } from '../src/index.js'
import {
  jobRelationProblem,
  lagOf,
  nextCursor,
  planCluster,
  relationProblem,
  resultOf,
  type Cursor,
  type Ended,
  type Occasion,
} from '../src/plan.js'
import type { Backlog } from '../src/queries.js'

const config = (given: object = {}): ClusterConfig => clusterConfig.parse(given)
const http = config({ trigger: 'http', url: 'https://clusterer:3003/internal/cluster?key=SeCrEt', token: 'ToKeN' })
const now = new Date('2026-11-23T02:00:00Z')
const before = (ms: number) => new Date(now.getTime() - ms)
const minute = 60_000

const occasion: Occasion = { slotId: 'cluster@2026-11-23T02:00:00Z', scheduledAt: now, now, traceparent: undefined }
const nothing: Backlog = {
  waiting: 0,
  late: 0,
  oldestAt: undefined,
  readySince: undefined,
  recent: { killmails: 0, p95LagMs: 0 },
}
const work: Backlog = { ...nothing, waiting: 120, oldestAt: before(100 * minute), readySince: before(10 * minute) }

describe('planCluster', () => {
  it('does nothing where nothing waits', () => {
    expect(planCluster(nothing, undefined, occasion, http)).toEqual({ kind: 'idle', reason: 'no killmail waits' })
  })

  it('triggers where something waits, and says why', () => {
    expect(planCluster(work, undefined, occasion, http)).toMatchObject({
      kind: 'trigger',
      action: {
        kind: 'trigger-clustering',
        target: 'https://clusterer:3003/internal/cluster',
        reason: '120 killmails wait, the oldest since 2026-11-23T00:20:00.000Z',
      },
    })
  })

  it('says so when it has not counted all', () => {
    const plan = planCluster({ ...work, waiting: 100_000 }, undefined, occasion, http)
    expect(plan).toMatchObject({ action: { reason: expect.stringMatching(/^at least 100000 killmails/) as string } })
  })

  it.each([
    [{ trigger: 'notify' }, 'channel battlescope_clustering'],
    [{ trigger: 'job-table' }, 'public.clustering_jobs'],
  ])('%j goes to %s', (given, target) => {
    expect(planCluster(work, undefined, occasion, config(given))).toMatchObject({ action: { target } })
  })

  it('sends the same payload in every way, and no secret', () => {
    const traced = { ...occasion, traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' }
    const configs = [http, config({ trigger: 'notify' }), config({ trigger: 'job-table' })]
    const payloads = configs.map((each) => {
      const plan = planCluster(work, undefined, traced, each)
      return plan.kind === 'trigger' ? plan.payload : ''
    })
    expect(new Set(payloads).size).toBe(1)
    expect(JSON.parse(payloads[0]!)).toEqual({
      version: 1,
      slotId: 'cluster@2026-11-23T02:00:00Z',
      scheduledAt: '2026-11-23T02:00:00.000Z',
      backlog: 120,
      oldestAt: '2026-11-23T00:20:00.000Z',
      traceparent: traced.traceparent,
    })
  })

  it('fits into a notification, whatever its parts', () => {
    const longest = { ...occasion, slotId: `${'x'.repeat(40)}@${now.toISOString()}`, traceparent: 'f'.repeat(55) }
    const plan = planCluster(
      { ...work, waiting: Number.MAX_SAFE_INTEGER },
      undefined,
      longest,
      config({ trigger: 'notify' }),
    )
    expect(plan.kind === 'trigger' && Buffer.byteLength(plan.payload)).toBeLessThan(8000)
  })

  it.each([
    ['keeps back what an open job covers', 14.9, 'still-open'],
    ['takes a job that is open for too long for abandoned', 15, 'trigger'],
  ])('%s', (_name, openForMinutes, kind) => {
    const job = { slotId: 'cluster@before', requestedAt: before(openForMinutes * minute) }
    expect(planCluster(work, job, occasion, config({ trigger: 'job-table' })).kind).toBe(kind)
  })

  it('only measures by default, and says when that looks like a slip', () => {
    expect(planCluster(work, undefined, occasion, config())).toEqual({
      kind: 'measured',
      reason: 'no trigger is configured, the backlog is only measured',
    })
    const slip = planCluster(work, undefined, occasion, config({ url: 'http://clusterer:3003/' }))
    expect(slip).toMatchObject({ kind: 'measured', reason: expect.stringContaining('did you mean') as string })
  })
})

describe('what must exist', () => {
  it('is the relation with its columns', () => {
    expect(relationProblem('public.k', undefined)).toBe('there is no relation public.k')
    expect(relationProblem('public.k', new Set(['occurred_at']))).toBe('public.k has no column processed_at')
    expect(relationProblem('public.k', new Set(['occurred_at', 'processed_at']))).toBeUndefined()
  })

  it('is the table of jobs with its columns', () => {
    expect(jobRelationProblem('j', undefined)).toBe('there is no relation j')
    expect(jobRelationProblem('j', new Set(['slot_id']))).toBe('j has no column requested_at, payload, finished_at')
    expect(jobRelationProblem('j', new Set(['slot_id', 'requested_at', 'payload', 'finished_at']))).toBeUndefined()
  })
})

describe('nextCursor', () => {
  /** What the checkpoint counts after these backlogs: late killmails, and minutes that the first of them waits. */
  function slotsAfter(...backlogs: readonly (readonly [late: number, lagMinutes: number])[]): number | undefined {
    const last = backlogs.reduce<Cursor | undefined>(
      (cursor, [late, lag], slot) =>
        nextCursor(cursor, { ...work, late, readySince: before(lag * minute) }, { ...occasion, slotId: String(slot) }),
      undefined,
    )
    return last?.slots
  }

  it.each([
    [
      'a service that stands still',
      [
        [5, 6],
        [20, 11],
        [35, 16],
      ],
      3,
    ],
    [
      'one that stands still while nothing arrives',
      [
        [5, 6],
        [5, 11],
        [5, 16],
      ],
      3,
    ],
    [
      'one killmail that is never taken, among others that come and go',
      [
        [1, 6],
        [1, 11],
        [1, 16],
      ],
      3,
    ],
    [
      'a service that is too slow',
      [
        [5, 6],
        [20, 8],
        [35, 10],
      ],
      3,
    ],
    [
      'one that works off a large backlog',
      [
        [9000, 6],
        [7000, 11],
        [5000, 16],
      ],
      0,
    ],
    [
      'one that takes the oldest, while more arrive',
      [
        [50, 20],
        [60, 15],
        [70, 10],
      ],
      0,
    ],
    [
      'one that stood still, and came back',
      [
        [5, 6],
        [20, 11],
        [10, 9],
      ],
      0,
    ],
    [
      'one that stood still again',
      [
        [5, 6],
        [20, 11],
        [10, 9],
        [20, 14],
      ],
      1,
    ],
  ] as const)('%s', (_name, backlogs, slots) => {
    expect(slotsAfter(...backlogs)).toBe(slots)
  })

  it('is nothing while nobody is late', () => {
    expect(slotsAfter([5, 6], [20, 11], [0, 3])).toBeUndefined()
  })

  it('counts a slot once, however often it is tried', () => {
    const late = { ...work, late: 5 }
    const first = nextCursor(undefined, late, occasion)
    expect(nextCursor(first, { ...late, late: 9, readySince: before(20 * minute) }, occasion)).toEqual(first)
  })
})

describe('resultOf', () => {
  const plan = planCluster(work, undefined, occasion, http)
  const ended: Ended = { plan, backlog: work, cursor: undefined, judgement: undefined }
  const findings = (change: Partial<Ended>, given = http) =>
    resultOf({ ...ended, ...change }, given).findings?.map(({ key, severity }) => [key, severity])

  it.each([
    [202, []],
    [409, []],
    [404, [['no-endpoint', 'warning']]],
    [504, [['no-answer', 'info']]],
  ])('%i is a success with the findings %j', (status, expected) => {
    const result = resultOf({ ...ended, judgement: judge({ status, retryAfterMs: undefined }) }, http)
    expect(result.outcome).toBe('succeeded')
    expect(result.findings?.map(({ key, severity }) => [key, severity])).toEqual(expected)
  })

  it('reports a service that got nowhere for as many slots as configured', () => {
    const cursor = { slotId: 'x', late: 20, lagMs: 16 * minute, slots: 2 }
    expect(findings({ cursor })).toEqual([])
    expect(findings({ cursor: { ...cursor, slots: 3 } })).toEqual([['backlog-grows', 'error']])
    expect(findings({ cursor }, { ...http, growthSlots: 2 })).toEqual([['backlog-grows', 'error']])
  })

  it('reports a service level that was missed, where there are enough killmails to tell', () => {
    const recent = (killmails: number, p95LagMs: number) => ({ backlog: { ...work, recent: { killmails, p95LagMs } } })
    expect(findings(recent(20, 5 * minute + 1))).toEqual([['service-level', 'warning']])
    expect(findings(recent(20, 5 * minute))).toEqual([])
    expect(findings(recent(19, 60 * minute))).toEqual([])
  })

  it('is skipped with its findings where nothing is triggered', () => {
    const measured = planCluster(work, undefined, occasion, config())
    const cursor = { slotId: 'x', late: 20, lagMs: 16 * minute, slots: 3 }
    expect(resultOf({ ...ended, plan: measured, cursor }, config())).toMatchObject({
      outcome: 'skipped',
      reason: 'no trigger is configured, the backlog is only measured',
      findings: [{ key: 'backlog-grows' }],
    })
  })

  it('measures the lag from when a killmail could have been clustered', () => {
    expect(lagOf(work, now)).toBe(10 * minute)
    expect(lagOf(nothing, now)).toBe(0)
  })
})

describe('the options', () => {
  it.each([
    [{ trigger: 'http' }, 'needs its URL'],
    [{ trigger: 'smoke' }, 'is unknown'],
    [{ url: 'clusterer:3003' }, 'is no http URL'],
    [{ url: 'ftp://clusterer/' }, 'is no http URL'],
    [{ url: 'http://user:pw@clusterer/' }, 'has credentials'],
    [{ url: 'http://clusterer/#x' }, 'has a fragment'],
    [{ token: 'two words' }, 'would break the header'],
    [{ token: 'line\nbreak' }, 'would break the header'],
    [{ token: '' }, 'is empty'],
    [{ channel: 'Upper' }, 'LISTEN would fold'],
    [{ channel: 'x'.repeat(64) }, 'is too long'],
    [{ channel: 'a-b' }, 'needs quotes'],
    [{ relation: 'a.b.c' }, 'has three parts'],
    [{ jobRelation: '"open' }, 'lacks a quotation mark'],
    [{ countLimit: 1 }, 'is too small'],
    [{ retries: -1 }, 'is negative'],
  ])('refuse %j: it %s', (given, _why) => {
    expect(clusterConfig.safeParse(given).success).toBe(false)
  })

  it('take the token from a file, too, and show neither it nor the URL’s secrets', () => {
    const { options } = deriveOptions([taskSection(cluster)])
    const option = (path: string) => options.find((each) => each.path === path)
    expect(option('cluster.token')).toMatchObject({ secret: true, environmentFile: 'SCHEDULER_CLUSTER_TOKEN_FILE' })
    expect(option('cluster.url')).toMatchObject({ secret: 'url', environmentFile: 'SCHEDULER_CLUSTER_URL_FILE' })
    expect(JSON.stringify(configurationJsonSchema([taskSection(cluster)]))).toContain('"retryPause"')
  })

  it('never quote the token', () => {
    expect(JSON.stringify(clusterConfig.safeParse({ token: 'SeCrEt with spaces' }))).not.toContain('SeCrEt')
  })

  it('ask for what the trigger needs, and no more', () => {
    const needs = (given: object) => cluster.requires(config(given))
    expect(needs({})).toEqual({
      relations: [{ relation: 'public.killmail_events', privileges: ['select'] }],
      clients: [],
    })
    expect(cluster.requires(http).clients).toEqual(['http'])
    expect(needs({ trigger: 'job-table' }).relations).toContainEqual({
      relation: 'public.clustering_jobs',
      privileges: ['select', 'insert'],
    })
  })
})
