/** Whole partitions on a real server: what goes, what stays, and what nobody loses when others work on the relation meanwhile. */
import { openConnections } from '@battlescope/database'
import type { Store } from '@battlescope/cold-storage'
import { leakCheck, sharedServer } from '@battlescope/scheduler-testing'
import { sql } from 'kysely'
import { afterEach, describe, expect, it } from 'vitest'
import { beginOf, createPartitionWorld, events, type PartitionWorld } from './partition-world.js'
import type { RunChange } from './world.js'

let world: PartitionWorld
afterEach(() => world.close())

type Run = Awaited<ReturnType<PartitionWorld['go']>>
const kindsOf = ({ task }: Run) => (task.run?.actions ?? []).map(({ kind }) => kind)
const findingsOf = ({ task }: Run) => task.run?.findings ?? []
const all = ['events_m63*', 'events_m62*', 'events_m61*', 'events_m60*', 'events_m59*', 'events_m1*']
const remaining = ['events_m60*', 'events_m59*', 'events_m1*']
/** Rows of the partition in which the horizon lies: they go one by one. */
const expired = `at < now() - interval '1801 days'`

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

/** Lets something happen whenever the task writes an object whose name fits, at most so often. */
function when(name: RegExp, most: number, happens: (time: number) => Promise<unknown>): (store: Store) => Store {
  let times = 0
  return (store) =>
    new Proxy(store, {
      get(target, property) {
        const value = Reflect.get(target, property) as unknown
        if (property !== 'put') return typeof value === 'function' ? (value.bind(target) as unknown) : value
        return async (...args: Parameters<Store['put']>) => {
          if (times < most && name.test(args[0])) {
            times += 1
            await happens(times)
          }
          return target.put(...args)
        }
      },
    })
}

/** The detach stops half way, as when a reader outlives the lock timeout. */
const leavePending = async (partition: string) => {
  await whileOpen(`SELECT count(*) FROM ${events}`, async () => {
    const session = openConnections({ url: world.database.url, applicationName: 'detach' })
    try {
      const unit = { statementTimeoutMs: 20_000, lockTimeoutMs: 100, ticket: 'x' }
      const detach = session.direct(unit, ({ db }) =>
        sql.raw(`ALTER TABLE ${events} DETACH PARTITION ${partition} CONCURRENTLY`).execute(db),
      )
      await expect(detach).rejects.toMatchObject({ code: '55P03' })
    } finally {
      await session.close()
    }
  })
}

