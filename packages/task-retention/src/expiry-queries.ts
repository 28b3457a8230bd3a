/** Finds and counts expired rows. Every statement is a plain read; whoever calls bounds its time. */
import type { RelationName } from '@battlescope/database'
import { sql, type Kysely, type RawBuilder } from 'kysely'
import { and, equal, isDeletable, tableOf, willBeDeletable, type Expiry } from './expiry.js'
import { keyOf } from './policy.js'
import type { KeyColumn } from './preflight-facts.js'

/** One expired row. */
export interface ExpiredKey {
  /** Values of the primary key as text, in the order of its columns. */
  readonly key: readonly string[]
  /** The time column as text, UTC, with microseconds: `2020-03-01 17:04:05.123456+00`. */
  readonly time: string
  /** Its month in UTC: `2020-03`. */
  readonly month: string
}

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
): Promise<readonly ExpiredKey[]> {
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

/** Rows `t` that meet the condition, in order of time and key. */
export async function selectKeys(
  db: Kysely<unknown>,
  source: KeySource,
  condition: RawBuilder<boolean>,
  { limit, after }: ExpiredKeysOptions,
): Promise<readonly ExpiredKey[]> {
  const time = sql.id('t', source.timeColumn)
  const keys = source.keyColumns.map(({ name }) => sql.id('t', name))
  const conditions = [condition, ...(after === undefined ? [] : [isBehind(source, after)])]
  const { rows } = await sql<ExpiredKey>`
    SELECT ARRAY[${sql.join(keys.map((key) => sql`${key}::text`))}] AS key, ${textOf(time)} AS time,
      to_char(${time} AT TIME ZONE 'UTC', 'YYYY-MM') AS month
    FROM ${tableOf(source.relation)} t WHERE ${and(conditions)}
    ORDER BY ${sql.join([time, ...keys])} LIMIT ${limit}`.execute(db)
  return rows
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
