import { randomUUID } from 'node:crypto'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it, afterEach } from 'vitest'
import { adoptedOwner, decideAdoption } from '../src/adopt.js'
import { findLosses, rememberRows } from './conservation.js'
import { forkOf, type Fork } from './fork.js'
import { createWorld, type World } from './world.js'

const adopt = { request: { do: 'adopt' } } as const
const expired = `occurred_at < now() - interval '60 months'`
const identity = { systemIdentifier: '1', host: 'main', database: 'battlescope' }
const stored = {
  ownerId: '3f0c9a77-0f9b-4f5e-8a61-0d9fc2b1a002',
  generation: 7,
  nonce: 'b7',
  ...identity,
  host: 'other',
}

describe('what is adopted', () => {
  it('goes on from what the store says, so that whoever owned it finds a foreign nonce', () => {
    const owner = adoptedOwner({ stored, recorded: undefined, identity, location: 'file:///a' })
    expect(owner).toEqual({
      ownerId: stored.ownerId,
      generation: 7,
      nonce: 'b7',
      pendingNonce: undefined,
      identity,
      location: 'file:///a',
    })
  })

  it.each([
    ['is gone', undefined],
    ['cannot be read', { ...stored, ownerId: 'an owner object that cannot be read', generation: -1 }],
  ])('goes on from what this database remembers where the owner object %s', (_, object) => {
    const recorded = {
      ownerId: stored.ownerId,
      location: 'file:///b',
      generation: 4,
      nonce: 'b4',
      pendingNonce: undefined,
      identity,
    }
    expect(adoptedOwner({ stored: object, recorded, identity, location: 'file:///a' })).toMatchObject({
      ownerId: stored.ownerId,
      generation: 4,
      location: 'file:///a',
    })
    expect(adoptedOwner({ stored: object, recorded: undefined, identity, location: 'file:///a' }).generation).toBe(0)
  })

  it.each([
    [undefined, 'verified', 'read'],
    [undefined, 'deleted', 'read'],
    ['verified', 'deleted', 'read'],
    ['discarded', 'deleted', 'read'],
    ['verified', 'verified', 'skip'],
    ['discarded', 'verified', 'skip'],
    ['deleted', 'verified', 'skip'],
    ['deleted', 'deleted', 'skip'],
  ] as const)('of a batch that the catalog calls %s and the store %s: %s', (state, manifest, decision) => {
    expect(decideAdoption(state === undefined ? undefined : { state }, manifest)).toBe(decision)
  })
})

