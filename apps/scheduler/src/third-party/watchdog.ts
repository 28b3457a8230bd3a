/**
 * Ends the process at a deadline, whatever its one thread is doing: a second thread waits for it.
 *
 * Node offers no way to end the main thread from another one and keep the exit code: `process.exit` in a worker ends the worker, and a
 * signal gives 128 + its number. But the inspector of the main thread is answered between any two instructions, an endless loop's
 * included. It says `Waiting for the debugger to disconnect...` on stderr as it goes.
 */
import { Worker } from 'node:worker_threads'

export interface Watchdog {
  /** What is running now: named in the last words. */
  watching(what: string): void
  /** Milliseconds from now: a new deadline in place of the last one. */
  extend(deadlineMs: number): void
}

export interface WatchdogOptions {
  /** Milliseconds from now. */
  readonly deadlineMs: number
  readonly what: string
  /** `log`: one line of JSON. `text`: for people. */
  readonly lastWords: 'log' | 'text'
}

/** Milliseconds that the process gets to end by the inspector before it is killed. */
const killAfterMs = 1000

// As text, because the program is one file. `reallyExit` runs no listener that a package could hang in.
const workerSource = `
const { parentPort, workerData } = require('node:worker_threads')
const { writeSync } = require('node:fs')
const { Session } = require('node:inspector')
let task = workerData.what
let timer
const lastWords = () => {
  if (workerData.lastWords === 'text') return 'error: ' + task + ' does not come back; the process ends without an answer\\n' +
    'hint: take the package out of SCHEDULER_TASKS; a run pauses it by itself after five times\\n'
  const fields = { level: 'error', package: 'scheduler', event: 'watchdog', task, msg: 'the deadline of the run passed; ending the process' }
  return JSON.stringify(fields) + '\\n'
}
const end = () => {
  try { writeSync(2, lastWords()) } catch {}
  setTimeout(() => process.kill(process.pid, 'SIGKILL'), ${killAfterMs})
  const session = new Session()
  session.connectToMainThread()
  session.post('Runtime.evaluate', { expression: 'process.reallyExit(1)' })
}
const arm = (deadlineMs) => {
  clearTimeout(timer)
  timer = setTimeout(end, deadlineMs)
}
arm(workerData.deadlineMs)
parentPort.on('message', ({ what, deadlineMs }) => {
  if (what !== undefined) task = what
  if (deadlineMs !== undefined) arm(deadlineMs)
})
`

export function startWatchdog(options: WatchdogOptions): Watchdog {
  const worker = new Worker(workerSource, { eval: true, workerData: options, env: {}, execArgv: [] })
  worker.unref()
  // Without its second thread a run is as it would be without a watchdog: no reason to end it.
  worker.on('error', () => undefined)
  return {
    watching: (what) => {
      worker.postMessage({ what })
    },
    extend: (deadlineMs) => {
      worker.postMessage({ deadlineMs })
    },
  }
}
