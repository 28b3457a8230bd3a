/**
 * Metrics of a process that lives for seconds: every value comes from PostgreSQL, so that the next process continues the series of this
 * one. Pure. Names are OpenTelemetry's; what a Prometheus user sees follows from name, unit and kind.
 */
import type { Outcome } from './state/tables.js'
import type { HistogramRow, MetricRows, TaskMetricRow } from './state/metric-rows.js'
import { severities } from './task.js'

export type MetricPoint = NumberPoint | HistogramPoint

export interface NumberPoint {
  readonly attributes: Readonly<Record<string, string>>
  readonly value: number
  /** When counting began; of sums alone. */
  readonly startAt?: Date
}

export interface HistogramPoint {
  readonly attributes: Readonly<Record<string, string>>
  readonly count: number
  readonly sum: number
  readonly bounds: readonly number[]
  /** One more than bounds. */
  readonly counts: readonly number[]
  readonly startAt: Date
}

interface Described {
  readonly name: string
  /** As UCUM has it; `{run}` for a countable. */
  readonly unit: string
  readonly description: string
}

export type Metric =
  | (Described & { readonly kind: 'sum' | 'gauge'; readonly points: readonly NumberPoint[] })
  | (Described & { readonly kind: 'histogram'; readonly points: readonly HistogramPoint[] })

/** Everything that there is to tell at one moment. */
export interface MetricBatch {
  /** The same in every process that works on this database. */
  readonly instanceId: string
  /** Database time. */
  readonly at: Date
  readonly metrics: readonly Metric[]
}

export interface MetricQuestion {
  readonly rows: MetricRows
  /** When each enabled task is due next; undefined for one that is due in every run, and while nothing is planned. */
  readonly nextDueAt: ReadonlyMap<string, Date | undefined>
  /** Milliseconds between two runs, as configured. */
  readonly expectedIntervalMs: number
}

const erroneous: readonly Outcome[] = ['failed', 'timed-out']

/** Times are seconds since 1970, 0 for never: a series that vanishes cannot be alerted on. */
export function metricBatch({ rows, nextDueAt, expectedIntervalMs }: MetricQuestion): MetricBatch {
  const taskGauge = (
    name: string,
    unit: string,
    description: string,
    valueOf: (row: MetricRows['tasks'][number]) => number,
  ): Metric => ({
    kind: 'gauge',
    name,
    unit,
    description,
    points: rows.tasks.map((row) => ({ attributes: { task: row.name }, value: valueOf(row) })),
  })
  const own: readonly Metric[] = [
    {
      kind: 'sum',
      name: 'scheduler.runs',
      unit: '{run}',
      description: 'Runs of the scheduler, by exit code.',
      points: rows.runs.map(({ exitCode, runs, createdAt }) => ({
        attributes: { exit_code: String(exitCode) },
        value: runs,
        startAt: createdAt,
      })),
    },
    {
      kind: 'histogram',
      name: 'scheduler.duration',
      unit: 's',
      description: 'Duration of runs of the scheduler.',
      points: merged(rows.runs),
    },
    {
      kind: 'gauge',
      name: 'scheduler.tasks.completed',
      unit: '{task}',
      description: 'Tasks that succeeded in the last run.',
      points: [
        { attributes: {}, value: rows.lastRun?.outcomes.filter((outcome) => outcome === 'succeeded').length ?? 0 },
      ],
    },
    {
      kind: 'sum',
      name: 'scheduler.errors',
      unit: '{error}',
      description: 'Runs of tasks that failed or timed out.',
      points: rows.tasks.flatMap(({ name }) => {
        const totals = rows.taskTotals.filter(({ task, outcome }) => task === name && erroneous.includes(outcome))
        const [first] = totals
        if (first === undefined) return []
        const value = totals.reduce((sum, { runs }) => sum + runs, 0)
        return [{ attributes: { task: name }, value, startAt: first.createdAt }]
      }),
    },
    {
      kind: 'gauge',
      name: 'scheduler.last_run_timestamp',
      unit: 's',
      description: 'When the last run ended.',
      points: [{ attributes: {}, value: seconds(rows.lastRun?.finishedAt) }],
    },
    {
      kind: 'gauge',
      name: 'scheduler.expected_interval',
      unit: 's',
      description: 'How often something starts the scheduler (SCHEDULER_EXPECTED_INTERVAL).',
      points: [{ attributes: {}, value: expectedIntervalMs / 1000 }],
    },
    {
      kind: 'sum',
      name: 'scheduler.task.runs',
      unit: '{run}',
      description: 'Runs of tasks, by outcome.',
      points: rows.taskTotals.map(({ task, outcome, runs, createdAt }) => ({
        attributes: { task, outcome },
        value: runs,
        startAt: createdAt,
      })),
    },
    {
      kind: 'histogram',
      name: 'scheduler.task.duration',
      unit: 's',
      description: 'Duration of runs of tasks.',
      points: rows.tasks.flatMap(({ name }) =>
        merged(rows.taskTotals.filter(({ task }) => task === name)).map((point) => ({
          ...point,
          attributes: { task: name },
        })),
      ),
    },
    taskGauge('scheduler.task.last_start_timestamp', 's', 'When the task last began; 0 for never.', (row) =>
      seconds(row.lastStartAt),
    ),
    taskGauge('scheduler.task.last_success_timestamp', 's', 'When the task last succeeded; 0 for never.', (row) =>
      seconds(row.lastSuccessAt),
    ),
    taskGauge(
      'scheduler.task.consecutive_failures',
      '{failure}',
      'Failures in a row.',
      (row) => row.consecutiveFailures,
    ),
    taskGauge(
      'scheduler.task.backlog',
      '{item}',
      'What the last run left for the next one, in its own units.',
      (row) => row.remaining ?? 0,
    ),
    {
      kind: 'gauge',
      name: 'scheduler.task.next_due_timestamp',
      unit: 's',
      description:
        'When an enabled task with a schedule of its own is due next; 0 while it is not planned, as when it is paused.',
      points: [...nextDueAt].map(([task, at]) => ({ attributes: { task }, value: seconds(at) })),
    },
    {
      kind: 'gauge',
      name: 'scheduler.alerts.open',
      unit: '{alert}',
      description: 'Alerts that fire, muted ones included.',
      points: severities.map((severity) => ({
        attributes: { severity },
        value: rows.openAlerts.find((open) => open.severity === severity)?.count ?? 0,
      })),
    },
    {
      kind: 'gauge',
      name: 'scheduler.alerts.undelivered',
      unit: '{message}',
      description: 'Messages about alerts that wait to be delivered.',
      points: [{ attributes: {}, value: rows.alertMessages.waiting }],
    },
    {
      kind: 'gauge',
      name: 'scheduler.alerts.dead_letters',
      unit: '{message}',
      description: 'Messages about alerts that were refused or too old, within the last 30 days.',
      points: [{ attributes: {}, value: rows.alertMessages.dead }],
    },
  ]
  const taken = new Set(own.map(({ name }) => name))
  const ofTasks = metricsOfTasks(rows.taskMetrics).filter(({ name }) => !taken.has(name))
  return { instanceId: rows.instanceId, at: rows.now, metrics: [...own, ...ofTasks] }
}

