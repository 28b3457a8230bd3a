/**
 * Makes V8's code cache of the built program: for this Node, and for flags as they are now (NODE_OPTIONS, options of node), so it has to
 * run with those that the program will have. A cache holds the functions that were compiled when it was made, and a run compiles what it
 * comes to: so the program is run here, as far as it comes without a database and a collector.
 */
import { spawnSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const worker = fileURLToPath(new URL('cache-after-run.cjs', import.meta.url))
const cache = fileURLToPath(new URL('../dist/cache', import.meta.url))

/** Nothing listens on port 1. */
const nowhere = '127.0.0.1:1'
const environment = {
  PATH: process.env.PATH,
  ...(process.env.NODE_OPTIONS === undefined ? {} : { NODE_OPTIONS: process.env.NODE_OPTIONS }),
  DATABASE_URL: `postgres://user:password@${nowhere}/database`,
}

const { tasks } = JSON.parse(readFileSync(new URL('../dist/meta.json', import.meta.url), 'utf8'))

rmSync(cache, { recursive: true, force: true })
mkdirSync(cache)
// Telemetry and every task for the first; whoever waits for an answer also gets the command line.
warmUp([], {
  SCHEDULER_TASKS: tasks.join(),
  OTEL_EXPORTER_OTLP_ENDPOINT: `http://${nowhere}`,
})
warmUp(['status'], {})

const names = readdirSync(cache)
const bytes = names.reduce((sum, name) => sum + statSync(`${cache}/${name}`).size, 0)
console.log(`dist/cache  ${(bytes / 1000).toFixed(0)} kB for ${names.length} files, ${process.version}`)

function warmUp(argv, more) {
  const { status, stderr, stdout } = spawnSync(process.execPath, [...process.execArgv, worker, ...argv], {
    env: { ...environment, ...more },
    encoding: 'utf8',
  })
  // 69: the database is unavailable, which is as far as it can come.
  if (status !== 69) throw new Error(`the program ended with ${String(status)} instead of 69\n${stdout}${stderr}`)
}
