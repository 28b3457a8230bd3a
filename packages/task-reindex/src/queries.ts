/** What this task reads of the catalog, and the two statements that change an index; its own tables are in records.ts. */
import { sql, type Kysely, type RawBuilder } from 'kysely'
import type {
  ForeignKeyFacts,
  IndexColumn,
  IndexFacts,
  MeasuredIndex,
  PreflightFacts,
  SiblingIndex,
  TransactionFacts,
} from './facts.js'

type Db = Kysely<unknown>

// ── reads ────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Indexes looked at, largest first: a database may have tens of thousands, and this is no reason to read for minutes. */
const mostIndexes = 2000

/** An oid comes out as text on some drivers, and is larger than int4. */
const oidOf = (expression: string): RawBuilder<number> => sql.raw(`${expression}::pg_catalog.int8::pg_catalog.float8`)
const asOid = (oid: number): RawBuilder<unknown> => sql`(${oid}::pg_catalog.int8)::pg_catalog.oid`

/**
 * Relations that somebody holds, or is about to hold, in ACCESS EXCLUSIVE: `pg_relation_size` would wait for him, and time out. MATERIALIZED, so that
 * the lock table is read once, and before any size.
 */
const lockedRelations = sql.raw(`
  locked AS MATERIALIZED (
    SELECT l.relation FROM pg_catalog.pg_locks l WHERE l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock'
      AND l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid()
      AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()))`)

/** Definitions are put into words with a lock on the table: of one in `locked` they cannot be had. Over a row `i` of pg_index. */
const unlessLocked = (expression: RawBuilder<unknown>): RawBuilder<unknown> => sql`
  CASE WHEN i.indrelid IN (SELECT k.relation FROM locked k) THEN NULL ELSE ${expression} END`

/** Bytes of a row of pg_class; of a relation in `locked` as VACUUM or ANALYZE last counted its pages. */
const sizeOf = (relation: string): RawBuilder<number> =>
  sql.raw(`CASE WHEN ${relation}.oid IN (SELECT k.relation FROM locked k)
    THEN ${relation}.relpages * pg_catalog.current_setting('block_size')::pg_catalog.float8
    ELSE coalesce(pg_catalog.pg_relation_size(${relation}.oid), 0)::pg_catalog.float8 END`)

/** The index's definition without its name, over rows `x` of pg_class and `i` of pg_index: what a copy of it has, too. */
const namelessDefinition = sql.raw(`
  coalesce(CASE WHEN i.indisunique THEN 'UNIQUE ' ELSE '' END || substr(pg_catalog.pg_get_indexdef(x.oid),
    length('CREATE ' || CASE WHEN i.indisunique THEN 'UNIQUE ' ELSE '' END || 'INDEX ' || pg_catalog.quote_ident(x.relname)) + 2), '')`)

interface IndexRow extends Omit<IndexFacts, 'columns' | 'tuples' | 'predicate'> {
  readonly tuples: number
  readonly predicate: string | null
  readonly columns: readonly ColumnRow[]
}

interface ColumnRow extends Pick<
  IndexColumn,
  'length' | 'alignment' | 'key' | 'identity' | 'attribute' | 'equalImage'
> {
  /** Where ANALYZE keeps its statistics: the table, or for an expression the index itself. */
  readonly source: string
  readonly name: string
}

interface StatisticsRow {
  readonly schema: string
  readonly relation: string
  readonly column: string
  readonly width: number
  readonly null_fraction: number
  readonly distinct: number
}

/**
 * The indexes of ordinary tables, partitions and materialized views. Not those of system catalogs, TOAST and temporary tables; and no parents of
 * partitioned indexes, which hold nothing themselves.
 */
