/** Reads from the catalog what preflight judges. Works on PostgreSQL 15 and later; two statements, whatever the number of relations. */
import type { RelationName } from '@battlescope/database'
import { sql, type Kysely, type RawBuilder } from 'kysely'
import { keyOf, type Policy } from './policy.js'
import type {
  ColumnFacts,
  IndexFacts,
  KeyColumn,
  PreflightFacts,
  Privileges,
  PublicationFacts,
  ReferenceFacts,
  ReferentialAction,
  RelationFacts,
  RelationKind,
  RuleFacts,
  TriggerFacts,
} from './preflight-facts.js'

interface RelationRow {
  readonly schema: string
  readonly name: string
  readonly kind: string
  readonly is_temporary: boolean
  readonly is_partition: boolean
  readonly partition_count: number
  readonly has_default_partition: boolean
  readonly has_foreign_partition: boolean
  readonly inheritance: readonly RelationName[]
  readonly columns: readonly (Omit<ColumnFacts, 'nondeterministicCollation'> & {
    readonly nondeterministicCollation: string | null
  })[]
  readonly primary_key: readonly KeyColumn[]
  readonly indexes: readonly (Omit<IndexFacts, 'columns' | 'predicate'> & {
    readonly columns: readonly (string | null)[]
    readonly predicate: string | null
  })[]
  readonly triggers: readonly TriggerFacts[]
  readonly rules: readonly RuleFacts[]
  readonly row_security: RelationFacts['rowSecurity']
  readonly privileges: Privileges
  readonly refusing_publications: readonly PublicationFacts[]
  readonly estimated_rows: number | null
  readonly heap_bytes: string
  readonly total_bytes: string
}

interface ReferenceRow {
  readonly name: string
  readonly from: RelationName
  readonly from_ancestors: readonly RelationName[]
  readonly columns: readonly string[]
  readonly to: RelationName
  readonly references: readonly string[]
  readonly on_delete: string
  readonly is_enforced: boolean
}

const kinds: Readonly<Record<string, RelationKind>> = {
  r: 'table',
  p: 'partitioned',
  v: 'view',
  m: 'materialized-view',
  f: 'foreign-table',
}

const actions: Readonly<Record<string, ReferentialAction>> = {
  r: 'restrict',
  c: 'cascade',
  n: 'set-null',
  d: 'set-default',
}

/** Everything that {@link judgePreflight} wants to know of the relations that the policies name. */
export async function selectPreflightFacts(db: Kysely<unknown>, policies: readonly Policy[]): Promise<PreflightFacts> {
  const names = [...new Map(policies.flatMap(relationsOf).map((name) => [keyOf(name), name])).values()]
  const relations = await selectRelations(db, names)
  const references = await selectReferences(db, names)
  return {
    relations: new Map(relations.map((facts) => [keyOf(facts.relation), facts])),
    references,
  }
}

function relationsOf({ relation, children, members }: Policy): readonly RelationName[] {
  return [relation, ...children.map((child) => child.relation), ...members.map((member) => member.relation)]
}

/** `root`: the wanted relations that exist. `tree`: they and their partitions, down to the leaves. */
function rootsAndTrees(names: readonly RelationName[]): RawBuilder<unknown> {
  return sql`WITH root AS MATERIALIZED (
      SELECT c.*, n.nspname
      FROM unnest(${names.map(({ schema }) => schema)}::text[], ${names.map(({ name }) => name)}::text[]) AS w (schema, name)
        JOIN pg_catalog.pg_namespace n ON n.nspname = w.schema
        JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = w.name
    ), tree AS MATERIALIZED (
      SELECT r.oid AS root, r.oid AS relid FROM root r
      UNION
      SELECT r.oid, t.relid FROM root r CROSS JOIN LATERAL pg_catalog.pg_partition_tree(r.oid) t WHERE r.relkind = 'p'
    )`
}

