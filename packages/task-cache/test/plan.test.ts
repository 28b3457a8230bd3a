import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { cacheConfig } from '../src/config.js'
import { nextRound, resumeWalk, withPage, withWalk, type Walk } from '../src/cursor.js'
import { matcherOf, namespaceOf, targetOf, type Namespace } from '../src/namespaces.js'
import {
  isFragmented,
  judge,
  planRanges,
  planTrim,
  resultOf,
  timeIn,
  withBigKey,
  type Facts,
  type Found,
} from '../src/plan.js'

const now = Date.parse('2026-11-23T12:00:00Z')
const hour = 3_600_000

function namespace(config: object): Namespace {
  const [first] = cacheConfig.parse({ namespaces: [{ on: ['redis'], ...config }] }).namespaces
  return namespaceOf(first!)
}

describe('options', () => {
  it('are the key table of BattleScope by default', () => {
    const all = cacheConfig.parse({}).namespaces.map(namespaceOf)
    const of = (redis: 'redis' | 'esiCache' | 'session', key: string) =>
      matcherOf(all.filter(({ on }) => on.includes(redis)))(key)
    expect(of('session', 'battlescope:session:t')).toMatchObject({
      policy: 'session',
      field: 'expiresAt',
      ttlMs: 8 * hour,
    })
    expect(of('session', 'battlescope:account-session:a')).toMatchObject({ policy: 'pointer', ttlMs: 8 * hour })
    expect(of('session', 'battlescope:authz:a:read:global')).toMatchObject({ ttlMs: 60_000 })
    expect(of('esiCache', 'universe:names:1')).toMatchObject({ ttlMs: 300_000 })
    expect(of('redis', 'universe:names:1')).toMatchObject({ ttlMs: 24 * hour })
    expect(of('redis', 'bull:killmail-enrichment:17')).toMatchObject({ completed: undefined, failed: undefined })
    expect(of('redis', 'bull:other:17')).toBeUndefined()
    expect(of('session', 'bull:killmail-enrichment:17')).toBeUndefined()
  })

  it.each([
    [{ pattern: '*' }, 'begins with no wildcard'],
    [{}, 'needs it'],
    [{ pattern: 'a:*', queue: 'q' }, 'has no queue'],
    [{ policy: 'bullmq' }, 'needs it'],
    [{ policy: 'bullmq', queue: 'q', pattern: 'a' }, 'has no pattern'],
    [{ policy: 'bullmq', queue: 'q', failed: {} }, 'age, count, or both'],
    [{ pattern: 'a:*', maxAge: '1h' }, 'go together'],
    [{ policy: 'pointer', pattern: 'a:*', target: 'b' }, '{value}'],
    [{ pattern: 'a:*', tttl: '1h' }, 'tttl'],
  ])('refuse %j', (config, message) => {
    const parsed = cacheConfig.safeParse({ namespaces: [{ on: ['redis'], ...config }] })
    expect(JSON.stringify(parsed.error?.issues)).toContain(message)
  })

  it('match what their pattern says, first come first served', () => {
    const match = matcherOf([
      namespace({ pattern: 'a.b:?' }),
      namespace({ pattern: 'a*:x:*' }),
      namespace({ pattern: 'a*' }),
    ])
    expect(match('a.b:1')?.pattern).toBe('a.b:?')
    expect(match('aXb:1')?.pattern).toBe('a*')
    expect(match('abc:x:\n')?.pattern).toBe('a*:x:*')
    expect(match('b')).toBeUndefined()
  })
})

