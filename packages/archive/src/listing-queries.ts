/** Summed up by PostgreSQL: a catalog of ten years has a hundred thousand objects. */
import { sql, type SqlBool } from 'kysely'
import type { CatalogDb } from './catalog/tables.js'
import type { ListedMonth, ListedObject, ListedState, ListingFilter } from './listing.js'

/** By relation and month. What was discarded is nothing. */
export async function selectListing(db: CatalogDb, filter: ListingFilter = {}): Promise<readonly ListedMonth[]> {
  const rows = await filtered(db, filter)
    .select([
      'o.relation',
      'b.policy',
      monthText.as('month'),
      stateText.as('state'),
      sql<string>`count(DISTINCT b.id)`.as('batches'),
      sql<string>`count(*)`.as('objects'),
      sql<string>`coalesce(sum(o.row_count), 0)`.as('rows'),
      sql<string>`coalesce(sum(o.size_bytes), 0)`.as('bytes'),
      sql<Date | null>`min(b.first_at)`.as('first_at'),
      sql<Date | null>`max(b.last_at)`.as('last_at'),
    ])
    .groupBy(['o.relation', 'b.policy', 'b.month', stateText])
    .orderBy('o.relation')
    .orderBy('b.month')
    .execute()
  return rows.map((row) => ({
    relation: row.relation,
    month: row.month,
    policy: row.policy,
    state: row.state,
    batches: Number(row.batches),
    objects: Number(row.objects),
    rows: Number(row.rows),
    bytes: Number(row.bytes),
    firstAt: row.first_at ?? undefined,
    lastAt: row.last_at ?? undefined,
  }))
}

export interface ListedPage {
  readonly limit: number
  /** Go on behind this name. */
  readonly after?: string
}

/** Objects whose rows are in the archive alone, by name. */
export async function selectArchivedObjects(
  db: CatalogDb,
  filter: ListingFilter,
  { limit, after }: ListedPage,
): Promise<readonly ListedObject[]> {
  let query = filtered(db, filter)
    .select(['o.name', 'o.relation', monthText.as('month'), 'o.row_count', 'o.size_bytes'])
    .where('b.state', '=', 'deleted')
    .where('o.restored_at', 'is', null)
  if (after !== undefined) query = query.where(sql<SqlBool>`o.name COLLATE "C" > ${after}`)
  const rows = await query
    .orderBy(sql`o.name COLLATE "C"`)
    .limit(limit)
    .execute()
  return rows.map((row) => ({
    name: row.name,
    relation: row.relation,
    month: row.month,
    rows: Number(row.row_count ?? 0),
    bytes: Number(row.size_bytes ?? 0),
  }))
}

/** Relations that are in the archive, with the relation by which each went there. */
export async function selectArchivedRelations(
  db: CatalogDb,
): Promise<readonly { readonly relation: string; readonly decidedBy: string }[]> {
  const rows = await filtered(db, {})
    .select(['o.relation', 'b.relation as decided_by'])
    .distinct()
    .orderBy('o.relation')
    .execute()
  return rows.map((row) => ({ relation: row.relation, decidedBy: row.decided_by }))
}

function filtered(db: CatalogDb, { relations, fromMonth, toMonth }: ListingFilter) {
  let query = db
    .selectFrom('archive_batch as b')
    .innerJoin('archive_object as o', 'o.batch_id', 'b.id')
    .where('b.state', '<>', 'discarded')
  if (relations !== undefined) query = query.where(sql<SqlBool>`o.relation = ANY (${[...relations]}::text[])`)
  if (fromMonth !== undefined) query = query.where(sql<SqlBool>`b.month >= ${`${fromMonth}-01`}::date`)
  if (toMonth !== undefined) query = query.where(sql<SqlBool>`b.month <= ${`${toMonth}-01`}::date`)
  return query
}

const monthText = sql<string>`pg_catalog.to_char(b.month, 'YYYY-MM')`
const stateText = sql<ListedState>`CASE WHEN b.state <> 'deleted' THEN 'unfinished' WHEN o.restored_at IS NULL THEN 'archived' ELSE 'restored' END`
