/** Every SQL statement of this task: reads first, then writes. */
import { sql, type Kysely } from 'kysely'
import type { BackupRecord, BackupTables } from './tables.js'

/** What `pg_stat_archiver` says, and whether WAL is to be archived at all. */
export interface ArchiverFacts {
  readonly mode: 'on' | 'off'
  /** Whether a command or a library is set, without which the server archives nothing, and counts no failure. */
  readonly isConfigured: boolean
  /** When the server began to count: a crash and a reset lose what was before. */
  readonly countedSince: Date | undefined
  readonly failedCount: number
  readonly lastFailedAt: Date | undefined
  readonly lastFailedWal: string | undefined
  readonly lastArchivedAt: Date | undefined
}

export async function selectArchiver(db: Kysely<unknown>): Promise<ArchiverFacts> {
  const { rows } = await sql<{
    mode: string
    configured: boolean
    counted_since: Date | null
    failed_count: string
    last_failed_time: Date | null
    last_failed_wal: string | null
    last_archived_time: Date | null
  }>`
    SELECT pg_catalog.current_setting('archive_mode') AS mode,
      pg_catalog.current_setting('archive_command') || pg_catalog.current_setting('archive_library') <> '' AS configured,
      stats_reset AS counted_since, failed_count, last_failed_time, last_failed_wal, last_archived_time
    FROM pg_catalog.pg_stat_archiver`.execute(db)
  const [row] = rows
  return {
    mode: row === undefined || row.mode === 'off' ? 'off' : 'on',
    isConfigured: row?.configured ?? false,
    countedSince: row?.counted_since ?? undefined,
    failedCount: Number(row?.failed_count ?? 0),
    lastFailedAt: row?.last_failed_time ?? undefined,
    lastFailedWal: row?.last_failed_wal ?? undefined,
    lastArchivedAt: row?.last_archived_time ?? undefined,
  }
}

/** Bytes of the current database on disk. Whoever may connect to it may ask. */
export async function selectDatabaseBytes(db: Kysely<unknown>): Promise<number> {
  const { rows } = await sql<{
    bytes: string
  }>`SELECT pg_catalog.pg_database_size(pg_catalog.current_database()) AS bytes`.execute(db)
  return Number(rows[0]?.bytes ?? 0)
}

/** Everything that is not pruned yet, the newest first; all that is open, and the newest success, however old. */
export async function selectBackups(db: Kysely<BackupTables>, limit: number): Promise<readonly BackupRecord[]> {
  const rows = await db
    .selectFrom('backup')
    .selectAll()
    .where('state', '<>', 'pruned')
    .orderBy(
      (eb) =>
        eb.or([
          eb('state', 'in', ['announced', 'running', 'overdue', 'pruning']),
          // Behind thousands of failures it would seem that there never was one.
          eb(
            'name',
            'is not distinct from',
            eb
              .selectFrom('backup as good')
              .select('good.name')
              .where('good.state', '=', 'succeeded')
              .orderBy(sql`coalesce(good.started_at, good.announced_at)`, 'desc')
              .limit(1),
          ),
        ]),
      'desc',
    )
    .orderBy('announced_at', 'desc')
    .limit(limit)
    .execute()
  return rows.map((row) => ({
    name: row.name,
    slotId: row.slot_id,
    attempt: row.attempt,
    driver: row.driver,
    state: row.state,
    announcedAt: row.announced_at,
    startedAt: row.started_at ?? undefined,
    finishedAt: row.finished_at ?? undefined,
    sizeBytes: numberOf(row.size_bytes),
    databaseBytes: numberOf(row.database_bytes),
    checksum: row.checksum ?? undefined,
    location: row.location ?? undefined,
    objectName: row.object_name ?? undefined,
    message: row.message ?? undefined,
    database: row.database ?? undefined,
  }))
}

function numberOf(text: string | null): number | undefined {
  return text === null ? undefined : Number(text)
}

/** Announces an attempt. @returns 0 when it is there already */
export async function insertBackup(
  db: Kysely<BackupTables>,
  backup: Pick<BackupRecord, 'name' | 'slotId' | 'attempt' | 'driver' | 'state'> &
    Partial<Pick<BackupRecord, 'databaseBytes' | 'location' | 'objectName' | 'startedAt' | 'database'>>,
): Promise<number> {
  const { numInsertedOrUpdatedRows } = await db
    .insertInto('backup')
    .values({
      name: backup.name,
      slot_id: backup.slotId,
      attempt: backup.attempt,
      driver: backup.driver,
      state: backup.state,
      started_at: backup.startedAt ?? null,
      database_bytes: backup.databaseBytes ?? null,
      location: backup.location ?? null,
      object_name: backup.objectName ?? null,
      database: backup.database === undefined ? null : JSON.stringify(backup.database),
    })
    .onConflict((conflict) => conflict.column('name').doNothing())
    .executeTakeFirst()
  return Number(numInsertedOrUpdatedRows ?? 0n)
}

export type BackupChange = Partial<
  Pick<
    BackupRecord,
    'state' | 'startedAt' | 'finishedAt' | 'sizeBytes' | 'databaseBytes' | 'checksum' | 'location' | 'message'
  >
> & { readonly logTail?: string | undefined; readonly prunedAt?: Date | undefined }

/** Changes what is known of an attempt; what is undefined stays. */
export async function updateBackup(db: Kysely<BackupTables>, name: string, change: BackupChange): Promise<number> {
  const set = {
    state: change.state,
    started_at: change.startedAt,
    finished_at: change.finishedAt,
    size_bytes: change.sizeBytes,
    database_bytes: change.databaseBytes,
    checksum: change.checksum,
    location: change.location,
    message: change.message,
    log_tail: change.logTail,
    pruned_at: change.prunedAt,
  }
  const given = Object.fromEntries(Object.entries(set).filter(([, value]) => value !== undefined))
  const { numUpdatedRows } = await db.updateTable('backup').set(given).where('name', '=', name).executeTakeFirst()
  return Number(numUpdatedRows)
}

/**
 * History with a limit of its own: attempts that ended without a backup, dumps that were pruned, and successes of others, whose backups
 * are not ours to look after. The newest success stays, or a backup that is stale would become one that never was.
 */
export async function deleteForgotten(db: Kysely<BackupTables>, before: Date): Promise<number> {
  const { numDeletedRows } = await db
    .deleteFrom('backup as b')
    .where('b.announced_at', '<', before)
    .where((eb) =>
      eb.or([
        eb('b.state', 'in', ['failed', 'unconfirmed', 'pruned']),
        // Of a dump that vanished the manifest may be there still, or come back: without its row it would be somebody else's.
        eb.and([eb('b.state', '=', 'vanished'), eb('b.object_name', 'is', null)]),
        eb.and([
          eb('b.state', '=', 'succeeded'),
          eb('b.driver', '<>', 'pg-dump'),
          eb.exists(
            eb
              .selectFrom('backup as newer')
              .select('newer.name')
              .where('newer.state', '=', 'succeeded')
              .whereRef('newer.announced_at', '>', 'b.announced_at'),
          ),
        ]),
      ]),
    )
    .executeTakeFirst()
  return Number(numDeletedRows)
}
