/**
 * `pnpm bench`: what an idle run costs (nothing is due to be changed), beside `node -e 0` and `psql -c 'select 1'`.
 * Figures of one machine and one moment mean little, so each round measures all of them in turn, and ratios are what counts.
 */
import { spawnSync } from 'node:child_process'
import { createTestDatabase } from '@battlescope/postgres-testing'
import { parseArgs } from 'node:util'
import { program } from './world.js'

const { values } = parseArgs({ options: { rounds: { type: 'string', default: '15' } } })
const rounds = Number(values.rounds)

interface Cost {
  readonly cpuMs: number
  readonly peakMib: number
  readonly wallMs: number
}

const timeProgram = '/usr/bin/time'
if (spawnSync(timeProgram, ['--version']).status !== 0) {
  console.error('GNU time is not installed; on Debian: apt-get install time')
  process.exit(69)
}
const hasPsql = spawnSync('psql', ['--version']).status === 0

function measure(command: readonly string[], environment: Readonly<Record<string, string>>): Cost {
  const startedMs = performance.now()
  // GNU time knows the peak memory, but CPU time only in hundredths of a second; the shell's own `time` knows it in milliseconds.
  const shell = ['bash', '-c', 'TIMEFORMAT="cpu %3U %3S"; time "$@"', 'bash', ...command]
  const { stderr, status } = spawnSync(timeProgram, ['-f', 'peak %M', ...shell], {
    env: { PATH: '/usr/local/bin:/usr/bin:/bin', ...environment },
    encoding: 'utf8',
  })
  const wallMs = performance.now() - startedMs
  const [, user, system, peak] = /cpu ([\d.]+) ([\d.]+)\npeak (\d+)/.exec(stderr) ?? []
  if (status !== 0 || peak === undefined) throw new Error(`${command.join(' ')}: ${stderr}`)
  return { cpuMs: (Number(user) + Number(system)) * 1000, peakMib: Number(peak) / 1024, wallMs }
}

const median = (numbers: readonly number[]) => [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? NaN

const database = await createTestDatabase()
try {
  await database.query('CREATE TABLE public.battles AS SELECT generate_series(1, 10000) AS id')
  const subjects: Readonly<Record<string, readonly string[]>> = {
    'idle run': [process.execPath, program],
    'node -e 0': [process.execPath, '-e', '0'],
    ...(hasPsql ? { "psql -c 'select 1'": ['psql', database.url, '-Atc', 'select 1'] } : {}),
  }
  const costs = new Map<string, Cost[]>(Object.keys(subjects).map((name) => [name, []]))
  for (let round = -1; round < rounds; round += 1) {
    for (const [name, command] of Object.entries(subjects)) {
      const cost = measure(command, { DATABASE_URL: database.url })
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
