/** What is selected for an archive, and the settings that PostgreSQL's text output depends on. */
import { quoteIdentifier } from '@battlescope/database'
import { sql, type Kysely } from 'kysely'
import type { PlannedColumn } from './types.js'

/**
 * Settings that decide how values look as text. The same must hold where archives are written and where they are restored: columns with
 * a real type do not depend on them, text columns do (an interval, money, a range of dates, an infinite timestamp).
 */
export const textOutputSettings: readonly (readonly [name: string, value: string])[] = [
  ['DateStyle', 'ISO, YMD'],
  ['IntervalStyle', 'postgres'],
  ['TimeZone', 'UTC'],
  // Any value above 0 means the shortest digits that give the same number back.
  ['extra_float_digits', '1'],
  ['bytea_output', 'hex'],
  ['lc_monetary', 'C'],
  // At restore: content is what any stored xml value is, a document is not.
  ['xmloption', 'content'],
  // regclass and its like name what is not visible with its schema.
  ['search_path', 'pg_catalog'],
]

/** `SET LOCAL` of {@link textOutputSettings}, one statement each: to be run in the transaction before COPY, and before a restore. */
export const pinTextOutput: readonly string[] = textOutputSettings.map(
  ([name, value]) => `SET LOCAL ${name} = ${name === 'search_path' ? quoteIdentifier(value) : `'${value}'`}`,
)

export interface SettingInForce {
  readonly name: string
  readonly value: string
  readonly wanted: string
}

/** Those of {@link textOutputSettings} that are not in force in this session: a plain read. */
export async function selectUnpinnedSettings(db: Kysely<unknown>): Promise<readonly SettingInForce[]> {
  const names = textOutputSettings.map(([name]) => name)
  const { rows } = await sql<{ name: string; value: string }>`
    SELECT n AS name, pg_catalog.current_setting(n) AS value FROM pg_catalog.unnest(${names}::text[]) AS n`.execute(db)
  const inForce = new Map(rows.map(({ name, value }) => [name, value]))
  return textOutputSettings.flatMap(([name, wanted]) => {
    const value = inForce.get(name) ?? ''
    return value === wanted ? [] : [{ name, value, wanted }]
  })
}

export interface ArchiveSelectOptions {
  readonly columns: readonly PlannedColumn[]
  /** Of the relation in the FROM clause. */
  readonly alias: string
  /** SQL expressions that come first, as text: keys and row versions. They must not be NULL. */
  readonly guards: readonly string[]
}

/**
 * The select list for `COPY (SELECT … FROM … ) TO STDOUT (FORMAT binary)`.
 * @throws DatabaseError `identifier` for a name that PostgreSQL cannot have
 */
export function archiveSelect({ columns, alias, guards }: ArchiveSelectOptions): string {
  const relation = quoteIdentifier(alias)
  return [
    ...guards.map((guard) => `(${guard})::pg_catalog.text`),
    ...columns.map(({ name, selectAs }) => {
      const column = `${relation}.${quoteIdentifier(name)}`
      if (selectAs === 'value') return column
      if (selectAs === 'cast') return `${column}::pg_catalog.text`
      // Not IS NULL: that is also true for a composite value whose fields are all NULL.
      return `CASE WHEN pg_catalog.num_nulls(${column}) = 0 THEN pg_catalog.format('%s', ${column}) END`
    }),
  ].join(', ')
}
