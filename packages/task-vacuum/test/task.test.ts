import { openConnections } from '@battlescope/database'
import {
  createTestDatabase,
  createTestRole,
  startPostgres,
  type TestDatabase,
  type TestServer,
} from '@battlescope/scheduler-testing'
import { sql, type RawBuilder } from 'kysely'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { countNow, createBloated, createIndexThatRuns, deadRows, run, targets } from './world.js'

describe.each([15, 17] as const)('vacuum on PostgreSQL %i', (major) => {
  let server: TestServer
  let database: TestDatabase
  beforeAll(async () => {
    // Servers of tests commit without waiting for the disk, and rows of a commit that is not on it yet are not marked as visible to everyone, nor
    // are those of transactions with numbers close to it.
    server = await startPostgres({ major, settings: { synchronous_commit: 'on' } })
  })
  afterAll(() => server.stop())
  beforeEach(async () => {
    database = await createTestDatabase({ server })
  })
  afterEach(() => database.drop())

  it('removes dead rows where there are many, and finds nothing to do afterwards', async () => {
    await createBloated(database, 'a')
    await database.query(`CREATE TABLE b AS SELECT generate_series(1, 5000) AS i; ${countNow}`)
    await database.query('VACUUM ANALYZE b')
    await database.query(`DELETE FROM b WHERE i <= 100; ${countNow}`)
    const done = await run(database)
    expect(done).toMatchObject({ outcome: 'succeeded', findings: [] })
    expect(done.actions).toMatchObject([
      { kind: 'vacuum', target: 'public.a', reason: '5000 dead rows beside 5000 rows, and stale statistics' },
    ])
    expect(await deadRows(database)).toEqual({ a: 0, b: 100 })
    expect((await run(database)).actions).toEqual([])
  })

  it('makes room that is used again, and leaves the file as it is', async () => {
    await createBloated(database, 'a')
    const size = async () =>
      (await database.query<{ bytes: number }>(`SELECT pg_relation_size('a')::int AS bytes`))[0]?.bytes
    // The end of the file is empty then: TRUNCATE would cut it off, under ACCESS EXCLUSIVE.
    await database.query(`DELETE FROM a WHERE i > 100; ${countNow}`)
    const before = await size()
    await run(database)
    expect(await size()).toBe(before)
    await database.query(`INSERT INTO a SELECT i, repeat('z', 60) FROM generate_series(101, 5000) AS i`)
    expect(await size()).toBe(before)
  })

  it('cuts the end of the file off where it is told to', async () => {
    await createBloated(database, 'a')
    await database.query(`DELETE FROM a WHERE i > 100; ${countNow}`)
    await run(database, { truncate: true })
    const [trail] = await database.query<{ bytes: string }>(
      `SELECT byte_count AS bytes FROM scheduler.action WHERE result = 'succeeded'`,
    )
    expect(Number(trail?.bytes)).toBeGreaterThan(400_000)
  })

  it('keeps what it did in the audit trail: rows, sizes, pages, and the prediction beside the measurement', async () => {
    await createBloated(database, 'a')
    await run(database)
    const trail = await database.query(
      `SELECT kind, target, result, row_count::int AS rows, details FROM scheduler.action ORDER BY id`,
    )
    expect(trail).toMatchObject([
      { kind: 'vacuum', target: 'public.a', result: 'started' },
      {
        kind: 'vacuum',
        target: 'public.a',
        result: 'succeeded',
        rows: 5000,
        details: {
          before: { deadRows: 5000, allVisiblePages: 0 },
          after: { deadRows: 0, toastDeadRows: 0 },
          predictedBy: 'at the assumed rate: none was measured yet',
        },
      },
    ])
    const { before, after, vacuumMs, predictedMs, scanBytes } = (
      trail[1] as { details: Record<string, number> & Record<'before' | 'after', Record<string, number>> }
    ).details
    expect(after?.['allVisiblePages']).toBe(after?.['pages'])
    expect(before?.['heapBytes']).toBe(after?.['heapBytes'])
    for (const figure of [vacuumMs, predictedMs, scanBytes]) expect(figure).toBeGreaterThan(0)
  })

  it('vacuums what was only inserted into: its visibility map is behind', async () => {
    await database.query(`CREATE TABLE a AS SELECT generate_series(1, 20000) AS i; ${countNow}`)
    await database.query('ANALYZE a')
    expect((await run(database)).actions).toMatchObject([{ reason: '20000 rows inserted since its last VACUUM' }])
    // Pages with rows: from PostgreSQL 16 on, a bulk insert leaves new, empty ones at the end of the file, which are in no visibility map.
    const [row] = await database.query<{ pages: number; visible: number }>(
      `SELECT (SELECT count(DISTINCT (ctid::text::point)[0])::int FROM a) AS pages, relallvisible AS visible FROM pg_class WHERE relname = 'a'`,
    )
    expect(row?.pages).toBeGreaterThan(0)
    expect(row?.visible).toBe(row?.pages)
    expect((await run(database)).actions).toEqual([])
  })

  it("goes by a relation's own storage parameters", async () => {
    await createBloated(
      database,
      'a',
      5000,
      'WITH (autovacuum_vacuum_threshold = 1000000, autovacuum_vacuum_insert_threshold = -1)',
    )
    await database.query(`CREATE TABLE b (i int) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20);
      INSERT INTO b SELECT generate_series(1, 400); ${countNow}`)
    await database.query('VACUUM ANALYZE b')
    await database.query(`DELETE FROM b WHERE i <= 10; ${countNow}`)
    expect(targets(await run(database))).toEqual(['public.b'])
  })

  it('vacuums a large relation after a large deletion that is a small share of it', async () => {
    await database.query(`CREATE TABLE a AS SELECT generate_series(1, 20000) AS i; ${countNow}`)
    await database.query('VACUUM ANALYZE a')
    await database.query(`DELETE FROM a WHERE i <= 1000; ${countNow}`)
    expect(targets(await run(database))).toEqual([])
    expect(targets(await run(database, { deadRows: 1000 }))).toEqual(['public.a'])
  })

  it('vacuums the partitions of what is named, and only them', async () => {
    await database.query(`
      CREATE TABLE p (i int, j int) PARTITION BY RANGE (i);
      CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10000);
      CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10000) TO (20000) PARTITION BY RANGE (j);
      CREATE TABLE p2_1 PARTITION OF p2 FOR VALUES FROM (0) TO (20000);
      CREATE TABLE other (i int);
      INSERT INTO p SELECT i, i FROM generate_series(1, 15000) AS i;
      INSERT INTO other SELECT generate_series(1, 5000); ${countNow}`)
    expect(targets(await run(database, { relations: ['p'] })).sort()).toEqual(['public.p1', 'public.p2_1'])
    expect((await run(database, { relations: ['p'] })).actions).toEqual([])
  })

  it('leaves out the partitions of what is excluded', async () => {
    await database.query(`
      CREATE TABLE p (i int) PARTITION BY RANGE (i);
      CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10000);
      CREATE TABLE a (i int);
      INSERT INTO p SELECT generate_series(1, 5000); INSERT INTO a SELECT generate_series(1, 5000); ${countNow}`)
    expect(targets(await run(database, { exclude: ['p'] }))).toEqual(['public.a'])
  })

  it('counts dead rows of the TOAST table, where large values die', async () => {
    await database.query(`
      CREATE TABLE a (i int, large text) WITH (toast_tuple_target = 128);
      ALTER TABLE a ALTER large SET STORAGE EXTERNAL;
      INSERT INTO a SELECT i, repeat('x', 20000) FROM generate_series(1, 200) AS i; ${countNow}`)
    await database.query('VACUUM ANALYZE a')
    // Ten chunks to a value: few dead rows in the relation, many in its TOAST table.
    await database.query(`UPDATE a SET large = repeat('y', 20000) WHERE i <= 40; ${countNow}`)
    expect((await run(database)).actions).toMatchObject([
      { target: 'public.a', reason: expect.stringMatching(/^\d+ dead rows in its TOAST table/) as string },
    ])
    expect((await run(database)).actions).toEqual([])
  })

  it('adds ANALYZE where statistics are stale, and not where they are not', async () => {
    await createBloated(database, 'a')
    await createBloated(database, 'b')
    await database.query('ANALYZE b')
    await run(database)
    const analyzed = await database.query(
      `SELECT relname, n_mod_since_analyze::int AS changed, analyze_count::int AS times FROM pg_stat_user_tables WHERE schemaname = 'public' ORDER BY 1`,
    )
    expect(analyzed).toEqual([
      { relname: 'a', changed: 0, times: 2 },
      { relname: 'b', changed: 0, times: 2 },
    ])
    await createBloated(database, 'c')
    await run(database, { analyze: false })
    const [row] = await database.query(
      `SELECT analyze_count::int AS times FROM pg_stat_user_tables WHERE relname = 'c'`,
    )
    expect(row).toEqual({ times: 1 })
  })

  it('names a locked relation, and does the rest', async () => {
    await createBloated(database, 'a')
    await createBloated(database, 'b')
    const other = openConnections({ url: database.url, applicationName: 'other' })
    try {
      await other.transaction({ statementTimeoutMs: 30_000 }, async ({ db }) => {
        await sql`LOCK TABLE a IN ACCESS EXCLUSIVE MODE`.execute(db)
        const done = await run(database)
        expect(done.outcome).toBe('succeeded')
        expect(targets(done)).toEqual(['public.b'])
        expect(done.findings).toMatchObject([
          { key: 'occupied', severity: 'info', summary: 'left alone: public.a (is locked by another session)' },
        ])
        // The only one that is left: a run that did nothing must not look like one that did.
        expect(await run(database)).toMatchObject({
          outcome: 'skipped',
          reason: 'nothing could be vacuumed: public.a (is locked by another session)',
        })
      })
    } finally {
      await other.close()
    }
    expect(await deadRows(database)).toEqual({ a: 5000, b: 0 })
  })

  it('does not wait for a relation that is locked after the plan was made, and does not take it for vacuumed', async () => {
    await createBloated(database, 'a')
    const other = openConnections({ url: database.url, applicationName: 'other' })
    try {
      await other.transaction({ statementTimeoutMs: 30_000 }, async ({ db }) => {
        const done = await run(
          database,
          {},
          {
            around: (connections) => ({
              reader: (unit) => connections.reader(unit),
              snapshot: (unit, read) => connections.snapshot(unit, read),
              transaction: (unit, work) => connections.transaction(unit, work),
              direct: async (unit, work) => {
                await sql`LOCK TABLE a IN SHARE UPDATE EXCLUSIVE MODE`.execute(db)
                return connections.direct(unit, work)
              },
            }),
          },
        )
        expect(done).toMatchObject({
          outcome: 'skipped',
          reason: 'nothing could be vacuumed: public.a (is locked by another session)',
          findings: [{ key: 'not-vacuumed' }],
        })
      })
    } finally {
      await other.close()
    }
    const trail = await database.query(`SELECT result, error_code FROM scheduler.action ORDER BY id`)
    expect(trail).toEqual([
      { result: 'started', error_code: null },
      { result: 'failed', error_code: '55P03' },
    ])
  })

  it('does not take a missing permission for success', async () => {
    await createBloated(database, 'a')
    const role = await createTestRole(database)
    await database.query(`CREATE SCHEMA scheduler AUTHORIZATION ${role.name}`)
    expect(await run(database, {}, { databaseUrl: role.url })).toMatchObject({
      outcome: 'skipped',
      reason: 'no relation may be vacuumed by this role',
      findings: [{ key: 'not-permitted', details: { relations: ['public.a'] } }],
    })
    expect(await deadRows(database)).toEqual({ a: 5000 })
    await database.query(major >= 17 ? `GRANT MAINTAIN ON a TO ${role.name}` : `ALTER TABLE a OWNER TO ${role.name}`)
    expect(await run(database, {}, { databaseUrl: role.url })).toMatchObject({ outcome: 'succeeded', findings: [] })
    expect(await deadRows(database)).toEqual({ a: 0 })
  })

  it('sees a permission that is withdrawn after the plan was made', async () => {
    await createBloated(database, 'a')
    const role = await createTestRole(database)
    await database.query(`CREATE SCHEMA scheduler AUTHORIZATION ${role.name}; ALTER TABLE a OWNER TO ${role.name}`)
    const done = await run(
      database,
      {},
      {
        databaseUrl: role.url,
        around: (connections) => ({
          reader: (unit) => connections.reader(unit),
          snapshot: (unit, read) => connections.snapshot(unit, read),
          transaction: (unit, work) => connections.transaction(unit, work),
          direct: async (unit, work) => {
            await database.query('ALTER TABLE a OWNER TO CURRENT_USER')
            return connections.direct(unit, work)
          },
        }),
      },
    )
    expect(done).toMatchObject({ outcome: 'failed', errorCode: 'not-vacuumed' })
    expect(done.reason).toMatch(/^nothing was vacuumed: public\.a \(.*"a"/)
    expect(await deadRows(database)).toEqual({ a: 5000 })
  })

  it('vacuums what others own, as the owner of the database', async () => {
    await createBloated(database, 'a')
    const role = await createTestRole(database)
    await database.query(
      `CREATE SCHEMA scheduler AUTHORIZATION ${role.name}; ALTER DATABASE ${database.name} OWNER TO ${role.name}`,
    )
    expect(await run(database, {}, { databaseUrl: role.url })).toMatchObject({ outcome: 'succeeded', findings: [] })
    expect(await deadRows(database)).toEqual({ a: 0 })
    await database.query(`ALTER DATABASE ${database.name} OWNER TO CURRENT_USER`)
  })

  it('tells as an error what fails with an error of its own, and does the rest', async () => {
    await createBloated(database, 'a')
    await createBloated(database, 'b')
    await createIndexThatRuns(database, 'a', 'PERFORM 1 / 0')
    await database.query('INSERT INTO at_index VALUES (1)')
    const done = await run(database, { relations: ['a', 'b'] })
    expect(done).toMatchObject({
      outcome: 'succeeded',
      findings: [
        {
          key: 'failed',
          severity: 'error',
          details: { relations: [{ relation: 'public.a', reason: expect.stringMatching(/, 22012$/) as string }] },
        },
      ],
    })
    expect(await deadRows(database)).toMatchObject({ b: 0 })
  })

  it('reports what was named and does not exist, when something else does', async () => {
    await createBloated(database, 'a')
    expect(await run(database, { relations: ['a', 'gone', 'nothing_*'] })).toMatchObject({
      outcome: 'succeeded',
      findings: [{ key: 'missing', details: { relations: ['gone'] } }],
    })
    expect(await run(database, { relations: ['gone'] })).toMatchObject({
      outcome: 'skipped',
      reason: 'none of the relations exists',
    })
  })

  it('quotes whatever PostgreSQL accepts as a name', async () => {
    const odd = ['We.ird "Name"', 'new\nline', 'MixedCase', 'x'.repeat(63), '*?', "quo'te; DROP TABLE a", 'ünï→💥']
    for (const name of odd) await createBloated(database, `"${name.replaceAll('"', '""')}"`, 300)
    expect(await run(database)).toMatchObject({ outcome: 'succeeded', findings: [] })
    expect(await deadRows(database)).toEqual(Object.fromEntries(odd.map((name) => [name, 0])))
  })

  it('vacuums materialized views', async () => {
    await database.query(`CREATE MATERIALIZED VIEW m AS SELECT generate_series(1, 5000) AS i; ${countNow}`)
    const done = await run(database)
    expect(done).toMatchObject({ outcome: 'succeeded', findings: [] })
    expect(targets(done)).toEqual(['public.m'])
    expect((await run(database)).actions).toEqual([])
  })

  it('freezes before autovacuum has to, and once is enough', async () => {
    await database.query(`CREATE TABLE a (i int) WITH (autovacuum_freeze_max_age = 100000);
      INSERT INTO a SELECT generate_series(1, 100); CREATE TABLE burn (i int)`)
    // Each exception block that writes takes a transaction's number.
    await database.query(`DO $$ BEGIN FOR i IN 1..85000 LOOP
      BEGIN INSERT INTO burn VALUES (i); EXCEPTION WHEN OTHERS THEN NULL; END; END LOOP; END $$`)
    const age = async () =>
      (await database.query<{ age: number }>(`SELECT age(relfrozenxid) FROM pg_class WHERE relname = 'a'`))[0]?.age ?? 0
    expect(await age()).toBeGreaterThan(85_000)
    const done = await run(database, { relations: ['a'] })
    expect(done.actions).toMatchObject([{ reason: expect.stringContaining('% of the age') as string }])
    expect(await age()).toBeLessThan(80_000)
    expect((await run(database, { relations: ['a'] })).actions).toEqual([])
  })

  /** Each exception block that writes takes a transaction's number. */
  const burn = (transactions: number) =>
    database.query(`CREATE TABLE burn (i int);
      DO $$ BEGIN FOR i IN 1..${transactions} LOOP
        BEGIN INSERT INTO burn VALUES (i); EXCEPTION WHEN OTHERS THEN NULL; END; END LOOP; END $$`)

  it('freezes what autovacuum, being off, does not come to before the limit of the server', async () => {
    await database.query(`CREATE TABLE a (i int) WITH (autovacuum_freeze_max_age = 100000);
      INSERT INTO a SELECT generate_series(1, 100)`)
    await burn(105_000)
    expect(await database.query('SHOW autovacuum')).toEqual([{ autovacuum: 'off' }])
    expect(targets(await run(database, { relations: ['a'] }))).toEqual(['public.a'])
    expect((await run(database, { relations: ['a'] })).actions).toEqual([])
  })

  it('freezes multixacts once, where a storage parameter makes that more frequent, too', async () => {
    await database.query(`CREATE TABLE a (i int) WITH (autovacuum_multixact_freeze_max_age = 10000);
      INSERT INTO a VALUES (1); CREATE TABLE burn (i int PRIMARY KEY); INSERT INTO burn SELECT generate_series(1, 8500)`)
    const [one, two] = ['one', 'two'].map((name) => openConnections({ url: database.url, applicationName: name }))
    // Two who share a row's lock make a multixact, and only one of all rows that the same two share: each exception block is another one.
    const share = (name: string, by: RawBuilder<unknown>) =>
      one?.transaction({ statementTimeoutMs: 60_000 }, async ({ db }) => {
        await sql`SELECT FROM ${sql.id(name)} FOR SHARE`.execute(db)
        await two?.transaction({ statementTimeoutMs: 60_000 }, async (other) => {
          await by.execute(other.db)
        })
      })
    try {
      await share('a', sql`SELECT FROM a FOR SHARE`)
      await share(
        'burn',
        sql`DO $$ BEGIN FOR row IN 1..8500 LOOP
          BEGIN PERFORM FROM burn WHERE i = row FOR SHARE; EXCEPTION WHEN OTHERS THEN NULL; END; END LOOP; END $$`,
      )
    } finally {
      await one?.close()
      await two?.close()
    }
    expect(targets(await run(database, { relations: ['a'] }))).toEqual(['public.a'])
    expect((await run(database, { relations: ['a'] })).actions).toEqual([])
  })
})
