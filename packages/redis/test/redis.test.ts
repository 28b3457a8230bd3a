import { createServer, type AddressInfo } from 'node:net'
import { once } from 'node:events'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { openRedis, redisOptions, type RedisError } from '../src/index.js'
import type { OpenedRedis } from '../src/open-redis.js'
import {
  missingRedisServer,
  startRedis,
  startRedisCluster,
  type TestClient,
  type TestRedis,
  type TestRedisCluster,
} from '../src/testing/index.js'

const missing = await missingRedisServer()
const opened: OpenedRedis[] = []

function open(options: object): OpenedRedis {
  const redis = openRedis(redisOptions.parse(options))
  opened.push(redis)
  return redis
}

async function failure(work: Promise<unknown>): Promise<RedisError> {
  return work.then(
    () => {
      throw new Error('did not fail')
    },
    (error: unknown) => error as RedisError,
  )
}

afterEach(async () => {
  for (const redis of opened.splice(0)) await redis.close()
})

describe('without a server', () => {
  it('knows what is configured, and connects to nothing before it is asked to', async () => {
    const redis = open({ sessionUrl: 'redis://127.0.0.1:1' })
    expect(redis.read.configured).toEqual(['session'])
    expect(await failure(redis.read.open('redis'))).toMatchObject({
      code: 'redis-not-configured',
      hint: 'set REDIS_URL',
    })
  })

  it('says that nothing listens, once', async () => {
    const error = await failure(open({ url: 'redis://u:secret@127.0.0.1:1/2' }).read.open('redis'))
    expect(error.code).toBe('redis-unavailable')
    expect(error.message).toBe('redis://127.0.0.1:1/2: nothing listens there')
  })

  it('gives up a server that accepts and never answers', async () => {
    const silent = createServer().listen(0, '127.0.0.1')
    await once(silent, 'listening')
    const { port } = silent.address() as AddressInfo
    const error = await failure(open({ url: `redis://127.0.0.1:${port}`, commandTimeout: '100ms' }).read.open('redis'))
    expect(error.code).toBe('redis-timeout')
    silent.close()
  })

  it('refuses wrong options without quoting them', () => {
    const parsed = redisOptions.safeParse({ url: 'redis://u:secret@a,b' })
    expect(parsed.success).toBe(false)
    expect(JSON.stringify(parsed.error?.issues)).not.toContain('secret')
  })
})

