import { randomUUID } from 'node:crypto'
import type { Store } from '@battlescope/cold-storage'
import { faultyStore, type Failure, type FaultyStore, type StoreMethod } from '@battlescope/cold-storage/testing'
import type { DatabaseConnections } from '@battlescope/database'
import { leakCheck } from '@battlescope/scheduler-testing'
import { afterEach, describe, expect, it } from 'vitest'
import { retentionConfig } from '../src/config.js'
import { findLosses, rememberRows } from './conservation.js'
import { createWorld, type RunChange, type World } from './world.js'

let world: World

afterEach(() => world.close())

/** Everything that is archived, unless told otherwise. */
function restore(request: Record<string, unknown> = {}, change: RunChange = {}) {
  return world.run({
    ...change,
    request: { do: 'restore', id: randomUUID(), from: '2000-01', to: '2999-12', ...request },
  })
}

async function archived(killmails = 400): Promise<World> {
  const made = await createWorld({ killmails })
  await rememberRows(made)
  await made.runToEnd()
  return made
}

/** Rows of killmails that are live although the catalog calls their objects archived: sums, because batches of this policy have whole months. */
async function countTwice(): Promise<number> {
  const [row] = await world.database.query<{ archived: string | null }>(
    `SELECT sum(row_count) AS archived FROM scheduler.archive_object WHERE relation = 'public.killmail_events' AND restored_at IS NULL`,
  )
  return (
    Number(row?.archived ?? 0) +
    (await world.count('killmail_events')) -
    (await world.count('original.killmail_events'))
  )
}

/** A store that says which calls of a method are made. */
function tellOfCalls(store: Store, method: 'put' | 'delete', tell: (name: string) => void): Store {
  return new Proxy(store, {
    get(target, property) {
      const value = Reflect.get(target, property) as unknown
      if (typeof value !== 'function') return value
      return (...args: unknown[]): unknown => {
        if (property === method) tell(String(args[0]))
        return Reflect.apply(value, target, args)
      }
    },
  })
}

const findingsOf = (run: Awaited<ReturnType<typeof restore>>) => run.task.run?.findings ?? []