describe.each([15, 17] as const)('expired partitions on PostgreSQL %i', (major) => {
  it('are detached, archived and dropped; the others are handled row by row', async () => {
    world = await createPartitionWorld({ server: await sharedServer(major) })
    const run = await world.go()
    expect(run.task.run).toMatchObject({ outcome: 'succeeded', findings: [] })
    expect(await world.tables()).toEqual(remaining)
    expect(await world.count(events, expired)).toBe(0)
    expect(await world.count(events)).toBeGreaterThanOrEqual(200)
    expect(await world.losses()).toEqual([])
    const kinds = kindsOf(run)
    expect(kinds.filter((kind) => /partition|detach/.test(kind))).toEqual(
      [1, 2, 3].flatMap(() => ['announce-detach', 'detach-partition', 'confirm-detach', 'drop-partition']),
    )
    expect(run.task.run?.metrics).toContainEqual(expect.objectContaining({ name: 'partitions_dropped', value: 3 }))
    // 300 rows of partitions, each of which lies in two months, and those of the horizon's own one by one.
    const [dropped] = await world.database.query(
      `SELECT count(*)::int, sum(row_count)::int AS rows, bool_and(cardinality(batch_ids) >= 3) AS batches
       FROM scheduler.retention_partition WHERE dropped_at IS NOT NULL`,
    )
    expect(dropped).toEqual({ count: 3, rows: 300, batches: true })
    const again = await world.go()
    expect(kindsOf(again)).toEqual([])
    await leakCheck(world.database.url)
  })

  it('that an open reader keeps pending are finalized by a later run, and only then archived', async () => {
    world = await createPartitionWorld({ server: await sharedServer(major) })
    await whileOpen(`SELECT count(*) FROM ${events}`, async () => {
      const run = await world.go({}, { config: { lockTimeout: '100ms' } })
      expect(run.task.run?.outcome).toBe('partial')
      expect(findingsOf(run)).toMatchObject([
        {
          key: 'partition-pending-public.events_m63',
          severity: 'warning',
          details: { error: expect.any(String) as string },
        },
      ])
      expect((await world.tables())[0]).toBe('events_m63!')
      // The others wait: one detach at a time, and not row by row meanwhile.
      expect(await world.count('public.events_m62')).toBe(100)
      expect(await world.losses()).toEqual([])
      const next = await world.go({}, { config: { lockTimeout: '100ms' } })
      expect(kindsOf(next).filter((kind) => kind === 'finalize-detach').length).toBeGreaterThanOrEqual(1)
      expect((await world.tables())[0]).toBe('events_m63!')
    })
    const runs = await world.goToEnd()
    expect(kindsOf(runs[0]!)).toContain('finalize-detach')
    expect(runs.at(-1)?.task.run).toMatchObject({ outcome: 'succeeded', findings: [] })
    expect(await world.tables()).toEqual(remaining)
    expect(await world.losses()).toEqual([])
  })

  it('whose detach somebody else began are left alone, with a finding that says how to end it', async () => {
    world = await createPartitionWorld({ server: await sharedServer(major) })
    await leavePending('public.events_m63')
    const run = await world.go()
    expect(findingsOf(run)).toMatchObject([
      {
        key: 'partition-foreign-public.events_m63',
        details: { mend: ['ALTER TABLE "public"."events" DETACH PARTITION "public"."events_m63" FINALIZE'] },
      },
    ])
    expect(await world.tables()).toEqual(['events_m63!', ...all.slice(1)])
    expect(await world.count('public.events_m62')).toBe(100)
    const [{ details } = { details: {} }] = findingsOf(run)
    await world.database.query((details as { mend: string[] }).mend[0] ?? '')
    await world.database.query('DROP TABLE public.events_m63')
    await world.goToEnd()
    expect(await world.tables()).toEqual(remaining)
  })
})

