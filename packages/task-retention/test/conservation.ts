/**
 * The promise of retention, checked by content: what is live and what the archive says was deleted make up the original rows, each exactly
 * once, and the store holds nothing else.
 */
import { decodeRows, parseManifest, pinTextOutput, readWhole, type Manifest } from '@battlescope/archive'
import { openConnections, parseRelationName, quoteIdentifier } from '@battlescope/database'
import type { Store } from '@battlescope/cold-storage'
import { sql, type Kysely } from 'kysely'
import { relations as battlescope, type World } from './world.js'

const unit = { statementTimeoutMs: 60_000 }

/** Remembers every row as it is now, in a schema beside. */
export async function rememberRows({ database }: World, relations: readonly string[] = battlescope): Promise<void> {
  await database.query('DROP SCHEMA IF EXISTS original CASCADE; CREATE SCHEMA original')
  for (const relation of relations) {
    await database.query(`CREATE TABLE original.${parseRelationName(relation).name} AS TABLE ${relation}`)
  }
}

/**
 * @param asides tables that hold rows of a relation beside it, by its name: partitions on their way out
 * @returns what is wrong; empty when all is well
 */
export async function findLosses(
  world: World,
  relations: readonly string[] = battlescope,
  asides: Readonly<Record<string, readonly string[]>> = {},
): Promise<readonly string[]> {
  const store = await world.store()
  const manifests = await readManifests(store)
  const problems = await compareWithCatalog(world, manifests)
  await unpack(
    world,
    store,
    manifests.filter(({ state }) => state === 'deleted'),
    relations,
  )
  for (const relation of relations) {
    const { name } = parseRelationName(relation)
    const original = `SELECT t::text AS row FROM original.${name} t`
    const live = [relation, ...(asides[relation] ?? [])].map((each) => `SELECT t::text AS row FROM ${each} t`)
    const found = `${live.join(' UNION ALL ')} UNION ALL SELECT t::text FROM archived.${name} t`
    const lost = await world.database.query<{ row: string }>(`${original} EXCEPT ALL (${found})`)
    const extra = await world.database.query<{ row: string }>(`(${found}) EXCEPT ALL ${original}`)
    if (lost.length > 0) problems.push(`${relation}: ${lost.length} rows lost, such as ${lost[0]?.row ?? ''}`)
    if (extra.length > 0) problems.push(`${relation}: ${extra.length} rows too many, such as ${extra[0]?.row ?? ''}`)
  }
  return problems
}

async function readManifests(store: Store): Promise<readonly Manifest[]> {
  const manifests: Manifest[] = []
  for await (const { name } of store.list('manifests/'))
    manifests.push(parseManifest(await readWhole(store, name), name))
  return manifests
}

/** The catalog and the store agree on which batches there are, in which state, and on every object. */
async function compareWithCatalog({ database, names }: World, manifests: readonly Manifest[]): Promise<string[]> {
  const batches = await database.query<{ id: string; state: string }>(
    `SELECT id, state FROM scheduler.archive_batch WHERE state <> 'discarded' ORDER BY id`,
  )
  const catalog = batches.map(({ id, state }) => `${id} ${state}`)
  const said = manifests.map(({ batchId, state }) => `${batchId} ${state}`).sort()
  const objects = await database.query<{ name: string }>(
    `SELECT o.name FROM scheduler.archive_object o JOIN scheduler.archive_batch b ON b.id = o.batch_id
      WHERE b.state = 'deleted' AND o.restored_at IS NULL`,
  )
  const wanted = objects.map(({ name }) => name).sort()
  const stored = [...(await names('data/'))].sort()
  const problems: string[] = []
  if (catalog.join() !== said.join()) problems.push(`catalog has ${catalog.join()}, manifests have ${said.join()}`)
  if (wanted.join() !== stored.join()) {
    const stray = stored.filter((name) => !wanted.includes(name))
    const missing = wanted.filter((name) => !stored.includes(name))
    problems.push(`stray objects: ${stray.join() || 'none'}; missing objects: ${missing.join() || 'none'}`)
  }
  return problems
}

/** Every row of the given batches, into a schema beside. */
async function unpack(
  world: World,
  store: Store,
  manifests: readonly Manifest[],
  relations: readonly string[],
): Promise<void> {
  await world.database.query('DROP SCHEMA IF EXISTS archived CASCADE; CREATE SCHEMA archived')
  for (const relation of relations) {
    await world.database.query(`CREATE TABLE archived.${parseRelationName(relation).name} (LIKE ${relation})`)
  }
  const connections = openConnections({ url: world.database.url, applicationName: 'check' })
  try {
    await connections.transaction(unit, async (session) => {
      const db = session.db as Kysely<unknown>
      await sql.raw(pinTextOutput.join('; ')).execute(db)
      for (const { objects } of manifests) {
        for (const { relation, name, columns } of objects) {
          // What was restored is live.
          if (!name.startsWith('data/')) continue
          const list = columns.map((column) => quoteIdentifier(column.name)).join(', ')
          const casts = columns.map((column, index) => `c${index}::${column.typeName}`).join(', ')
          const names = columns.map((_, index) => `c${index}`).join(', ')
          for await (const { values } of decodeRows(await readWhole(store, name))) {
            const lists = sql.join(columns.map((column) => sql`${values[column.name] ?? []}::text[]`))
            await sql`INSERT INTO archived.${sql.id(parseRelationName(relation).name)} (${sql.raw(list)})
              SELECT ${sql.raw(casts)} FROM unnest(${lists}) AS r (${sql.raw(names)})`.execute(db)
          }
        }
      }
    })
  } finally {
    await connections.close()
  }
}
