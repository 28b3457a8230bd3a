/**
 * `pnpm bench`: what an idle run costs (nothing is due to be changed), beside `node -e 0` and `psql -c 'select 1'`.
 * Figures of one machine and one moment mean little, so each round measures all of them in turn, and ratios are what counts.
 */
import { spawnSync } from 'node:child_process'
import { createTestDatabase } from '@battlescope/postgres-testing'
import { parseArgs } from 'node:util'
import { measureProcess, median, needGnuTime, type ProcessCost } from './process-cost.js'
import { program } from './world.js'

const { values } = parseArgs({ options: { rounds: { type: 'string', default: '15' } } })
const rounds = Number(values.rounds)

needGnuTime()
const hasPsql = spawnSync('psql', ['--version']).status === 0

const database = await createTestDatabase()
try {
  await database.query('CREATE TABLE public.battles AS SELECT generate_series(1, 10000) AS id')
  const subjects: Readonly<Record<string, readonly string[]>> = {
    'idle run': [process.execPath, program],
    'node -e 0': [process.execPath, '-e', '0'],
    ...(hasPsql ? { "psql -c 'select 1'": ['psql', database.url, '-Atc', 'select 1'] } : {}),
  }
  const costs = new Map<string, ProcessCost[]>(Object.keys(subjects).map((name) => [name, []]))
  for (let round = -1; round < rounds; round += 1) {
    for (const [name, command] of Object.entries(subjects)) {
      const cost = measureProcess(command, { DATABASE_URL: database.url })
      // The first round warms the file cache, makes the schema and analyzes the table: what is left is idle.
      if (round >= 0) costs.get(name)?.push(cost)
    }
  }
  const medians = [...costs].map(([name, list]) => ({
    name,
    cpuMs: median(list.map(({ cpuMs }) => cpuMs)),
    peakMib: median(list.map(({ peakMib }) => peakMib)),
    wallMs: median(list.map(({ wallMs }) => wallMs)),
  }))
  const [idle] = medians
  console.log(`medians of ${rounds} rounds, ${process.version}, PostgreSQL on this machine`)
  console.log(`${''.padEnd(20)} ${'CPU'.padStart(8)} ${'peak memory'.padStart(12)} ${'wall'.padStart(8)}`)
  for (const { name, cpuMs, peakMib, wallMs } of medians)
    console.log(
      `${name.padEnd(20)} ${`${cpuMs.toFixed(0)} ms`.padStart(8)} ${`${peakMib.toFixed(1)} MiB`.padStart(12)} ${`${wallMs.toFixed(0)} ms`.padStart(8)}`,
    )
  for (const other of medians.slice(1)) {
    if (idle === undefined) continue
    console.log(
      `an idle run takes ${(idle.cpuMs / other.cpuMs).toFixed(1)} × the CPU time and ${(idle.peakMib / other.peakMib).toFixed(1)} × the memory of ${other.name}`,
    )
  }
} finally {
  await database.drop()
}
process.exit(0)
