/**
 * `pnpm --filter @battlescope/bench health`: what the task `health` adds to a run on a database of a million killmails. The built program, `analyze`
 * alone and with `health`, in turn; PostgreSQL's own time by its log (parse, bind and execute of every statement), CPU of the process by the shell.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { parseArgs } from 'node:util'
import { median } from './median.js'
import { measureProcess, needGnuTime, type ProcessCost } from './process-cost.js'
import { openDatabases, type Copy } from './retention/databases.js'
import { program } from './world.js'

const { values } = parseArgs({
  options: {
    killmails: { type: 'string', default: '1000000' },
    rounds: { type: 'string', default: '9' },
    server: { type: 'string' },
    redis: { type: 'string' },
  },
})
const rounds = Number(values.rounds)
needGnuTime()

/** Statements of a text, all of a run together. */
interface Spent {
  readonly text: string
  readonly count: number
  readonly ms: number
}

/** By the server's log, everything that the program asked so far. */
async function selectSpent({ client, name }: Copy): Promise<readonly Spent[]> {
  const { rows } = await client.query<{ text: string; count: string; ms: string }>(
    `SELECT left(regexp_replace(m[2], '\\s+', ' ', 'g'), 400) AS text, count(*) FILTER (WHERE entry ->> 'message' !~ '  (parse|bind) ') AS count,
       sum(m[1]::float8) AS ms FROM (
       SELECT line::jsonb AS entry FROM pg_ls_logdir() f, pg_read_file(current_setting('log_directory') || '/' || f.name) content,
         regexp_split_to_table(content, E'\\n') line WHERE f.name LIKE '%.json' AND line LIKE '{%duration:%') l,
       regexp_match(entry ->> 'message', '^duration: ([0-9.]+) ms  (?:(?:parse|bind|execute) [^:]*|statement): (.*)$', 's') m
     WHERE entry ->> 'dbname' = $1 AND entry ->> 'application_name' <> 'bench' AND m IS NOT NULL GROUP BY 1`,
    [name],
  )
  return rows.map(({ text, count, ms }) => ({ text, count: Number(count), ms: Number(ms) }))
}

async function databaseTime(copy: Copy, run: () => ProcessCost): Promise<readonly Spent[]> {
  const before = new Map((await selectSpent(copy)).map((spent) => [spent.text, spent]))
  run()
  return (await selectSpent(copy)).flatMap(({ text, count, ms }) => {
    const earlier = before.get(text)
    const spent = { text, count: count - (earlier?.count ?? 0), ms: ms - (earlier?.ms ?? 0) }
    return spent.count > 0 ? [spent] : []
  })
}

const total = (spent: readonly Spent[]) => spent.reduce((sum, { ms }) => sum + ms, 0)
const shown = (ms: number) => `${ms.toFixed(0)} ms`

// In a process of its own: this one waits for the program.
const service = spawn(
  process.execPath,
  [
    '-e',
    `const server = require('node:http').createServer((_, response) => response.end('{"status":"healthy"}'))
     server.listen(0, '127.0.0.1', () => console.log(server.address().port))`,
  ],
  { stdio: ['ignore', 'pipe', 'inherit'] },
)
const [port] = (await once(service.stdout, 'data')) as [Buffer]
const names = ['api', 'ingest', 'clusterer', 'enrichment', 'typesense', 'otel-collector']
const services = Object.fromEntries(names.map((name) => [name, `http://127.0.0.1:${port.toString().trim()}/${name}`]))

const databases = await openDatabases(Number(values.killmails), values.server)
const copy = await databases.copy()
try {
  const environment = {
    DATABASE_URL: copy.url,
    SCHEDULER_HEALTH_SERVICES: JSON.stringify(services),
    ...(values.redis === undefined ? {} : { REDIS_URL: values.redis }),
  }
  const run = (tasks: string) => measureProcess([process.execPath, program], { ...environment, SCHEDULER_TASKS: tasks })
  const alone = () => run('analyze')
  const both = () => run('analyze,health')

  await copy.client.query(`ALTER DATABASE ${copy.name} SET log_min_duration_statement = 0`)
  alone()
  const without: number[] = []
  // The first run with the task makes every check, those of six hours too; later ones what is due in every run.
  const first = total(await databaseTime(copy, both))
  const added: number[] = []
  let last: readonly Spent[] = []
  for (let round = 0; round < rounds; round += 1) {
    without.push(total(await databaseTime(copy, alone)))
    last = await databaseTime(copy, both)
    added.push(total(last) - (without.at(-1) ?? 0))
  }
  await copy.client.query(`ALTER DATABASE ${copy.name} RESET log_min_duration_statement`)

  const cpu: number[] = []
  const cpuAlone: number[] = []
  const peaks: number[] = []
  for (let round = 0; round < rounds; round += 1) {
    const [a, b] = [alone(), both()]
    cpuAlone.push(a.cpuMs)
    cpu.push(b.cpuMs - a.cpuMs)
    peaks.push(b.peakMib - a.peakMib)
  }

  console.log(
    `${values.killmails} killmails, medians of ${rounds} pairs, ${process.version}, PostgreSQL ${databases.version}`,
  )
  console.log(
    `database time: analyze alone ${shown(median(without))}; health adds ${shown(median(added))} (${added.map(shown).join(', ')})`,
  )
  console.log(
    `               the run that makes every check: ${shown(first - median(without))} more than analyze alone`,
  )
  console.log(
    `CPU:           analyze alone ${shown(median(cpuAlone))}; health adds ${shown(median(cpu))} (${cpu.map(shown).join(', ')})`,
  )
  console.log(`peak memory:   health adds ${median(peaks).toFixed(1)} MiB`)
  console.log('the most expensive statements of the last run:')
  for (const { text, count, ms } of [...last].sort((a, b) => b.ms - a.ms).slice(0, 12))
    console.log(`${ms.toFixed(1).padStart(8)} ms ${String(count).padStart(4)} × ${text.slice(0, 150)}`)
} finally {
  await copy.drop()
  await databases.close()
  service.kill()
}
process.exit(0)
