/** What counting all days costs in slices, against one statement per rollup: in time, and in the server's CPU, which a busy machine changes less. */
import { readdirSync, readFileSync } from 'node:fs'
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
import { rollups, type RollupName } from '../src/rollups.js'
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
  return { ms: performance.now() - startedAt, cpuMs: serverCpuMs(serverPid) - before }
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

const speed = (single: Cost, ours: Cost) =>
  `${seconds(ours.ms)} (CPU ${seconds(ours.cpuMs)}), speed ${(single.ms / ours.ms).toFixed(2)} × by time, ${(single.cpuMs / ours.cpuMs).toFixed(2)} × by CPU`

interface Wish {
  readonly request?: StatisticsRequest
  readonly rollups?: readonly RollupName[]
}

async function runTask(database: TestDatabase, { request, rollups: only }: Wish = {}): Promise<TaskReport['run']> {
  const connections = openConnections({ url: database.url, applicationName: 'bench' })
  try {
    const config = Object.freeze({ ...defaultConfig(statistics), growthRelations: [], ...(only && { rollups: only }) })
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
  await database.query('DELETE FROM scheduler.action')
  return `${row?.slices ?? ''} slices, longest ${seconds(Number(row?.longest))}, median ${seconds(Number(row?.median))}, ${row?.rows ?? ''} rows`
}

/** `serverPid`: the server's first process. */
export async function measure(database: TestDatabase, serverPid: number): Promise<void> {
  await database.query(
    'DROP SCHEMA IF EXISTS scheduler CASCADE; DROP SCHEMA IF EXISTS yardstick CASCADE; CREATE SCHEMA yardstick',
  )
  const connections = openConnections({ url: database.url, applicationName: 'bench' })
  await migrate(connections, 'scheduler')
  await connections.close()
  for (const { table } of rollups)
    await database.query(`CREATE TABLE yardstick.${table} (LIKE scheduler.${table} INCLUDING ALL)`)

  // In turn, so that a machine that is busy with something else slows both.
  let single: Cost = { ms: 0, cpuMs: 0 }
  let ours: Cost = { ms: 0, cpuMs: 0 }
  for (const { name, table } of rollups) {
    const one = await costOf(serverPid, () => database.query(singleStatement(name, `yardstick.${table}`)))
    await database.query('CHECKPOINT')
    const slices = await costOf(serverPid, () => runToEnd(database, { rollups: [name] }))
    await database.query('CHECKPOINT')
    print(`${name}: one statement ${seconds(one.ms)} (CPU ${seconds(one.cpuMs)}), in slices ${speed(one, slices)}`)
    single = { ms: single.ms + one.ms, cpuMs: single.cpuMs + one.cpuMs }
    ours = { ms: ours.ms + slices.ms, cpuMs: ours.cpuMs + slices.cpuMs }
    const [row] = await database.query<{ rows: string }>(
      `SELECT count(*) AS rows FROM (TABLE scheduler.${table} EXCEPT ALL TABLE yardstick.${table}) x`,
    )
    if (row?.rows !== '0') throw new Error(`${row?.rows ?? ''} rows of ${table} differ from the yardstick's`)
    await database.query('DELETE FROM scheduler.checkpoint')
  }
  print(
    `all five: one statement each ${seconds(single.ms)} (CPU ${seconds(single.cpuMs)}), in slices ${speed(single, ours)}`,
  )
  await database.query(
    `TRUNCATE ${rollups.map(({ table }) => `scheduler.${table}`).join(', ')}; DELETE FROM scheduler.action`,
  )
  const first = await costOf(serverPid, () => runToEnd(database))
  print(`first count of all five together: ${speed(single, first)}; ${await describeSlices(database)}`)
  await database.query('VACUUM ANALYZE')
  const request: StatisticsRequest = { do: 'recalculate', from: firstDay, to: lastDay }
  const again = await costOf(serverPid, () => runToEnd(database, { request }))
  print(`recalculation, nothing differs: ${speed(single, again)}; ${await describeSlices(database)}`)
  for (const { table } of rollups) {
    await database.query(
      `UPDATE scheduler.${table} SET killmails = killmails + 1 WHERE extract(doy FROM day)::int % 2 = 0`,
    )
    await database.query(`DELETE FROM scheduler.${table} WHERE extract(doy FROM day)::int % 10 = 3`)
  }
  await database.query('VACUUM ANALYZE')
  const repaired = await costOf(serverPid, () => runToEnd(database, { request }))
  print(
    `recalculation, more than half of the rows differ: ${speed(single, repaired)}; ${await describeSlices(database)}`,
  )
  const slot = await costOf(serverPid, () => runTask(database))
  print(`a slot with nothing new: ${seconds(slot.ms)} (CPU ${seconds(slot.cpuMs)})`)
}
