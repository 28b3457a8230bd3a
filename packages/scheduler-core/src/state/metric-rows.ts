/** What metrics are made of, in one statement: durable totals, and the state that gauges show. */
import { sql } from 'kysely'
import { jsonArrayFrom } from 'kysely/helpers/postgres'
import type { Severity } from '../task.js'
import type { Outcome, StateDb } from './tables.js'

/** Counts of durations; the last bucket has no bound. */
export interface HistogramRow {
  readonly runs: number
  readonly sumMs: number
  readonly bounds: readonly number[]
  readonly counts: readonly number[]
  readonly createdAt: Date
}

export interface TaskRow {
  readonly name: string
  readonly lastStartAt: Date | undefined
  readonly lastSuccessAt: Date | undefined
  readonly consecutiveFailures: number
  /** What the newest run left undone. */
  readonly remaining: number | undefined
}

export interface TaskMetricRow {
  readonly task: string
  readonly name: string
  readonly kind: 'gauge' | 'counter'
  readonly attributes: Readonly<Record<string, string>>
  readonly value: number
  readonly createdAt: Date
  readonly updatedAt: Date
}

export interface MetricRows {
  readonly instanceId: string
  /** Database time of this reading. */
  readonly now: Date
  readonly runs: readonly (HistogramRow & { readonly exitCode: number })[]
  readonly lastRun: { readonly finishedAt: Date; readonly outcomes: readonly string[] } | undefined
  readonly tasks: readonly TaskRow[]
  readonly taskTotals: readonly (HistogramRow & { readonly task: string; readonly outcome: Outcome })[]
  readonly taskMetrics: readonly TaskMetricRow[]
  /** Alerts that fire, muted ones included. */
  readonly openAlerts: readonly { readonly severity: Severity; readonly count: number }[]
  /** Messages of alerts that wait, and those that were given up and are kept for `status`. */
  readonly alertMessages: { readonly waiting: number; readonly dead: number }
}

export async function selectMetricRows(db: StateDb): Promise<MetricRows> {
  const row = await db
    .selectFrom('meta')
    .select((e) => [
      'meta.instance_id',
      sql<Date>`now()`.as('now'),
      jsonArrayFrom(e.selectFrom('run_total').selectAll('run_total').orderBy('exit_code')).as('runs'),
      jsonArrayFrom(
        e.selectFrom('run').select(['finished_at', 'decisions']).orderBy('started_at', 'desc').orderBy('id').limit(1),
      ).as('last_run'),
      jsonArrayFrom(
        e
          .selectFrom('task')
          .select((task) => [
            'task.name',
            'task.last_claimed_at',
            'task.consecutive_failures',
            task
              .selectFrom('task_run')
              .select('finished_at')
              .whereRef('task_run.task', '=', 'task.name')
              .where('outcome', '=', 'succeeded')
              .orderBy('finished_at', 'desc')
              .limit(1)
              .as('last_success_at'),
            task
              .selectFrom('task_run')
              .select('remaining')
              .whereRef('task_run.task', '=', 'task.name')
              .orderBy('finished_at', 'desc')
              .limit(1)
              .as('remaining'),
          ])
          .orderBy('task.name'),
      ).as('tasks'),
      jsonArrayFrom(e.selectFrom('task_total').selectAll('task_total').orderBy('task').orderBy('outcome')).as(
        'task_totals',
      ),
      jsonArrayFrom(
        e.selectFrom('task_metric').selectAll('task_metric').orderBy('task').orderBy('name').orderBy('attributes'),
      ).as('task_metrics'),
      jsonArrayFrom(
        e
          .selectFrom('alert')
          .select(['severity', sql<number>`count(*)`.as('count')])
          .where('state', '=', 'firing')
          .groupBy('severity'),
      ).as('open_alerts'),
      jsonArrayFrom(
        e
          .selectFrom('alert_message')
          .select([
            sql<number>`count(*) FILTER (WHERE state = 'waiting')`.as('waiting'),
            sql<number>`count(*) FILTER (WHERE state = 'dead')`.as('dead'),
          ]),
      ).as('alert_messages'),
    ])
    .executeTakeFirstOrThrow()
  const [lastRun] = row.last_run
  return {
    instanceId: row.instance_id,
    now: row.now,
    runs: row.runs.map((total) => ({ ...histogramOf(total), exitCode: total.exit_code })),
    lastRun:
      lastRun === undefined
        ? undefined
        : {
            finishedAt: instant(lastRun.finished_at),
            outcomes: lastRun.decisions.map((decision) => String((decision as { outcome?: unknown }).outcome)),
          },
    tasks: row.tasks.map((task) => ({
      name: task.name,
      lastStartAt: task.last_claimed_at === null ? undefined : instant(task.last_claimed_at),
      lastSuccessAt: task.last_success_at === null ? undefined : instant(task.last_success_at),
      consecutiveFailures: task.consecutive_failures,
      remaining: task.remaining === null ? undefined : Number(task.remaining),
    })),
    taskTotals: row.task_totals.map((total) => ({ ...histogramOf(total), task: total.task, outcome: total.outcome })),
    taskMetrics: row.task_metrics.map(({ task, name, kind, attributes, value, ...times }) => ({
      task,
      name,
      kind,
      attributes,
      value,
      createdAt: instant(times.created_at),
      updatedAt: instant(times.updated_at),
    })),
    openAlerts: row.open_alerts,
    alertMessages: row.alert_messages[0] ?? { waiting: 0, dead: 0 },
  }
}

interface StoredHistogram {
  readonly run_count: string
  readonly duration_ms_sum: string
  readonly bucket_bounds: readonly number[]
  readonly bucket_counts: readonly string[]
  readonly created_at: string
}

/** In JSON an int8 is a number, whatever its type says. */
function histogramOf(total: StoredHistogram): HistogramRow {
  return {
    runs: Number(total.run_count),
    sumMs: Number(total.duration_ms_sum),
    bounds: total.bucket_bounds,
    counts: total.bucket_counts.map(Number),
    createdAt: instant(total.created_at),
  }
}

function instant(text: string): Date {
  return new Date(text)
}