describe('judge', () => {
  const ttlHour = { ttl: '1h' }
  const looked = (facts: Partial<Facts>): Facts => ({ key: 'k', ttlMs: 1000, memoryBytes: 50, ...facts })
  const session = namespace({ policy: 'session', pattern: 's:*', ...ttlHour })
  const pointer = namespace({ policy: 'pointer', pattern: 'p:*', target: 's:{value}', ...ttlHour })
  const aged = namespace({ pattern: 'c:*', maxAge: '1h', timeField: 'at', ...ttlHour })
  const idle = namespace({ pattern: 'i:*', maxIdle: '1h' })
  const plain = namespace({ pattern: 'c:*', ...ttlHour })

  it.each<[string, Namespace, Partial<Facts>, object]>([
    ['a TTL is there', plain, {}, { kind: 'keep' }],
    ['a TTL is missing', plain, { ttlMs: null }, { kind: 'repair', ttlMs: hour }],
    ['no TTL is wanted', idle, { ttlMs: null, idleSeconds: 5 }, { kind: 'keep' }],
    ['a session ended', session, { value: `{"expiresAt":${now}}` }, { kind: 'remove', why: 'expired' }],
    ['a session goes on', session, { value: `{"expiresAt":${now + 1}}` }, { kind: 'keep' }],
    ['a session without end and TTL', session, { value: '{}', ttlMs: null }, { kind: 'repair', ttlMs: hour }],
    ['a session that is no JSON', session, { value: 'x' }, { kind: 'unreadable' }],
    [
      'an ended session without TTL',
      session,
      { value: '{"expiresAt":1}', ttlMs: null },
      { kind: 'remove', why: 'expired' },
    ],
    ['a pointer to a session', pointer, { value: 't', targetExists: true }, { kind: 'keep' }],
    ['a pointer to nothing', pointer, { value: 't', targetExists: false }, { kind: 'remove', why: 'dangling' }],
    ['a pointer that is no text', pointer, {}, { kind: 'unreadable' }],
    ['an old value', aged, { value: `{"at":${now - hour}}` }, { kind: 'remove', why: 'old' }],
    ['a value of now', aged, { value: `{"at":"2026-11-23T11:00:00.001Z"}` }, { kind: 'keep' }],
    ['an idle key', idle, { idleSeconds: 3600 }, { kind: 'remove', why: 'idle' }],
    ['a used key', idle, { idleSeconds: 3599 }, { kind: 'keep' }],
    ['idleness that nobody knows', idle, {}, { kind: 'keep' }],
  ])('%s', (_name, policy, facts, expected) => {
    expect(judge(policy, looked(facts), now)).toEqual(expected)
  })

  it('lets a key alone that is gone', () => {
    for (const policy of [plain, session, pointer, aged, idle]) {
      expect(
        judge(policy, { key: 'k', value: '{"expiresAt":1,"at":1}', targetExists: false, idleSeconds: 1e9 }, now),
      ).toEqual({ kind: 'keep' })
    }
  })

  it('reads times as milliseconds, seconds or text, and nothing else as a time', () => {
    const at = (time: unknown) => timeIn(JSON.stringify({ at: time }), 'at')
    expect([at(now), at(now / 1000), at('2026-11-23T12:00:00Z'), at('2026-11-23T13:00+01:00')]).toEqual([
      now,
      now,
      now,
      now,
    ])
    for (const odd of ['yesterday', '1', '2026', '', null, true, {}, -1]) expect(at(odd)).toBeUndefined()
    for (const odd of [undefined, '', 'x', '[]', '1', 'null', '{"__proto__":{"at":1}}'])
      expect(timeIn(odd, 'at')).toBeUndefined()
  })

  it('puts values into targets literally', () => {
    expect(targetOf({ target: 's:{value}' }, "a$&b$'")).toBe("s:a$&b$'")
  })
})

describe('planTrim', () => {
  it.each([
    [{ total: 10, beyondAge: 3 }, { ageMs: 1, count: undefined }, 3],
    [{ total: 10, beyondAge: 0 }, { ageMs: undefined, count: 4 }, 6],
    [{ total: 10, beyondAge: 8 }, { ageMs: 1, count: 4 }, 8],
    [{ total: 10, beyondAge: 2 }, { ageMs: 1, count: 4 }, 6],
    [{ total: 3, beyondAge: 0 }, { ageMs: 1, count: 4 }, 0],
    [{ total: 3, beyondAge: 0 }, { ageMs: undefined, count: 0 }, 3],
  ])('of %j with %j goes %i', (jobs, keep, expected) => {
    expect(planTrim(jobs, keep)).toBe(expected)
  })
})

describe('planRanges', () => {
  it('makes ranges of boundaries, and one of those that share a time', () => {
    const boundaries = [
      { upTo: 'a', rows: 10 },
      { upTo: 'b', rows: 20 },
      { upTo: 'b', rows: 30 },
      { upTo: 'c', rows: 31 },
    ]
    expect(planRanges(boundaries)).toEqual([
      { after: undefined, upTo: 'a', rows: 10 },
      { after: 'a', upTo: 'b', rows: 20 },
      { after: 'b', upTo: 'c', rows: 1 },
    ])
    expect(planRanges([])).toEqual([])
  })
})

