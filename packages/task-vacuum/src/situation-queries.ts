/** What goes on in the database beside us: settings, who holds which relation, who holds back the removal of dead rows. */
import { sql, type Kysely } from 'kysely'

export interface Settings {
  readonly versionNum: number
  readonly blockBytes: number
  readonly maintenanceWorkMemBytes: number
  /** By their names in `pg_settings`: autovacuum's thresholds, and ages. */
  readonly values: Readonly<Record<string, string>>
}

export async function selectSettings(db: Kysely<unknown>): Promise<Settings> {
  const { rows } = await sql<{ name: string; setting: string }>`
    SELECT name, setting FROM pg_catalog.pg_settings
    WHERE name LIKE 'autovacuum%' OR name LIKE 'vacuum%' OR name IN ('server_version_num', 'block_size', 'maintenance_work_mem')`.execute(
    db,
  )
  const values = Object.fromEntries(rows.map(({ name, setting }) => [name, setting]))
  return {
    versionNum: Number(values['server_version_num']),
    blockBytes: Number(values['block_size']),
    // pg_settings gives it in kB.
    maintenanceWorkMemBytes: Number(values['maintenance_work_mem']) * 1024,
    values,
  }
}

export interface Occupied {
  readonly oid: number
  readonly by: 'autovacuum' | 'vacuum' | 'another session'
}

/** Relations on which somebody holds a lock that VACUUM would wait for. `pg_locks` shows them to every role, `pg_stat_activity` does not. */
export async function selectOccupied(db: Kysely<unknown>): Promise<readonly Occupied[]> {
  const { rows } = await sql<{ oid: number; by: Occupied['by'] }>`
    SELECT DISTINCT ON (1) l.relation::int8::float8 AS oid,
      CASE WHEN a.backend_type = 'autovacuum worker' THEN 'autovacuum' WHEN v.pid IS NOT NULL THEN 'vacuum' ELSE 'another session' END AS by
    FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
      LEFT JOIN pg_catalog.pg_stat_progress_vacuum v ON v.pid = l.pid
    WHERE l.locktype = 'relation' AND l.granted AND l.pid <> pg_catalog.pg_backend_pid()
      AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
      AND l.mode IN ('ShareUpdateExclusiveLock', 'ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
    ORDER BY 1, 2`.execute(db)
  return rows
}

export interface Wraparound {
  /** What autovacuum is at work on to prevent wraparound, in its own words. */
  readonly workers: readonly string[]
  /** Transactions since the oldest that the database may still name. */
  readonly databaseAge: number
}

export async function selectWraparound(db: Kysely<unknown>): Promise<Wraparound> {
  // The text is autovacuum's own and is not translated. In pg_stat_activity it is hidden from roles without pg_read_all_stats.
  const { rows } = await sql<{ workers: readonly string[]; database_age: number }>`
    SELECT coalesce((SELECT json_agg(a.query ORDER BY a.query) FROM pg_catalog.pg_stat_activity a
        WHERE a.datname = pg_catalog.current_database() AND a.backend_type = 'autovacuum worker'
          AND a.query LIKE '%(to prevent wraparound)'), '[]') AS workers,
      pg_catalog.age(d.datfrozenxid) AS database_age
    FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()`.execute(db)
  return { workers: rows[0]?.workers ?? [], databaseAge: rows[0]?.database_age ?? 0 }
}

/** Who keeps dead rows from being removed: nobody may remove what died after the oldest transaction that somebody may still look at. */
export interface Holder {
  readonly kind: 'session' | 'prepared transaction' | 'replication slot' | 'standby'
  /** The pid, the transaction's identifier, the slot's name, or the standby's. */
  readonly name: string
  readonly user: string | undefined
  readonly application: string | undefined
  /** Of a session, where it may be seen. */
  readonly state: string | undefined
  /** Its transaction's number. */
  readonly xmin: string
  readonly ageTransactions: number
  /**
   * Begin of its transaction, or of its statement while the transaction has no number: in READ COMMITTED each statement looks anew. In
   * REPEATABLE READ, which nobody can see from outside, that is too late, and costs one VACUUM in vain. Unknown for slots and standbys, and for the sessions of others without pg_read_all_stats.
   */
  readonly since: Date | undefined
}

interface HolderRow {
  readonly kind: Holder['kind']
  readonly name: string
  readonly usename: string | null
  readonly application: string | null
  readonly state: string | null
  readonly xmin: string
  readonly age: number
  readonly since: Date | null
}

/**
 * Oldest first. Sessions of other databases hold nothing here; other VACUUMs hold nothing anywhere. Of a slot, `catalog_xmin` concerns the
 * catalogs alone. A session without a database that has an xmin sends WAL to a standby that asks to be spared (hot_standby_feedback).
 */
