import { randomUUID } from 'node:crypto'
import { openConnections, type DatabaseConnections } from '@battlescope/database'
import { createTestDatabase, type TestDatabase } from '@battlescope/postgres-testing'
import { migrate } from '@battlescope/scheduler-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  catalogIn,
  discardBatches,
  insertBatch,
  insertHold,
  isVerified,
  markAllDeleted,
  markDeleted,
  markRestored,
  markVerified,
  selectBatches,
  selectBatchesWithObjects,
  selectDiscardedBatches,
  selectHolds,
  selectIdentity,
  selectOwner,
  selectStaleManifests,
  selectUnfinishedBatches,
  updateStoredState,
  updateVerifiedObjects,
  upsertOwner,
  type ArchiveObject,
  type CatalogDb,
  type NewBatch,
  type RecordedOwner,
} from '../../src/index.js'

const ticket = randomUUID()
const unit = { statementTimeoutMs: 10_000 }

function newBatch(change: Partial<NewBatch> = {}): NewBatch {
  const id = randomUUID()
  return {
    id,
    policy: 'killmails',
    relation: 'public.killmail_events',
    month: '2020-11',
    horizon: new Date('2021-11-23T02:00:00Z'),
    slotId: 'retention@2026-11-23T02:00:00Z',
    firstAt: new Date('2020-11-01T00:00:00Z'),
    lastAt: new Date('2020-11-02T00:00:00Z'),
    objects: [
      { relation: 'public.killmail_events', part: 0, name: `data/e/${id}-0` },
      { relation: 'public.killmail_enrichments', part: 0, name: `data/x/${id}-0` },
      { relation: 'public.killmail_enrichments', part: 1, name: `data/x/${id}-1` },
    ],
    ...change,
  }
}

function verified(batch: NewBatch): ArchiveObject[] {
  return batch.objects.map((object, index) => ({
    ...object,
    rowCount: 10 + index,
    sizeBytes: 1000,
    sha256: 'ab',
    columns: [
      {
        name: 'id',
        typeName: 'bigint',
        encoding: 'int64',
        list: false,
        notNull: true,
        generated: false,
        checksum: 'cd',
      },
    ],
    firstKey: '["1"]',
    lastKey: '["2"]',
  }))
}