async function selectRelations(db: Kysely<unknown>, names: readonly RelationName[]): Promise<readonly RelationFacts[]> {
  const { rows } = await sql<RelationRow>`${rootsAndTrees(names)}
    SELECT r.nspname AS schema, r.relname AS name, r.relkind AS kind, r.relpersistence = 't' AS is_temporary,
      r.relispartition AS is_partition,
      (SELECT count(*)::int4 FROM tree t JOIN pg_catalog.pg_class l ON l.oid = t.relid
        WHERE t.root = r.oid AND t.relid <> r.oid AND l.relkind <> 'p') AS partition_count,
      EXISTS (SELECT FROM tree t JOIN pg_catalog.pg_partitioned_table p ON p.partrelid = t.relid
        WHERE t.root = r.oid AND p.partdefid <> 0) AS has_default_partition,
      EXISTS (SELECT FROM tree t JOIN pg_catalog.pg_class l ON l.oid = t.relid
        WHERE t.root = r.oid AND t.relid <> r.oid AND l.relkind = 'f') AS has_foreign_partition,
      ${inheritanceOf} AS inheritance, ${columnsOf} AS columns, ${primaryKeyOf} AS primary_key, ${indexesOf} AS indexes,
      ${triggersOf} AS triggers, ${rulesOf} AS rules,
      CASE WHEN NOT r.relrowsecurity THEN 'none' WHEN pg_catalog.row_security_active(r.oid) THEN 'active' ELSE 'exempt' END AS row_security,
      ${privilegesOf} AS privileges, ${refusingPublicationsOf} AS refusing_publications,
      (SELECT sum(l.reltuples) FILTER (WHERE l.reltuples >= 0) FROM tree t JOIN pg_catalog.pg_class l ON l.oid = t.relid
        WHERE t.root = r.oid AND l.relkind <> 'p')::float8 AS estimated_rows,
      (SELECT coalesce(sum(pg_catalog.pg_relation_size(t.relid)), 0) FROM tree t WHERE t.root = r.oid)::int8 AS heap_bytes,
      (SELECT coalesce(sum(pg_catalog.pg_total_relation_size(t.relid)), 0) FROM tree t WHERE t.root = r.oid)::int8 AS total_bytes
    FROM root r`.execute(db)
  return rows.map(relationFactsOf)
}

function relationFactsOf(row: RelationRow): RelationFacts {
  return {
    relation: { schema: row.schema, name: row.name },
    kind: kinds[row.kind] ?? 'other',
    isTemporary: row.is_temporary,
    isPartition: row.is_partition,
    partitionCount: row.partition_count,
    hasDefaultPartition: row.has_default_partition,
    hasForeignPartition: row.has_foreign_partition,
    inheritance: row.inheritance,
    columns: row.columns.map((column) => ({
      ...column,
      nondeterministicCollation: column.nondeterministicCollation ?? undefined,
    })),
    primaryKey: row.primary_key,
    indexes: row.indexes.map(({ columns, predicate, ...index }) => ({
      ...index,
      columns: columns.map((column) => column ?? undefined),
      predicate: predicate ?? undefined,
    })),
    triggers: row.triggers,
    rules: row.rules,
    rowSecurity: row.row_security,
    privileges: row.privileges,
    refusingPublications: row.refusing_publications,
    estimatedRows: row.estimated_rows ?? undefined,
    heapBytes: Number(row.heap_bytes),
    totalBytes: Number(row.total_bytes),
  }
}

/** Partitions are no inheritance to worry about: their parent's primary key covers them. */
const inheritanceOf = sql`(SELECT coalesce(jsonb_agg(jsonb_build_object('schema', n.nspname, 'name', o.relname) ORDER BY n.nspname, o.relname), '[]')
  FROM pg_catalog.pg_inherits i
    JOIN pg_catalog.pg_class child ON child.oid = i.inhrelid AND NOT child.relispartition
    JOIN pg_catalog.pg_class o ON o.oid = CASE WHEN i.inhrelid = r.oid THEN i.inhparent ELSE i.inhrelid END
    JOIN pg_catalog.pg_namespace n ON n.oid = o.relnamespace
  WHERE i.inhparent = r.oid OR i.inhrelid = r.oid)`

const columnsOf = sql`(SELECT coalesce(jsonb_agg(jsonb_build_object(
    'name', a.attname, 'type', pg_catalog.format_type(a.atttypid, a.atttypmod), 'isNotNull', a.attnotnull, 'isGenerated', a.attgenerated <> '',
    'nondeterministicCollation', (SELECT l.oid::regcollation::text FROM pg_catalog.pg_collation l WHERE l.oid = a.attcollation AND NOT l.collisdeterministic),
    'baseType', pg_catalog.format_type((WITH RECURSIVE d AS (
        SELECT y.oid, y.typtype, y.typbasetype FROM pg_catalog.pg_type y WHERE y.oid = a.atttypid
        UNION ALL SELECT y.oid, y.typtype, y.typbasetype FROM d JOIN pg_catalog.pg_type y ON y.oid = d.typbasetype WHERE d.typtype = 'd'
      ) SELECT d.oid FROM d WHERE d.typtype <> 'd'), NULL)) ORDER BY a.attnum), '[]')
  FROM pg_catalog.pg_attribute a WHERE a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped)`

const primaryKeyOf = sql`(SELECT coalesce(jsonb_agg(jsonb_build_object(
    'name', a.attname, 'type', pg_catalog.format_type(a.atttypid, a.atttypmod)) ORDER BY k.position), '[]')
  FROM pg_catalog.pg_constraint p CROSS JOIN LATERAL unnest(p.conkey) WITH ORDINALITY AS k (attnum, position)
    JOIN pg_catalog.pg_attribute a ON a.attrelid = p.conrelid AND a.attnum = k.attnum
  WHERE p.conrelid = r.oid AND p.contype = 'p')`

