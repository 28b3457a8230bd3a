import { createTestDatabase, startPostgres, type TestDatabase, type TestServer } from '@battlescope/scheduler-testing'
import { openConnections } from '@battlescope/database'
import { defineTask, type AnyTask, type TaskContext } from '@battlescope/scheduler-core'
import { findPgBouncer, startPgBouncer } from '@battlescope/postgres-testing'
import { sql } from 'kysely'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { reindex } from '../src/index.js'
import { count, createTable, indexesOf, rebuildsOf, run, storm } from './bloat.js'

const targets = (ran: Awaited<ReturnType<typeof run>>, kind = 'rebuild-index') =>
  (ran.task.run?.actions ?? []).filter((action) => action.kind === kind).map(({ target }) => target)
const findingKeys = (ran: Awaited<ReturnType<typeof run>>) =>
  (ran.task.run?.findings ?? []).map(({ key }) => key).sort()

describe.each([15, 17] as const)('reindex on PostgreSQL %i', (major) => {
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

  it('rebuilds nothing at first sight, and afterwards what grew, worst first, a few per run', async () => {
    await createTable(database)
    const first = await run(database)
    expect(first.task.run).toMatchObject({ outcome: 'succeeded' })
    expect(targets(first)).toEqual([])
    expect(
      await database.query('SELECT count(*)::int AS n FROM scheduler.reindex_index WHERE best_bytes_per_tuple > 0'),
    ).toEqual([{ n: 3 }])

    const fresh = await indexesOf(database)
    await storm(database)
    const bloated = await indexesOf(database)
    const second = await run(database)
    expect(second.task.run).toMatchObject({ outcome: 'partial', remaining: 1 })
    expect(targets(second)).toHaveLength(2)
    expect(targets(second)[0]).toBe('public.t_label_idx')

    const third = await run(database)
    expect(third.task.run).toMatchObject({ outcome: 'succeeded' })
    expect(targets(third)).toHaveLength(1)
    const rebuilt = await indexesOf(database)
    expect(rebuilt.map(({ name, valid }) => ({ name, valid }))).toEqual(
      fresh.map(({ name }) => ({ name, valid: true })),
    )
    for (const [at, { bytes }] of rebuilt.entries()) {
      expect(bytes).toBeLessThan((bloated[at]?.bytes ?? 0) / 2)
      expect(bytes).toBeLessThan((fresh[at]?.bytes ?? 0) * 1.1)
    }
    expect((await run(database)).task.run?.actions).toEqual([])
    expect(await rebuildsOf(database)).toEqual([
      expect.objectContaining({ outcome: 'rebuilt', error_code: null }),
      expect.objectContaining({ outcome: 'rebuilt', error_code: null }),
      expect.objectContaining({ outcome: 'rebuilt', error_code: null }),
    ])
    const [noted] = await database.query(
      `SELECT count(*)::int AS n FROM scheduler.reindex_rebuild
       WHERE new_index_oid <> index_oid AND duration_ms >= 0 AND size_after_bytes < size_before_bytes AND work_bytes > 0 AND predicted_ms > 0`,
    )
    expect(noted).toEqual({ n: 3 })
  })

  /** Indexes that have grown since they were first seen. */
  const bloated = async () => {
    await createTable(database)
    await run(database)
    await storm(database)
  }
  const otherSession = async (work: (db: Parameters<ReturnType<typeof sql>['execute']>[0]) => Promise<void>) => {
    const others = openConnections({ url: database.url, applicationName: 'somebody-else' })
    try {
      await others.transaction({ statementTimeoutMs: 60_000 }, ({ db }) => work(db))
    } finally {
      await others.close()
    }
  }

  it('begins nothing while an old transaction is open, names it, and goes on when it is gone', async () => {
    await bloated()
    await otherSession(async (db) => {
      await sql`SELECT pg_current_xact_id()`.execute(db)
      const ran = await run(database, { maxTransactionAge: 1 })
      expect(ran.task.run).toMatchObject({ outcome: 'partial', remaining: 3 })
      expect(targets(ran)).toEqual([])
      const [waiting] = (ran.task.run?.findings ?? []).filter(({ key }) => key === 'waiting')
      expect(waiting?.summary).toContain("'somebody-else', idle in transaction")
      expect(await rebuildsOf(database)).toEqual([])
    })
    expect(targets(await run(database))).toHaveLength(2)
  })

  it('begins nothing while somebody builds an index, or holds a lock on the table', async () => {
    await bloated()
    await otherSession(async (db) => {
      await sql`LOCK TABLE t IN SHARE UPDATE EXCLUSIVE MODE`.execute(db)
      const ran = await run(database)
      expect(targets(ran)).toEqual([])
      expect(ran.task.run?.findings.find(({ key }) => key === 'waiting')?.summary).toContain(
        'holds ShareUpdateExclusiveLock on the table',
      )
    })
  })

  it('gives way to somebody who waits for a lock on the table, and says so', async () => {
    await bloated()
    const names = (await indexesOf(database)).map(({ name }) => name)
    const altering = openConnections({ url: database.url, applicationName: 'migration' })
    try {
      await otherSession(async (db) => {
        // An old snapshot keeps the rebuild waiting, however small the index is; it stands in nobody else's way.
        await sql`DECLARE old CURSOR FOR SELECT 1 FROM pg_catalog.pg_class`.execute(db)
        const running = run(database, { lockTimeout: 60_000, indexesPerRun: 1 })
        await expect
          .poll(() => database.query('SELECT phase FROM pg_stat_progress_create_index'), { timeout: 30_000 })
          .toEqual([{ phase: 'waiting for old snapshots' }])
        const altered = altering.transaction({ statementTimeoutMs: 60_000, lockTimeoutMs: 60_000 }, ({ db: other }) =>
          sql`ALTER TABLE t ADD COLUMN more int`.execute(other),
        )
        const ran = await running
        await altered
        expect(targets(ran, 'cancel-rebuild')).toEqual(['public.t_label_idx'])
        expect(ran.task.run?.findings.find(({ key }) => key === 'not-ended')?.summary).toContain(
          'public.t_label_idx (gave way to 1 session(s)',
        )
      })
    } finally {
      await altering.close()
    }
    // Where the migration was still at it, what was left waited for this run.
    await run(database)
    expect((await indexesOf(database)).map(({ name, valid }) => [name, valid])).toEqual(
      names.map((name) => [name, true]),
    )
    expect(await rebuildsOf(database)).toContainEqual(
      expect.objectContaining({ index_name: 'public.t_label_idx', outcome: 'interrupted', error_code: 'gave-way' }),
    )
  })

  it('goes on without what somebody holds in ACCESS EXCLUSIVE, and forgets nothing of it', async () => {
    await createTable(database)
    await database.query(`CREATE INDEX t_lower_idx ON t (lower(label)) WHERE at IS NOT NULL`)
    await createTable(database, 'other')
    await run(database)
    const learned = () =>
      database.query('SELECT index_name, definition, first_seen_at FROM scheduler.reindex_index ORDER BY 1')
    const before = await learned()
    expect(before).toHaveLength(7)
    await database.query('UPDATE scheduler.reindex_index SET best_bytes_per_tuple = 1')
    await otherSession(async (db) => {
      await sql`LOCK TABLE t IN ACCESS EXCLUSIVE MODE`.execute(db)
      await sql`REINDEX INDEX public.t_label_idx`.execute(db)
      const ran = await run(database, { indexesPerRun: 20 })
      expect(ran.task.run).toMatchObject({ outcome: 'succeeded' })
      expect(targets(ran).sort()).toEqual(['public.other_at_idx', 'public.other_label_idx', 'public.other_pkey'])
      expect(await learned()).toHaveLength(7)
    })
    expect((await learned()).filter(({ index_name }) => String(index_name).startsWith('public.t_'))).toEqual(
      before.filter(({ index_name }) => String(index_name).startsWith('public.t_')),
    )
  })

  it('closes nothing while the table of an unfinished rebuild cannot be read', async () => {
    await createTable(database)
    await database.query(`CREATE INDEX t_lower_idx ON t (lower(label))`)
    await run(database)
    await database.query(`
      INSERT INTO scheduler.reindex_rebuild (id, relation, index_name, definition, table_oid, index_oid, invalid_before, session_name,
        size_before_bytes, work_bytes, predicted_ms)
      SELECT gen_random_uuid(), 'public.t', index_name, definition, 't'::regclass, index_oid, '{}', 'nobody', 1, 1, 1
      FROM scheduler.reindex_index WHERE index_name = 'public.t_lower_idx'`)
    await otherSession(async (db) => {
      await sql`LOCK TABLE t IN ACCESS EXCLUSIVE MODE`.execute(db)
      const ran = await run(database)
      expect(ran.task.run).toMatchObject({ outcome: 'partial', findings: [{ key: 'leftover' }] })
      expect(await rebuildsOf(database)).toMatchObject([{ ended: false }])
    })
    await run(database)
    expect(await rebuildsOf(database)).toMatchObject([{ ended: true, outcome: 'interrupted' }])
  })

  it('drops at once what a rebuild leaves that waited too long, and backs off', async () => {
    await bloated()
    const names = (await indexesOf(database)).map(({ name }) => name)
    let ran: Awaited<ReturnType<typeof run>> | undefined
    await otherSession(async (db) => {
      // A writer: the rebuild waits for it before it begins, when the copy is there already. The drop waits for it, too.
      await sql`UPDATE t SET label = label WHERE id = 1`.execute(db)
      ran = await run(database, { lockTimeout: 200 })
      expect(ran.task.run).toMatchObject({ outcome: 'partial' })
      expect(ran.task.run?.findings.find(({ key }) => key === 'not-ended')?.summary).toContain('waited too long')
      // Ours, and on its way: no finding about a foreign one.
      expect(findingKeys(ran)).not.toContain('invalid-indexes')
      expect(await indexesOf(database)).toHaveLength(names.length + 1)
    })
    const next = await run(database, { indexesPerRun: 3 })
    expect(targets(next, 'drop-leftover')).toHaveLength(1)
    expect((await indexesOf(database)).map(({ name, valid }) => [name, valid])).toEqual(
      names.map((name) => [name, true]),
    )
    // The one that did not end rests; the others are rebuilt.
    expect(targets(next)).toHaveLength(2)
    expect(targets(next)).not.toContain(targets(ran ?? next)[0])
    expect(await rebuildsOf(database)).toContainEqual(
      expect.objectContaining({ outcome: 'interrupted', error_code: '55P03' }),
    )
  })

  it('calls rebuilt what waited too long after the swap, and drops the original later', async () => {
    await bloated()
    const names = (await indexesOf(database)).map(({ name }) => name)
    await otherSession(async (db) => {
      // A reader without a snapshot: only the last wait of all is for it, when the new index serves already.
      await sql`SELECT count(*) FROM t`.execute(db)
      const ran = await run(database, { lockTimeout: 500, indexesPerRun: 1 })
      expect(ran.task.run).toMatchObject({ outcome: 'partial' })
      expect(findingKeys(ran)).not.toContain('not-ended')
      expect(ran.task.run?.metrics).toContainEqual(expect.objectContaining({ name: 'indexes_rebuilt', value: 1 }))
      expect(await indexesOf(database)).toHaveLength(names.length + 1)
    })
    expect(targets(await run(database, { indexesPerRun: 1 }), 'drop-leftover')).toHaveLength(1)
    expect((await indexesOf(database)).map(({ name, valid }) => [name, valid])).toEqual(
      names.map((name) => [name, true]),
    )
    expect(await rebuildsOf(database)).toContainEqual(expect.objectContaining({ outcome: 'rebuilt' }))
  })

  it('clears away, in the next run, what was left when it was stopped hard', async () => {
    await bloated()
    const names = (await indexesOf(database)).map(({ name }) => name)
    const hardStop = new AbortController()
    await otherSession(async (db) => {
      await sql`UPDATE t SET label = label WHERE id = 1`.execute(db)
      const running = run(database, { lockTimeout: 60_000 }, { hardStop: hardStop.signal })
      await expect
        .poll(() => database.query('SELECT phase FROM pg_stat_progress_create_index'), { timeout: 30_000 })
        .toEqual([{ phase: 'waiting for writers before build' }])
      hardStop.abort('SIGTERM')
      expect((await running).task.run?.outcome).not.toBe('succeeded')
    })
    await run(database)
    await run(database)
    expect((await indexesOf(database)).map(({ name, valid }) => [name, valid])).toEqual(
      names.map((name) => [name, true]),
    )
    expect(await database.query('SELECT 1 FROM scheduler.reindex_rebuild WHERE ended_at IS NULL')).toEqual([])
  })

  it('does not begin what does not fit, and says how it can be done', async () => {
    await bloated()
    const ran = await run(database, { assumedRate: 1024 })
    expect(ran.task.run).toMatchObject({ outcome: 'succeeded' })
    expect(targets(ran)).toEqual([])
    const finding = ran.task.run?.findings.find(({ key }) => key === 'too-large')
    expect(finding).toMatchObject({
      severity: 'warning',
      details: {
        indexes: expect.arrayContaining([
          expect.objectContaining({ sql: 'REINDEX INDEX CONCURRENTLY public.t_label_idx;' }),
        ]),
      },
    })
    expect(await rebuildsOf(database)).toEqual([])
  })

  it('says of what other tasks left no time for that there is none now, and not that it is too large', async () => {
    await bloated()
    const late = defineTask({
      ...reindex,
      run: (context) => {
        const budget = { ...context.budget, remainingMs: () => Math.min(500, context.budget.remainingMs()) }
        return reindex.run(Object.create(context, { budget: { value: budget } }) as TaskContext<never>)
      },
    }) as AnyTask
    const ran = await run(database, {}, { task: late })
    expect(ran.task.run).toMatchObject({ outcome: 'partial', remaining: 3 })
    expect(targets(ran)).toEqual([])
    expect(findingKeys(ran)).not.toContain('too-large')
    expect(ran.task.run?.findings.find(({ key }) => key === 'waiting')?.summary).toContain('no time left in this run')
    // Nothing is used up in the next one.
    expect(targets(await run(database))).toHaveLength(2)
  })

  it('respects the space that it may take', async () => {
    await bloated()
    const ran = await run(database, { freeSpace: 100_000 })
    expect(targets(ran)).toEqual([])
    expect(ran.task.run?.findings.find(({ key }) => key === 'waiting')?.summary).toContain('freeSpace allows')
  })

  it('asks pgstattuple, where it is installed, and believes it', async () => {
    await bloated()
    await database.query('CREATE SCHEMA tools; CREATE EXTENSION pgstattuple SCHEMA tools')
    expect(targets(await run(database))).toHaveLength(2)
    await run(database)
    // Now they are as small as they can be; a size that they never had does not make them bloated.
    await database.query('UPDATE scheduler.reindex_index SET best_bytes_per_tuple = 1')
    const ran = await run(database, { minInterval: 1 })
    expect(targets(ran)).toEqual([])
    expect(findingKeys(ran)).toContain('contradicted')
  })

  it.each(['57014', '55P03', '42P01', 'XX002'])(
    'rebuilds by growth alone what pgstattuple fails to read with %s',
    async (code) => {
      await bloated()
      await database.query(`CREATE SCHEMA tools; CREATE EXTENSION pgstattuple SCHEMA tools`)
      await database.query(`
      CREATE OR REPLACE FUNCTION tools.pgstatindex(relname regclass, OUT version int, OUT tree_level int, OUT index_size bigint,
        OUT root_block_no bigint, OUT internal_pages bigint, OUT leaf_pages bigint, OUT empty_pages bigint, OUT deleted_pages bigint,
        OUT avg_leaf_density float8, OUT leaf_fragmentation float8) LANGUAGE plpgsql AS
      $$ BEGIN RAISE 'not now' USING ERRCODE = '${code}'; END $$`)
      const ran = await run(database)
      expect(targets(ran)).toHaveLength(2)
      expect(ran.task.run?.outcome).toBe('partial')
    },
  )

  it('rebuilds what is too large by the estimate alone only when it is told to', async () => {
    await createTable(database)
    await storm(database)
    const careful = await run(database)
    expect(targets(careful)).toEqual([])
    expect(careful.task.run?.findings.find(({ key }) => key === 'bloated-by-estimate')?.summary).toContain(
      'public.t_label_idx',
    )
    expect(targets(await run(database, { when: 'grown-or-estimated', indexesPerRun: 3 })).sort()).toEqual([
      'public.t_at_idx',
      'public.t_label_idx',
      'public.t_pkey',
    ])
  })

  it('leaves alone exclusion and deferrable constraints, partitioned parents, and temporary tables; rebuilds the leaves', async () => {
    await database.query(`
      CREATE TABLE place (position int UNIQUE DEFERRABLE INITIALLY DEFERRED) WITH (autovacuum_enabled = false);
      INSERT INTO place SELECT generate_series(1, 5000);
      CREATE TABLE booking (at tstzrange, EXCLUDE USING gist (at WITH &&)) WITH (autovacuum_enabled = false);
      INSERT INTO booking SELECT tstzrange(now() + i * interval '2 hours', now() + i * interval '2 hours' + interval '1 hour') FROM generate_series(1, 3000) AS i;
      CREATE TABLE p (id int) PARTITION BY RANGE (id); CREATE INDEX p_idx ON p (id);
      CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (1000000) WITH (autovacuum_enabled = false);
      INSERT INTO p SELECT generate_series(1, 5000)`)
    await count(database, 'booking')
    await count(database, 'place')
    await count(database, 'p1')
    await run(database)
    await database.query('UPDATE scheduler.reindex_index SET best_bytes_per_tuple = 1')
    expect(targets(await run(database))).toEqual(['public.p1_id_idx'])
    expect(await indexesOf(database, 'p1')).toMatchObject([{ name: 'p1_id_idx', valid: true }])
  })

  it('says whose an index is that is not ours, and rebuilds it as a member of its owner', async () => {
    await bloated()
    const role = await database.createRole({
      grants:
        'GRANT CREATE ON DATABASE ' +
        database.name +
        ' TO $role; GRANT USAGE ON SCHEMA scheduler TO $role; GRANT ALL ON ALL TABLES IN SCHEMA scheduler TO $role; GRANT ALL ON ALL SEQUENCES IN SCHEMA scheduler TO $role',
    })
    const stranger = await run(database, {}, { databaseUrl: role.url })
    expect(stranger.task.run).toMatchObject({ outcome: 'succeeded' })
    expect(targets(stranger)).toEqual([])
    expect(stranger.task.run?.findings.find(({ key }) => key === 'not-owned')?.summary).toContain('public.t_label_idx')
    await database.query(
      `CREATE ROLE ${role.name}_owner; ALTER TABLE t OWNER TO ${role.name}_owner; GRANT ${role.name}_owner TO ${role.name}; GRANT CREATE ON SCHEMA public TO ${role.name}_owner`,
    )
    // What a rebuild leaves is given another name before it is dropped, and that takes CREATE on the schema.
    await database.query(`REVOKE CREATE ON SCHEMA public FROM ${role.name}_owner`)
    const unable = await run(database, {}, { databaseUrl: role.url })
    expect(targets(unable)).toEqual([])
    expect(findingKeys(unable)).toContain('not-owned')
    await database.query(`GRANT CREATE ON SCHEMA public TO ${role.name}_owner`)
    expect(targets(await run(database, {}, { databaseUrl: role.url }))).toHaveLength(2)
    expect(await rebuildsOf(database)).toEqual([
      expect.objectContaining({ outcome: 'rebuilt' }),
      expect.objectContaining({ outcome: 'rebuilt' }),
    ])
    await database.query(
      `ALTER TABLE t OWNER TO CURRENT_USER; DROP OWNED BY ${role.name}_owner; DROP ROLE ${role.name}_owner`,
    )
  })

  it('reports invalid, duplicate, unused and missing indexes, with the SQL, and touches none', async () => {
    await createTable(database, 'parent', 5000)
    await database.query(`
      CREATE TABLE child (id int, parent_id bigint REFERENCES parent, other_id bigint REFERENCES parent) WITH (autovacuum_enabled = false);
      INSERT INTO child SELECT i, i, i FROM generate_series(1, 5000) AS i;
      CREATE INDEX child_other_idx ON child (other_id) WHERE other_id IS NOT NULL;
      CREATE INDEX parent_at_too_idx ON parent (at);
      -- Each another rule, whichever of them is dropped.
      CREATE UNIQUE INDEX child_nulls ON child (id); CREATE UNIQUE INDEX child_one_null ON child (id) NULLS NOT DISTINCT;
      ALTER TABLE child ADD CONSTRAINT child_later UNIQUE (id) DEFERRABLE;
      CREATE INDEX parent_label_at_idx ON parent (label, at)`)
    await database.query('CREATE UNIQUE INDEX CONCURRENTLY broken ON child ((id % 2))').catch(() => undefined)
    await run(database)
    await database.query(`UPDATE scheduler.reindex_index SET first_seen_at = now() - interval '40 days'`)
    const before = await indexesOf(database, 'child')
    const ran = await run(database)
    const about = (key: string) =>
      (ran.task.run?.findings.find((finding) => finding.key === key)?.details?.['indexes'] ?? []) as {
        about: string
        sql: string
      }[]
    expect(about('invalid-indexes')).toMatchObject([
      { about: 'public.broken', sql: 'DROP INDEX CONCURRENTLY public.broken;' },
    ])
    expect(
      about('duplicate-indexes')
        .map((one) => one.about)
        .sort(),
    ).toEqual(['public.parent_at_too_idx', 'public.parent_label_idx'])
    expect(about('foreign-keys-without-index')).toMatchObject([
      { about: 'public.child (parent_id)', sql: 'CREATE INDEX CONCURRENTLY ON public.child (parent_id);' },
    ])
    expect(about('unused-indexes').map((one) => one.about)).toContain('public.parent_at_idx')
    expect(await indexesOf(database, 'child')).toEqual(before)
  })

  it('is skipped, with the reason, when only a pooler leads to the database', async (context) => {
    const program = await findPgBouncer()
    if (program === undefined) return context.skip('pgbouncer is not installed; apt-get install pgbouncer')
    await bloated()
    await database.query('CREATE INDEX t_label_too_idx ON t (label)')
    const pgbouncer = await startPgBouncer(database.url)
    try {
      const ran = await run(database, {}, { databaseUrl: pgbouncer.url })
      expect(ran.task.run).toMatchObject({ outcome: 'skipped' })
      expect(ran.task.run?.reason).toContain('pooler')
      expect(await rebuildsOf(database)).toEqual([])
      // What needs no session is looked at all the same: an alert must not resolve because nobody could look.
      expect(findingKeys(ran)).toContain('duplicate-indexes')
    } finally {
      await pgbouncer.stop()
    }
  })
})
