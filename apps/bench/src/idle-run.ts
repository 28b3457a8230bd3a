/**
 * `pnpm bench`: what a run costs in which nothing is due to be changed, beside `node -e 0` and `psql -c 'select 1'`.
 * Figures of one machine and one moment mean little, so each round measures all of them in turn, and ratios are what counts.
 */
import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { Worker } from 'node:worker_threads'
import { battlescopeDdl } from '@battlescope/database/battlescope-ddl'
import { createTestDatabase } from '@battlescope/postgres-testing'
import { median } from './median.js'
import { measureProcess, needGnuTime, type ProcessCost } from './process-cost.js'
import { program } from './world.js'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '15' },
    /** The Node that runs the program. Its code cache has to be made with the same one. */
    node: { type: 'string', default: process.execPath },
    /** A second build of the program, as the folder that holds `bin` and `dist`. */
    against: { type: 'string' },
  },
})
const rounds = Number(values.rounds)

interface Subject {
  readonly name: string
  readonly command: readonly string[]
  readonly environment?: Readonly<Record<string, string>>
}

needGnuTime()
const hasPsql = spawnSync('psql', ['--version']).status === 0

/** Takes everything. On a thread of its own, because this one waits for what it measures. */
async function startCollector(): Promise<{ readonly url: string; stop(): Promise<unknown> }> {
  const code = `
    const { parentPort } = require('node:worker_threads')
    const server = require('node:http').createServer((request, response) => request.resume().on('end', () => response.end()))
    server.listen(0, '127.0.0.1', () => parentPort.postMessage(server.address().port))`
  const worker = new Worker(code, { eval: true })
  const [port] = (await once(worker, 'message')) as [number]
  return { url: `http://127.0.0.1:${port}`, stop: () => worker.terminate() }
}

const [idle, quiet, collector] = await Promise.all([createTestDatabase(), createTestDatabase(), startCollector()])
try {
  for (const database of [idle, quiet]) await database.query(battlescopeDdl)
  const telemetry = { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url }
  const idleRun = { DATABASE_URL: idle.url, SCHEDULER_TASKS: 'analyze' }
  // Every task, of which only those are due that run every time: the others are not yet, or were run in the round before the first.
  const tasks = 'analyze,backup,cache,cluster,health,reindex,retention,statistics,vacuum'
  const quietRun = { DATABASE_URL: quiet.url, SCHEDULER_TASKS: tasks }
  const runsOf = (path: string, suffix: string): readonly Subject[] => {
    const command = [values.node, path]
    return [
      { name: `idle run, telemetry${suffix}`, command, environment: { ...idleRun, ...telemetry } },
      { name: `idle run${suffix}`, command, environment: idleRun },
      { name: `quiet run, telemetry${suffix}`, command, environment: { ...quietRun, ...telemetry } },
    ]
  }
  const subjects: readonly Subject[] = [
    { name: 'node -e 0', command: [values.node, '-e', '0'] },
    ...runsOf(program, ''),
    ...(values.against === undefined ? [] : runsOf(join(values.against, 'bin/battlescope-scheduler.js'), ', other')),
    ...(hasPsql ? [{ name: "psql -c 'select 1'", command: ['psql', idle.url, '-Atc', 'select 1'] }] : []),
  ]
  const costs = new Map<Subject, ProcessCost[]>(subjects.map((subject) => [subject, []]))
  for (let round = -1; round < rounds; round += 1) {
    for (const subject of subjects) {
      const cost = measureProcess(subject.command, subject.environment ?? {})
      // The first round warms the file cache, makes the schema and analyzes the tables: what is left is idle.
      if (round >= 0) costs.get(subject)?.push(cost)
    }
  }
  const [bare] = costs.values()
  const version = spawnSync(values.node, ['--version'], { encoding: 'utf8' }).stdout.trim()
  console.log(`medians of ${rounds} rounds, ${version}, PostgreSQL on this machine`)
  const row = (...cells: readonly string[]) =>
    console.log(cells.map((cell, column) => (column === 0 ? cell.padEnd(28) : cell.padStart(12))).join(''))
  row('', 'CPU', '× bare node', 'peak memory', 'wall')
  for (const [{ name }, list] of costs) {
    const of = (read: (cost: ProcessCost) => number) => median(list.map(read))
    // Of each round, because the machine is another one from moment to moment.
    const ratio = median(list.map(({ cpuMs }, round) => cpuMs / (bare?.[round]?.cpuMs ?? NaN)))
    row(
      name,
      `${of(({ cpuMs }) => cpuMs).toFixed(0)} ms`,
      ratio.toFixed(1),
      `${of(({ peakMib }) => peakMib).toFixed(1)} MiB`,
      `${of(({ wallMs }) => wallMs).toFixed(0)} ms`,
    )
  }
} finally {
  await collector.stop()
  await idle.drop()
  await quiet.drop()
}
process.exit(0)
