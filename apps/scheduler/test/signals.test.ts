/** The built program under signals and behind a pooler. Everything is awaited by what it writes, never by time. */
import {
  createTestDatabase,
  findPgBouncer,
  listOpenConnections,
  startPgBouncer,
  startPostgres,
  type TestDatabase,
} from '@battlescope/postgres-testing'
import { execa } from 'execa'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { makePluginFolder, taskPackage, type PluginFolder } from './plugin-folder.js'
import { battlescope, program, records } from './support.js'

let database: TestDatabase
let plugins: PluginFolder
beforeAll(() => {
  plugins = makePluginFolder({
    sliced: taskPackage(
      'sliced',
      `for (let slice = 1; ; slice += 1) {
         if (context.budget.exhausted()) return { outcome: 'partial', remaining: 7 }
         await context.act({ kind: 'note', target: 'public.note' }, async ({ db }) => {
           await db.insertInto('public.note').values({ text: String(slice) }).execute()
         })
         context.logger.info({ event: 'slice', slice }, 'slice done')
         await context.clock.sleep(20)
       }`,
    ),
    sleeping: taskPackage(
      'sleeping',
      `context.logger.info({ event: 'asleep' }, 'asleep')
       await context.act({ kind: 'sleep', target: 'public.note' }, async ({ db }) => {
         await db.insertInto('public.note').values({ text: 'never committed' }).execute()
         await sql\`SELECT pg_sleep(60)\`.execute(db)
       })
       return { outcome: 'succeeded' }`,
      { before: `import { sql } from 'kysely'` },
    ),
  })
})
afterAll(() => {
  plugins.remove()
})
beforeEach(async () => {
  database = await createTestDatabase()
  await database.query('CREATE TABLE public.note (text text)')
})
afterEach(() => database.drop())

/** Starts a run and resolves when it has written a line with this event; `ended` resolves when the process has. */
async function startUntil(event: string, environment: Record<string, string>) {
  const child = execa(process.execPath, [program], {
    env: {
      PATH: process.env['PATH'] ?? '',
      DATABASE_URL: database.url,
      SCHEDULER_PLUGIN_DIR: plugins.path,
      ...environment,
    },
    extendEnv: false,
    reject: false,
    timeout: 90_000,
  })
  await new Promise<void>((resolve, reject) => {
    let text = ''
    child.stdout.on('data', (chunk: Buffer) => {
      text += chunk.toString()
      if (text.includes(`"event":"${event}"`)) resolve()
    })
    child.once('exit', () => {
      reject(new Error(`ended without ${event}: ${text}`))
    })
  })
  // Not the child itself: it is a promise, and whoever awaits this function would wait for its end.
  return { kill: (signal: NodeJS.Signals) => child.kill(signal), end: async () => child }
}

const outcome = async (task: string) =>
  (
    await database.query<{ outcome: string; remaining: string | null }>(
      `SELECT outcome, remaining FROM scheduler.task_run WHERE task = '${task}'`,
    )
  )[0]

describe('a server that goes away', () => {
  it('ends the run as unavailable, and the log tells what became of the task', async () => {
    // With settings it is a server of its own, which may be stopped.
    const server = await startPostgres({ settings: {} })
    const gone = await createTestDatabase({ server })
    await gone.query('CREATE TABLE public.note (text text)')
    const child = await startUntil('asleep', { DATABASE_URL: gone.url, SCHEDULER_TASKS: 'npm:sleeping' })
    await server.stop()
    const { exitCode, stdout } = await child.end()
    expect(exitCode).toBe(69)
    expect(records(stdout).slice(-2)).toMatchObject([
      { event: 'task-ended', task: 'sleeping', outcome: 'failed' },
      { event: 'run-failed', errorCode: 'database-unavailable' },
    ])
  })
})

/** Of two signals that are pending together, the kernel may deliver either first; the first one names the exit code. */
const eitherSignal = [130, 143]

