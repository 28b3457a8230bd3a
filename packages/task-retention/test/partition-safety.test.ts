/** What a whole partition must never cost: the only copy of its rows, objects of others, or a task that fails in every run. */
import { readManifest, writeManifest } from '@battlescope/archive'
import { openConnections } from '@battlescope/database'
import { sql } from 'kysely'
import { afterEach, describe, expect, it } from 'vitest'
import { lockDetached } from '../src/partition-queries.js'
import { around } from './partition-crash-child.js'
import { createPartitionWorld, events, policy, type PartitionWorld } from './partition-world.js'

let world: PartitionWorld
afterEach(() => world.close())

type Run = Awaited<ReturnType<PartitionWorld['go']>>
const kindsOf = ({ task }: Run) => (task.run?.actions ?? []).map(({ kind }) => kind)
const findingsOf = ({ task }: Run) => task.run?.findings ?? []
const remaining = ['events_m60*', 'events_m59*', 'events_m1*']

/** The run ends before an action of this kind: by default with the oldest partition detached and archived, and not dropped. */
async function endBefore(kind = 'drop-partition'): Promise<void> {
  const task = around({
    before: (next) => {
      if (next === kind) throw new Error('enough')
    },
  })
  await world.go({}, { task })
}

async function archiveOnly(): Promise<void> {
  await endBefore()
  expect((await world.tables()).slice(0, 2)).toEqual(['events_m63', 'events_m62*'])
  const [row] = await world.database.query('SELECT row_count::int AS rows FROM scheduler.retention_partition')
  expect(row).toEqual({ rows: 100 })
}

const attach = `DO $$ BEGIN EXECUTE (SELECT 'ALTER TABLE public.events ATTACH PARTITION public.events_m63 ' || bounds
  FROM scheduler.retention_partition WHERE partition = 'public.events_m63'); END $$`

describe('a copy of the database', () => {
  it.each([
    ['as it was', 'SELECT 1'],
    ['changed', `UPDATE public.events_m63 SET body = 'changed' WHERE id = 63005`],
    ['attached again', attach],
  ])('neither drops a partition that is %s nor removes what the original archived', async (_, change) => {
    world = await createPartitionWorld()
    await archiveOnly()
    await world.database.query(`UPDATE scheduler.archive_owner SET database = 'the original'`)
    await world.database.query(change)
    const names = (await world.names()).filter((name) => name.startsWith('data/') || name.startsWith('manifests/'))
    expect(names.length).toBeGreaterThanOrEqual(4)
    for (const _run of [1, 2]) {
      const run = await world.go()
      expect(findingsOf(run)).toContainEqual(expect.objectContaining({ key: 'archive-not-ours', severity: 'critical' }))
    }
    expect(await world.names()).toEqual(expect.arrayContaining(names))
    expect(await world.count('public.events_m63')).toBe(100)
    const states = await world.database.query(`SELECT DISTINCT state FROM scheduler.archive_batch WHERE id = ANY
      ((SELECT batch_ids FROM scheduler.retention_partition WHERE partition = 'public.events_m63')::uuid[])`)
    expect(states).toEqual([{ state: 'verified' }])
  })
})

