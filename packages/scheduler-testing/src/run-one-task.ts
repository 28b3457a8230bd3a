/** Runs one task through the real pipeline against a real database, as the program would. */
import { openConnections, type DatabaseConnections } from '@battlescope/database'
import {
  defaultConfig,
  registerTask,
  runScheduler,
  type AnyTask,
  type ClientFactories,
  type Connections,
  type RunReport,
  type TaskLogger,
  type TaskReport,
  type Timer,
} from '@battlescope/scheduler-core'

export interface RunOneTaskOptions {
  readonly task: AnyTask
  readonly databaseUrl: string
  /** Session-capable connection. Default: `databaseUrl`, if it proves direct. */
  readonly directUrl?: string
  /** Options that differ from the task's defaults. */
  readonly config?: Readonly<Record<string, unknown>>
  readonly clients?: ClientFactories
  readonly dryRun?: boolean
  readonly force?: boolean
  /** What a command asks of the task in this run. */
  readonly request?: unknown
  readonly stop?: AbortSignal
  readonly hardStop?: AbortSignal
  readonly budgetMs?: number
  readonly graceMs?: number
  readonly abortGraceMs?: number
  readonly timer?: Timer
  readonly logger?: TaskLogger
  /** Wraps the connections, to watch or disturb what the task does with them. */
  readonly around?: (connections: DatabaseConnections) => Connections
}

export interface OneTaskRun {
  readonly report: RunReport
  readonly task: TaskReport
}

/** Errors and warnings of a test's task belong into its outcome, not on the console. */
const silent: TaskLogger = { trace: nothing, debug: nothing, info: nothing, warn: nothing, error: nothing }

export async function runOneTask(options: RunOneTaskOptions): Promise<OneTaskRun> {
  const { task } = options
  const connections = openConnections({
    url: options.databaseUrl,
    ...(options.directUrl === undefined ? {} : { directUrl: options.directUrl }),
    applicationName: 'battlescope-scheduler',
    maxConnections: 4,
  })
  try {
    const config = Object.freeze({ ...defaultConfig(task), ...options.config })
    const report = await runScheduler({
      connections: options.around?.(connections) ?? connections,
      builtIn: { tasks: [registerTask(task, { kind: 'built-in' }, { config })], disabled: [] },
      clients: options.clients ?? {},
      logger: options.logger ?? silent,
      loggerFor: () => options.logger ?? silent,
      version: '0.0.0-test',
      holder: 'test',
      budgetMs: options.budgetMs ?? 40_000,
      graceMs: options.graceMs ?? 10_000,
      abortGraceMs: options.abortGraceMs ?? 2000,
      retention: { historyMs: 86_400_000, actionsMs: 86_400_000 },
      ...(options.dryRun === undefined ? {} : { dryRun: options.dryRun }),
      ...(options.force === undefined ? {} : { force: options.force }),
      ...(options.request === undefined ? {} : { requests: { [task.name]: options.request } }),
      ...(options.stop === undefined ? {} : { stop: options.stop }),
      ...(options.hardStop === undefined ? {} : { hardStop: options.hardStop }),
      ...(options.timer === undefined ? {} : { timer: options.timer }),
    })
    const [ran] = report.tasks
    if (ran === undefined) throw new Error(`the run knows nothing of task '${task.name}'`)
    return { report, task: ran }
  } finally {
    await connections.close()
  }
}

function nothing(): void {
  // Deliberately empty.
}
