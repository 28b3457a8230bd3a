/** One random schema in a transaction that is rolled back: what preflight does not block is deleted as the task would, and looked at. */
import { openConnections, type DatabaseConnections } from '@battlescope/database'
import type { TestDatabase } from '@battlescope/scheduler-testing'
import { sql, type Kysely, type RawBuilder } from 'kysely'
import { retentionConfig } from '../src/config.js'
import { selectExpiredKeys } from '../src/expiry-queries.js'
import { equal, expiryOf, stillExpired, tableOf, type Expiry } from '../src/expiry.js'
import { unpackKeys, type ExpiredKey } from '../src/key-queue.js'
import { horizonsOf, keyOf, resolvePolicies } from '../src/policy.js'
import { selectPreflightFacts } from '../src/preflight-queries.js'
import { judgePreflight, type PreflightReport } from '../src/preflight.js'
import { horizonAt, randomSchema, type SchemaDraft } from './preflight-schemas.js'

export interface TrialResult {
  readonly report: PreflightReport | undefined
  /** Rows of policies that were deleted. */
  readonly deleted: number
  /** What went wrong: it must be empty. */
  readonly violations: readonly string[]
}

export interface Trials {
  run(draft: SchemaDraft): Promise<TrialResult>
  close(): Promise<void>
}

/** Sixty months after {@link horizonAt}. */
const slotAt = new Date('2026-11-23T02:00:00Z')
const batchRows = 2

class RollBack extends Error {}

export async function openTrials(database: TestDatabase): Promise<Trials> {
  const role = await database.createRole()
  await database.query(`GRANT ALL ON SCHEMA public TO PUBLIC`)
  const connections = openConnections({ url: database.url, applicationName: 'test', maxConnections: 1 })
  return {
    run: (draft) => runTrial(connections, role.name, draft),
    close: () => connections.close(),
  }
}

async function runTrial(connections: DatabaseConnections, role: string, draft: SchemaDraft): Promise<TrialResult> {
  let result: TrialResult = { report: undefined, deleted: 0, violations: [] }
  try {
    await connections.transaction({ statementTimeoutMs: 30_000 }, async ({ db: given }) => {
      const db = given as Kysely<unknown>
      result = await tryOut(db, role, draft)
      throw new RollBack()
    })
  } catch (error) {
    if (!(error instanceof RollBack)) throw error
  }
  return result
}

async function tryOut(db: Kysely<unknown>, role: string, draft: SchemaDraft): Promise<TrialResult> {
  const { ddl, tables, policies: configured } = randomSchema(draft)
  const parsed = retentionConfig.safeParse({ policies: configured })
  // Policies in a circle, say: not for preflight to find.
  if (!parsed.success) return { report: undefined, deleted: 0, violations: [] }
  await run(db, ddl.join(';\n'))
  await run(db, `SET CONSTRAINTS ALL IMMEDIATE`)

  const policies = resolvePolicies(parsed.data)
  await run(db, `SET LOCAL ROLE ${role}`)
  const report = judgePreflight(await selectPreflightFacts(db, policies), policies, { batchRows })
  const ready = report.policies.filter(({ state }) => state === 'ready')
  await run(db, 'SET LOCAL ROLE NONE')
  const before = await rowsOf(db, [...tables, 'log'])
  const expected = new Map([...before].map(([table, rows]) => [table, new Set(rows.map(({ text }) => text))]))
  const violations: string[] = []
  let deleted = 0

  await run(db, `SET LOCAL ROLE ${role}`)
  for (const { policy } of ready) {
    const expiry = expiryOf(report, policy.name, horizonsOf(policies, slotAt), undefined)
    try {
      const keys = (await selectExpiredKeys(db, expiry, { limit: 1000 })).flatMap(unpackKeys)
      violations.push(...(await inspect(db, expiry, keys)))
      for (let first = 0; first < keys.length; first += batchRows) {
        const batch = keys.slice(first, first + batchRows)
        for (const { table, text } of await goingWith(db, expiry, batch)) expected.get(table)?.delete(text)
        deleted += batch.length
        violations.push(...(await deleteBatch(db, expiry, batch)))
      }
    } catch (error) {
      violations.push(`${policy.name}: ${(error as Error).message}`)
      return { report, deleted, violations }
    }
  }
  await run(db, 'SET LOCAL ROLE NONE')
  const triggersAllowed = ready.some(({ policy }) => policy.allowTriggers)
  for (const [table, rows] of await rowsOf(db, [...tables, 'log'])) {
    if (table === 'log' && triggersAllowed) continue
    const left = new Set(rows.map(({ text }) => text))
    const wanted = expected.get(table) ?? new Set()
    for (const text of wanted) if (!left.has(text)) violations.push(`${table} lost ${text}`)
    for (const text of left) if (!wanted.has(text)) violations.push(`${table} has ${text}`)
  }
  return { report, deleted, violations }
}

interface Row {
  readonly table: string
  /** Place and content: a row that was updated in place has another place. */
  readonly text: string
}