export async function selectHolders(db: Kysely<unknown>): Promise<readonly Holder[]> {
  const { rows } = await sql<HolderRow>`
    SELECT h.kind, h.name, h.usename, h.application, h.state, h.xmin::text AS xmin, pg_catalog.age(h.xmin) AS age, h.since
    FROM (
      SELECT CASE WHEN a.datid IS NULL THEN 'standby' ELSE 'session' END AS kind,
        CASE WHEN a.datid IS NULL THEN coalesce(nullif(a.application_name, ''), a.pid::text) ELSE a.pid::text END AS name,
        coalesce(a.usename, pg_catalog.pg_get_userbyid(a.usesysid))::text AS usename, nullif(a.application_name, '') AS application, a.state,
        CASE WHEN a.backend_xmin IS NULL OR pg_catalog.age(a.backend_xid) > pg_catalog.age(a.backend_xmin) THEN a.backend_xid
          ELSE a.backend_xmin END AS xmin,
        CASE WHEN a.datid IS NULL THEN NULL WHEN a.backend_xid IS NULL THEN a.query_start ELSE a.xact_start END AS since
      FROM pg_catalog.pg_stat_activity a
      WHERE (a.datid IS NULL OR a.datname = pg_catalog.current_database()) AND a.pid <> pg_catalog.pg_backend_pid()
        AND (a.backend_xmin IS NOT NULL OR a.backend_xid IS NOT NULL)
        AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_stat_progress_vacuum v WHERE v.pid = a.pid)
      UNION ALL
      SELECT 'prepared transaction', p.gid, p.owner::text, NULL, NULL, p.transaction, p.prepared
      FROM pg_catalog.pg_prepared_xacts p WHERE p.database = pg_catalog.current_database()
      UNION ALL
      SELECT 'replication slot', s.slot_name::text, NULL, NULL, CASE WHEN s.active THEN 'active' ELSE 'inactive' END, s.xmin, NULL
      FROM pg_catalog.pg_replication_slots s WHERE s.xmin IS NOT NULL
    ) h
    ORDER BY age DESC, h.since NULLS FIRST LIMIT 20`.execute(db)
  return rows.map((row) => ({
    kind: row.kind,
    name: row.name,
    user: row.usename ?? undefined,
    application: row.application ?? undefined,
    state: row.state ?? undefined,
    xmin: row.xmin,
    ageTransactions: row.age,
    since: row.since ?? undefined,
  }))
}

export interface Watched {
  readonly phase: string
  readonly totalPages: number
  readonly scannedPages: number
  /** Sessions that have waited for a second for a lock that our VACUUM holds. */
  readonly waiting: number
}

/** VACUUM (ANALYZE) analyzes in a second transaction, under a second lock of that kind, and is then in the view of ANALYZE alone. */
const atWork = sql`(
      SELECT v.pid, v.phase, v.heap_blks_total AS total, v.heap_blks_scanned AS scanned FROM pg_catalog.pg_stat_progress_vacuum v
      UNION ALL
      SELECT n.pid, n.phase, n.sample_blks_total, n.sample_blks_scanned FROM pg_catalog.pg_stat_progress_analyze n)`

/** How far the VACUUM of a backend is, or its ANALYZE; undefined when it is at neither. */
export async function selectWatched(db: Kysely<unknown>, backendPid: number): Promise<Watched | undefined> {
  const { rows } = await sql<{ phase: string; total: number; scanned: number; waiting: number }>`
    SELECT v.phase, v.total::float8 AS total, v.scanned::float8 AS scanned,
      (SELECT count(DISTINCT w.pid)::int4 FROM pg_catalog.pg_locks w
        WHERE NOT w.granted AND w.waitstart < pg_catalog.clock_timestamp() - interval '1 second'
          AND v.pid = ANY (pg_catalog.pg_blocking_pids(w.pid))) AS waiting
    FROM ${atWork} v WHERE v.pid = ${backendPid}`.execute(db)
  const [row] = rows
  if (row === undefined) return undefined
  return { phase: row.phase, totalPages: row.total, scannedPages: row.scanned, waiting: row.waiting }
}

/** When a backend began: with its pid, what tells it from a later one of the same pid. */
export async function selectBackendStart(db: Kysely<unknown>): Promise<string> {
  const { rows } = await sql<{ at: string }>`
    SELECT a.backend_start::text AS at FROM pg_catalog.pg_stat_activity a WHERE a.pid = pg_catalog.pg_backend_pid()`.execute(
    db,
  )
  return rows[0]?.at ?? ''
}

/** Cancels the VACUUM that a backend of ours is at, or its ANALYZE, and nothing else. */
export async function cancelVacuum(db: Kysely<unknown>, backendPid: number, backendStart: string): Promise<number> {
  const { rows } = await sql<{ cancelled: boolean }>`
    SELECT pg_catalog.pg_cancel_backend(a.pid) AS cancelled
    FROM pg_catalog.pg_stat_activity a JOIN ${atWork} v ON v.pid = a.pid
    WHERE a.pid = ${backendPid} AND a.backend_start = ${backendStart}::timestamptz`.execute(db)
  return rows.filter(({ cancelled }) => cancelled).length
}
