import {
  missingRedisServer,
  startRedis,
  startRedisCluster,
  type TestClient,
  type TestRedis,
} from '@battlescope/redis/testing'
import { createTestDatabase, type TestDatabase } from '@battlescope/scheduler-testing'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { actionsOf, dumpAll, runCache, type CacheRun } from './redis-support.js'

const missing = await missingRedisServer()
const later = 4e12

describe(`Redis${missing}`, { skip: missing !== '' }, () => {
  let server: TestRedis
  let client: TestClient
  let database: TestDatabase
  beforeAll(async () => {
    server = await startRedis()
    client = await server.client()
    database = await createTestDatabase()
  })
  afterAll(async () => {
    await server.stop()
    await database.drop()
  })
  beforeEach(async () => {
    await database.query('DROP SCHEMA IF EXISTS scheduler CASCADE')
    await client.call('FLUSHALL')
  })

  const run = (more: Partial<CacheRun> = {}) => runCache(database, { urls: { sessionUrl: server.url }, ...more })
  const withNamespaces = (...namespaces: object[]) => ({ urls: { url: server.url }, options: { namespaces } })
  const exists = async (...keys: string[]) => client.callAll(keys.map((key) => ['EXISTS', key]))
  const set = (key: string, value: string, ...more: (string | number)[]) => client.call('SET', key, value, ...more)

  it('repairs missing TTLs, and leaves others as they are', async () => {
    await set('battlescope:authz:a:read:global', '1')
    await set('battlescope:authz:b:read:global', '1', 'PX', 20_000)
    await client.call('HSET', 'battlescope:authz:c', 'f', 'v')
    const ran = await run()
    expect(ran.task.run).toMatchObject({ outcome: 'succeeded', findings: [] })
    expect(actionsOf(ran)).toEqual(['repair-ttl session battlescope:authz:*: 2 keys without a TTL: set to 1m'])
    const [a, b, c] = (
      await client.callAll(['a:read:global', 'b:read:global', 'c'].map((key) => ['PTTL', `battlescope:authz:${key}`]))
    ).map(Number)
    expect([a, c].every((ttl) => ttl! > 50_000 && ttl! <= 60_000)).toBe(true)
    expect(b).toBeLessThanOrEqual(20_000)
    const [action] = await database.query(
      `SELECT row_count, via, details FROM scheduler.action WHERE result = 'succeeded'`,
    )
    expect(action).toEqual({ row_count: '2', via: 'redis', details: { found: 2, spared: 0 } })
    expect(actionsOf(await run())).toEqual([])
  })

  it('removes sessions past their end, and pointers to nothing', async () => {
    await set('battlescope:session:alive', JSON.stringify({ accountId: 'a', expiresAt: later }), 'EX', 9000)
    await set('battlescope:session:past', JSON.stringify({ accountId: 'b', expiresAt: 1 }), 'EX', 9000)
    await set('battlescope:session:forever', JSON.stringify({ expiresAt: 1 }))
    await set('battlescope:session:odd', 'no JSON', 'EX', 9000)
    await client.call('HSET', 'battlescope:session:hash', 'expiresAt', '1')
    await client.call('EXPIRE', 'battlescope:session:hash', 9000)
    await set('battlescope:account-session:a', 'alive', 'EX', 9000)
    await set('battlescope:account-session:b', 'gone', 'EX', 9000)
    await set('battlescope:account-session:c', 'gone')
    await set('battlescope:account-session:d', 'past', 'EX', 9000)
    await set('battlescope:account-session:e', 'hash', 'EX', 9000)
    const ran = await run()
    expect(((await client.call('KEYS', '*')) as string[]).sort()).toEqual([
      'battlescope:account-session:a',
      'battlescope:account-session:e',
      'battlescope:session:alive',
      'battlescope:session:hash',
      'battlescope:session:odd',
    ])
    expect(ran.task.run?.findings).toMatchObject([
      { key: 'unreadable-values', details: { namespaces: { 'session battlescope:session:*': 2 } } },
    ])
    const bytes = await database.query<{ bytes: string }>(
      `SELECT byte_count AS bytes FROM scheduler.action WHERE kind = 'remove-sessions' AND result = 'succeeded'`,
    )
    expect(Number(bytes[0]?.bytes)).toBeGreaterThan(100)
  })

  it('removes what is older than a period, by the value or by the last use', async () => {
    const hoursAgo = (hours: number) => JSON.stringify({ at: Date.now() - hours * 3_600_000 })
    await set('c:old', hoursAgo(3))
    await set('c:new', hoursAgo(1))
    await set('i:idle', 'x')
    await set('i:used', 'x')
    // As after a restore: https://redis.io/docs/latest/commands/restore/
    const dump = (await (client as unknown as { call: TestClient['call'] }).call('DUMP', 'i:used')) as string
    expect(dump).toBeDefined()
    await client.call('DEL', 'i:idle')
    const plain = Buffer.from([0x00, 0x01, 0x78, 0x0a, 0x00])
    const payload = Buffer.concat([plain, crc64(plain)])
    await client.call('RESTORE', 'i:idle', 0, payload, 'IDLETIME', 7200)
    const ran = await run(
      withNamespaces(
        { on: ['redis'], pattern: 'c:*', maxAge: '2h', timeField: 'at' },
        { on: ['redis'], pattern: 'i:*', maxIdle: '1h' },
      ),
    )
    expect(await exists('c:old', 'c:new', 'i:idle', 'i:used')).toEqual([0, 1, 0, 1])
    expect(actionsOf(ran)).toHaveLength(2)
  })

  it('leaves every key outside of the namespaces as it was, to the byte', async () => {
    await client.callAll([
      ['SET', 'other:session:x', '{"expiresAt":1}'],
      ['SET', 'battlescope:sessions:x', '{"expiresAt":1}'],
      ['SET', 'xbattlescope:session:x', '{"expiresAt":1}'],
      ['RPUSH', 'bull:emails:wait', '1'],
      ['ZADD', 'bull:emails:completed', '1', '1'],
      ['HSET', 'some:hash', 'a', 'b'],
      ['SADD', 'some:set', 'a'],
      ['XADD', 'some:stream', '1-1', 'a', 'b'],
      ['SET', 'with:ttl', 'x', 'PX', '90000000'],
    ])
    await client.call('SET', Buffer.from('battlescope:session:\xff\xfe', 'latin1'), '{"expiresAt":1}')
    const before = { digest: await client.call('DEBUG', 'DIGEST'), dump: await dumpAll(client) }
    await client.callAll(Array.from({ length: 300 }, (_, i) => ['SET', `battlescope:session:${i}`, '{"expiresAt":1}']))
    await run({ urls: { url: server.url, sessionUrl: server.url, esiCacheUrl: server.url } })
    expect(await client.call('DEBUG', 'DIGEST')).toBe(before.digest)
    expect(await dumpAll(client)).toEqual(before.dump)
  })

  it('walks over data once that two URLs lead to, with the namespaces of both', async () => {
    await set('universe:names:1', 'x')
    await set('battlescope:authz:a', 'x')
    const ran = await run({ urls: { url: server.url, sessionUrl: server.url.replace('127.0.0.1', 'localhost') } })
    expect([...actionsOf(ran)].sort()).toEqual([
      'repair-ttl redis battlescope:authz:*: 1 key without a TTL: set to 1m',
      'repair-ttl redis universe:names:*: 1 key without a TTL: set to 1d',
    ])
  })

  it('writes nothing in a dry run, and says what it saw in a sample', async () => {
    await client.callAll(Array.from({ length: 1000 }, (_, i) => ['SET', `battlescope:session:${i}`, '{"expiresAt":1}']))
    const before = await client.call('DEBUG', 'DIGEST')
    const ran = await run({ dryRun: true, options: { sampleKeys: 200 } })
    expect(await client.call('DEBUG', 'DIGEST')).toBe(before)
    const [action] = actionsOf(ran)
    const [, found, sampled] =
      /remove-sessions session battlescope:session:\*: (\d+) of (\d+) sampled keys past their end/.exec(action ?? '')!
    expect(found).toBe(sampled)
    expect(Number(sampled)).toBeGreaterThanOrEqual(200)
    expect(Number(sampled)).toBeLessThan(400)
  })

  describe('between look and act', () => {
    /** Runs `hook` once, right before the decision of a transaction, or right after it. */
    const disturbed = (when: 'before' | 'between', hook: () => Promise<unknown>): CacheRun['disturb'] => {
      let done = false
      const once = async () => {
        if (!done) {
          done = true
          await hook()
        }
      }
      return (master) => ({
        changeUnlessTouched: async (watched, decide) => {
          if (when === 'before') await once()
          return master.changeUnlessTouched(watched, async (watch) => {
            const changes = await decide(watch)
            if (when === 'between') await once()
            return changes
          })
        },
        pexpire: async (...args) => {
          await once()
          return master.pexpire(...args)
        },
      })
    }

    it.each(['before', 'between'] as const)('a session that is renewed survives (%s the second look)', async (when) => {
      await set('battlescope:session:renewed', '{"expiresAt":1}', 'EX', 9000)
      await set('battlescope:session:past', '{"expiresAt":1}', 'EX', 9000)
      const disturb = disturbed(when, () => set('battlescope:session:renewed', `{"expiresAt":${later}}`, 'EX', 9000))
      const ran = await run({ disturb: disturb! })
      expect(await exists('battlescope:session:renewed', 'battlescope:session:past')).toEqual([1, 0])
      expect(ran.task.run?.outcome).toBe('succeeded')
      const [action] = await database.query(
        `SELECT row_count, details FROM scheduler.action WHERE result = 'succeeded'`,
      )
      expect(action).toEqual({ row_count: '1', details: { found: 2, spared: 1 } })
    })

    it.each(['before', 'between'] as const)('a pointer that points elsewhere now survives (%s)', async (when) => {
      await set('battlescope:account-session:a', 'gone', 'EX', 9000)
      const disturb = disturbed(when, async () => {
        await set('battlescope:session:new', `{"expiresAt":${later}}`, 'EX', 9000)
        await set('battlescope:account-session:a', 'new', 'EX', 9000)
      })
      await run({ disturb: disturb! })
      expect(await client.call('GET', 'battlescope:account-session:a')).toBe('new')
    })

    it.each(['before', 'between'] as const)('a pointer whose session comes into being survives (%s)', async (when) => {
      await set('battlescope:account-session:a', 'late', 'EX', 9000)
      const disturb = disturbed(when, () => set('battlescope:session:late', `{"expiresAt":${later}}`, 'EX', 9000))
      await run({ disturb: disturb! })
      expect(await client.call('GET', 'battlescope:account-session:a')).toBe('late')
    })

    it('a TTL that somebody set meanwhile stays', async () => {
      await set('battlescope:authz:a', 'x')
      await run({ disturb: disturbed('before', () => client.call('PEXPIRE', 'battlescope:authz:a', 5000))! })
      expect(Number(await client.call('PTTL', 'battlescope:authz:a'))).toBeLessThanOrEqual(5000)
    })

    it('a key that is touched again and again is left, and the others go', async () => {
      await client.callAll(Array.from({ length: 60 }, (_, i) => ['SET', `battlescope:session:${i}`, '{"expiresAt":1}']))
      await run({
        disturb: (master) => ({
          changeUnlessTouched: (watched, decide) =>
            master.changeUnlessTouched(watched, async (watch) => {
              const changes = await decide(watch)
              await set('battlescope:session:7', '{"expiresAt":1}')
              return changes
            }),
        }),
      })
      expect(await client.call('KEYS', '*')).toEqual(['battlescope:session:7'])
    })
  })

  describe('over several runs', () => {
    const fill = (count: number) =>
      client.callAll(Array.from({ length: count }, (_, i) => ['SET', `universe:names:${i}`, 'x', 'EX', 90_000]))
    const cursors = async () => {
      const [row] = await database.query<{
        data: { masters: Record<string, { cursor: string; complete: boolean; last?: object }> }
      }>(`SELECT data FROM scheduler.checkpoint`)
      return Object.values(row?.data.masters ?? {})
    }
    // A soft stop after the first pages: the budget of a test must not depend on the speed of the machine.
    const stopAfter = (pages: number): Partial<CacheRun> => {
      const stop = new AbortController()
      let seen = 0
      return {
        stop: stop.signal,
        logger: {
          trace: () => undefined,
          debug: (fields) => {
            if ('progress' in fields && (seen += 1) >= pages) stop.abort('SIGTERM')
          },
          info: () => undefined,
          warn: () => undefined,
          error: () => undefined,
        },
      }
    }
    const urls = () => ({ url: server.url })

    it('goes on where it stopped, and ends', async () => {
      await fill(2000)
      const first = await run({ urls: urls(), ...stopAfter(3) })
      expect(first.task.run).toMatchObject({ outcome: 'partial', remaining: 1 })
      const [saved] = await cursors()
      expect(saved).toMatchObject({ complete: false })
      expect(saved?.cursor).not.toBe('0')
      const second = await run({ urls: urls() })
      expect(second.task.run?.outcome).toBe('succeeded')
      const [done] = await cursors()
      expect(done).toMatchObject({
        cursor: '0',
        complete: false,
        last: { namespaces: { 'redis universe:names:*': { keys: 2000 } } },
      })
    })

    it('begins again after a restart of the server, for its cursor means nothing there', async () => {
      const own = await startRedis({ persistent: true })
      const filled = await own.client()
      await filled.callAll(Array.from({ length: 2000 }, (_, i) => ['SET', `universe:names:${i}`, 'x']))
      await run({ urls: { url: own.url }, ...stopAfter(3) })
      const [saved] = await cursors()
      expect(saved?.cursor).not.toBe('0')
      await own.restart()
      const again = await own.client()
      // The keys that the first run repaired lost their TTL again: only a walk from the beginning finds all of them.
      await again.callAll(Array.from({ length: 2000 }, (_, i) => ['PERSIST', `universe:names:${i}`]))
      expect((await run({ urls: { url: own.url } })).task.run?.outcome).toBe('succeeded')
      const ttls = await again.callAll(Array.from({ length: 2000 }, (_, i) => ['TTL', `universe:names:${i}`]))
      expect(ttls.filter((ttl) => ttl === -1)).toEqual([])
      await own.stop()
    })

    it('keeps to its commands per second', async () => {
      await fill(400)
      const waits: number[] = []
      const startedAt = performance.now()
      const ran = await run({ urls: urls(), options: { commandsPerSecond: 2000 } })
      waits.push(performance.now() - startedAt)
      expect(ran.task.run?.outcome).toBe('succeeded')
      // 400 keys take two look-ups each, and the SCANs: 800 commands and more take 0.4 s at least.
      expect(waits[0]).toBeGreaterThan(400)
    })
  })

  it('says which keys are big, but not the token of a session', async () => {
    const big = 'x'.repeat(200_000)
    await set('universe:names:big', big, 'EX', 9000)
    await set('battlescope:session:secret-token', JSON.stringify({ expiresAt: later, big }), 'EX', 9000)
    await set('other:big', big)
    const ran = await run({ urls: { url: server.url, sessionUrl: server.url }, options: { bigKey: '100kB' } })
    const text = JSON.stringify(ran.task.run?.findings)
    expect(text).toContain('redis universe:names:big')
    expect(text).toContain('one of battlescope:session:*')
    expect(text).not.toContain('secret-token')
    expect(text).not.toContain('other:big')
    // Also where the walk is only beginning again.
    expect(
      JSON.stringify((await run({ urls: { url: server.url }, options: { bigKey: '100kB' } })).task.run?.findings),
    ).toContain('universe:names:big')
  })

  it('reports fragmentation', async () => {
    const ran = await run({ options: { fragmentationRatio: 1 } })
    // A test server is too small for the floor of 64 MiB; the ratio is published all the same.
    expect(ran.task.run?.findings).toEqual([])
    const gauge = ran.task.run?.metrics.find(({ name }) => name === 'fragmentation_ratio')
    expect(gauge?.value).toBeGreaterThan(0)
  })

  it('counts keys and bytes for every namespace', async () => {
    await set('battlescope:authz:a', 'x')
    await set('battlescope:session:past', '{"expiresAt":1}')
    const metrics = (await run()).task.run?.metrics ?? []
    const value = (name: string, namespace: string) =>
      metrics.find((metric) => metric.name === name && metric.attributes['namespace'] === namespace)?.value
    expect([value('keys_repaired', 'battlescope:authz:*'), value('keys_removed', 'battlescope:authz:*')]).toEqual([
      1, 0,
    ])
    expect([value('keys_removed', 'battlescope:session:*'), value('namespace_keys', 'battlescope:session:*')]).toEqual([
      1, 1,
    ])
    expect(value('bytes_removed', 'battlescope:session:*')).toBeGreaterThan(0)
  })

  it('does without idle times where the policy is LFU, and says so', async () => {
    const own = await startRedis({ settings: { 'maxmemory-policy': 'allkeys-lfu', maxmemory: '100mb' } })
    await (await own.client()).call('SET', 'i:1', 'x')
    const ran = await run({
      ...withNamespaces({ on: ['redis'], pattern: 'i:*', maxIdle: '1s', ttl: '1h' }),
      urls: { url: own.url },
    })
    expect(ran.task.run).toMatchObject({
      outcome: 'succeeded',
      findings: [{ key: 'idle-unknown', details: { namespaces: ['redis i:*'] } }],
    })
    expect(actionsOf(ran)).toEqual(['repair-ttl redis i:*: 1 key without a TTL: set to 1h'])
    await own.stop()
  })

  it('fails when a Redis is down, after everything else was done', async () => {
    await database.query(
      `CREATE TABLE esi_cache (id int, expires_at timestamptz); INSERT INTO esi_cache VALUES (1, '2020-01-01')`,
    )
    await set('battlescope:authz:a', 'x')
    const ran = await run({ urls: { url: 'redis://u:secret@127.0.0.1:1', sessionUrl: server.url } })
    expect(ran.task.run).toMatchObject({
      outcome: 'failed',
      errorCode: 'redis-unavailable',
      reason: 'redis://127.0.0.1:1/0: nothing listens there',
    })
    expect(await database.query('SELECT * FROM esi_cache')).toEqual([])
    expect(Number(await client.call('PTTL', 'battlescope:authz:a'))).toBeGreaterThan(0)
    await database.query('DROP TABLE esi_cache')
  })

  it('names the right that its user lacks', async () => {
    await client.call(
      'ACL',
      'SETUSER',
      'keeper',
      'on',
      '>pw',
      '~battlescope:*',
      '-@all',
      '+info',
      '+scan',
      '+pttl',
      '+memory|usage',
      '+get',
    )
    await set('battlescope:authz:a', 'x')
    const ran = await run({ urls: { sessionUrl: server.urlOf({ user: 'keeper', password: 'pw' }) } })
    expect(ran.task.run).toMatchObject({ outcome: 'failed', errorCode: 'redis-permission' })
    expect(ran.task.run?.reason).toContain("user 'keeper' may not run PEXPIRE: the right +pexpire is missing")
  })

  it.each([[[]], [['+eval_ro']]])(
    'needs no more rights than its README says, with and without EVAL_RO (%j)',
    async (more) => {
      const rights = '+info +scan +pttl +memory|usage +mget +exists +pexpire +unlink +watch +unwatch +multi +exec'
      await client.call(
        'ACL',
        'SETUSER',
        'least',
        'on',
        '>pw',
        '~battlescope:*',
        '-@all',
        ...rights.split(' '),
        ...more,
      )
      await set('battlescope:authz:a', 'x')
      await set('battlescope:session:past', '{"expiresAt":1}')
      await set('battlescope:account-session:a', 'gone')
      const ran = await run({ urls: { sessionUrl: server.urlOf({ user: 'least', password: 'pw' }) } })
      expect(ran.task.run?.outcome).toBe('succeeded')
      expect(await client.call('KEYS', '*')).toEqual(['battlescope:authz:a'])
    },
  )

  it.each(['+memory|usage', '+pttl'])('names a right that is missing inside of the script, too: %s', async (right) => {
    const rights = ['+info', '+scan', '+pttl', '+memory|usage', '+eval_ro'].filter((one) => one !== right)
    await client.call('ACL', 'SETUSER', 'least', 'on', '>pw', '~battlescope:*', '-@all', ...rights)
    await set('battlescope:authz:a', 'x')
    const ran = await run({ urls: { sessionUrl: server.urlOf({ user: 'least', password: 'pw' }) } })
    expect(ran.task.run).toMatchObject({ outcome: 'failed', errorCode: 'redis-permission' })
    expect(ran.task.run?.reason).toContain(`the right ${right} is missing`)
  })

  it('works over TLS', async (context) => {
    const secure = await startRedis({ tls: true, password: 'pw' })
    const { certificates } = secure
    if (certificates === undefined) context.skip('openssl is not installed; apt-get install openssl')
    await (await secure.client()).call('SET', 'battlescope:session:past', '{"expiresAt":1}')
    const ran = await run({ urls: { sessionUrl: secure.url, tlsCaFile: certificates!.ca } })
    expect(actionsOf(ran)).toHaveLength(1)
    expect((await run({ urls: { sessionUrl: secure.url } })).task.run).toMatchObject({ errorCode: 'redis-tls' })
    await secure.stop()
  })

  describe('in a cluster of three masters', () => {
    it('looks after every master, and at pointers across them', async () => {
      const cluster = await startRedisCluster()
      const clients = await Promise.all(cluster.masters.map((master) => master.client()))
      // Each key on the master that takes it.
      const put = async (key: string, value: string) => {
        for (const one of clients) if (await one.call('SET', key, value).catch(() => undefined)) return
      }
      for (let i = 0; i < 60; i += 1) {
        await put(`battlescope:session:${i}`, JSON.stringify({ expiresAt: i % 2 === 0 ? 1 : later }))
        await put(`battlescope:account-session:${i}`, String(i))
        await put(`battlescope:authz:${i}`, 'x')
        await put(`other:${i}`, 'x')
      }
      const ran = await run({ urls: { sessionUrl: cluster.url } })
      expect(ran.task.run?.outcome).toBe('succeeded')
      const keys = (await Promise.all(clients.map((one) => one.call('KEYS', '*') as Promise<string[]>))).flat()
      const numbered = (prefix: string) =>
        keys
          .filter((key) => key.startsWith(prefix))
          .map((key) => Number(key.split(':').at(-1)))
          .sort((a, b) => a - b)
      const odd = Array.from({ length: 30 }, (_, i) => 2 * i + 1)
      expect(numbered('battlescope:session:')).toEqual(odd)
      expect(numbered('battlescope:account-session:')).toEqual(odd)
      expect(numbered('other:')).toHaveLength(60)
      const ttls = (
        await Promise.all(
          clients.map(async (one) =>
            one.callAll(((await one.call('KEYS', '*')) as string[]).map((key) => ['TTL', key])),
          ),
        )
      ).flat()
      expect(ttls.filter((ttl) => ttl === -1)).toHaveLength(60)
      expect(actionsOf(await run({ urls: { sessionUrl: cluster.url } }))).toEqual([])
      await cluster.stop()
    })
  })

  afterEach(() => client.call('ACL', 'DELUSER', 'keeper', 'least'))
})

/** Redis' own: Jones, reflected, as RESTORE wants it at the end of a payload. */
function crc64(bytes: Buffer): Buffer {
  let crc = 0n
  for (const byte of bytes) {
    crc ^= BigInt(byte)
    for (let bit = 0; bit < 8; bit += 1) crc = crc & 1n ? (crc >> 1n) ^ 0x95ac9329ac4bc9b5n : crc >> 1n
  }
  const result = Buffer.alloc(8)
  result.writeBigUInt64LE(crc)
  return result
}