describe('restore', () => {
  it('holds its rows under the name that their policy has by now', async () => {
    world = await archived(200)
    const config = {
      policies: retentionConfig
        .parse({})
        .policies.map((policy) => (policy.name === 'killmails' ? { ...policy, name: 'kills' } : policy)),
    }
    const { task } = await restore({}, { config })
    expect(task.run?.outcome).toBe('succeeded')
    const live = await world.count('killmail_events')
    await world.runToEnd({ config })
    expect(await world.count('killmail_events')).toBe(live)
    expect(await world.count('scheduler.archive_hold', `policy = 'kills'`)).toBeGreaterThan(0)
  })

  it('brings back every row as it was, moves its objects away, and keeps retention from it', async () => {
    world = await archived()
    expect(await findLosses(world)).toEqual([])
    const files = await world.names('data/')
    expect(files.length).toBeGreaterThan(5)
    const before = await world.count('killmail_events')

    const run = await restore()
    expect(run.task.run).toMatchObject({ outcome: 'succeeded', findings: [] })
    expect(await world.count('killmail_events')).toBe(400)
    expect(await findLosses(world)).toEqual([])
    expect(await world.names('data/')).toEqual([])
    expect(await world.names('restored/')).toEqual(files.map((name) => name.replace('data/', 'restored/')))
    const rows = run.task.run?.metrics.filter(({ name }) => name === 'restored_rows') ?? []
    expect(rows.find(({ attributes }) => attributes['relation'] === 'public.killmail_events')?.value).toBe(400 - before)

    // The hold lasts; then they are archived again, beside the old objects.
    await world.runToEnd()
    expect(await world.count('killmail_events')).toBe(400)
    await world.database.query('UPDATE scheduler.archive_hold SET until = now()')
    await world.runToEnd()
    expect(await world.count('killmail_events')).toBe(before)
    expect(await findLosses(world)).toEqual([])
    // And come back again.
    await restore()
    expect(await world.count('killmail_events')).toBe(400)
    expect(await findLosses(world)).toEqual([])
    await leakCheck(world.database.url)
  })

  it('restores only the months that were asked for, and the battles that their killmails need', async () => {
    world = await archived()
    const months = (await world.database.query<{ month: string }>(
      `SELECT DISTINCT to_char(month, 'YYYY-MM') AS month FROM scheduler.archive_batch ORDER BY 1`,
    )) as { month: string }[]
    const [{ month } = { month: '' }] = months
    const run = await restore({ from: month, to: month })
    expect(run.task.run).toMatchObject({ outcome: 'succeeded', findings: [] })
    expect(
      await world.count('killmail_events', `to_char(occurred_at AT TIME ZONE 'UTC', 'YYYY-MM') = '${month}'`),
    ).toBeGreaterThan(0)
    expect(await findLosses(world)).toEqual([])
    const left = await world.database.query<{ month: string }>(
      `SELECT DISTINCT to_char(month, 'YYYY-MM') AS month FROM scheduler.archive_batch b JOIN scheduler.archive_object o ON o.batch_id = b.id
       WHERE o.restored_at IS NULL ORDER BY 1`,
    )
    expect(left.map((row) => row.month)).toEqual(months.slice(1).map((row) => row.month))
  })

  it('brings back a battle of another month that a killmail needs', async () => {
    world = await createWorld({ killmails: 200 })
    // The battle ends in the month after its killmails.
    await world.database.query(
      `UPDATE battles SET end_time = end_time + interval '35 days' WHERE id = (SELECT id FROM battles ORDER BY end_time LIMIT 1)`,
    )
    await rememberRows(world)
    await world.runToEnd()
    const [{ id, month } = { id: '', month: '' }] = await world.database.query<{ id: string; month: string }>(
      `SELECT id::text, to_char(start_time AT TIME ZONE 'UTC', 'YYYY-MM') AS month FROM original.battles ORDER BY start_time LIMIT 1`,
    )
    const run = await restore({ from: month, to: month, relations: ['public.killmail_events'] })
    expect(findingsOf(run)).toEqual([])
    expect(await world.count('battles', `id = '${id}'`)).toBe(1)
    expect(await world.count('killmail_events', `battle_id = '${id}'`)).toBeGreaterThan(0)
    expect(await findLosses(world)).toEqual([])
    // It is held as well: the battle is older than the horizon, and outside of the months that were asked for.
    await world.runToEnd()
    expect(await world.count('battles', `id = '${id}'`)).toBe(1)
  })

  it('refuses rows whose battle is nowhere, and says so', async () => {
    world = await archived(200)
    await world.database.query(
      `UPDATE scheduler.archive_batch SET state = 'discarded' WHERE relation = 'public.battles'`,
    )
    const run = await restore()
    const refused = findingsOf(run)
    expect(refused.length).toBeGreaterThan(0)
    expect(refused[0]).toMatchObject({ severity: 'error' })
    expect(refused[0]?.summary).toMatch(/rows of public\.battles that are neither in the database nor in the archive/)
    expect(await world.count('killmail_events', 'battle_id IS NULL AND killmail_id % 5 = 0')).toBe(0)
  })

  it('counts rows that are there already, and leaves them as they are', async () => {
    world = await archived(200)
    const [{ id } = { id: '' }] = await world.database.query<{ id: string }>(
      `SELECT min(killmail_id)::text AS id FROM original.killmail_events`,
    )
    await world.database.query(
      `INSERT INTO killmail_events SELECT (jsonb_populate_record(k, '{"zkb_url": "changed", "battle_id": null}')).* FROM original.killmail_events k WHERE killmail_id = ${id}`,
    )
    const run = await restore()
    expect(findingsOf(run)).toMatchObject([{ key: 'restore-different-public.killmail_events', severity: 'warning' }])
    expect(await world.count('killmail_events', `zkb_url = 'changed'`)).toBe(1)
    expect(await world.count('killmail_events')).toBe(200)
    const there = run.task.run?.metrics.filter(({ name, value }) => name === 'rows_already_there' && value > 0)
    expect(there).toMatchObject([{ value: 1, attributes: { relation: 'public.killmail_events' } }])
  })

  it.each<[string, string, RegExp]>([
    ['a column that was dropped', 'ALTER TABLE killmail_enrichments DROP COLUMN error', /no column error any more/],
    [
      'a column that was added',
      'ALTER TABLE killmail_enrichments ADD COLUMN must int NOT NULL',
      /must not be NULL, have no default/,
    ],
    [
      'a type that holds less',
      'ALTER TABLE killmail_enrichments ALTER COLUMN status TYPE varchar(3) USING left(status, 3)',
      /would not survive/,
    ],
    [
      'a trigger that changes rows',
      `CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.status := 'touched'; RETURN NEW; END $$;
       CREATE TRIGGER touch BEFORE INSERT ON killmail_enrichments FOR EACH ROW EXECUTE FUNCTION touch()`,
      /\d+ changed/,
    ],
    [
      'a trigger that swallows rows',
      `CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
       CREATE TRIGGER swallow BEFORE INSERT ON killmail_enrichments FOR EACH ROW EXECUTE FUNCTION swallow()`,
      /\d+ missing/,
    ],
    ['a new unique key', 'CREATE UNIQUE INDEX once ON killmail_enrichments (status)', /duplicate key/],
  ])('refuses %s, and changes nothing of it', async (_, alter, why) => {
    world = await archived(200)
    await world.database.query('TRUNCATE killmail_enrichments')
    await world.database.query(alter)
    const run = await restore()
    expect(findingsOf(run).length).toBeGreaterThan(0)
    expect(findingsOf(run)[0]?.summary).toMatch(why)
    expect(await world.count('killmail_enrichments')).toBe(0)
    // Each object is either live or archived.
    const [counts] = await world.database.query(
      `SELECT bool_and(restored_at IS NULL) AS archived FROM scheduler.archive_object WHERE relation = 'public.killmail_enrichments'`,
    )
    expect(counts).toEqual({ archived: true })
  })

  it('leaves dropped columns out when that is asked for', async () => {
    world = await archived(200)
    await world.database.query('ALTER TABLE killmail_enrichments DROP COLUMN error')
    expect(findingsOf(await restore({ ignoreDroppedColumns: true }))).toEqual([])
    expect(await world.count('killmail_enrichments')).toBe(200)
  })

  it('gives added columns their default, and a wider type the same values', async () => {
    world = await archived(200)
    await world.database.query(
      `ALTER TABLE battles ADD COLUMN note text NOT NULL DEFAULT 'none', ALTER COLUMN total_kills TYPE numeric`,
    )
    expect(findingsOf(await restore())).toEqual([])
    expect(
      await world.count(
        'battles b',
        `note = 'none' AND EXISTS (SELECT FROM original.battles o WHERE o.id = b.id AND o.total_kills = b.total_kills)`,
      ),
    ).toBe(await world.count('original.battles'))
  })

  it('does not touch a damaged object, and restores the others', async () => {
    world = await archived(200)
    const store = await world.store()
    const [victim = ''] = await world.names('data/public.pilot_ship_history/')
    await store.put(victim, Buffer.from('not what it was'))
    const run = await restore()
    expect(findingsOf(run)).toMatchObject([{ severity: 'error', details: { code: 'archive-mismatch' } }])
    expect(await world.names('data/')).toContain(victim)
    expect(await world.count('killmail_events')).toBe(200)
  })

  it('goes on in the next run when the budget is over', async () => {
    world = await archived()
    const id = randomUUID()
    const outcomes: (string | undefined)[] = []
    do {
      // Asked to stop by the first object that it copies: so it comes to its next border, each time.
      const stop = new AbortController()
      const wrap = (store: Store) =>
        tellOfCalls(store, 'put', (name) => {
          if (name.startsWith('restored/')) stop.abort('SIGTERM')
        })
      outcomes.push((await restore({ id }, { stop: stop.signal, wrap })).task.run?.outcome)
    } while (outcomes.at(-1) === 'partial' && outcomes.length < 60)
    expect(outcomes.length).toBeGreaterThan(2)
    expect(outcomes.at(-1)).toBe('succeeded')
    expect(await world.count('killmail_events')).toBe(400)
    expect(await findLosses(world)).toEqual([])
    // One hold per policy however many runs it took, and those of battles of other months.
    expect(await world.count('scheduler.archive_hold', `to_at - from_at > interval '100 years'`)).toBe(2)
  })

  it.each<[StoreMethod, Failure]>([
    ['put', 'after-effect'],
    ['put', 'corrupted'],
    ['put', 'error'],
    ['delete', 'error'],
    ['get', 'truncated'],
    ['list', 'timeout'],
  ])('goes on after any %s of the store ended as %s', async (method, failure) => {
    world = await archived(100)
    const id = randomUUID()
    for (let call = 1; ; call++) {
      let store: FaultyStore | undefined
      const wrap = (real: Store) =>
        (store = faultyStore(real, [{ method, failure, call, ...(method === 'put' ? { name: /^restored\// } : {}) }]))
      await restore({ id }, { wrap })
      // Never both: what the catalog calls archived is not live, whatever the store did.
      expect(await countTwice()).toBe(0)
      if (store === undefined || store.unused().length > 0) break
    }
    expect((await restore({ id })).task.run?.findings).toEqual([])
    expect(await world.count('killmail_events')).toBe(100)
    expect(await findLosses(world)).toEqual([])
  })

  it.each(['before', 'after'] as const)('goes on after it ended %s any of its transactions', async (side) => {
    world = await archived(100)
    const id = randomUUID()
    for (let nth = 1; ; nth++) {
      let count = 0
      const around = (connections: DatabaseConnections) =>
        new Proxy(connections, {
          get(real, property) {
            const value = Reflect.get(real, property) as unknown
            if (typeof value !== 'function') return value
            if (property !== 'transaction') return value.bind(real) as unknown
            return async (...args: Parameters<DatabaseConnections['transaction']>) => {
              count++
              if (count === nth && side === 'before') throw new Error('killed')
              const result = await real.transaction(...args)
              if (count === nth) throw new Error('killed')
              return result
            }
          },
        })
      await restore({ id }, { around }).catch(() => undefined)
      expect(await countTwice()).toBe(0)
      if (count < nth) break
      // As if the claim had expired.
      await world.database.query(
        'UPDATE scheduler.task SET ticket = NULL, revision = revision + 1; DELETE FROM scheduler.claim',
      )
    }
    expect((await restore({ id })).task.run?.findings).toEqual([])
    expect(await world.count('killmail_events')).toBe(100)
    expect(await findLosses(world)).toEqual([])
  })

  it('lists in a dry run, and changes nothing', async () => {
    world = await archived(200)
    const before = await world.names()
    const run = await restore({}, { dryRun: true })
    const kinds = new Set(run.task.run?.actions.map(({ kind }) => kind))
    expect(kinds).toContain('restore-rows')
    expect(kinds).toContain('hold')
    expect(await world.names()).toEqual(before)
    expect(await world.count('scheduler.archive_hold')).toBe(0)
  })

  it('is skipped when nothing was archived then', async () => {
    world = await createWorld({ killmails: 0 })
    await world.run()
    expect((await restore({ from: '2020-01', to: '2020-01' })).task.run).toMatchObject({
      outcome: 'skipped',
      reason: 'nothing is archived from 2020-01 to 2020-01',
    })
  })
})
