/** What the page is made of, and how it is read. Everything after this is pure. */
import {
  decide,
  formatSchedule,
  type DisabledTask,
  type Finding,
  type RegisteredTask,
  type ReportPeriod,
  type ReportRows,
  type State,
  type StateStore,
  type TaskState,
} from '@battlescope/scheduler-core'

export interface ReportFacts {
  /** Of the program. */
  readonly version: string
  readonly database: { readonly name: string; readonly version: string }
  readonly period: ReportPeriod
  readonly expectedIntervalMs: number
  readonly historyKeptMs: number
  readonly tasks: readonly TaskFacts[]
  /** Names that have a row and are not enabled, or whose package was not loaded. */
  readonly notEnabled: readonly string[]
  readonly disabled: readonly DisabledTask[]
  /** Undefined where there is nothing that could be read; `why` says so. */
  readonly rows: ReportRows | undefined
  readonly why: string | undefined
}

export interface TaskFacts {
  readonly name: string
  readonly description: string
  readonly schedule: string
  readonly state: TaskState | undefined
  readonly next: NextSlot
  readonly last: { readonly outcome: string; readonly at: Date; readonly reason: string | undefined } | undefined
  /** Of the newest run. */
  readonly findings: readonly Finding[]
}

export interface NextSlot {
  readonly due: boolean
  /** Of a task that is due: since when. Undefined where nobody can say: every run, or paused for good. */
  readonly at: Date | undefined
  /** In core's words. */
  readonly reason: string
}

type LastRun = Awaited<ReturnType<StateStore['selectLastRuns']>>[number]

export function taskFacts(entry: RegisteredTask, state: State, last: LastRun | undefined): TaskFacts {
  const row = state.tasks.get(entry.name)
  const decision = decide(entry, row, state.now, { runStartedAt: state.now })
  const everyRun = entry.schedule.kind === 'every-run'
  return {
    name: entry.name,
    description: entry.task.description,
    schedule: formatSchedule(entry.schedule),
    state: row,
    next: {
      due: decision.due,
      at: decision.due ? (everyRun ? undefined : decision.scheduledAt) : decision.nextAt,
      reason: decision.reason,
    },
    last:
      last === undefined
        ? undefined
        : { outcome: last.outcome, at: last.finished_at, reason: last.reason ?? undefined },
    findings: last?.findings ?? [],
  }
}
