/** A delete on the referenced side scans the referencing relation once per row when nothing indexes the reference. */
import { sql, type Kysely } from 'kysely'
import type { Check } from './check.js'

const mostShown = 20

interface UnindexedReference {
  readonly relation: string
  /** As SQL writes them, quoted where they have to be. */
  readonly columns: readonly string[]
  readonly referenced: string
  /** What partial indexes that begin with these columns are limited to. */
  readonly predicates: readonly string[]
}

export async function foreignKeyChecks(db: Kysely<unknown>): Promise<readonly Check[]> {
  const check = 'foreign keys'
  const unindexed = (await selectReferences(db)).filter(
    ({ columns, predicates }) => !predicates.some((predicate) => onlyLeavesOutNulls(predicate, columns)),
  )
  if (unindexed.length === 0) return [{ check, result: 'ok', detail: 'each has an index on its referencing columns' }]
  return unindexed.slice(0, mostShown).map(({ relation, columns, referenced }) => ({
    check,
    result: 'warn',
    detail: `${relation} (${columns.join(', ')}) references ${referenced} without an index: each deleted row of ${referenced} scans ${relation}`,
    mend: `CREATE INDEX CONCURRENTLY ON ${relation} (${columns.join(', ')});`,
  }))
}

/** Foreign keys without a whole index. */
async function selectReferences(db: Kysely<unknown>): Promise<readonly UnindexedReference[]> {
  const beginsWithKey = sql`i.indrelid = f.conrelid AND i.indisvalid
    AND (i.indkey::int2[])[0:pg_catalog.cardinality(f.conkey) - 1] @> f.conkey`
  const { rows } = await sql<UnindexedReference>`
    SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) AS relation,
      (SELECT pg_catalog.array_agg(pg_catalog.quote_ident(a.attname) ORDER BY k.position)
       FROM pg_catalog.unnest(f.conkey) WITH ORDINALITY AS k (attnum, position)
       JOIN pg_catalog.pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = k.attnum) AS columns,
      pg_catalog.format('%I.%I', rn.nspname, r.relname) AS referenced,
      (SELECT coalesce(pg_catalog.array_agg(pg_catalog.pg_get_expr(i.indpred, i.indrelid)), '{}')
       FROM pg_catalog.pg_index i WHERE ${beginsWithKey} AND i.indpred IS NOT NULL) AS predicates
    FROM pg_catalog.pg_constraint f
      JOIN pg_catalog.pg_class c ON c.oid = f.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      JOIN pg_catalog.pg_class r ON r.oid = f.confrelid JOIN pg_catalog.pg_namespace rn ON rn.oid = r.relnamespace
    WHERE f.contype = 'f' AND f.conparentid = 0 AND n.nspname NOT IN ('pg_catalog', 'information_schema')
      AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_index i WHERE ${beginsWithKey} AND i.indpred IS NULL)
    ORDER BY 1, 2`.execute(db)
  return rows
}

/**
 * True for `(battle_id IS NOT NULL)` and the like: looking for the rows that reference one row, PostgreSQL uses such an index, because a
 * reference that is equal to something is not NULL. Pure.
 */
export function onlyLeavesOutNulls(predicate: string, columns: readonly string[]): boolean {
  const conditions = predicate.split(' AND ')
  const allowed = new Set(columns.map((column) => `${column} IS NOT NULL`))
  return conditions.every((condition) => allowed.has(condition.replace(/^\(+|\)+$/g, '')))
}
