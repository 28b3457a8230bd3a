/** Whole partitions, and other hands: a DBA who detaches and attaches, a configuration that changes half way, a store that is not ours. */
import type { Store } from '@battlescope/cold-storage'
import { openConnections } from '@battlescope/database'
import { sharedServer } from '@battlescope/scheduler-testing'
import { sql, type Kysely } from 'kysely'
import { afterEach, describe, expect, it } from 'vitest'
import { dropTable } from '../src/partition-queries.js'
import { around } from './partition-crash-child.js'
import { createPartitionWorld, events, policy, type PartitionWorld } from './partition-world.js'

let world: PartitionWorld
afterEach(() => world.close())

type Run = Awaited<ReturnType<PartitionWorld['go']>>
const kindsOf = ({ task }: Run) => (task.run?.actions ?? []).map(({ kind }) => kind)
const findingsOf = ({ task }: Run) => task.run?.findings ?? []
const all = ['events_m63*', 'events_m62*', 'events_m61*', 'events_m60*', 'events_m59*', 'events_m1*']
const remaining = ['events_m60*', 'events_m59*', 'events_m1*']

const attach = `DO $$ BEGIN EXECUTE (SELECT 'ALTER TABLE public.events ATTACH PARTITION public.events_m63 ' || bounds
  FROM scheduler.retention_partition WHERE partition = 'public.events_m63'); END $$`
const detach = 'ALTER TABLE public.events DETACH PARTITION public.events_m63'
const records = () => world.count('scheduler.retention_partition', `partition = 'public.events_m63'`)

/** The run ends before, or after, the first action of this kind. */
async function endAt(when: 'before' | 'after', kind: string): Promise<void> {
  const task = around({
    [when]: (next: string) => {
      if (next === kind) throw new Error('enough')
    },
  })
  await world.go({}, { task })
}

/** A store with some methods of its own. */
function withMethods(store: Store, methods: (store: Store) => Partial<Store>): Store {
  const own = methods(store)
  return new Proxy(store, {
    get(target, property) {
      const value = Reflect.get(property in own ? own : target, property) as unknown
      return typeof value === 'function' ? (value.bind(target) as unknown) : value
    },
  })
}

describe('a detach by hand', () => {
  it('after our run ended with the announcement is theirs, and is not told of', async () => {
    world = await createPartitionWorld()
    await endAt('before', 'detach-partition')
    expect(await records()).toBe(1)
    await world.database.query(detach)
    const runs = await world.goToEnd()
    expect(runs.flatMap(findingsOf)).toEqual([])
    expect(await world.tables()).toEqual(['events_m63', ...remaining])
    expect(await world.count('public.events_m63')).toBe(100)
    expect(await records()).toBe(0)
  })

  it.each([15, 17] as const)(
    'between two runs, after an attach that no run saw, is theirs (PostgreSQL %i)',
    async (major) => {
      world = await createPartitionWorld({ server: await sharedServer(major) })
      await endAt('before', 'drop-partition')
      expect((await world.tables())[0]).toBe('events_m63')
      await world.database.query(attach)
      await world.database.query(detach)
      const run = await world.go()
      expect(findingsOf(run)).toContainEqual(
        expect.objectContaining({ key: 'partition-waits-public.events_m63', severity: 'error' }),
      )
      await world.goToEnd()
      expect(await world.tables()).toEqual(['events_m63', ...remaining])
      expect(await world.count('public.events_m63')).toBe(100)
    },
  )

  it('that is pending, after an attach that no run saw, is theirs to end', async () => {
    world = await createPartitionWorld()
    await endAt('before', 'drop-partition')
    await world.database.query(attach)
    await leavePending()
    const run = await world.go()
    expect(findingsOf(run)).toContainEqual(expect.objectContaining({ key: 'partition-foreign-public.events_m63' }))
    expect(kindsOf(run)).not.toContain('finalize-detach')
    expect((await world.tables())[0]).toBe('events_m63!')
  })
})