const indexesOf = sql`(SELECT coalesce(jsonb_agg(jsonb_build_object(
    'name', x.relname, 'method', m.amname, 'isUnique', i.indisunique, 'isValid', i.indisvalid AND i.indisready AND i.indislive,
    'predicate', pg_catalog.pg_get_expr(i.indpred, i.indrelid),
    'columns', (SELECT jsonb_agg(a.attname ORDER BY k.position) FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, position)
      LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum AND k.attnum <> 0
      WHERE k.position <= i.indnkeyatts)) ORDER BY x.relname), '[]')
  FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid JOIN pg_catalog.pg_am m ON m.oid = x.relam
  WHERE i.indrelid = r.oid)`

/** Of tgtype, bit 1 is FOR EACH ROW, bit 8 DELETE, bit 16 UPDATE. What partitions inherit of a trigger is its copy; their own count, too. */
const triggersOf = sql`(SELECT coalesce(jsonb_agg(jsonb_build_object('name', g.tgname, 'event', e.event,
    'level', CASE WHEN (g.tgtype & 1) <> 0 THEN 'row' ELSE 'statement' END,
    'relation', jsonb_build_object('schema', n.nspname, 'name', o.relname)) ORDER BY g.tgname, n.nspname, o.relname, e.event), '[]')
  FROM tree t JOIN pg_catalog.pg_trigger g ON g.tgrelid = t.relid
    JOIN (VALUES ('delete', 8), ('update', 16)) e (event, bit) ON (g.tgtype & e.bit) <> 0
    JOIN pg_catalog.pg_class o ON o.oid = g.tgrelid JOIN pg_catalog.pg_namespace n ON n.oid = o.relnamespace
  WHERE t.root = r.oid AND NOT g.tgisinternal AND g.tgenabled IN ('O', 'A') AND (g.tgparentid = 0 OR g.tgrelid = r.oid))`

const rulesOf = sql`(SELECT coalesce(jsonb_agg(jsonb_build_object('name', w.rulename,
    'event', CASE w.ev_type WHEN '4' THEN 'delete' ELSE 'update' END,
    'relation', jsonb_build_object('schema', n.nspname, 'name', o.relname)) ORDER BY w.rulename, n.nspname, o.relname), '[]')
  FROM tree t JOIN pg_catalog.pg_rewrite w ON w.ev_class = t.relid
    JOIN pg_catalog.pg_class o ON o.oid = t.relid JOIN pg_catalog.pg_namespace n ON n.oid = o.relnamespace
  WHERE t.root = r.oid AND w.ev_type IN ('2', '4') AND w.ev_enabled IN ('O', 'A'))`

const privilegesOf = sql`jsonb_build_object(
  'usage', pg_catalog.has_schema_privilege(r.relnamespace, 'USAGE'),
  'select', pg_catalog.has_table_privilege(r.oid, 'SELECT'),
  'update', pg_catalog.has_any_column_privilege(r.oid, 'UPDATE'),
  'delete', pg_catalog.has_table_privilege(r.oid, 'DELETE'),
  'owner', pg_catalog.pg_has_role(r.relowner, 'USAGE'))`

/**
 * Publications that make a DELETE or an UPDATE fail, even one of no row: there is no replica identity (55000), the row filter looks at a column outside of it,
 * or the column list leaves a part of it out (both 42P10). PostgreSQL checks each leaf, published by itself or by way of an ancestor, its
 * schema or FOR ALL TABLES. The dependencies of a publication's entry name the columns of its row filter, together with those of its list.
 */
