import { createTestDatabase, createTestRole, sharedServer, type TestDatabase } from '@battlescope/postgres-testing'
import { execa } from 'execa'
import { spawnSync } from 'node:child_process'
import { hostname } from 'node:os'
import { stripVTControlCharacters } from 'node:util'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { makePluginFolder, taskPackage, type PluginFolder } from './plugin-folder.js'
import { battlescope, program, records } from './support.js'

let database: TestDatabase
let plugins: PluginFolder
beforeAll(() => {
  plugins = makePluginFolder({
    findings: taskPackage(
      'findings',
      `return { outcome: 'succeeded', findings: [{ key: 'odd', severity: 'warning', summary: 'something is odd' }] }`,
    ),
    clients: taskPackage('clients', '', { members: `requires: () => ({ clients: ['http', 'telepathy'] }),` }),
  })
})
afterAll(() => {
  plugins.remove()
})
beforeEach(async () => {
  database = await createTestDatabase()
  await database.query('CREATE TABLE public.battles AS SELECT generate_series(1, 700) AS id')
})
afterEach(() => database.drop())

const environment = () => ({ DATABASE_URL: database.url })
const call = (...argv: string[]) => battlescope(argv, environment())
async function json(...argv: string[]): Promise<unknown> {
  const { stdout, stderr, exitCode } = await call(...argv, '--json')
  expect(exitCode, stderr).toBe(0)
  return JSON.parse(stdout) as unknown
}

describe('run', () => {
  it('writes one line of JSON per event, and nothing else', async () => {
    const { stdout, stderr, exitCode } = await call()
    expect(exitCode).toBe(0)
    expect(stderr).toBe('')
    const log = records(stdout)
    expect(log.map(({ event }) => event)).toEqual(['schema-migrated', 'task-started', 'task-ended', 'run-ended'])
    expect(log.at(-1)).toMatchObject({ exitCode: 0, outcomes: { analyze: 'succeeded' } })
    for (const line of log)
      expect(line).toMatchObject({ level: 'info', package: 'scheduler', time: expect.any(String) as string })
  })

  it('gives its report as JSON on stdout, and logs on stderr', async () => {
    const { stdout, stderr, exitCode } = await call('run', '--json')
    expect(exitCode).toBe(0)
    expect(JSON.parse(stdout)).toMatchObject({
      exitCode: 0,
      tasks: [{ name: 'analyze', run: { outcome: 'succeeded' } }],
    })
    expect(records(stderr).length).toBeGreaterThan(0)
  })

  it('with --dry-run lists, and leaves no trace', async () => {
    const { stdout, exitCode } = await call('run', '--dry-run')
    expect(exitCode).toBe(0)
    expect(stdout).toContain('analyze public.battles')
    expect(await database.query(`SELECT 1 FROM pg_namespace WHERE nspname = 'scheduler'`)).toEqual([])
    expect(await database.query(`SELECT reltuples FROM pg_class WHERE relname = 'battles'`)).toEqual([
      { reltuples: -1 },
    ])
  })

  it('with --fail-on ends with 80 for a finding of that severity or worse', async () => {
    const enabled = { ...environment(), SCHEDULER_PLUGIN_DIR: plugins.path, SCHEDULER_TASKS: 'npm:findings' }
    expect((await battlescope(['run', '--fail-on', 'error'], enabled)).exitCode).toBe(0)
    expect((await battlescope(['run', '--fail-on', 'warning'], enabled)).exitCode).toBe(80)
    expect((await battlescope(['status'], enabled)).stdout).toContain('something is odd')
  })

  it('names its host and process, whatever HOSTNAME says', async () => {
    await battlescope([], { ...environment(), HOSTNAME: 'localhost' })
    const [row] = await database.query<{ holder: string }>('SELECT holder FROM scheduler.run')
    expect(row?.holder).toMatch(/^(.+)\/\d+$/)
    expect(row?.holder.replace(/\/\d+$/, '')).toBe(hostname())
  })

  it('of a task that another process has claimed ends with 75 when it was asked for by name, else with 0', async () => {
    await call()
    await claimFor('1 hour')
    expect((await call('run', '--task', 'analyze')).exitCode).toBe(75)
    const { exitCode, stdout } = await call('run')
    expect(exitCode).toBe(0)
    expect(records(stdout).at(-1)).toMatchObject({ outcomes: { analyze: 'claimed' } })
  })

  it('takes its budget from the command line before the environment', async () => {
    const { stdout } = await battlescope(['config', '--json'], { ...environment(), SCHEDULER_BUDGET: '20s' })
    expect(stdout).toContain('"environment": "SCHEDULER_BUDGET"')
    expect(
      (await battlescope(['run', '--budget', 'soon'], { ...environment(), SCHEDULER_BUDGET: '20s' })).exitCode,
    ).toBe(78)
  })
})

