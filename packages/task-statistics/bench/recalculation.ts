/**
 * What counting 60 months costs in slices, against one statement per rollup:
 * `tsx --conditions=@battlescope/source bench/recalculation.ts [killmails]`, or with the URL of a database that has generated rows already.
 */
import { openConnections } from '@battlescope/database'
import { battlescopeDdl } from '@battlescope/database/battlescope-ddl'
import {
  defaultConfig,
  migrate,
  registerTask,
  runScheduler,
  type TaskLogger,
  type TaskReport,
} from '@battlescope/scheduler-core'
import { createTestDatabase, startPostgres, type TestDatabase } from '@battlescope/scheduler-testing'
import { statistics, type StatisticsRequest } from '../src/index.js'
import { rollups } from '../src/rollups.js'
import { fillGeneratedDatabase, firstDay, lastDay } from './generated-database.js'
import { singleStatement } from './single-statements.js'

const print = (text: string) => process.stdout.write(`${text}\n`)
const seconds = (ms: number) => `${(ms / 1000).toFixed(2)} s`
const nothing = () => undefined
const silent: TaskLogger = { trace: nothing, debug: nothing, info: nothing, warn: nothing, error: nothing }

async function timed(work: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now()
  await work()
  return performance.now() - startedAt
}

async function runTask(database: TestDatabase, request?: StatisticsRequest): Promise<TaskReport['run']> {
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
async function runToEnd(database: TestDatabase, request?: StatisticsRequest): Promise<void> {
  for (;;) {
    const run = await runTask(database, request)
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

async function measure(database: TestDatabase): Promise<void> {
  await database.query(
    'DROP SCHEMA IF EXISTS scheduler CASCADE; DROP SCHEMA IF EXISTS yardstick CASCADE; CREATE SCHEMA yardstick',
  )
  const connections = openConnections({ url: database.url, applicationName: 'bench' })
  await migrate(connections, 'scheduler')
  await connections.close()
  for (const { table } of rollups)
    await database.query(`CREATE TABLE yardstick.${table} (LIKE scheduler.${table} INCLUDING ALL)`)

  let single = 0
  for (const { name, table } of rollups) {
    const ms = await timed(() => database.query(singleStatement(name, `yardstick.${table}`)))
    print(`one INSERT … SELECT … GROUP BY, ${name}: ${seconds(ms)}`)
    single += ms
  }
  await database.query('CHECKPOINT')
  const first = await timed(() => runToEnd(database))
  print(`all five: ${seconds(single)}`)
  print(
    `first count by the task: ${seconds(first)}, speed ${(single / first).toFixed(2)} × (${await describeSlices(database)})`,
  )
  for (const { table } of rollups) {
    const [row] = await database.query<{ rows: string }>(
      `SELECT count(*) AS rows FROM (TABLE scheduler.${table} EXCEPT ALL TABLE yardstick.${table}) x`,
    )
    if (row?.rows !== '0') throw new Error(`${row?.rows ?? ''} rows of ${table} differ from the yardstick's`)
  }
  await database.query('VACUUM ANALYZE')
  const request: StatisticsRequest = { do: 'recalculate', from: firstDay, to: lastDay }
  const again = await timed(() => runToEnd(database, request))
  print(
    `recalculation, nothing differs: ${seconds(again)}, speed ${(single / again).toFixed(2)} × (${await describeSlices(database)})`,
  )
  for (const { table } of rollups) {
    await database.query(
      `UPDATE scheduler.${table} SET killmails = killmails + 1 WHERE day % 2 = 0`.replace(
        'day % 2 = 0',
        `extract(doy FROM day)::int % 2 = 0`,
      ),
    )
    await database.query(`DELETE FROM scheduler.${table} WHERE extract(doy FROM day)::int % 10 = 3`)
  }
  await database.query('VACUUM ANALYZE')
  const repaired = await timed(() => runToEnd(database, request))
  print(
    `recalculation, half of the rows differ: ${seconds(repaired)}, speed ${(single / repaired).toFixed(2)} × (${await describeSlices(database)})`,
  )
  print(`a slot with nothing new: ${seconds(await timed(() => runTask(database)))}`)
}

const [argument = '1000000'] = process.argv.slice(2)
if (argument.startsWith('postgres')) {
  const pg = (await import('/work/main/node_modules/.pnpm/pg@8.23.1/node_modules/pg/lib/index.js' as string)).default
  const client = new pg.Client({ connectionString: argument })
  await client.connect()
  await measure({
    url: argument,
    query: async (text: string) => (await client.query(text)).rows,
  } as unknown as TestDatabase)
  await client.end()
} else {
  const server = await startPostgres()
  const database = await createTestDatabase({ server })
  await database.query(battlescopeDdl)
  print(
    `${argument} killmails, ${firstDay} to ${lastDay}: filled in ${seconds(await timed(() => fillGeneratedDatabase(database, Number(argument))))}`,
  )
  await measure(database)
  await database.drop()
  await server.stop()
}