export async function selectIndexes(db: Db): Promise<readonly IndexFacts[]> {
  const { rows } = await sql<IndexRow>`
    WITH ${lockedRelations}
    SELECT ${oidOf('x.oid')} AS "oid", ${oidOf('t.oid')} AS "tableOid", n.nspname AS "schema", t.relname AS "table", x.relname AS "name",
      m.amname AS "accessMethod", coalesce(${unlessLocked(namelessDefinition)}, '') AS "definition",
      ${sizeOf('x')} AS "sizeBytes", x.reltuples::float8 AS "tuples",
      ${sizeOf('t')} AS "tableBytes", greatest(t.reltuples, 0)::float8 AS "tableRows",
      coalesce(s.n_mod_since_analyze, 0)::float8 AS "changedRows", i.indisvalid AND i.indisready AND i.indislive AS "valid",
      i.indisunique AS "unique", i.indisexclusion AS "exclusion",
      NOT i.indimmediate AS "deferrable", i.indnullsnotdistinct AS "nullsNotDistinct", x.relispartition AS "ofPartition",
      i.indisprimary OR i.indisexclusion OR i.indisreplident OR EXISTS (
        SELECT 1 FROM pg_catalog.pg_constraint c WHERE c.conindid = x.oid) AS "constrained",
      ${unlessLocked(sql`pg_catalog.pg_get_expr(i.indpred, i.indrelid)`)} AS "predicate",
      coalesce((SELECT o.option_value::int4 FROM pg_catalog.pg_options_to_table(x.reloptions) o
        WHERE o.option_name = 'fillfactor'), 90) AS "fillFactor",
      coalesce((SELECT o.option_value::bool FROM pg_catalog.pg_options_to_table(x.reloptions) o
        WHERE o.option_name = 'deduplicate_items'), true) AS "deduplicates",
      coalesce(u.idx_scan, 0)::float8 AS "scans", pg_catalog.pg_has_role(t.relowner, 'USAGE')
        AND pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_schema_privilege(n.oid, 'CREATE') AS "owned",
      t.oid IN (SELECT l.relation FROM pg_catalog.pg_locks l WHERE l.locktype = 'relation' AND l.mode = 'ShareUpdateExclusiveLock'
        AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())) AS "atWork",
      columns.list AS "columns"
    FROM pg_catalog.pg_index i
      JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid JOIN pg_catalog.pg_class t ON t.oid = i.indrelid
      JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace JOIN pg_catalog.pg_am m ON m.oid = x.relam
      LEFT JOIN pg_catalog.pg_stat_all_tables s ON s.relid = t.oid
      LEFT JOIN pg_catalog.pg_stat_all_indexes u ON u.indexrelid = x.oid
      CROSS JOIN LATERAL (
        SELECT json_agg(json_build_object('length', a.attlen, 'key', a.attnum <= i.indnkeyatts,
          'alignment', CASE a.attalign WHEN 'c' THEN 1 WHEN 's' THEN 2 WHEN 'i' THEN 4 ELSE 8 END,
          'attribute', i.indkey[a.attnum - 1],
          'identity', concat_ws(' ', coalesce(b.attname, ${unlessLocked(sql`pg_catalog.pg_get_indexdef(x.oid, a.attnum, false)`)}),
            CASE WHEN a.attnum <= i.indnkeyatts THEN concat_ws(' ', i.indclass[a.attnum - 1], i.indcollation[a.attnum - 1],
              i.indoption[a.attnum - 1]) END),
          'source', CASE WHEN b.attname IS NULL THEN x.relname ELSE t.relname END, 'name', coalesce(b.attname, a.attname),
          'equalImage', a.attnum <= i.indnkeyatts AND coalesce((SELECT k.collisdeterministic FROM pg_catalog.pg_collation k
              WHERE k.oid = i.indcollation[a.attnum - 1]), true)
            AND EXISTS (SELECT 1 FROM pg_catalog.pg_opclass o JOIN pg_catalog.pg_amproc p ON p.amprocfamily = o.opcfamily
                AND p.amproclefttype = o.opcintype AND p.amprocrighttype = o.opcintype AND p.amprocnum = 4
              WHERE o.oid = i.indclass[a.attnum - 1])) ORDER BY a.attnum) AS list
        FROM pg_catalog.pg_attribute a
          LEFT JOIN pg_catalog.pg_attribute b ON b.attrelid = i.indrelid AND b.attnum = i.indkey[a.attnum - 1] AND b.attnum > 0
        WHERE a.attrelid = x.oid AND a.attnum > 0) columns
    WHERE x.relkind = 'i' AND t.relkind IN ('r', 'm') AND x.relpersistence <> 't'
      AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
    ORDER BY x.relpages DESC, x.oid LIMIT ${mostIndexes}`.execute(db)
  const statistics = await selectStatistics(db, rows)
  return rows.map(({ tuples, predicate, columns, ...row }) => ({
    ...row,
    tuples: tuples < 0 ? undefined : tuples,
    predicate: predicate ?? undefined,
    columns: columns.map(({ source, name, ...column }) => {
      const known = statistics.get(keyOf(row.schema, source, name))
      return {
        ...column,
        averageWidth: known?.width,
        nullFraction: known?.null_fraction,
        distinct: known?.distinct,
      }
    }),
  }))
}

