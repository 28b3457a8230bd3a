import { createTestDatabase, type TestDatabase } from '@battlescope/postgres-testing'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { makePluginFolder, taskPackage, type PackageText, type PluginFolder } from './plugin-folder.js'
import { battlescope, records } from './support.js'

const writesNote = `
  await context.act({ kind: 'note', target: 'public.note' }, async ({ db }) => {
    await db.insertInto('public.note').values({ text: context.config.note }).execute()
  })
  return { outcome: 'succeeded' }`

const bodies: Record<string, PackageText> = {
  good: taskPackage('good', writesNote),
  '@acme/several': {
    source: `
      import { z } from 'zod'
      const task = (name) => ({ apiVersion: 1, name, description: 'one of several', schedule: { kind: 'interval', everyMs: 3_600_000 },
        timeoutMs: 5000, configSchema: z.object({}), requires: () => ({}), run: async () => ({ outcome: 'succeeded' }) })
      export default [task('several-a'), task('several-b')]`,
  },
  commonjs: {
    manifest: { type: 'commonjs', exports: undefined, main: './index.js' },
    source: `
      const { z } = require('zod')
      Object.defineProperty(exports, '__esModule', { value: true })
      exports.default = { apiVersion: 1, name: 'old-style', description: 'CommonJS that was ESM', schedule: { kind: 'every-run' },
        timeoutMs: 5000, configSchema: z.object({}), requires: () => ({}), run: async () => ({ outcome: 'succeeded' }) }`,
  },
  'wrong-version': { source: `export default { apiVersion: 2, name: 'newer' }` },
  'throws-at-import': { source: `throw new Error('no licence found')` },
  'exits-at-import': { source: `import { exit } from 'node:process'; exit(0)` },
  'no-task': { source: `export const task = 1` },
  'zod-three': taskPackage('zod-three', `return { outcome: 'succeeded' }`, {
    before: `import { z as three } from 'zod/v3'`,
    members: 'configSchema: three.object({}),',
  }),
  clash: taskPackage('analyze', `throw new Error('must not run')`),
  'clash-with-good': taskPackage('good', `throw new Error('must not run')`),
  'throws-in-requires': taskPackage('throws-in-requires', '', {
    members: `requires: () => { throw new Error('odd') },`,
  }),
  'exits-in-run': taskPackage('exits-in-run', `process.exit(0)`),
  'exits-later': taskPackage(
    'exits-later',
    `
    setTimeout(() => process.exit(0), 1)
    await new Promise((resolve) => setTimeout(resolve, 100))
    return { outcome: 'succeeded' }`,
  ),
  'throws-null': taskPackage('throws-null', `throw null`),
  stray: taskPackage(
    'stray',
    `
    void Promise.reject(new Error('nobody awaits this'))
    await new Promise((resolve) => setTimeout(resolve, 50))
    return { outcome: 'succeeded' }`,
  ),
  'hangs-at-exit': taskPackage(
    'hangs-at-exit',
    `
    process.on('exit', () => { for (;;); })
    return { outcome: 'succeeded' }`,
  ),
  'awaits-for-ever': taskPackage('awaits-for-ever', `await new Promise(() => {})`),
  'hangs-in-transactions': taskPackage(
    'hangs-in-transactions',
    `
    const hang = () => context.act({ kind: 'note', target: 'public.note' }, async ({ db }) => {
      await db.insertInto('public.note').values({ text: 'hung' }).execute()
      await new Promise(() => {})
    })
    await Promise.all([hang(), hang(), hang(), hang()])`,
  ),
  'loops-for-ever': taskPackage('loops-for-ever', `for (;;);`),
  'awaits-at-import': { source: `await new Promise(() => {}); export default 1` },
  'loops-at-import': { source: `for (;;);` },
}

let plugins: PluginFolder
let database: TestDatabase
beforeAll(() => {
  plugins = makePluginFolder(bodies)
})
afterAll(() => {
  plugins.remove()
})
beforeEach(async () => {
  database = await createTestDatabase()
  await database.query(
    'CREATE TABLE public.killmail_events AS SELECT generate_series(1, 100) AS i; CREATE TABLE public.note (text text)',
  )
})
afterEach(() => database.drop())

async function run(
  packages: readonly string[],
  environment: Record<string, string> = {},
  argv: readonly string[] = [],
) {
  const tasks = ['analyze', ...packages.map((name) => (name.startsWith('@') ? name : `npm:${name}`))].join(',')
  const ended = await battlescope(argv, {
    DATABASE_URL: database.url,
    SCHEDULER_PLUGIN_DIR: plugins.path,
    SCHEDULER_TASKS: tasks,
    ...environment,
  })
  return { ...ended, log: records(ended.stdout) }
}

