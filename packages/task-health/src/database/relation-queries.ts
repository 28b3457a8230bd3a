/** Relations that are not what they seem: invalid, unlogged, or near their end. Reads the catalog alone, and each sequence's one row. */
import { sql, type Kysely } from 'kysely'

/** Relations of one kind that are looked at or named at most: a schema of ten thousand must not cost ten thousand reads. */
const mostSequences = 500
const mostNamed = 20

export interface Sequence {
  readonly name: string
  /** Share of its values that are used, 0 to 1; of those that fit its column's type, where they are fewer. */
  readonly usedRatio: number
  readonly last: string
  readonly end: string
  /** Column that it feeds. */
  readonly column: string | undefined
}

export interface Relations {
  readonly invalidIndexes: readonly { readonly index: string; readonly relation: string }[]
  readonly unlogged: readonly string[]
  /** Those that are used most, of those that do not cycle. */
  readonly sequences: readonly Sequence[]
  /** Those whose value is hidden from the role. They and the role as SQL has them: in quotes where they need them. */
  readonly unreadableSequences: readonly string[]
  readonly user: string
}

interface Row {
  readonly invalid: Relations['invalidIndexes'] | null
  readonly unlogged: readonly string[] | null
  readonly sequences: readonly { name: string; used: number; last: string; end: string; column: string | null }[] | null
  readonly unreadable: readonly string[] | null
  readonly user: string
}

const isUsers = sql.raw(`n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%'`)

export async function selectRelations(db: Kysely<unknown>): Promise<Relations> {
  const { rows } = await sql<Row>`
    WITH sequence AS MATERIALIZED (
      SELECT c.oid, n.nspname || '.' || c.relname AS name, pg_catalog.format('%I.%I', n.nspname, c.relname) AS quoted, s.seqmin, s.seqincrement,
        CASE WHEN s.seqincrement > 0 THEN least(s.seqmax, f.most) ELSE s.seqmax END AS seqmax, f.column_name,
        pg_catalog.has_sequence_privilege(c.oid, 'SELECT, USAGE') AS readable
      FROM pg_catalog.pg_sequence s
      JOIN pg_catalog.pg_class c ON c.oid = s.seqrelid
      JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      LEFT JOIN LATERAL (
        SELECT t.relname || '.' || a.attname AS column_name,
          CASE a.atttypid WHEN 'pg_catalog.int2'::pg_catalog.regtype THEN 32767
            WHEN 'pg_catalog.int4'::pg_catalog.regtype THEN 2147483647 ELSE 9223372036854775807 END AS most
        FROM pg_catalog.pg_depend d
        JOIN pg_catalog.pg_class t ON t.oid = d.refobjid
        JOIN pg_catalog.pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
        WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.refobjsubid > 0
          AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.deptype IN ('a', 'i') LIMIT 1) f ON true
      WHERE ${isUsers} AND c.relpersistence <> 't' AND NOT s.seqcycle
      ORDER BY least(s.seqmax, coalesce(f.most, s.seqmax)), c.oid LIMIT ${mostSequences}),
    value AS MATERIALIZED (
      SELECT s.*, CASE WHEN s.readable THEN pg_catalog.pg_sequence_last_value(s.oid::pg_catalog.regclass) END AS last FROM sequence s)
    SELECT
      (SELECT json_agg(json_build_object('index', t.index, 'relation', t.relation)) FROM (
        SELECT n.nspname || '.' || c.relname AS index, rn.nspname || '.' || r.relname AS relation
        FROM pg_catalog.pg_index i
        JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        JOIN pg_catalog.pg_class r ON r.oid = i.indrelid
        JOIN pg_catalog.pg_namespace rn ON rn.oid = r.relnamespace
        WHERE NOT i.indisvalid AND n.nspname <> 'pg_catalog'
          AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_stat_progress_create_index p
            WHERE p.index_relid = i.indexrelid OR p.relid = i.indrelid)
        ORDER BY 1 LIMIT ${mostNamed}) t) AS invalid,
      (SELECT json_agg(t.name) FROM (
        SELECT n.nspname || '.' || c.relname AS name FROM pg_catalog.pg_class c
        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relpersistence = 'u' AND c.relkind IN ('r', 'p') AND ${isUsers} ORDER BY 1 LIMIT ${mostNamed}) t) AS unlogged,
      (SELECT json_agg(json_build_object('name', t.name, 'used', t.used, 'last', t.last::text, 'end', t.finish::text, 'column', t.column_name))
        FROM (SELECT v.name, v.last, v.column_name,
            CASE WHEN v.seqincrement > 0 THEN v.seqmax ELSE v.seqmin END AS finish,
            CASE WHEN v.seqincrement > 0 THEN (v.last::float8 - v.seqmin) / greatest(v.seqmax::float8 - v.seqmin, 1)
              ELSE (v.seqmax::float8 - v.last) / greatest(v.seqmax::float8 - v.seqmin, 1) END AS used
          FROM value v WHERE v.last IS NOT NULL ORDER BY used DESC LIMIT ${mostNamed}) t) AS sequences,
      (SELECT json_agg(t.quoted) FROM (SELECT v.quoted FROM value v WHERE NOT v.readable ORDER BY 1 LIMIT ${mostNamed}) t) AS unreadable,
      pg_catalog.quote_ident(current_user) AS user`.execute(db)
  const [row] = rows
  return {
    invalidIndexes: row?.invalid ?? [],
    unlogged: row?.unlogged ?? [],
    sequences: (row?.sequences ?? []).map(({ used, column, ...rest }) => ({
      ...rest,
      usedRatio: used,
      column: column ?? undefined,
    })),
    unreadableSequences: row?.unreadable ?? [],
    user: row?.user ?? '',
  }
}
