import type { TaskLogger, TaskRunResult } from '@battlescope/scheduler-core'
import { runOneTask, type RunOneTaskOptions, type TestDatabase } from '@battlescope/scheduler-testing'
import { cluster } from '../src/index.js'
import { httpClients } from './service.js'

/** Everything that was logged, at every level. */
export const logged: unknown[] = []
/** Called with whatever is logged. */
export const watchers = new Set<(fields: object) => void>()
const log = (fields: object, message: string) => {
  logged.push({ ...fields, message })
  for (const watch of watchers) watch(fields)
}
const logger: TaskLogger = { trace: log, debug: log, info: log, warn: log, error: log }

export async function run(
  database: TestDatabase,
  config: object,
  change: Partial<RunOneTaskOptions> = {},
): Promise<TaskRunResult> {
  const { task } = await runOneTask({
    task: cluster,
    databaseUrl: database.url,
    config: { ...config },
    clients: httpClients,
    logger,
    ...change,
  })
  if (task.run === undefined) throw new Error(task.reason)
  return task.run
}

/** Gauges and counters of the newest run. */
export async function metricsOf(database: TestDatabase): Promise<Record<string, number>> {
  const rows = await database.query<{ name: string; attributes: { result?: string }; value: number }>(
    'SELECT name, attributes, value FROM scheduler.task_metric',
  )
  return Object.fromEntries(
    rows.map(({ name, attributes, value }) => [
      name + (attributes.result === undefined ? '' : `.${attributes.result}`),
      value,
    ]),
  )
}