/** Somebody's DETACH CONCURRENTLY stops half way, as when a reader outlives the lock timeout. */
async function leavePending(): Promise<void> {
  const connections = openConnections({ url: world.database.url, applicationName: 'other' })
  try {
    await connections.transaction({ statementTimeoutMs: 60_000 }, async ({ db }) => {
      await sql.raw(`SELECT count(*) FROM ${events}`).execute(db)
      const unit = { statementTimeoutMs: 20_000, lockTimeoutMs: 100, ticket: 'x' }
      const concurrently = connections.direct(unit, (session) => sql.raw(`${detach} CONCURRENTLY`).execute(session.db))
      await expect(concurrently).rejects.toMatchObject({ code: '55P03' })
    })
  } finally {
    await connections.close()
  }
}

describe('what hands do to a detached partition without meaning its place', () => {
  it.each([15, 17] as const)('does not keep it from going (PostgreSQL %i)', async (major) => {
    world = await createPartitionWorld({ server: await sharedServer(major) })
    await endAt('before', 'drop-partition')
    await world.database.query('GRANT SELECT ON public.events_m63 TO PUBLIC')
    await world.database.query('CREATE INDEX ON public.events_m63 (body)')
    const session = openConnections({ url: world.database.url, applicationName: 'other' })
    try {
      await session.direct({ statementTimeoutMs: 60_000, ticket: 'x' }, async ({ db }) => {
        for (const statement of ['REINDEX TABLE CONCURRENTLY', 'VACUUM FULL ANALYZE', 'VACUUM (FREEZE)'])
          await sql.raw(`${statement} public.events_m63`).execute(db)
      })
    } finally {
      await session.close()
    }
    const run = await world.go()
    expect(run.task.run).toMatchObject({ outcome: 'succeeded', findings: [] })
    expect(kindsOf(run)).not.toContain('reset-partition')
    expect(await world.tables()).toEqual(remaining)
    expect(await world.losses()).toEqual([])
  })
})

