import {
  createTestDatabase,
  createTestRole,
  runOneTask,
  startPostgres,
  type TestDatabase,
  type TestServer,
} from '@battlescope/scheduler-testing'
import { openConnections } from '@battlescope/database'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { sql } from 'kysely'
import { analyze } from '../src/index.js'

/** Rows as the planner believes; -1 before the first ANALYZE. */
async function estimates(database: TestDatabase): Promise<Record<string, number>> {
  const rows = await database.query<{ name: string; rows: number }>(
    `SELECT c.relname AS name, c.reltuples::float8 AS rows FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') ORDER BY 1`,
  )
  return Object.fromEntries(rows.map(({ name, rows: count }) => [name, count]))
}

/** A session reports its changes at most once a second. */
const countNow = 'SELECT pg_stat_force_next_flush()'

const run = (database: TestDatabase, config: object = {}, databaseUrl = database.url) =>
  runOneTask({ task: analyze, databaseUrl, config: { relations: ['public.*'], ...config } })

describe.each([15, 17] as const)('analyze on PostgreSQL %i', (major) => {
  let server: TestServer
  let database: TestDatabase
  beforeAll(async () => {
    server = await startPostgres({ major })
  })
  afterAll(() => server.stop())
  beforeEach(async () => {
    database = await createTestDatabase({ server })
  })
  afterEach(() => database.drop())

  it('makes the estimates equal the counts, and finds nothing to do afterwards', async () => {
    await database.query('CREATE TABLE a AS SELECT generate_series(1, 1234) AS i; CREATE TABLE b (i int)')
    const { task } = await run(database)
    expect(task.run).toMatchObject({ outcome: 'succeeded', findings: [] })
    expect(await estimates(database)).toEqual({ a: 1234, b: 0 })
    expect((await run(database)).task.run?.actions).toEqual([])
  })

  it('analyzes again what changed, and nothing else', async () => {
    await database.query(
      `CREATE TABLE a AS SELECT generate_series(1, 5000) AS i; CREATE TABLE b AS SELECT generate_series(1, 5000) AS i; ${countNow}`,
    )
    await run(database)
    await database.query(`DELETE FROM a WHERE i <= 1000; DELETE FROM b WHERE i <= 10; ${countNow}`)
    const { task } = await run(database)
    expect(task.run?.actions.map(({ target }) => target)).toEqual(['public.a'])
    expect(await estimates(database)).toEqual({ a: 4000, b: 5000 })
  })

  it('keeps partitioned parents, which autovacuum never does', async () => {
    await database.query(`
      CREATE TABLE p (i int) PARTITION BY RANGE (i);
      CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10000);
      CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10000) TO (20000);
      INSERT INTO p SELECT generate_series(1, 15000); ${countNow}`)
    await run(database)
    expect(await estimates(database)).toEqual({ p: 15_000, p1: 9999, p2: 5001 })
    expect((await run(database)).task.run?.actions).toEqual([])
    await database.query(`DELETE FROM p WHERE i < 2000; ${countNow}`)
    const { task } = await run(database)
    expect(task.run?.actions.map(({ target }) => target).sort()).toEqual(['public.p', 'public.p1'])
    expect((await estimates(database))['p']).toBe(13_001)
    expect((await run(database)).task.run?.actions).toEqual([])
  })

  it('remembers every parent, also when several are analyzed at once', async () => {
    for (const name of ['p', 'q', 'r', 's'])
      await database.query(`
        CREATE TABLE ${name} (i int) PARTITION BY HASH (i);
        CREATE TABLE ${name}_0 PARTITION OF ${name} FOR VALUES WITH (MODULUS 1, REMAINDER 0);
        INSERT INTO ${name} SELECT generate_series(1, 1000)`)
    await run(database, { parallel: 8 })
    expect((await run(database)).task.run?.actions).toEqual([])
  })

  it('takes a relation whose rows were counted but never sampled for one that was never analyzed', async () => {
    // CREATE INDEX and VACUUM store the number of rows, ANALYZE alone the statistics: this is what a restored dump looks like.
    await database.query('CREATE TABLE a AS SELECT generate_series(1, 300) AS i; CREATE INDEX ON a (i)')
    expect((await run(database)).task.run?.actions.map(({ reason }) => reason)).toEqual(['never analyzed'])
    expect((await run(database)).task.run?.actions).toEqual([])
    // As after a crash of the server: counters are gone, statistics are not.
    await database.query('SELECT pg_stat_reset()')
    expect((await run(database)).task.run?.actions).toEqual([])
  })

  it('names a locked relation, and does the rest', async () => {
    await database.query('CREATE TABLE a AS SELECT 1 AS i; CREATE TABLE b AS SELECT 1 AS i')
    const other = openConnections({ url: database.url, applicationName: 'other' })
    try {
      await other.transaction({ statementTimeoutMs: 30_000 }, async ({ db }) => {
        await sql`LOCK TABLE a IN ACCESS EXCLUSIVE MODE`.execute(db)
        const { task } = await run(database, { lockTimeout: 100 })
        expect(task.run?.outcome).toBe('succeeded')
        expect(task.run?.findings).toMatchObject([{ key: 'not-analyzed', severity: 'warning' }])
        expect(task.run?.findings[0]?.summary).toContain('public.a (is locked by another session)')
      })
    } finally {
      await other.close()
    }
    expect(await estimates(database)).toEqual({ a: -1, b: 1 })
    const trail = await database.query(`SELECT target, result, error_code FROM scheduler.action ORDER BY target`)
    expect(trail).toEqual([
      { target: 'public.a', result: 'failed', error_code: '55P03' },
      { target: 'public.b', result: 'succeeded', error_code: null },
    ])
  })

  it('names a relation whose ANALYZE fails, and does the rest', async () => {
    // As an index on an expression that no longer fits the data.
    await database.query(`
      CREATE FUNCTION share(i int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT i';
      CREATE TABLE a AS SELECT generate_series(1, 10) AS i; CREATE INDEX ON a (share(i)); CREATE TABLE b AS SELECT 1 AS i;
      CREATE OR REPLACE FUNCTION share(i int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN 1 / (i - i); END'`)
    const { task } = await run(database, { parallel: 1 })
    expect(task.run?.outcome).toBe('succeeded')
    expect(task.run?.findings).toMatchObject([{ key: 'not-analyzed', severity: 'warning' }])
    expect(task.run?.findings[0]?.summary).toContain('public.a (division by zero, 22012)')
    expect(await estimates(database)).toMatchObject({ b: 1 })

    // Now it is the only one, and a run that did nothing must not look like one that did.
    expect((await run(database)).task.run).toMatchObject({
      outcome: 'failed',
      errorCode: 'not-analyzed',
      reason: 'nothing was analyzed: public.a (division by zero, 22012)',
    })
  })

  it('skips, with the reason, when everything that is stale is locked', async () => {
    await database.query('CREATE TABLE a AS SELECT 1 AS i; CREATE TABLE b AS SELECT 1 AS i')
    await run(database, { relations: ['b'] })
    const other = openConnections({ url: database.url, applicationName: 'other' })
    try {
      await other.transaction({ statementTimeoutMs: 30_000 }, async ({ db }) => {
        await sql`LOCK TABLE a IN ACCESS EXCLUSIVE MODE`.execute(db)
        expect((await run(database, { lockTimeout: 100 })).task.run).toMatchObject({
          outcome: 'skipped',
          reason: 'nothing could be analyzed: public.a (is locked by another session)',
          findings: [{ key: 'not-analyzed' }],
        })
      })
    } finally {
      await other.close()
    }
  })

  it('gives up a relation that takes too long, does the rest, and takes it last from then on', async () => {
    // The expression of an index is computed for every row of the sample.
    await database.query(`
      CREATE FUNCTION slow(i int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT i';
      CREATE TABLE a (i int); CREATE INDEX ON a (slow(i)); INSERT INTO a SELECT generate_series(1, 600);
      CREATE TABLE b AS SELECT generate_series(1, 1000) AS i; CREATE TABLE c AS SELECT generate_series(1, 1000) AS i;
      CREATE OR REPLACE FUNCTION slow(i int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS
        'BEGIN PERFORM pg_sleep(0.1); RETURN i; END'; ${countNow}`)
    const config = { relationTimeout: 300, parallel: 1 }
    const first = (await run(database, config)).task.run
    expect(first).toMatchObject({ outcome: 'succeeded', findings: [{ key: 'not-analyzed', severity: 'warning' }] })
    expect(first?.findings[0]?.summary).toContain('public.a (was cancelled, or did not end within 300ms)')
    expect(await estimates(database)).toEqual({ a: -1, b: 1000, c: 1000 })
    await database.query(`INSERT INTO c SELECT generate_series(1, 1000); ${countNow}`)
    const targets = async () => (await run(database, config)).task.run?.actions.map(({ target }) => target)
    expect(await targets()).toEqual(['public.c', 'public.a'])
    await database.query(`CREATE OR REPLACE FUNCTION slow(i int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT i'`)
    expect(await targets()).toEqual(['public.a'])
    expect(await estimates(database)).toMatchObject({ a: 600 })
    expect(await database.query(`SELECT data FROM scheduler.checkpoint`)).toEqual([{ data: { parents: {}, slow: [] } }])
  })

  it('does not take a missing permission for success', async () => {
    const role = await createTestRole(database)
    await database.query(`CREATE TABLE a AS SELECT 1 AS i; CREATE SCHEMA scheduler AUTHORIZATION ${role.name}`)
    const { task } = await run(database, {}, role.url)
    expect(task.run).toMatchObject({ outcome: 'skipped', reason: 'no relation may be analyzed by this role' })
    expect(task.run?.findings).toMatchObject([{ key: 'not-permitted', details: { relations: ['public.a'] } }])
    expect(await estimates(database)).toEqual({ a: -1 })
    await database.query(major >= 17 ? `GRANT MAINTAIN ON a TO ${role.name}` : `ALTER TABLE a OWNER TO ${role.name}`)
    expect((await run(database, {}, role.url)).task.run).toMatchObject({ outcome: 'succeeded', findings: [] })
    expect(await estimates(database)).toEqual({ a: 1 })
  })

  it('takes a relation in a schema without USAGE for not permitted, its owner though it is', async () => {
    const role = await createTestRole(database)
    await database.query(`
      CREATE SCHEMA scheduler AUTHORIZATION ${role.name};
      CREATE SCHEMA closed; CREATE TABLE closed.a AS SELECT 1 AS i; ALTER TABLE closed.a OWNER TO ${role.name}`)
    expect((await run(database, { relations: ['closed.*'] }, role.url)).task.run).toMatchObject({
      outcome: 'skipped',
      reason: 'no relation may be analyzed by this role',
      findings: [{ key: 'not-permitted', details: { relations: ['closed.a'] } }],
    })
  })

  it('analyzes what others own, as the owner of the database', async () => {
    const role = await createTestRole(database)
    await database.query(
      `CREATE TABLE a AS SELECT 1 AS i; CREATE SCHEMA scheduler AUTHORIZATION ${role.name}; ALTER DATABASE ${database.name} OWNER TO ${role.name}`,
    )
    expect((await run(database, {}, role.url)).task.run).toMatchObject({ outcome: 'succeeded', findings: [] })
    expect(await estimates(database)).toEqual({ a: 1 })
    await database.query(`ALTER DATABASE ${database.name} OWNER TO CURRENT_USER`)
  })

  it('reports what was named and does not exist, when something else does', async () => {
    await database.query('CREATE TABLE a AS SELECT 1 AS i')
    const { task } = await run(database, { relations: ['a', 'gone', 'nothing_*'] })
    expect(task.run).toMatchObject({
      outcome: 'succeeded',
      findings: [{ key: 'missing', details: { relations: ['gone'] } }],
    })
    expect((await run(database, { relations: ['gone'] })).task.run).toMatchObject({
      outcome: 'skipped',
      reason: 'none of the relations exists',
    })
  })

  it('quotes whatever PostgreSQL accepts as a name', async () => {
    const odd = ['We.ird "Name"', 'new\nline', 'MixedCase', 'x'.repeat(63), '*?', "quo'te; DROP TABLE a", 'ünï→💥']
    for (const name of odd) await database.query(`CREATE TABLE "${name.replaceAll('"', '""')}" AS SELECT 1 AS i`)
    const { task } = await run(database)
    expect(task.run).toMatchObject({ outcome: 'succeeded', findings: [] })
    const after = await estimates(database)
    expect(odd.map((name) => after[name])).toEqual(odd.map(() => 1))
  })

  it('analyzes everything in every run with when: always', async () => {
    await database.query('CREATE TABLE a AS SELECT 1 AS i')
    await run(database, { when: 'always' })
    expect((await run(database, { when: 'always' })).task.run?.actions).toHaveLength(1)
  })
})