describe('the catalog', () => {
  let database: TestDatabase
  let connections: DatabaseConnections
  const write = <T>(work: (db: CatalogDb) => Promise<T>): Promise<T> =>
    connections.transaction(unit, ({ db }) => work(catalogIn(db, 'scheduler')))
  const read = <T>(work: (db: CatalogDb) => Promise<T>): Promise<T> =>
    work(catalogIn(connections.reader(unit), 'scheduler'))

  beforeAll(async () => {
    database = await createTestDatabase()
    connections = openConnections({ url: database.url, applicationName: 'test' })
    await migrate(connections, 'scheduler')
    await database.query('INSERT INTO scheduler.task (name, ticket) VALUES ($1, $2)', ['retention', ticket])
  })

  afterAll(async () => {
    await connections.close()
    await database.drop()
  })

  it('follows a batch from its announcement to its deletion', async () => {
    const batch = newBatch()
    await write((db) => insertBatch(db, 'retention', batch))
    const [row] = await database.query<{ ticket: string; state: string }>(
      'SELECT ticket, state FROM scheduler.archive_batch WHERE id = $1',
      [batch.id],
    )
    expect(row).toEqual({ ticket, state: 'writing' })
    expect(await write((db) => markDeleted(db, batch.id))).toBeUndefined()
    expect((await read((db) => selectUnfinishedBatches(db))).map(({ id }) => id)).toEqual([batch.id])

    await write(async (db) => {
      await updateVerifiedObjects(db, batch.id, verified(batch))
      expect(await markVerified(db, batch.id)).toBe(true)
    })
    expect(await write((db) => markVerified(db, batch.id))).toBe(false)
    expect(await write((db) => markDeleted(db, batch.id))).toBeInstanceOf(Date)
    expect(await write((db) => discardBatches(db, [batch.id]))).toEqual([])

    const [stale] = await read((db) => selectStaleManifests(db))
    expect(stale).toMatchObject({ id: batch.id, month: '2020-11', state: 'deleted', storedState: 'verified' })
    expect(stale?.objects.map(({ relation, part }) => [relation, part])).toEqual([
      ['public.killmail_events', 0],
      ['public.killmail_enrichments', 0],
      ['public.killmail_enrichments', 1],
    ])
    expect(stale?.objects.every(isVerified)).toBe(true)
    expect(stale?.objects[2]).toMatchObject({ rowCount: 12, columns: verified(batch)[0]?.columns, firstKey: '["1"]' })
    await write((db) => updateStoredState(db, [batch.id], 'deleted'))
    expect(await read((db) => selectStaleManifests(db))).toEqual([])

    await write((db) => markRestored(db, batch.id, [{ from: `data/e/${batch.id}-0`, to: `restored/e/${batch.id}-0` }]))
    const [restored] = await read((db) => selectBatchesWithObjects(db, { ids: [batch.id] }))
    expect(restored?.objects[0]).toMatchObject({ name: `restored/e/${batch.id}-0` })
    expect(restored?.objects[0]?.restoredAt).toBeInstanceOf(Date)
  })

  it('discards what was not deleted, and remembers it', async () => {
    const batch = newBatch({ month: '2019-02' })
    await write((db) => insertBatch(db, 'retention', batch))
    expect(await write((db) => discardBatches(db, [batch.id]))).toEqual([batch.id])
    expect(await write((db) => discardBatches(db, [batch.id]))).toEqual([])
    expect((await read((db) => selectDiscardedBatches(db, new Date(0)))).map(({ id }) => id)).toEqual([batch.id])
    expect(await read((db) => selectDiscardedBatches(db, new Date('2999-01-01')))).toEqual([])
  })

  it('finds batches by policy, state and month', async () => {
    const batch = newBatch({ policy: 'battles', month: '2018-12' })
    await write((db) => insertBatch(db, 'retention', batch))
    const ids = async (filter: Parameters<typeof selectBatches>[1]) =>
      (await read((db) => selectBatches(db, filter))).map(({ id }) => id)
    expect(await ids({ policies: ['battles'] })).toEqual([batch.id])
    expect(await ids({ fromMonth: '2018-12', toMonth: '2019-01' })).toEqual([batch.id])
    expect(await ids({ toMonth: '2018-11' })).toEqual([])
    expect(await ids({ states: ['writing'] })).toEqual([batch.id])
    expect((await ids({ deletedSince: new Date(0) })).length).toBe(1)
    expect(await ids({ deletedSince: new Date('2999-01-01') })).toEqual([])
    expect((await ids({})).length).toBe(3)
  })

  it('announces nothing without a claim', async () => {
    await write((db) => insertBatch(db, 'nobody', newBatch({ objects: [] })))
    expect((await read((db) => selectBatches(db))).length).toBe(3)
  })

  it('marks batches deleted that leave together: all of them, or none may go', async () => {
    const batches = [newBatch(), newBatch()]
    const ids = batches.map(({ id }) => id)
    for (const batch of batches) await write((db) => insertBatch(db, 'retention', batch))
    await write((db) => markVerified(db, ids[0] ?? ''))
    expect(await write((db) => markAllDeleted(db, ids))).toBe(false)
    await write((db) => markVerified(db, ids[1] ?? ''))
    expect(await write((db) => markAllDeleted(db, [...ids, randomUUID()]))).toBe(false)
    expect(await write((db) => markAllDeleted(db, ids))).toBe(true)
    // Somebody else's word for the same rows.
    expect(await write((db) => markAllDeleted(db, ids))).toBe(true)
    const states = await database.query(
      'SELECT DISTINCT state FROM scheduler.archive_batch WHERE id = ANY ($1::uuid[])',
      [ids],
    )
    expect(states).toEqual([{ state: 'deleted' }])
    expect(await write((db) => markAllDeleted(db, []))).toBe(true)
  })

  it('knows the holds that have not ended', async () => {
    const hold = {
      policy: 'killmails',
      fromAt: new Date('2020-01-01T00:00:00Z'),
      toAt: new Date('2020-02-01T00:00:00Z'),
      until: new Date('2999-01-01T00:00:00Z'),
      reason: 'restored',
    }
    await write(async (db) => {
      await insertHold(db, hold)
      await insertHold(db, { ...hold, until: new Date('2020-03-01T00:00:00Z') })
    })
    expect(await read((db) => selectHolds(db, 'killmails'))).toEqual([expect.objectContaining(hold)])
    expect(await read((db) => selectHolds(db, 'battles'))).toEqual([])
  })

  it('remembers whose the prefix is', async () => {
    const identity = await selectIdentity(connections.reader(unit))
    expect(identity.database).toBe(database.name)
    expect(identity.systemIdentifier).toMatch(/^\d+$/)
    expect(await read(selectOwner)).toBeUndefined()
    const owner: RecordedOwner = {
      ownerId: randomUUID(),
      location: 'file:///archive',
      generation: 0,
      nonce: randomUUID(),
      pendingNonce: randomUUID(),
      identity,
    }
    await write((db) => upsertOwner(db, owner))
    expect(await read(selectOwner)).toEqual(owner)
    const next = { ...owner, generation: 1, nonce: owner.pendingNonce ?? '', pendingNonce: undefined }
    await write((db) => upsertOwner(db, next))
    expect(await read(selectOwner)).toEqual(next)
  })

  it('may be asked by a role that may do little else', async () => {
    const role = await database.createRole()
    const theirs = openConnections({ url: role.url, applicationName: 'test' })
    try {
      expect((await selectIdentity(theirs.reader(unit))).systemIdentifier).toMatch(/^\d+$/)
    } finally {
      await theirs.close()
    }
  })
})
