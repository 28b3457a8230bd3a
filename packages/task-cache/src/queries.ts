/** Every SQL statement of this task: reads first, then writes. */
import { sql, type Kysely } from 'kysely'

export interface CacheTables {
  'public.cache': { id: string; expires_at: Date }
}

export const relation = 'public.cache'

export async function selectRelationExists(db: Kysely<CacheTables>): Promise<boolean> {
  const { rows } = await sql<{ exists: boolean }>`SELECT to_regclass(${relation}) IS NOT NULL AS exists`.execute(db)
  return rows[0]?.exists === true
}

/** Rows that expired before the horizon. */
export async function countExpired(db: Kysely<CacheTables>, horizon: Date): Promise<number> {
  const row = await db
    .selectFrom(relation)
    .select(({ fn }) => fn.countAll<string>().as('rows'))
    .where('expires_at', '<', horizon)
    .executeTakeFirstOrThrow()
  return Number(row.rows)
}

/** Deletes the oldest rows that expired before the horizon, at most `limit`; resolves to how many. */
export async function deleteExpired(db: Kysely<CacheTables>, horizon: Date, limit: number): Promise<number> {
  const oldest = db
    .selectFrom(relation)
    .select('id')
    .where('expires_at', '<', horizon)
    .orderBy('expires_at')
    .orderBy('id')
    .limit(limit)
  const result = await db.deleteFrom(relation).where('id', 'in', oldest).executeTakeFirstOrThrow()
  return Number(result.numDeletedRows)
}
