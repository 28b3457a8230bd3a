/** Runs of the task with options as they are written in a file. */
import { openRedis, redisOptions } from '@battlescope/redis'
import type { ClientFactories, Finding, HttpReader, TaskRunResult } from '@battlescope/scheduler-core'
import { runOneTask, type RunOneTaskOptions, type TestDatabase } from '@battlescope/scheduler-testing'
import type { AnyCheck } from '../src/check.js'
import { configOf } from '../src/config.js'
import { healthTask } from '../src/task.js'

/** The real client of Redis. */
export function redisClients(urls: object): ClientFactories {
  return { redis: () => Promise.resolve(openRedis(redisOptions.parse(urls))) }
}

/** HTTP over fetch, as the program has it; tests of the task need no more than this of it. */
export const httpClients: ClientFactories = {
  http: () => {
    const read: HttpReader = {
      get: async ({ url, timeoutMs, signal }) => {
        const limit = AbortSignal.any([AbortSignal.timeout(timeoutMs), ...(signal === undefined ? [] : [signal])])
        try {
          const response = await fetch(url, { redirect: 'manual', signal: limit })
          return { status: response.status, headers: {}, body: await response.text() }
        } catch (error) {
          const { code } = (error as { cause?: { code?: string } }).cause ?? {}
          throw Object.assign(new Error('no response'), { code: code ?? 'ETIMEDOUT' })
        }
      },
    }
    return Promise.resolve({ read, write: read as never, close: () => Promise.resolve() })
  },
}

export interface HealthRun extends Partial<Omit<RunOneTaskOptions, 'task' | 'config'>> {
  readonly checks: readonly AnyCheck[]
  readonly options?: object
}

export async function runHealth(
  database: TestDatabase,
  { checks, options = {}, ...change }: HealthRun,
): Promise<TaskRunResult> {
  const { task } = await runOneTask({
    task: healthTask(checks),
    databaseUrl: database.url,
    config: configOf(checks).parse(options),
    ...change,
  })
  if (task.run === undefined) throw new Error(task.reason)
  return task.run
}

/** `warning queue-depth: 1000 jobs …`, one line each. */
export function lines(run: { readonly findings: readonly Finding[] }): readonly string[] {
  return run.findings.map(({ severity, key, summary }) => `${severity} ${key}: ${summary}`)
}

/** Gauges, by name and state. */
export async function gauges(database: TestDatabase): Promise<Record<string, number>> {
  const rows = await database.query<{ name: string; attributes: { state?: string }; value: number }>(
    'SELECT name, attributes, value FROM scheduler.task_metric',
  )
  return Object.fromEntries(
    rows.map(({ name, attributes: { state }, value }) => [state === undefined ? name : `${name}.${state}`, value]),
  )
}