const refusingPublicationsOf = sql`(SELECT coalesce(jsonb_agg(DISTINCT jsonb_build_object('name', p.pubname, 'event', v.event)), '[]')
  FROM tree t
    JOIN pg_catalog.pg_class l ON l.oid = t.relid AND l.relkind = 'r' AND l.relpersistence = 'p'
    CROSS JOIN LATERAL (SELECT l.oid AS relid UNION SELECT s.relid::oid FROM pg_catalog.pg_partition_ancestors(l.oid) s) a
    JOIN pg_catalog.pg_class c ON c.oid = a.relid
    CROSS JOIN (VALUES ('delete'), ('update')) v (event)
    JOIN pg_catalog.pg_publication p ON CASE v.event WHEN 'delete' THEN p.pubdelete ELSE p.pubupdate END
    LEFT JOIN pg_catalog.pg_publication_rel e ON e.prpubid = p.oid AND e.prrelid = a.relid
    LEFT JOIN pg_catalog.pg_publication_namespace s ON s.pnpubid = p.oid AND s.pnnspid = c.relnamespace
    CROSS JOIN LATERAL (SELECT ARRAY(
      SELECT f.attname FROM pg_catalog.pg_index i JOIN pg_catalog.pg_attribute f ON f.attrelid = i.indrelid AND f.attnum = ANY (i.indkey)
      WHERE i.indrelid = l.oid AND i.indisvalid AND i.indimmediate
        AND CASE l.relreplident WHEN 'd' THEN i.indisprimary WHEN 'i' THEN i.indisreplident ELSE false END) AS columns) identity
  WHERE t.root = r.oid AND (p.puballtables OR e.oid IS NOT NULL OR s.oid IS NOT NULL)
    AND CASE WHEN l.relreplident = 'f' THEN e.prattrs IS NOT NULL
      WHEN identity.columns = '{}' THEN true
      ELSE (e.prqual IS NOT NULL AND EXISTS (
          SELECT FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_attribute f ON f.attrelid = d.refobjid AND f.attnum = d.refobjsubid
          WHERE d.classid = 'pg_catalog.pg_publication_rel'::regclass AND d.objid = e.oid
            AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjsubid > 0 AND f.attname <> ALL (identity.columns)))
        OR (e.prattrs IS NOT NULL AND NOT identity.columns <@ ARRAY(
          SELECT f.attname FROM pg_catalog.pg_attribute f WHERE f.attrelid = a.relid AND f.attnum = ANY (e.prattrs)))
      END)`

/** Whether the triggers of the key `k`, and of its copies on partitions, fire for us. */
const isEnforced = sql`(pg_catalog.current_setting('session_replication_role') <> 'replica' AND NOT EXISTS (
  WITH RECURSIVE copy AS (
    SELECT k.oid UNION ALL SELECT c.oid FROM copy JOIN pg_catalog.pg_constraint c ON c.conparentid = copy.oid)
  SELECT FROM copy JOIN pg_catalog.pg_trigger g ON g.tgconstraint = copy.oid WHERE g.tgenabled NOT IN ('O', 'A')))`

/**
 * Foreign keys to the relations and to their partitions. Of one that PostgreSQL copied to partitions, on either side, only the original
 * comes. `conenforced` and `conperiod` are there from 18 on: read by way of JSON, so that earlier versions know the statement, too.
 */
export async function selectReferences(
  db: Kysely<unknown>,
  names: readonly RelationName[],
): Promise<readonly ReferenceFacts[]> {
  const columns = (relid: string, keys: string) => sql`ARRAY(
    SELECT a.attname::text FROM unnest(${sql.id('k', keys)}) WITH ORDINALITY AS u (attnum, position)
      JOIN pg_catalog.pg_attribute a ON a.attrelid = ${sql.id('k', relid)} AND a.attnum = u.attnum
    WHERE u.position < cardinality(k.conkey) OR NOT coalesce((to_jsonb(k) ->> 'conperiod')::boolean, false)
    ORDER BY u.position)`
  const { rows } = await sql<ReferenceRow>`${rootsAndTrees(names)}
    SELECT k.conname AS name, jsonb_build_object('schema', n.nspname, 'name', f.relname) AS from,
      (SELECT coalesce(jsonb_agg(jsonb_build_object('schema', an.nspname, 'name', a.relname) ORDER BY s.position), '[]')
        FROM pg_catalog.pg_partition_ancestors(f.oid) WITH ORDINALITY AS s (relid, position)
          JOIN pg_catalog.pg_class a ON a.oid = s.relid JOIN pg_catalog.pg_namespace an ON an.oid = a.relnamespace
        WHERE s.relid <> f.oid) AS from_ancestors,
      ${columns('conrelid', 'conkey')} AS columns,
      jsonb_build_object('schema', r.nspname, 'name', r.relname) AS to,
      ${columns('confrelid', 'confkey')} AS references, k.confdeltype AS on_delete, ${isEnforced} AS is_enforced
    FROM tree t
      JOIN root r ON r.oid = t.root
      JOIN pg_catalog.pg_constraint k ON k.confrelid = t.relid AND k.contype = 'f'
      JOIN pg_catalog.pg_class f ON f.oid = k.conrelid
      JOIN pg_catalog.pg_namespace n ON n.oid = f.relnamespace
    WHERE coalesce((to_jsonb(k) ->> 'conenforced')::boolean, true)
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint o JOIN tree ot ON ot.relid = o.confrelid AND ot.root = t.root
        WHERE o.oid = k.conparentid AND o.contype = 'f')
    ORDER BY r.nspname, r.relname, n.nspname, f.relname, k.conname`.execute(db)
  return rows.map((row) => ({
    name: row.name,
    from: row.from,
    fromAncestors: row.from_ancestors,
    columns: row.columns,
    to: row.to,
    references: row.references,
    onDelete: actions[row.on_delete] ?? 'no-action',
    isEnforced: row.is_enforced,
  }))
}
