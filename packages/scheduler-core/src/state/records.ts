/** What happened: runs, actions, totals, metrics, and how long they are kept. */
import { sql, type Insertable } from 'kysely'
import { exitCodes, LostClaimError } from '../errors.js'
import type { Change, Finding } from '../task.js'
import type { SpanReference } from '../telemetry.js'
import { retryAtAfterFailure, type ClaimIdentity } from './claims.js'
import { countedBuckets, emptyHistogram } from './histogram.js'
import type { Outcome, StateDb, StateDatabase } from './tables.js'

/** Exit codes of runs that reach their record. */
const recordedExitCodes = (
  ['ok', 'taskFailed', 'claimedElsewhere', 'findings', 'interrupted', 'terminated'] as const
).map((name) => exitCodes[name].code)

/** Milliseconds that alerts which could not be delivered are kept for `status`. */
const deadLetterRetentionMs = 30 * 86_400_000

export interface TaskRunRecord {
  readonly runId: string
  readonly task: string
  readonly ticket: string
  readonly slotId: string
  readonly scheduledAt: Date
  readonly lateByMs: number
  readonly outcome: Outcome
  readonly reason: string | undefined
  readonly errorCode: string | undefined
  readonly attempts: number
  readonly startedAt: Date
  readonly durationMs: number
  readonly peakMemoryBytes: number
  readonly remaining: number | undefined
  readonly actionCount: number
  readonly findings: readonly Finding[]
  /** Kept until the alerts have made messages of them. */
  readonly changes: readonly Change[]
  readonly traceId: string | undefined
  readonly metrics: readonly MetricValue[]
  /** The slot to store as finished; undefined when the slot stays due or the task has none. */
  readonly finishedSlotAt: Date | undefined
  /** A command asked for it: it did what it was asked, and took no look of the kind that alerts go by. */
  readonly requested: boolean
}

export interface MetricValue {
  readonly kind: 'gauge' | 'counter'
  readonly name: string
  readonly value: number
  readonly attributes: Readonly<Record<string, string>>
}

export interface ActionRecord {
  readonly kind: string
  readonly target: string
  readonly via: string
  readonly reason: string | undefined
  readonly result: 'started' | 'succeeded' | 'failed'
  readonly errorCode?: string | undefined
  readonly rows?: number | undefined
  readonly bytes?: number | undefined
  readonly details?: Readonly<Record<string, unknown>> | undefined
  readonly durationMs?: number | undefined
}

export interface RunRecord {
  readonly id: string
  readonly startedAt: Date
  /** Milliseconds from the start of the process to this record. */
  readonly durationMs: number
  readonly exitCode: number
  readonly version: string
  readonly holder: string
  readonly decisions: readonly object[]
  readonly span: SpanReference | undefined
}

export interface HistoryFilter {
  readonly task?: string | undefined
  readonly sinceMs: number
  readonly limit: number
}

/** Newest first. */
export function selectHistory(db: StateDb, filter: HistoryFilter) {
  return db
    .selectFrom('task_run')
    .selectAll()
    .where('finished_at', '>', since(filter))
    .$if(filter.task !== undefined, (query) => query.where('task', '=', filter.task ?? ''))
    .orderBy('id', 'desc')
    .limit(filter.limit)
    .execute()
}

/** Newest first. */
export function selectActions(db: StateDb, filter: HistoryFilter) {
  return db
    .selectFrom('action')
    .selectAll()
    .where('at', '>', since(filter))
    .$if(filter.task !== undefined, (query) => query.where('task', '=', filter.task ?? ''))
    .orderBy('id', 'desc')
    .limit(filter.limit)
    .execute()
}

const since = ({ sinceMs }: HistoryFilter) => sql<Date>`now() - ${sinceMs} * interval '1 millisecond'`

/** Each task's newest run. */
export function selectLastRuns(db: StateDb) {
  return db.selectFrom('task_run').distinctOn('task').selectAll().orderBy('task').orderBy('id', 'desc').execute()
}

