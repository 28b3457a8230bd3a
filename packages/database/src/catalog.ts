/**
 * The relations and views of pg_catalog that we read, with the columns that we read and that every version from 15 on has. Names are
 * qualified; `oid` comes as a number, `bigint` and `xid8` as text, `"char"` and `name` as text.
 * https://www.postgresql.org/docs/current/catalogs.html
 */

export interface CatalogDatabase {
  'pg_catalog.pg_attribute': PgAttribute
  'pg_catalog.pg_class': PgClass
  'pg_catalog.pg_constraint': PgConstraint
  'pg_catalog.pg_database': PgDatabase
  'pg_catalog.pg_index': PgIndex
  'pg_catalog.pg_inherits': PgInherits
  'pg_catalog.pg_locks': PgLocks
  'pg_catalog.pg_namespace': PgNamespace
  'pg_catalog.pg_prepared_xacts': PgPreparedXacts
  'pg_catalog.pg_replication_slots': PgReplicationSlots
  'pg_catalog.pg_roles': PgRoles
  'pg_catalog.pg_settings': PgSettings
  'pg_catalog.pg_stat_activity': PgStatActivity
  'pg_catalog.pg_stat_all_tables': PgStatTables
  'pg_catalog.pg_stat_progress_create_index': PgStatProgressCreateIndex
  'pg_catalog.pg_stat_user_indexes': PgStatUserIndexes
  'pg_catalog.pg_stat_user_tables': PgStatTables
}

export interface PgClass {
  oid: number
  relname: string
  relnamespace: number
  relowner: number
  /** 0 for what has no storage of its own. */
  relfilenode: number
  relpages: number
  /** -1: never vacuumed nor analyzed. */
  reltuples: number
  reltoastrelid: number
  relhasindex: boolean
  relisshared: boolean
  /** p permanent, u unlogged, t temporary. */
  relpersistence: string
  /** r table, i index, S sequence, t TOAST, v view, m materialized view, c composite type, f foreign table, p partitioned table, I partitioned index. */
  relkind: string
  relispartition: boolean
  reloptions: string[] | null
}

export interface PgNamespace {
  oid: number
  nspname: string
  nspowner: number
}

export interface PgAttribute {
  attrelid: number
  attname: string
  atttypid: number
  attnum: number
  attnotnull: boolean
  atthasdef: boolean
  attisdropped: boolean
}

export interface PgInherits {
  inhrelid: number
  inhparent: number
  /** A detach that was interrupted. */
  inhdetachpending: boolean
}

export interface PgIndex {
  indexrelid: number
  indrelid: number
  indisunique: boolean
  indisprimary: boolean
  indisexclusion: boolean
  indisvalid: boolean
  indisready: boolean
  indislive: boolean
}

export interface PgConstraint {
  oid: number
  conname: string
  /** c check, f foreign key, p primary key, u unique, t constraint trigger, x exclusion. */
  contype: string
  conrelid: number
  confrelid: number
  /** a no action, r restrict, c cascade, n set null, d set default. */
  confdeltype: string
  condeferrable: boolean
  convalidated: boolean
  conkey: number[] | null
  confkey: number[] | null
}

/** Of `pg_stat_all_tables` and `pg_stat_user_tables`. Counters are lost in a crash. */
export interface PgStatTables {
  relid: number
  schemaname: string
  relname: string
  seq_scan: string
  seq_tup_read: string
  idx_scan: string | null
  n_tup_ins: string
  n_tup_upd: string
  n_tup_del: string
  n_live_tup: string
  n_dead_tup: string
  n_mod_since_analyze: string
  n_ins_since_vacuum: string
  last_vacuum: Date | null
  last_autovacuum: Date | null
  last_analyze: Date | null
  last_autoanalyze: Date | null
  vacuum_count: string
  autovacuum_count: string
  analyze_count: string
  autoanalyze_count: string
}

export interface PgStatUserIndexes {
  relid: number
  indexrelid: number
  schemaname: string
  relname: string
  indexrelname: string
  idx_scan: string
}

export interface PgStatActivity {
  datid: number | null
  datname: string | null
  pid: number
  usesysid: number | null
  usename: string | null
  application_name: string
  backend_start: Date | null
  xact_start: Date | null
  query_start: Date | null
  state_change: Date | null
  wait_event_type: string | null
  wait_event: string | null
  state: string | null
  /** Transaction ids come as text and wrap around: compare them with `age()` on the server. */
  backend_xid: string | null
  backend_xmin: string | null
  /** Empty for other roles' sessions, unless ours has `pg_read_all_stats`. */
  query: string
  backend_type: string
}

export interface PgStatProgressCreateIndex {
  pid: number
  datname: string
  relid: number
  index_relid: number
  command: string
  phase: string
  blocks_total: string
  blocks_done: string
  tuples_total: string
  tuples_done: string
}

export interface PgLocks {
  locktype: string
  database: number | null
  relation: number | null
  pid: number | null
  mode: string
  granted: boolean
}

export interface PgSettings {
  name: string
  setting: string | null
  unit: string | null
  context: string
  vartype: string
  source: string
  pending_restart: boolean
}

export interface PgRoles {
  oid: number
  rolname: string
  rolsuper: boolean
  rolinherit: boolean
  rolcanlogin: boolean
  rolconnlimit: number
}

export interface PgDatabase {
  oid: number
  datname: string
  datdba: number
  datistemplate: boolean
  datallowconn: boolean
}

export interface PgPreparedXacts {
  gid: string
  prepared: Date
  owner: string
  database: string
}

export interface PgReplicationSlots {
  slot_name: string
  slot_type: string
  database: string | null
  active: boolean
  restart_lsn: string | null
  wal_status: string | null
}
