import { randomUUID } from 'node:crypto'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  catalogIn,
  verifyArchive,
  type ArchiveFinding,
  type VerifyDepth,
  type VerifyOptions,
} from '@battlescope/archive'
import type { Store } from '@battlescope/cold-storage'
import { openConnections, type DatabaseConnections } from '@battlescope/database'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { createWorld, type World } from './world.js'

let world: World
let store: Store
let connections: DatabaseConnections

beforeAll(async () => {
  world = await createWorld({ killmails: 200 })
  await world.runToEnd()
  store = await world.store()
  connections = openConnections({ url: world.database.url, applicationName: 'verify' })
})

afterAll(async () => {
  await connections.close()
  await world.close()
})

async function verify(change: Partial<VerifyOptions> = {}): Promise<readonly (readonly [string, string])[]> {
  const found: ArchiveFinding[] = []
  const db = catalogIn(connections.reader({ statementTimeoutMs: 10_000 }), 'scheduler')
  await verifyArchive({
    store,
    catalog: { db, now: new Date(8640000000000) },
    depth: 'deep',
    report: (each) => found.push(each),
    ...change,
  })
  return found.map(({ kind, name }) => [kind, name] as const)
}

/** What was there comes back after the test. */
const before = new Map<string, Buffer>()
async function read(name: string): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of store.get(name)) chunks.push(chunk)
  return Buffer.concat(chunks)
}
async function replace(name: string, bytes: Uint8Array | undefined): Promise<void> {
  before.set(name, await read(name))
  if (bytes === undefined) await store.delete(name)
  else await store.put(name, bytes)
}

afterEach(async () => {
  for (const [name, bytes] of before) await store.put(name, bytes)
  before.clear()
})

const one = async (prefix: string) => (await world.names(prefix))[0] ?? ''