/** Ends a run: its record, the task's next state, totals and metrics. @throws LostClaimError and writes nothing. */
export async function finishTaskRun(db: StateDb, record: TaskRunRecord): Promise<void> {
  const failed = record.outcome === 'failed' || record.outcome === 'timed-out'
  const stopped = record.outcome === 'cancelled'
  const updated = await db
    .updateTable('task')
    .set({
      ticket: null,
      revision: sql<string>`revision + 1`,
      ...(record.finishedSlotAt === undefined ? {} : { last_slot_at: record.finishedSlotAt }),
      consecutive_expiries: 0,
      // A run that we stopped says nothing about the task.
      ...(failed
        ? { consecutive_failures: sql<number>`consecutive_failures + 1`, retry_at: sql<Date>`${retryAtAfterFailure}` }
        : stopped
          ? {}
          : { consecutive_failures: 0, retry_at: null }),
    })
    .where('name', '=', record.task)
    .where('ticket', '=', record.ticket)
    .executeTakeFirst()
  if (updated.numUpdatedRows === 0n) throw new LostClaimError(record.task)
  await db.deleteFrom('claim').where('ticket', '=', record.ticket).execute()
  await db
    .insertInto('task_run')
    .values((e) => ({
      run_id: record.runId,
      task: record.task,
      ticket: record.ticket,
      slot_id: record.slotId,
      slot_at: record.scheduledAt,
      late_by_ms: Math.round(record.lateByMs),
      outcome: record.outcome,
      reason: record.reason ?? null,
      error_code: record.errorCode ?? null,
      attempts: record.attempts,
      started_at: record.startedAt,
      duration_ms: Math.round(record.durationMs),
      peak_memory_bytes: record.peakMemoryBytes,
      remaining: record.remaining ?? null,
      action_count: record.actionCount,
      findings: JSON.stringify(record.findings),
      trace_id: record.traceId ?? null,
      // A run that found nothing, of a task without open alerts, is none of the alerts' business; nor is what a command asked for.
      evaluated: record.requested
        ? true
        : record.findings.length > 0
          ? false
          : e.not(
              e.exists(
                e.selectFrom('alert').select('name').where('task', '=', record.task).where('state', '<>', 'resolved'),
              ),
            ),
    }))
    .execute()
  await insertChanges(db, record)
  await addToTotals(db, record)
  await storeMetrics(db, record)
}

async function insertChanges(db: StateDb, { changes, task, slotId }: TaskRunRecord): Promise<void> {
  if (changes.length === 0) return
  await db
    .insertInto('change')
    .values(
      changes.map(({ key, summary, details = {}, links = [] }) => ({
        task,
        slot_id: slotId,
        key,
        summary,
        details: JSON.stringify(details),
        links: JSON.stringify(links),
      })),
    )
    .execute()
}

async function addToTotals(db: StateDb, record: TaskRunRecord): Promise<void> {
  await db
    .updateTable('task_total')
    .set({
      run_count: sql<string>`run_count + 1`,
      duration_ms_sum: sql<string>`duration_ms_sum + ${Math.round(record.durationMs)}`,
      bucket_counts: countedBuckets(sql`${record.durationMs / 1000}::float8`),
    })
    .where('task', '=', record.task)
    .where('outcome', '=', record.outcome)
    .execute()
}

/** Rows of one statement: a statement has 65 535 parameters at most. */
const metricsAtOnce = 1000

async function storeMetrics(db: StateDb, record: TaskRunRecord): Promise<void> {
  // One statement cannot change a row twice. Each attempt has metrics of its own: counts of the same thing add up, and the last gauge counts.
  const byRow = new Map<string, Insertable<StateDatabase['task_metric']>>()
  for (const { name, attributes, kind, value } of record.metrics) {
    const row = JSON.stringify([name, Object.entries(attributes).sort()])
    const before = kind === 'counter' ? (byRow.get(row)?.value ?? 0) : 0
    byRow.set(row, { task: record.task, name, attributes: JSON.stringify(attributes), kind, value: before + value })
  }
  const rows = [...byRow.values()]
  for (let start = 0; start < rows.length; start += metricsAtOnce) {
    await db
      .insertInto('task_metric')
      .values(rows.slice(start, start + metricsAtOnce))
      .onConflict((conflict) =>
        conflict.columns(['task', 'name', 'attributes']).doUpdateSet((e) => ({
          kind: e.ref('excluded.kind'),
          updated_at: sql<Date>`now()`,
          value: sql<number>`excluded.value + CASE excluded.kind WHEN 'counter' THEN task_metric.value ELSE 0 END`,
        })),
      )
      .execute()
  }
}