/** In one statement for all, and not one per index: `pg_stats` is a join of its own. */
async function selectStatistics(db: Db, indexes: readonly IndexRow[]): Promise<ReadonlyMap<string, StatisticsRow>> {
  const relations = new Set(indexes.flatMap(({ columns }) => columns.map(({ source }) => source)))
  const { rows } = await sql<StatisticsRow>`
    SELECT schemaname AS schema, tablename AS relation, attname AS column, avg_width::float8 AS width, null_frac::float8 AS null_fraction,
      n_distinct::float8 AS distinct
    FROM pg_catalog.pg_stats
    WHERE NOT inherited AND schemaname = ANY (${[...new Set(indexes.map(({ schema }) => schema))]}::text[])
      AND tablename = ANY (${[...relations]}::text[])`.execute(db)
  return new Map(rows.map((row) => [keyOf(row.schema, row.relation, row.column), row]))
}

function keyOf(...parts: readonly string[]): string {
  return JSON.stringify(parts)
}

export async function selectForeignKeys(db: Db): Promise<readonly ForeignKeyFacts[]> {
  const { rows } = await sql<ForeignKeyFacts>`
    WITH ${lockedRelations}
    SELECT n.nspname AS schema, t.relname AS "table", c.conname AS name, ${oidOf('t.oid')} AS "tableOid",
      ${sizeOf('t')} AS "tableBytes", pg_catalog.to_json(c.conkey) AS attributes,
      (SELECT json_agg(a.attname ORDER BY k.at) FROM pg_catalog.unnest(c.conkey) WITH ORDINALITY AS k (attnum, at)
        JOIN pg_catalog.pg_attribute a ON a.attrelid = t.oid AND a.attnum = k.attnum) AS columns,
      pg_catalog.format('%I.%I', f.nspname, r.relname) AS "references"
    FROM pg_catalog.pg_constraint c
      JOIN pg_catalog.pg_class t ON t.oid = c.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
      JOIN pg_catalog.pg_class r ON r.oid = c.confrelid JOIN pg_catalog.pg_namespace f ON f.oid = r.relnamespace
    WHERE c.contype = 'f' AND t.relkind = 'r' ORDER BY 1, 2, 3`.execute(db)
  return rows
}

/** Since when scans are counted; undefined when they never were reset. */
export async function selectStatisticsReset(db: Db): Promise<Date | undefined> {
  const { rows } = await sql<{ at: Date | null }>`
    SELECT stats_reset AS at FROM pg_catalog.pg_stat_database WHERE datname = pg_catalog.current_database()`.execute(db)
  return rows[0]?.at ?? undefined
}

/** A replica that reports no time while it is this close has nothing to report. */
const idleReplicaBytes = 16 * 1024 * 1024

/**
 * REINDEX CONCURRENTLY waits for every transaction of its database that is older than its steps, and for everyone who holds a lock on the table. VACUUM it
 * does not wait for, except on the table itself.
 */
