/**
 * What a CronJob is in a cluster, for local use: runs the program every SECONDS, one run at a time. Ends when it is told to, after the run
 * that is going on.
 *
 * Usage: node run-every.mjs SECONDS PROGRAM [ARGUMENT…]
 */
import { spawn } from 'node:child_process'

const [seconds, program, ...args] = process.argv.slice(2)
const everyMs = Number(seconds) * 1000
if (!(everyMs > 0) || program === undefined) {
  console.error('usage: node run-every.mjs SECONDS PROGRAM [ARGUMENT…]')
  process.exit(64)
}

let running
let timer
let stopping = false

function start() {
  // From start to start, as cron counts; a run that takes longer than that is followed at once.
  const nextAt = performance.now() + everyMs
  running = spawn(process.execPath, [program, ...args], { stdio: 'inherit' })
  running.on('exit', () => {
    running = undefined
    if (!stopping) timer = setTimeout(start, Math.max(0, nextAt - performance.now()))
  })
}

for (const signal of ['SIGTERM', 'SIGINT']) {
  process.on(signal, () => {
    stopping = true
    clearTimeout(timer)
    running?.kill(signal)
  })
}
start()