describe('what earlier runs archived', () => {
  it.each([
    ['an object is gone', /^data\//, undefined],
    ['an object has other bytes', /^data\//, 'rubbish'],
    ['a manifest is gone', /^manifests\//, undefined],
  ])('is archived anew where %s', async (_, kind, bytes) => {
    world = await createPartitionWorld()
    await archiveOnly()
    const store = await world.store()
    const name = (await world.names()).find((each) => kind.test(each)) ?? ''
    if (bytes === undefined) await store.delete(name)
    else await store.put(name, Buffer.from(bytes))
    const run = await world.go()
    expect(run.task.run).toMatchObject({ outcome: 'succeeded', findings: [] })
    expect(kindsOf(run)).toContain('reset-partition')
    expect(await world.tables()).toEqual(remaining)
    expect(await world.losses()).toEqual([])
  })

  it('is not archived twice where everything is there', async () => {
    world = await createPartitionWorld()
    await archiveOnly()
    const run = await world.go()
    expect(kindsOf(run)).not.toContain('reset-partition')
    expect(await world.tables()).toEqual(remaining)
    expect(await world.losses()).toEqual([])
  })
})

describe('the commits after which objects are removed', () => {
  it('are kept through a crash of the server, whatever the database says', async () => {
    world = await createPartitionWorld()
    await archiveOnly()
    await world.database.query(`
      CREATE TABLE public.commits (what text, synchronous text);
      CREATE FUNCTION public.note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO public.commits VALUES (TG_TABLE_NAME, current_setting('synchronous_commit')); RETURN NULL; END $$;
      CREATE TRIGGER note AFTER UPDATE ON scheduler.retention_partition FOR EACH ROW
        WHEN (old.row_count > 0 AND new.row_count = 0) EXECUTE FUNCTION public.note();
      CREATE TRIGGER note AFTER UPDATE ON scheduler.archive_batch FOR EACH ROW
        WHEN (new.state = 'discarded') EXECUTE FUNCTION public.note();
      DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET synchronous_commit = off', current_database()); END $$;
      UPDATE public.events_m63 SET body = 'changed' WHERE id = 63005`)
    await world.go()
    const commits = await world.database.query('SELECT DISTINCT what, synchronous FROM public.commits ORDER BY what')
    expect(commits).toEqual([
      { what: 'archive_batch', synchronous: 'local' },
      { what: 'retention_partition', synchronous: 'local' },
    ])
  })
})

describe('the lock before the drop', () => {
  const why = async (prepare: string, role: string) => {
    world = await createPartitionWorld()
    await world.database.query('ALTER TABLE public.events DETACH PARTITION public.events_m63')
    await world.database.query(prepare)
    const [row] = await world.database.query<{ oid: string }>(`SELECT 'public.events_m63'::regclass::oid::text AS oid`)
    const connections = openConnections({ url: world.database.url, applicationName: 'lock' })
    try {
      return await connections.transaction({ statementTimeoutMs: 20_000 }, async ({ db }) => {
        await sql.raw(role).execute(db)
        return lockDetached(db, { schema: 'public', name: 'events_m63' }, row?.oid ?? '')
      })
    } finally {
      await connections.close()
    }
  }

  it('refuses a table whose rows row-level security hides', async () => {
    const role = `role_${process.pid}`
    const prepare = `CREATE ROLE ${role}; GRANT CREATE, USAGE ON SCHEMA public TO ${role};
      ALTER TABLE public.events_m63 OWNER TO ${role}, ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY`
    try {
      expect(await why(prepare, `SET LOCAL ROLE ${role}`)).toMatch(/row-level security/)
    } finally {
      await world.database.query(`DROP OWNED BY ${role}; DROP ROLE ${role}`)
    }
  })

  it.each([
    ['a sequence that its column owns', 'CREATE SEQUENCE public.numbers OWNED BY public.events_m63.id', /sequence/],
    ['a view over it', 'CREATE VIEW public.oldest AS SELECT id FROM public.events_m63', /view/],
    ['nothing of the kind', 'SELECT 1', undefined],
  ])('refuses a table with %s', async (_, prepare, expected) => {
    const found = await why(prepare, 'SELECT 1')
    if (expected === undefined) expect(found).toBeUndefined()
    else expect(found).toMatch(expected)
  })
})

describe('an error of one detached partition', () => {
  it.each([
    ['a column is gone', 'ALTER TABLE public.events_m63 DROP COLUMN at CASCADE'],
    ['a column has another name', 'ALTER TABLE public.events_m63 RENAME COLUMN id TO number'],
  ])('leaves the others to go on: %s', async (_, change) => {
    world = await createPartitionWorld()
    await archiveOnly()
    await world.database.query(change)
    const run = await world.go()
    expect(run.task.run?.outcome).toBe('succeeded')
    expect(findingsOf(run)).toContainEqual(expect.objectContaining({ key: 'partition-waits-public.events_m63' }))
    expect((await world.tables())[0]).toBe('events_m63')
  })

  it('after the commit is no failure of the drop', async () => {
    world = await createPartitionWorld()
    await archiveOnly()
    const task = around({
      before: (kind) => {
        if (kind === 'write-manifest') throw Object.assign(new Error('too late'), { code: '57014' })
      },
    })
    const run = await world.go({}, { task })
    expect(findingsOf(run).map(({ key }) => key)).not.toContain('partition-waits-public.events_m63')
    expect(kindsOf(run).filter((kind) => kind === 'drop-partition')).toHaveLength(1)
    await world.goToEnd()
    expect(await world.tables()).toEqual(remaining)
    expect(await world.losses()).toEqual([])
  })
})

describe('an archive that is turned off half way', () => {
  it('keeps what is partly archived until there is a store again', async () => {
    world = await createPartitionWorld({ sql: `DELETE FROM ${events} WHERE id / 1000 = 60` })
    await archiveOnly()
    const run = await world.go({ archive: false }, { noStore: true })
    expect(findingsOf(run)).toContainEqual(
      expect.objectContaining({
        key: 'partition-waits-public.events_m63',
        summary: expect.stringMatching(/no cold storage is configured/) as string,
      }),
    )
    expect(run.task.run?.outcome).toBe('succeeded')
    expect((await world.tables())[0]).toBe('events_m63')
    await world.goToEnd()
    expect(await world.losses()).toEqual([])
  })
})

describe('a sequence', () => {
  it('that belongs to a partition lets its rows go one by one', async () => {
    world = await createPartitionWorld({
      sql: `CREATE SEQUENCE public.numbers OWNED BY public.events_m63.id;
        CREATE TABLE public.others (id bigint DEFAULT nextval('public.numbers'))`,
    })
    const run = await world.go()
    expect(findingsOf(run)).toMatchObject([
      { key: 'row-by-row-events', summary: expect.stringMatching(/sequence/) as string },
    ])
    expect(await world.tables()).toEqual(['events_m63*', ...remaining])
    expect(await world.count('public.events_m63')).toBe(0)
    expect(await world.count(events, 'false')).toBe(0)
  })
})

/** A transaction that is open while `work` runs. */
async function whileOpen(statement: string, work: () => Promise<void>): Promise<void> {
  const other = openConnections({ url: world.database.url, applicationName: 'other' })
  try {
    await other.transaction({ statementTimeoutMs: 60_000 }, async ({ db }) => {
      await sql.raw(statement).execute(db)
      await work()
    })
  } finally {
    await other.close()
  }
}

describe('a relation that another policy reaches into', () => {
  it('goes row by row: a detached partition would keep its foreign key to what that policy deletes', async () => {
    world = await createPartitionWorld({
      sql: `CREATE TABLE public.groups (id int PRIMARY KEY, at timestamptz NOT NULL);
        INSERT INTO public.groups VALUES (1, now() - interval '2400 days'), (2, now());
        ALTER TABLE ${events} ADD COLUMN group_id int REFERENCES public.groups (id) ON DELETE CASCADE;
        CREATE INDEX ON ${events} (group_id)`,
    })
    const members = [{ relation: events, columns: ['group_id'], references: ['id'], timeColumn: 'at' }]
    const groups = { name: 'groups', relation: 'public.groups', timeColumn: 'at', keep: '1800 days', members }
    const run = await world.go({}, { config: { policies: [policy, groups] } })
    expect(findingsOf(run)).toContainEqual(
      expect.objectContaining({
        key: 'row-by-row-events',
        summary: expect.stringMatching(/the policy groups is also about public\.events/) as string,
      }),
    )
    expect(await world.tables()).toEqual(['events_m63*', 'events_m62*', 'events_m61*', ...remaining])
    expect(await world.count(events, `at < now() - interval '1801 days'`)).toBe(0)
  })
})

const detach = 'ALTER TABLE public.events DETACH PARTITION public.events_m63'

describe('a detach by somebody else', () => {
  it('is theirs although ours was announced and refused before', async () => {
    world = await createPartitionWorld()
    await whileOpen(`LOCK TABLE ${events} IN SHARE UPDATE EXCLUSIVE MODE`, async () => {
      const run = await world.go({}, { config: { lockTimeout: '100ms' } })
      expect(findingsOf(run)).toContainEqual(expect.objectContaining({ key: 'locked-events' }))
    })
    expect((await world.tables())[0]).toBe('events_m63*')
    expect(await world.count('scheduler.retention_partition', `partition = 'public.events_m63'`)).toBe(0)
    await world.database.query(detach)
    await world.goToEnd()
    expect(await world.tables()).toEqual(['events_m63', ...remaining])
    expect(await world.count('public.events_m63')).toBe(100)
  })

  it('is theirs after they had attached again what we had detached', async () => {
    world = await createPartitionWorld()
    await archiveOnly()
    await world.database.query(attach)
    const noted = await world.go({ keep: '3000 days' })
    expect(findingsOf(noted)).toContainEqual(
      expect.objectContaining({ key: 'partition-attached-again-public.events_m63' }),
    )
    await world.database.query(detach)
    const left = await world.go({ keep: '3000 days' })
    expect(findingsOf(left)).toContainEqual(
      expect.objectContaining({
        key: 'partition-waits-public.events_m63',
        summary: expect.stringMatching(/somebody else detached it/) as string,
      }),
    )
    expect((await world.goToEnd()).at(-1)?.task.run?.outcome).toBe('succeeded')
    expect(await world.tables()).toEqual(['events_m63', ...remaining])
    expect(await world.count('public.events_m63')).toBe(100)
  })

  it('is theirs in a later slot, too', async () => {
    world = await createPartitionWorld()
    await archiveOnly()
    await world.database.query(attach)
    await world.go({ keep: '3000 days' })
    await world.go({ keep: '3000 days' })
    expect(await world.count('scheduler.retention_partition')).toBe(0)
    await world.database.query(detach)
    await world.goToEnd()
    expect(await world.tables()).toEqual(['events_m63', ...remaining])
  })
})

describe('a pending detach', () => {
  const leavePending = async () => {
    await whileOpen(`SELECT count(*) FROM ${events}`, async () => {
      await world.go({}, { config: { lockTimeout: '100ms' } })
    })
    expect((await world.tables())[0]).toBe('events_m63!')
  }

  it('that we may not end any more comes with the SQL that ends it', async () => {
    world = await createPartitionWorld()
    await leavePending()
    const run = await world.go({ detachPartitions: false })
    const finding = findingsOf(run).find(({ key }) => key === 'partition-pending-public.events_m63')
    expect(finding).toMatchObject({
      severity: 'error',
      details: { mend: ['ALTER TABLE "public"."events" DETACH PARTITION "public"."events_m63" FINALIZE'] },
    })
    expect(findingsOf(run).map(({ key }) => key)).not.toContain('partition-waits-public.events_m63')
  })

  it('of an earlier slot does not keep this one from ending', async () => {
    world = await createPartitionWorld()
    await whileOpen(`SELECT count(*) FROM ${events}`, async () => {
      const first = await world.go({}, { config: { lockTimeout: '100ms' } })
      expect(first.task.run?.outcome).toBe('partial')
      await world.database.query(
        `UPDATE scheduler.retention_partition SET announced_at = announced_at - interval '1 day'`,
      )
      const run = await world.go({}, { config: { lockTimeout: '100ms' } })
      expect(run.task.run?.outcome).toBe('succeeded')
      expect(findingsOf(run)).toContainEqual(
        expect.objectContaining({ key: 'partition-pending-public.events_m63', severity: 'warning' }),
      )
    })
    await world.goToEnd()
    expect(await world.tables()).toEqual(remaining)
    expect(await world.losses()).toEqual([])
  })
})

describe('a partition that waits', () => {
  it('is told of in every run of the slot', async () => {
    world = await createPartitionWorld({
      sql: `CREATE TABLE public.logs (id int PRIMARY KEY, at timestamptz NOT NULL);
        CREATE INDEX ON public.logs (at);
        INSERT INTO public.logs SELECT i, now() - interval '2000 days' + i * interval '1 minute' FROM generate_series(1, 300) i`,
    })
    await archiveOnly()
    await world.database.query(`INSERT INTO scheduler.archive_hold (policy, from_at, to_at, until, reason)
      VALUES ('events', '-infinity', now(), now() + interval '1 day', 'test')`)
    // So that both runs are of one slot: forced ones have a slot each.
    await world.database.query(`UPDATE scheduler.task SET last_slot_at = now() - interval '3 days'`)
    const logs = { name: 'logs', relation: 'public.logs', timeColumn: 'at', keep: '1800 days' }
    const config = { policies: [policy, logs], maxRowsPerRun: 150 }
    for (const outcome of ['partial', 'succeeded']) {
      const run = await world.go({}, { config })
      expect(findingsOf(run)).toContainEqual(expect.objectContaining({ key: 'partition-waits-public.events_m63' }))
      expect(run.task.run?.outcome).toBe(outcome)
    }
  })
})

describe('after a dump and a restore', () => {
  it('a partition that is attached there is one like any other', async () => {
    world = await createPartitionWorld()
    await archiveOnly()
    await world.database.query(attach)
    await world.database.query('UPDATE scheduler.retention_partition SET partition_oid = 4000000000')
    const [before] = await world.database.query<{ ids: string[] }>(
      'SELECT batch_ids::text[] AS ids FROM scheduler.retention_partition',
    )
    const runs = await world.goToEnd()
    expect(runs.flatMap(findingsOf)).toEqual([])
    expect(await world.tables()).toEqual(remaining)
    expect(await world.losses()).toEqual([])
    const states = await world.database.query(
      'SELECT DISTINCT state FROM scheduler.archive_batch WHERE id = ANY ($1::uuid[])',
      [before?.ids],
    )
    expect(states).toEqual([{ state: 'discarded' }])
  })
})

describe('adopting', () => {
  it('finds rows of detached partitions, which are live', async () => {
    world = await createPartitionWorld()
    await archiveOnly()
    // As the original does, from which this database was copied: it dropped the partition meanwhile.
    const store = await world.store()
    for (const name of await world.names('manifests/')) {
      const manifest = await readManifest(store, name)
      await writeManifest(store, { ...manifest, state: 'deleted', deletedAt: new Date() })
    }
    const run = await world.run({ request: { do: 'adopt' } })
    expect(run.task.run).toMatchObject({ outcome: 'succeeded', findings: [] })
    expect(await world.losses()).toEqual([])
    await world.goToEnd()
    expect(await world.tables()).toEqual(remaining)
    expect(await world.losses()).toEqual([])
  })
})
