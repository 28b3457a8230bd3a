/** What each check makes of what it read, at its default thresholds. */
import { describe, expect, it } from 'vitest'
import type { AnyCheck, Found } from '../src/check.js'
import { checks } from '../src/checks.js'
import { configOf, optionName, optionsOf } from '../src/config.js'

const now = new Date('2026-11-25T12:00:00Z')

const schema = configOf(checks)

function judge(key: string, reading: unknown, options: object = {}): readonly Found[] {
  const check = checks.find((one) => one.key === key) as AnyCheck
  const config = schema.parse({ [optionName(key)]: options })
  return check.judge(reading, optionsOf(config, check))
}

describe('clock-skew', () => {
  it('counts what is beyond half the round trip alone', () => {
    expect(judge('clock-skew', { aheadMs: 5200, uncertaintyMs: 250 })).toEqual([])
    expect(judge('clock-skew', { aheadMs: -5200, uncertaintyMs: 150 })).toMatchObject([
      { details: { aheadMs: -5200, uncertaintyMs: 150 } },
    ])
    expect(judge('clock-skew', { aheadMs: 5200, uncertaintyMs: 150 }, { limit: '10s' })).toEqual([])
  })
})

describe('service-health', () => {
  const answer = { name: 'api', problem: undefined, status: 200, verdict: 'healthy', failing: [], latencyMs: 12 }
  it('finds nothing where all answer well', () => {
    expect(judge('service-health', [answer])).toEqual([])
  })
  it.each([
    [{ problem: 'ECONNREFUSED', status: undefined }, undefined, 'service api does not answer: ECONNREFUSED'],
    [{ problem: 'ETIMEDOUT', status: undefined }, undefined, 'service api does not answer: no answer within 5s'],
    [{ status: 500, verdict: 'unhealthy' }, undefined, 'service api is unhealthy: status 500'],
    [
      { status: 503, verdict: 'degraded', failing: ['zkillboard'] },
      'warning',
      'service api is degraded: status 503 (failing: zkillboard)',
    ],
    [{ latencyMs: 2000 }, 'warning', 'service api answers slowly: 2000 ms, the threshold is 2000 ms'],
  ])('finds %j', (change, severity, summary) => {
    expect(judge('service-health', [{ ...answer, ...change }])).toMatchObject([
      { subject: 'api', summary, ...(severity === undefined ? {} : { severity }) },
    ])
  })
  it('is explained by Redis where Redis alone fails', () => {
    const degraded = { ...answer, status: 503, verdict: 'degraded' }
    const [byRedis] = judge('service-health', [{ ...degraded, failing: ['redis'] }])
    expect(byRedis?.dependsOn).toContain('health/redis-answers:redis')
    const [byBoth] = judge('service-health', [{ ...degraded, failing: ['redis', 'database'] }])
    expect(byBoth?.dependsOn).toBeUndefined()
  })
})

describe('redis-answers', () => {
  it('finds what does not answer, and what answers slowly', () => {
    const found = judge('redis-answers', [
      {
        name: 'redis',
        problem: { code: 'redis-unavailable', message: 'redis://cache:6379/0: nothing listens there' },
        latencyMs: 0,
      },
      { name: 'esiCache', problem: undefined, latencyMs: 249 },
      { name: 'session', problem: undefined, latencyMs: 250 },
    ])
    expect(found.map(({ subject, severity }) => [subject, severity])).toEqual([
      ['redis', undefined],
      ['session', 'warning'],
    ])
  })
})

describe('redis-memory', () => {
  const server = { name: 'redis', usedBytes: 150, maxBytes: 200, policy: 'allkeys-lru' }
  it('finds 75 % and says what happens at 100 %', () => {
    expect(judge('redis-memory', [server])).toMatchObject([
      {
        subject: 'redis',
        summary: 'Redis redis uses 75 % of its maxmemory of 200B; at 100 % it evicts keys (allkeys-lru)',
      },
    ])
    expect(judge('redis-memory', [{ ...server, policy: 'noeviction' }])[0]?.summary).toContain('it will refuse writes')
  })
  it('finds nothing below, nor without a limit, and one of several masters', () => {
    expect(judge('redis-memory', [{ ...server, usedBytes: 149 }])).toEqual([])
    expect(judge('redis-memory', [{ ...server, maxBytes: 0 }])).toEqual([])
    const found = judge('redis-memory', [server, { ...server, usedBytes: 190 }, { ...server, usedBytes: 160 }])
    expect(found).toMatchObject([{ details: { usedBytes: 190 } }])
  })
})

describe('certificate-expiry', () => {
  const day = 86_400_000
  it.each([
    [30 * day, []],
    [20.5 * day, [{ subject: 'api', summary: 'the certificate of api expires in 20 days, the threshold is 21d' }]],
    [2.5 * day, [{ severity: 'critical', summary: 'the certificate of api expires in 2 days, the threshold is 21d' }]],
    [3000, [{ severity: 'critical', summary: 'the certificate of api expires within a day, the threshold is 21d' }]],
    [-1, [{ severity: 'critical', summary: 'the certificate of api has expired, the threshold is 21d' }]],
  ])('valid for %d ms', (validForMs, found) => {
    expect(judge('certificate-expiry', [{ name: 'api', validForMs, problem: undefined }])).toMatchObject(found)
  })
  it('says which could not be read, and what explains that', () => {
    expect(
      judge('certificate-expiry', [{ name: 'api', validForMs: undefined, problem: 'ECONNREFUSED' }]),
    ).toMatchObject([{ subject: 'api-unread', dependsOn: ['health/service-health:api', 'health/redis-answers:api'] }])
  })
})