describe('the cursor', () => {
  const page = { namespaces: { n: { keys: 2, bytes: 100, unreadable: 1 } }, otherKeys: 3, bigKeys: [] }
  const start: Walk = resumeWalk({ masters: {} }, { id: 'a', runId: '1' })

  it('adds up pages, and remembers the last complete walk', () => {
    const first = withPage(start, '17', page)
    expect(first).toMatchObject({
      cursor: '17',
      complete: false,
      seen: { namespaces: { n: { keys: 2 } }, otherKeys: 3 },
    })
    const done = withPage(first, '0', page)
    expect(done).toMatchObject({ cursor: '0', complete: true, seen: { namespaces: {} } })
    expect(done.last?.namespaces['n']).toEqual({ keys: 4, bytes: 200, unreadable: 2 })
  })

  it('begins again on a server that was started anew', () => {
    const cursor = withWalk({ masters: {} }, 'a', withPage(start, '17', page))
    expect(resumeWalk(cursor, { id: 'a', runId: '1' }).cursor).toBe('17')
    expect(resumeWalk(cursor, { id: 'a', runId: '2' })).toMatchObject({ cursor: '0', seen: { otherKeys: 0 } })
  })

  it('forgets servers that are gone, and lets the others begin again', () => {
    const done = withPage(start, '0', page)
    const cursor = withWalk(withWalk({ masters: {} }, 'a', done), 'b', done)
    expect(nextRound(cursor, ['a'])).toEqual({ masters: { a: { ...done, complete: false } } })
  })
})

describe('findings', () => {
  const none: Found = {
    looked: true,
    nothing: 'nothing there',
    unfinished: 0,
    relationProblems: [],
    unindexed: [],
    bigKeys: [],
    fragmented: [],
    idleUnknown: [],
    unreadable: { a: 0 },
    queueProblems: [],
  }

  it('are none when all is well', () => {
    expect(resultOf(none)).toEqual({ outcome: 'succeeded', findings: [] })
    expect(resultOf({ ...none, unfinished: 2 })).toMatchObject({ outcome: 'partial', remaining: 2 })
    expect(resultOf({ ...none, looked: false })).toMatchObject({ outcome: 'skipped', reason: 'nothing there' })
  })

  it('have keys without numbers in them, and say the rest', () => {
    const { findings = [] } = resultOf({
      ...none,
      relationProblems: [{ relation: 'public.a', problem: 'is no table' }],
      unindexed: ['public.a'],
      bigKeys: [{ key: 'redis k', bytes: 10 * 1024 * 1024 }],
      fragmented: [{ where: 'redis', ratio: 2, lostBytes: 1e9 }],
      idleUnknown: ['redis i:*'],
      unreadable: { 'session s:*': 3 },
      queueProblems: [{ queue: 'q', problem: 'waits' }],
    })
    expect(findings.map(({ key }) => key)).toEqual([
      'rows-not-deleted',
      'no-index',
      'big-keys',
      'fragmentation',
      'idle-unknown',
      'unreadable-values',
      'queues-not-trimmed',
    ])
    expect(findings.map(({ summary }) => summary).join()).toContain('redis k (10MiB)')
  })

  it('take fragmentation of a small data set for none', () => {
    expect(isFragmented({ where: '', ratio: 13, lostBytes: 11_000_000 }, 1.5)).toBe(false)
    expect(isFragmented({ where: '', ratio: 1.6, lostBytes: 100_000_000 }, 1.5)).toBe(true)
  })

  it('name the ten biggest keys, each once', () => {
    fc.assert(
      fc.property(fc.array(fc.record({ key: fc.string({ maxLength: 2 }), bytes: fc.nat() })), (keys) => {
        const big = keys.reduce<readonly { key: string; bytes: number }[]>(withBigKey, [])
        expect(new Set(big.map(({ key }) => key)).size).toBe(big.length)
        expect(big).toEqual([...big].sort((a, b) => b.bytes - a.bytes))
        expect(big.length).toBe(Math.min(10, new Set(keys.map(({ key }) => key)).size))
      }),
    )
  })
})
