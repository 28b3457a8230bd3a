import {
  createTestDatabase,
  createTestRole,
  runOneTask,
  startPostgres,
  type TestDatabase,
  type TestServer,
} from '@battlescope/scheduler-testing'
import { openConnections } from '@battlescope/database'
import { sql } from 'kysely'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { cache, cacheConfig } from '../src/index.js'

const run = (database: TestDatabase, options: object = {}, url = database.url) =>
  runOneTask({ task: cache, databaseUrl: url, config: cacheConfig.parse(options), force: true })

const ids = async (database: TestDatabase, relation: string) =>
  (await database.query<{ id: string }>(`SELECT r.id::text FROM ${relation} r ORDER BY r.id`)).map(({ id }) => id)

describe.each([15, 17] as const)('expired rows on PostgreSQL %i', (major) => {
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

  it('go, in batches, and nothing else does', async () => {
    await database.query(`
      CREATE TABLE esi_cache (id int PRIMARY KEY, expires_at timestamptz);
      CREATE INDEX ON esi_cache (expires_at);
      INSERT INTO esi_cache SELECT i, now() - i * interval '1 ms' FROM generate_series(1, 2500) AS i;
      INSERT INTO esi_cache VALUES (9001, now() + interval '1 hour'), (9002, NULL), (9003, 'infinity'), (9004, '-infinity')`)
    const { task } = await run(database, { rowBatchSize: 400 })
    expect(task.run).toMatchObject({ outcome: 'succeeded', findings: [] })
    expect(await ids(database, 'esi_cache')).toEqual(['9001', '9002', '9003', '9004'])
    const trail = await database.query<{ rows: string }>(`SELECT row_count AS rows FROM scheduler.action ORDER BY id`)
    expect(trail.map(({ rows }) => Number(rows))).toEqual([400, 400, 400, 400, 400, 400, 100])
  })

  it('expire by every kind of time, after a period, to the microsecond', async () => {
    await database.query(`
      CREATE TABLE a (id int, at timestamp); INSERT INTO a VALUES (1, now() AT TIME ZONE 'UTC' - interval '61 min'), (2, now() AT TIME ZONE 'UTC' - interval '59 min');
      CREATE TABLE "B b" (id int, "At" date); INSERT INTO "B b" VALUES (1, (now() AT TIME ZONE 'UTC')::date - 1), (2, (now() AT TIME ZONE 'UTC')::date);
      CREATE TABLE c (id int, at timestamptz);
      INSERT INTO c SELECT i, '2020-01-01 00:00:00.000000+00'::timestamptz + i * interval '1 microsecond' FROM generate_series(1, 25) AS i`)
    await database.query(`ALTER DATABASE ${database.name} SET TimeZone = 'Asia/Kathmandu'`)
    const relations = [
      { relation: 'a', column: 'at', after: '1h' },
      { relation: '"B b"', column: 'At' },
      { relation: 'public.c', column: 'at' },
    ]
    const { task } = await run(database, { relations, rowBatchSize: 10 })
    expect([await ids(database, 'a'), await ids(database, '"B b"'), await ids(database, 'c')]).toEqual([
      ['2'],
      ['2'],
      [],
    ])
    const ofC = await database.query<{ rows: string }>(
      `SELECT row_count AS rows FROM scheduler.action WHERE target = 'public.c' ORDER BY id`,
    )
    expect(ofC.map(({ rows }) => Number(rows))).toEqual([10, 10, 5])
    expect(task.run?.findings).toMatchObject([{ key: 'no-index', severity: 'info' }])
  })

  it('that share one time go in statements of bounded size', async () => {
    await database.query(
      `CREATE TABLE c (id int, at timestamptz); INSERT INTO c SELECT i, '2020-01-01' FROM generate_series(1, 95) AS i`,
    )
    await run(database, { relations: [{ relation: 'c', column: 'at' }], rowBatchSize: 10 })
    const rows = await database.query<{ rows: string }>(`SELECT row_count AS rows FROM scheduler.action ORDER BY id`)
    expect(rows.map((row) => Number(row.rows))).toEqual([20, 20, 20, 20, 15])
    expect(await ids(database, 'c')).toEqual([])
  })

  it('stay while somebody else holds them, without waiting for him', async () => {
    await database.query(
      `CREATE TABLE c (id int PRIMARY KEY, at timestamptz); INSERT INTO c SELECT i, '2020-01-01'::timestamptz + i * interval '1 s' FROM generate_series(1, 50) AS i`,
    )
    const other = openConnections({ url: database.url, applicationName: 'other' })
    const options = { relations: [{ relation: 'c', column: 'at' }], rowBatchSize: 10 }
    await other.transaction({ statementTimeoutMs: 30_000 }, async ({ db }) => {
      await sql`UPDATE c SET at = now() + interval '1 day' WHERE id IN (7, 23)`.execute(db)
      expect((await run(database, options)).task.run?.outcome).toBe('succeeded')
      expect(await ids(database, 'c')).toEqual(['7', '23'])
    })
    await other.close()
    // They were renewed.
    await run(database, options)
    expect(await ids(database, 'c')).toEqual(['7', '23'])
  })

  it('go leaf by leaf of a partitioned relation, although their positions are the same', async () => {
    await database.query(`
      CREATE TABLE p (id int, at timestamptz) PARTITION BY RANGE (id);
      CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (100); CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (100) TO (200);
      INSERT INTO p SELECT i, CASE WHEN i % 2 = 0 THEN '2020-01-01'::timestamptz ELSE 'infinity' END FROM generate_series(0, 19) AS i;
      INSERT INTO p SELECT 100 + i, CASE WHEN i % 2 = 1 THEN '2020-01-01'::timestamptz ELSE 'infinity' END FROM generate_series(0, 19) AS i;
      CREATE TABLE parent (id int, at timestamptz); CREATE TABLE child () INHERITS (parent);
      INSERT INTO parent VALUES (1, '2020-01-01'), (2, 'infinity'); INSERT INTO child VALUES (3, 'infinity'), (4, '2020-01-01')`)
    const relations = ['p', 'parent'].map((relation) => ({ relation, column: 'at' }))
    await run(database, { relations })
    expect(await ids(database, 'p')).toEqual(
      Array.from({ length: 20 }, (_, i) => String(i < 10 ? 2 * i + 1 : 100 + 2 * (i - 10))),
    )
    // Only what was named: a relation that inherits is another one.
    expect(await ids(database, 'parent')).toEqual(['2', '3', '4'])
  })

  it('are left with a reason where they cannot go', async () => {
    await database.query(`
      CREATE TABLE t (id int, at text); CREATE VIEW v AS SELECT 1 AS id, now() AS at; CREATE TABLE n (id int);
      CREATE TABLE r (id int PRIMARY KEY, at timestamptz); CREATE TABLE s (r int REFERENCES r); INSERT INTO r VALUES (1, '2020-01-01'); INSERT INTO s VALUES (1);
      CREATE TABLE ok (id int, at timestamptz); INSERT INTO ok VALUES (1, '2020-01-01')`)
    const relations = ['t', 'v', 'n', 'r', 'absent', 'ok'].map((relation) => ({ relation, column: 'at' }))
    const { task } = await run(database, { relations })
    expect(task.run?.outcome).toBe('succeeded')
    expect(task.run?.findings[0]?.details).toEqual({
      relations: [
        { relation: 't', problem: 'at is text, and no timestamp' },
        { relation: 'v', problem: 'is neither a table nor a partitioned one' },
        { relation: 'n', problem: 'has no column at' },
        { relation: 'public.r', problem: 'another relation still refers to its rows' },
      ],
    })
    expect(await ids(database, 'ok')).toEqual([])
  })

  it('need SELECT, UPDATE and DELETE, and no more', async () => {
    const role = await createTestRole(database)
    await database.query(
      `CREATE TABLE c (id int, at timestamptz); INSERT INTO c VALUES (1, '2020-01-01'); CREATE SCHEMA scheduler AUTHORIZATION ${role.name}; GRANT SELECT, DELETE ON c TO ${role.name}`,
    )
    const options = { relations: [{ relation: 'c', column: 'at' }] }
    expect((await run(database, options, role.url)).task.run?.findings[0]?.summary).toContain(
      'SELECT, UPDATE and DELETE are needed',
    )
    expect(await ids(database, 'c')).toEqual(['1'])
    await database.query(`GRANT UPDATE ON c TO ${role.name}`)
    await run(database, options, role.url)
    expect(await ids(database, 'c')).toEqual([])
  })

  it('are skipped with a reason where there is neither a relation nor Redis', async () => {
    expect((await run(database)).task.run).toMatchObject({
      outcome: 'skipped',
      reason:
        'none of the relations exists, and no Redis is configured (REDIS_URL, ESI_REDIS_CACHE_URL, SESSION_REDIS_URL)',
    })
  })
})
