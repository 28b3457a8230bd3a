/** The statements of a restore: what a relation is like now, rows that go in, and whether they are what was archived. */
import { selectColumns, textOutputSettings, type TextRows } from '@battlescope/archive'
import { quoteIdentifier } from '@battlescope/database'
import { parseRelationName } from '@battlescope/database'
import { sql, type Kysely, type RawBuilder } from 'kysely'
import { tableOf } from './expiry.js'
import { keyOf } from './policy.js'
import type { RestoredColumn, Target, TargetForeignKey } from './restore-plan.js'

// ── reads ────────────────────────────────────────────────────────────────────────────────────────────────────────

interface TargetRow {
  readonly defaults: readonly string[]
  readonly primary_key: readonly string[]
  readonly foreign_keys: readonly (Omit<TargetForeignKey, 'references'> & { readonly references?: never })[]
  readonly may_insert: boolean
}

/** @returns undefined when there is no such table */
export async function selectTarget(db: Kysely<unknown>, relation: string): Promise<Target | undefined> {
  const { schema, name } = parseRelationName(relation)
  const { rows } = await sql<TargetRow>`
    SELECT
      ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0
        AND NOT a.attisdropped AND (a.atthasdef OR a.attidentity <> '')) AS defaults,
      coalesce((SELECT pg_catalog.jsonb_agg(a.attname ORDER BY k.ord) FROM pg_catalog.pg_constraint p
        CROSS JOIN LATERAL pg_catalog.unnest(p.conkey) WITH ORDINALITY AS k (attnum, ord)
        JOIN pg_catalog.pg_attribute a ON a.attrelid = p.conrelid AND a.attnum = k.attnum
        WHERE p.conrelid = c.oid AND p.contype = 'p'), '[]') AS primary_key,
      coalesce((SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('name', f.conname, 'referencedSchema', rn.nspname,
          'referencedRelation', r.relname,
          'columns', (SELECT pg_catalog.jsonb_agg(a.attname ORDER BY k.ord) FROM pg_catalog.unnest(f.conkey) WITH ORDINALITY AS k (attnum, ord)
            JOIN pg_catalog.pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = k.attnum),
          'referencedColumns', (SELECT pg_catalog.jsonb_agg(a.attname ORDER BY k.ord) FROM pg_catalog.unnest(f.confkey) WITH ORDINALITY AS k (attnum, ord)
            JOIN pg_catalog.pg_attribute a ON a.attrelid = f.confrelid AND a.attnum = k.attnum)) ORDER BY f.conname)
        FROM pg_catalog.pg_constraint f JOIN pg_catalog.pg_class r ON r.oid = f.confrelid
        JOIN pg_catalog.pg_namespace rn ON rn.oid = r.relnamespace
        WHERE f.conrelid = c.oid AND f.contype = 'f'), '[]') AS foreign_keys,
      pg_catalog.has_table_privilege(c.oid, 'INSERT') AND pg_catalog.has_schema_privilege(n.oid, 'USAGE') AS may_insert
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = ${schema} AND c.relname = ${name} AND c.relkind IN ('r', 'p')`.execute(db)
  const [row] = rows
  if (row === undefined) return undefined
  const columns = await selectColumns(db, schema, name)
  return {
    name: relation,
    schema,
    relation: name,
    columns: columns.map((column) => ({
      name: column.name,
      typeName: column.typeName,
      notNull: column.notNull,
      hasDefault: row.defaults.includes(column.name),
      generated: column.generated,
    })),
    primaryKey: row.primary_key,
    foreignKeys: row.foreign_keys.map((key) => ({
      ...key,
      references: keyOf({ schema: key.referencedSchema, name: key.referencedRelation }),
    })),
    mayInsert: row.may_insert,
  }
}

/**
 * What rows point to through a foreign key and what is not there.
 * @returns the missing values, one list per row, in the order of the key's columns
 */
export async function selectMissingReferences(
  db: Kysely<unknown>,
  key: TargetForeignKey,
  columns: readonly RestoredColumn[],
  rows: TextRows,
): Promise<readonly (readonly string[])[]> {
  const own = key.columns.map((name) => columns.find((column) => column.name === name))
  if (own.some((column) => column === undefined)) return []
  const pointing = own as readonly RestoredColumn[]
  const referenced = tableOf({ schema: key.referencedSchema, name: key.referencedRelation })
  const named = pointing.map((_, index) => value(index))
  const { rows: missing } = await sql<{ readonly values: readonly string[] }>`
    SELECT DISTINCT ARRAY[${sql.join(pointing.map((_, index) => sql`${sql.id('v', `c${index}`)}::text`))}] AS values
    FROM ${given(pointing, rows)} WHERE ${sql.join(
      named.map((column) => sql`${column} IS NOT NULL`),
      sql` AND `,
    )}
      AND NOT EXISTS (SELECT FROM ${referenced} r WHERE ${sql.join(
        key.referencedColumns.map((name, index) => sql`${sql.id('r', name)} = ${cast(pointing[index], index)}`),
        sql` AND `,
      )})`.execute(db)
  return missing.map(({ values }) => values)
}

/** How many values of a column do not come back the same from its type of today: what a cast would lose. */
export async function countUnfaithful(db: Kysely<unknown>, column: RestoredColumn, rows: TextRows): Promise<number> {
  const archived = sql.raw(column.archivedAs ?? column.typeName)
  const there = cast(column, 0)
  const { rows: counted } = await sql<{ readonly count: number }>`
    SELECT count(*)::int4 AS count FROM ${given([column], rows)}
    WHERE ROW(${there}::${archived})::text IS DISTINCT FROM ROW(${value(0)}::${archived})::text`.execute(db)
  return counted[0]?.count ?? 0
}