describe('verifying an archive', () => {
  it.each<[VerifyDepth]>([['quick'], ['hash'], ['deep']])('finds nothing where all is well (%s)', async (depth) => {
    expect(await verify({ depth })).toEqual([])
    expect(await verify({ depth, catalog: undefined })).toEqual([])
  })

  it.each([
    ['is missed where its rows are not live', 'NULL', true],
    ['may be gone where they are', 'now()', false],
  ])('an object under restored/ %s', async (_, restoredAt, isMissed) => {
    const name = await one('data/')
    const moved = name.replace('data/', 'restored/')
    await world.database.query(
      `UPDATE scheduler.archive_object SET name = $2, restored_at = ${restoredAt} WHERE name = $1`,
      [name, moved],
    )
    try {
      const missing = (await verify()).filter(([kind, of]) => kind === 'object-missing' && of === moved)
      expect(missing).toHaveLength(isMissed ? 1 : 0)
    } finally {
      await world.database.query('UPDATE scheduler.archive_object SET name = $1, restored_at = NULL WHERE name = $2', [
        name,
        moved,
      ])
    }
  })

  it('counts what it looked at', async () => {
    const counts = await verifyArchive({ store, catalog: undefined, depth: 'hash', report: () => undefined })
    const [row] = await world.database.query(
      `SELECT count(DISTINCT batch_id)::int AS batches, count(*)::int AS objects, sum(row_count)::int AS rows, sum(size_bytes)::int AS bytes
       FROM scheduler.archive_object o JOIN scheduler.archive_batch b ON b.id = o.batch_id WHERE b.state = 'deleted'`,
    )
    expect(counts).toEqual(row)
  })

  it.each([true, false])('finds a missing object (catalog: %s)', async (hasCatalog) => {
    const name = await one('data/')
    await replace(name, undefined)
    expect(await verify(hasCatalog ? { depth: 'quick' } : { depth: 'quick', catalog: undefined })).toEqual([
      ['object-missing', name],
    ])
  })

  it.each<[string, VerifyDepth, (bytes: Buffer) => Buffer]>([
    ['a byte less', 'quick', (bytes) => bytes.subarray(1)],
    ['another byte', 'hash', (bytes) => Buffer.from(bytes.map((byte, at) => (at === 100 ? byte ^ 1 : byte)))],
    ['another byte', 'deep', (bytes) => Buffer.from(bytes.map((byte, at) => (at === 100 ? byte ^ 1 : byte)))],
  ])('finds an object with %s (%s)', async (_, depth, damage) => {
    const name = await one('data/')
    await replace(name, damage(await read(name)))
    expect(await verify({ depth })).toEqual([['object-differs', name]])
    expect(await verify({ depth, catalog: undefined })).toEqual([['object-differs', name]])
  })

  it('finds values that are not those of the manifest, whatever the hash says', async () => {
    const name = await one('data/public.battles/')
    const [row] = await world.database.query<{ columns: string }>(
      `SELECT columns::text FROM scheduler.archive_object WHERE name = '${name}'`,
    )
    await world.database.query(
      `UPDATE scheduler.archive_object SET columns = jsonb_set(columns, '{0,checksum}', '"another"') WHERE name = '${name}'`,
    )
    try {
      const found = await verify()
      expect(found).toContainEqual(['object-differs', name])
      expect(found.map(([kind]) => kind)).toContain('manifest-differs')
    } finally {
      await world.database.query(`UPDATE scheduler.archive_object SET columns = $1::jsonb WHERE name = '${name}'`, [
        row?.columns,
      ])
    }
  })

  it('finds strays, and leaves alone what is not ours to judge', async () => {
    const real = await one('data/')
    const stray = real.replace(/-[0-9a-f]{8}-0/, '-ffffffff-0')
    await store.put(stray, Buffer.from('a zombie wrote this'))
    try {
      expect(await verify({ depth: 'quick' })).toEqual([['object-stray', stray]])
      expect(await verify({ depth: 'quick', toMonth: '2000-01' })).toEqual([])
      const battles = { key: 'public.battles', relation: { schema: 'public', name: 'battles' } }
      expect(await verify({ depth: 'quick', relations: [battles] })).toEqual(
        stray.startsWith('data/public.battles/') ? [['object-stray', stray]] : [],
      )
    } finally {
      await store.delete(stray)
    }
  })

  it('finds manifests that are missing, damaged, unknown, or say something else', async () => {
    const name = await one('manifests/')
    await replace(name, undefined)
    expect(await verify({ depth: 'quick' })).toEqual([['manifest-missing', name]])
    await store.put(name, Buffer.from('{'))
    expect(await verify({ depth: 'quick' })).toEqual([['manifest-invalid', name]])
    const told = JSON.parse((before.get(name) ?? '').toString()) as {
      state: string
      batchId: string
      objects: { rowCount: number }[]
    }
    await store.put(name, Buffer.from(JSON.stringify({ ...told, state: 'verified' })))
    expect(await verify({ depth: 'quick' })).toEqual([['manifest-behind', name]])
    await store.put(
      name,
      Buffer.from(JSON.stringify({ ...told, objects: told.objects.map((each) => ({ ...each, rowCount: 1e9 })) })),
    )
    expect(await verify({ depth: 'quick' })).toEqual([['manifest-differs', name]])
    await store.put(name, before.get(name) ?? Buffer.of())
    await world.database.query(`UPDATE scheduler.archive_batch SET state = 'verified' WHERE id = '${told.batchId}'`)
    try {
      expect(await verify({ depth: 'quick' })).toEqual([['manifest-ahead', name]])
    } finally {
      await world.database.query(`UPDATE scheduler.archive_batch SET state = 'deleted' WHERE id = '${told.batchId}'`)
    }
    const id = randomUUID()
    const other = name.replace(told.batchId, id)
    await store.put(other, Buffer.from(JSON.stringify({ ...told, batchId: id, objects: [] })))
    try {
      expect(await verify({ depth: 'quick' })).toEqual([['manifest-unknown', other]])
    } finally {
      await store.delete(other)
    }
  })

  it('finds what a restore left, and says nothing of restored objects that were removed', async () => {
    const [{ id, name } = { id: '', name: '' }] = await world.database.query<{ id: string; name: string }>(
      `SELECT batch_id::text AS id, name FROM scheduler.archive_object WHERE relation = 'public.battle_participants' LIMIT 1`,
    )
    const restored = name.replace('data/', 'restored/')
    await world.database.query(
      `UPDATE scheduler.archive_object SET name = '${restored}', restored_at = now() WHERE name = '${name}'`,
    )
    await world.database.query(`UPDATE scheduler.archive_batch SET stored_state = 'verified' WHERE id = '${id}'`)
    try {
      expect((await verify({ depth: 'quick' })).map(([kind]) => kind).sort()).toEqual([
        'manifest-behind',
        'object-left',
      ])
    } finally {
      await world.database.query(
        `UPDATE scheduler.archive_object SET name = '${name}', restored_at = NULL WHERE name = '${restored}'`,
      )
      await world.database.query(`UPDATE scheduler.archive_batch SET stored_state = 'deleted' WHERE id = '${id}'`)
    }
  })

  it('finds uploads that nobody finished', async () => {
    const uploads = join(world.folder, '.uploads')
    mkdirSync(uploads, { recursive: true })
    const upload = join(uploads, `${randomUUID()}~data~public.battles~month=2020-01~x.parquet`)
    writeFileSync(upload, 'half')
    try {
      expect(await verify({ depth: 'quick' })).toEqual([['upload-unfinished', 'data/']])
      // One that is younger than a day may still be written.
      const db = catalogIn(connections.reader({ statementTimeoutMs: 10_000 }), 'scheduler')
      const [now] = await world.database.query<{ now: Date }>('SELECT now()')
      expect(await verify({ depth: 'quick', catalog: { db, now: now?.now ?? new Date(0) } })).toEqual([])
    } finally {
      rmSync(upload)
    }
  })
})