/** As if another process had claimed it. */
async function claimFor(interval: string): Promise<void> {
  await database.query(`
    UPDATE scheduler.task SET ticket = gen_random_uuid(), revision = revision + 1 WHERE name = 'analyze';
    INSERT INTO scheduler.claim (ticket, task, run_id, slot_id, slot_at, holder, uses_direct, expires_at)
    SELECT ticket, name, gen_random_uuid(), 'analyze@x', now(), 'elsewhere/1', false, now() + interval '${interval}'
    FROM scheduler.task WHERE name = 'analyze'`)
}

describe('plan', () => {
  it('says what would be done and why, and writes nothing', async () => {
    const { stdout, exitCode } = await call('plan')
    expect(exitCode).toBe(0)
    expect(stdout).toContain('due in every run')
    expect(stdout).toContain('analyze public.battles  never analyzed')
    expect(await json('plan')).toMatchObject({
      dryRun: true,
      tasks: [{ name: 'analyze', run: { actions: [{ kind: 'analyze', target: 'public.battles' }] } }],
    })
    expect(await database.query(`SELECT 1 FROM pg_namespace WHERE nspname = 'scheduler'`)).toEqual([])
  })
})

describe('commands that look', () => {
  it('tasks', async () => {
    expect((await call('tasks')).stdout).toContain('SCHEDULER_ANALYZE_LOCK_TIMEOUT')
    expect(await json('tasks')).toMatchObject({
      tasks: [{ name: 'analyze', origin: 'built-in', schedule: 'every-run' }],
      disabled: [],
    })
  })

  it('status, before the first run and after', async () => {
    expect((await call('status')).stdout).toContain('nothing has run here yet')
    await call()
    expect((await call('status')).stdout).toMatch(/analyze +succeeded/)
    expect(await json('status')).toMatchObject({
      tasks: [{ name: 'analyze', last: { outcome: 'succeeded' }, state: 'ready' }],
    })
  })

  it('status tells a stuck claim, and the next run frees it and counts it', async () => {
    await call()
    await claimFor('-1 hour')
    expect((await call('status')).stdout).toContain('stuck')
    const { stdout, exitCode } = await call()
    expect(exitCode).toBe(0)
    expect(records(stdout)).toContainEqual(expect.objectContaining({ event: 'claim-expired', task: 'analyze' }))
    expect((await call('history')).stdout).toContain('without releasing its claim')
  })

  it('history, also of actions', async () => {
    expect((await call('history')).exitCode).toBe(0)
    await call()
    expect(await json('history')).toMatchObject({ runs: [{ task: 'analyze', outcome: 'succeeded' }], more: false })
    expect((await call('history')).stdout).toMatch(/ [0-9]+MiB /)
    expect(await json('history', '--actions')).toMatchObject({
      actions: [{ kind: 'analyze', target: 'public.battles', result: 'succeeded' }],
      more: false,
    })
    expect(await json('history', '--task', 'other')).toEqual({ runs: [], more: false })
    expect((await call('history', '--actions')).stdout).toContain('public.battles')
  })

  it('history says when there is more than it shows', async () => {
    await call()
    await call()
    const limited = await call('history', '--limit', '1')
    expect(limited.stdout).toContain('these are the newest 1')
    expect(await json('history', '--limit', '1')).toMatchObject({ runs: [{ id: '2' }], more: true })
    expect((await call('history', '--limit', '2')).stdout).not.toContain('there are more')
    expect(await json('history', '--limit', '2')).toMatchObject({ runs: [{ id: '2' }, { id: '1' }], more: false })
    expect((await call('history', '--limit', '0')).exitCode).toBe(64)
  })

  it('config prints every option also when something is wrong, then what, and ends with 78', async () => {
    const wrong = {
      DATABASE_URL: 'postgres://me:open-sesame@db:x/y',
      SCHEDULER_GRACE: '10',
      SCHEDULER_ANALYZE_PARALLEL: '3',
    }
    const { stdout, stderr, exitCode } = await battlescope(['config'], wrong)
    expect(exitCode).toBe(78)
    expect(stdout).toMatch(/^analyze\.parallel +SCHEDULER_ANALYZE_PARALLEL +3 +environment/m)
    expect(stdout).toMatch(/^grace +SCHEDULER_GRACE +10 +environment/m)
    expect(stderr).toContain('2 problems')
    expect(stderr).toContain('DATABASE_URL')
    const asJson = await battlescope(['config', '--json'], wrong)
    expect(asJson.exitCode).toBe(78)
    expect(JSON.parse(asJson.stdout)).toMatchObject({
      problems: [{ path: 'DATABASE_URL' }, { path: 'SCHEDULER_GRACE' }],
    })
    expect(stdout + stderr + asJson.stdout + asJson.stderr).not.toContain('open-sesame')
  })

  it.each([[['config']], [['config', 'schema']], [['tasks']]])('%j needs no database', async (argv) => {
    const { exitCode, stderr } = await battlescope(argv)
    expect(exitCode, stderr).toBe(0)
  })

  it('config hides the options of built-in tasks that are not enabled, and nothing else', async () => {
    const { stdout } = await battlescope(['config', '--json'], {
      SCHEDULER_TASKS: 'npm:findings',
      SCHEDULER_PLUGIN_DIR: plugins.path,
      SCHEDULER_FINDINGS_NOTE: 'hello',
    })
    const { options } = JSON.parse(stdout) as { options: { path: string; value?: unknown; source: string }[] }
    const paths = options.map(({ path }) => path)
    expect(paths).toContain('budget')
    expect(paths.some((path) => path.startsWith('analyze.'))).toBe(false)
    // Options of packages are known when these are loaded.
    expect(options.find(({ path }) => path === 'findings.note')).toMatchObject({
      value: 'hello',
      source: 'environment',
    })
  })

  it('config, and the schema of its file', async () => {
    const { stdout } = await battlescope(['config'], { ...environment(), SCHEDULER_ANALYZE_PARALLEL: '3' })
    expect(stdout).toMatch(/analyze\.parallel +SCHEDULER_ANALYZE_PARALLEL +3 +environment/)
    const schema = JSON.parse((await call('config', 'schema')).stdout) as { properties: { analyze: object } }
    expect(schema.properties.analyze).toMatchObject({ properties: { parallel: { maximum: 8 } } })
  })

  it('doctor, on a database that is fine', async () => {
    const { exitCode, stdout } = await call('doctor')
    expect(exitCode, stdout).toBe(0)
    expect(stdout).toMatch(/connection +ok/)
    expect(await json('doctor')).toContainEqual(expect.objectContaining({ check: 'server', result: 'ok' }))
  })

  it('doctor prints the SQL that mends missing grants, and is content after it', async () => {
    const role = await createTestRole(database)
    const asRole = { DATABASE_URL: role.url }
    const before = await battlescope(['doctor', '--json'], asRole)
    expect(before.exitCode).toBe(78)
    const checks = JSON.parse(before.stdout) as { result: string; mend?: string }[]
    const mends = checks.filter(({ result }) => result === 'fail').map(({ mend }) => mend ?? '')
    expect(mends.length).toBeGreaterThan(1)
    for (const mend of mends) await database.query(mend)
    const after = await battlescope(['doctor'], asRole)
    expect(after.exitCode, after.stdout).toBe(0)
    expect((await battlescope([], asRole)).exitCode).toBe(0)
    expect(await database.query(`SELECT reltuples FROM pg_class WHERE relname = 'battles'`)).toEqual([
      { reltuples: 700 },
    ])
  })

  it('doctor asks the owner of the database for no grants to maintain, whatever the major', async () => {
    const newer = await createTestDatabase({ server: await sharedServer(17) })
    try {
      const role = await createTestRole(newer)
      await newer.query(`CREATE TABLE public.battles (id int); GRANT SELECT ON public.battles TO ${role.name}`)
      const grants = async () => {
        const { stdout } = await battlescope(['doctor', '--json'], { DATABASE_URL: role.url })
        const checks = JSON.parse(stdout) as { check: string; result: string; mend?: string }[]
        return checks.filter(({ check }) => check === 'grants of analyze')
      }
      expect(await grants()).toMatchObject([{ mend: `GRANT MAINTAIN ON "public"."battles" TO ${role.name};` }])
      await newer.query(`ALTER DATABASE ${newer.name} OWNER TO ${role.name}`)
      expect(await grants()).toMatchObject([{ result: 'ok' }])
      await newer.query(`ALTER DATABASE ${newer.name} OWNER TO CURRENT_USER`)
    } finally {
      await newer.drop()
    }
  })

  it('doctor never makes a superuser of the scheduler, and says where USAGE is missing', async () => {
    const role = await createTestRole(database)
    await database.query(`
      CREATE ROLE "${role.name}_owner"; CREATE TABLE public.killmail_events (id int);
      ALTER TABLE public.killmail_events OWNER TO "${role.name}_owner";
      CREATE SCHEMA closed; CREATE TABLE closed.t (id int); CREATE TABLE closed.left_out (id int);
      CREATE SCHEMA scheduler AUTHORIZATION ${role.name}`)
    const { stdout } = await battlescope(['doctor', '--json'], {
      DATABASE_URL: role.url,
      SCHEDULER_ANALYZE_RELATIONS: 'battles,Public.Killmail_*,Closed.*,"CLOSED".t',
      SCHEDULER_ANALYZE_EXCLUDE: 'closed.left_*',
    })
    const checks = JSON.parse(stdout) as { check: string; mend?: string }[]
    const mends = checks.filter(({ check }) => check === 'grants of analyze').map(({ mend }) => mend)
    expect(mends.sort()).toEqual([
      `ALTER TABLE "closed"."t" OWNER TO ${role.name};`,
      `ALTER TABLE "public"."battles" OWNER TO ${role.name};`,
      `GRANT USAGE ON SCHEMA closed TO ${role.name};`,
      `GRANT ${role.name}_owner TO ${role.name};`,
    ])
    await database.query(`DROP TABLE public.killmail_events; DROP ROLE "${role.name}_owner"`)
  })

  it('doctor connects DATABASE_DIRECT_URL, and proves that it leads to the same database', async () => {
    const other = await createTestDatabase()
    const checkOf = async (url: string) => {
      const { stdout } = await battlescope(['doctor', '--json'], { ...environment(), DATABASE_DIRECT_URL: url })
      const checks = JSON.parse(stdout) as { check: string; result: string; detail: string }[]
      return checks.find(({ check }) => check === 'direct connection')
    }
    try {
      expect(await checkOf(database.url)).toMatchObject({ result: 'ok' })
      expect(await checkOf(other.url)).toMatchObject({
        result: 'fail',
        detail: expect.stringContaining('another database') as string,
      })
      expect(await checkOf('postgres://me@127.0.0.1:1/x')).toMatchObject({
        result: 'fail',
        detail: expect.stringContaining('127.0.0.1:1') as string,
      })
      const role = await createTestRole(database)
      expect(await checkOf(role.url)).toMatchObject({
        result: 'warn',
        detail: expect.stringContaining(role.name) as string,
      })
    } finally {
      await other.drop()
    }
  })

  it('doctor says which client that a task uses is not configured', async () => {
    const { stdout } = await battlescope(['doctor', '--json'], {
      ...environment(),
      SCHEDULER_TASKS: 'npm:clients',
      SCHEDULER_PLUGIN_DIR: plugins.path,
    })
    const checks = JSON.parse(stdout) as { check: string; result: string; mend?: string }[]
    expect(checks).toContainEqual(expect.objectContaining({ check: 'client http', result: 'ok' }))
    expect(checks).toContainEqual(
      expect.objectContaining({ check: 'client telepathy', result: 'warn', mend: expect.any(String) as string }),
    )
  })

  it('doctor takes an index that leaves out only NULL for one', async () => {
    await database.query(`
      CREATE TABLE parent (id int PRIMARY KEY);
      CREATE TABLE fine (parent_id int REFERENCES parent); CREATE INDEX ON fine (parent_id) WHERE parent_id IS NOT NULL;
      CREATE TABLE too_little (parent_id int REFERENCES parent, old boolean);
      CREATE INDEX ON too_little (parent_id) WHERE parent_id IS NOT NULL AND old`)
    const { stdout } = await call('doctor')
    expect(stdout).not.toContain('public.fine')
    expect(stdout).toContain('CREATE INDEX CONCURRENTLY ON public.too_little (parent_id)')
  })

  it('doctor names a foreign key without an index', async () => {
    await database.query(`
      CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child (id int PRIMARY KEY, parent_id int REFERENCES parent)`)
    const { exitCode, stdout } = await call('doctor')
    expect(exitCode).toBe(0)
    expect(stdout).toContain('CREATE INDEX CONCURRENTLY ON public.child (parent_id)')
  })

  it('doctor says that nothing answers', async () => {
    const { exitCode, stdout } = await battlescope(['doctor'], { DATABASE_URL: 'postgres://me@127.0.0.1:1/x' })
    expect(exitCode).toBe(69)
    expect(stdout).toMatch(/connection +fail/)
  })
})

