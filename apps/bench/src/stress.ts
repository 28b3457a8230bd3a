/**
 * `pnpm stress [--only scheduler,metrics,retention] [--rounds 50] [--processes 20] [--kills 200] [--path direct|pooled] [--metric-runs 300]
 * [--retention-kills 1000] [--schemas 10000]`: the long form of test/stress.test.ts, and of two tests of retention.
 */
import { parseArgs } from 'node:util'
import { findPgBouncer } from '@battlescope/postgres-testing'
import { killAnywhere, phases } from './kill-anywhere.js'
import { metricContinuity } from './metric-continuity.js'
import { stressRetention } from './retention-stress.js'
import { startTogether } from './start-together.js'
import { stopAndContinue } from './stop-and-continue.js'
import { createWorld, type Path, type World } from './world.js'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '50' },
    processes: { type: 'string', default: '20' },
    kills: { type: 'string', default: '200' },
    path: { type: 'string' },
    only: { type: 'string', default: 'scheduler,metrics,retention' },
    'metric-runs': { type: 'string', default: '300' },
    'retention-kills': { type: 'string', default: '1000' },
    schemas: { type: 'string', default: '10000' },
  },
})
const [rounds, processes, kills] = [Number(values.rounds), Number(values.processes), Number(values.kills)]

async function inWorld<T>(path: Path, work: (world: World) => Promise<T>): Promise<T> {
  const world = await createWorld(path)
  try {
    return await work(world)
  } finally {
    await world.close()
  }
}

const progress = (text: string) => (done: number) => {
  if (process.stderr.isTTY === true) process.stderr.write(`\r${text} ${done + 1} `)
}

const parts = values.only.split(',')
const wanted: Path[] = values.path === undefined ? ['direct', 'pooled'] : [values.path as Path]
const paths = parts.includes('scheduler') ? wanted : []
let failed = false
function print(title: string, lines: readonly string[], violations: readonly string[]): void {
  if (violations.length > 0) failed = true
  console.log(`\n${title}`)
  for (const line of lines) console.log(`  ${line}`)
  console.log(`  violations: ${violations.length}`)
  for (const violation of violations.slice(0, 20)) console.log(`    ${violation}`)
}

for (const path of paths) {
  if (path === 'pooled' && (await findPgBouncer()) === undefined) {
    console.log('pooled: not run, PgBouncer is not installed; on Debian: apt-get install pgbouncer')
    failed = true
    continue
  }
  const show = (title: string, lines: readonly string[], violations: readonly string[]) => {
    print(`${path}: ${title}`, lines, violations)
  }
  const together = await inWorld(path, (world) => startTogether(world, { rounds, processes }, progress('round')))
  show(
    `${processes} processes at the same moment, ${rounds} times`,
    [
      ...Object.entries(together.succeeded).map(([task, count]) => `${task.padEnd(18)} ${count} successes`),
      `processes that gave up the import of the tasks: ${together.gaveUp}`,
    ],
    together.violations,
  )
  const killed = await inWorld(path, (world) => killAnywhere(world, { kills }, progress('kill')))
  const widest = Math.max(...Object.values(killed.hits))
  show(
    `kill -9 at ${kills} instants between ${killed.spanMs.map((ms) => ms.toFixed(0)).join(' and ')} ms after the start`,
    [
      ...phases.map((phase) => {
        const count = killed.hits[phase]
        return `${phase.padEnd(40)} ${String(count).padStart(4)} ${'#'.repeat(Math.ceil((40 * count) / Math.max(1, widest)))}`
      }),
      `the next run found the claim still good: ${killed.nextRunWaited}`,
      `effects that a second run repeated:      ${killed.effectsRepeated}`,
    ],
    killed.violations,
  )
  const stopped = await inWorld(path, stopAndContinue)
  show(
    'stopped beyond its claim, then continued',
    [`the stopped process ended with ${stopped.exitCode ?? 'a signal'} (${String(stopped.outcome)})`],
    stopped.violations,
  )
}
if (parts.includes('metrics')) {
  const runs = Number(values['metric-runs'])
  const report = await inWorld('direct', (world) => metricContinuity(world, { runs }, progress('run')))
  print(
    `metrics of ${runs} processes, ${report.killed} of them killed`,
    [
      `${report.batches} batches of ${report.series} numbers each were received`,
      ...Object.entries(report.longestFlushMs).map(
        ([mood, ms]) =>
          `collector answers ${mood.padEnd(10)} the process ended at most ${ms.toFixed(0)} ms after its work`,
      ),
    ],
    report.violations,
  )
}
if (parts.includes('retention')) {
  const amount = { kills: Number(values['retention-kills']), schemas: Number(values.schemas) }
  if (!(await stressRetention(amount))) failed = true
}
process.exit(failed ? 1 : 0)