describe('rows that arrive', () => {
  it('while the detach waits for them are archived, too', async () => {
    world = await createPartitionWorld()
    let run: Promise<Run> | undefined
    await whileOpen(
      `INSERT INTO ${events} (id, at, body) VALUES (1, ${beginOf(63)} + interval '29 days', 'late')`,
      async () => {
        run = world.go({}, { config: { lockTimeout: '20s' } })
        // The detach is on its way once it is pending: it waits for this transaction.
        await expect.poll(async () => (await world.tables())[0], { timeout: 30_000 }).toBe('events_m63!')
      },
    )
    expect((await run)?.task.run).toMatchObject({ outcome: 'succeeded', findings: [] })
    expect(await world.tables()).toEqual(remaining)
    await world.database.query(
      `INSERT INTO original.events (id, at, body) SELECT 1, lower_at + interval '29 days', 'late'
       FROM (SELECT min(at) - interval '6 hours' AS lower_at FROM original.events) o`,
    )
    expect(await world.losses()).toEqual([])
  })

  it.each([
    ['inserted', `INSERT INTO public.events_m63 (id, at, body) SELECT 7, min(at), 'late' FROM public.events_m63`],
    ['updated', `UPDATE public.events_m63 SET body = 'changed' WHERE id = 63005`],
  ])('or are %s between archive and drop make it archived anew', async (_, change) => {
    world = await createPartitionWorld()
    const wrap = when(/^manifests\//, 1, async () => {
      await world.database.query(change)
      await world.database.query(`DELETE FROM original.events WHERE id / 1000 = 63;
        INSERT INTO original.events SELECT id, at, body, amount, tags FROM public.events_m63`)
    })
    const run = await world.go({}, { wrap, config: { batchRows: 200 } })
    expect(run.task.run).toMatchObject({ outcome: 'succeeded', findings: [] })
    expect(kindsOf(run)).toContain('reset-partition')
    expect(await world.tables()).toEqual(remaining)
    expect(await world.losses()).toEqual([])
  })

  it('or are deleted between archive and drop make it wait, with every copy', async () => {
    world = await createPartitionWorld()
    const wrap = when(/^manifests\//, 1, () => world.database.query('DELETE FROM public.events_m63 WHERE id = 63005'))
    const run = await world.go({}, { wrap, config: { batchRows: 200 } })
    expect(findingsOf(run)).toMatchObject([{ key: 'partition-waits-public.events_m63', severity: 'error' }])
    expect(kindsOf(run)).not.toContain('reset-partition')
    await world.database.query('DROP TABLE public.events_m63')
    await world.goToEnd()
    expect(await world.tables()).toEqual(remaining)
    expect(await world.losses()).toEqual([])
  })

  it('with a column that came after the copy are archived anew, with it', async () => {
    world = await createPartitionWorld()
    const wrap = when(/^manifests\//, 1, () =>
      world.database.query('ALTER TABLE public.events_m63 ADD COLUMN extra int DEFAULT 5'),
    )
    const run = await world.go({}, { wrap, config: { batchRows: 200 } })
    expect(kindsOf(run)).toContain('reset-partition')
    expect(await world.tables()).toEqual(remaining)
    const [row] = await world.database.query(
      `SELECT bool_and(columns @> '[{"name": "extra"}]') AS all, sum(row_count)::int AS rows FROM scheduler.archive_object
       WHERE batch_id = ANY ((SELECT batch_ids FROM scheduler.retention_partition WHERE partition = 'public.events_m63')::uuid[])`,
    )
    expect(row).toEqual({ all: true, rows: 100 })
  })

  it('again and again keep the partition, detached, with the SQL that attaches it', async () => {
    world = await createPartitionWorld()
    const wrap = when(/^manifests\//, 100, (time) =>
      world.database.query(`UPDATE public.events_m63 SET body = '${time}' WHERE id = 63100`),
    )
    const run = await world.go({}, { wrap, config: { batchRows: 200 } })
    const [finding] = findingsOf(run)
    expect(finding).toMatchObject({
      key: 'partition-waits-public.events_m63',
      summary: expect.stringMatching(/somebody writes into it: 3 times/) as string,
    })
    // Nor is another one begun.
    expect(await world.tables()).toEqual(['events_m63', ...all.slice(1)])
    expect(await world.count('public.events_m63')).toBe(100)
    await world.database.query((finding?.details as { mend: string[] }).mend[0] ?? '')
    expect((await world.tables())[0]).toBe('events_m63*')
  })
})

