/** The life of a batch, statement by statement. Writes belong into a transaction that holds the fence of the task. */
import { sql, type ExpressionBuilder, type Selectable, type SqlBool } from 'kysely'
import { selectObjects, type StoredArchiveObject } from './objects.js'
import type { BatchState, CatalogDatabase, CatalogDb } from './tables.js'

export interface Batch {
  readonly id: string
  readonly policy: string
  /** Whose rows decided: `public.killmail_events`. Its children's rows are in the same batch. */
  readonly relation: string
  /** `2020-11`: of the time of the rows that decided, in UTC. */
  readonly month: string
  readonly horizon: Date
  readonly slotId: string
  readonly state: BatchState
  /** What the manifest in the store says; undefined while there is none. */
  readonly storedState: BatchState | undefined
  readonly firstAt: Date | undefined
  readonly lastAt: Date | undefined
  readonly createdAt: Date
  readonly verifiedAt: Date | undefined
  readonly deletedAt: Date | undefined
  readonly discardedAt: Date | undefined
}

export interface BatchWithObjects extends Batch {
  readonly objects: readonly StoredArchiveObject[]
}

export interface NewBatch {
  readonly id: string
  readonly policy: string
  readonly relation: string
  readonly month: string
  readonly horizon: Date
  readonly slotId: string
  readonly firstAt: Date
  readonly lastAt: Date
  /** What will be written, in the order in which rows can be inserted again: parents first. */
  readonly objects: readonly { readonly relation: string; readonly part: number; readonly name: string }[]
}

export interface BatchFilter {
  readonly policies?: readonly string[]
  readonly states?: readonly BatchState[]
  /** Months as `2020-11`, both included. */
  readonly fromMonth?: string
  readonly toMonth?: string
  readonly deletedSince?: Date
  readonly ids?: readonly string[]
}

/** Oldest month first. */
export async function selectBatches(db: CatalogDb, filter: BatchFilter = {}): Promise<readonly Batch[]> {
  const { policies, states, fromMonth, toMonth, deletedSince, ids } = filter
  let query = db.selectFrom('archive_batch').selectAll().select(monthOf)
  if (policies !== undefined) query = query.where((eb) => isAny(eb, 'policy', policies))
  if (states !== undefined) query = query.where((eb) => isAny(eb, 'state', states))
  if (fromMonth !== undefined) query = query.where('month', '>=', sql<Date>`${firstDay(fromMonth)}::date`)
  if (toMonth !== undefined) query = query.where('month', '<=', sql<Date>`${firstDay(toMonth)}::date`)
  if (deletedSince !== undefined) query = query.where('deleted_at', '>=', deletedSince)
  if (ids !== undefined) query = query.where(sql<SqlBool>`id = ANY (${[...ids]}::uuid[])`)
  const rows = await query.orderBy('month').orderBy('first_at').orderBy('id').execute()
  return rows.map(batchOf)
}

export async function selectBatchesWithObjects(
  db: CatalogDb,
  filter: BatchFilter = {},
): Promise<readonly BatchWithObjects[]> {
  return withObjects(db, await selectBatches(db, filter))
}

/** Batches whose manifest in the store does not say yet that their rows are gone. */
export async function selectStaleManifests(db: CatalogDb): Promise<readonly BatchWithObjects[]> {
  const rows = await db
    .selectFrom('archive_batch')
    .selectAll()
    .select(monthOf)
    .where('state', '=', 'deleted')
    .where('stored_state', 'is distinct from', 'deleted')
    .orderBy('created_at')
    .execute()
  return withObjects(db, rows.map(batchOf))
}

/** Batches that nobody works on any more although they are not finished: the caller holds the fence, or only wants to look. */
export async function selectUnfinishedBatches(db: CatalogDb): Promise<readonly Batch[]> {
  return selectBatches(db, { states: ['writing', 'verified'] })
}

/** Batches that were discarded at or after `since`: a process that was paused may still finish writing an object of theirs. */
export async function selectDiscardedBatches(db: CatalogDb, since: Date): Promise<readonly BatchWithObjects[]> {
  const rows = await db
    .selectFrom('archive_batch')
    .selectAll()
    .select(monthOf)
    .where('state', '=', 'discarded')
    .where('discarded_at', '>=', since)
    .orderBy('discarded_at')
    .execute()
  return withObjects(db, rows.map(batchOf))
}

/** Announces a batch before its first byte leaves, so that a later run knows what to clean. The ticket is the one that holds the fence. */
export async function insertBatch(db: CatalogDb, task: string, batch: NewBatch): Promise<void> {
  await db
    .insertInto('archive_batch')
    .columns([
      'id',
      'policy',
      'relation',
      'month',
      'horizon',
      'slot_id',
      'ticket',
      'state',
      'first_at',
      'last_at',
      'created_at',
    ])
    .expression((eb) =>
      eb
        .selectFrom('task')
        .select([
          sql<string>`${batch.id}::uuid`.as('id'),
          sql<string>`${batch.policy}::text`.as('policy'),
          sql<string>`${batch.relation}::text`.as('relation'),
          sql<string>`${firstDay(batch.month)}::date`.as('month'),
          sql<Date>`${batch.horizon}::timestamptz`.as('horizon'),
          sql<string>`${batch.slotId}::text`.as('slot_id'),
          sql<string>`ticket`.as('ticket'),
          sql<BatchState>`'writing'`.as('state'),
          sql<Date>`${batch.firstAt}::timestamptz`.as('first_at'),
          sql<Date>`${batch.lastAt}::timestamptz`.as('last_at'),
          sql<Date>`clock_timestamp()`.as('created_at'),
        ])
        .where('name', '=', task),
    )
    .execute()
  if (batch.objects.length === 0) return
  await db
    .insertInto('archive_object')
    .values(batch.objects.map((object) => ({ batch_id: batch.id, ...object })))
    .execute()
}

