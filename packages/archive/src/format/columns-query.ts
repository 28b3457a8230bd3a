import { sql, type Kysely } from 'kysely'
import type { SourceColumn } from './types.js'

interface ColumnRow {
  readonly name: string
  readonly type_name: string
  readonly type_oid: number
  readonly type_kind: string
  readonly element_oid: number
  readonly element_kind: string
  readonly not_null: boolean
  readonly generated: boolean
}

/**
 * The columns of a relation in their order, dropped ones left out.
 *
 * Type names outside of pg_catalog are qualified whatever the search_path, which `format_type` alone would not do. An array type is what
 * is some type's `typarray`: `typelem` is also set for vectors and for `point`.
 */
export async function selectColumns(
  db: Kysely<unknown>,
  schema: string,
  relation: string,
): Promise<readonly SourceColumn[]> {
  const { rows } = await sql<ColumnRow>`
    SELECT a.attname AS name,
      CASE WHEN n.nspname = 'pg_catalog' THEN pg_catalog.format_type(a.atttypid, a.atttypmod)
        ELSE pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(coalesce(e.typname, t.typname))
          || coalesce(pg_catalog.substring(pg_catalog.format_type(a.atttypid, a.atttypmod), '(\\([^()"]*\\))(?:\\[\\])?$'), '')
          || CASE WHEN e.oid IS NULL THEN '' ELSE '[]' END
      END AS type_name,
      t.oid AS type_oid, t.typtype AS type_kind, coalesce(e.oid, 0::oid) AS element_oid, coalesce(e.typtype, '') AS element_kind,
      a.attnotnull AS not_null, a.attgenerated <> '' AS generated
    FROM pg_catalog.pg_class c
      JOIN pg_catalog.pg_namespace s ON s.oid = c.relnamespace
      JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid
      JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
      LEFT JOIN pg_catalog.pg_type e ON e.typarray = t.oid
      JOIN pg_catalog.pg_namespace n ON n.oid = coalesce(e.typnamespace, t.typnamespace)
    WHERE s.nspname = ${schema} AND c.relname = ${relation} AND a.attnum > 0 AND NOT a.attisdropped
    ORDER BY a.attnum`.execute(db)
  return rows.map((row) => ({
    name: row.name,
    typeName: row.type_name,
    typeOid: row.type_oid,
    typeKind: row.type_kind,
    elementOid: row.element_oid,
    elementKind: row.element_kind,
    notNull: row.not_null,
    generated: row.generated,
  }))
}
