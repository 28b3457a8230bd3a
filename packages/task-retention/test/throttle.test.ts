import { createTestDatabase, type TestDatabase } from '@battlescope/scheduler-testing'
import { openConnections, type DatabaseConnections } from '@battlescope/database'
import type { Kysely } from 'kysely'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { decideThrottle, type ThrottleFacts } from '../src/throttle.js'
import { countWaitingForUs, selectThrottleFacts } from '../src/throttle-queries.js'

const limits = { maxReplicaLag: 30_000, yieldToLockWaiters: true, yieldToWraparound: true }
const free: ThrottleFacts = { replicas: [], wraparound: [], lockWaiters: 0 }

describe('decideThrottle', () => {
  it.each<[string, Partial<ThrottleFacts>, Partial<typeof limits>, string | undefined, boolean?]>([
    ['nothing', {}, {}, undefined],
    ['a replica that keeps up', { replicas: [{ name: 'r', lagMs: 30_000 }] }, {}, undefined],
    [
      'a replica that lags',
      {
        replicas: [
          { name: 'a', lagMs: 0 },
          { name: 'r', lagMs: 30_001 },
        ],
      },
      {},
      'replica-lag',
      true,
    ],
    ['a lag that cannot be read', { replicas: [{ name: 'r', lagMs: undefined }] }, {}, 'replica-lag-unknown', false],
    ['wraparound', { wraparound: ['public.battles'] }, {}, 'wraparound', false],
    ['wraparound that is not yielded to', { wraparound: ['public.battles'] }, { yieldToWraparound: false }, undefined],
    ['lock waiters', { lockWaiters: 1 }, {}, 'lock-waiters', true],
    ['lock waiters that are not yielded to', { lockWaiters: 1 }, { yieldToLockWaiters: false }, undefined],
    [
      'all at once: what lasts longest',
      { replicas: [{ name: 'r', lagMs: 99_000 }], wraparound: ['public.battles'], lockWaiters: 3 },
      {},
      'wraparound',
      false,
    ],
  ])('%s', (_, facts, change, reason, passing) => {
    const throttle = decideThrottle({ ...free, ...facts }, { ...limits, ...change })
    expect(throttle?.reason).toBe(reason)
    expect(throttle?.passing).toBe(passing)
  })
})

describe('selectThrottleFacts', () => {
  let database: TestDatabase
  let connections: DatabaseConnections
  const ours = [{ schema: 'public', name: 'ours' }]
  const unit = { statementTimeoutMs: 10_000 }
  const facts = () => selectThrottleFacts(connections.reader(unit) as Kysely<unknown>, ours)

  beforeAll(async () => {
    database = await createTestDatabase()
    connections = openConnections({ url: database.url, applicationName: 'test', maxConnections: 4 })
    await database.query(
      'CREATE TABLE ours (id int PRIMARY KEY); CREATE TABLE others (id int PRIMARY KEY); INSERT INTO ours VALUES (1)',
    )
  })

  afterAll(async () => {
    await connections.close()
    await database.drop()
  })

  it('finds nothing on a quiet server', async () => {
    expect(await facts()).toEqual(free)
  })

  it('sees who waits for a lock on our relations, and on no others', async () => {
    const waiting = async (relation: string) => {
      let seen: ThrottleFacts | undefined
      await connections.transaction(unit, async ({ db }) => {
        const lock = {
          sql: `LOCK TABLE ${relation}`,
          parameters: [],
          query: undefined as never,
          queryId: undefined as never,
        }
        await db.executeQuery(lock)
        const waiter = connections.transaction({ ...unit, lockTimeoutMs: 1500 }, ({ db: other }) =>
          other.executeQuery(lock),
        )
        const outcome = waiter.catch(() => undefined)
        while ((await countLockWaits(database)) === 0);
        seen = await facts()
        const forUs = await countWaitingForUs(db as Kysely<unknown>)
        expect(forUs).toBe(1)
        await outcome
      })
      return seen?.lockWaiters
    }
    expect(await waiting('ours')).toBe(1)
    expect(await waiting('others')).toBe(0)
  })

  it('may be asked by a role without privileges', async () => {
    const role = await database.createRole()
    const theirs = openConnections({ url: role.url, applicationName: 'test' })
    try {
      expect(await selectThrottleFacts(theirs.reader(unit) as Kysely<unknown>, ours)).toEqual(free)
    } finally {
      await theirs.close()
    }
  })
})

async function countLockWaits(database: TestDatabase): Promise<number> {
  const [row] = await database.query<{ count: string }>(
    `SELECT count(*) FROM pg_locks WHERE NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`,
  )
  return Number(row?.count)
}
