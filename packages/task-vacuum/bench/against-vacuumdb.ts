/**
 * The task against `vacuumdb`, in pairs, on the same bloat: how long each takes, and how much room each makes.
 *
 *   ../../node_modules/.bin/tsx --conditions=@battlescope/source bench/against-vacuumdb.ts [scale] [pairs] [transactions] [directory of pgbench and vacuumdb]
 */
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { createTestDatabase, runOneTask, startPostgres, type TestDatabase } from '@battlescope/scheduler-testing'
import { vacuum, vacuumConfig } from '../src/index.js'

const run = promisify(execFile)
const [scale = '10', pairs = '5', transactions = '20000', programs = ''] = process.argv.slice(2)
const program = (name: string) => (programs === '' ? name : join(programs, name))
const print = (text: string) => process.stdout.write(`${text}\n`)

const tables = ['pgbench_accounts', 'pgbench_branches', 'pgbench_tellers']

interface Measured {
  readonly ms: number
  readonly deadRowsLeft: number
  /** What the relations grew by when the same rows were updated once more: room that was not made. */
  readonly grownBytes: number
}

/** The same random transactions in both databases: update storms on every table but the history. */
async function bloat(database: TestDatabase, seed: number): Promise<void> {
  await run(program('pgbench'), [
    ...['--no-vacuum', '--builtin=simple-update', '--client=4', `--transactions=${Number(transactions) / 4}`],
    ...[`--random-seed=${seed}`, database.url],
  ])
  await database.query(`UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid % 3 = ${seed % 3}`)
  await database.query('SELECT pg_stat_force_next_flush()')
  await database.query('CHECKPOINT')
}

const sizeOf = async (database: TestDatabase) =>
  Number(
    (
      await database.query<{ bytes: string }>(
        `SELECT sum(pg_total_relation_size(c.oid)) AS bytes FROM pg_class c WHERE relname = ANY ($1)`,
        [tables],
      )
    )[0]?.bytes,
  )

async function measure(database: TestDatabase, seed: number, work: () => Promise<unknown>): Promise<Measured> {
  await bloat(database, seed)
  const startedMs = performance.now()
  await work()
  const ms = performance.now() - startedMs
  const [left] = await database.query<{ dead: string }>(
    `SELECT sum(n_dead_tup) AS dead FROM pg_stat_user_tables WHERE relname = ANY ($1)`,
    [tables],
  )
  const before = await sizeOf(database)
  await database.query(`UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid % 3 = ${seed % 3}`)
  return { ms, deadRowsLeft: Number(left?.dead), grownBytes: (await sizeOf(database)) - before }
}

/** As an operator would: the named tables, the end of the files left alone, as the task leaves it. */
const byTool = (database: TestDatabase) => () =>
  run(program('vacuumdb'), [
    ...['--quiet', '--no-truncate', '--skip-locked', `--maintenance-db=${database.url}`],
    ...tables.map((table) => `--table=${table}`),
    `--dbname=${database.url}`,
  ])

/** From the first statement of a run to its last, bookkeeping included; the start of a process is not in it. */
const byTask = (database: TestDatabase) => async () => {
  const config = vacuumConfig.parse({
    ...{ relations: tables, thresholdShare: 0.01, analyze: false, relationTimeout: '30m', assumedRate: '1000GiB' },
  })
  const task = { ...vacuum, timeoutMs: 3_600_000 }
  const { task: done } = await runOneTask({ task, databaseUrl: database.url, force: true, config, budgetMs: 3_600_000 })
  if (done.run?.outcome !== 'succeeded') throw new Error(`${done.run?.outcome}: ${done.run?.reason}`)
}

/** Of the last run: the VACUUM statements alone. */
async function statementsMs(database: TestDatabase): Promise<number> {
  const [row] = await database.query<{ ms: number }>(`
    SELECT sum((details->>'vacuumMs')::float8) AS ms FROM scheduler.action
    WHERE result = 'succeeded' AND run_id = (SELECT run_id FROM scheduler.action ORDER BY id DESC LIMIT 1)`)
  return row?.ms ?? NaN
}

/** Of an even number, the mean of the two in the middle. */
function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const at = (index: number) => sorted[Math.floor(index)] ?? NaN
  return (at((sorted.length - 1) / 2) + at(sorted.length / 2)) / 2
}

async function main(): Promise<void> {
  const server = await startPostgres({ major: 15, settings: { shared_buffers: '256MB', max_wal_size: '4GB' } })
  try {
    const [tool, ours] = [await createTestDatabase({ server }), await createTestDatabase({ server })]
    for (const database of [tool, ours]) {
      await run(program('pgbench'), ['--initialize', '--quiet', `--scale=${scale}`, database.url])
    }
    const ratios: number[] = []
    print('pair   vacuumdb       task  of it VACUUM   speed   dead rows left        grown by, MB')
    // The first pair warms both up and does not count.
    for (let pair = 0; pair <= Number(pairs); pair += 1) {
      const sides = [
        ['tool', () => measure(tool, pair, byTool(tool))],
        ['ours', () => measure(ours, pair, byTask(ours))],
      ] as const
      const result = new Map<string, Measured>()
      // In turns, so that neither always comes after the other.
      for (const [name, side] of pair % 2 === 0 ? sides : sides.toReversed()) result.set(name, await side())
      const [a, b] = [result.get('tool')!, result.get('ours')!]
      if (pair > 0) ratios.push(a.ms / b.ms)
      const mb = ({ grownBytes }: Measured) => (grownBytes / 1e6).toFixed(1)
      print(
        `${pair === 0 ? 'warm' : `${pair}`.padStart(4)} ${`${a.ms.toFixed(0)} ms`.padStart(10)} ${`${b.ms.toFixed(0)} ms`.padStart(10)} ` +
          `${`${(await statementsMs(ours)).toFixed(0)} ms`.padStart(13)} ` +
          `${(a.ms / b.ms).toFixed(2).padStart(7)} ${`${a.deadRowsLeft} / ${b.deadRowsLeft}`.padStart(16)} ${`${mb(a)} / ${mb(b)}`.padStart(19)}`,
      )
    }
    print(`median speed against vacuumdb: ${median(ratios).toFixed(2)} (wanted: at least 0.95)`)
    await Promise.all([tool.drop(), ours.drop()])
  } finally {
    await server.stop()
  }
}

await main()
