/** A BattleScope database with the task run on it, through the real pipeline. */
import { battlescopeDdl } from '@battlescope/database/battlescope-ddl'
import { openConnections } from '@battlescope/database'
import {
  defaultConfig,
  migrate,
  registerTask,
  runScheduler,
  type TaskLogger,
  type TaskReport,
} from '@battlescope/scheduler-core'
import { createTestDatabase, type TestDatabase } from '@battlescope/scheduler-testing'
import { statistics, type StatisticsConfig, type StatisticsRequest } from '../src/index.js'

export const template = { name: 'battlescope', build: battlescopeDdl }

/** With the scheduler's tables, and nothing in any. */
export async function createDatabase(): Promise<TestDatabase> {
  const database = await createTestDatabase({ template })
  const connections = openConnections({ url: database.url, applicationName: 'test' })
  try {
    await migrate(connections, 'scheduler')
  } finally {
    await connections.close()
  }
  return database
}

export interface RunOptions {
  readonly config?: Partial<StatisticsConfig>
  readonly request?: StatisticsRequest
  readonly dryRun?: boolean
  readonly budgetMs?: number
  /** Called before each transaction of the task. */
  readonly beforeAction?: () => Promise<void> | void
  readonly stop?: AbortSignal
  readonly databaseUrl?: string
}

const nothing = () => undefined
const silent: TaskLogger = { trace: nothing, debug: nothing, info: nothing, warn: nothing, error: nothing }

/** One forced run; without sizes of relations, unless the test is about them. */
export async function run(database: TestDatabase, options: RunOptions = {}): Promise<NonNullable<TaskReport['run']>> {
  const connections = openConnections({
    url: options.databaseUrl ?? database.url,
    applicationName: 'battlescope-scheduler',
    maxConnections: 4,
  })
  const { beforeAction } = options
  try {
    const config = Object.freeze({ ...defaultConfig(statistics), growthRelations: [], ...options.config })
    const report = await runScheduler({
      connections: {
        reader: (unit) => connections.reader(unit),
        snapshot: (unit, read) => connections.snapshot(unit, read),
        direct: (unit, work) => connections.direct(unit, work),
        transaction: async (unit, work) => {
          if (unit.signal !== undefined) await beforeAction?.()
          return connections.transaction(unit, work)
        },
      },
      builtIn: { tasks: [registerTask(statistics, { kind: 'built-in' }, { config })], disabled: [] },
      logger: silent,
      loggerFor: () => silent,
      version: '0.0.0-test',
      holder: 'test',
      budgetMs: options.budgetMs ?? 40_000,
      graceMs: 10_000,
      retention: { historyMs: 86_400_000, actionsMs: 86_400_000 },
      force: true,
      ...(options.request === undefined ? {} : { requests: { statistics: options.request } }),
      ...(options.dryRun === undefined ? {} : { dryRun: options.dryRun }),
      ...(options.stop === undefined ? {} : { stop: options.stop }),
    })
    const result = report.tasks[0]?.run
    if (result === undefined) throw new Error(`the task did not run: ${JSON.stringify(report.tasks)}`)
    return result
  } finally {
    await connections.close()
  }
}

/** Runs until nothing is left over. */
export async function runToEnd(database: TestDatabase, options: RunOptions = {}): Promise<void> {
  for (let runs = 0; runs < 50; runs += 1) {
    const { outcome, reason } = await run(database, options)
    if (outcome === 'succeeded' || outcome === 'skipped') return
    if (outcome !== 'partial') throw new Error(`${outcome}: ${String(reason)}`)
  }
  throw new Error('was still partial after 50 runs')
}