export async function selectPreflight(db: Db, tableOid: number): Promise<PreflightFacts> {
  const transactions = await sql<{ [Key in keyof TransactionFacts]: TransactionFacts[Key] | null }>`
    SELECT a.pid, (extract(epoch FROM pg_catalog.clock_timestamp() - a.xact_start) * 1000)::float8 AS "ageMs", a.state,
      coalesce(a.application_name, '') AS application, coalesce(a.usename, '') AS "user"
    FROM pg_catalog.pg_stat_activity a
    WHERE a.datname = pg_catalog.current_database() AND a.pid <> pg_catalog.pg_backend_pid()
      AND coalesce(a.backend_type, 'client backend') NOT IN ('autovacuum worker', 'walsender')
      AND (a.xact_start IS NOT NULL OR a.backend_xid IS NOT NULL OR a.backend_xmin IS NOT NULL)
    ORDER BY a.xact_start NULLS LAST LIMIT 20`.execute(db)
  const { rows } = await sql<Pick<PreflightFacts, 'otherBuilds' | 'replicas' | 'tableLocks'>>`
    SELECT (SELECT count(*)::int4 FROM pg_catalog.pg_stat_progress_create_index) AS "otherBuilds",
      (SELECT coalesce(json_agg(json_build_object('name', coalesce(nullif(r.application_name, ''), r.pid::text), 'lagMs', CASE
          WHEN r.replay_lag IS NOT NULL THEN extract(epoch FROM r.replay_lag) * 1000
          WHEN r.state IS NOT NULL AND pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(),
            coalesce(r.replay_lsn, r.flush_lsn)) <= ${idleReplicaBytes} THEN 0 END)), '[]')
        FROM pg_catalog.pg_stat_replication r WHERE r.state IS DISTINCT FROM 'backup') AS replicas,
      (SELECT coalesce(json_agg(DISTINCT jsonb_build_object('pid', l.pid, 'mode', l.mode)), '[]') FROM pg_catalog.pg_locks l
        WHERE l.locktype = 'relation' AND l.relation = ${asOid(tableOid)} AND l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid()
          AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
          AND (l.mode IN ('ShareUpdateExclusiveLock', 'ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
            OR l.pid IS NULL AND l.mode = 'RowExclusiveLock')) AS "tableLocks"`.execute(db)
  const [row = { otherBuilds: 0, replicas: [], tableLocks: [] }] = rows
  return {
    otherBuilds: row.otherBuilds,
    replicas: row.replicas.map(({ name, lagMs }) => ({ name, lagMs: lagMs ?? undefined })),
    tableLocks: row.tableLocks.map(({ pid, mode }) => ({ pid: pid ?? undefined, mode })),
    transactions: transactions.rows.map(({ pid, ageMs, state, application, user }) => ({
      pid: pid ?? 0,
      ageMs: ageMs ?? undefined,
      state: state ?? undefined,
      application: application ?? '',
      user: user ?? '',
    })),
  }
}

/** The schema of pgstattuple's functions; undefined when it is not installed, or not for us. */
export async function selectMeasureSchema(db: Db): Promise<string | undefined> {
  const { rows } = await sql<{ schema: string }>`
    SELECT n.nspname AS schema FROM pg_catalog.pg_extension e
      JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND d.refobjid = e.oid AND d.deptype = 'e'
      JOIN pg_catalog.pg_proc p ON d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND p.oid = d.objid
      JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
    WHERE e.extname = 'pgstattuple' AND p.proname = 'pgstatindex' AND p.proargtypes[0] = 'pg_catalog.regclass'::pg_catalog.regtype
      AND pg_catalog.has_function_privilege(p.oid, 'EXECUTE') AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')`.execute(
    db,
  )
  return rows[0]?.schema
}

/** Reads the whole index. */
export async function measureIndex(db: Db, schema: string, oid: number): Promise<MeasuredIndex | undefined> {
  const { rows } = await sql<MeasuredIndex>`
    SELECT leaf_pages::float8 AS "leafPages", (internal_pages + empty_pages + deleted_pages)::float8 AS "otherPages",
      CASE WHEN leaf_pages = 0 THEN 0 ELSE avg_leaf_density END::float8 AS "leafDensity"
    FROM ${sql.id(schema, 'pgstatindex')}((${asOid(oid)})::pg_catalog.regclass)`.execute(db)
  return rows[0]
}

/** Every index of one table, also unusable ones. */
export async function selectSiblings(db: Db, tableOid: number): Promise<readonly SiblingIndex[]> {
  const { rows } = await sql<SiblingIndex>`
    WITH ${lockedRelations}
    SELECT ${oidOf('x.oid')} AS oid, n.nspname AS schema, x.relname AS name, coalesce(${unlessLocked(namelessDefinition)}, '') AS definition, i.indisvalid AS valid,
      ${sizeOf('x')} AS "sizeBytes"
    FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid JOIN pg_catalog.pg_namespace n ON n.oid = x.relnamespace
    WHERE i.indrelid = ${asOid(tableOid)} ORDER BY x.oid`.execute(db)
  return rows
}

/** Whether a session of this name is there, or somebody else builds on the table. Both would tell that the server is still at it. */
export async function selectStillAtWork(db: Db, sessionName: string, tableOid: number): Promise<boolean> {
  const { rows } = await sql<{ at_work: boolean }>`
    SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_stat_activity a WHERE a.application_name = ${sessionName})
      OR EXISTS (SELECT 1 FROM pg_catalog.pg_locks l WHERE l.locktype = 'relation' AND l.relation = ${asOid(tableOid)}
        AND l.mode = 'ShareUpdateExclusiveLock' AND l.database = (
          SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())) AS at_work`.execute(
    db,
  )
  return rows[0]?.at_work ?? true
}