export async function insertAction(db: StateDb, identity: ClaimIdentity, action: ActionRecord): Promise<void> {
  await db
    .insertInto('action')
    .values({
      run_id: identity.runId,
      task: identity.task,
      ticket: identity.ticket,
      slot_id: identity.slotId,
      kind: action.kind,
      target: action.target,
      via: action.via,
      reason: action.reason ?? null,
      result: action.result,
      error_code: action.errorCode ?? null,
      row_count: action.rows ?? null,
      byte_count: action.bytes ?? null,
      details: action.details === undefined ? null : JSON.stringify(action.details),
      duration_ms: action.durationMs === undefined ? null : Math.round(action.durationMs),
    })
    .execute()
}

/** Every label exists at 0 before its first event, or whoever computes a rate misses that event. */
export async function startRunTotals(db: StateDb, others: readonly number[] = []): Promise<void> {
  await db
    .insertInto('run_total')
    .values([...new Set([...recordedExitCodes, ...others])].map((code) => ({ exit_code: code, ...emptyHistogram })))
    .onConflict((conflict) => conflict.doNothing())
    .execute()
}

/** Doing it twice changes nothing. */
export async function insertRun(db: StateDb, record: RunRecord): Promise<void> {
  const inserted = await db
    .insertInto('run')
    .values({
      id: record.id,
      started_at: record.startedAt,
      finished_at: sql<Date>`clock_timestamp()`,
      exit_code: record.exitCode,
      version: record.version,
      holder: record.holder,
      decisions: JSON.stringify(record.decisions),
      trace_id: record.span?.traceId ?? null,
      span_id: record.span?.spanId ?? null,
    })
    .onConflict((conflict) => conflict.column('id').doNothing())
    .executeTakeFirst()
  if (inserted.numInsertedOrUpdatedRows !== 1n) return
  await startRunTotals(db, [record.exitCode])
  await db
    .updateTable('run_total')
    .set({
      run_count: sql<string>`run_count + 1`,
      duration_ms_sum: sql<string>`duration_ms_sum + ${Math.round(record.durationMs)}`,
      bucket_counts: countedBuckets(sql`${record.durationMs / 1000}::float8`),
    })
    .where('exit_code', '=', record.exitCode)
    .execute()
}

/**
 * Removes history older than its retention period (milliseconds), a bounded number of rows at a time. Each task's newest run stays.
 * @returns the number of rows removed.
 */
export async function deleteOldHistory(
  db: StateDb,
  retention: { readonly historyMs: number; readonly actionsMs: number },
  batchSize: number,
): Promise<number> {
  const horizon = (ms: number) => sql<Date>`now() - ${ms} * interval '1 millisecond'`
  await db
    .updateTable('meta')
    .set({ history_pruned_at: sql<Date>`now()` })
    .execute()
  const runs = await db
    .deleteFrom('task_run')
    .where('id', 'in', (query) =>
      query
        .selectFrom('task_run')
        .select('id')
        .where('finished_at', '<', horizon(retention.historyMs))
        .limit(batchSize),
    )
    .where('id', 'not in', (query) =>
      query
        .selectFrom('task_run')
        .select((e) => e.fn.max('id').as('id'))
        .groupBy('task'),
    )
    .executeTakeFirst()
  const wholeRuns = await db
    .deleteFrom('run')
    .where('id', 'in', (query) =>
      query.selectFrom('run').select('id').where('started_at', '<', horizon(retention.historyMs)).limit(batchSize),
    )
    .executeTakeFirst()
  const actions = await db
    .deleteFrom('action')
    .where('id', 'in', (query) =>
      query.selectFrom('action').select('id').where('at', '<', horizon(retention.actionsMs)).limit(batchSize),
    )
    .executeTakeFirst()
  const deadLetters = await db
    .deleteFrom('alert_message')
    .where('state', '=', 'dead')
    .where('dead_at', '<', horizon(deadLetterRetentionMs))
    .executeTakeFirst()
  return Number(runs.numDeletedRows + wholeRuns.numDeletedRows + actions.numDeletedRows + deadLetters.numDeletedRows)
}
