/** Standbys and replication slots. */
import { sql, type Kysely } from 'kysely'

export interface Standby {
  readonly name: string
  readonly state: string
  /** Bytes of WAL that it has not replayed; undefined where the server does not say. */
  readonly lagBytes: number | undefined
  /** Between our writing and its replaying; undefined when it has caught up, or was never measured. */
  readonly lagMs: number | undefined
}

export interface ReplicationSlot {
  readonly name: string
  readonly kind: string
  readonly isActive: boolean
  /** WAL that is kept for it. */
  readonly keptBytes: number | undefined
  /** reserved, extended, unreserved or lost. */
  readonly walStatus: string
}

export interface Replication {
  readonly standbys: readonly Standby[]
  readonly slots: readonly ReplicationSlot[]
}

interface Row {
  readonly standbys: readonly { name: string; state: string; bytes: number | null; ms: number | null }[] | null
  readonly slots:
    readonly { name: string; kind: string; active: boolean; bytes: number | null; status: string | null }[] | null
}

export async function selectReplication(db: Kysely<unknown>): Promise<Replication> {
  // The CTE is evaluated once; in recovery there is no current position, and asking for it is an error.
  const { rows } = await sql<Row>`
    WITH here AS MATERIALIZED (SELECT CASE WHEN pg_catalog.pg_is_in_recovery()
      THEN pg_catalog.pg_last_wal_receive_lsn() ELSE pg_catalog.pg_current_wal_lsn() END AS lsn)
    SELECT (SELECT json_agg(json_build_object(
        'name', coalesce(nullif(r.application_name, ''), 'walreceiver'), 'state', coalesce(r.state, ''),
        'bytes', pg_catalog.pg_wal_lsn_diff(h.lsn, coalesce(r.replay_lsn, r.sent_lsn))::float8,
        'ms', extract(epoch FROM r.replay_lag)::float8 * 1000) ORDER BY r.application_name, r.pid)
      FROM pg_catalog.pg_stat_replication r CROSS JOIN here h WHERE r.state <> 'backup') AS standbys,
      (SELECT json_agg(json_build_object('name', s.slot_name, 'kind', s.slot_type, 'active', s.active,
        'bytes', pg_catalog.pg_wal_lsn_diff(h.lsn, s.restart_lsn)::float8, 'status', s.wal_status) ORDER BY s.slot_name)
      FROM pg_catalog.pg_replication_slots s CROSS JOIN here h WHERE NOT s.temporary) AS slots`.execute(db)
  const [row] = rows
  return {
    standbys: (row?.standbys ?? []).map(({ name, state, bytes, ms }) => ({
      name,
      state,
      lagBytes: bytes ?? undefined,
      lagMs: ms ?? undefined,
    })),
    slots: (row?.slots ?? []).map(({ name, kind, active, bytes, status }) => ({
      name,
      kind,
      isActive: active,
      keptBytes: bytes ?? undefined,
      walStatus: status ?? '',
    })),
  }
}