/** Outcome of each task's last run, as the database has it. */
async function outcomes(): Promise<Record<string, string>> {
  const rows = await database.query<{ task: string; outcome: string }>(
    'SELECT DISTINCT ON (task) task, outcome FROM scheduler.task_run ORDER BY task, id DESC',
  )
  return Object.fromEntries(rows.map(({ task, outcome }) => [task, outcome]))
}

const notes = async () => (await database.query<{ text: string }>('SELECT text FROM note')).map(({ text }) => text)

describe('a good package', () => {
  it('runs after the built-in tasks, with options of its own and its writes in the audit trail', async () => {
    const { exitCode, log } = await run(['good'], { SCHEDULER_GOOD_NOTE: 'hello' })
    expect(exitCode).toBe(0)
    expect(await notes()).toEqual(['hello'])
    const ended = log.filter(({ event }) => event === 'task-ended').map(({ task }) => task)
    expect(ended).toEqual(['analyze', 'good'])
    expect(await database.query(`SELECT kind, target, result FROM scheduler.action WHERE task = 'good'`)).toEqual([
      { kind: 'note', target: 'public.note', result: 'succeeded' },
    ])
  })

  it('is planned without an effect', async () => {
    const { exitCode, stdout } = await battlescope(['plan'], {
      DATABASE_URL: database.url,
      SCHEDULER_PLUGIN_DIR: plugins.path,
      SCHEDULER_TASKS: 'npm:good',
    })
    expect(exitCode).toBe(0)
    expect(stdout).toContain('note public.note')
    expect(await notes()).toEqual([])
  })

  it('may export several tasks, and may be CommonJS', async () => {
    expect((await run(['@acme/several', 'commonjs'])).exitCode).toBe(0)
    expect(await outcomes()).toMatchObject({
      'several-a': 'succeeded',
      'several-b': 'succeeded',
      'old-style': 'succeeded',
    })
  })

  it('has options that are checked like ours', async () => {
    const { exitCode, log } = await run(['good'], { SCHEDULER_GOOD_NOTES: 'typing error' })
    expect(exitCode).toBe(1)
    const disabled = log.find(({ event }) => event === 'task-disabled')
    expect(disabled?.['reason']).toContain('SCHEDULER_GOOD_NOTES')
    expect(disabled?.['reason']).toContain('SCHEDULER_GOOD_NOTE')
  })

  it('does not have to be the only one that is enabled', async () => {
    const { exitCode, stdout } = await battlescope(['tasks'], {
      DATABASE_URL: database.url,
      SCHEDULER_PLUGIN_DIR: plugins.path,
      SCHEDULER_TASKS: 'analyze,npm:good',
    })
    expect(exitCode).toBe(0)
    expect(stdout).toContain('SCHEDULER_GOOD_NOTE')
  })
})

describe('a package that cannot be used is disabled with its reason, and everything else runs', () => {
  it.each([
    ['wrong-version', 'apiVersion 2'],
    ['throws-at-import', 'no licence found'],
    ['exits-at-import', 'process.exit(0)'],
    ['no-task', 'exports no task'],
    ['zod-three', 'zod 3'],
    ['clash', 'the name of a task of the scheduler'],
    ['throws-in-requires', 'requires() throws: odd'],
    ['absent', 'is not installed'],
    ['awaits-at-import', 'did not come back'],
  ])('%s', async (name, reason) => {
    const { exitCode, log } = await run([name, 'good'])
    expect(exitCode).toBe(1)
    const disabled = log.filter(({ event }) => event === 'task-disabled')
    expect(disabled).toMatchObject([{ reason: expect.stringContaining(reason) as string }])
    expect(disabled[0]?.['hint']).toBeTypeOf('string')
    expect(await outcomes()).toEqual({ analyze: 'succeeded', good: 'succeeded' })
    expect(await notes()).toEqual(['none'])
  })

  it('two packages with one task name: the first one has it', async () => {
    const { exitCode, log } = await run(['good', 'clash-with-good'])
    expect(exitCode).toBe(1)
    expect(log.find(({ event }) => event === 'task-disabled')?.['reason']).toContain('a task of good')
    expect(await notes()).toEqual(['none'])
  })
})

