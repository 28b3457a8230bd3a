/**
 * `pnpm --filter @battlescope/bench upkeep --task vacuum|reindex [--scale 20] [--pairs 5] [--seconds 15] [--json FILE]`: what users feel of a task, as the
 * built program runs it, and of the plain tool at the same relation. See README.md beside this folder.
 */
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs, promisify } from 'node:util'
import { createTestDatabase, startPostgres, type TestDatabase } from '@battlescope/postgres-testing'
import { median } from './median.js'
import { program } from './world.js'

const execute = promisify(execFile)
const { values } = parseArgs({
  options: {
    task: { type: 'string', default: 'vacuum' },
    scale: { type: 'string', default: '20' },
    pairs: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '15' },
    json: { type: 'string' },
  },
})
const [scale, pairs, seconds] = [Number(values.scale), Number(values.pairs), Number(values.seconds)]
const say = (text: string) => process.stdout.write(`${text}\n`)

const clients = 4
/** Seconds of load before the work begins. */
const quietSeconds = 2

/** What pgbench's clients felt over a whole load, which is as long whoever works meanwhile. */
interface Felt {
  /** Transactions that ended, of those that should have begun. */
  readonly done: number
  readonly meanMs: number
  readonly p95Ms: number
  readonly p99Ms: number
  /** How long the work took. */
  readonly workMs: number
}

type Work = () => Promise<unknown>

const vacuumTask: Readonly<Record<string, string>> = {
  SCHEDULER_VACUUM_RELATIONS: 'public.pgbench_accounts',
  SCHEDULER_VACUUM_THRESHOLD_SHARE: '0.01',
  SCHEDULER_VACUUM_ANALYZE: 'false',
  SCHEDULER_VACUUM_TIMEOUT: '20m',
  SCHEDULER_VACUUM_RELATION_TIMEOUT: '10m',
}
const reindexTask: Readonly<Record<string, string>> = {
  SCHEDULER_REINDEX_RELATIONS: 'public.pgbench_accounts',
  SCHEDULER_REINDEX_MIN_WASTE: '16KiB',
  SCHEDULER_REINDEX_MIN_INTERVAL: '1ms',
  SCHEDULER_REINDEX_INDEXES_PER_RUN: '1',
  SCHEDULER_REINDEX_TIMEOUT: '20m',
}

function runTask(database: TestDatabase, task: string, options: Readonly<Record<string, string>>): Work {
  const env = { DATABASE_URL: database.url, SCHEDULER_TASKS: task, ...options }
  return async () => {
    const { stdout } = await execute(process.execPath, [program, 'run', '--task', task, '--force', '--budget', '15m'], {
      env,
    })
    lastLog = stdout
  }
}

/** Says why, where a task did not do its work. */
let lastLog = ''

interface Contest {
  /** Makes there be something to do. */
  readonly prepare: Work
  readonly tool: Work
  readonly ours: Work
  /** How often ours was done: an arm that did nothing would hurt nobody. */
  readonly selectDone: () => Promise<number>
}

async function selectDone(database: TestDatabase, kind: string): Promise<number> {
  const [row] = await database.query<{ count: number }>(
    `SELECT count(*)::int AS count FROM scheduler.action WHERE kind = '${kind}' AND result = 'succeeded'`,
  )
  return row?.count ?? 0
}

async function vacuumContest(database: TestDatabase): Promise<Contest> {
  let round = 0
  const ours = runTask(database, 'vacuum', vacuumTask)
  await ours()
  return {
    prepare: async () => {
      round += 1
      await database.query(`UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid % 3 = ${round % 3}`)
      await database.query('SELECT pg_stat_force_next_flush()')
      await database.query('CHECKPOINT')
    },
    // As the task leaves them: the end of the file, and what is locked.
    tool: () =>
      execute('vacuumdb', ['--quiet', '--no-truncate', '--skip-locked', '--table=pgbench_accounts', database.url]),
    ours,
    selectDone: () => selectDone(database, 'vacuum'),
  }
}

async function reindexContest(database: TestDatabase): Promise<Contest> {
  const ours = runTask(database, 'reindex', reindexTask)
  // After pgbench's own, whose rows were counted later than its ANALYZE: sizes are learned only where the count is new.
  await database.query('VACUUM ANALYZE pgbench_accounts')
  await ours()
  return {
    prepare: async () => {
      await database.query('VACUUM ANALYZE pgbench_accounts')
      // Another index since the tool rebuilt it: its size is learned first.
      await ours()
      // As if it had been a tenth of its size once.
      await database.query('UPDATE scheduler.reindex_index SET best_bytes_per_tuple = 0.1')
      await database.query('CHECKPOINT')
    },
    tool: () => execute('reindexdb', ['--concurrently', '--index=public.pgbench_accounts_pkey', database.url]),
    ours,
    selectDone: () => selectDone(database, 'rebuild-index'),
  }
}

