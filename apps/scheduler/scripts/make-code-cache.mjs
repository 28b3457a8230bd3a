/**
 * Makes V8's code cache of the built program: for this Node, and for flags as they are now (NODE_OPTIONS, options of node), so it has to
 * run with those that the program will have. A cache holds the functions that were compiled when it was made, and a run compiles what it
 * comes to: so the program is run here, with stand-ins for the database and the collector.
 */
import { execFile } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { createServer } from 'node:http'
import { fileURLToPath } from 'node:url'
import { startStandInDatabase } from './stand-in-database.mjs'

const worker = fileURLToPath(new URL('cache-after-run.cjs', import.meta.url))
const cache = fileURLToPath(new URL('../dist/cache', import.meta.url))
const { tasks, schemaVersion } = JSON.parse(readFileSync(new URL('../dist/meta.json', import.meta.url), 'utf8'))

const database = await startStandInDatabase(schemaVersion)
const collector = createServer((request, response) => request.resume().on('end', () => response.end()))
await new Promise((resolve) => {
  collector.listen(0, '127.0.0.1', resolve)
})
const environment = {
  PATH: process.env.PATH,
  ...(process.env.NODE_OPTIONS === undefined ? {} : { NODE_OPTIONS: process.env.NODE_OPTIONS }),
  DATABASE_URL: `postgres://user:password@127.0.0.1:${database.port}/database`,
}
const telemetry = { OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${collector.address().port}` }

rmSync(cache, { recursive: true, force: true })
mkdirSync(cache)
// What has a cache keeps it: first the run that comes every five minutes and mostly finds nothing to do, whose cache is to be small.
await warmUp([], telemetry, [0])
// Every task, first as far as every run reads it, and then what it does. In an empty database some of them fail.
await warmUp([], { SCHEDULER_TASKS: tasks.join(), ...telemetry }, [0, 1])
await warmUp(['run', '--force'], { SCHEDULER_TASKS: tasks.join() }, [0, 1])
// Whoever waits for an answer also gets the command line.
await warmUp(['status'], {}, [0])
database.close()
collector.close()

const names = readdirSync(cache)
const bytes = names.reduce((sum, name) => sum + statSync(`${cache}/${name}`).size, 0)
console.log(`dist/cache  ${(bytes / 1000).toFixed(0)} kB for ${names.length} files, ${process.version}`)

async function warmUp(argv, more, expected) {
  const { code, output } = await new Promise((resolve) => {
    const options = { env: { ...environment, ...more }, encoding: 'utf8' }
    execFile(process.execPath, [...process.execArgv, worker, ...argv], options, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : error.code, output: stdout + stderr })
    })
  })
  if (expected.includes(code)) return
  throw new Error(
    `the program ended with ${String(code)}; if it reads something new, teach scripts/stand-in-database.mjs to answer\n${output}`,
  )
}