describe('a signal', () => {
  it.each([
    ['SIGTERM', 143],
    ['SIGINT', 130],
  ] as const)('%s lets the task come to a border, records it, and ends with %i', async (signal, exitCode) => {
    const child = await startUntil('slice', { SCHEDULER_TASKS: 'npm:sliced,analyze' })
    child.kill(signal)
    const ended = await child.end()
    expect(ended.exitCode).toBe(exitCode)
    expect(await outcome('sliced')).toEqual({ outcome: 'partial', remaining: '7' })
    expect(records(ended.stdout).at(-1)).toMatchObject({ event: 'run-ended', exitCode })
    // Every slice that was committed is in the trail, and the claim is free.
    const [count] = await database.query<{ notes: string; actions: string }>(
      'SELECT (SELECT count(*) FROM note) AS notes, (SELECT count(*) FROM scheduler.action) AS actions',
    )
    expect(count?.actions).toBe(count?.notes)
    expect(await database.query('SELECT 1 FROM scheduler.claim')).toEqual([])
  })

  it('a second one cancels the running statement on the server and rolls back', async () => {
    const child = await startUntil('asleep', { SCHEDULER_TASKS: 'npm:sleeping' })
    child.kill('SIGTERM')
    child.kill('SIGINT')
    expect(eitherSignal).toContain((await child.end()).exitCode)
    expect(await outcome('sleeping')).toMatchObject({ outcome: 'cancelled' })
    expect(await database.query('SELECT 1 FROM note')).toEqual([])
    expect(await listOpenConnections(database.url)).toEqual([])
  })

  it('before anything was claimed ends at once', async () => {
    const child = execa(process.execPath, [program], {
      env: { PATH: process.env['PATH'] ?? '', DATABASE_URL: 'postgres://me@127.0.0.1:1/x' },
      extendEnv: false,
      reject: false,
    })
    child.kill('SIGTERM')
    const { exitCode, signal } = await child
    // The signal may arrive before Node runs the first line of ours; then it has its default effect.
    expect(exitCode ?? (signal === 'SIGTERM' ? 143 : -1)).toBe(143)
  })
})

describe('the end of the budget', () => {
  it('is a border, and no failure', async () => {
    const { exitCode, stdout } = await battlescope([], {
      DATABASE_URL: database.url,
      SCHEDULER_PLUGIN_DIR: plugins.path,
      SCHEDULER_TASKS: 'npm:sliced',
      SCHEDULER_BUDGET: '5s',
    })
    expect(exitCode).toBe(0)
    expect(records(stdout).at(-1)).toMatchObject({ outcomes: { sliced: 'partial' } })
  })

  it('and of the grace period ends a statement that hangs', async () => {
    const { exitCode } = await battlescope([], {
      DATABASE_URL: database.url,
      SCHEDULER_PLUGIN_DIR: plugins.path,
      SCHEDULER_TASKS: 'npm:sleeping',
      // The budget counts from the start of the process, which on a busy machine takes its time.
      SCHEDULER_BUDGET: '5s',
      SCHEDULER_GRACE: '1s',
    })
    expect(exitCode).toBe(1)
    expect(await outcome('sleeping')).toMatchObject({ outcome: 'timed-out' })
    expect(await listOpenConnections(database.url)).toEqual([])
  })
})

const pgbouncer = await findPgBouncer()
const missing = pgbouncer === undefined ? ' (skipped: pgbouncer is not installed; apt-get install pgbouncer)' : ''
describe.skipIf(missing !== '')(`through PgBouncer in transaction mode${missing}`, () => {
  it('everything works, and doctor says what it reached', async () => {
    await database.query('CREATE TABLE public.battles AS SELECT generate_series(1, 700) AS id')
    const pool = await startPgBouncer(database.url)
    try {
      const pooled = { DATABASE_URL: pool.url, SCHEDULER_PLUGIN_DIR: plugins.path }
      expect((await battlescope(['doctor'], pooled)).stdout).toContain('goes through a pooler')
      const poolerFor = async (tasks: string) => {
        const policies = JSON.stringify([{ name: 'battles', relation: 'battles', timeColumn: 'at' }])
        const environment = { ...pooled, SCHEDULER_TASKS: tasks, SCHEDULER_RETENTION_POLICIES: policies }
        const { stdout } = await battlescope(['doctor', '--json'], environment)
        const checks = JSON.parse(stdout) as readonly { check: string; result: string; detail: string }[]
        return checks.find(({ check }) => check === 'pooler')
      }
      const usesOne = await poolerFor('retention')
      expect(usesOne?.result).toBe('ok')
      expect(usesOne?.detail).toContain('with DATABASE_DIRECT_URL retention could do more')
      const needsOne = await poolerFor('retention,vacuum')
      expect(needsOne?.result).toBe('fail')
      expect(needsOne?.detail).toContain('vacuum needs a session')
      expect((await battlescope([], pooled)).exitCode).toBe(0)
      expect((await battlescope([], pooled)).exitCode).toBe(0)
      expect(await database.query('SELECT outcome FROM scheduler.task_run')).toEqual([
        { outcome: 'succeeded' },
        { outcome: 'succeeded' },
      ])
      expect((await battlescope(['status', '--json'], pooled)).exitCode).toBe(0)

      const child = await startUntil('asleep', { ...pooled, SCHEDULER_TASKS: 'npm:sleeping' })
      child.kill('SIGTERM')
      child.kill('SIGINT')
      expect(eitherSignal).toContain((await child.end()).exitCode)
      expect(await database.query('SELECT 1 FROM note')).toEqual([])
    } finally {
      await pool.stop()
    }
  })
})
