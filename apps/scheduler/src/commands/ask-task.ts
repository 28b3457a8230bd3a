/** Asks a task for something beside its schedule, in as many runs as that takes: for commands that change data. */
import {
  registerTask,
  runScheduler,
  SchedulerError,
  type AnyTask,
  type Finding,
  type RunReport,
  type TaskReport,
} from '@battlescope/scheduler-core'
import type { DatabaseConnections } from '@battlescope/database'
import { clientFactories, surroundingsOf } from '../clients/client-factories.js'
import type { Configuration } from '../configuration/load.js'
import type { Host } from '../host.js'
import { createLogging } from '../logging/logging.js'
import { version } from '../version.js'

export interface Asked {
  readonly reports: readonly RunReport[]
  /** Of the last run. */
  readonly task: TaskReport
  readonly exitCode: number
  /** Findings of all runs, the newest of each key. */
  readonly findings: readonly Finding[]
  /** Totals of all runs, by name and relation. */
  readonly counts: ReadonlyMap<string, ReadonlyMap<string, number>>
}

export interface Ask {
  /** A built-in one; whether it is among SCHEDULER_TASKS does not matter. */
  readonly task: AnyTask
  readonly request: unknown
  readonly dryRun: boolean
}

/** Runs that leave as much undone as the run before, in a row, until it is given up. */
const mostIdleRuns = 3

/**
 * Logs go to stderr. A run is limited by the configured budget, so that its claim never outlives a process that was killed by much.
 * @throws SchedulerError
 */
export async function askTask(
  host: Host,
  configuration: Configuration,
  connections: DatabaseConnections,
  { task, request, dryRun }: Ask,
): Promise<Asked> {
  const { program, resolved } = configuration
  const scrub = (text: string) => host.secrets.scrub(text)
  const logging = createLogging({
    level: program.logLevel === 'info' ? 'warn' : program.logLevel,
    stream: 'stderr',
    terminal: host.terminal,
    scrub,
  })
  const registered = registerTask(
    task,
    { kind: 'built-in' },
    { config: resolved.sections[task.name] ?? {}, ...resolved.taskOptions[task.name] },
  )
  const reports: RunReport[] = []
  let idle = 0
  for (;;) {
    const report = await runScheduler({
      connections,
      schema: program.schema,
      builtIn: { tasks: [registered], disabled: [] },
      clients: clientFactories(configuration, surroundingsOf(host)),
      scrub,
      logger: logging.logger,
      loggerFor: (fields) => logging.bind(fields),
      version,
      holder: host.holder,
      requests: { [task.name]: request },
      dryRun,
      budgetMs: program.budget,
      graceMs: program.grace,
      stop: host.stop,
      hardStop: host.hardStop,
      retention: { historyMs: program.historyRetention, actionsMs: program.actionRetention },
    })
    const before = remainingOf(reports.at(-1))
    reports.push(report)
    const ran = report.tasks.find(({ name }) => name === task.name)
    if (ran === undefined) throw new Error(`the run knows nothing of task '${task.name}'`)
    const now = remainingOf(report)
    // A run that cannot say how much is left may have done nothing.
    idle = now === undefined || (before !== undefined && now >= before) ? idle + 1 : 0
    if (ran.run?.outcome === 'partial' && report.exitCode === 0 && idle < mostIdleRuns) continue
    logging.end()
    if (ran.code === 'paused') {
      throw new SchedulerError('claim-in-use', `the task '${task.name}' is ${ran.reason}`, {
        hint: `\`resume ${task.name}\` ends the pause`,
      })
    }
    return { reports, task: ran, exitCode: report.exitCode, findings: findingsOf(reports), counts: countsOf(reports) }
  }
}

function remainingOf(report: RunReport | undefined): number | undefined {
  return report?.tasks[0]?.run?.remaining ?? undefined
}

function findingsOf(reports: readonly RunReport[]): readonly Finding[] {
  const all = reports.flatMap(({ tasks }) => tasks.flatMap(({ run }) => run?.findings ?? []))
  const last = reports.at(-1)?.tasks.flatMap(({ run }) => run?.findings ?? []) ?? []
  // A store that failed is one that the next run got along with, or reports again.
  const lasting = all.filter(({ key }) => key !== 'store-failed' || last.some((finding) => finding.key === key))
  return [...new Map(lasting.map((finding) => [finding.key, finding])).values()]
}

function countsOf(reports: readonly RunReport[]): Asked['counts'] {
  const counts = new Map<string, Map<string, number>>()
  const metrics = reports.flatMap(({ tasks }) => tasks.flatMap(({ run }) => run?.metrics ?? []))
  for (const { kind, name, value, attributes } of metrics) {
    if (kind !== 'counter') continue
    const of = attributes['relation'] ?? ''
    const own = counts.get(name) ?? new Map<string, number>()
    counts.set(name, own.set(of, (own.get(of) ?? 0) + value))
  }
  return counts
}
