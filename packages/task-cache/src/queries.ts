/** Every SQL statement of this task: reads first, then writes. */
import { sql, type Kysely, type RawBuilder } from 'kysely'
import type { Boundary, RowRange } from './plan.js'

/** A relation with rows of its own: a table, or a leaf of a partitioned one. */
export interface Leaf {
  readonly schema: string
  readonly name: string
  /** SELECT, UPDATE (FOR UPDATE needs it) and DELETE. */
  readonly permitted: boolean
  readonly indexed: boolean
}

export type TimeType = 'timestamptz' | 'timestamp' | 'date'

export interface RelationFacts {
  readonly kind: 'table' | 'partitioned' | 'other'
  /** Undefined when there is no such column. */
  readonly columnType: string | undefined
  readonly leaves: readonly Leaf[]
}

/** Undefined when there is no such relation. */
export async function selectRelation(
  db: Kysely<unknown>,
  relation: { readonly schema: string; readonly name: string; readonly column: string },
): Promise<RelationFacts | undefined> {
  const { rows } = await sql<{ kind: string; type: string | null; leaves: readonly Leaf[] | null }>`
    SELECT c.relkind AS kind, t.typname AS type, (
      SELECT json_agg(json_build_object(
        'schema', ln.nspname, 'name', l.relname,
        'permitted', pg_catalog.has_table_privilege(l.oid, 'SELECT') AND pg_catalog.has_table_privilege(l.oid, 'UPDATE')
          AND pg_catalog.has_table_privilege(l.oid, 'DELETE'),
        'indexed', EXISTS (
          SELECT 1 FROM pg_catalog.pg_index i
            JOIN pg_catalog.pg_attribute ia ON ia.attrelid = l.oid AND ia.attnum = i.indkey[0]
          WHERE i.indrelid = l.oid AND i.indisvalid AND i.indpred IS NULL AND ia.attname = ${relation.column}))
        ORDER BY l.oid)
      FROM pg_catalog.pg_class l JOIN pg_catalog.pg_namespace ln ON ln.oid = l.relnamespace
      WHERE l.relkind = 'r' AND (l.oid = c.oid
        OR c.relkind = 'p' AND l.oid IN (SELECT p.relid FROM pg_catalog.pg_partition_tree(c.oid) p WHERE p.isleaf))
    ) AS leaves
    FROM pg_catalog.pg_class c
      JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attname = ${relation.column} AND a.attnum > 0
        AND NOT a.attisdropped
      LEFT JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
    WHERE n.nspname = ${relation.schema} AND c.relname = ${relation.name}`.execute(db)
  const [row] = rows
  if (row === undefined) return undefined
  return {
    kind: row.kind === 'r' ? 'table' : row.kind === 'p' ? 'partitioned' : 'other',
    columnType: row.type ?? undefined,
    leaves: row.leaves ?? [],
  }
}

/** Where rows expire: before this instant, by this column. */
export interface Expiry {
  readonly schema: string
  readonly name: string
  readonly column: string
  readonly type: TimeType
  readonly horizon: Date
}

/**
 * Times that divide the expired rows, oldest first, into batches of `batchSize`; of the first `most` rows alone. Times are text, for a
 * JavaScript Date would lose their microseconds.
 */
export async function selectBoundaries(
  db: Kysely<unknown>,
  expiry: Expiry,
  batchSize: number,
  most: number,
): Promise<readonly Boundary[]> {
  const column = sql.ref('e.at')
  const { rows } = await sql<{ up_to: string; rows: string }>`
    SELECT ${asText(column, expiry.type)} AS up_to, e.number AS rows
    FROM (
      SELECT o.at, row_number() OVER (ORDER BY o.at) AS number, lead(o.at) OVER (ORDER BY o.at) IS NULL AS is_last
      FROM (
        SELECT ${sql.id(expiry.column)} AS at FROM ONLY ${relationOf(expiry)}
        WHERE ${isExpired(expiry)} ORDER BY 1 LIMIT ${most}
      ) o
    ) e
    WHERE e.number % ${batchSize} = 0 OR e.is_last
    ORDER BY e.number`.execute(db)
  return rows.map((row) => ({ upTo: row.up_to, rows: Number(row.rows) }))
}

/**
 * Deletes the expired rows of a range, at most `limit`, and none that somebody else has locked. ONLY, and one leaf at a time: a `ctid`
 * names a row within one table. Row by row it holds what is deleted against the condition again: a row that was renewed meanwhile stays.
 * @returns how many
 */
export async function deleteExpired(
  db: Kysely<unknown>,
  expiry: Expiry,
  { after, upTo }: RowRange,
  limit: number,
): Promise<number> {
  const column = sql.id(expiry.column)
  const begin = after === undefined ? sql`` : sql`AND ${column} > ${fromText(after, expiry.type)}`
  const result = await sql`
    DELETE FROM ONLY ${relationOf(expiry)} WHERE ctid = ANY (ARRAY(
      SELECT ctid FROM ONLY ${relationOf(expiry)}
      WHERE ${isExpired(expiry)} ${begin} AND ${column} <= ${fromText(upTo, expiry.type)}
      LIMIT ${limit} FOR UPDATE SKIP LOCKED))`.execute(db)
  return Number(result.numAffectedRows ?? 0)
}

function relationOf({ schema, name }: Expiry): RawBuilder<unknown> {
  return sql`${sql.id(schema, name)}`
}

/** Infinite times never expire: they are how people write "never" and "unknown". */
function isExpired({ column, type, horizon }: Expiry): RawBuilder<unknown> {
  const instant = sql`${horizon.toISOString()}::timestamptz`
  const limit = type === 'timestamptz' ? instant : sql`(${instant} AT TIME ZONE 'UTC')::${typeOf(type)}`
  return sql`${sql.id(column)} < ${limit} AND isfinite(${sql.id(column)})`
}

function asText(column: RawBuilder<unknown>, type: TimeType): RawBuilder<string> {
  const utc = type === 'timestamptz' ? sql`(${column} AT TIME ZONE 'UTC')` : sql`${column}::timestamp`
  return sql`to_char(${utc}, 'YYYY-MM-DD HH24:MI:SS.US')`
}

function fromText(text: string, type: TimeType): RawBuilder<unknown> {
  return type === 'timestamptz'
    ? sql`(${text}::timestamp AT TIME ZONE 'UTC')`
    : sql`${text}::timestamp::${typeOf(type)}`
}

function typeOf(type: TimeType): RawBuilder<unknown> {
  return { timestamptz: sql`timestamptz`, timestamp: sql`timestamp`, date: sql`date` }[type]
}
