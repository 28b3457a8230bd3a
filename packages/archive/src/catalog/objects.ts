/** The objects of batches: one relation each, in parts of bounded size. */
import { sql, type SqlBool } from 'kysely'
import type { CatalogDb, ObjectColumn } from './tables.js'

/** An object as it was verified. */
export interface ArchiveObject {
  /** `public.killmail_events` */
  readonly relation: string
  /** From 0. */
  readonly part: number
  readonly name: string
  readonly rowCount: number
  readonly sizeBytes: number
  /** Of the whole file, hexadecimal. */
  readonly sha256: string
  readonly columns: readonly ObjectColumn[]
  /** Primary keys of the first and the last row, as a JSON list of their columns' text, in the order of the file. */
  readonly firstKey: string
  readonly lastKey: string
}

/** As the catalog has it: what is not known before the object was verified may be missing. */
export interface StoredArchiveObject extends Partial<Omit<ArchiveObject, 'relation' | 'part' | 'name'>> {
  readonly batchId: string
  readonly relation: string
  readonly part: number
  readonly name: string
  readonly restoredAt: Date | undefined
}

/** Whether everything about the object is known, as it is of every batch that was ever verified. */
export function isVerified(object: StoredArchiveObject): object is StoredArchiveObject & ArchiveObject {
  return object.sha256 !== undefined && object.columns !== undefined && object.rowCount !== undefined
}

/** In the order in which they were announced: parents first. */
export async function selectObjects(
  db: CatalogDb,
  batchIds: readonly string[],
): Promise<readonly StoredArchiveObject[]> {
  if (batchIds.length === 0) return []
  const rows = await db
    .selectFrom('archive_object')
    .innerJoin('archive_batch', 'archive_batch.id', 'archive_object.batch_id')
    .selectAll('archive_object')
    .where(sql<SqlBool>`archive_object.batch_id = ANY (${[...batchIds]}::uuid[])`)
    .orderBy('archive_object.batch_id')
    // The relation that decided comes first: whatever hangs on it needs its rows.
    .orderBy(sql`archive_object.relation <> archive_batch.relation`)
    .orderBy('archive_object.relation')
    .orderBy('archive_object.part')
    .execute()
  return rows.map((row) => ({
    batchId: row.batch_id,
    relation: row.relation,
    part: row.part,
    name: row.name,
    restoredAt: row.restored_at ?? undefined,
    ...(row.row_count === null ? {} : { rowCount: Number(row.row_count) }),
    ...(row.size_bytes === null ? {} : { sizeBytes: Number(row.size_bytes) }),
    ...(row.sha256 === null ? {} : { sha256: row.sha256 }),
    ...(row.columns === null ? {} : { columns: row.columns }),
    ...(row.first_key === null ? {} : { firstKey: row.first_key }),
    ...(row.last_key === null ? {} : { lastKey: row.last_key }),
  }))
}

/** Writes down what was read back from the store. */
export async function updateVerifiedObjects(
  db: CatalogDb,
  batchId: string,
  objects: readonly ArchiveObject[],
): Promise<void> {
  if (objects.length === 0) return
  const values = objects.map(
    (object) =>
      sql`(${object.relation}::text, ${object.part}::int4, ${object.rowCount}::int8, ${object.sizeBytes}::int8,
        ${object.sha256}::text, ${JSON.stringify(object.columns)}::jsonb, ${object.firstKey}::text, ${object.lastKey}::text)`,
  )
  await db
    .updateTable('archive_object as o')
    .from(
      sql<{
        relation: string
        part: number
        row_count: string
        size_bytes: string
        sha256: string
        columns: string
        first_key: string
        last_key: string
      }>`(VALUES ${sql.join(values)})`.as<'v'>(
        sql`v (relation, part, row_count, size_bytes, sha256, columns, first_key, last_key)`,
      ),
    )
    .set((eb) => ({
      row_count: eb.ref('v.row_count'),
      size_bytes: eb.ref('v.size_bytes'),
      sha256: eb.ref('v.sha256'),
      columns: eb.ref('v.columns'),
      first_key: eb.ref('v.first_key'),
      last_key: eb.ref('v.last_key'),
    }))
    .where('o.batch_id', '=', batchId)
    .whereRef('o.relation', '=', 'v.relation')
    .whereRef('o.part', '=', 'v.part')
    .execute()
}

/** The rows of these objects are live again, and the objects have new names (under `restored/`). */
export async function markRestored(
  db: CatalogDb,
  batchId: string,
  renamed: readonly { readonly from: string; readonly to: string }[],
): Promise<void> {
  for (const { from, to } of renamed) {
    await db
      .updateTable('archive_object')
      .set({ name: to, restored_at: sql<Date>`clock_timestamp()` })
      .where('batch_id', '=', batchId)
      .where('name', '=', from)
      .execute()
  }
}
