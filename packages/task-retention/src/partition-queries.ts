/** The statements over partitions of a policy's relation: what they are, what they hold, and how they leave. */
import { selectColumns } from '@battlescope/archive'
import type { RelationName } from '@battlescope/database'
import { sql, type Kysely, type RawBuilder } from 'kysely'
import { tableOf } from './expiry.js'
import { fieldSeparator } from './guards.js'
import type { PartitionContent, PartitionedFacts, PartitionFacts } from './partition-facts.js'
import { isSameRelation, type Policy } from './policy.js'
import type { KeyColumn } from './preflight-facts.js'

// ── reads ────────────────────────────────────────────────────────────────────────────────────────────────────────

interface PartitionedRow {
  readonly is_by_time: boolean
  readonly has_default: boolean
  readonly is_owned: boolean
  readonly is_published: boolean
  readonly partitions: readonly (Omit<PartitionFacts, 'relation' | 'toAt'> & {
    readonly schema: string
    readonly name: string
    readonly toAt: string | null
  })[]
}

/** A bound is text of the catalog, written and read again under the settings of one session. */
const upperBound = sql`substring(pg_catalog.pg_get_expr(p.relpartbound, p.oid) FROM ${`TO \\('([^']+)'\\)$`}::text)`

/**
 * Views, functions, types, and policies of other tables, that name the partition or its row type: DROP TABLE would refuse (2BP01). Its own
 * rules and policies go with it.
 * A sequence that is owned by a column would go with it, too, whoever else uses it; that of an identity column is nobody else's.
 */
const namedElsewhere = sql`(EXISTS (SELECT FROM pg_catalog.pg_depend s
    JOIN pg_catalog.pg_class q ON q.oid = s.objid AND q.relkind = 'S'
    WHERE s.classid = 'pg_catalog.pg_class'::regclass AND s.refclassid = 'pg_catalog.pg_class'::regclass
      AND s.refobjid = p.oid AND s.refobjsubid > 0 AND s.deptype = 'a')
  OR EXISTS (SELECT FROM pg_catalog.pg_depend d
  WHERE ((d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = p.oid)
      OR (d.refclassid = 'pg_catalog.pg_type'::regclass AND d.refobjid = p.reltype)) AND d.deptype = 'n'
    AND (d.classid = 'pg_catalog.pg_proc'::regclass
      OR (d.classid = 'pg_catalog.pg_class'::regclass AND d.objid <> p.oid)
      OR (d.classid = 'pg_catalog.pg_rewrite'::regclass
        AND NOT EXISTS (SELECT FROM pg_catalog.pg_rewrite w WHERE w.oid = d.objid AND w.ev_class = p.oid))
      OR (d.classid = 'pg_catalog.pg_policy'::regclass
        AND NOT EXISTS (SELECT FROM pg_catalog.pg_policy o WHERE o.oid = d.objid AND o.polrelid = p.oid))
      OR d.classid = 'pg_catalog.pg_type'::regclass)))`

/** @returns undefined when the relation is not partitioned */
export async function selectPartitioned(
  db: Kysely<unknown>,
  { relation, timeColumn }: Pick<Policy, 'relation' | 'timeColumn'>,
): Promise<PartitionedFacts | undefined> {
  const { rows } = await sql<PartitionedRow>`
    SELECT t.partdefid <> 0 AS has_default, pg_catalog.pg_has_role(c.relowner, 'USAGE') AS is_owned,
      t.partstrat = 'r' AND t.partnatts = 1 AND EXISTS (SELECT FROM pg_catalog.pg_attribute a
        WHERE a.attrelid = c.oid AND a.attname = ${timeColumn} AND a.attnum = t.partattrs[0]) AS is_by_time,
      EXISTS (SELECT FROM pg_catalog.pg_publication b WHERE b.pubdelete AND (b.puballtables
        OR EXISTS (SELECT FROM pg_catalog.pg_publication_rel e WHERE e.prpubid = b.oid
          AND (e.prrelid = c.oid OR e.prrelid IN (SELECT i.inhrelid FROM pg_catalog.pg_inherits i WHERE i.inhparent = c.oid)))
        OR EXISTS (SELECT FROM pg_catalog.pg_publication_namespace e WHERE e.pnpubid = b.oid
          AND (e.pnnspid = c.relnamespace OR e.pnnspid IN (SELECT l.relnamespace FROM pg_catalog.pg_inherits i
            JOIN pg_catalog.pg_class l ON l.oid = i.inhrelid WHERE i.inhparent = c.oid))))) AS is_published,
      coalesce((SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
          'oid', p.oid::text, 'schema', pn.nspname, 'name', p.relname, 'isTable', p.relkind = 'r',
          'isOwned', pg_catalog.pg_has_role(p.relowner, 'USAGE'), 'hidesRows', pg_catalog.row_security_active(p.oid),
          'isNamedElsewhere', ${namedElsewhere}, 'isPending', i.inhdetachpending,
          'bounds', pg_catalog.pg_get_expr(p.relpartbound, p.oid),
          'toAt', CASE WHEN t.partstrat = 'r' AND pg_catalog.format_type(k.atttypid, NULL) = 'timestamp with time zone'
              AND pg_catalog.isfinite(${upperBound}::timestamptz)
            THEN pg_catalog.to_char(${upperBound}::timestamptz AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') END,
          'sizeBytes', pg_catalog.pg_total_relation_size(p.oid)) ORDER BY p.oid)
        FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class p ON p.oid = i.inhrelid
          JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace
          LEFT JOIN pg_catalog.pg_attribute k ON k.attrelid = c.oid AND k.attnum = t.partattrs[0] AND t.partattrs[0] <> 0
        WHERE i.inhparent = c.oid), '[]') AS partitions
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      JOIN pg_catalog.pg_partitioned_table t ON t.partrelid = c.oid
    WHERE n.nspname = ${relation.schema} AND c.relname = ${relation.name}`.execute(db)
  const [row] = rows
  if (row === undefined) return undefined
  return {
    isByTime: row.is_by_time,
    hasDefault: row.has_default,
    isOwned: row.is_owned,
    isPublished: row.is_published,
    partitions: row.partitions.map(({ schema, name, toAt, ...facts }) => ({
      ...facts,
      relation: { schema, name },
      toAt: toAt === null ? undefined : new Date(toAt),
    })),
  }
}