/**
 * The copy that a session is building. Its progress names the *old* index until the build begins, and while it waits for writers before that the copy
 * is there already; but from the copy's first instant the session holds a lock on it.
 */
export async function selectNewIndex(
  db: Db,
  pid: number,
  tableOid: number,
  oldOid: number,
): Promise<number | undefined> {
  const { rows } = await sql<{ oid: number }>`
    SELECT ${oidOf('i.indexrelid')} AS oid FROM pg_catalog.pg_index i
    WHERE i.indrelid = ${asOid(tableOid)} AND NOT i.indisvalid AND i.indexrelid <> ${asOid(oldOid)}
      AND (EXISTS (SELECT 1 FROM pg_catalog.pg_stat_progress_create_index p WHERE p.pid = ${pid} AND p.index_relid = i.indexrelid)
        OR EXISTS (SELECT 1 FROM pg_catalog.pg_locks l WHERE l.pid = ${pid} AND l.locktype = 'relation' AND l.relation = i.indexrelid
          AND l.mode = 'ShareUpdateExclusiveLock' AND l.granted AND l.database = (
            SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())))`.execute(db)
  return rows.length === 1 ? rows[0]?.oid : undefined
}

/** How far a session has come in the step that it is in. */
export async function selectBuildProgress(
  db: Db,
  pid: number,
): Promise<{ readonly phase: string; readonly done: number; readonly total: number } | undefined> {
  const { rows } = await sql<{ phase: string; done: number; total: number }>`
    SELECT phase, blocks_done::float8 AS done, blocks_total::float8 AS total
    FROM pg_catalog.pg_stat_progress_create_index WHERE pid = ${pid}`.execute(db)
  return rows[0]
}

/** What this session is called, and when it began: with its pid, what tells it from a later one of the same pid. */
export async function selectSession(db: Db): Promise<{ readonly name: string; readonly startedAt: string }> {
  const { rows } = await sql<{ name: string; startedAt: string }>`
    SELECT pg_catalog.current_setting('application_name') AS name, a.backend_start::text AS "startedAt"
    FROM pg_catalog.pg_stat_activity a WHERE a.pid = pg_catalog.pg_backend_pid()`.execute(db)
  return rows[0] ?? { name: '', startedAt: '-infinity' }
}

// ── writes ───────────────────────────────────────────────────────────────────────────────────────────────────────

/** Takes SHARE UPDATE EXCLUSIVE on the table: reads and writes go on. Waits for older transactions, more than once. */
export async function rebuildIndex(db: Db, schema: string, name: string): Promise<void> {
  await sql`REINDEX INDEX CONCURRENTLY ${sql.id(schema, name)}`.execute(db)
}

/**
 * Gives a leftover a name that nobody else will have, so that the name in DROP INDEX can mean no other index. Takes SHARE UPDATE EXCLUSIVE on the index,
 * which whoever builds it holds, and is refused while it is valid, or something else than it was taken for.
 * @returns false when it is not this index any more; the caller rolls back
 */
export async function renameLeftover(
  db: Db,
  leftover: SiblingIndex & { readonly tableOid: number },
  newName: string,
): Promise<boolean> {
  if (leftover.name !== newName)
    await sql`ALTER INDEX ${sql.id(leftover.schema, leftover.name)} RENAME TO ${sql.id(newName)}`.execute(db)
  const { rows } = await sql`
    SELECT 1 FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
      JOIN pg_catalog.pg_namespace n ON n.oid = x.relnamespace
    WHERE x.oid = ${asOid(leftover.oid)} AND n.nspname = ${leftover.schema} AND x.relname = ${newName}
      AND i.indrelid = ${asOid(leftover.tableOid)} AND NOT i.indisvalid AND ${namelessDefinition} = ${leftover.definition}`.execute(
    db,
  )
  return rows.length === 1
}

/** Waits for older transactions, too. Harmless if done twice. */
export async function dropLeftover(db: Db, schema: string, name: string): Promise<void> {
  await sql`DROP INDEX CONCURRENTLY IF EXISTS ${sql.id(schema, name)}`.execute(db)
}