describe('rows of a detached partition that somebody removed', () => {
  const archivedRows = () =>
    world.count(
      `scheduler.archive_batch b JOIN scheduler.archive_object o ON o.batch_id = b.id AND b.state = 'deleted'`,
    )
  const make = () =>
    world.database
      .query(`DO $$ BEGIN EXECUTE (SELECT 'CREATE TABLE public.events_m63 PARTITION OF public.events ' || bounds
      FROM scheduler.retention_partition WHERE partition = 'public.events_m63'); END $$`)

  it('with the table, which was made anew under its name, are kept in the archive', async () => {
    world = await createPartitionWorld()
    await endAt('before', 'drop-partition')
    const objects = (await world.names('data/')).length
    expect(objects).toBeGreaterThan(0)
    await world.database.query('DROP TABLE public.events_m63')
    await make()
    const run = await world.go()
    expect(findingsOf(run)).toContainEqual(
      expect.objectContaining({ key: 'partition-rows-gone-public.events_m63', severity: 'error' }),
    )
    expect(await archivedRows()).toBeGreaterThanOrEqual(objects)
    await world.goToEnd()
    expect(await world.losses()).toEqual([])
  })

  it('by TRUNCATE are kept, and it waits', async () => {
    world = await createPartitionWorld()
    await endAt('before', 'drop-partition')
    const before = await world.names('data/')
    await world.database.query('TRUNCATE public.events_m63')
    const run = await world.go()
    expect(findingsOf(run)).toContainEqual(
      expect.objectContaining({ key: 'partition-waits-public.events_m63', severity: 'error' }),
    )
    expect(await world.names('data/')).toEqual(expect.arrayContaining([...before]))
    expect(await world.tables()).toContain('events_m63')
    await world.database.query('DROP TABLE public.events_m63')
    await world.goToEnd()
    expect(await world.losses()).toEqual([])
  })

  it('before they attached it again are kept', async () => {
    world = await createPartitionWorld()
    await endAt('before', 'drop-partition')
    await world.database.query(
      `DELETE FROM public.events_m63 WHERE id = (SELECT max(id) FROM public.events_m63); ${attach}`,
    )
    const run = await world.go()
    expect(findingsOf(run)).toContainEqual(expect.objectContaining({ key: 'partition-rows-gone-public.events_m63' }))
    expect(await archivedRows()).toBeGreaterThan(0)
    const lost = (await world.losses()).filter((problem) => !problem.includes('too many'))
    expect(lost).toEqual([])
  })

  it.each([
    ['are kept, and it waits', 'partition-waits', ''],
    ['and attached it again are kept', 'partition-rows-gone', attach],
  ])('when only a part was archived %s', async (_, key, then) => {
    world = await createPartitionWorld()
    let written = 0
    const task = around({
      before: (kind: string) => {
        if (kind === 'archive' && (written += 1) === 3) throw new Error('enough')
      },
    })
    await world.go({}, { task })
    const [row] = await world.database.query<{ rows: number }>(
      `SELECT row_count::int AS rows FROM scheduler.retention_partition WHERE partition = 'public.events_m63'`,
    )
    expect(row?.rows).toBeGreaterThan(0)
    expect(row?.rows).toBeLessThan(100)
    // In the middle of what is archived, whose ends stay.
    await world.database.query(`DELETE FROM public.events_m63 WHERE id BETWEEN 63003 AND 63005; ${then}`)
    const run = await world.go()
    expect(findingsOf(run)).toContainEqual(expect.objectContaining({ key: `${key}-public.events_m63` }))
    const lost = async () => (await world.losses()).filter((problem) => problem.includes('lost'))
    if (then !== '') expect(await lost()).toEqual([])
    await world.database.query('DROP TABLE public.events_m63')
    await world.goToEnd()
    if (then === '') expect(await lost()).toEqual([])
  })

  it('while the rest is being archived are kept', async () => {
    world = await createPartitionWorld()
    let written = 0
    const task = around({
      before: async (kind: string) => {
        if (kind === 'archive' && (written += 1) === 3) await world.database.query('TRUNCATE public.events_m63')
      },
    })
    const run = await world.go({}, { task })
    expect(findingsOf(run)).toContainEqual(expect.objectContaining({ key: 'partition-waits-public.events_m63' }))
    expect(await world.tables()).toContain('events_m63')
    await world.database.query('DROP TABLE public.events_m63')
    await world.goToEnd()
    const states = await world.database.query(`SELECT DISTINCT state FROM scheduler.archive_batch`)
    expect(states).toEqual([{ state: 'deleted' }])
  })

  it('with it, while another table took its name, do not take that one along', async () => {
    world = await createPartitionWorld()
    const [row] = await world.database.query<{ oid: string }>(`SELECT 'public.events_m63'::regclass::oid::text AS oid`)
    const connections = openConnections({ url: world.database.url, applicationName: 'test' })
    try {
      await connections.transaction({ statementTimeoutMs: 10_000 }, async ({ db }) => {
        const relation = { schema: 'public', name: 'events_m63' }
        await sql`SAVEPOINT before`.execute(db)
        expect(await dropTable(db as Kysely<unknown>, relation, row?.oid ?? '')).toBe(true)
        await sql`ROLLBACK TO before`.execute(db)
        expect(await dropTable(db as Kysely<unknown>, { schema: 'public', name: 'events_m62' }, row?.oid ?? '')).toBe(
          false,
        )
        await sql`ROLLBACK TO before`.execute(db)
      })
    } finally {
      await connections.close()
    }
  })
})

