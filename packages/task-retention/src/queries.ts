/**
 * The statements over the rows of one batch: how they are read, locked, deleted and compared. Rows are named by values as text, one list
 * per column, because a statement's parameters are then a handful of texts however many rows it is about.
 */
import { archiveSelect, type PlannedColumn } from '@battlescope/archive'
import { quoteIdentifier, quoteRelation } from '@battlescope/database'
import { sql, type Kysely, type RawBuilder } from 'kysely'
import type { BatchShape, ChildShape, RelationShape } from './batch-shape.js'
import { tableOf, type Among } from './expiry.js'
import { fieldSeparator, rowSeparator, type Digest } from './guards.js'
import type { KeyColumn } from './preflight-facts.js'

/** Values as text, one list per column. */
export type Values = readonly (readonly string[])[]

/**
 * Whether the row `alias`, one of those that the statement is about, may (still) be deleted. Repeated in every statement that decides,
 * because rows change.
 */
export type Deletable = (alias: string, among: Among) => RawBuilder<boolean>

// ── reads ────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Of the named rows those that may still be deleted, in the order of their key: the values of the shape's target columns. */
export async function selectStillDeletable(
  db: Kysely<unknown>,
  deletable: Deletable,
  { parent }: BatchShape,
  keys: Values,
): Promise<Values> {
  const { rows } = await sql<{ readonly values: readonly string[] }>`
    SELECT ARRAY[${sql.join(parent.targetColumns.map(({ name }) => sql`${sql.id('t', name)}::text`))}] AS values
    FROM ${tableOf(parent.relation)} t WHERE ${mayStillGo(deletable, parent, keys)}
    ORDER BY ${keyOrder('t', parent)}`.execute(db)
  return parent.targetColumns.map((_, column) => rows.map(({ values }) => values[column] ?? ''))
}

/** COPY of the parents with these keys. Guards: the key, and last the row version. */
export function copyParents({ parent }: BatchShape, columns: readonly PlannedColumn[], keys: Values): string {
  return copyStatement(parent, columns, parent.keyColumns, parent.keyColumns, keys, [])
}

/** COPY of the children that point to these values. Guards: the pointing columns, the key, and last the row version. */
export function copyChildren(child: ChildShape, columns: readonly PlannedColumn[], targets: Values): string {
  return copyStatement(child, columns, child.keyColumns, child.linkColumns, targets, child.linkColumns)
}

/** What the guards of a relation are made of, without the row version: the pointing columns first, and none twice. */
export function guardColumns(relation: RelationShape | ChildShape): readonly string[] {
  const links = 'linkColumns' in relation ? relation.linkColumns : []
  return [...new Set([...links, ...relation.keyColumns].map(({ name }) => name))]
}

function copyStatement(
  relation: RelationShape | ChildShape,
  columns: readonly PlannedColumn[],
  keyColumns: readonly KeyColumn[],
  compared: readonly KeyColumn[],
  values: Values,
  first: readonly KeyColumn[],
): string {
  const guards = [...guardColumns(relation).map((name) => `t.${quoteIdentifier(name)}`), 't.xmin']
  const order = [...new Set([...first, ...keyColumns].map(({ name }) => `t.${quoteIdentifier(name)}`))]
  const { schema, name } = relation.relation
  return `COPY (SELECT ${archiveSelect({ columns, alias: 't', guards })} FROM ${quoteRelation(schema, name)} t
    WHERE ${isAmongText(compared, values)} ORDER BY ${order.join(', ')}) TO STDOUT (FORMAT binary)`
}

/** What the rows of a relation look like now: their guards, as text with the version last, in no order. */
export async function selectGuards(
  db: Kysely<unknown>,
  relation: RelationShape,
  compared: readonly KeyColumn[],
  values: Values,
  guards: readonly string[],
): Promise<readonly (readonly string[])[]> {
  const fields = [...guards.map((name) => sql`${sql.id('t', name)}::text`), sql`t.xmin::text`]
  const { rows } = await sql<{ readonly guard: readonly string[] }>`
    SELECT ARRAY[${sql.join(fields)}] AS guard FROM ${tableOf(relation.relation)} t WHERE ${isAmong('t', compared, values)}`.execute(
    db,
  )
  return rows.map(({ guard }) => guard)
}

/** Whether a child points to one of the values: one that came after its siblings were deleted. */
export async function selectHasChild(db: Kysely<unknown>, child: ChildShape, targets: Values): Promise<boolean> {
  const { rows } = await sql<{ readonly found: boolean }>`
    SELECT EXISTS (SELECT FROM ${tableOf(child.relation)} t WHERE ${isAmong('t', child.linkColumns, targets)}) AS found`.execute(
    db,
  )
  return rows[0]?.found === true
}