/** Of the rows with these keys, how many are there. Values as text, one list per column. */
export async function countLive(
  db: Kysely<unknown>,
  { schema, relation, columns }: Target,
  keyColumns: readonly string[],
  values: readonly (readonly (string | null)[])[],
): Promise<number> {
  const key = keyColumns.map((name) => {
    const { typeName } = columns.find((column) => column.name === name) ?? { typeName: 'text' }
    return { name, typeName, archivedAs: undefined }
  })
  const texts = {
    rowCount: values[0]?.length ?? 0,
    values: Object.fromEntries(keyColumns.map((name, index) => [name, values[index] ?? []])),
  }
  const { rows } = await sql<{ readonly count: number }>`
    SELECT count(*)::int4 AS count FROM ${given(key, texts)}
    WHERE EXISTS (SELECT FROM ${tableOf({ schema, name: relation })} t WHERE ${sql.join(
      key.map((column, index) => sql`${sql.id('t', column.name)} = ${cast(column, index)}`),
      sql` AND `,
    )})`.execute(db)
  return rows[0]?.count ?? 0
}

// ── writes ───────────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * Values are read under the settings under which they were written as text. Not the search_path: everything is named with its schema, and
 * triggers of the relation may rely on theirs.
 */
export async function pinTextInput(db: Kysely<unknown>): Promise<void> {
  for (const [name, setting] of textOutputSettings) {
    if (name !== 'search_path') await sql`SELECT pg_catalog.set_config(${name}, ${setting}, true)`.execute(db)
  }
}

/** @returns how many went in: the others were there already */
export async function insertRows(
  db: Kysely<unknown>,
  { schema, relation, primaryKey }: Target,
  columns: readonly RestoredColumn[],
  rows: TextRows,
): Promise<number> {
  const { numAffectedRows } = await sql`
    INSERT INTO ${tableOf({ schema, name: relation })} (${identifiers(columns.map(({ name }) => name))}) OVERRIDING SYSTEM VALUE
    SELECT ${sql.join(columns.map(cast))} FROM ${given(columns, rows)}
    ON CONFLICT (${identifiers(primaryKey)}) DO NOTHING`.execute(db)
  return Number(numAffectedRows ?? 0)
}

export interface Comparison {
  /** Rows that are not there although they were inserted: a trigger or a rule swallowed them. */
  readonly missing: number
  /** Rows that this transaction inserted and that say something else than the archive: a trigger changed them. */
  readonly changed: number
  /** Rows that were there already and say something else. */
  readonly different: number
}

/** What the relation says now of the rows of an object. In the transaction that inserted them. */
export async function compareRows(
  db: Kysely<unknown>,
  { schema, relation, primaryKey }: Target,
  columns: readonly RestoredColumn[],
  rows: TextRows,
): Promise<Comparison> {
  const names = columns.map(({ name }) => name)
  const first = sql.id('t', primaryKey[0] ?? '')
  const differs = sql`ROW(${sql.join(names.map((name) => sql.id('t', name)))})::text
    IS DISTINCT FROM ROW(${sql.join(names.map((_, index) => sql.id('a', `a${index}`)))})::text`
  const ours = sql`t.xmin = pg_catalog.pg_current_xact_id()::xid`
  const archived = sql.join(columns.map((column, index) => sql`${cast(column, index)} AS ${sql.id(`a${index}`)}`))
  const { rows: counted } = await sql<Comparison>`
    SELECT count(*) FILTER (WHERE ${first} IS NULL)::int4 AS missing,
      count(*) FILTER (WHERE ${first} IS NOT NULL AND ${ours} AND ${differs})::int4 AS changed,
      count(*) FILTER (WHERE ${first} IS NOT NULL AND NOT ${ours} AND ${differs})::int4 AS different
    FROM (SELECT ${archived} FROM ${given(columns, rows)} OFFSET 0) a
      LEFT JOIN ${tableOf({ schema, name: relation })} t ON ${sql.join(
        primaryKey.map((name) => sql`${sql.id('t', name)} = ${sql.id('a', `a${names.indexOf(name)}`)}`),
        sql` AND `,
      )}`.execute(db)
  return counted[0] ?? { missing: 0, changed: 0, different: 0 }
}

// ── how rows are given ───────────────────────────────────────────────────────────────────────────────────────────

/** `unnest` of one list of text per column: as many parameters as columns, however many rows. */
function given(columns: readonly RestoredColumn[], { values }: TextRows): RawBuilder<unknown> {
  const lists = columns.map(({ name }) => sql`${values[name] ?? []}::text[]`)
  // Several lists at once is syntax, not a function: it goes by the bare name.
  return sql`unnest(${sql.join(lists)}) AS v (${sql.join(columns.map((_, index) => sql.id(`c${index}`)))})`
}

function value(index: number): RawBuilder<unknown> {
  return sql.id('v', `c${index}`)
}

/** The type is text of the catalog, quoted where it needs it. */
function cast(column: RestoredColumn | undefined, index: number): RawBuilder<unknown> {
  return sql`${value(index)}::${sql.raw(column?.typeName ?? 'text')}`
}

function identifiers(names: readonly string[]): RawBuilder<unknown> {
  return sql.raw(names.map(quoteIdentifier).join(', '))
}