/** @returns false when the batch is not being written (any more). */
export async function markVerified(db: CatalogDb, id: string): Promise<boolean> {
  const { numUpdatedRows } = await db
    .updateTable('archive_batch')
    .set({ state: 'verified', stored_state: 'verified', verified_at: sql<Date>`clock_timestamp()` })
    .where('id', '=', id)
    .where('state', '=', 'writing')
    .executeTakeFirst()
  return numUpdatedRows === 1n
}

/**
 * The first statement of the transaction that deletes the rows: the lock on the batch keeps everybody else from discarding it meanwhile.
 * @returns when; undefined when the batch is not (or no longer) verified: then nothing may be deleted.
 */
export async function markDeleted(db: CatalogDb, id: string): Promise<Date | undefined> {
  const row = await db
    .updateTable('archive_batch')
    .set({ state: 'deleted', deleted_at: sql<Date>`clock_timestamp()` })
    .where('id', '=', id)
    .where('state', '=', 'verified')
    .returning('deleted_at')
    .executeTakeFirst()
  return row?.deleted_at ?? undefined
}

/**
 * The same for batches that leave the database together. One that says `deleted` already says it of the same rows: another database
 * with the same past got there first, and `archive adopt` took that over.
 * @returns whether all of them are deleted now; else nothing may be deleted
 */
export async function markAllDeleted(db: CatalogDb, ids: readonly string[]): Promise<boolean> {
  if (ids.length === 0) return true
  const own = sql<SqlBool>`id = ANY (${[...ids]}::uuid[])`
  await db
    .updateTable('archive_batch')
    .set({ state: 'deleted', deleted_at: sql<Date>`clock_timestamp()` })
    .where(own)
    .where('state', '=', 'verified')
    .execute()
  const deleted = await db.selectFrom('archive_batch').select('id').where(own).where('state', '=', 'deleted').execute()
  return deleted.length === new Set(ids).size
}

/** What is deleted stays deleted: its rows are only in the archive. @returns those that were discarded now. */
export async function discardBatches(db: CatalogDb, ids: readonly string[]): Promise<readonly string[]> {
  if (ids.length === 0) return []
  const rows = await db
    .updateTable('archive_batch')
    .set({ state: 'discarded', discarded_at: sql<Date>`clock_timestamp()` })
    .where(sql<SqlBool>`id = ANY (${[...ids]}::uuid[])`)
    .where((eb) => isAny(eb, 'state', ['writing', 'verified']))
    .returning('id')
    .execute()
  return rows.map(({ id }) => id)
}

/** Records what the manifest in the store says by now. */
export async function updateStoredState(db: CatalogDb, ids: readonly string[], state: BatchState): Promise<void> {
  if (ids.length === 0) return
  await db
    .updateTable('archive_batch')
    .set({ stored_state: state })
    .where(sql<SqlBool>`id = ANY (${[...ids]}::uuid[])`)
    .execute()
}

async function withObjects(db: CatalogDb, batches: readonly Batch[]): Promise<readonly BatchWithObjects[]> {
  const objects = await selectObjects(
    db,
    batches.map(({ id }) => id),
  )
  const byBatch = new Map<string, StoredArchiveObject[]>(batches.map(({ id }) => [id, []]))
  for (const object of objects) byBatch.get(object.batchId)?.push(object)
  return batches.map((batch) => ({ ...batch, objects: byBatch.get(batch.id) ?? [] }))
}

const monthOf = sql<string>`pg_catalog.to_char(month, 'YYYY-MM')`.as('month_text')

function batchOf(row: Selectable<CatalogDatabase['archive_batch']> & { readonly month_text: string }): Batch {
  return {
    id: row.id,
    policy: row.policy,
    relation: row.relation,
    month: row.month_text,
    horizon: row.horizon,
    slotId: row.slot_id,
    state: row.state,
    storedState: row.stored_state ?? undefined,
    firstAt: row.first_at ?? undefined,
    lastAt: row.last_at ?? undefined,
    createdAt: row.created_at,
    verifiedAt: row.verified_at ?? undefined,
    deletedAt: row.deleted_at ?? undefined,
    discardedAt: row.discarded_at ?? undefined,
  }
}

function firstDay(month: string): string {
  return `${month}-01`
}

function isAny(
  eb: ExpressionBuilder<CatalogDatabase, 'archive_batch'>,
  column: 'policy' | 'state',
  values: readonly string[],
) {
  return sql<SqlBool>`${eb.ref(column)} = ANY (${[...values]}::text[])`
}