describe('commands that change', () => {
  it('migrate, twice', async () => {
    expect((await call('migrate')).stdout).toMatch(/has version \d+ now/)
    expect((await call('migrate')).stdout).toMatch(/has version \d+ already/)
  })

  it('pause and resume', async () => {
    expect((await call('pause', 'analyze', '--until', '3d', '--reason', 'a big import')).exitCode).toBe(0)
    const { stdout, exitCode } = await call()
    expect(exitCode).toBe(0)
    expect(records(stdout).at(-1)).toMatchObject({ outcomes: { analyze: 'paused' } })
    expect((await call('run', '--force')).exitCode).toBe(0)
    expect(await database.query('SELECT 1 FROM scheduler.task_run')).toEqual([])
    expect((await call('status')).stdout).toContain('a big import')
    expect((await call('resume', 'analyze')).exitCode).toBe(0)
    await call()
    expect(await database.query('SELECT outcome FROM scheduler.task_run')).toEqual([{ outcome: 'succeeded' }])
  })

  it('a pause ends by itself', async () => {
    await call('pause', 'analyze', '--until', '2020-01-01')
    await call()
    expect(await database.query('SELECT outcome FROM scheduler.task_run')).toEqual([{ outcome: 'succeeded' }])
  })

  it('release', async () => {
    await call()
    expect((await call('release', 'analyze')).stdout).toContain('is not claimed')
    await claimFor('1 hour')
    expect((await call('release', 'analyze')).stdout).toContain('elsewhere/1')
    expect((await call('run', '--task', 'analyze')).exitCode).toBe(0)
  })

  it('refuse a task that nobody knows, with the nearest name', async () => {
    const { exitCode, stderr } = await call('pause', 'analyse')
    expect(exitCode).toBe(64)
    expect(stderr).toContain("'analyze'")
  })
})