/** What tasks count and gauge by themselves: `rows_deleted` of task `retention` is `scheduler.retention.rows_deleted`. */
function metricsOfTasks(rows: readonly TaskMetricRow[]): readonly Metric[] {
  const byName = new Map<string, TaskMetricRow[]>()
  for (const row of rows) {
    const name = `scheduler.${row.task.replaceAll(/[^A-Za-z0-9]/g, '_')}.${row.name}`
    byName.set(name, [...(byName.get(name) ?? []), row])
  }
  return [...byName].map(([name, ofName]) => {
    // A task of another version may have counted what is a gauge now: one name is of one kind, that of its newest value.
    const { kind } = ofName.reduce((a, b) => (b.updatedAt > a.updatedAt ? b : a))
    const points = ofName
      .filter((row) => row.kind === kind)
      .map(({ attributes, value, createdAt }) =>
        kind === 'counter' ? { attributes, value, startAt: createdAt } : { attributes, value },
      )
    return {
      kind: kind === 'counter' ? 'sum' : 'gauge',
      name,
      unit: '',
      description: `Reported by the task itself.`,
      points,
    }
  })
}

/** Histograms of the same bounds, as one. Other bounds, of an older version, are left out. */
function merged(rows: readonly HistogramRow[]): readonly HistogramPoint[] {
  const [first] = rows
  if (first === undefined) return []
  const same = rows.filter(({ bounds }) => bounds.join() === first.bounds.join())
  return [
    {
      attributes: {},
      count: same.reduce((sum, { runs }) => sum + runs, 0),
      sum: same.reduce((sum, { sumMs }) => sum + sumMs, 0) / 1000,
      bounds: first.bounds,
      counts: first.counts.map((_, index) => same.reduce((sum, { counts }) => sum + (counts[index] ?? 0), 0)),
      startAt: new Date(Math.min(...same.map(({ createdAt }) => createdAt.getTime()))),
    },
  ]
}

function seconds(at: Date | undefined): number {
  return at === undefined ? 0 : at.getTime() / 1000
}
