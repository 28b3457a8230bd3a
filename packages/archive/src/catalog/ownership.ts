/** Whose prefix the store is, as this database remembers it: one row. See owner.ts for what it means. */
import { sql, type Kysely } from 'kysely'
import type { DatabaseIdentity, RecordedOwner } from '../owner.js'
import type { CatalogDb } from './tables.js'

export async function selectOwner(db: CatalogDb): Promise<RecordedOwner | undefined> {
  const row = await db.selectFrom('archive_owner').selectAll().executeTakeFirst()
  return row === undefined
    ? undefined
    : {
        ownerId: row.owner_id,
        location: row.location,
        generation: Number(row.generation),
        nonce: row.nonce,
        pendingNonce: row.pending_nonce ?? undefined,
        identity: { systemIdentifier: row.system_identifier, host: row.host, database: row.database },
      }
}

/**
 * What tells this database from others without asking its owner. `cluster_name` stands for the host: the address of a server changes with
 * every restart of its pod, and what clients call it is not known to the server.
 */
export async function selectIdentity(db: Kysely<unknown>): Promise<DatabaseIdentity> {
  const { rows } = await sql<{ system_identifier: string; host: string; database: string }>`
    SELECT (SELECT system_identifier::text FROM pg_catalog.pg_control_system()) AS system_identifier,
      pg_catalog.current_setting('cluster_name') AS host, pg_catalog.current_database()::text AS database`.execute(db)
  const row = rows[0]
  return { systemIdentifier: row?.system_identifier ?? '', host: row?.host ?? '', database: row?.database ?? '' }
}

/** Writes the whole row: at the first use of a store, and when a prefix is adopted. */
export async function upsertOwner(db: CatalogDb, owner: RecordedOwner): Promise<void> {
  const values = {
    owner_id: owner.ownerId,
    location: owner.location,
    generation: owner.generation,
    nonce: owner.nonce,
    pending_nonce: owner.pendingNonce ?? null,
    system_identifier: owner.identity.systemIdentifier,
    host: owner.identity.host,
    database: owner.identity.database,
    updated_at: sql<Date>`clock_timestamp()`,
  }
  await db
    .insertInto('archive_owner')
    .values(values)
    .onConflict((conflict) => conflict.column('singleton').doUpdateSet(values))
    .execute()
}
