/** What counting all days costs in slices, against one statement per rollup: in time, and in the server's CPU, which a busy machine changes less. */
import { readdirSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { openConnections } from '@battlescope/database'
import {
  defaultConfig,
  migrate,
  registerTask,
  runScheduler,
  type TaskLogger,
  type TaskReport,
} from '@battlescope/scheduler-core'
import type { TestDatabase } from '@battlescope/scheduler-testing'
import { statistics, type StatisticsRequest } from '../src/index.js'
import { rollups } from '../src/rollups.js'
import { firstDay, lastDay } from './generated-database.js'
import { singleStatement } from './single-statements.js'

const print = (text: string) => process.stdout.write(`${text}\n`)
const seconds = (ms: number) => `${(ms / 1000).toFixed(2)} s`
const nothing = () => undefined
const silent: TaskLogger = { trace: nothing, debug: nothing, info: nothing, warn: nothing, error: nothing }

interface Cost {
  readonly ms: number
  /** Of all processes of the server. NaN where there is no /proc. */
  readonly cpuMs: number
}

async function costOf(serverPid: number, work: () => Promise<unknown>): Promise<Cost> {
  const startedAt = performance.now()
  const before = serverCpuMs(serverPid)
  await work()
  const ms = performance.now() - startedAt
  // A process that is just ending is in neither sum, its own or its parent's.
  await sleep(300)
  return { ms, cpuMs: serverCpuMs(serverPid) - before }
}

/** CPU of the server's processes, those that have ended included: /proc/PID/stat counts in hundredths of a second. */
function serverCpuMs(serverPid: number): number {
  try {
    const stats = readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .map((name) => statOf(name))
    const own = stats.filter(({ pid, parent }) => pid === serverPid || parent === serverPid)
    const ended = own.find(({ pid }) => pid === serverPid)?.childrenTicks ?? 0
    return (own.reduce((sum, { ticks }) => sum + ticks, 0) + ended) * 10
  } catch {
    return Number.NaN
  }
}

/** A process that has ended meanwhile counts nothing. */
function statOf(name: string) {
  const fields = readStat(name).split(' ')
  const number = (index: number) => Number(fields[index] ?? 0)
  // Fields after the name, from the third on: state, ppid, …, utime (14), stime, cutime, cstime.
  return {
    pid: Number(name),
    parent: number(1),
    ticks: number(11) + number(12),
    childrenTicks: number(13) + number(14),
  }
}

function readStat(name: string): string {
  try {
    const text = readFileSync(`/proc/${name}/stat`, 'utf8')
    return text.slice(text.lastIndexOf(')') + 2)
  } catch {
    return ''
  }
}

interface Wish {
  readonly request?: StatisticsRequest
}

async function runTask(database: TestDatabase, { request }: Wish = {}): Promise<TaskReport['run']> {
  const connections = openConnections({ url: database.url, applicationName: 'bench' })
  try {
    const config = Object.freeze({ ...defaultConfig(statistics), growthRelations: [] })
    const task = registerTask(statistics, { kind: 'built-in' }, { config, timeoutMs: 3_600_000 })
    const report = await runScheduler({
      connections,
      builtIn: { tasks: [task], disabled: [] },
      logger: silent,
      loggerFor: () => silent,
      version: 'bench',
      holder: 'bench',
      budgetMs: 3_000_000,
      graceMs: 10_000,
      retention: { historyMs: 86_400_000, actionsMs: 86_400_000 },
      force: true,
      ...(request === undefined ? {} : { requests: { statistics: request } }),
    })
    return report.tasks[0]?.run
  } finally {
    await connections.close()
  }
}

/** Runs until it is no longer partial. */
async function runToEnd(database: TestDatabase, wish: Wish = {}): Promise<void> {
  for (;;) {
    const run = await runTask(database, wish)
    if (run?.outcome === 'partial') continue
    if (run?.outcome !== 'succeeded') throw new Error(`${String(run?.outcome)}: ${String(run?.reason)}`)
    return
  }
}

async function describeSlices(database: TestDatabase): Promise<string> {
  const [row] = await database.query<{ slices: string; longest: string; median: string; rows: string }>(`
    SELECT count(*) AS slices, max(duration_ms) AS longest, sum(row_count) AS rows,
      percentile_disc(0.5) WITHIN GROUP (ORDER BY duration_ms) AS median FROM scheduler.action WHERE kind = 'count-days' AND result = 'succeeded'`)
  return `${row?.slices ?? ''} slices, longest ${seconds(Number(row?.longest))}, median ${seconds(Number(row?.median))}, ${row?.rows ?? ''} rows`
}

const median = (numbers: readonly number[]) => [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? NaN

/** What the same rows cost in one statement per rollup, and in slices. */
interface Pair {
  readonly single: Cost
  readonly ours: Cost
}

function describePairs(pairs: readonly Pair[]): string {
  const ratios = (of: (cost: Cost) => number) => pairs.map(({ single, ours }) => of(single) / of(ours))
  const list = (values: readonly number[]) =>
    `${median(values).toFixed(2)} × (${values.map((one) => one.toFixed(2)).join(', ')})`
  return `speed by time ${list(ratios(({ ms }) => ms))}, by the server's CPU ${list(ratios(({ cpuMs }) => cpuMs))}`
}

/** In turn, so that a machine that is busy with something else slows both. */
export async function measure(database: TestDatabase, count: number): Promise<void> {
  const [server] = await database.query<{ pid: string }>(
    `SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1) AS pid`,
  )
  const serverPid = Number(server?.pid)
  await database.query(
    'DROP SCHEMA IF EXISTS scheduler CASCADE; DROP SCHEMA IF EXISTS yardstick CASCADE; CREATE SCHEMA yardstick',
  )
  const connections = openConnections({ url: database.url, applicationName: 'bench' })
  await migrate(connections, 'scheduler')
  await connections.close()
  for (const { table } of rollups)
    await database.query(`CREATE TABLE yardstick.${table} (LIKE scheduler.${table} INCLUDING ALL)`)

  const singly = async (): Promise<Cost> => {
    await database.query(`TRUNCATE ${rollups.map(({ table }) => `yardstick.${table}`).join(', ')}; CHECKPOINT`)
    return costOf(serverPid, async () => {
      for (const { name, table } of rollups) await database.query(singleStatement(name, `yardstick.${table}`))
    })
  }
  const request: StatisticsRequest = { do: 'recalculate', from: firstDay, to: lastDay }
  const compare = async () => {
    for (const { table } of rollups) {
      const [row] = await database.query<{ rows: string }>(
        `SELECT count(*) AS rows FROM (
           (TABLE scheduler.${table} EXCEPT ALL TABLE yardstick.${table}) UNION ALL (TABLE yardstick.${table} EXCEPT ALL TABLE scheduler.${table})) x`,
      )
      if (row?.rows !== '0') throw new Error(`${row?.rows ?? ''} rows of ${table} differ from the yardstick's`)
    }
  }
  const recalculated = async (title: string, single: Cost): Promise<Pair> => {
    await database.query('DELETE FROM scheduler.action')
    await database.query('CHECKPOINT')
    const ours = await costOf(serverPid, () => runToEnd(database, { request }))
    print(`${title}: ${seconds(ours.ms)} (CPU ${seconds(ours.cpuMs)}); ${await describeSlices(database)}`)
    await compare()
    return { single, ours }
  }

  const pairs: Pair[] = []
  for (let number = 1; number <= count; number += 1) {
    const single = await singly()
    print(`pair ${number}: one statement for each rollup: ${seconds(single.ms)} (CPU ${seconds(single.cpuMs)})`)
    await database.query(`TRUNCATE ${rollups.map(({ table }) => `scheduler.${table}`).join(', ')}`)
    pairs.push(await recalculated(`pair ${number}: recalculation into empty tables`, single))
  }
  print(`recalculation into empty tables: ${describePairs(pairs)}`)
  const single = await singly()
  print(`one statement for each rollup: ${seconds(single.ms)} (CPU ${seconds(single.cpuMs)})`)
  await database.query('VACUUM ANALYZE')
  print(describePairs([await recalculated('recalculation, nothing differs', single)]))
  for (const { table } of rollups) {
    await database.query(
      `UPDATE scheduler.${table} SET killmails = killmails + 1 WHERE extract(doy FROM day)::int % 2 = 0`,
    )
    await database.query(`DELETE FROM scheduler.${table} WHERE extract(doy FROM day)::int % 10 = 3`)
  }
  await database.query('VACUUM ANALYZE')
  print(describePairs([await recalculated('recalculation, more than half of the rows differ', single)]))
  await runToEnd(database)
  const slot = await costOf(serverPid, () => runTask(database))
  print(`a slot with nothing new: ${seconds(slot.ms)} (CPU ${seconds(slot.cpuMs)})`)
}
