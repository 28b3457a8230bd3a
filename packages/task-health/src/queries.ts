/** What the catalog says of what checks need, in one statement. The statements of the checks are beside each group of them. */
import { parseRelationName } from '@battlescope/database'
import { sql, type Kysely } from 'kysely'
import type { RelationFacts } from './check.js'

export interface Catalog {
  /** By the name that was asked for. */
  readonly relations: ReadonlyMap<string, RelationFacts>
  /** Of the roles that were asked for, those whose privileges the connection has. */
  readonly roles: ReadonlySet<string>
  /** As SQL has it: in quotes where it needs them. */
  readonly user: string
}

interface CatalogRow {
  readonly user: string
  readonly roles: readonly string[] | null
  readonly relations:
    | readonly {
        readonly wanted: string
        readonly columns: readonly string[] | null
        readonly missing: readonly string[]
        readonly indexed: readonly string[] | null
        readonly rows: number
      }[]
    | null
}

const nothing: RelationFacts = {
  exists: false,
  columns: new Set(),
  missingPrivileges: [],
  indexedColumns: new Set(),
  estimatedRows: undefined,
}

export async function selectCatalog(
  db: Kysely<unknown>,
  names: readonly string[],
  roles: readonly string[],
): Promise<Catalog> {
  const wanted = names.map((wanted) => ({ wanted, ...parseRelationName(wanted) }))
  // USAGE, not MEMBER: a role without INHERIT has the privileges only after SET ROLE.
  const { rows } = await sql<CatalogRow>`
    SELECT pg_catalog.quote_ident(current_user) AS user,
      (SELECT json_agg(r.rolname) FROM pg_catalog.pg_roles r
        WHERE r.rolname = ANY (${roles}::text[]) AND pg_catalog.pg_has_role(r.oid, 'USAGE')) AS roles,
      (SELECT json_agg(json_build_object(
          'wanted', w.wanted,
          'columns', (SELECT json_agg(a.attname) FROM pg_catalog.pg_attribute a
            WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
          'missing', to_json(array_remove(ARRAY[
            CASE WHEN NOT pg_catalog.has_schema_privilege(n.oid, 'USAGE') THEN format('USAGE ON SCHEMA %I', n.nspname) END,
            CASE WHEN NOT pg_catalog.has_table_privilege(c.oid, 'SELECT') THEN format('SELECT ON %I.%I', n.nspname, c.relname) END], NULL)),
          'indexed', (SELECT json_agg(DISTINCT ia.attname) FROM pg_catalog.pg_index i
              JOIN pg_catalog.pg_attribute ia ON ia.attrelid = c.oid AND ia.attnum = i.indkey[0]
            WHERE i.indrelid = c.oid AND i.indisvalid AND i.indpred IS NULL),
          'rows', c.reltuples))
        FROM json_to_recordset(${JSON.stringify(wanted)}::json) AS w (wanted text, schema text, name text)
          JOIN pg_catalog.pg_namespace n ON n.nspname = w.schema
          JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = w.name
            AND c.relkind IN ('r', 'p', 'v', 'm', 'f')) AS relations`.execute(db)
  const [row] = rows
  const found = (row?.relations ?? []).map(({ wanted, columns, missing, indexed, rows }): [string, RelationFacts] => [
    wanted,
    {
      exists: true,
      columns: new Set(columns),
      missingPrivileges: missing,
      indexedColumns: new Set(indexed),
      estimatedRows: rows < 0 ? undefined : rows,
    },
  ])
  const absent = names.map((name): [string, RelationFacts] => [name, nothing])
  return { relations: new Map([...absent, ...found]), roles: new Set(row?.roles), user: row?.user ?? '' }
}
