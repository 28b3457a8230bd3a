/** Redis and a real BullMQ queue. */
import { missingRedisServer, startRedis, type TestClient, type TestRedis } from '@battlescope/redis/testing'
import { createTestDatabase, type TestDatabase } from '@battlescope/scheduler-testing'
import { Queue, Worker } from 'bullmq'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { queueChecks } from '../src/queues/index.js'
import { serviceChecks } from '../src/services/index.js'
import { gauges, lines, redisClients, runHealth } from './run.js'

const missing = await missingRedisServer()
const checks = [
  ...serviceChecks.filter(({ key }) => key !== 'service-health'),
  ...queueChecks.filter(({ key }) => key.startsWith('queue-')),
]

describe(`Redis${missing}`, { skip: missing !== '' }, () => {
  let server: TestRedis
  let client: TestClient
  let database: TestDatabase
  let queue: Queue
  beforeAll(async () => {
    server = await startRedis()
    client = await server.client()
    database = await createTestDatabase()
    queue = new Queue('killmail-enrichment', { connection: { host: '127.0.0.1', port: server.port } })
  })
  afterAll(async () => {
    await queue.close()
    await server.stop()
    await database.drop()
  })
  beforeEach(async () => {
    await database.query('DROP SCHEMA IF EXISTS scheduler CASCADE')
    await client.call('FLUSHALL')
    await client.call('CONFIG', 'SET', 'maxmemory', '0')
    await client.call('CONFIG', 'SET', 'maxmemory-policy', 'noeviction')
  })
  const run = (options: object = {}, urls: object = { url: server.url }) =>
    runHealth(database, { checks, options, clients: redisClients(urls) })
  const add = (count: number, timestamp: number, more: object = {}) =>
    queue.addBulk(
      Array.from({ length: count }, (_, index) => ({
        name: 'enrich-killmail',
        data: { killmailId: String(index) },
        opts: { timestamp, ...more },
      })),
    )

  it('finds nothing wrong with an empty one', async () => {
    expect(lines(await run())).toEqual([])
    expect(await gauges(database)).toMatchObject({ queue_waiting: 0, queue_active: 0, queue_oldest_age_seconds: 0 })
  })

  it('counts the jobs of a queue, each where it is, and finds the oldest', async () => {
    const [now] = await database.query<{ ms: number }>('SELECT (extract(epoch FROM now()) * 1000)::float8 AS ms')
    const hourAgo = Math.round((now?.ms ?? 0) - 3_600_000)
    await add(3, hourAgo + 60_000)
    await add(2, hourAgo, { priority: 5 })
    await add(4, hourAgo - 600_000, { delay: 86_400_000 })
    expect(lines(await run({ queueDepth: { jobs: 5 } }))).toEqual([
      'warning queue-depth: 5 jobs wait in the enrichment queue, the threshold is 5',
      'warning queue-age: the oldest job of the enrichment queue has waited 60 min, the threshold is 15m',
    ])
    expect(await gauges(database)).toMatchObject({ queue_waiting: 5, queue_delayed: 4, queue_failed: 0 })
    await queue.pause()
    const paused = lines(await run({ queueDepth: { jobs: 6 } }))
    expect(paused[0]).toBe('warning queue-depth:paused: the enrichment queue is paused, with 5 jobs')
    expect(paused[1]).toContain('has waited 60 min')
    await queue.resume()
  })

  it('counts what failed lately', async () => {
    await queue.addBulk(Array.from({ length: 3 }, () => ({ name: 'enrich-killmail', data: {} })))
    const worker = new Worker('killmail-enrichment', () => Promise.reject(new Error('no answer')), {
      connection: { host: '127.0.0.1', port: server.port },
    })
    await new Promise<void>((resolve) => void worker.on('drained', () => resolve()))
    await worker.close()
    expect(lines(await run({ queueFailures: { jobs: 3 } }))).toEqual([
      'warning queue-failures: 3 enrichment jobs failed within 1h, the threshold is 3',
    ])
  })

  it('finds memory that is nearly used up, once for all databases of a server, and that jobs may be evicted', async () => {
    await client.call('CONFIG', 'SET', 'maxmemory-policy', 'allkeys-lru')
    await client.call('CONFIG', 'SET', 'maxmemory', '1gb')
    const urls = { url: server.url, sessionUrl: server.urlOf({ database: 2 }) }
    const found = await run({ redisMemory: { ratio: 0.0001 } }, urls)
    expect(found.findings.map(({ key, severity }) => [key, severity])).toEqual([
      ['redis-memory:redis', 'warning'],
      ['queue-eviction', 'info'],
    ])
    expect(found.findings[0]?.summary).toContain('of its maxmemory of 1GiB; at 100 % it evicts keys (allkeys-lru)')
  })

  it('is found when it does not answer; what it would tell is unknown, and explained by that', async () => {
    const gone = await startRedis()
    await gone.stop()
    const { findings } = await run({}, { url: gone.url })
    expect(findings.map(({ key, severity }) => [key, severity])).toEqual([
      ['redis-answers:redis', 'error'],
      ['redis-memory:unknown', 'warning'],
      ['queue-depth:unknown', 'warning'],
      ['queue-age:unknown', 'warning'],
      ['queue-failures:unknown', 'warning'],
      ['queue-eviction:unknown', 'warning'],
    ])
    expect(findings[0]?.summary).toContain('nothing listens there')
  })

  it('is unknown where no REDIS_URL is set, although another is', async () => {
    const found = lines(await run({}, { sessionUrl: server.urlOf({ database: 2 }) }))
    expect(found).toContain('info unknown:redis: 4 checks are unknown: REDIS_URL is not set')
    expect(found.filter((line) => line.includes('REDIS_URL'))).toHaveLength(1)
  })
})

describe(`Redis over TLS${missing}`, { skip: missing !== '' }, () => {
  it('shows when its certificate expires, whether or not that is trusted', async (context) => {
    const server = await startRedis({ tls: true })
    const database = await createTestDatabase()
    try {
      if (server.certificates === undefined) context.skip('openssl is not installed; apt-get install openssl')
      const clients = redisClients({ url: server.url, tlsCaFile: server.certificates?.ca })
      const expiring = serviceChecks.filter(({ key }) => key === 'certificate-expiry')
      // The certificates of tests are valid for two days.
      expect(lines(await runHealth(database, { checks: expiring, clients }))).toEqual([
        'critical certificate-expiry:redis: the certificate of redis expires in 1 days, the threshold is 21d',
      ])
    } finally {
      await server.stop()
      await database.drop()
    }
  })
})