describe(`one server${missing}`, { skip: missing !== '' }, () => {
  let server: TestRedis
  let client: TestClient
  beforeAll(async () => {
    server = await startRedis({ users: { keeper: 'on >s3cret ~a:* -@all +info +pttl +scan' } })
    client = await server.client()
  })
  afterAll(() => server.stop())
  afterEach(() => client.call('FLUSHALL'))

  const master = async (options: object = { url: server.url }) => {
    const redis = open(options)
    return { read: (await redis.read.open('redis')).masters[0]!, write: (await redis.write.open('redis')).masters[0]! }
  }

  it('walks every key, page by page, and counts those that are no text', async () => {
    await client.callAll(Array.from({ length: 500 }, (_, i) => ['SET', `k:${i}`, 'v']))
    await client.call('SET', Buffer.from([0x6b, 0xff]), 'v')
    const { read } = await master()
    const keys = new Set<string>()
    let binary = 0
    let cursor = '0'
    do {
      const page = await read.scan(cursor, { count: 50 })
      for (const key of page.keys) keys.add(key)
      binary += page.binaryKeys
      cursor = page.cursor
    } while (cursor !== '0')
    expect([keys.size, binary]).toEqual([500, 1])
  })

  it('looks at keys of every type, and at none that is gone', async () => {
    await client.callAll([
      ['SET', 's', 'hello', 'PX', '60000'],
      ['RPUSH', 'l', 'a', 'b'],
    ])
    const { read } = await master()
    const [s, l, gone] = await read.look(['s', 'l', 'gone'], ['value', 'ttl', 'memory', 'idle', 'type', 'encoding'])
    expect(s).toMatchObject({
      key: 's',
      type: 'string',
      value: 'hello',
      idleSeconds: expect.any(Number),
      encoding: 'embstr',
    })
    expect(s?.ttlMs).toBeGreaterThan(50_000)
    expect(l).toMatchObject({ key: 'l', type: 'list', ttlMs: null })
    expect(l?.value).toBeUndefined()
    expect(gone).toEqual({ key: 'gone' })
    expect(await read.length('l', 'list')).toBe(2)
    expect(await read.mget(['l', 's', 'gone'])).toEqual([undefined, 'hello', undefined])
    expect(await read.exists(['l', 'gone'])).toEqual([true, false])
    expect((await read.info('memory'))['maxmemory_policy']).toBe('noeviction')
    expect(await read.configGet('maxmemory-policy')).toEqual({ 'maxmemory-policy': 'noeviction' })
  })

  it('reaches no writing command through the reading half', async () => {
    const { read } = await master()
    await client.call('SET', 'k', 'v')
    const before = await client.call('DEBUG', 'DIGEST')
    expect(Object.keys(read)).not.toContain('unlink')
    expect(Object.isFrozen(read)).toBe(true)
    // The one place where a caller's text becomes part of a command's name.
    const length = read.length as (key: string, type: string) => Promise<unknown>
    expect(await failure(length('k', 'unlink'))).toBeInstanceOf(Error)
    expect(await client.call('DEBUG', 'DIGEST')).toBe(before)
  })

  it('sets a TTL only where there is none, and unlinks in batches', async () => {
    await client.callAll([
      ['SET', 'a', '1'],
      ['SET', 'b', '1', 'PX', '5000'],
    ])
    const { write } = await master()
    expect(await write.pexpire(['a', 'b', 'gone'], 90_000, 'NX')).toBe(1)
    expect(Number(await client.call('PTTL', 'a'))).toBeGreaterThan(80_000)
    expect(Number(await client.call('PTTL', 'b'))).toBeLessThanOrEqual(5000)
    await client.callAll(Array.from({ length: 250 }, (_, i) => ['SET', `k:${i}`, 'v']))
    expect(await write.unlink([...Array.from({ length: 250 }, (_, i) => `k:${i}`), 'gone'])).toBe(250)
  })

  it('changes nothing when a watched key was touched in between', async () => {
    await client.call('SET', 'a', '1')
    const { write } = await master()
    const touched = await write.changeUnlessTouched(['a'], async () => {
      await client.call('SET', 'a', '2')
      return [{ kind: 'unlink', key: 'a' }]
    })
    expect(touched).toBeUndefined()
    expect(await client.call('GET', 'a')).toBe('2')
    expect(await write.changeUnlessTouched(['a'], async () => [{ kind: 'unlink', key: 'a' }])).toBe(1)
    expect(await client.call('EXISTS', 'a')).toBe(0)
  })

  it('watches nothing any more after a decision that failed', async () => {
    const { write } = await master()
    await client.call('SET', 'a', '1')
    expect(await failure(write.changeUnlessTouched(['a'], () => Promise.reject(new TypeError('no'))))).toBeInstanceOf(
      TypeError,
    )
    await client.call('SET', 'a', '2')
    expect(await write.changeUnlessTouched([], async () => [{ kind: 'unlink', key: 'a' }])).toBe(1)
  })

  it('uses the database of the path', async () => {
    const other = await server.client(3)
    await other.call('SET', 'k', 'three')
    const { read } = await master({ url: server.urlOf({ database: 3 }) })
    expect([await read.get('k'), await read.dbsize()]).toEqual(['three', 1])
    expect(read.id).toBe(`127.0.0.1:${server.port}/3`)
    const error = await failure(open({ url: server.urlOf({ database: 77 }) }).read.open('redis'))
    expect(error.message).toContain('DB index is out of range')
  })

  it('names the right that an ACL user lacks, and no password', async () => {
    const { read, write } = await master({ url: server.urlOf({ user: 'keeper', password: 's3cret' }) })
    const lacks = await failure(read.look(['a:1'], ['memory']))
    expect(lacks).toMatchObject({ code: 'redis-permission', hint: 'ACL SETUSER keeper +memory|usage' })
    expect(lacks.message).toContain("user 'keeper' may not run MEMORY USAGE: the right +memory|usage is missing")
    expect(await failure(write.unlink(['a:1']))).toMatchObject({ hint: 'ACL SETUSER keeper +unlink' })
    await client.call('ACL', 'SETUSER', 'keeper', '+watch', '+unwatch', '+multi', '+exec')
    const inside = write.changeUnlessTouched(['a:1'], async () => [{ kind: 'unlink', key: 'a:1' }])
    expect(await failure(inside)).toMatchObject({ hint: 'ACL SETUSER keeper +unlink' })
    const foreign = await failure(read.look(['b:1'], ['ttl']))
    expect(foreign.message).toContain('a key pattern is missing')
    const wrong = await failure(open({ url: server.urlOf({ user: 'keeper', password: 'wr0ng' }) }).read.open('redis'))
    expect(wrong.code).toBe('redis-auth')
    expect(`${wrong.message}${wrong.hint}${JSON.stringify(wrong)}`).not.toContain('wr0ng')
  })

  it('ends what is under way when its signal aborts', async () => {
    const stop = new AbortController()
    const redis = open({ url: server.url })
    const { masters } = await redis.read.open('redis', { signal: stop.signal })
    void client.call('DEBUG', 'SLEEP', '0.3')
    const pinging = failure(masters[0]!.ping())
    stop.abort(new Error('enough'))
    expect((await pinging).message).toBe('enough')
    expect((await failure(masters[0]!.ping())).message).toBe('enough')
  })

  it('fails, and does not wait, when the server goes', async () => {
    const own = await startRedis()
    const { read } = await master({ url: own.url })
    await own.stop()
    expect((await failure(read.ping())).code).toBe('redis-unavailable')
    expect((await failure(read.scan('0'))).code).toBe('redis-unavailable')
  })

  it('refuses a replica', async () => {
    const replica = await startRedis({ settings: { replicaof: `127.0.0.1 ${server.port}` } })
    const error = await failure(open({ url: replica.url }).read.open('redis'))
    expect(['redis-replica', 'redis-busy']).toContain(error.code)
    await replica.stop()
  })

  it('knows a restarted server by its run id', async () => {
    const own = await startRedis({ persistent: true })
    await (await own.client()).call('SET', 'k', 'v')
    const before = (await master({ url: own.url })).read
    await own.restart()
    const after = (await master({ url: own.url })).read
    expect(after.id).toBe(before.id)
    expect(after.runId).not.toBe(before.runId)
    expect(await after.get('k')).toBe('v')
    await own.stop()
  })
})

