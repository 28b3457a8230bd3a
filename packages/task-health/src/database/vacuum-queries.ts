/** How far VACUUM lags, and what holds it back. */
import { sql, type Kysely } from 'kysely'
import { queryShape } from './query-shape.js'

const mostNamed = 5

/** What keeps row versions that nobody else can see from being removed. */
export interface HorizonHolder {
  readonly kind: 'session' | 'prepared transaction' | 'replication slot' | 'standby'
  readonly name: string
  /** Transactions that began since the oldest one that it can see. */
  readonly age: number
  /** Rows of the system catalogs alone: what a logical slot keeps. */
  readonly ofCatalogs: boolean
  /** How long it has held; undefined where the server does not know. */
  readonly forMs: number | undefined
  /** Of a session, without values. */
  readonly query: string | undefined
}

export interface DeadRows {
  readonly relation: string
  readonly deadRows: number
  readonly liveRows: number
  readonly lastVacuumAt: string | undefined
  /** Milliseconds since then. */
  readonly vacuumedForMs: number | undefined
}

export interface Vacuuming {
  /** Ages of the oldest unfrozen transaction and multixact id, of the database that has the oldest. */
  readonly xid: { readonly database: string; readonly age: number; readonly freezeMaxAge: number }
  readonly multixact: { readonly database: string; readonly age: number; readonly freezeMaxAge: number }
  /** Oldest first. */
  readonly holders: readonly HorizonHolder[]
  /** Most dead rows first. */
  readonly dead: readonly DeadRows[]
}

interface IdAge {
  readonly database: string
  readonly age: number
}

interface Row {
  readonly xid: IdAge
  readonly multixact: IdAge
  readonly freeze: number
  readonly multixact_freeze: number
  readonly holders:
    | readonly {
        kind: HorizonHolder['kind']
        name: string
        age: number
        of_catalogs: boolean
        for_ms: number | null
        query: string | null
      }[]
    | null
  readonly dead:
    | readonly { relation: string; dead: number; live: number; vacuumed: string | null; vacuumed_ms: number | null }[]
    | null
}

/**
 * Sessions of other databases hold nothing in this one; slots, standbys and prepared transactions do (prepared ones of this database).
 * VACUUM's own snapshots are ignored by VACUUM.
 */
export async function selectVacuuming(db: Kysely<unknown>): Promise<Vacuuming> {
  const { rows } = await sql<Row>`
    WITH holder AS (
      SELECT 'session' AS kind,
        'pid ' || a.pid || ' (' || concat_ws(', ', a.usename, nullif(a.application_name, ''), a.state) || ')' AS name,
        greatest(age(a.backend_xmin), age(a.backend_xid)) AS age, false AS of_catalogs,
        extract(epoch FROM clock_timestamp() - a.xact_start)::float8 * 1000 AS for_ms, left(a.query, 2000) AS query
      FROM pg_catalog.pg_stat_activity a
      WHERE a.datname = pg_catalog.current_database() AND a.pid <> pg_catalog.pg_backend_pid()
        AND a.backend_type <> 'walsender' AND (a.backend_xmin IS NOT NULL OR a.backend_xid IS NOT NULL)
        AND a.pid NOT IN (SELECT v.pid FROM pg_catalog.pg_stat_progress_vacuum v)
      UNION ALL
      SELECT 'prepared transaction', p.gid || ' (' || p.owner || ')', age(p.transaction), false,
        extract(epoch FROM clock_timestamp() - p.prepared)::float8 * 1000, NULL
      FROM pg_catalog.pg_prepared_xacts p WHERE p.database = pg_catalog.current_database()
      UNION ALL
      SELECT 'replication slot', s.slot_name, coalesce(age(s.xmin), age(s.catalog_xmin)), s.xmin IS NULL, NULL, NULL
      FROM pg_catalog.pg_replication_slots s WHERE s.xmin IS NOT NULL OR s.catalog_xmin IS NOT NULL
      UNION ALL
      SELECT 'standby', coalesce(nullif(r.application_name, ''), 'walreceiver') || ' (hot_standby_feedback)', age(r.backend_xmin), false, NULL, NULL
      FROM pg_catalog.pg_stat_replication r WHERE r.backend_xmin IS NOT NULL)
    SELECT
      (SELECT json_build_object('database', d.datname, 'age', age(d.datfrozenxid)) FROM pg_catalog.pg_database d
        ORDER BY age(d.datfrozenxid) DESC LIMIT 1) AS xid,
      (SELECT json_build_object('database', d.datname, 'age', pg_catalog.mxid_age(d.datminmxid)) FROM pg_catalog.pg_database d
        ORDER BY pg_catalog.mxid_age(d.datminmxid) DESC LIMIT 1) AS multixact,
      pg_catalog.current_setting('autovacuum_freeze_max_age')::int AS freeze,
      pg_catalog.current_setting('autovacuum_multixact_freeze_max_age')::int AS multixact_freeze,
      (SELECT json_agg(h) FROM (SELECT * FROM holder ORDER BY age DESC LIMIT ${mostNamed}) h) AS holders,
      (SELECT json_agg(json_build_object('relation', t.schemaname || '.' || t.relname, 'dead', t.n_dead_tup,
          'live', t.n_live_tup, 'vacuumed', greatest(t.last_vacuum, t.last_autovacuum),
          'vacuumed_ms', extract(epoch FROM clock_timestamp() - greatest(t.last_vacuum, t.last_autovacuum))::float8 * 1000))
        FROM (SELECT * FROM pg_catalog.pg_stat_user_tables t WHERE t.n_dead_tup > 0
          ORDER BY t.n_dead_tup DESC LIMIT ${mostNamed * 2}) t) AS dead`.execute(db)
  const [row] = rows
  if (row === undefined) throw new Error('the server answered with no row')
  return {
    xid: { ...row.xid, freezeMaxAge: row.freeze },
    multixact: { ...row.multixact, freezeMaxAge: row.multixact_freeze },
    holders: (row.holders ?? []).map(({ kind, name, age, of_catalogs, for_ms, query }) => ({
      kind,
      name,
      age,
      ofCatalogs: of_catalogs,
      forMs: for_ms ?? undefined,
      query: query === null || query === '' ? undefined : queryShape(query),
    })),
    dead: (row.dead ?? []).map(({ relation, dead, live, vacuumed, vacuumed_ms }) => ({
      relation,
      deadRows: dead,
      liveRows: live,
      lastVacuumAt: vacuumed ?? undefined,
      vacuumedForMs: vacuumed_ms ?? undefined,
    })),
  }
}