describe('the queue', () => {
  const counts = { waiting: 999, active: 1, delayed: 2, failed: 3, isPaused: false }
  it('is too deep from 1000 jobs on', () => {
    expect(judge('queue-depth', counts)).toEqual([])
    expect(judge('queue-depth', { ...counts, waiting: 1000 })).toMatchObject([
      { summary: '1000 jobs wait in the enrichment queue, the threshold is 1000' },
    ])
    expect(judge('queue-depth', { ...counts, isPaused: true })).toMatchObject([{ subject: 'paused' }])
  })
  it('is too old from 15 minutes on', () => {
    expect(judge('queue-age', { ageMs: 899_999 })).toEqual([])
    expect(judge('queue-age', { ageMs: 900_000 })).toMatchObject([
      { summary: 'the oldest job of the enrichment queue has waited 15 min, the threshold is 15m' },
    ])
  })
  it('fails too often from 50 in an hour on', () => {
    expect(judge('queue-failures', { failed: 49 })).toEqual([])
    expect(judge('queue-failures', { failed: 50 })).toMatchObject([
      { summary: '50 enrichment jobs failed within 1h, the threshold is 50' },
    ])
  })
  it.each([
    ['allkeys-lru', 200, 1],
    ['allkeys-lru', 0, 0],
    ['noeviction', 200, 0],
    ['volatile-lru', 200, 0],
  ])('may lose jobs with %s and maxmemory %d: %d', (policy, maxBytes, findings) => {
    expect(judge('queue-eviction', { policy, maxBytes })).toHaveLength(findings)
  })
})

describe('enrichments', () => {
  const waiting = { rows: 1000, isCapped: false, oldestAt: new Date('2026-11-25T10:00:00Z'), now }
  it('wait in too great a number, or stuck', () => {
    expect(judge('enrichment-backlog', { ...waiting, rows: 999 })).toEqual([])
    expect(judge('enrichment-backlog', waiting)).toMatchObject([
      { summary: '1000 enrichments are pending, the threshold is 1000', details: { oldest: '2 h' } },
    ])
    expect(judge('enrichment-stuck', { ...waiting, rows: 0, oldestAt: undefined })).toEqual([])
    expect(judge('enrichment-stuck', { ...waiting, rows: 10_000, isCapped: true })).toMatchObject([
      { summary: '10000 or more enrichments have been pending or processing for longer than 1h, the oldest for 2 h' },
    ])
  })
  it('fail too often, where there are enough to tell', () => {
    expect(judge('enrichment-failures', { rows: 1000, failed: 49 })).toEqual([])
    expect(judge('enrichment-failures', { rows: 49, failed: 49 })).toEqual([])
    expect(judge('enrichment-failures', { rows: 1000, failed: 50 })).toMatchObject([
      { summary: '50 of the newest 1000 finished enrichments failed (5 %), the threshold is 5 %' },
    ])
  })
  it('are missing', () => {
    expect(judge('enrichment-missing', { ...waiting, rows: 9 })).toEqual([])
    expect(judge('enrichment-missing', { ...waiting, rows: 10 })).toHaveLength(1)
  })
})

describe('clustering and ingestion', () => {
  it('clustering may lag by five minutes', () => {
    expect(judge('clustering-lag', { rows: 10, isCapped: false, lagMs: 300_000 })).toEqual([])
    expect(judge('clustering-lag', { rows: 10, isCapped: false, lagMs: 300_001 })).toMatchObject([
      {
        summary: '10 killmails wait for clustering, up to 5 min beyond the processing delay, the threshold is 5m',
        dependsOn: ['cluster/backlog-grows', 'cluster/service-level'],
      },
    ])
  })
  it('ingestion may be silent for ten minutes', () => {
    expect(judge('ingestion-stalled', { silentMs: 599_999, newestAt: now })).toEqual([])
    expect(judge('ingestion-stalled', { silentMs: 600_000, newestAt: now })).toHaveLength(1)
  })
  it('killmails may be old, but not in the mass', () => {
    expect(judge('ingestion-lag', { recent: 100, p95LagMs: 9999 })).toEqual([])
    expect(judge('ingestion-lag', { recent: 19, p95LagMs: 60_000 })).toEqual([])
    expect(judge('ingestion-lag', { recent: 20, p95LagMs: 60_000 })).toMatchObject([
      { summary: '5 % of the killmails of the last 1h were older than 60 s when they came in, the threshold is 10s' },
    ])
  })
})

describe('integrity', () => {
  const integrity = checks.filter(({ group }) => group === 'integrity').map(({ key }) => key)
  it.each(integrity)('%s finds one that is wrong, and names at most ten', (key) => {
    const keys = Array.from({ length: 20 }, (_, index) => String(index))
    expect(judge(key, { looked: 500, wrong: 0, keys: [], next: undefined })).toEqual([])
    const found = judge(key, { looked: 500, wrong: 20, keys, next: undefined })
    expect(found).toMatchObject([{ details: { looked: 500, wrong: 20, examples: keys.slice(0, 10) } }])
    expect(found[0]?.summary).toMatch(/^20 of 500 sampled /)
    expect(judge(key, { looked: 500, wrong: 20, keys, next: undefined }, { rows: 21 })).toEqual([])
  })
})