// ── writes ───────────────────────────────────────────────────────────────────────────────────────────────────────

/** Locks the parents in the order of their key, so that no child can come to point to them, and tells which versions they are. */
export async function lockParents(db: Kysely<unknown>, { parent }: BatchShape, keys: Values): Promise<Digest> {
  const fields = guardColumns(parent)
  const { rows } = await sql<Digest>`
    SELECT ${digest('x', fields)} FROM (
      SELECT ${sql.join(fields.map((name) => sql.id('t', name)))}, t.xmin AS row_version FROM ${tableOf(parent.relation)} t
      WHERE ${isAmong('t', parent.keyColumns, keys)} ORDER BY ${keyOrder('t', parent)} FOR UPDATE) x`.execute(db)
  return rows[0] ?? { rows: 0, hash: '' }
}

/** The same where nothing was archived: locks those that may still be deleted, and tells which. */
export async function lockDeletable(
  db: Kysely<unknown>,
  deletable: Deletable,
  { parent }: BatchShape,
  keys: Values,
): Promise<Values> {
  const { rows } = await sql<{ readonly values: readonly string[] }>`
    SELECT ARRAY[${sql.join(parent.targetColumns.map(({ name }) => sql`${sql.id('t', name)}::text`))}] AS values
    FROM ${tableOf(parent.relation)} t WHERE ${mayStillGo(deletable, parent, keys)}
    ORDER BY ${keyOrder('t', parent)} FOR UPDATE`.execute(db)
  return parent.targetColumns.map((_, column) => rows.map(({ values }) => values[column] ?? ''))
}

/** Deletes every child of these parents, and tells which versions they were: also those that came after the archive was made. */
export async function deleteArchivedChildren(db: Kysely<unknown>, child: ChildShape, targets: Values): Promise<Digest> {
  const fields = guardColumns(child)
  const { rows } = await sql<Digest>`
    WITH gone AS (
      DELETE FROM ${tableOf(child.relation)} t WHERE ${isAmong('t', child.linkColumns, targets)}
      RETURNING ${sql.join(fields.map((name) => sql.id('t', name)))}, t.xmin AS row_version)
    SELECT ${digest('x', fields)} FROM (SELECT * FROM gone ORDER BY ${sql.join(fields.map((name) => sql.id('gone', name)))}) x`.execute(
    db,
  )
  return rows[0] ?? { rows: 0, hash: '' }
}

/** Deletes the named rows as far as they may still be deleted, and tells which versions they were. */
export async function deleteArchivedRows(
  db: Kysely<unknown>,
  deletable: Deletable,
  { parent }: BatchShape,
  keys: Values,
): Promise<Digest> {
  const fields = guardColumns(parent)
  const { rows } = await sql<Digest>`
    WITH gone AS (
      DELETE FROM ${tableOf(parent.relation)} t WHERE ${mayStillGo(deletable, parent, keys)}
      RETURNING ${sql.join(fields.map((name) => sql.id('t', name)))}, t.xmin AS row_version)
    SELECT ${digest('x', fields)} FROM (SELECT * FROM gone ORDER BY ${keyOrder('gone', parent)}) x`.execute(db)
  return rows[0] ?? { rows: 0, hash: '' }
}

/** @returns how many */
export async function deleteChildren(db: Kysely<unknown>, child: ChildShape, targets: Values): Promise<number> {
  const { numAffectedRows } = await sql`
    DELETE FROM ${tableOf(child.relation)} t WHERE ${isAmong('t', child.linkColumns, targets)}`.execute(db)
  return Number(numAffectedRows ?? 0)
}

/** Deletes the named rows as far as they may still be deleted. @returns how many */
export async function deleteParents(
  db: Kysely<unknown>,
  deletable: Deletable,
  { parent }: BatchShape,
  keys: Values,
): Promise<number> {
  const { numAffectedRows } = await sql`
    DELETE FROM ${tableOf(parent.relation)} t
    WHERE ${mayStillGo(deletable, parent, keys)}`.execute(db)
  return Number(numAffectedRows ?? 0)
}

/**
 * Lets COMMIT wait for the disk where `synchronous_commit` is off: a crash of the server would otherwise forget a batch that the store already has.
 * Any stronger setting stays.
 */
export async function keepCommit(db: Kysely<unknown>): Promise<void> {
  await sql`SELECT pg_catalog.set_config('synchronous_commit', 'local', true)
    WHERE pg_catalog.current_setting('synchronous_commit') = 'off'`.execute(db)
}

/** Lets COMMIT not wait for the disk (`synchronous_commit`): for what may come back after a crash of the server. */
export async function hurryCommit(db: Kysely<unknown>): Promise<void> {
  await sql`SELECT pg_catalog.set_config('synchronous_commit', 'off', true)`.execute(db)
}

