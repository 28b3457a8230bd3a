/** Facts for tests of the page: some that look like a month of a real scheduler, and ways to change them. */
import { partsOf, reportPeriod, type OutcomeCounts, type ReportRows, type TaskState } from '@battlescope/scheduler-core'
import type { ReportFacts, TaskFacts } from '../../src/report/facts.js'

export const now = new Date('2026-11-25T18:07:00Z')
const dayMs = 86_400_000
export const period = reportPeriod(now, 30 * dayMs)
const parts = partsOf(period)

export const noCounts: OutcomeCounts = {
  succeeded: 0,
  partial: 0,
  skipped: 0,
  failed: 0,
  'timed-out': 0,
  cancelled: 0,
}

const emptyRows: ReportRows = {
  runParts: [],
  runTotals: { durations: undefined, byExitCode: [], oldestAt: undefined, newestAt: undefined },
  taskTotals: [],
  taskParts: [],
  problems: [],
  actionTotals: [],
  flowParts: [],
  flowTargets: [],
  growth: { relationCount: 0, total: [], relations: [] },
}

export function facts(change: Partial<ReportFacts> = {}): ReportFacts {
  return {
    version: '1.2.3',
    database: { name: 'battlescope', version: '15.18' },
    period,
    expectedIntervalMs: 300_000,
    historyKeptMs: 90 * dayMs,
    tasks: [],
    notEnabled: [],
    disabled: [],
    rows: emptyRows,
    why: undefined,
    ...change,
  }
}

export function task(name: string, change: Partial<TaskFacts> = {}): TaskFacts {
  return {
    name,
    description: 'does something',
    schedule: 'every-run',
    state: undefined,
    next: { due: true, at: undefined, reason: 'due in every run' },
    last: { outcome: 'succeeded', at: new Date(now.getTime() - 120_000), reason: undefined },
    findings: [],
    ...change,
  }
}

export function state(change: Partial<TaskState> = {}): TaskState {
  return {
    name: 'work',
    revision: '7',
    firstSeenAt: parts[0]!,
    lastSlotAt: undefined,
    lastClaimedAt: undefined,
    claim: undefined,
    consecutiveFailures: 0,
    retryAt: undefined,
    paused: undefined,
    ...change,
  }
}

/** A month in which something happened in every section. */
export function busyFacts(names: readonly string[] = ['analyze', 'retention', 'statistics']): ReportFacts {
  const bad = (index: number) => index === 40 || index === 41
  const durations = { medianMs: 1_520, p95Ms: 7_490, longestMs: 13_340 }
  const days = Array.from({ length: 30 }, (_, index) =>
    new Date(now.getTime() - (29 - index) * dayMs).toISOString().slice(0, 10),
  )
  const points = (factor: number) =>
    days.map((day, index) => ({ day, bytes: factor * (5e9 + index * 4e7 + (index % 3) * 1e7) }))
  return facts({
    tasks: names.map((name, index) =>
      task(name, {
        schedule: index === 0 ? 'every-run' : '0 2 * * *',
        state: state({ name, consecutiveFailures: index === 1 ? 2 : 0, retryAt: new Date(now.getTime() + 600_000) }),
        next:
          index === 0 ? task(name).next : { due: false, at: new Date(now.getTime() + 3_600_000), reason: 'next slot' },
        last: {
          outcome: index === 1 ? 'failed' : 'succeeded',
          at: new Date(now.getTime() - 120_000),
          reason: index === 1 ? 'the store does not answer' : undefined,
        },
        findings:
          index === 1
            ? [{ key: 'store-unreachable', severity: 'error', summary: 'cold storage cannot be reached' }]
            : [{ key: 'note', severity: 'info', summary: 'worth knowing' }],
      }),
    ),
    notEnabled: ['cache'],
    rows: {
      runParts: parts
        .filter((_, index) => index < 20 || index > 23)
        .map((at, index) => ({ at, runs: 144, failed: bad(index) ? 3 : 0 })),
      runTotals: {
        durations,
        byExitCode: [
          { exitCode: 0, runs: 8000 },
          { exitCode: 1, runs: 6 },
        ],
        oldestAt: parts[0]!,
        newestAt: new Date(now.getTime() - 118_000),
      },
      taskTotals: names.map((name) => ({ task: name, counts: { ...noCounts, succeeded: 59, failed: 2 }, durations })),
      taskParts: names.flatMap((name) =>
        parts.map((at, index) => ({
          task: name,
          at,
          counts: bad(index)
            ? { ...noCounts, failed: 1 }
            : { ...noCounts, succeeded: 1, partial: index % 7 === 0 ? 1 : 0 },
          longestMs: 1000 + ((index * 997) % 12_000),
        })),
      ),
      problems: parts.slice(0, 12).map((at) => ({
        task: names[1] ?? 'retention',
        at,
        outcome: 'failed',
        reason: 'the store does not answer',
        errorCode: 'store-unreachable',
        durationMs: 812,
      })),
      actionTotals: Array.from({ length: 20 }, (_, index) => ({
        task: names[index % names.length] ?? 'analyze',
        kind: `kind-${index}`,
        succeeded: 1000 - index,
        failed: index % 3,
        rows: index % 2 === 0 ? index * 1_234_567 : undefined,
        bytes: index % 4 === 0 ? index * 1_234_567_890 : undefined,
        newestAt: new Date(now.getTime() - index * 60_000),
      })),
      flowParts: parts.flatMap((at, index) =>
        index % 2 === 0
          ? [
              { flow: 'deleted', at, rows: 20_000 + index * 100 },
              { flow: 'archived', at, rows: 20_000 + index * 100 },
            ]
          : [],
      ),
      flowTargets: [
        { flow: 'deleted', target: 'public.killmail_events', rows: 700_000, bytes: undefined },
        { flow: 'archived', target: 'public.killmail_events', rows: 700_000, bytes: 90_000_000 },
      ],
      growth: {
        relationCount: 12,
        total: points(1),
        relations: Array.from({ length: 12 }, (_, index) => ({
          relation: `public.relation_${index}`,
          rowEstimate: index === 3 ? undefined : 1_000_000 - index,
          heapBytes: 3e9 / (index + 1),
          toastBytes: 1e9 / (index + 1),
          indexBytes: 1e9 / (index + 1),
          points: points(1 / (index + 1)),
        })),
      },
    },
  })
}

/** Every text that came from outside, replaced. */
export function withTexts<T>(value: T, replace: (text: string) => string): T {
  const keep = new Set(['outcome', 'severity', 'day', 'flow'])
  const walk = (one: unknown, key: string): unknown => {
    if (typeof one === 'string') return keep.has(key) ? one : replace(one)
    if (Array.isArray(one)) return one.map((each) => walk(each, key))
    if (typeof one !== 'object' || one === null || one instanceof Date) return one
    return Object.fromEntries(Object.entries(one).map(([name, inner]) => [name, walk(inner, name)]))
  }
  return walk(value, '') as T
}