describe('a detached partition', () => {
  /** Detached, and the store fails: so it stays for a while. */
  const detachOnly = async () => {
    const failing = (store: Store): Store =>
      new Proxy(store, {
        get(target, property) {
          const value = Reflect.get(target, property) as unknown
          if (property !== 'put') return typeof value === 'function' ? (value.bind(target) as unknown) : value
          return (...args: Parameters<Store['put']>) =>
            args[0].startsWith('data/')
              ? Promise.reject(Object.assign(new Error('the disk is full'), { code: 'store-failed' }))
              : target.put(...args)
        },
      })
    const run = await world.go({}, { wrap: failing })
    expect(run.task.run).toMatchObject({ outcome: 'partial', findings: [{ key: 'store-failed' }] })
    expect((await world.tables()).slice(0, 2)).toEqual(['events_m63', 'events_m62*'])
    expect(await world.losses()).toEqual([])
  }
  const attach = `DO $$ BEGIN EXECUTE (SELECT 'ALTER TABLE public.events ATTACH PARTITION public.events_m63 ' || bounds
    FROM scheduler.retention_partition); END $$`

  it('is archived and dropped by the next run', async () => {
    world = await createPartitionWorld()
    await detachOnly()
    expect((await world.go()).task.run).toMatchObject({ outcome: 'succeeded', findings: [] })
    expect(await world.tables()).toEqual(remaining)
    expect(await world.losses()).toEqual([])
  })

  it('that somebody attached again stays for that slot, and goes in the next', async () => {
    world = await createPartitionWorld()
    await detachOnly()
    await world.database.query(attach)
    const run = await world.go()
    expect(findingsOf(run)).toMatchObject([{ key: 'partition-attached-again-public.events_m63', severity: 'warning' }])
    expect(await world.tables()).toEqual(['events_m63*', ...remaining])
    expect(await world.count('public.events_m63')).toBe(100)
    expect(await world.losses()).toEqual([])
    expect((await world.go()).task.run).toMatchObject({ outcome: 'succeeded', findings: [] })
    expect(await world.tables()).toEqual(remaining)
    expect(await world.losses()).toEqual([])
  })

  it.each([
    [
      'a hold',
      `INSERT INTO scheduler.archive_hold (policy, from_at, to_at, until, reason) VALUES ('events', '-infinity', now(), now() + interval '1 day', 'test')`,
      {},
    ],
    ['a longer period', 'SELECT 1', { keep: '3000 days' }],
    ['a policy that is gone', 'SELECT 1', { name: 'other' }],
    [
      'a table that took its name',
      'ALTER TABLE public.events_m63 RENAME TO kept; CREATE TABLE public.events_m63 (id int)',
      {},
    ],
  ])('is not dropped under %s, and a finding says how to attach it', async (_, change, policy) => {
    world = await createPartitionWorld()
    await detachOnly()
    await world.database.query(change)
    const run = await world.go(policy)
    expect(findingsOf(run)).toContainEqual(
      expect.objectContaining({ key: 'partition-waits-public.events_m63', severity: 'error' }),
    )
    const [row] = await world.database.query(`SELECT count(*)::int FROM pg_class WHERE oid =
      (SELECT partition_oid FROM scheduler.retention_partition WHERE partition = 'public.events_m63')`)
    expect(row).toEqual({ count: 1 })
  })

  it('that somebody dropped leaves the copies of its rows in the archive', async () => {
    world = await createPartitionWorld()
    // Two of three batches are archived when the budget ends.
    let put = 0
    const stop = new AbortController()
    const wrap = when(/^data\//, 3, () => {
      put += 1
      if (put === 3) stop.abort(new Error('enough'))
      return Promise.resolve()
    })
    await world.go({}, { wrap, hardStop: stop.signal })
    const kept = await world.database.query<{ id: string }>(
      'SELECT unnest(batch_ids)::text AS id FROM scheduler.retention_partition',
    )
    expect(kept).toHaveLength(2)
    await world.database.query('DROP TABLE public.events_m63')
    await world.database.query(`UPDATE scheduler.claim SET expires_at = now() - interval '1 second'`)
    const run = await world.go()
    expect(findingsOf(run)).toMatchObject([{ key: 'partition-gone-public.events_m63', severity: 'error' }])
    const states = await world.database.query(
      'SELECT DISTINCT state FROM scheduler.archive_batch WHERE id = ANY ($1::uuid[])',
      [kept.map(({ id }) => id)],
    )
    expect(states).toEqual([{ state: 'deleted' }])
  })
})

