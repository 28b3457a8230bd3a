import { sql } from 'kysely'
import type { BatchState, CatalogDb } from '../catalog/tables.js'

/** Months that have batches, in no order. */
export async function selectMonths(catalog: CatalogDb): Promise<readonly string[]> {
  const rows = await catalog
    .selectFrom('archive_batch')
    .select(sql<string>`pg_catalog.to_char(month, 'YYYY-MM')`.as('text'))
    .distinct()
    .execute()
  return rows.map(({ text }) => text)
}

/** @returns undefined when no batch has an object of this name */
export async function selectStateOfObject(catalog: CatalogDb, name: string): Promise<BatchState | undefined> {
  const row = await catalog
    .selectFrom('archive_object')
    .innerJoin('archive_batch', 'archive_batch.id', 'archive_object.batch_id')
    .select('archive_batch.state')
    .where('archive_object.name', '=', name)
    .executeTakeFirst()
  return row?.state
}