export interface ContentOptions {
  readonly keyColumns: readonly KeyColumn[]
  /** Whether the row `t` may go. */
  readonly mayGo: RawBuilder<boolean>
  /** Without it the hash is 0: nobody compares it. */
  readonly hashed: boolean
}

/** What a partition holds, in one scan and bounded memory. */
export async function selectContent(
  db: Kysely<unknown>,
  relation: RelationName,
  { keyColumns, mayGo, hashed }: ContentOptions,
): Promise<PartitionContent> {
  const fields = sql.join([...keyColumns.map(({ name }) => sql`${sql.id('t', name)}::text`), sql`t.xmin::text`])
  const half = (from: number) =>
    hashed
      ? sql`coalesce(sum(('x' || encode(substring(x.digest FROM ${sql.lit(from)} FOR 8), 'hex'))::bit(64)::bigint), 0)::text`
      : sql`'0'`
  const digest = hashed ? sql`sha256(convert_to(concat_ws(${fieldSeparator}, ${fields}), 'UTF8'))` : sql`NULL`
  const { rows } = await sql<{ count: string; staying: string; high: string; low: string }>`
    SELECT count(*)::text AS count, count(*) FILTER (WHERE NOT x.may_go)::text AS staying, ${half(1)} AS high, ${half(9)} AS low
    FROM (SELECT (${mayGo}) IS TRUE AS may_go, ${digest} AS digest FROM ONLY ${tableOf(relation)} t) x`.execute(db)
  const [row] = rows
  return {
    rows: Number(row?.count ?? 0),
    staying: Number(row?.staying ?? 0),
    hash: { high: BigInt(row?.high ?? 0), low: BigInt(row?.low ?? 0) },
  }
}

/** Its columns as one text: a column that came after the copy would be dropped without one. */
export async function selectColumnsText(db: Kysely<unknown>, { schema, name }: RelationName): Promise<string> {
  return columnsText(await selectColumns(db, schema, name))
}

export function columnsText(columns: readonly { readonly name: string; readonly typeName: string }[]): string {
  return JSON.stringify(columns.map(({ name, typeName }) => [name, typeName]).sort())
}

// ── writes ───────────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * Outside of a transaction. It commits once in the middle and waits for whoever uses the relation: when it fails there, the partition is
 * pending, its rows are invisible through the relation, and only {@link finalizeDetach} goes on.
 */
export async function detachConcurrently(db: Kysely<unknown>, from: RelationName, partition: RelationName) {
  await sql`ALTER TABLE ${tableOf(from)} DETACH PARTITION ${tableOf(partition)} CONCURRENTLY`.execute(db)
}

export async function finalizeDetach(db: Kysely<unknown>, from: RelationName, partition: RelationName) {
  await sql`ALTER TABLE ${tableOf(from)} DETACH PARTITION ${tableOf(partition)} FINALIZE`.execute(db)
}

/** Keeps everybody out until the transaction ends. @returns why it must not be dropped; undefined: nothing is in the way */
export async function lockDetached(
  db: Kysely<unknown>,
  relation: RelationName,
  oid: string,
): Promise<string | undefined> {
  await sql`LOCK TABLE ONLY ${tableOf(relation)} IN ACCESS EXCLUSIVE MODE`.execute(db)
  const { rows } = await sql<LockedRow>`
    SELECT n.nspname AS schema, p.relname AS name, pg_catalog.row_security_active(p.oid) AS hides, ${namedElsewhere} AS named,
      EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE p.oid IN (i.inhrelid, i.inhparent)) AS related
    FROM pg_catalog.pg_class p JOIN pg_catalog.pg_namespace n ON n.oid = p.relnamespace WHERE p.oid = ${oid}::oid`.execute(
    db,
  )
  const [row] = rows
  if (row === undefined || row.related || !isSameRelation(row, relation)) return 'it is not the table that was detached'
  if (row.hides) return 'row-level security hides rows of it from our role'
  return row.named ? 'a view, a function or a sequence belongs to it' : undefined
}

interface LockedRow {
  readonly schema: string
  readonly name: string
  readonly hides: boolean
  readonly named: boolean
  readonly related: boolean
}

/**
 * Without CASCADE: what depends on it makes this fail.
 * @returns whether it was the table with this OID: a lock keeps nobody from renaming schemas, and then another one has its name
 */
export async function dropTable(db: Kysely<unknown>, relation: RelationName, oid: string): Promise<boolean> {
  await sql`DROP TABLE ${tableOf(relation)}`.execute(db)
  const { rows } = await sql`SELECT FROM pg_catalog.pg_class WHERE oid = ${oid}::oid`.execute(db)
  return rows.length === 0
}
