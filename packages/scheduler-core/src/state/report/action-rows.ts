/** The audit trail, added up. */
import { sql } from 'kysely'
import type { StateDb } from '../tables.js'
import { partOf } from './run-rows.js'
import type { ReportPeriod } from './period.js'

const mostActionKinds = 100
const mostTargets = 30

/** Which kinds of actions count as what: core knows no task. Such as `{ deleted: ['delete-rows'] }`. */
export type Flows = Readonly<Record<string, readonly string[]>>

export interface ActionTotals {
  readonly task: string
  readonly kind: string
  readonly succeeded: number
  readonly failed: number
  /** Of those that succeeded; undefined where none said how many. */
  readonly rows: number | undefined
  readonly bytes: number | undefined
  readonly newestAt: Date
}

export interface FlowPart {
  readonly flow: string
  readonly at: Date
  readonly rows: number
}

export interface FlowTarget {
  readonly flow: string
  readonly target: string
  readonly rows: number
  readonly bytes: number | undefined
}

/** By task and kind, the most frequent of them if there are very many. */
export async function selectActionTotals(db: StateDb, period: ReportPeriod): Promise<readonly ActionTotals[]> {
  const rows = await db
    .selectFrom('action')
    .select([
      'task',
      'kind',
      sql<string>`count(*) FILTER (WHERE result = 'succeeded')`.as('succeeded'),
      sql<string>`count(*) FILTER (WHERE result = 'failed')`.as('failed'),
      sql<string | null>`sum(row_count) FILTER (WHERE result = 'succeeded')`.as('rows'),
      sql<string | null>`sum(byte_count) FILTER (WHERE result = 'succeeded')`.as('bytes'),
      sql<Date>`max(at)`.as('newest_at'),
    ])
    .where('at', '>=', period.from)
    .groupBy(['task', 'kind'])
    .orderBy(sql`count(*)`, 'desc')
    .orderBy('task')
    .orderBy('kind')
    .limit(mostActionKinds + 1)
    .execute()
  return rows.map((row) => ({
    task: row.task,
    kind: row.kind,
    succeeded: Number(row.succeeded),
    failed: Number(row.failed),
    rows: numberOf(row.rows),
    bytes: numberOf(row.bytes),
    newestAt: row.newest_at,
  }))
}

export async function selectFlowParts(db: StateDb, period: ReportPeriod, flows: Flows): Promise<readonly FlowPart[]> {
  const rows = await db
    .selectFrom('action')
    .innerJoin(flowsOf(flows), (join) => join.onRef('flows.kind', '=', 'action.kind'))
    .select([
      'flows.flow',
      partOf(period, sql.ref('action.at')).as('at'),
      sql<string | null>`sum(row_count)`.as('rows'),
    ])
    .where('action.at', '>=', period.from)
    .where('result', '=', 'succeeded')
    .groupBy(['flows.flow', sql`2`])
    .orderBy('flows.flow')
    .orderBy(sql`2`)
    .execute()
  return rows.map(({ flow, at, rows: count }) => ({ flow, at, rows: Number(count ?? 0) }))
}

/** What was changed most. */
export async function selectFlowTargets(
  db: StateDb,
  period: ReportPeriod,
  flows: Flows,
): Promise<readonly FlowTarget[]> {
  const rows = await db
    .selectFrom('action')
    .innerJoin(flowsOf(flows), (join) => join.onRef('flows.kind', '=', 'action.kind'))
    .select([
      'flows.flow',
      'action.target',
      sql<string>`sum(coalesce(row_count, 0))`.as('rows'),
      sql<string | null>`sum(byte_count)`.as('bytes'),
    ])
    .where('action.at', '>=', period.from)
    .where('result', '=', 'succeeded')
    .groupBy(['flows.flow', 'action.target'])
    .orderBy('rows', 'desc')
    .orderBy('action.target')
    .limit(mostTargets * Object.keys(flows).length + 1)
    .execute()
  return rows.map((row) => ({
    flow: row.flow,
    target: row.target,
    rows: Number(row.rows),
    bytes: numberOf(row.bytes),
  }))
}

function flowsOf(flows: Flows) {
  const pairs = Object.entries(flows).flatMap(([flow, kinds]) => kinds.map((kind) => [flow, kind] as const))
  return sql<{ flow: string; kind: string }>`(SELECT * FROM unnest(${pairs.map(([flow]) => flow)}::text[],
    ${pairs.map(([, kind]) => kind)}::text[]) AS pair (flow, kind))`.as<'flows'>('flows')
}

function numberOf(text: string | null): number | undefined {
  return text === null ? undefined : Number(text)
}
