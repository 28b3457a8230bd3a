/** Who waits behind a rebuild of ours, and how it makes room. */
import { sql, type Kysely } from 'kysely'

type Db = Kysely<unknown>

/**
 * Sessions that have waited for a second for a lock on the table that the rebuild keeps from them, and that keeps others waiting in its turn: writers
 * behind SHARE, readers behind ACCESS EXCLUSIVE. Behind the weaker ones (ANALYZE, VACUUM) nobody else waits.
 */
export async function selectQueue(db: Db, pid: number, tableOid: number): Promise<number> {
  const { rows } = await sql<{ queued: number }>`
    SELECT count(DISTINCT w.pid)::int4 AS queued FROM pg_catalog.pg_locks w
    WHERE NOT w.granted AND w.locktype = 'relation' AND w.relation = (${tableOid}::pg_catalog.int8)::pg_catalog.oid
      AND w.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
      AND w.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
      AND w.waitstart < pg_catalog.clock_timestamp() - interval '1 second'
      AND ${pid} = ANY (pg_catalog.pg_blocking_pids(w.pid))`.execute(db)
  return rows[0]?.queued ?? 0
}

/** Cancels the build that a backend of ours is at, and nothing else. */
export async function cancelBuild(db: Db, pid: number, startedAt: string): Promise<number> {
  const { rows } = await sql<{ cancelled: boolean }>`
    SELECT pg_catalog.pg_cancel_backend(a.pid) AS cancelled
    FROM pg_catalog.pg_stat_activity a JOIN pg_catalog.pg_stat_progress_create_index p ON p.pid = a.pid
    WHERE a.pid = ${pid} AND a.backend_start = ${startedAt}::timestamptz`.execute(db)
  return rows.filter(({ cancelled }) => cancelled).length
}
