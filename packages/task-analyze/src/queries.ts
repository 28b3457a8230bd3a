import { mayMaintain } from '@battlescope/database'
import { sql, type Kysely } from 'kysely'

export interface Candidate {
  readonly schema: string
  readonly name: string
  readonly kind: 'table' | 'partitioned' | 'materialized-view'
  /** Rows as the planner believes; undefined when the relation was never analyzed. */
  readonly estimatedRows: number | undefined
  /** Rows changed since the last ANALYZE; for partitioned relations always 0. */
  readonly changedRows: number
  /** Rows ever inserted, updated or deleted in the leaves of a partitioned relation. */
  readonly leafChanges: number
  readonly permitted: boolean
  readonly lastAnalyzeAt: Date | undefined
}

interface CandidateRow {
  readonly schema: string
  readonly name: string
  readonly kind: 'r' | 'p' | 'm'
  readonly estimated_rows: number
  readonly sampled: boolean
  readonly changed_rows: string
  readonly leaf_changes: string
  readonly permitted: boolean
  readonly last_analyze_at: Date | null
}

const kinds = { r: 'table', p: 'partitioned', m: 'materialized-view' } as const

/** Every relation outside the system schemas that could be analyzed, and whether we may. */
export async function selectCandidates(db: Kysely<unknown>): Promise<readonly Candidate[]> {
  const version = await sql<{
    version: number
  }>`SELECT pg_catalog.current_setting('server_version_num')::int4 AS version`.execute(db)
  // Without USAGE on its schema a relation cannot even be named.
  const permitted = sql`pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND ${mayMaintain(version.rows[0]?.version ?? 0)}`
  const { rows } = await sql<CandidateRow>`
    SELECT n.nspname AS schema, c.relname AS name, c.relkind AS kind, c.reltuples AS estimated_rows,
      coalesce(s.n_mod_since_analyze, 0) AS changed_rows, (${permitted}) AS permitted,
      greatest(s.last_analyze, s.last_autoanalyze) AS last_analyze_at,
      EXISTS (SELECT 1 FROM pg_catalog.pg_stats p WHERE p.schemaname = n.nspname AND p.tablename = c.relname) AS sampled,
      CASE WHEN c.relkind = 'p' THEN (
        SELECT coalesce(sum(l.n_tup_ins + l.n_tup_upd + l.n_tup_del), 0)
        FROM pg_catalog.pg_partition_tree(c.oid) t JOIN pg_catalog.pg_stat_all_tables l ON l.relid = t.relid
        WHERE t.isleaf) ELSE 0 END AS leaf_changes
    FROM pg_catalog.pg_class c
      JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      LEFT JOIN pg_catalog.pg_stat_all_tables s ON s.relid = c.oid
    WHERE c.relkind IN ('r', 'p', 'm') AND c.relpersistence <> 't'
      AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
    ORDER BY 1, 2`.execute(db)
  return rows.map((row) => ({
    schema: row.schema,
    name: row.name,
    kind: kinds[row.kind],
    estimatedRows: wasAnalyzed(row) ? row.estimated_rows : undefined,
    changedRows: Number(row.changed_rows),
    leafChanges: Number(row.leaf_changes),
    permitted: row.permitted,
    lastAnalyzeAt: row.last_analyze_at ?? undefined,
  }))
}

/**
 * `last_analyze` alone does not tell: a crash of the server, or a reset, empties it. Nor does `reltuples`: CREATE INDEX and VACUUM set it
 * too, so a restored dump has row counts and no statistics. Statistics that we may not read count as none: one ANALYZE too many.
 */
function wasAnalyzed(row: CandidateRow): boolean {
  if (row.estimated_rows < 0) return false
  return row.estimated_rows === 0 || row.last_analyze_at !== null || row.sampled
}

/** When the relation was last analyzed by a command; undefined when never, or when it is gone. */
export async function selectLastAnalyze(db: Kysely<unknown>, schema: string, name: string): Promise<Date | undefined> {
  const { rows } = await sql<{ at: Date | null }>`
    SELECT s.last_analyze AS at FROM pg_catalog.pg_stat_all_tables s WHERE s.schemaname = ${schema} AND s.relname = ${name}`.execute(
    db,
  )
  return rows[0]?.at ?? undefined
}

/** Takes SHARE UPDATE EXCLUSIVE: reads and writes go on. */
export async function analyzeRelation(db: Kysely<unknown>, schema: string, name: string): Promise<void> {
  await sql`ANALYZE ${sql.id(schema, name)}`.execute(db)
}
