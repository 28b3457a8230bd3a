/** Finds children without a parent in the key ranges that batches took their parents from. */
import { sql, type Kysely, type RawBuilder } from 'kysely'
import type { ChildShape, RelationShape } from './batch-shape.js'
import { tableOf } from './expiry.js'
import { arrayText } from './queries.js'

/** A child whose parent is not there. */
export interface Orphan {
  /** Its primary key, as text. */
  readonly key: readonly string[]
  /** The value that points to the parent. */
  readonly link: string
  /** Which range it was found in: the first that fits, from 0. */
  readonly ranges: readonly number[]
}

export interface KeyRange {
  readonly first: string
  readonly last: string
}

/** Of a child that points to the parent by one column: answered from its index, range by range. */
export async function selectOrphans(
  db: Kysely<unknown>,
  parent: RelationShape,
  child: ChildShape,
  ranges: readonly KeyRange[],
  limit: number,
): Promise<readonly Orphan[]> {
  const [link] = child.linkColumns
  if (link === undefined || ranges.length === 0) return []
  const column = sql.id('c', link.name)
  const list = (values: readonly string[]) => sql`${arrayText(values)}::${sql.raw(`${link.type}[]`)}`
  const keys = child.keyColumns.map(({ name }) => sql`${sql.id('c', name)}::text`)
  const { rows } = await sql<Orphan>`
    SELECT key, link, array_agg(place::int4 ORDER BY place) AS ranges FROM (
      SELECT ARRAY[${sql.join(keys)}] AS key, ${column}::text AS link, r.place - 1 AS place
      FROM unnest(${list(ranges.map(({ first }) => first))}, ${list(ranges.map(({ last }) => last))})
        WITH ORDINALITY AS r (first, last, place)
      JOIN ${tableOf(child.relation)} c ON ${column} BETWEEN r.first AND r.last
      WHERE ${hasNoParent(parent, child, 'c')} LIMIT ${limit}) o
    GROUP BY key, link`.execute(db)
  return rows
}

export function hasNoParent(parent: RelationShape, child: ChildShape, alias: string): RawBuilder<boolean> {
  const pairs = child.linkColumns.map(
    ({ name }, index) => sql`${sql.id('p', child.references[index] ?? '')} = ${sql.id(alias, name)}`,
  )
  return sql<boolean>`NOT EXISTS (SELECT FROM ${tableOf(parent.relation)} p WHERE ${sql.join(pairs, sql` AND `)})`
}