describe('adopting', () => {
  let world: World
  let fork: Fork | undefined

  afterEach(async () => {
    await fork?.close()
    fork = undefined
    await world.close()
  })

  it('is what it takes for a copy to archive, and then the original is refused', async () => {
    world = await createWorld({ killmails: 200 })
    await world.run({ config: { maxRowsPerRun: 100 } })
    fork = await forkOf(world)
    // The parent goes on, and does more than the copy knows of.
    await rememberRows(world)
    await world.runToEnd()
    const refused = await fork.run()
    expect(refused.task.run?.findings).toMatchObject([{ key: 'archive-not-ours', severity: 'critical' }])
    const [{ count } = { count: 0 }] = await fork.database.query<{ count: number }>(
      `SELECT count(*)::int AS count FROM killmail_events WHERE ${expired}`,
    )
    expect(count).toBeGreaterThan(0)
    expect((await world.run()).task.run).toMatchObject({ outcome: 'succeeded', findings: [] })

    const files = (await world.names('data/')).length
    expect((await fork.run(adopt)).task.run).toMatchObject({ outcome: 'succeeded', findings: [] })
    // What the parent archived since is live in the copy: it is kept, and out of the way.
    expect((await world.names('data/')).length + (await world.names('restored/')).length).toBe(files)
    expect((await world.names('restored/')).length).toBeGreaterThan(0)
    // The original has something to archive again, and may not.
    await world.database
      .query(`INSERT INTO killmail_events (killmail_id, system_id, occurred_at, zkb_url, fetched_at, processed_at)
      VALUES (999, 1, now() - interval '61 months', '', now() - interval '61 months', now())`)
    expect((await world.run()).task.run?.findings).toMatchObject([{ key: 'archive-not-ours' }])
    expect(await world.count('killmail_events', 'killmail_id = 999')).toBe(1)

    // And the copy goes on, with every row of it either live or archived, once.
    const copy: World = { ...world, database: fork.database }
    await fork.database.query('CREATE SCHEMA original')
    for (const name of [
      'killmail_events',
      'killmail_enrichments',
      'pilot_ship_history',
      'battles',
      'battle_killmails',
      'battle_participants',
    ]) {
      const [row] = await world.database.query<{ rows: string | null }>(
        `SELECT jsonb_agg(t)::text AS rows FROM original.${name} t`,
      )
      await fork.database.query(`CREATE TABLE original.${name} (LIKE ${name})`)
      await fork.database.query(
        `INSERT INTO original.${name} SELECT * FROM jsonb_populate_recordset(NULL::${name}, $1::jsonb)`,
        [row?.rows ?? '[]'],
      )
    }
    // Rows that both archived before the copy was made are in the archive and not in what is remembered.
    await fork.run()
    expect((await findLosses(copy)).filter((problem) => !problem.includes('too many'))).toEqual([])
  })

  it('does not call live what was restored into a database that is lost', async () => {
    world = await createWorld({ killmails: 200 })
    await rememberRows(world)
    await world.runToEnd()
    const all = { do: 'restore', id: randomUUID(), from: '2000-01', to: '2999-12' }
    fork = await forkOf(world)
    await world.run({ request: all })
    expect(await world.names('data/')).toEqual([])
    // The copy is from before the restore; and knows of nothing, as an empty database that is set up anew.
    await fork.database.query('DELETE FROM scheduler.archive_object; DELETE FROM scheduler.archive_batch')
    await fork.run(adopt)
    const [row] = await fork.database.query<{ restored: number; all: number }>(
      'SELECT count(restored_at)::int AS restored, count(*)::int AS all FROM scheduler.archive_object',
    )
    expect(row?.restored).toBe(0)
    expect(row?.all).toBeGreaterThan(0)
    expect((await fork.run({ request: all })).task.run).toMatchObject({ outcome: 'succeeded', findings: [] })
    const [count] = await fork.database.query<{ rows: number }>('SELECT count(*)::int AS rows FROM killmail_events')
    expect(count?.rows).toBe(200)
  })

  it('takes what was restored, changed and archived again as it was last', async () => {
    world = await createWorld({ killmails: 200 })
    await rememberRows(world)
    await world.runToEnd()
    const all = { do: 'restore', from: '2000-01', to: '2999-12' }
    await world.run({ request: { ...all, id: randomUUID() } })
    await world.database.query(
      `UPDATE killmail_events SET zkb_url = 'changed' WHERE ${expired}; UPDATE scheduler.archive_hold SET until = now()`,
    )
    await world.runToEnd()
    const changed = (await world.names('data/')).length
    expect(changed).toBeGreaterThan(0)
    fork = await forkOf(world, 'empty')
    const run = await fork.run(adopt)
    expect(run.task.run?.outcome).toBe('succeeded')
    expect(run.task.run?.findings.map(({ key }) => key)).toEqual(['adopt-restored'])
    const restored = await fork.run({ request: { ...all, id: randomUUID() } })
    expect(restored.task.run?.findings).toMatchObject([{ key: 'restore-different-public.killmail_events' }])
    const [row] = await fork.database.query<{ old: number; all: number }>(
      `SELECT count(*) FILTER (WHERE zkb_url <> 'changed')::int AS old, count(*)::int AS all FROM killmail_events`,
    )
    expect(row?.old).toBe(0)
    expect(row?.all).toBeGreaterThan(50)
  })

  it('goes on where restored/ was emptied', async () => {
    world = await createWorld({ killmails: 200 })
    await world.runToEnd()
    await world.run({ request: { do: 'restore', id: randomUUID(), from: '2000-01', to: '2999-12' } })
    rmSync(join(world.folder, 'restored'), { recursive: true })
    await world.database.query('DELETE FROM scheduler.archive_object; DELETE FROM scheduler.archive_batch')
    expect((await world.run(adopt)).task.run).toMatchObject({ outcome: 'succeeded', findings: [] })
    expect(await world.count('scheduler.archive_object', 'restored_at IS NULL')).toBe(0)
  })

  it('is not needed to restore what another restore moved before this database went back in time', async () => {
    world = await createWorld({ killmails: 200 })
    await rememberRows(world)
    await world.runToEnd()
    const catalog = ['archive_batch', 'archive_object'] as const
    for (const name of catalog) await world.database.query(`CREATE TABLE original.${name} AS TABLE scheduler.${name}`)
    const all = { do: 'restore', from: '2000-01', to: '2999-12' }
    await world.run({ request: { ...all, id: randomUUID() } })
    await world.database.query(`DELETE FROM pilot_ship_history; DELETE FROM killmail_events; DELETE FROM battles;
      DELETE FROM killmail_enrichments; DELETE FROM scheduler.archive_object; DELETE FROM scheduler.archive_batch`)
    for (const name of catalog) await world.database.query(`INSERT INTO scheduler.${name} TABLE original.${name}`)
    const run = await world.run({ request: { ...all, id: randomUUID() } })
    expect(run.task.run).toMatchObject({ outcome: 'succeeded', findings: [] })
    expect(await world.count('killmail_events')).toBeGreaterThan(50)
    expect(await world.count('scheduler.archive_object', 'restored_at IS NULL')).toBe(0)
  })

  it('builds the catalog from the manifests where it is lost', async () => {
    world = await createWorld({ killmails: 200 })
    await world.runToEnd()
    const catalog = `SELECT b.id, b.policy, b.relation, b.month::text, b.slot_id, b.state, b.stored_state, b.first_at, b.last_at,
      o.relation AS object, o.part, o.name, o.row_count, o.size_bytes, o.sha256, o.columns, o.first_key, o.last_key
      FROM scheduler.archive_batch b JOIN scheduler.archive_object o ON o.batch_id = b.id ORDER BY o.name`
    const before = await world.database.query(catalog)
    fork = await forkOf(world, 'empty')
    expect((await fork.run(adopt)).task.run).toMatchObject({ outcome: 'succeeded', findings: [] })
    expect(await fork.database.query(catalog)).toEqual(before)
    // And brings everything back into the new database.
    const restore = { do: 'restore', id: '6f0c9a77-0f9b-4f5e-8a61-0d9fc2b1a002', from: '2000-01', to: '2999-12' }
    expect((await fork.run({ request: restore })).task.run).toMatchObject({ outcome: 'succeeded', findings: [] })
    expect(await world.names('data/')).toEqual([])
    const [{ count } = { count: 0 }] = await fork.database.query<{ count: number }>(
      'SELECT count(*)::int AS count FROM killmail_events',
    )
    expect(count).toBe(200 - (await world.count('killmail_events')))
  })

  it('repeated, changes nothing', async () => {
    world = await createWorld({ killmails: 100 })
    await world.runToEnd()
    const before = await world.names()
    const run = await world.run(adopt)
    expect(run.task.run).toMatchObject({ outcome: 'succeeded', findings: [] })
    expect(await world.names()).toEqual(before)
    expect((await world.run()).task.run?.findings).toEqual([])
  })
})
