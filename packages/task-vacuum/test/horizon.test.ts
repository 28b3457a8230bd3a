/** Whoever holds back the removal of dead rows is named, and nobody vacuums in vain twice. */
import { openConnections } from '@battlescope/database'
import { createTestDatabase, startPostgres, type TestDatabase, type TestServer } from '@battlescope/scheduler-testing'
import { sql } from 'kysely'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { startFakeStandby } from './fake-standby.js'
import { countNow, createBloated, deadRows, run, targets, until } from './world.js'

/** What is old enough to hold anything back: everything. */
const config = { heldBackAfter: 0 }

describe.each([15, 17] as const)('what holds back VACUUM on PostgreSQL %i', (major) => {
  let server: TestServer
  let database: TestDatabase
  beforeAll(async () => {
    server = await startPostgres({ major, settings: { max_prepared_transactions: '4' } })
  })
  afterAll(() => server.stop())
  beforeEach(async () => {
    database = await createTestDatabase({ server })
  })
  afterEach(() => database.drop())

  const update = (name: string) => database.query(`UPDATE ${name} SET filler = repeat('z', 60); ${countNow}`)

  it('skips at once what was vacuumed since the transaction began, and names it', async () => {
    const other = openConnections({ url: database.url, applicationName: 'reports' })
    try {
      await createBloated(database, 'a')
      await other.snapshot({ statementTimeoutMs: 30_000 }, async ({ db }) => {
        const { rows } = await sql<{ pid: number }>`SELECT pg_backend_pid() AS pid`.execute(db)
        // It removes what died before, and what dies from now on must stay.
        await database.query('VACUUM a')
        await update('a')
        const held = await run(database, config)
        expect(held).toMatchObject({ outcome: 'skipped', actions: [] })
        expect(held.reason).toMatch(
          /^nothing could be vacuumed: public\.a \(held back by session \d+ of postgres \(reports\): idle in transaction, since /,
        )
        expect(held.findings).toMatchObject([
          {
            key: 'held-back',
            severity: 'warning',
            details: {
              relations: [{ relation: 'public.a', deadRows: 5000 }],
              holders: [
                {
                  kind: 'session',
                  name: `${rows[0]?.pid}`,
                  user: 'postgres',
                  application: 'reports',
                  state: 'idle in transaction',
                  release: `SELECT pg_terminate_backend(${rows[0]?.pid});`,
                },
              ],
            },
          },
        ])
        // A transaction of a few minutes is no reason, as long as it passes.
        const passing = await run(database, { heldBackAfter: 3_600_000 })
        expect(passing.actions).toHaveLength(1)
        expect(passing).toMatchObject({ outcome: 'succeeded', findings: [] })
        expect(await deadRows(database)).toEqual({ a: 5000 })
      })
    } finally {
      await other.close()
    }
    expect(await run(database, config)).toMatchObject({ outcome: 'succeeded', findings: [] })
    expect(await deadRows(database)).toEqual({ a: 0 })
  })

  it('vacuums once what was never vacuumed, says what had to stay, and does not loop', async () => {
    const other = openConnections({ url: database.url, applicationName: 'reports' })
    try {
      await other.snapshot({ statementTimeoutMs: 30_000 }, async ({ db }) => {
        await sql`SELECT 1`.execute(db)
        await createBloated(database, 'a')
        const first = await run(database, config)
        expect(first.actions).toHaveLength(1)
        expect(first.findings).toMatchObject([
          { key: 'held-back', details: { relations: [{ relation: 'public.a', deadRows: 5000 }] } },
        ])
        expect(await run(database, config)).toMatchObject({ outcome: 'skipped', actions: [] })
        // What it learned holds for passing transactions, too: this one is the same.
        expect(await run(database, { heldBackAfter: 3_600_000 })).toMatchObject({ outcome: 'skipped', actions: [] })
      })
    } finally {
      await other.close()
    }
    expect((await run(database, config)).actions).toHaveLength(1)
    expect(await deadRows(database)).toEqual({ a: 0 })
  })

  /** A READ COMMITTED transaction that is older than a VACUUM, and whose statement is younger than the rows that died after that. */
  async function beside<T>(write: string, look: () => Promise<T>): Promise<T> {
    await createBloated(database, 'a')
    await database.query('CREATE TABLE b (i int)')
    const other = openConnections({ url: database.url, applicationName: 'reports' })
    const sleeps = `SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep' AND backend_xmin IS NOT NULL`
    let seen: T | undefined
    try {
      const cancelled = other.transaction({ statementTimeoutMs: 60_000 }, async ({ db }) => {
        await sql.raw(write).execute(db)
        await database.query('VACUUM a')
        await update('a')
        const looking = async () => {
          try {
            await until(database, `EXISTS (${sleeps})`)
            seen = await look()
          } finally {
            await database.query(`SELECT pg_cancel_backend(pid) FROM (${sleeps}) AS s`)
          }
        }
        await Promise.all([sql`SELECT pg_catalog.pg_sleep(60)`.execute(db), looking()])
      })
      await expect(cancelled).rejects.toMatchObject({ code: '57014' })
      return seen as T
    } finally {
      await other.close()
    }
  }

  it('vacuums beside an old transaction that has only read: its statement is younger than what died', async () => {
    const done = await beside('SELECT count(*) FROM b', () => run(database, { ...config, relations: ['a'] }))
    expect(done).toMatchObject({ outcome: 'succeeded', findings: [] })
    expect(targets(done)).toEqual(['public.a'])
    expect(await deadRows(database)).toMatchObject({ a: 0 })
  })

  it('does not vacuum beside one as old that has written, whatever it is at now', async () => {
    const held = await beside('INSERT INTO b VALUES (1)', () => run(database, { ...config, relations: ['a'] }))
    expect(held).toMatchObject({ outcome: 'skipped', actions: [] })
    expect(held.findings).toMatchObject([{ key: 'held-back', details: { holders: [{ state: 'active' }] } }])
  })

  it('names a prepared transaction', async () => {
    await createBloated(database, 'a')
    await database.query('CREATE TABLE b (i int)')
    await database.query(`BEGIN; INSERT INTO b VALUES (1); PREPARE TRANSACTION 'forgotten'`)
    await database.query('VACUUM a')
    await update('a')
    const held = await run(database, { ...config, relations: ['a'] })
    expect(held).toMatchObject({ outcome: 'skipped', actions: [] })
    expect(held.findings).toMatchObject([
      {
        key: 'held-back',
        details: {
          holders: [
            {
              kind: 'prepared transaction',
              name: 'forgotten',
              release: `ROLLBACK PREPARED 'forgotten'; -- or COMMIT PREPARED`,
            },
          ],
        },
      },
    ])
    await database.query(`ROLLBACK PREPARED 'forgotten'`)
    expect((await run(database, { ...config, relations: ['a'] })).outcome).toBe('succeeded')
    expect(await deadRows(database)).toMatchObject({ a: 0 })
  })

  it('names a replication slot, whose begin nobody knows, and vacuums once', async () => {
    await database.query(`SELECT pg_create_physical_replication_slot('slot1', true)`)
    const [snapshot] = await database.query<{ xmin: string }>(
      `SELECT pg_snapshot_xmin(pg_current_snapshot())::text AS xmin`,
    )
    const standby = await startFakeStandby(database.url, snapshot!.xmin, 'slot1')
    try {
      await until(database, `EXISTS (SELECT FROM pg_replication_slots WHERE xmin IS NOT NULL)`)
      await createBloated(database, 'a')
      const first = await run(database, config)
      expect(first.actions).toHaveLength(1)
      expect(first.findings).toMatchObject([
        { key: 'held-back', details: { holders: [{ kind: 'replication slot', name: 'slot1', state: 'active' }] } },
      ])
      const second = await run(database, config)
      expect(second).toMatchObject({ outcome: 'skipped', actions: [] })
      expect(second.reason).toContain('held back by replication slot slot1')
    } finally {
      await standby.stop()
      await until(database, `NOT EXISTS (SELECT FROM pg_replication_slots WHERE active)`)
      await database.query(`SELECT pg_drop_replication_slot('slot1')`)
    }
    expect((await run(database, config)).actions).toHaveLength(1)
    expect(await deadRows(database)).toEqual({ a: 0 })
  })

  it('names a standby that asks to be spared', async () => {
    const [snapshot] = await database.query<{ xmin: string }>(
      `SELECT pg_snapshot_xmin(pg_current_snapshot())::text AS xmin`,
    )
    const standby = await startFakeStandby(database.url, snapshot!.xmin)
    try {
      await until(database, `EXISTS (SELECT FROM pg_stat_replication WHERE backend_xmin IS NOT NULL)`)
      await createBloated(database, 'a')
      expect((await run(database, config)).findings).toMatchObject([
        { key: 'held-back', details: { holders: [{ kind: 'standby', name: 'standby1' }] } },
      ])
      expect(await run(database, config)).toMatchObject({ outcome: 'skipped', actions: [] })
    } finally {
      await standby.stop()
    }
  })

  it('takes no session of another database, and no VACUUM, for a holder', async () => {
    const elsewhere = await createTestDatabase({ server })
    const other = openConnections({ url: elsewhere.url, applicationName: 'elsewhere' })
    try {
      await createBloated(database, 'a')
      await other.snapshot({ statementTimeoutMs: 30_000 }, async ({ db }) => {
        await sql`SELECT 1`.execute(db)
        await database.query('VACUUM a')
        await update('a')
        expect(await run(database, config)).toMatchObject({ outcome: 'succeeded', findings: [] })
      })
      expect(await deadRows(database)).toEqual({ a: 0 })
    } finally {
      await other.close()
      await elsewhere.drop()
    }
  })
})
