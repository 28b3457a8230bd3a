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
