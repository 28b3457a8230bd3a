import { mayMaintain, type RelationName } from '@battlescope/database'
import { sql, type Kysely } from 'kysely'
import type { VacuumConfig } from './config.js'

/** What the cumulative statistics and the catalog say of one heap: a relation's own, or that of its TOAST table. */
export interface Heap {
  /** Rows as of the last VACUUM or ANALYZE; undefined before the first. */
  readonly rows: number | undefined
  readonly deadRows: number
  readonly insertedRows: number
  /** Pages as of the last VACUUM or ANALYZE, and how many of them were visible to everyone. */
  readonly pages: number
  readonly allVisiblePages: number
  /** Storage parameters, as pg_class keeps them: `autovacuum_enabled` → `false`. */
  readonly parameters: Readonly<Record<string, string>>
}

export interface Candidate extends Heap, RelationName {
  readonly oid: number
  readonly parents: readonly RelationName[]
  readonly permitted: boolean
  readonly toast: (Heap & { readonly oid: number }) | undefined
  /** Rows changed since the last ANALYZE. */
  readonly changedRows: number
  /** Transactions since the oldest one that the relation, or its TOAST table, may still name. */
  readonly frozenAge: number
  readonly multixactAge: number
  /** By a command or by autovacuum; undefined when never, and after a crash. */
  readonly lastVacuumAt: Date | undefined
}

interface CandidateRow {
  readonly oid: number
  readonly schema: string
  readonly name: string
  readonly parents: readonly RelationName[]
  readonly permitted: boolean
  readonly rows: number
  readonly dead_rows: number
  readonly inserted_rows: number
  readonly pages: number
  readonly all_visible_pages: number
  readonly parameters: readonly string[] | null
  readonly toast_oid: number | null
  readonly toast_rows: number
  readonly toast_dead_rows: number
  readonly toast_inserted_rows: number
  readonly toast_pages: number
  readonly toast_all_visible_pages: number
  readonly toast_parameters: readonly string[] | null
  readonly changed_rows: number
  readonly frozen_age: number
  readonly multixact_age: number
  readonly last_vacuum_at: Date | null
}

/**
 * Every relation outside the system schemas that has rows of its own. No function here opens one (pg_relation_size does): a relation
 * that somebody has locked must not keep the others waiting.
 */