describe(`TLS${missing}`, { skip: missing !== '' }, () => {
  it('trusts the given authority, and nothing else', async (context) => {
    const server = await startRedis({ tls: true, password: 's3cret' })
    if (server.certificates === undefined) context.skip('openssl is not installed; apt-get install openssl')
    const { ca } = server.certificates!
    const redis = open({ url: server.url, tlsCaFile: ca })
    expect(await (await redis.read.open('redis')).masters[0]!.dbsize()).toBe(0)
    expect(await failure(open({ url: server.url }).read.open('redis'))).toMatchObject({ code: 'redis-tls' })
    const otherName = open({ url: server.url, tlsCaFile: ca, tlsServerName: 'other.example' })
    expect((await failure(otherName.read.open('redis'))).code).toBe('redis-tls')
    const plain = await failure(
      open({ url: server.url.replace('rediss', 'redis'), commandTimeout: '1s' }).read.open('redis'),
    )
    expect(plain.code).toMatch(/^redis-(unavailable|timeout)$/)
    expect((await failure(open({ url: server.url, tlsCaFile: '/nonexistent' }).read.open('redis'))).code).toBe(
      'redis-tls',
    )
    await server.stop()
  })
})

describe(`a cluster${missing}`, { skip: missing !== '' }, () => {
  let cluster: TestRedisCluster
  beforeAll(async () => {
    cluster = await startRedisCluster()
  })
  afterAll(() => cluster.stop())

  it.each(['redis-cluster', 'redis'])('reaches every master by %s://', async (scheme) => {
    const url = cluster.url.replace('redis-cluster', scheme)
    const database = await open({ url }).write.open('redis')
    expect(database.masters).toHaveLength(3)
    expect(new Set(database.masters.map(({ id }) => id)).size).toBe(3)
    for (let i = 0; i < 60; i += 1) {
      const owner = database.masterOf(`k:${i}`)
      expect(await owner.get(`k:${i}`)).toBeUndefined()
      // A key that lives elsewhere is no error: the walk of its own master finds it.
      const other = database.masters.find(({ id }) => id !== owner.id)!
      expect(await other.look([`k:${i}`], ['ttl'])).toEqual([{ key: `k:${i}` }])
      expect(await other.pexpire([`k:${i}`], 1000)).toBe(0)
    }
    expect(database.masters[0]!.keysPerTransaction).toBe(1)
  })

  it('refuses a single server where a cluster was named', async () => {
    const single = await startRedis()
    const error = await failure(open({ url: `redis-cluster://127.0.0.1:${single.port}` }).read.open('redis'))
    expect(error.code).toBe('redis-unsupported')
    await single.stop()
  })
})