/** @param rate transactions per second; undefined: as many as there can be */
async function load(database: TestDatabase, rate: number | undefined, work?: Work): Promise<Felt> {
  const folder = await mkdtemp(join(tmpdir(), 'bench-upkeep-'))
  try {
    const child = spawn(
      'pgbench',
      [
        ...['-n', '-b', 'simple-update', '-M', 'prepared', '-c', String(clients), '-j', '1', '-T', String(seconds)],
        ...['-l', '--log-prefix', join(folder, 'log'), ...(rate === undefined ? [] : ['-R', String(rate)])],
        database.url,
      ],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    )
    let stderr = ''
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
    const ended = once(child, 'close')
    await sleep(quietSeconds * 1000)
    const startedMs = performance.now()
    await work?.()
    const workMs = performance.now() - startedMs
    const [code] = (await ended) as [number]
    if (code !== 0) throw new Error(`pgbench: ${stderr}`)
    if (workMs > (seconds - quietSeconds) * 1000)
      throw new Error(`the work took ${Math.round(workMs)} ms, longer than the load: raise --seconds`)
    const took = (await readLatencies(folder)).sort((a, b) => a - b)
    const at = (share: number) => took[Math.floor(took.length * share)] ?? NaN
    const meanMs = took.reduce((sum, ms) => sum + ms, 0) / took.length
    return { done: took.length / ((rate ?? 1) * seconds), meanMs, p95Ms: at(0.95), p99Ms: at(0.99), workMs }
  } finally {
    await rm(folder, { recursive: true })
  }
}

/** Milliseconds from when each transaction should have begun: the third column is in µs. */
async function readLatencies(folder: string): Promise<number[]> {
  const texts = await Promise.all((await readdir(folder)).map((name) => readFile(join(folder, name), 'utf8')))
  return texts.flatMap((text) =>
    text.split('\n').flatMap((line) => {
      const latency = line.split(' ')[2]
      return latency === undefined ? [] : [Number(latency) / 1000]
    }),
  )
}

async function main(): Promise<void> {
  const server = await startPostgres({ major: 15, settings: { shared_buffers: '512MB', max_wal_size: '8GB' } })
  const database = await createTestDatabase({ server })
  try {
    await execute('pgbench', ['--initialize', '--quiet', `--scale=${scale}`, database.url])
    const contest = await (values.task === 'reindex' ? reindexContest(database) : vacuumContest(database))
    await load(database, undefined)
    const saturated = (await load(database, undefined)).done
    const rate = Math.floor(saturated / 2)
    say(
      `${values.task}, scale ${scale}, PostgreSQL 15, ${cpus().length} cores; ${clients} clients, ${rate}/s: half of the ${Math.round(saturated)}/s that saturate it`,
    )
    say('pair  arm     work, ms   done   mean, ms   p95, ms   p99, ms')
    const rounds: Record<'quiet' | 'tool' | 'ours', Felt>[] = []
    for (let pair = 1; pair <= pairs; pair += 1) {
      const felt: Partial<Record<'quiet' | 'tool' | 'ours', Felt>> = {}
      // In turns, so that none always comes after another.
      for (const arm of pair % 2 === 0 ? (['ours', 'tool', 'quiet'] as const) : (['quiet', 'tool', 'ours'] as const)) {
        await contest.prepare()
        const doneBefore = await contest.selectDone()
        const one = await load(database, rate, arm === 'quiet' ? undefined : contest[arm])
        const done = (await contest.selectDone()) - doneBefore
        if (done !== (arm === 'ours' ? 1 : 0))
          throw new Error(`${arm}: the task did its work ${done} times\n${lastLog}`)
        felt[arm] = one
        const numbers = [
          one.done.toFixed(3).padStart(6),
          ...[one.meanMs, one.p95Ms, one.p99Ms].map((ms) => ms.toFixed(2).padStart(9)),
        ]
        say(`${String(pair).padStart(4)}  ${arm.padEnd(6)} ${one.workMs.toFixed(0).padStart(9)}  ${numbers.join(' ')}`)
      }
      rounds.push(felt as Record<'quiet' | 'tool' | 'ours', Felt>)
    }
    const over = (key: keyof Felt) => median(rounds.map(({ ours, tool }) => ours[key] / tool[key])).toFixed(3)
    say(
      `ours over the tool, medians of ${pairs} pairs: transactions done ${over('done')}, mean ${over('meanMs')}, p95 ${over('p95Ms')}, p99 ${over('p99Ms')}, time of the work ${over('workMs')}`,
    )
    if (values.json !== undefined)
      await writeFile(values.json, `${JSON.stringify({ values, rate, rounds }, null, 2)}\n`)
  } finally {
    await database.drop()
    await server.stop()
  }
}

await main()
