/** Others at work, limits, and the end of a run in the middle of a VACUUM. */
import { openConnections } from '@battlescope/database'
import { findPgBouncer, startPgBouncer } from '@battlescope/postgres-testing'
import {
  createTestDatabase,
  leakCheck,
  startPostgres,
  type TestDatabase,
  type TestServer,
} from '@battlescope/scheduler-testing'
import type { TaskLogger } from '@battlescope/scheduler-core'
import { sql, type KyselyPlugin } from 'kysely'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { createBloated, createIndexThatRuns, deadRows, run, slow, targets, until } from './world.js'

const noPgBouncer =
  (await findPgBouncer()) === undefined ? ' (skipped: pgbouncer is not installed; apt-get install pgbouncer)' : ''

const vacuumRuns = `EXISTS (SELECT FROM pg_stat_progress_vacuum WHERE datname = current_database() AND heap_blks_total > 0)`

describe.each([15, 17] as const)('vacuum among others on PostgreSQL %i', (major) => {
  let server: TestServer
  let database: TestDatabase
  beforeAll(async () => {
    // Autovacuum is on for the relations that say so, and then slow.
    server = await startPostgres({
      major,
      settings: { autovacuum: 'on', autovacuum_naptime: '1s', autovacuum_vacuum_cost_delay: '100ms' },
    })
  })
  afterAll(() => server.stop())
  beforeEach(async () => {
    database = await createTestDatabase({ server })
  })
  afterEach(() => database.drop())

  const bloated = (name: string, rows = 5000) =>
    createBloated(database, name, rows, 'WITH (autovacuum_enabled = false)')

  it('leaves alone what somebody else is vacuuming', async () => {
    await bloated('a')
    await bloated('b')
    const other = openConnections({ url: database.url, applicationName: 'other' })
    const abort = new AbortController()
    try {
      const vacuuming = other.direct(
        { statementTimeoutMs: 60_000, ticket: 'of-a-test', signal: abort.signal },
        async ({ db }) => {
          await sql`SET vacuum_cost_delay = '100ms'; SET vacuum_cost_limit = 1`.execute(db)
          await sql`VACUUM a`.execute(db)
        },
      )
      await until(database, vacuumRuns)
      const done = await run(database)
      expect(targets(done)).toEqual(['public.b'])
      expect(done.findings).toMatchObject([
        { key: 'occupied', summary: 'left alone: public.a (somebody else is vacuuming it)' },
      ])
      // It is still at it.
      await until(database, vacuumRuns)
      abort.abort(new Error('enough'))
      await expect(vacuuming).rejects.toThrow('enough')
    } finally {
      await other.close()
    }
  })

  it('leaves alone what autovacuum is at, and does not make it give way', async () => {
    await createBloated(database, 'a', 20_000, 'WITH (autovacuum_vacuum_cost_limit = 1)')
    const working = `EXISTS (SELECT FROM pg_stat_activity a JOIN pg_stat_progress_vacuum v USING (pid)
      WHERE a.backend_type = 'autovacuum worker' AND a.datname = current_database() AND v.relid = 'a'::regclass)`
    await until(database, working)
    expect(await run(database)).toMatchObject({
      outcome: 'skipped',
      actions: [],
      reason: 'nothing could be vacuumed: public.a (autovacuum is at work on it)',
    })
    await until(database, working)
  })

  it('stops on the server when the run is aborted in the middle, and the next run does it', async () => {
    await bloated('a')
    const hardStop = new AbortController()
    const running = run(database, slow, { hardStop: hardStop.signal })
    await until(database, vacuumRuns)
    hardStop.abort('stopped by the test')
    expect((await running).outcome).toBe('cancelled')
    expect(await database.query(`SELECT 1 FROM pg_stat_progress_vacuum WHERE datname = current_database()`)).toEqual([])
    await leakCheck(database.url)
    expect(await deadRows(database)).toEqual({ a: 5000 })
    expect((await run(database)).outcome).toBe('succeeded')
    expect(await deadRows(database)).toEqual({ a: 0 })
    expect(await database.query(`SELECT count(*)::int AS rows FROM a WHERE filler LIKE 'y%'`)).toEqual([{ rows: 5000 }])
  })

  it('leaves it when somebody cancels it on the server, and goes on with the next relation', async () => {
    await bloated('a')
    await bloated('b', 100)
    const running = run(database, slow)
    await until(database, vacuumRuns)
    await database.query(
      `SELECT pg_cancel_backend(pid) FROM pg_stat_progress_vacuum WHERE datname = current_database()`,
    )
    // Whoever cancels it does not want it: it is not begun again at once.
    const done = await running
    expect(done).toMatchObject({ outcome: 'succeeded', findings: [{ key: 'not-vacuumed' }] })
    expect(done.findings[0]?.summary).toBe('not vacuumed: public.a (was cancelled by somebody)')
    expect(await deadRows(database)).toEqual({ a: 5000, b: 0 })
  })

  it('gives up what takes too long, remembers that, and hands it over with advice that works', async () => {
    await bloated('a')
    const limited = { ...slow, relationTimeout: 400 }
    const first = await run(database, limited)
    expect(first.actions).toHaveLength(1)
    expect(first.findings).toMatchObject([{ key: 'too-large', severity: 'warning' }])
    expect(first.findings[0]?.summary).toContain('public.a (did not end within 400ms)')
    const [saved] = await database.query<{ rate: number }>(
      `SELECT (data #>> '{relations,public.a,bytesPerMs}')::float8 AS rate FROM scheduler.checkpoint`,
    )
    expect(saved?.rate).toBeGreaterThan(0)

    const second = await run(database, limited)
    expect(second).toMatchObject({ outcome: 'skipped', actions: [] })
    expect(second.reason).toContain('at half the rate at which it was cut off last time, and may take 400ms')
    const { relations } = second.findings[0]?.details as { relations: { sql: string[] }[] }
    expect(relations[0]?.sql).toEqual([
      'ALTER TABLE "public"."a" SET (autovacuum_enabled = true, autovacuum_vacuum_cost_limit = 2000);',
    ])
    for (const statement of relations[0]?.sql ?? []) await database.query(statement)
  })

  it('does not begin what does not fit, goes on later, and hands it over after the third run', async () => {
    await bloated('a')
    await bloated('b', 500)
    // About a second for the small one, ten for the large one.
    const limited = { assumedRate: 200_000, thresholdShare: 0.5 }
    const options = { budgetMs: 3_000 }
    const first = await run(database, limited, options)
    expect(first).toMatchObject({ outcome: 'partial', remaining: 1, findings: [] })
    expect(targets(first)).toEqual(['public.b'])
    for (const _ of [2, 3])
      expect(await run(database, limited, options)).toMatchObject({ outcome: 'partial', actions: [] })
    const last = await run(database, limited, options)
    expect(last).toMatchObject({ outcome: 'skipped', actions: [], findings: [{ key: 'too-large' }] })
    expect(last.reason).toContain('as in 3 runs before')
    // With more time it is done all the same, and then forgotten.
    expect((await run(database, limited)).actions).toHaveLength(1)
    expect(await deadRows(database)).toEqual({ a: 0, b: 0 })
  })

  it('shows how far it is, and gives way to whoever waits for its lock', async () => {
    await bloated('a')
    const seen: string[] = []
    const nothing = () => undefined
    const debug: TaskLogger['debug'] = (fields) => {
      seen.push(JSON.stringify(fields))
    }
    const logger: TaskLogger = { trace: debug, debug, info: debug, warn: nothing, error: nothing }
    const running = run(database, slow, { logger })
    await until(database, vacuumRuns)
    await database.query('ALTER TABLE a ADD COLUMN j int')
    const done = await running
    expect(done).toMatchObject({
      outcome: 'skipped',
      reason: 'nothing could be vacuumed: public.a (gave way to a session that waited for its lock)',
    })
    expect(done.actions).toMatchObject([{ kind: 'vacuum' }, { kind: 'cancel-vacuum', target: 'public.a' }])
    expect(seen.join('\n')).toMatch(/public\.a: scanning heap/)
    expect((await run(database)).outcome).toBe('succeeded')
  })

  it('gives way in its ANALYZE, too, and shows how far that is', async () => {
    await bloated('a')
    await createIndexThatRuns(database, 'a', 'PERFORM pg_catalog.pg_sleep(0.1)')
    await database.query('INSERT INTO at_index VALUES (1)')
    const seen: string[] = []
    const nothing = () => undefined
    const debug: TaskLogger['debug'] = (fields) => {
      seen.push(JSON.stringify(fields))
    }
    const logger: TaskLogger = { trace: nothing, debug, info: debug, warn: nothing, error: nothing }
    const running = run(database, { relations: ['a'] }, { logger })
    await until(database, `EXISTS (SELECT FROM pg_stat_progress_analyze WHERE datname = current_database())`)
    await database.query('ALTER TABLE a ADD COLUMN j int')
    const done = await running
    expect(done.actions).toMatchObject([{ kind: 'vacuum' }, { kind: 'cancel-vacuum', target: 'public.a' }])
    expect(done.reason).toBe('nothing could be vacuumed: public.a (gave way to a session that waited for its lock)')
    expect(seen.join('\n')).toMatch(/public\.a: (acquiring sample rows|computing statistics)/)
    // What VACUUM itself had done is done.
    expect(await deadRows(database)).toMatchObject({ a: 0 })
  })

  it('looks again after a look that failed and a cancelling that was refused, and gives way then', async () => {
    await bloated('a')
    const warnings: string[] = []
    const nothing = () => undefined
    const warn: TaskLogger['warn'] = (fields) => {
      warnings.push(JSON.stringify(fields))
    }
    const logger: TaskLogger = { trace: nothing, debug: nothing, info: nothing, warn, error: nothing }
    const other = openConnections({ url: database.url, applicationName: 'other' })
    let lost = 0
    const losing: KyselyPlugin = {
      transformQuery: ({ node }) => {
        if (JSON.stringify(node).includes('waitstart') && (lost += 1) <= 2)
          throw Object.assign(new Error('Connection terminated unexpectedly'), { code: '08006' })
        return node
      },
      transformResult: ({ result }) => Promise.resolve(result),
    }
    try {
      const running = run(database, slow, {
        logger,
        around: (connections) => ({
          reader: (unit) => connections.reader(unit).withPlugin(losing),
          snapshot: (unit, read) => connections.snapshot(unit, read),
          transaction: (unit, work) => connections.transaction(unit, work),
          direct: (unit, work) => connections.direct(unit, work),
        }),
      })
      await until(database, vacuumRuns)
      const altering = other.transaction({ statementTimeoutMs: 60_000, lockTimeoutMs: 60_000 }, async ({ db }) => {
        await sql`ALTER TABLE a ADD COLUMN j int`.execute(db)
      })
      // Whoever holds the row of the task keeps the watch from cancelling, as an operator's long transaction on it would.
      await database.query(`BEGIN; SELECT FROM scheduler.task FOR UPDATE`)
      await expect.poll(() => warnings.length, { timeout: 30_000 }).toBe(2)
      await database.query('ROLLBACK')
      expect(await running).toMatchObject({
        outcome: 'skipped',
        reason: 'nothing could be vacuumed: public.a (gave way to a session that waited for its lock)',
      })
      await altering
    } finally {
      await database.query('ROLLBACK')
      await other.close()
    }
    // Two looks in a row were lost, and were told once.
    expect(lost).toBeGreaterThan(3)
    expect(warnings).toMatchObject([
      expect.stringMatching(/"watch-failed".*Connection terminated unexpectedly.*"08006"/),
      expect.stringMatching(/"watch-failed".*"55P03"/),
    ])
  })

  describe(`through PgBouncer${noPgBouncer}`, () => {
    it.skipIf(noPgBouncer !== '')(
      'is skipped with the reason, and works with a direct connection beside it',
      async () => {
        await bloated('a')
        const bouncer = await startPgBouncer(server.url)
        try {
          const databaseUrl = bouncer.through(database.url)
          const pooled = await run(database, {}, { databaseUrl })
          expect(pooled).toMatchObject({
            outcome: 'skipped',
            findings: [{ key: 'no-direct-connection', severity: 'warning' }],
          })
          expect(pooled.reason).toContain('DATABASE_URL leads through a pooler')
          expect(await deadRows(database)).toEqual({ a: 5000 })
          expect(await run(database, {}, { databaseUrl, directUrl: database.url })).toMatchObject({
            outcome: 'succeeded',
          })
          expect(await deadRows(database)).toEqual({ a: 0 })
        } finally {
          await bouncer.stop()
        }
      },
    )
  })
})
