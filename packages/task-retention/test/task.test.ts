import { randomUUID } from 'node:crypto'
import type { Store } from '@battlescope/cold-storage'
import { openConnections } from '@battlescope/database'
import { createTestDatabase, leakCheck } from '@battlescope/scheduler-testing'
import { sql } from 'kysely'
import { afterEach, describe, expect, it } from 'vitest'
import { retentionConfig } from '../src/config.js'
import { findLosses, rememberRows } from './conservation.js'
import { around } from './partition-crash-child.js'
import { createWorld, relations, type RunChange, type World } from './world.js'

/** Lets something happen in the database when the task writes an object whose name fits: between the copy and the delete. */
function when(name: RegExp, happens: () => Promise<unknown>): (store: Store) => Store {
  let happened = false
  return (store) =>
    new Proxy(store, {
      get(target, property) {
        const value = Reflect.get(target, property) as unknown
        if (property !== 'put') return typeof value === 'function' ? (value.bind(target) as unknown) : value
        return async (...args: Parameters<Store['put']>) => {
          if (!happened && name.test(args[0])) {
            happened = true
            await happens()
          }
          return target.put(...args)
        }
      },
    })
}

const expired = `occurred_at < now() - interval '60 months'`

describe('retention with an archive', () => {
  let world: World

  afterEach(() => world.close())

  it('archives what expired, deletes it, and leaves the rest', async () => {
    world = await createWorld({ killmails: 600 })
    await rememberRows(world)
    const young = await world.count('killmail_events', `NOT ${expired}`)
    const [run] = await world.runToEnd()
    expect(run?.task.run).toMatchObject({ outcome: 'succeeded', findings: [] })
    // One battle stands on the horizon: it stays, with those of its killmails that lie before.
    const left = await world.count('killmail_events')
    expect(left).toBeGreaterThanOrEqual(young)
    expect(left).toBeLessThan(young + 10)
    expect(await world.count('killmail_events', `${expired} AND battle_id IS NULL`)).toBe(0)
    for (const child of ['killmail_enrichments', 'pilot_ship_history']) {
      expect(await world.count(child, 'killmail_id NOT IN (SELECT killmail_id FROM killmail_events)')).toBe(0)
    }
    expect(await world.count('battle_killmails', 'killmail_id NOT IN (SELECT killmail_id FROM killmail_events)')).toBe(
      0,
    )
    expect(await findLosses(world)).toEqual([])
    const states = await world.database.query(
      'SELECT state, stored_state, count(*)::int FROM scheduler.archive_batch GROUP BY 1, 2',
    )
    expect(states).toEqual([{ state: 'deleted', stored_state: 'deleted', count: 6 }])
    await leakCheck(world.database.url)
  })

  it('deletes no row version that was not archived', async () => {
    world = await createWorld({ killmails: 200 })
    const [{ id } = { id: '' }] = await world.database.query<{ id: string }>(
      `SELECT min(killmail_id) AS id FROM killmail_events WHERE battle_id IS NULL`,
    )
    const wrap = when(/^manifests\//, async () => {
      await world.database.query(`UPDATE killmail_events SET zkb_url = 'changed' WHERE killmail_id = $1`, [id])
      await rememberRows(world)
    })
    const run = await world.run({ wrap })
    expect(run.task.run?.outcome).toBe('succeeded')
    expect(await world.count('killmail_events', `killmail_id = ${id} AND zkb_url = 'changed'`)).toBe(1)
    expect(await world.count('pilot_ship_history', `killmail_id = ${id}`)).toBe(2)
    expect(await world.count('killmail_events', `${expired} AND battle_id IS NULL`)).toBe(1)
    expect(await world.count('scheduler.archive_batch', `state = 'discarded'`)).toBe(1)
    // What the store has of it is gone with the batch, and the next run archives the new version.
    await world.runToEnd()
    expect(await world.count('killmail_events', `killmail_id = ${id}`)).toBe(0)
    expect(await findLosses(world)).toEqual([])
  })

  it.each<[string, string]>([
    ['a child that was updated', `UPDATE killmail_enrichments SET status = 'failed' WHERE killmail_id = $1`],
    ['a child that was deleted', 'DELETE FROM pilot_ship_history WHERE killmail_id = $1 AND character_id = 90000001'],
    [
      'a parent that was deleted',
      'WITH c AS (DELETE FROM pilot_ship_history WHERE killmail_id = $1) SELECT $1::bigint',
    ],
    [
      'a child that arrived late',
      `INSERT INTO pilot_ship_history (killmail_id, character_id, ship_type_id, system_id, is_loss, occurred_at, zkb_url)
       VALUES ($1, 1, 1, 1, true, now(), '')`,
    ],
  ])('sets aside %s, and archives the rest again', async (_, change) => {
    world = await createWorld({ killmails: 200 })
    const [{ id } = { id: '' }] = await world.database.query<{ id: string }>(
      `SELECT min(killmail_id) AS id FROM killmail_events WHERE battle_id IS NULL`,
    )
    const wrap = when(/^manifests\//, async () => {
      await world.database.query(change, [id])
      await rememberRows(world)
    })
    expect((await world.run({ wrap })).task.run?.outcome).toBe('succeeded')
    expect(await world.count('killmail_events', `${expired} AND battle_id IS NULL`)).toBe(1)
    expect(await findLosses(world)).toEqual([])
    await world.runToEnd()
    expect(await world.count('killmail_events', `${expired} AND battle_id IS NULL`)).toBe(0)
    expect(await findLosses(world)).toEqual([])
  })

  it.each([
    ['ON DELETE NO ACTION', ''],
    ['ON DELETE RESTRICT', ''],
    ['DEFERRABLE INITIALLY DEFERRED', ''],
    ['ON DELETE CASCADE', ''],
    ['ON DELETE NO ACTION', 'its triggers disabled'],
  ])('loses no child that is being inserted while its parent is deleted: %s %s', async (action, disabled) => {
    world = await createWorld({ killmails: 200 })
    await world.database.query(`ALTER TABLE pilot_ship_history DROP CONSTRAINT pilot_ship_history_killmail_id_fkey,
        ADD FOREIGN KEY (killmail_id) REFERENCES killmail_events ${action}`)
    if (disabled !== '') await disableChecks(world, 'pilot_ship_history_killmail_id_fkey', 'killmail_events')
    const [{ id } = { id: '' }] = await world.database.query<{ id: string }>(
      `SELECT min(killmail_id) AS id FROM killmail_events WHERE battle_id IS NULL`,
    )
    await rememberRows(world)
    const other = openConnections({ url: world.database.url, applicationName: 'inserts' })
    let inserted: Promise<void> | undefined
    // Holds the parent's row until somebody waits for it: who deletes its children before that does not see this one.
    const insert = async (begun: () => void) =>
      other.transaction({ statementTimeoutMs: 60_000 }, async ({ db }) => {
        await sql`SET CONSTRAINTS ALL IMMEDIATE`.execute(db)
        await sql`INSERT INTO pilot_ship_history (killmail_id, character_id, ship_type_id, system_id, is_loss, occurred_at, zkb_url)
            VALUES (${id}, 1, 1, 1, true, now(), 'late')`.execute(db)
        await sql`INSERT INTO original.pilot_ship_history SELECT * FROM pilot_ship_history WHERE zkb_url = 'late'`.execute(
          db,
        )
        begun()
        await untilSomebodyWaits(world)
      })
    const wrap = when(/^manifests\//, async () => {
      await new Promise<void>((begun) => {
        inserted = insert(begun)
      })
    })
    try {
      const run = await world.run({ wrap, config: { lockTimeout: '30s', statementLimit: '60s' } })
      await inserted
      expect(run.task.run?.outcome).toBe('succeeded')
      expect(await world.count('pilot_ship_history', `killmail_id = ${id}`)).toBe(3)
      expect(await world.count('killmail_events', `${expired} AND battle_id IS NULL`)).toBe(1)
      expect(await findLosses(world)).toEqual([])
      await world.runToEnd()
      expect(await world.count('pilot_ship_history', `killmail_id = ${id}`)).toBe(0)
      expect(await findLosses(world)).toEqual([])
    } finally {
      await other.close()
    }
  })

  it('deletes nothing once a foreign key has come that preflight did not see', async () => {
    world = await createWorld({ killmails: 200 })
    await rememberRows(world)
    const before = await world.count('killmail_events')
    const wrap = when(/^manifests\//, () =>
      world.database.query(`CREATE TABLE notes (killmail_id bigint REFERENCES killmail_events ON DELETE CASCADE);
        INSERT INTO notes SELECT killmail_id FROM killmail_events`),
    )
    const { task } = await world.run({ wrap })
    expect(task.run).toMatchObject({
      outcome: 'failed',
      reason: expect.stringContaining('foreign keys to public.killmail_events or its children changed') as string,
    })
    expect(await world.count('killmail_events')).toBe(before)
    expect(await world.count('notes')).toBe(before)
    const next = await world.run()
    expect(next.task.run?.findings.map(({ key }) => key)).toContain('blocked-killmails')
    await world.database.query('DROP TABLE notes')
    await world.runToEnd()
    expect(await world.count('killmail_events', `${expired} AND battle_id IS NULL`)).toBe(0)
    expect(await findLosses(world)).toEqual([])
  })

  it('goes on where a trigger changes parents when their children go', async () => {
    world = await createWorld({ killmails: 200 })
    await rememberRows(world)
    await world.database.query(`
      CREATE FUNCTION count_down() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        UPDATE killmail_events SET isk_value = isk_value - 1 WHERE killmail_id = old.killmail_id; RETURN NULL; END $$;
      CREATE TRIGGER count_down AFTER DELETE ON pilot_ship_history FOR EACH ROW EXECUTE FUNCTION count_down()`)
    const policies = retentionConfig.parse({}).policies.map((policy) => ({ ...policy, allowTriggers: true }))
    const [run] = await world.runToEnd({ config: { policies } })
    expect(run?.task.run?.outcome).toBe('succeeded')
    expect(await world.count('killmail_events', `${expired} AND battle_id IS NULL`)).toBe(0)
    expect(await findLosses(world)).toEqual([])
  })

  it('makes batches small where a row takes long, so that no transaction holds its locks for long', async () => {
    world = await createWorld({ killmails: 3000 })
    await rememberRows(world)
    // As on a database without an index on killmail_events (battle_id): each battle costs the same again.
    await world.database.query(`
      CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.02); RETURN old; END $$;
      CREATE TRIGGER slow BEFORE DELETE ON battles FOR EACH ROW EXECUTE FUNCTION slow()`)
    const policies = retentionConfig.parse({}).policies.map((policy) => ({ ...policy, allowTriggers: true }))
    const battles = await world.count('battles')
    const runs = await world.runToEnd({
      config: { policies, transactionLimit: '60ms', transactionTarget: '40ms' },
    })
    expect(runs.at(-1)?.task.run?.outcome).toBe('succeeded')
    expect(await world.count('battles')).toBeLessThan(battles / 2)
    const [row] = await world.database.query<{ most: number }>(
      `SELECT max(row_count)::int AS most FROM scheduler.archive_object o JOIN scheduler.archive_batch b ON b.id = o.batch_id
       WHERE b.state = 'deleted' AND o.relation = 'public.battles'`,
    )
    // The check is made between statements, and one may take its own limit of 250 ms: twelve rows of 20 ms.
    expect(row?.most).toBeLessThanOrEqual(13)
    expect(await findLosses(world)).toEqual([])
  })

  it('never changes a live killmail through its battle', async () => {
    world = await createWorld({ killmails: 200 })
    const [{ id } = { id: '' }] = await world.database.query<{ id: string }>(
      `SELECT id FROM battles ORDER BY end_time LIMIT 1`,
    )
    // A young killmail joins the oldest battle while that is on its way out.
    const wrap = when(/^data\/public\.battles\//, () =>
      world.database.query(`UPDATE killmail_events SET battle_id = $1 WHERE killmail_id = 200`, [id]),
    )
    expect((await world.run({ wrap })).task.run?.outcome).toBe('succeeded')
    expect(await world.count('battles', `id = '${id}'`)).toBe(1)
    expect(await world.count('killmail_events', `killmail_id = 200 AND battle_id = '${id}'`)).toBe(1)
    expect(await world.count('battle_participants', `battle_id = '${id}'`)).toBe(3)
  })

  it('respects a hold, also one that comes in between', async () => {
    world = await createWorld({ killmails: 200 })
    await world.run({ config: { policies: [] } })
    const hold = (from: string, to: string) =>
      world.database.query(
        `INSERT INTO scheduler.archive_hold (policy, from_at, to_at, until, reason) SELECT 'killmails', now() - interval '${from}',
         now() - interval '${to}', now() + interval '1 day', 'test'`,
      )
    await hold('62 months', '61 months')
    const held = `occurred_at < now() - interval '61 months'`
    const before = await world.count('killmail_events', held)
    const wrap = when(/^manifests\//, () => hold('61 months', '0 months'))
    expect((await world.run({ wrap })).task.run?.outcome).toBe('succeeded')
    expect(await world.count('killmail_events')).toBe(200)
    expect(before).toBeGreaterThan(0)
    await world.database.query(
      `UPDATE scheduler.archive_hold SET until = now() WHERE from_at > now() - interval '61 months 10 days'`,
    )
    await world.runToEnd()
    expect(await world.count('killmail_events', held)).toBe(before)
    expect(await world.count('killmail_events', `${expired} AND NOT ${held} AND battle_id IS NULL`)).toBe(0)
  })

  it('deletes nothing without a store, and says so', async () => {
    world = await createWorld({ killmails: 100 })
    const { task } = await world.run({ noStore: true })
    expect(task.run).toMatchObject({ outcome: 'skipped', findings: [{ key: 'no-store', severity: 'warning' }] })
    expect(await world.count('killmail_events')).toBe(100)
  })

  it('stops where the prefix belongs to somebody else', async () => {
    world = await createWorld({ killmails: 100 })
    const store = await world.store()
    const theirs = {
      ownerId: randomUUID(),
      generation: 3,
      nonce: randomUUID(),
      systemIdentifier: '1',
      host: '',
      database: 'x',
    }
    await store.put('owner.json', Buffer.from(JSON.stringify(theirs)))
    for (const dryRun of [true, false]) {
      const { task } = await world.run({ dryRun })
      expect(task.run?.findings).toMatchObject([{ key: 'archive-not-ours', severity: 'critical' }])
      expect(task.run?.actions).toEqual([])
    }
    expect(await world.count('killmail_events')).toBe(100)
    expect(await world.names()).toEqual(['owner.json'])
  })

  it('lets only one of two copies of a database go on, also in the middle of a slot', async () => {
    world = await createWorld({ killmails: 200 })
    expect((await world.run({ config: { maxRowsPerRun: 100 } })).task.run?.outcome).toBe('partial')
    // From another database: one that is copied may have no sessions.
    const elsewhere = await createTestDatabase()
    const { name } = world.database
    const copy = new URL(world.database.url)
    copy.pathname = `/${name}_copy`
    try {
      await elsewhere.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '${name}'`)
      await elsewhere.query(`CREATE DATABASE ${name}_copy TEMPLATE ${name}`)
      await asIfOfTheSameName(copy.href, `${name}_copy`)
      const ofCopy = await world.run({ databaseUrl: copy.href, config: { maxRowsPerRun: 100 } })
      expect(ofCopy.task.run?.outcome).toBe('partial')
      const before = await world.names()
      const ofOriginal = await world.run()
      expect(ofOriginal.task.run?.findings).toMatchObject([{ key: 'archive-not-ours' }])
      expect(await world.names()).toEqual(before)
    } finally {
      await elsewhere.query(`DROP DATABASE IF EXISTS ${name}_copy WITH (FORCE)`)
      await elsewhere.drop()
    }
  })

  it('comes to a border, and goes on in the next run under the same horizon', async () => {
    world = await createWorld({ killmails: 400 })
    await rememberRows(world)
    const first = await world.run({ config: { batchRows: 50, maxRowsPerRun: 300 } })
    expect(first.task.run).toMatchObject({ outcome: 'partial' })
    expect(first.task.run?.remaining).toBeGreaterThan(0)
    const deleted = 400 - (await world.count('killmail_events'))
    expect(deleted * 4).toBeLessThanOrEqual(300)
    const runs = await world.runToEnd({ config: { batchRows: 50, maxRowsPerRun: 300 } })
    expect(runs.length).toBeGreaterThan(1)
    expect(await world.count('killmail_events', `${expired} AND battle_id IS NULL`)).toBe(0)
    const horizons = await world.database.query(
      'SELECT DISTINCT horizon FROM scheduler.archive_batch WHERE slot_id = (SELECT min(slot_id) FROM scheduler.archive_batch)',
    )
    expect(horizons).toHaveLength(1)
    expect(await findLosses(world)).toEqual([])
  })

  it('leaves locked rows for later, and goes on with the others', async () => {
    world = await createWorld({ killmails: 300 })
    await whileLocked(world, 'SELECT FROM killmail_events ORDER BY occurred_at LIMIT 1 FOR UPDATE', async () => {
      const run = await world.run({ config: { lockTimeout: '20ms', batchRows: 20 } })
      expect(run.task.run).toMatchObject({
        outcome: 'succeeded',
        findings: [{ key: 'locked-killmails', severity: 'warning' }],
      })
      const left = await world.count('killmail_events', `${expired} AND battle_id IS NULL`)
      expect(left).toBeGreaterThan(0)
      expect(left).toBeLessThanOrEqual(20)
    })
    await world.runToEnd()
    expect(await world.count('killmail_events', `${expired} AND battle_id IS NULL`)).toBe(0)
  })

  it('takes children without a foreign key along that came after their parent had left', async () => {
    world = await createWorld({ killmails: 200 })
    // Never there, but between those that were.
    await world.database.query(`
      DELETE FROM pilot_ship_history WHERE killmail_id = 7;
      DELETE FROM killmail_enrichments WHERE killmail_id = 7;
      DELETE FROM killmail_events WHERE killmail_id = 7`)
    await rememberRows(world)
    await world.runToEnd()
    const late = `INSERT INTO killmail_enrichments (killmail_id, status) VALUES (6, 'late'), (7, 'stray')`
    await world.database.query(
      `${late}; INSERT INTO original.killmail_enrichments SELECT * FROM killmail_enrichments WHERE killmail_id IN (6, 7)`,
    )
    const run = await world.run()
    expect(run.task.run).toMatchObject({ outcome: 'succeeded', findings: [] })
    expect(
      await world.database.query(
        `SELECT killmail_id, status FROM killmail_enrichments WHERE status IN ('late', 'stray')`,
      ),
    ).toEqual([{ killmail_id: '7', status: 'stray' }])
    expect(await findLosses(world)).toEqual([])
    expect((await world.run()).task.run?.actions).toEqual([])
  })

  it('takes late children along whatever the order of their own keys', async () => {
    world = await createWorld({ killmails: 200 })
    await world.database.query(
      'CREATE TABLE notes (id int PRIMARY KEY, killmail_id bigint); CREATE INDEX ON notes (killmail_id)',
    )
    const note = { relation: 'public.notes', columns: ['killmail_id'], references: ['killmail_id'] }
    const policies = retentionConfig
      .parse({})
      .policies.map((policy) =>
        policy.name === 'killmails' ? { ...policy, children: [...policy.children, note] } : policy,
      )
    const all = [...relations, 'public.notes']
    await rememberRows(world, all)
    await world.runToEnd({ config: { policies } })
    await world.database.query(
      'INSERT INTO notes VALUES (1, 9), (2, 8), (3, 9); INSERT INTO original.notes SELECT * FROM notes',
    )
    expect((await world.run({ config: { policies } })).task.run).toMatchObject({ outcome: 'succeeded', findings: [] })
    expect(await world.count('notes')).toBe(0)
    expect(await findLosses(world, all)).toEqual([])
  })

  it('archives as text what the type of a column cannot hold', async () => {
    world = await createWorld({ killmails: 100 })
    await world.database.query(`UPDATE killmail_enrichments SET fetched_at = 'infinity' WHERE killmail_id % 2 = 0`)
    await rememberRows(world)
    expect((await world.run()).task.run?.outcome).toBe('succeeded')
    expect(await findLosses(world)).toEqual([])
    const [{ columns } = { columns: [] }] = await world.database.query<{
      columns: { name: string; encoding: string }[]
    }>(`SELECT columns FROM scheduler.archive_object WHERE relation = 'public.killmail_enrichments' LIMIT 1`)
    expect(columns.find(({ name }) => name === 'fetched_at')).toMatchObject({ encoding: 'text' })
  })

  it('reports a policy that deletes nothing, slot after slot', async () => {
    world = await createWorld({ killmails: 60 })
    await whileLocked(world, 'SELECT FROM killmail_events FOR UPDATE', async () => {
      const config = { lockTimeout: '10ms', stuckRuns: 2 }
      const keys = async () => (await world.run({ config })).task.run?.findings.map(({ key }) => key)
      expect(await keys()).toEqual(['locked-killmails'])
      expect(await keys()).toEqual(['locked-killmails', 'stuck-killmails'])
    })
    expect((await world.run()).task.run?.findings).toEqual([])
  })

  it('plans with rows, span and time, and writes nothing to the store', async () => {
    world = await createWorld({ killmails: 200 })
    const { task } = await world.run({ dryRun: true })
    const archive = task.run?.actions.filter(({ kind }) => kind === 'archive' || kind === 'delete-rows')
    expect(archive?.map(({ kind, target }) => `${kind} ${target}`)).toEqual([
      'archive public.killmail_events',
      'archive public.killmail_enrichments',
      'archive public.pilot_ship_history',
      'delete-rows public.killmail_events',
      'archive public.battles',
      'archive public.battle_killmails',
      'archive public.battle_participants',
      'delete-rows public.battles',
    ])
    expect(archive?.[3]?.reason).toMatch(/^killmails: \d+ rows from 20\d\d-.* batches, about \d+ s$/)
    expect(await world.names()).toEqual([])
  })
})

describe('retention without an archive', () => {
  let world: World
  const policies = (change: object = {}) => [
    {
      name: 'killmails',
      relation: 'public.killmail_events',
      timeColumn: 'occurred_at',
      archive: false,
      children: [
        { relation: 'public.killmail_enrichments', columns: ['killmail_id'], references: ['killmail_id'] },
        { relation: 'public.pilot_ship_history', columns: ['killmail_id'], references: ['killmail_id'] },
      ],
      ...change,
    },
  ]

  afterEach(() => world.close())

  it('deletes nothing once a foreign key has come that preflight did not see', async () => {
    world = await createWorld({ killmails: 100 })
    const before = await world.count('killmail_events')
    const task = around({
      before: (kind: string) =>
        kind === 'delete-rows'
          ? world.database
              .query(`CREATE TABLE IF NOT EXISTS notes (killmail_id bigint REFERENCES killmail_events ON DELETE CASCADE);
              INSERT INTO notes SELECT killmail_id FROM killmail_events`)
          : undefined,
    })
    const run = await world.run({ task, noStore: true, config: { policies: policies() } })
    expect(run.task.run).toMatchObject({
      outcome: 'failed',
      reason: expect.stringContaining('foreign keys to public.killmail_events') as string,
    })
    expect(await world.count('notes')).toBe(before)
    expect(await world.count('killmail_events')).toBe(before)
  })

  it('deletes parents with their children, and needs no store', async () => {
    world = await createWorld({ killmails: 300 })
    const { task } = await world.run({ noStore: true, config: { policies: policies(), batchRows: 50 } })
    expect(task.run).toMatchObject({ outcome: 'succeeded', findings: [] })
    expect(await world.count('killmail_events', expired)).toBe(0)
    for (const child of ['killmail_enrichments', 'pilot_ship_history']) {
      expect(await world.count(child, 'killmail_id NOT IN (SELECT killmail_id FROM killmail_events)')).toBe(0)
    }
    expect(await world.count('scheduler.archive_batch')).toBe(0)
  })

  it('spares what changed since it was found, with its children', async () => {
    world = await createWorld({ killmails: 100 })
    const limitMs = 12_345
    let changed = false
    const around: RunChange['around'] = (connections) => ({
      reader: (unit) => connections.reader(unit),
      snapshot: (unit, read) => connections.snapshot(unit, read),
      direct: (unit, work) => connections.direct(unit, work),
      transaction: async (unit, work) => {
        if (unit.statementTimeoutMs === limitMs && !changed) {
          changed = true
          await world.database.query('UPDATE killmail_events SET occurred_at = now() WHERE killmail_id = 10')
        }
        return connections.transaction(unit, work)
      },
    })
    const config = { policies: policies(), batchRows: 20, statementLimit: `${limitMs}ms` }
    expect((await world.run({ noStore: true, config, around })).task.run?.outcome).toBe('succeeded')
    expect(await world.count('killmail_events', 'killmail_id = 10')).toBe(1)
    expect(await world.count('killmail_enrichments', 'killmail_id = 10')).toBe(1)
    expect(await world.count('pilot_ship_history', 'killmail_id = 10')).toBe(2)
    expect(await world.count('killmail_events', expired)).toBe(0)
  })

  it('makes statements smaller that take too long', async () => {
    world = await createWorld({ killmails: 100 })
    await world.database.query(`
      CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.05); RETURN OLD; END $$;
      CREATE TRIGGER slow BEFORE DELETE ON killmail_enrichments FOR EACH ROW EXECUTE FUNCTION slow()`)
    const runs = await world.runToEnd({
      noStore: true,
      config: { policies: policies({ allowTriggers: true }), statementLimit: '800ms', statementTarget: '200ms' },
    })
    expect(runs.at(-1)?.task.run).toMatchObject({ outcome: 'succeeded' })
    expect(await world.count('killmail_events', expired)).toBe(0)
    const [{ sizes } = { sizes: {} }] = await world.database.query<{ sizes: Record<string, number> }>(
      `SELECT data->'sizes' AS sizes FROM scheduler.checkpoint WHERE task = 'retention'`,
    )
    expect(sizes['delete public.killmail_enrichments']).toBeLessThan(16)
  })

  it('works on odd names and on keys of several columns', async () => {
    world = await createWorld()
    await world.database.query(`
      CREATE SCHEMA "Odd.Schema";
      CREATE TABLE "Odd.Schema"."The ""Parent""" ("Key 1" text, "key,2" char(5), at timestamptz NOT NULL, PRIMARY KEY ("Key 1", "key,2"));
      CREATE TABLE "Odd.Schema".child (n int PRIMARY KEY, a text, b char(5),
        FOREIGN KEY (a, b) REFERENCES "Odd.Schema"."The ""Parent""" ("Key 1", "key,2"));
      CREATE INDEX ON "Odd.Schema".child (a, b);
      CREATE INDEX ON "Odd.Schema"."The ""Parent""" (at);
      INSERT INTO "Odd.Schema"."The ""Parent""" SELECT E'it''s \\\\ {"' || i, i, now() - interval '1 year' FROM generate_series(1, 50) i;
      INSERT INTO "Odd.Schema"."The ""Parent""" VALUES ('new', '1', now());
      INSERT INTO "Odd.Schema".child SELECT i, E'it''s \\\\ {"' || i, i FROM generate_series(1, 50) i;`)
    const odd = {
      name: 'odd',
      relation: '"Odd.Schema"."The ""Parent"""',
      timeColumn: 'at',
      keep: '6 months',
      children: [{ relation: '"Odd.Schema".child', columns: ['a', 'b'], references: ['Key 1', 'key,2'] }],
    }
    for (const archive of [true, false]) {
      const { task } = await world.run({ config: { policies: [{ ...odd, archive }], batchRows: 20 } })
      expect(task.run).toMatchObject({ outcome: 'succeeded', reason: undefined })
      expect(await world.count('"Odd.Schema"."The ""Parent"""')).toBe(1)
      expect(await world.count('"Odd.Schema".child')).toBe(0)
      await world.database.query(`
        INSERT INTO "Odd.Schema"."The ""Parent""" SELECT 'again' || i, i, now() - interval '1 year' FROM generate_series(1, 50) i;
        INSERT INTO "Odd.Schema".child SELECT i, 'again' || i, i FROM generate_series(1, 50) i`)
    }
    expect(await world.names('data/')).toHaveLength(6)
  })
})

/** Those triggers of a foreign key that look for rows which point to what is deleted. */
async function disableChecks({ database }: World, key: string, relation: string): Promise<void> {
  await database.query(`DO $$ DECLARE name text; BEGIN
    FOR name IN SELECT tgname FROM pg_trigger g JOIN pg_constraint k ON k.oid = g.tgconstraint
      WHERE k.conname = '${key}' AND g.tgrelid = '${relation}'::regclass LOOP
      EXECUTE format('ALTER TABLE %I DISABLE TRIGGER %I', '${relation}', name); END LOOP; END $$`)
}

async function untilSomebodyWaits({ database }: World): Promise<void> {
  for (;;) {
    const waiting = await database.query(
      `SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`,
    )
    if (waiting.length > 0) return
  }
}

/** Runs `work` while another session holds the locks of a statement. */
async function whileLocked(world: World, statement: string, work: () => Promise<void>): Promise<void> {
  const other = openConnections({ url: world.database.url, applicationName: 'locks' })
  try {
    await other.transaction({ statementTimeoutMs: 60_000 }, async ({ db }) => {
      await sql.raw(statement).execute(db)
      await work()
    })
  } finally {
    await other.close()
  }
}

/** A restored snapshot has its old name; two databases of one server cannot. */
async function asIfOfTheSameName(url: string, name: string): Promise<void> {
  const copy = openConnections({ url, applicationName: 'copy' })
  try {
    await copy.transaction({ statementTimeoutMs: 10_000 }, async ({ db }) => {
      await sql`UPDATE scheduler.archive_owner SET database = ${name}`.execute(db)
    })
  } finally {
    await copy.close()
  }
}