describe('an attach by hand', () => {
  it('of what a run detached, that ended before it could write that down, keeps it for the slot', async () => {
    world = await createPartitionWorld()
    await endAt('after', 'detach-partition')
    expect((await world.tables())[0]).toBe('events_m63')
    await world.database.query(attach)
    const run = await world.go()
    expect(findingsOf(run)).toMatchObject([{ key: 'partition-attached-again-public.events_m63', severity: 'warning' }])
    expect(await world.tables()).toEqual(['events_m63*', ...remaining])
    expect(await world.count('public.events_m63')).toBe(100)
    await world.goToEnd()
    expect(await world.tables()).toEqual(remaining)
    expect(await world.losses()).toEqual([])
  })
})

describe('a policy that changes when a partition is detached', () => {
  it('archives it all the same, although it says archive: false by now', async () => {
    world = await createPartitionWorld()
    await endAt('before', 'announce-batch')
    expect((await world.tables())[0]).toBe('events_m63')
    expect(await world.count('scheduler.archive_batch')).toBe(0)
    const logs = { name: 'logs', relation: 'public.logs', timeColumn: 'at' }
    const run = await world.go({}, { config: { policies: [{ ...policy, archive: false }, logs] } })
    expect(run.task.run).toMatchObject({ outcome: 'succeeded', findings: [] })
    const [row] = await world.database.query(
      `SELECT sum(o.row_count)::int AS rows FROM scheduler.archive_object o JOIN scheduler.archive_batch b ON b.id = o.batch_id
       WHERE b.state = 'deleted'`,
    )
    expect(row).toEqual({ rows: 100 })
    expect(await world.tables()).toEqual(remaining)
  })

  it('keeps it where there is no cold storage any more', async () => {
    world = await createPartitionWorld({ sql: `DELETE FROM ${events} WHERE id / 1000 <> 63 AND id / 1000 > 59` })
    await endAt('before', 'announce-batch')
    const run = await world.go({ archive: false }, { noStore: true })
    expect(findingsOf(run)).toContainEqual(
      expect.objectContaining({
        key: 'partition-waits-public.events_m63',
        summary: expect.stringMatching(/no cold storage is configured/) as string,
      }),
    )
    expect(await world.count('public.events_m63')).toBe(100)
    await world.goToEnd()
    expect(await world.losses()).toEqual([])
  })

  it('leaves it where rows go along by now', async () => {
    world = await createPartitionWorld({
      sql: `CREATE TABLE public.notes (n int PRIMARY KEY, at timestamptz, id bigint);
        CREATE INDEX ON public.notes (at, id);
        INSERT INTO public.notes SELECT id, at, id FROM ${events} WHERE id % 10 = 0`,
    })
    await endAt('before', 'drop-partition')
    const children = [{ relation: 'public.notes', columns: ['at', 'id'], references: ['at', 'id'] }]
    const run = await world.go({ children })
    expect(findingsOf(run)).toContainEqual(
      expect.objectContaining({
        key: 'partition-waits-public.events_m63',
        summary: expect.stringMatching(/the policy events has children/) as string,
      }),
    )
    expect(await world.count('public.events_m63')).toBe(100)
    expect(await world.count('public.notes', 'n / 1000 = 63')).toBe(10)
  })
})

