/** What the tests of this package share: a database with the scheduler's schema, and tasks that do as they are told. */
import { openConnections, type DatabaseConnections } from '@battlescope/database'
import { createTestDatabase, type TestDatabase } from '@battlescope/postgres-testing'
import { z } from 'zod'
import { migrate } from '../src/state/migrate.js'
import { runScheduler, type RunInput } from '../src/pipeline.js'
import { registerTask, type Origin, type RegisteredTask } from '../src/registry.js'
import type { RunReport } from '../src/report.js'
import type { Schedule } from '../src/schedule.js'
import {
  defineTask,
  type AnyTask,
  type Requirements,
  type TaskContext,
  type TaskLogger,
  type TaskResult,
} from '../src/task.js'

export interface World {
  readonly database: TestDatabase
  readonly connections: DatabaseConnections
  close(): Promise<void>
}

const template = {
  name: 'scheduler-core-state',
  build: async (url: string) => {
    const connections = openConnections({ url, applicationName: 'battlescope-scheduler' })
    await migrate(connections, 'scheduler')
    await connections.transaction({ statementTimeoutMs: 5000 }, async ({ db }) => {
      await db.schema
        .createTable('public.effect')
        .addColumn('id', 'serial', (c) => c.primaryKey())
        .addColumn('note', 'text')
        .execute()
    })
    await connections.close()
  },
}

export async function createWorld(): Promise<World> {
  const database = await createTestDatabase({ template })
  const connections = openConnections({
    url: database.url,
    applicationName: 'battlescope-scheduler',
    maxConnections: 6,
  })
  return {
    database,
    connections,
    close: async () => {
      await connections.close()
      await database.drop()
    },
  }
}

export interface Effects {
  'public.effect': { id?: number; note: string }
}

export interface TestTask {
  readonly name?: string
  readonly schedule?: Schedule
  readonly timeoutMs?: number
  readonly heavy?: boolean
  readonly requires?: Requirements
  readonly origin?: Origin
  run(context: TaskContext<object, Effects, { done: number }>): Promise<TaskResult>
}

export function entry(task: TestTask): RegisteredTask {
  const defined = defineTask<z.ZodObject, Effects, { done: number }>({
    apiVersion: 1,
    name: task.name ?? 'work',
    description: 'does as it is told',
    schedule: task.schedule ?? { kind: 'every-run' },
    timeoutMs: task.timeoutMs ?? 20_000,
    heavy: task.heavy ?? false,
    configSchema: z.object({}),
    checkpointSchema: z.object({ done: z.number() }),
    requires: () => task.requires ?? {},
    run: (context) => task.run(context),
  })
  return registerTask(defined as AnyTask, task.origin ?? { kind: 'built-in' }, { config: {} })
}

const silent: TaskLogger = { trace: noop, debug: noop, info: noop, warn: noop, error: noop }

export function run(
  world: World,
  tasks: readonly RegisteredTask[],
  change: Partial<RunInput> = {},
): Promise<RunReport> {
  return runScheduler({
    connections: world.connections,
    builtIn: { tasks, disabled: [] },
    logger: silent,
    loggerFor: () => silent,
    version: '0.0.0-test',
    holder: 'test',
    budgetMs: 40_000,
    graceMs: 10_000,
    retention: { historyMs: 90 * 86_400_000, actionsMs: 400 * 86_400_000 },
    random: () => 0,
    ...change,
  })
}

export function writeNote(context: TaskContext<object, Effects, { done: number }>, note: string): Promise<unknown> {
  return context.act({ kind: 'write', target: 'public.effect', reason: note }, async ({ db }) => {
    await db.insertInto('public.effect').values({ note }).execute()
    return { rows: 1 }
  })
}

export async function notes(world: World): Promise<string[]> {
  return (await world.database.query<{ note: string }>('SELECT note FROM effect ORDER BY id')).map(({ note }) => note)
}

/** A promise and the function that resolves it. */
export function signalOf(): { readonly reached: Promise<void>; reach(): void } {
  let reach: () => void = () => undefined
  const reached = new Promise<void>((resolve) => {
    reach = resolve
  })
  return {
    reached,
    reach: () => {
      reach()
    },
  }
}

function noop(): void {
  // Deliberately empty.
}