async function rowsOf(db: Kysely<unknown>, tables: readonly string[]): Promise<Map<string, Row[]>> {
  const parts = tables.map((table) => sql`SELECT ${table} AS "table", ${textOf('t')} AS text FROM ${sql.id(table)} t`)
  const { rows } = await sql<Row>`${sql.join(parts, sql` UNION ALL `)}`.execute(db)
  const byTable = new Map<string, Row[]>(tables.map((table) => [table, []]))
  for (const row of rows) byTable.get(row.table)?.push(row)
  return byTable
}

const textOf = (alias: string): RawBuilder<string> =>
  sql`${sql.id(alias)}.tableoid::regclass::text || ${sql.id(alias)}.ctid::text || ${sql.id(alias)}::text`

/** The rows of a batch and of its children, as they are now. */
async function goingWith(db: Kysely<unknown>, expiry: Expiry, batch: readonly ExpiredKey[]): Promise<readonly Row[]> {
  const { relation, children } = expiry.policy
  const own = sql`SELECT ${relation.name}::text AS "table", ${textOf('t')} AS text FROM ${tableOf(relation)} t WHERE ${isIn(expiry, batch)}`
  const theirs = children.map(
    (child) => sql`SELECT ${child.relation.name}::text, ${textOf('c')} FROM ${tableOf(child.relation)} c
      WHERE EXISTS (SELECT FROM ${tableOf(relation)} t WHERE ${isIn(expiry, batch)} AND ${equal('c', child.columns, 't', child.references)})`,
  )
  const { rows } = await sql<Row>`${sql.join([own, ...theirs], sql` UNION ALL `)}`.execute(db)
  return rows
}

/** What must be true of every row that is chosen. */
async function inspect(db: Kysely<unknown>, expiry: Expiry, keys: readonly ExpiredKey[]): Promise<readonly string[]> {
  if (keys.length === 0) return []
  const { relation, keepWhile, members } = expiry.policy
  const { rows } = await sql<{ live: boolean; newest: boolean; flagged: boolean }>`
    SELECT coalesce(t.at >= ${horizonAt}::timestamptz, true) AS live, t.at = (SELECT max(at) FROM ${tableOf(relation)}) AS newest,
      t.flag IS NULL AS flagged FROM ${tableOf(relation)} t WHERE ${isIn(expiry, keys)}`.execute(db)
  const { rows: pointing } = await sql<{ count: string }>`SELECT count(*) AS count FROM ${tableOf(relation)} t
    WHERE ${isIn(expiry, keys)} AND (false ${sql.join(
      members
        .filter(({ isChild }) => !isChild)
        .map(
          (member) =>
            sql` OR EXISTS (SELECT FROM ${tableOf(member.relation)} m WHERE ${equal('m', member.columns, 't', member.references)})`,
        ),
      sql``,
    )})`.execute(db)
  const name = keyOf(relation)
  return [
    ...(rows.length === keys.length ? [] : [`${name}: ${rows.length} rows for ${keys.length} keys`]),
    ...(rows.some(({ live }) => live) ? [`${name}: a live row is chosen`] : []),
    ...(rows.some(({ newest }) => newest) ? [`${name}: the newest row is chosen`] : []),
    ...(keepWhile.length > 0 && rows.some(({ flagged }) => flagged) ? [`${name}: a row that is kept is chosen`] : []),
    ...(pointing[0]?.count === '0' ? [] : [`${name}: a row with members is chosen`]),
  ]
}

/** As the task does it: parents locked, children deleted in their order, parents by key with the condition repeated, constraints checked. */
async function deleteBatch(
  db: Kysely<unknown>,
  expiry: Expiry,
  batch: readonly ExpiredKey[],
): Promise<readonly string[]> {
  const { relation, children, name } = expiry.policy
  await sql`SELECT FROM ${tableOf(relation)} t WHERE ${isIn(expiry, batch)} FOR UPDATE`.execute(db)
  for (const child of children) {
    await sql`DELETE FROM ${tableOf(child.relation)} c USING ${tableOf(relation)} t
      WHERE ${isIn(expiry, batch)} AND ${equal('c', child.columns, 't', child.references)}`.execute(db)
  }
  const { numAffectedRows } = await sql`
    DELETE FROM ${tableOf(relation)} t WHERE ${isIn(expiry, batch)} AND ${stillExpired(expiry, 't', (alias) => isIn(expiry, batch, alias))}`.execute(
    db,
  )
  // What a COMMIT would check.
  await run(db, 'SET CONSTRAINTS ALL IMMEDIATE')
  await run(db, 'SET CONSTRAINTS ALL DEFERRED')
  return numAffectedRows === BigInt(batch.length)
    ? []
    : [`${name}: ${String(numAffectedRows)} of ${batch.length} rows were deleted`]
}

function isIn({ keyColumns }: Expiry, keys: readonly ExpiredKey[], alias = 't'): RawBuilder<boolean> {
  const own = keyColumns.map(({ name }) => sql`${sql.id(alias, name)}::text`)
  const lists = keyColumns.map((_, index) => sql`${keys.map(({ key }) => key[index])}::text[]`)
  return sql`(${sql.join(own)}) IN (SELECT * FROM unnest(${sql.join(lists)}))`
}

async function run(db: Kysely<unknown>, statement: string): Promise<void> {
  await sql.raw(statement).execute(db)
}