describe('nothing is detached', () => {
  it('in a copy of the database, whose store is not its own, nor planned', async () => {
    world = await createPartitionWorld()
    // Half of the oldest partition: by its rows, and so the store is this database's.
    await world.go({ keep: '1890 days' })
    expect(await world.count('scheduler.archive_owner')).toBe(1)
    await world.database.query(`UPDATE scheduler.archive_owner SET database = 'the original'`)
    const plan = await world.go({}, { dryRun: true })
    expect(kindsOf(plan)).not.toContain('detach-partition')
    const run = await world.go()
    expect(findingsOf(run)).toContainEqual(expect.objectContaining({ key: 'archive-not-ours', severity: 'critical' }))
    expect(await world.tables()).toEqual(all)
    expect(kindsOf(run)).not.toContain('announce-detach')
  })

  it('while the store cannot be written to', async () => {
    world = await createPartitionWorld()
    const failing = () => Promise.reject(Object.assign(new Error('no answer'), { code: 'store-unavailable' }))
    const run = await world.go({}, { wrap: (store) => withMethods(store, () => ({ put: failing })) })
    expect(findingsOf(run)).toContainEqual(expect.objectContaining({ key: 'store-failed' }))
    expect(await world.tables()).toEqual(all)
  })

  it.each([
    [
      'a policy of another table',
      `CREATE TABLE public.others (id int); CREATE POLICY p ON public.others USING (EXISTS (SELECT FROM public.events_m63))`,
    ],
    ['a domain over its rows', 'CREATE DOMAIN public.old_event AS public.events_m63'],
  ])('that DROP TABLE would refuse: %s', async (_, prepare) => {
    world = await createPartitionWorld({ sql: prepare })
    const run = await world.go()
    expect(findingsOf(run)).toMatchObject([{ key: 'row-by-row-events', severity: 'info' }])
    expect(await world.tables()).toEqual(['events_m63*', ...remaining])
    expect(await world.count('public.events_m63')).toBe(0)
    expect(await world.losses()).toEqual([])
  })
})

describe('an event trigger that forbids DROP TABLE', () => {
  it('keeps the partition, with the SQL that attaches it, and fails no run', async () => {
    world = await createPartitionWorld({
      sql: `CREATE FUNCTION forbid() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'ask first'; END $$;
        CREATE EVENT TRIGGER forbid ON ddl_command_start WHEN TAG IN ('DROP TABLE') EXECUTE FUNCTION forbid()`,
    })
    const run = await world.go()
    expect(run.task.run?.outcome).toBe('succeeded')
    expect(findingsOf(run)).toMatchObject([
      { key: 'partition-waits-public.events_m63', summary: expect.stringMatching(/ask first/) as string },
    ])
    expect((await world.tables()).slice(0, 2)).toEqual(['events_m63', 'events_m62*'])
    await world.database.query('DROP EVENT TRIGGER forbid')
    await world.goToEnd()
    expect(await world.losses()).toEqual([])
  })
})

describe('another partition', () => {
  it('that somebody drops meanwhile does not fail the run', async () => {
    world = await createPartitionWorld()
    let dropped = false
    const wrap = (store: Store) =>
      withMethods(store, (own) => ({
        put: async (...args) => {
          if (!dropped && args[0].startsWith('manifests/')) {
            dropped = true
            await world.database.query('DROP TABLE public.events_m62')
          }
          return own.put(...args)
        },
      }))
    const run = await world.go({}, { wrap })
    expect(run.task.run?.outcome).toBe('succeeded')
    expect(await world.tables()).toEqual(remaining)
  })
})

describe('what is read back before the drop', () => {
  it('is not read once more by the next run, where one is too short for all of it', async () => {
    world = await createPartitionWorld()
    await endAt('before', 'drop-partition')
    const names = await world.names('data/')
    expect(names.length).toBeGreaterThanOrEqual(3)
    const read: string[] = []
    const stop = new AbortController()
    const wrap = (store: Store) =>
      withMethods(store, (own) => ({
        get: (...args) => {
          if (names.includes(args[0])) {
            read.push(args[0])
            stop.abort(new Error('enough'))
          }
          return own.get(...args)
        },
      }))
    const first = await world.go({}, { wrap, stop: stop.signal })
    expect(first.task.run?.outcome).toBe('partial')
    expect((await world.tables())[0]).toBe('events_m63')
    expect(read.length).toBeGreaterThanOrEqual(1)
    expect(read.length).toBeLessThan(names.length)
    await world.go({}, { wrap })
    expect([...read].sort()).toEqual([...names].sort())
    expect(await world.tables()).toEqual(remaining)
    expect(await world.losses()).toEqual([])
  })

  it('is looked up again all the same', async () => {
    world = await createPartitionWorld()
    await endAt('before', 'drop-partition')
    await world.database.query(
      `UPDATE scheduler.retention_partition SET checked_ids = batch_ids, checked_since = now()`,
    )
    const [name = ''] = await world.names('data/')
    await (await world.store()).delete(name)
    const run = await world.go()
    expect(kindsOf(run)).toContain('reset-partition')
    expect(await world.tables()).toEqual(remaining)
    expect(await world.losses()).toEqual([])
  })
})