describe('help', () => {
  it('names every command, and the version', async () => {
    const { stdout, exitCode } = await call('--help')
    expect(exitCode).toBe(0)
    for (const command of [
      'run',
      'plan',
      'tasks',
      'status',
      'history',
      'config',
      'doctor',
      'migrate',
      'pause',
      'resume',
      'release',
    ])
      expect(stdout).toContain(` ${command} `)
    expect((await call('--version')).stdout.trim()).toMatch(/^\d+\.\d+\.\d+/)
  })
})

/** util-linux' `script` runs a program on a terminal of its own. */
const script = spawnSync('script', ['--version']).status === 0
const missing = script ? '' : ' (skipped: the program script is not installed; apt-get install bsdutils)'
describe.skipIf(!script)(`on a terminal${missing}`, () => {
  it('shows progress live, and a table at the end instead of JSON', async () => {
    const command = `'${process.execPath}' '${program}'`
    const { stdout, exitCode } = await execa('script', ['-qec', command, '/dev/null'], {
      env: { PATH: process.env['PATH'] ?? '', TERM: 'xterm', ...environment() },
      extendEnv: false,
      reject: false,
    })
    expect(exitCode, stdout).toBe(0)
    const lines = stripVTControlCharacters(stdout).split(/\r?\n/)
    expect(lines.some((line) => line.startsWith('{'))).toBe(false)
    expect(lines).toContainEqual(expect.stringMatching(/^task +outcome +actions +took +why/) as string)
    expect(lines).toContainEqual(expect.stringMatching(/^analyze +succeeded +1 /) as string)
    expect(stdout).toContain('░')
  })
})
