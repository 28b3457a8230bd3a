/** How the catalog learns of batches that it did not see being made. */
import type { BatchState, CatalogDb, Manifest } from '@battlescope/archive'
import { restoredPrefix } from '@battlescope/archive'
import { sql, type SqlBool } from 'kysely'

/** With their objects. */
export async function deleteBatches(db: CatalogDb, ids: readonly string[]): Promise<void> {
  await db
    .deleteFrom('archive_batch')
    .where(sql<SqlBool>`id = ANY (${[...ids]}::uuid[])`)
    .execute()
}

/**
 * Batches whose rows are not in this database. One that was verified and never called deleted by its manifest was deleted all the same, or
 * its rows were lost with their database: either way the archive has the only copy.
 * @param gone objects under `restored/` whose rows are not here: the database that they were restored into was lost
 */
export async function insertFromManifests(
  db: CatalogDb,
  manifests: readonly Manifest[],
  gone: ReadonlySet<string>,
): Promise<void> {
  for (const manifest of manifests) {
    await db
      .insertInto('archive_batch')
      .values({
        id: manifest.batchId,
        policy: manifest.policy,
        relation: manifest.relation,
        month: `${manifest.month}-01`,
        horizon: manifest.horizon,
        slot_id: manifest.slotId,
        // That of the run that made it is known to its own database alone.
        ticket: manifest.batchId,
        state: 'deleted',
        stored_state: manifest.state satisfies BatchState,
        first_at: manifest.firstAt,
        last_at: manifest.lastAt,
        verified_at: manifest.verifiedAt,
        deleted_at: manifest.deletedAt ?? manifest.verifiedAt,
      })
      .execute()
    if (manifest.objects.length === 0) continue
    await db
      .insertInto('archive_object')
      .values(
        manifest.objects.map((object) => ({
          batch_id: manifest.batchId,
          relation: object.relation,
          part: object.part,
          name: object.name,
          row_count: object.rowCount,
          size_bytes: object.sizeBytes,
          sha256: object.sha256,
          columns: JSON.stringify(object.columns),
          first_key: object.firstKey,
          last_key: object.lastKey,
          restored_at:
            object.name.startsWith(restoredPrefix) && !gone.has(object.name) ? sql<Date>`clock_timestamp()` : null,
        })),
      )
      .execute()
  }
}

/** Names of objects under `restored/` that count as archived although a later batch has rows of their relation and month under `data/`. */
export async function selectArchivedAgain(db: CatalogDb): Promise<readonly string[]> {
  const rows = await db
    .selectFrom('archive_object as o')
    .innerJoin('archive_batch as b', 'b.id', 'o.batch_id')
    .select('o.name')
    .where('o.name', 'like', `${restoredPrefix}%`)
    .where('o.restored_at', 'is', null)
    .where(
      sql<SqlBool>`EXISTS (SELECT FROM ${sql.table('archive_batch')} l JOIN ${sql.table('archive_object')} m ON m.batch_id = l.id
        WHERE m.relation = o.relation AND l.month = b.month AND l.verified_at > b.verified_at AND l.state = 'deleted'
          AND m.name NOT LIKE ${`${restoredPrefix}%`})`,
    )
    .orderBy('o.name')
    .execute()
  return rows.map(({ name }) => name)
}