describe('an announcement', () => {
  it('stays while a session that may send its DETACH is there, and nothing else is detached meanwhile', async () => {
    world = await createPartitionWorld()
    await endAt('before', 'detach-partition')
    const session = openConnections({ url: world.database.url, applicationName: 'paused' })
    try {
      await session.direct({ statementTimeoutMs: 60_000, ticket: 'x' }, async ({ db }) => {
        await sql`UPDATE scheduler.retention_partition SET session_name = current_setting('application_name')`.execute(
          db,
        )
        const run = await world.go()
        expect(run.task.run?.outcome).toBe('partial')
        expect(await records()).toBe(1)
        expect(await world.tables()).toEqual(all)
        await sql.raw(`${detach} CONCURRENTLY`).execute(db)
      })
    } finally {
      await session.close()
    }
    expect((await world.goToEnd()).at(-1)?.task.run).toMatchObject({ outcome: 'succeeded', findings: [] })
    expect(await world.tables()).toEqual(remaining)
    expect(await world.losses()).toEqual([])
  })

  it('that was taken back meanwhile lets nothing be sent', async () => {
    world = await createPartitionWorld()
    const connections = openConnections({ url: world.database.url, applicationName: 'later' })
    try {
      // Where a process is paused: the session is there, and the announcement is not any more.
      const task = world.go(
        {},
        {
          around: (own) => ({
            reader: (unit) => own.reader(unit),
            snapshot: (unit, read) => own.snapshot(unit, read),
            transaction: (unit, work) => own.transaction(unit, work),
            direct: async (unit, work) => {
              await connections.transaction({ statementTimeoutMs: 20_000 }, ({ db }) =>
                sql`DELETE FROM scheduler.retention_partition`.execute(db),
              )
              return own.direct(unit, work)
            },
          }),
        },
      )
      expect((await task).task.run).toMatchObject({ outcome: 'failed' })
    } finally {
      await connections.close()
    }
    expect(await world.tables()).toEqual(all)
    expect((await world.goToEnd()).at(-1)?.task.run).toMatchObject({ outcome: 'succeeded', findings: [] })
    expect(await world.tables()).toEqual(remaining)
  })
})

describe.each([15, 17] as const)('on PostgreSQL %i', (major) => {
  it('partitions with a foreign key, a trigger, an identity and generated columns go as a whole', async () => {
    world = await createPartitionWorld({
      server: await sharedServer(major),
      sql: `CREATE TABLE public.kinds (id int PRIMARY KEY);
        INSERT INTO public.kinds SELECT generate_series(0, 2);
        ALTER TABLE ${events} ADD COLUMN kind int REFERENCES public.kinds (id);
        UPDATE ${events} SET kind = id % 3;
        ALTER TABLE ${events} ADD COLUMN twice numeric GENERATED ALWAYS AS (amount * 2) STORED;
        CREATE SEQUENCE public.numbers OWNED BY ${events}.id;
        ALTER TABLE ${events} ALTER COLUMN id SET DEFAULT nextval('public.numbers');
        CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
        CREATE TRIGGER touch BEFORE INSERT ON ${events} FOR EACH ROW EXECUTE FUNCTION touch();`,
    })
    const run = await world.go()
    expect(run.task.run).toMatchObject({ outcome: 'succeeded', findings: [] })
    expect(await world.tables()).toEqual(remaining)
    await expect(world.database.query('DELETE FROM public.kinds WHERE id = 1')).rejects.toMatchObject({ code: '23503' })
    await world.database.query(`DELETE FROM ${events}`)
    await world.database.query('DELETE FROM public.kinds')
  })
})