describe('a task that misbehaves', () => {
  it.each([
    ['exits-in-run', 'failed', 'process.exit(0)'],
    ['throws-null', 'failed', 'null'],
  ])('%s', async (name, outcome, reason) => {
    const { exitCode, log } = await run([name, 'good'])
    expect(exitCode).toBe(1)
    expect(log.find(({ event, task }) => event === 'task-ended' && task === name)).toMatchObject({
      outcome,
      reason: expect.stringContaining(reason) as string,
    })
    expect(await outcomes()).toEqual({ analyze: 'succeeded', good: 'succeeded', [name]: outcome })
  })

  it.each([
    ['exits-later', 'process.exit(0)'],
    ['stray', 'nobody awaits this'],
  ])('%s: what nobody awaits is told, with whose it is, and ends nothing', async (name, error) => {
    const { exitCode, log } = await run([name, 'good'])
    expect(exitCode).toBe(0)
    expect(log.find(({ event }) => event === 'stray-error')).toMatchObject({
      task: name,
      package: name,
      error: expect.stringContaining(error) as string,
    })
    expect(await outcomes()).toEqual({ analyze: 'succeeded', good: 'succeeded', [name]: 'succeeded' })
  })

  it('cannot keep the process from ending', async () => {
    expect((await run(['hangs-at-exit'], {}, [])).exitCode).toBe(0)
  })

  it.each([
    ['awaits-for-ever', 'SCHEDULER_AWAITS_FOR_EVER_TIMEOUT'],
    // More of them than there are connections.
    ['hangs-in-transactions', 'SCHEDULER_HANGS_IN_TRANSACTIONS_TIMEOUT'],
  ])('%s: is given up at its timeout, and the others run', async (name, timeout) => {
    const { exitCode } = await run([name, 'good'], { [timeout]: '1s', SCHEDULER_GOOD_NOTE: 'hello' })
    expect(exitCode).toBe(1)
    expect(await outcomes()).toEqual({ analyze: 'succeeded', good: 'succeeded', [name]: 'timed-out' })
    expect(await notes()).toEqual(['hello'])
  })
})

describe('an endless loop', () => {
  // Long enough to start on a busy machine: it counts from the start of the process.
  const short = { SCHEDULER_BUDGET: '8s', SCHEDULER_GRACE: '1s' }
  /** As if the time until the next run had passed. */
  const timePasses = async (expiriesSoFar?: number) => {
    await database.query(`UPDATE scheduler.claim SET expires_at = now() - interval '1 second'`)
    await database.query('UPDATE scheduler.task SET retry_at = NULL')
    if (expiriesSoFar !== undefined)
      await database.query(`UPDATE scheduler.task SET consecutive_expiries = ${expiriesSoFar} WHERE ticket IS NOT NULL`)
  }

  it('of a task is ended by the watchdog, stops the others for one run at most, and is paused after five in a row', async () => {
    const first = await run(['loops-for-ever', 'good'], short)
    expect(first.exitCode).toBe(1)
    expect(first.stderr).toContain('"event":"watchdog","task":"loops-for-ever"')
    // What was done before it is recorded.
    expect((await outcomes())['analyze']).toBe('succeeded')

    await timePasses(4)
    const second = await run(['loops-for-ever', 'good'], short)
    expect(second.log.find(({ event }) => event === 'claim-expired')).toMatchObject({
      task: 'loops-for-ever',
      paused: true,
    })
    expect(second.exitCode).toBe(0)
    expect(await outcomes()).toEqual({ analyze: 'succeeded', good: 'succeeded', 'loops-for-ever': 'failed' })
    const { stdout } = await battlescope(['status'], {
      DATABASE_URL: database.url,
      SCHEDULER_PLUGIN_DIR: plugins.path,
      SCHEDULER_TASKS: 'npm:loops-for-ever',
    })
    expect(stdout).toContain('paused')
  })

  it('of an import is ended by the watchdog, stops the others for one run at most, and is paused after five in a row', async () => {
    const first = await run(['loops-at-import', 'good'], short)
    expect(first.exitCode).toBe(1)
    expect(first.stderr).toContain('"task":"import of loops-at-import"')
    expect(await outcomes()).toEqual({ analyze: 'succeeded' })

    await timePasses()
    await run(['loops-at-import', 'good'], short)
    expect(await outcomes()).toMatchObject({ analyze: 'succeeded', good: 'succeeded' })
    expect(await notes()).toEqual(['none'])

    await timePasses(4)
    const paused = await run(['loops-at-import', 'good'], short)
    expect(paused.exitCode).toBe(1)
    expect(paused.log.find(({ event }) => event === 'task-disabled')).toMatchObject({
      task: 'loops-at-import',
      reason: expect.stringContaining('paused') as string,
    })
    expect(await notes()).toEqual(['none', 'none'])
    const resumed = await battlescope(['resume', 'npm:loops-at-import'], { DATABASE_URL: database.url })
    expect(resumed.exitCode).toBe(0)
  })
})
