/** Holds: spans of time whose rows stay although they are older than the horizon, because somebody brought them back. */
import { sql } from 'kysely'
import type { CatalogDb } from './tables.js'

export interface Hold {
  readonly id: string
  readonly policy: string
  /** Times of rows, first included, last not. */
  readonly fromAt: Date
  readonly toAt: Date
  readonly until: Date
  readonly reason: string
}

/** Those that have not ended, by database time. */
export async function selectHolds(db: CatalogDb, policy?: string): Promise<readonly Hold[]> {
  let query = db
    .selectFrom('archive_hold')
    .selectAll()
    .where('until', '>', sql<Date>`now()`)
  if (policy !== undefined) query = query.where('policy', '=', policy)
  const rows = await query.orderBy('policy').orderBy('from_at').execute()
  return rows.map((row) => ({
    id: row.id,
    policy: row.policy,
    fromAt: row.from_at,
    toAt: row.to_at,
    until: row.until,
    reason: row.reason,
  }))
}

export async function insertHold(db: CatalogDb, hold: Omit<Hold, 'id'>): Promise<void> {
  await db
    .insertInto('archive_hold')
    .values({
      policy: hold.policy,
      from_at: hold.fromAt,
      to_at: hold.toAt,
      until: hold.until,
      reason: hold.reason,
    })
    .execute()
}
