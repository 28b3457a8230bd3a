/** Finds and counts expired rows. Every statement is a plain read; whoever calls bounds its time. */
import type { RelationName } from '@battlescope/database'
import { sql, type Kysely, type RawBuilder } from 'kysely'
import { and, equal, isDeletable, tableOf, willBeDeletable, type Expiry } from './expiry.js'
import type { ExpiredKey, KeyPack } from './key-queue.js'
import { keyOf } from './policy.js'
import type { KeyColumn } from './preflight-facts.js'

export interface ExpiredKeysOptions {
  readonly limit: number
  /** Go on behind this row: the last one of an earlier answer. */
  readonly after?: Pick<ExpiredKey, 'key' | 'time'>
}

/**
 * Rows that may be deleted now, in order of time and key, at most `limit`. One statement, whose cost may be a scan of every relation that
 * the policy looks at where an index is missing: once per slice, never once per batch.
 */
export async function selectExpiredKeys(
  db: Kysely<unknown>,
  expiry: Expiry,
  options: ExpiredKeysOptions,
): Promise<readonly KeyPack[]> {
  const { relation, timeColumn } = expiry.policy
  const source = { relation, timeColumn, keyColumns: expiry.keyColumns }
  return selectKeys(db, source, isDeletable(expiry, 't'), options)
}

/** Where keys are read: a relation, or a partition of it that is no longer one. */
export interface KeySource {
  readonly relation: RelationName
  readonly timeColumn: string
  readonly keyColumns: readonly KeyColumn[]
}

/** Rows of a pack: it is what is unpacked at a time. */
const rowsPerPack = 500

/** Rows `t` that meet the condition, in order of time and key. */
export async function selectKeys(
  db: Kysely<unknown>,
  source: KeySource,
  condition: RawBuilder<boolean>,
  { limit, after }: ExpiredKeysOptions,
): Promise<readonly KeyPack[]> {
  const time = sql.id('t', source.timeColumn)
  const keys = source.keyColumns.map(({ name }) => sql.id('t', name))
  const conditions = [condition, ...(after === undefined ? [] : [isBehind(source, after)])]
  const { rows } = await sql<KeyPack>`
    SELECT count(*)::int4 AS count, json_agg(x.fields ORDER BY x.number)::text AS json
    FROM (SELECT row_number() OVER () AS number, f.fields FROM (
      SELECT ARRAY[${sql.join([textOf(time), ...keys.map((key) => sql`${key}::text`)])}] AS fields
      FROM ${tableOf(source.relation)} t WHERE ${and(conditions)}
      ORDER BY ${sql.join([time, ...keys])} LIMIT ${limit}) f) x
    GROUP BY (x.number - 1) / ${rowsPerPack} ORDER BY min(x.number)`.execute(db)
  return rows
}

/** Rows up to this one, in the order of time and key. */
export async function countUpTo(
  db: Kysely<unknown>,
  source: KeySource,
  last: Pick<ExpiredKey, 'key' | 'time'>,
): Promise<number> {
  const { rows } = await sql<{ readonly count: string }>`
    SELECT count(*) FROM ONLY ${tableOf(source.relation)} t WHERE NOT ${isBehind(source, last)}`.execute(db)
  return Number(rows[0]?.count)
}

function isBehind(
  { timeColumn, keyColumns }: KeySource,
  { time, key }: Pick<ExpiredKey, 'key' | 'time'>,
): RawBuilder<boolean> {
  const columns = [sql.id('t', timeColumn), ...keyColumns.map(({ name }) => sql.id('t', name))]
  const values = [
    sql`${time}::timestamptz`,
    // The type is text of the catalog, quoted where it needs it.
    ...keyColumns.map(({ type }, index) => sql`${key[index]}::${sql.raw(type)}`),
  ]
  return sql`(${sql.join(columns)}) > (${sql.join(values)})`
}

/** PostgreSQL's microseconds, whatever DateStyle and TimeZone say: a Date would cut them to milliseconds. */
function textOf(time: RawBuilder<unknown>): RawBuilder<string> {
  return sql`to_char(${time} AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') || '+00'`
}

/** What a policy will delete in this slot, as far as can be told now. */
export interface ExpiredCount {
  readonly rows: number
  /** As in {@link ExpiredKey}; undefined: no rows. */
  readonly oldest: string | undefined
  readonly newest: string | undefined
  /** Rows of each child relation, by {@link keyOf}. */
  readonly children: ReadonlyMap<string, number>
}

/**
 * Counts the rows that will be deleted in this slot, and their children. Members of groups count as gone where their own policy will
 * delete them, so that it tells the same before and after that policy has run.
 */
export async function countExpired(db: Kysely<unknown>, expiry: Expiry): Promise<ExpiredCount> {
  const { relation, timeColumn, children } = expiry.policy
  const referenced = [...new Set([timeColumn, ...children.flatMap(({ references }) => references)])]
  const counts = children.map(
    (child, index) => sql`(SELECT count(*) FROM ${tableOf(child.relation)} c
      WHERE EXISTS (SELECT FROM expired e WHERE ${equal('c', child.columns, 'e', child.references)})) AS ${sql.id(`child_${index}`)}`,
  )
  const { rows } = await sql<Record<string, string | null>>`
    WITH expired AS MATERIALIZED (
      SELECT ${sql.join(referenced.map((column) => sql.id('t', column)))} FROM ${tableOf(relation)} t WHERE ${willBeDeletable(expiry, 't')}
    )
    SELECT ${sql.join([
      sql`(SELECT count(*) FROM expired) AS rows`,
      sql`(SELECT ${textOf(sql`min(e.${sql.id(timeColumn)})`)} FROM expired e) AS oldest`,
      sql`(SELECT ${textOf(sql`max(e.${sql.id(timeColumn)})`)} FROM expired e) AS newest`,
      ...counts,
    ])}`.execute(db)
  const [row] = rows
  return {
    rows: Number(row?.['rows'] ?? 0),
    oldest: row?.['oldest'] ?? undefined,
    newest: row?.['newest'] ?? undefined,
    children: new Map(
      children.map(({ relation: child }, index) => [keyOf(child), Number(row?.[`child_${index}`] ?? 0)]),
    ),
  }
}