export async function selectCandidates(db: Kysely<unknown>, versionNum: number): Promise<readonly Candidate[]> {
  const { rows } = await sql<CandidateRow>`
    SELECT c.oid::int8::float8 AS oid, n.nspname AS schema, c.relname AS name,
      CASE WHEN c.relispartition THEN (
        SELECT coalesce(json_agg(json_build_object('schema', pn.nspname, 'name', p.relname)), '[]')
        FROM pg_catalog.pg_partition_ancestors(c.oid) a (relid) JOIN pg_catalog.pg_class p ON p.oid = a.relid
          JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace WHERE p.oid <> c.oid) ELSE '[]' END AS parents,
      pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND ${mayMaintain(versionNum)} AS permitted,
      c.reltuples::float8 AS rows, coalesce(s.n_dead_tup, 0)::float8 AS dead_rows,
      coalesce(s.n_ins_since_vacuum, 0)::float8 AS inserted_rows,
      c.relpages AS pages, c.relallvisible AS all_visible_pages, c.reloptions AS parameters,
      t.oid::int8::float8 AS toast_oid, coalesce(t.reltuples, -1)::float8 AS toast_rows, coalesce(ts.n_dead_tup, 0)::float8 AS toast_dead_rows,
      coalesce(ts.n_ins_since_vacuum, 0)::float8 AS toast_inserted_rows, coalesce(t.relpages, 0) AS toast_pages,
      coalesce(t.relallvisible, 0) AS toast_all_visible_pages, t.reloptions AS toast_parameters,
      coalesce(s.n_mod_since_analyze, 0)::float8 AS changed_rows,
      greatest(pg_catalog.age(c.relfrozenxid), CASE WHEN t.oid IS NOT NULL THEN pg_catalog.age(t.relfrozenxid) END) AS frozen_age,
      greatest(pg_catalog.mxid_age(c.relminmxid), CASE WHEN t.oid IS NOT NULL THEN pg_catalog.mxid_age(t.relminmxid) END) AS multixact_age,
      greatest(s.last_vacuum, s.last_autovacuum) AS last_vacuum_at
    FROM pg_catalog.pg_class c
      JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      LEFT JOIN pg_catalog.pg_stat_all_tables s ON s.relid = c.oid
      LEFT JOIN pg_catalog.pg_class t ON t.oid = c.reltoastrelid
      LEFT JOIN pg_catalog.pg_stat_all_tables ts ON ts.relid = t.oid
    WHERE c.relkind IN ('r', 'm') AND c.relpersistence <> 't'
      AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
    ORDER BY 2, 3`.execute(db)
  return rows.map((row) => ({
    oid: row.oid,
    schema: row.schema,
    name: row.name,
    parents: row.parents,
    permitted: row.permitted,
    ...heapOf(row.rows, row.dead_rows, row.inserted_rows, row.pages, row.all_visible_pages, row.parameters),
    toast:
      row.toast_oid === null
        ? undefined
        : {
            oid: row.toast_oid,
            ...heapOf(
              row.toast_rows,
              row.toast_dead_rows,
              row.toast_inserted_rows,
              row.toast_pages,
              row.toast_all_visible_pages,
              row.toast_parameters,
            ),
          },
    changedRows: row.changed_rows,
    frozenAge: row.frozen_age,
    multixactAge: row.multixact_age,
    lastVacuumAt: row.last_vacuum_at ?? undefined,
  }))
}

function heapOf(
  rows: number,
  deadRows: number,
  insertedRows: number,
  pages: number,
  allVisiblePages: number,
  parameters: readonly string[] | null,
): Heap {
  const pairs = (parameters ?? []).map((text): [string, string] => {
    const at = text.indexOf('=')
    return [text.slice(0, at), text.slice(at + 1)]
  })
  return {
    rows: rows < 0 ? undefined : rows,
    deadRows,
    insertedRows,
    pages,
    allVisiblePages,
    parameters: Object.fromEntries(pairs),
  }
}

export interface Sizes {
  readonly heapBytes: number
  readonly indexBytes: number
  readonly toastHeapBytes: number
  readonly toastIndexBytes: number
}

/** Waits while somebody has the relation locked: one at a time. Undefined when it is gone. */
export async function selectSizes(db: Kysely<unknown>, oid: number): Promise<Sizes | undefined> {
  const { rows } = await sql<{ heap: number | null; index: number; toast_heap: number; toast_index: number }>`
    SELECT pg_catalog.pg_relation_size(c.oid)::float8 AS heap, pg_catalog.pg_indexes_size(c.oid)::float8 AS index,
      CASE WHEN c.reltoastrelid <> 0 THEN pg_catalog.pg_relation_size(c.reltoastrelid) ELSE 0 END::float8 AS toast_heap,
      CASE WHEN c.reltoastrelid <> 0 THEN pg_catalog.pg_indexes_size(c.reltoastrelid) ELSE 0 END::float8 AS toast_index
    FROM pg_catalog.pg_class c WHERE c.oid = ${oid}::int8::oid`.execute(db)
  const [row] = rows
  // The size of a relation that was dropped between the catalog and the file is NULL.
  if (row === undefined || row.heap === null) return undefined
  return {
    heapBytes: row.heap,
    indexBytes: row.index,
    toastHeapBytes: row.toast_heap,
    toastIndexBytes: row.toast_index,
  }
}

/** What is compared before and after. */
export interface Condition extends Sizes {
  readonly deadRows: number
  readonly toastDeadRows: number
  readonly pages: number
  readonly allVisiblePages: number
  readonly frozenAge: number
  /** When it was last vacuumed by a command. */
  readonly lastVacuumAt: Date | undefined
}

