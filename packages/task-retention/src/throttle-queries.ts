/** What the throttle goes by: one statement, cheap enough for every second. */
import type { RelationName } from '@battlescope/database'
import { sql, type Kysely } from 'kysely'
import { keyOf } from './policy.js'
import type { ThrottleFacts } from './throttle.js'

/**
 * Bytes that a replica may be behind while it reports no lag in time. A replica reports none when nothing has been written for a while; the
 * next WAL then finds it a few records behind for a moment.
 */
const idleBytes = 16 * 1024 * 1024

interface FactsRow {
  readonly replicas: readonly { readonly name: string; readonly lag_ms: number | null }[]
  readonly wraparound: readonly { readonly schema: string; readonly name: string }[]
  readonly lock_waiters: number
}

/**
 * `pg_stat_replication` shows every role that a replica is there, and only to some how far it is: a row without a state is a lag that
 * cannot be read. A base backup is no replica. Whoever receives WAL without replaying it tells how far it is safe on its disk.
 */
export async function selectThrottleFacts(
  db: Kysely<unknown>,
  relations: readonly RelationName[],
): Promise<ThrottleFacts> {
  const { rows } = await sql<FactsRow>`
    WITH named AS (
      SELECT c.oid, c.relkind
      FROM unnest(${relations.map(({ schema }) => schema)}::text[], ${relations.map(({ name }) => name)}::text[]) AS w (schema, name)
        JOIN pg_catalog.pg_namespace n ON n.nspname = w.schema
        JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = w.name
    ), ours AS (
      SELECT c.oid, n.nspname AS schema, c.relname AS name,
        CASE WHEN c.relkind = 'r' THEN greatest(age(c.relfrozenxid)::float8 / current_setting('autovacuum_freeze_max_age')::float8,
          mxid_age(c.relminmxid)::float8 / current_setting('autovacuum_multixact_freeze_max_age')::float8) END AS due
      FROM (SELECT r.oid AS relid FROM named r WHERE r.relkind = 'r'
          UNION SELECT t.relid FROM named r CROSS JOIN LATERAL pg_partition_tree(r.oid) t WHERE r.relkind = 'p') o
        JOIN pg_catalog.pg_class c ON c.oid = o.relid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    ), replica AS (
      SELECT coalesce(nullif(application_name, ''), host(client_addr), pid::text) AS name, state, replay_lag,
        pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END,
          coalesce(replay_lsn, flush_lsn)) AS behind_bytes
      FROM pg_catalog.pg_stat_replication WHERE state IS DISTINCT FROM 'backup'
    )
    SELECT
      (SELECT coalesce(json_agg(json_build_object('name', name, 'lag_ms', CASE
          WHEN state IS NULL OR behind_bytes IS NULL THEN NULL
          WHEN replay_lag IS NOT NULL THEN extract(epoch FROM replay_lag) * 1000
          WHEN behind_bytes <= ${idleBytes} THEN 0 END)), '[]') FROM replica) AS replicas,
      (SELECT coalesce(json_agg(json_build_object('schema', schema, 'name', name) ORDER BY due DESC), '[]') FROM ours
        WHERE due >= 1) AS wraparound,
      (SELECT count(*)::int4 FROM pg_catalog.pg_locks l JOIN ours ON ours.oid = l.relation
        WHERE NOT l.granted AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = current_database())) AS lock_waiters`.execute(
    db,
  )
  const [row] = rows
  return {
    replicas: (row?.replicas ?? []).map(({ name, lag_ms }) => ({ name, lagMs: lag_ms ?? undefined })),
    wraparound: (row?.wraparound ?? []).map(keyOf),
    lockWaiters: row?.lock_waiters ?? 0,
  }
}

/** Sessions that wait for this transaction. Asked at its end, so that the next batch can be smaller. */
export async function countWaitingForUs(db: Kysely<unknown>): Promise<number> {
  const { rows } = await sql<{ waiting: number }>`
    SELECT count(*)::int4 AS waiting FROM (SELECT DISTINCT pid FROM pg_catalog.pg_locks WHERE NOT granted) w
    WHERE pg_backend_pid() = ANY (pg_blocking_pids(w.pid))`.execute(db)
  return rows[0]?.waiting ?? 0
}
