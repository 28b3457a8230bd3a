import { missingRedisServer, startRedis, type TestClient, type TestRedis } from '@battlescope/redis/testing'
import { describeTaskContract, type TestDatabase } from '@battlescope/scheduler-testing'
import { afterAll, beforeAll, describe } from 'vitest'
import { cache, cacheConfig } from '../src/index.js'
import { redisClients } from './redis-support.js'

const createTable = (database: TestDatabase) =>
  database.query(`
    CREATE TABLE public.esi_cache (cache_key text PRIMARY KEY, cache_value jsonb, cached_at timestamptz, expires_at timestamptz);
    CREATE INDEX ON public.esi_cache (expires_at);
    INSERT INTO public.esi_cache VALUES ('fresh', '{}', now(), now() + interval '1 day')`)
const seedTable = (database: TestDatabase) =>
  database.query(
    `INSERT INTO public.esi_cache SELECT i, '{}', now(), now() - i * interval '1 second' FROM generate_series(1, 95) AS i`,
  )

describe('with PostgreSQL alone', () => {
  describeTaskContract(cache, {
    config: cacheConfig.parse({ rowBatchSize: 10 }),
    unseeded: async (database) => void (await createTable(database)),
    seed: async (database) => void (await seedTable(database)),
  })
})

const missing = await missingRedisServer()

describe(`with Redis, too${missing}`, { skip: missing !== '' }, () => {
  let server: TestRedis
  let client: TestClient
  // Known to the suite before the server is.
  const urls = { url: '', sessionUrl: '' }
  beforeAll(async () => {
    server = await startRedis()
    client = await server.client()
    Object.assign(urls, { url: server.url, sessionUrl: server.url })
  })
  afterAll(() => server.stop())

  describeTaskContract(cache, {
    config: cacheConfig.parse({ rowBatchSize: 10, keyBatchSize: 10 }),
    clients: { redis: (...args) => redisClients(urls).redis!(...args) },
    mostRuns: 100,
    unseeded: async (database) => {
      await createTable(database)
      await client.callAll([
        ['FLUSHALL'],
        ['SET', 'battlescope:session:fine', `{"expiresAt":${4e12}}`, 'EX', 9000],
        ['SET', 'battlescope:account-session:fine', 'fine', 'EX', 9000],
        ['SET', 'not:ours', 'x'],
      ])
    },
    seed: async (database) => {
      await seedTable(database)
      await client.callAll(
        Array.from({ length: 40 }, (_, i): [string, ...string[]][] => [
          ['SET', `universe:names:${i}`, 'x'],
          ['SET', `battlescope:session:${i}`, '{"expiresAt":1}'],
          ['SET', `battlescope:account-session:${i}`, `gone-${i}`],
        ]).flat(),
      )
    },
  })
})