describe('rails', () => {
  it('count the rows of partitions: one run takes as many as it may, and the next goes on', async () => {
    world = await createPartitionWorld()
    const config = { maxRowsPerRun: 250 }
    const first = await world.go({}, { config })
    expect(first.task.run?.outcome).toBe('partial')
    expect(await world.tables()).toEqual(['events_m61*', ...remaining])
    const runs = await world.goToEnd({}, { config })
    expect(runs.at(-1)?.task.run).toMatchObject({ outcome: 'succeeded', findings: [] })
    expect(await world.tables()).toEqual(remaining)
    expect(await world.losses()).toEqual([])
  })

  it('leave a partition with more rows to go row by row, and say so', async () => {
    world = await createPartitionWorld()
    const run = await world.go({}, { config: { maxRowsPerRun: 60 } })
    expect(findingsOf(run)).toMatchObject([
      {
        key: 'row-by-row-events',
        severity: 'info',
        details: {
          reasons: expect.arrayContaining([
            'public.events_m63 has 100 rows, and one run deletes at most 60',
          ]) as string[],
        },
      },
    ])
    expect(await world.tables()).toEqual(all)
    expect(await world.count(events)).toBe(540)
  })

  it('keep the partition of the newest row, and the last one', async () => {
    world = await createPartitionWorld({
      sql: `DELETE FROM ${events} WHERE at >= ${beginOf(61)} + interval '2 days'`,
    })
    await world.goToEnd()
    expect(await world.tables()).toEqual(['events_m61*', ...remaining])
    expect(await world.count(events)).toBe(1)
    await world.database.query(`DROP TABLE public.events_m60, public.events_m59, public.events_m1`)
    await world.database.query(`TRUNCATE ${events}`)
    await world.goToEnd()
    expect(await world.tables()).toEqual(['events_m61*'])
  })

  it('keep what a hold covers', async () => {
    world = await createPartitionWorld()
    await world.run({ config: { policies: [] } })
    await world.database.query(`INSERT INTO scheduler.archive_hold (policy, from_at, to_at, until, reason)
      VALUES ('events', ${beginOf(62)}, ${beginOf(61)}, now() + interval '1 day', 'test')`)
    const run = await world.go()
    expect(findingsOf(run)).toMatchObject([
      { key: 'row-by-row-events', details: { reasons: ['100 rows of public.events_m62 must stay'] } },
    ])
    expect(await world.tables()).toEqual(['events_m62*', ...remaining])
    expect(await world.count('public.events_m62')).toBe(100)
  })
})

describe('without an archive', () => {
  it('partitions are detached and dropped, and no store is needed', async () => {
    world = await createPartitionWorld()
    const run = await world.go({ archive: false }, { noStore: true })
    expect(run.task.run).toMatchObject({ outcome: 'succeeded', findings: [] })
    expect(await world.tables()).toEqual(remaining)
    expect(await world.count(events, expired)).toBe(0)
    expect(await world.count('scheduler.archive_batch')).toBe(0)
  })
})

describe('a plan', () => {
  it('lists the partitions that would go, with rows and bytes, and the rows of the others', async () => {
    world = await createPartitionWorld()
    await world.run({ config: { policies: [] } })
    const run = await world.go({}, { dryRun: true })
    const actions = (run.task.run?.actions ?? []).filter(({ kind }) => !kind.endsWith('-owner'))
    expect(actions.slice(0, 3)).toMatchObject([
      {
        kind: 'detach-partition',
        target: events,
        via: 'direct',
        reason: expect.stringMatching(/^events: partition public\.events_m63, 100 rows, [1-9]\d* bytes$/) as string,
      },
      { kind: 'archive', target: events, via: 'store' },
      { kind: 'drop-partition', target: events },
    ])
    expect(actions.map(({ kind }) => kind).filter((kind) => kind === 'detach-partition')).toHaveLength(3)
    const rows = actions.find(({ kind }) => kind === 'delete-rows')?.reason ?? ''
    expect(Number(/^events: (\d+) rows/.exec(rows)?.[1])).toBeLessThan(100)
    expect(await world.tables()).toEqual(all)
    expect(await world.count('scheduler.retention_partition')).toBe(0)
  })

  it('takes no more than one run may', async () => {
    world = await createPartitionWorld()
    const run = await world.go({}, { dryRun: true, config: { maxRowsPerRun: 250 } })
    expect(kindsOf(run).filter((kind) => kind === 'detach-partition')).toHaveLength(2)
  })
})