// ── indexes ──────────────────────────────────────────────────────────────────────────────────────────────────────

/** Whether somebody builds this index now: what is invalid may just not be finished. */
export async function selectIsBuilding(db: Kysely<unknown>, schema: string, name: string): Promise<boolean> {
  const { rows } = await sql<{ readonly building: boolean }>`
    SELECT EXISTS (SELECT FROM pg_catalog.pg_stat_progress_create_index p
      JOIN pg_catalog.pg_class c ON c.oid = p.index_relid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      WHERE n.nspname = ${schema} AND c.relname = ${name}) AS building`.execute(db)
  return rows[0]?.building === true
}

export async function dropIndex(db: Kysely<unknown>, schema: string, name: string): Promise<void> {
  await sql`DROP INDEX CONCURRENTLY IF EXISTS ${sql.id(schema, name)}`.execute(db)
}

/** A statement that preflight wrote and the plan showed. */
export async function runStatement(db: Kysely<unknown>, text: string): Promise<void> {
  await sql.raw(text).execute(db)
}

// ── how rows are named ───────────────────────────────────────────────────────────────────────────────────────────

/** Those of the named rows that meet the condition. */
function mayStillGo(deletable: Deletable, { keyColumns }: RelationShape, keys: Values): RawBuilder<boolean> {
  const among: Among = (alias) => isAmong(alias, keyColumns, keys)
  return sql<boolean>`${among('t')} AND ${deletable('t', among)}`
}

/**
 * `= ANY (…)` for one column, because every version answers that from an index; a join for several. The list stands in a subquery, which
 * the planner does not look into: of a list that it sees it estimates each value by the column's statistics, and of 1 000 that took a tenth
 * of the time in which their rows are deleted.
 */
function isAmong(alias: string, columns: readonly KeyColumn[], values: Values): RawBuilder<boolean> {
  const lists = columns.map(({ type }, index) => sql`${arrayText(values[index] ?? [])}::${sql.raw(`${type}[]`)}`)
  const names = columns.map(({ name }) => sql.id(alias, name))
  const [{ type } = { type: '' }] = columns
  if (columns.length === 1)
    return sql<boolean>`${sql.join(names)} = ANY ((SELECT ${sql.join(lists)})::${sql.raw(`${type}[]`)})`
  const unnested = sql.join(lists.map((list) => sql`pg_catalog.unnest(${list})`))
  return sql<boolean>`(${sql.join(names)}) IN (SELECT * FROM ROWS FROM (${unnested}))`
}

/** The same for COPY, which takes no parameters. */
function isAmongText(columns: readonly KeyColumn[], values: Values): string {
  const lists = columns.map(({ type }, index) => `${literal(arrayText(values[index] ?? []))}::${type}[]`)
  const names = columns.map(({ name }) => `t.${quoteIdentifier(name)}`)
  if (columns.length === 1) return `${names.join()} = ANY ((SELECT ${lists.join()})::${columns[0]?.type ?? ''}[])`
  const unnested = lists.map((list) => `pg_catalog.unnest(${list})`)
  return `(${names.join(', ')}) IN (SELECT * FROM ROWS FROM (${unnested.join(', ')}))`
}

/** An array in PostgreSQL's own text form. Digits, hyphens and letters need no quotes; everything else gets them. */
export function arrayText(values: readonly string[]): string {
  const element = (value: string) =>
    /^[0-9a-f-]+$/.test(value) ? value : `"${value.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`
  return `{${values.map(element).join(',')}}`
}

/** Not dependent on standard_conforming_strings. */
function literal(text: string): string {
  const quoted = text.replaceAll("'", "''")
  return text.includes('\\') ? ` E'${quoted.replaceAll('\\', '\\\\')}'` : `'${quoted}'`
}

function keyOrder(alias: string, { keyColumns }: RelationShape): RawBuilder<unknown> {
  return sql.join(keyColumns.map(({ name }) => sql.id(alias, name)))
}

/**
 * The same as guards.ts computes, over rows `alias` that come in the order of COPY, which is that of the guard columns. The order is the
 * subquery's, not the aggregate's own, which would carry the texts through the sort: a third of the time. None of the columns is NULL.
 */
function digest(alias: string, fields: readonly string[]): RawBuilder<unknown> {
  const columns = [...fields, 'row_version'].map((name) => sql`${sql.id(alias, name)}::text`)
  return sql`count(*)::int4 AS rows, encode(sha256(convert_to(coalesce(string_agg(
    ${sql.join(columns, sql` || ${fieldSeparator} || `)}, ${rowSeparator}), ''), 'UTF8')), 'hex') AS hash`
}