interface ConditionRow {
  readonly dead_rows: number
  readonly toast_dead_rows: number
  readonly pages: number
  readonly all_visible_pages: number
  readonly frozen_age: number
  readonly last_vacuum_at: Date | null
}

export async function selectCondition(db: Kysely<unknown>, oid: number): Promise<Condition | undefined> {
  const sizes = await selectSizes(db, oid)
  const { rows } = await sql<ConditionRow>`
    SELECT coalesce(s.n_dead_tup, 0)::float8 AS dead_rows, coalesce(ts.n_dead_tup, 0)::float8 AS toast_dead_rows, c.relpages AS pages,
      c.relallvisible AS all_visible_pages, pg_catalog.age(c.relfrozenxid) AS frozen_age, s.last_vacuum AS last_vacuum_at
    FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_stat_all_tables s ON s.relid = c.oid
      LEFT JOIN pg_catalog.pg_stat_all_tables ts ON ts.relid = c.reltoastrelid
    WHERE c.oid = ${oid}::int8::oid`.execute(db)
  const [row] = rows
  if (row === undefined || sizes === undefined) return undefined
  return {
    ...sizes,
    deadRows: row.dead_rows,
    toastDeadRows: row.toast_dead_rows,
    pages: row.pages,
    allVisiblePages: row.all_visible_pages,
    frozenAge: row.frozen_age,
    lastVacuumAt: row.last_vacuum_at ?? undefined,
  }
}

export interface VacuumOptions extends Pick<VacuumConfig, 'truncate' | 'indexCleanup' | 'costDelay' | 'costLimit'> {
  readonly analyze: boolean
  /** Scan every page that is not frozen, and freeze what is older than so many transactions. */
  readonly freezeOlderThan: number | undefined
}

/** For the session of a direct connection, which is nobody else's. */
export async function setVacuumSettings(db: Kysely<unknown>, options: VacuumOptions): Promise<void> {
  const settings: readonly (readonly [string, string])[] = [
    ...(options.costDelay === undefined ? [] : [['vacuum_cost_delay', `${options.costDelay}ms`] as const]),
    ...(options.costLimit === undefined ? [] : [['vacuum_cost_limit', `${options.costLimit}`] as const]),
    ...(options.freezeOlderThan === undefined
      ? []
      : [
          ['vacuum_freeze_table_age', '0'] as const,
          ['vacuum_multixact_freeze_table_age', '0'] as const,
          ['vacuum_freeze_min_age', `${options.freezeOlderThan}`] as const,
          ['vacuum_multixact_freeze_min_age', `${options.freezeOlderThan}`] as const,
        ]),
  ]
  const names = settings.map(([name]) => name)
  const values = settings.map(([, value]) => value)
  await sql`SELECT pg_catalog.set_config(s.name, s.value, false)
    FROM unnest(${names}::text[], ${values}::text[]) AS s (name, value)`.execute(db)
}

/** Takes SHARE UPDATE EXCLUSIVE: reads and writes go on. Never waits for it. */
export async function vacuumRelation(
  db: Kysely<unknown>,
  { schema, name }: RelationName,
  { truncate, indexCleanup, analyze }: VacuumOptions,
): Promise<void> {
  const options = [
    'SKIP_LOCKED',
    `TRUNCATE ${truncate}`,
    `INDEX_CLEANUP ${indexCleanup}`,
    ...(analyze ? ['ANALYZE'] : []),
  ]
  await sql`VACUUM (${sql.raw(options.join(', '))}) ${sql.id(schema, name)}`.execute(db)
}

export async function resetVacuumSettings(db: Kysely<unknown>): Promise<void> {
  await sql`SELECT pg_catalog.set_config(s.name, s.reset_val, false) FROM pg_catalog.pg_settings s
    WHERE s.name LIKE 'vacuum%' AND s.source = 'session'`.execute(db)
}