describe('row by row goes', () => {
  const withoutSession: RunChange['around'] = (connections) => ({
    reader: (unit) => connections.reader(unit),
    snapshot: (unit, read) => connections.snapshot(unit, read),
    transaction: (unit, work) => connections.transaction(unit, work),
    direct: () => Promise.reject(Object.assign(new Error('leads through a pooler'), { code: 'no-direct-connection' })),
  })

  const knownToBePooled: RunChange['around'] = (connections) => ({
    ...(withoutSession(connections) as typeof connections),
    hasDirect: false,
  })

  it('announces nothing where there is only a pooler, and plans nothing', async () => {
    world = await createPartitionWorld()
    const planned = await world.go({}, { around: knownToBePooled, dryRun: true })
    expect(kindsOf(planned)).not.toContain('detach-partition')
    const done = await world.go({}, { around: knownToBePooled })
    expect(kindsOf(done)).not.toContain('announce-detach')
    expect(kindsOf(done)).not.toContain('detach-partition')
    expect(await world.losses()).toEqual([])
  })

  it.each<[string, { readonly sql?: string; readonly policy?: object; readonly run?: RunChange }, RegExp]>([
    [
      'a default partition',
      { sql: `CREATE TABLE public.events_rest PARTITION OF ${events} DEFAULT` },
      /default partition/,
    ],
    ['detachPartitions: false', { policy: { detachPartitions: false } }, /detachPartitions is off/],
    [
      'a referencing foreign key, covered by a child',
      {
        sql: `CREATE TABLE public.notes (n int PRIMARY KEY, at timestamptz, id bigint, FOREIGN KEY (at, id) REFERENCES ${events} (at, id));
          CREATE INDEX ON public.notes (at, id);
          INSERT INTO public.notes SELECT id, at, id FROM ${events} WHERE id % 10 = 0`,
        policy: { children: [{ relation: 'public.notes', columns: ['at', 'id'], references: ['at', 'id'] }] },
      },
      /has children/,
    ],
    ['no direct connection', { run: { around: withoutSession } }, /leads through a pooler/],
    [
      'none that is known beforehand',
      { run: { around: knownToBePooled } },
      /no direct connection: set DATABASE_DIRECT_URL/,
    ],
    ['a publication', { sql: `CREATE PUBLICATION p FOR TABLE ${events}` }, /publication/],
    [
      'a trigger that DROP TABLE would not fire',
      {
        sql: `CREATE FUNCTION noop() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN old; END';
          CREATE TRIGGER audit BEFORE DELETE ON ${events} FOR EACH ROW EXECUTE FUNCTION noop()`,
        policy: { allowTriggers: true },
      },
      /trigger audit/,
    ],
  ])('a relation with %s', async (_, { sql = '', policy = {}, run = {} }, why) => {
    world = await createPartitionWorld({ sql })
    const done = await world.go(policy, run)
    expect(findingsOf(done)).toContainEqual(
      expect.objectContaining({ key: 'row-by-row-events', summary: expect.stringMatching(why) as string }),
    )
    expect(await world.tables()).toEqual(all)
    expect(await world.count(events, expired)).toBe(0)
  })

  it.each([
    ['a view names', 'CREATE VIEW public.oldest AS SELECT id FROM public.events_m63', /names public\.events_m63/],
    [
      'is partitioned itself',
      `ALTER TABLE ${events} DETACH PARTITION public.events_m63; DROP TABLE public.events_m63;
       DO $$ BEGIN EXECUTE format('CREATE TABLE public.events_old PARTITION OF public.events FOR VALUES FROM (%L) TO (%L) PARTITION BY HASH (id)',
         ${beginOf(63)}, ${beginOf(62)}); END $$;
       CREATE TABLE public.events_m63 PARTITION OF public.events_old FOR VALUES WITH (MODULUS 1, REMAINDER 0);
       INSERT INTO ${events} SELECT i, ${beginOf(63)} + interval '1 day', 'x' FROM generate_series(1, 9) i`,
      /public\.events_old is partitioned itself/,
    ],
  ])('a partition that %s, and the others as a whole', async (_, sql, why) => {
    world = await createPartitionWorld({ sql })
    const run = await world.go()
    expect(findingsOf(run)).toMatchObject([
      { key: 'row-by-row-events', severity: 'info', summary: expect.stringMatching(why) as string },
    ])
    expect(await world.tables()).toEqual(['events_m63*', ...remaining])
    expect(await world.count('public.events_m63')).toBe(0)
    expect(await world.losses()).toEqual([])
  })
})
