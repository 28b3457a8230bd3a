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
  stop(): void
}

/** Milliseconds that the process gets to end by the inspector before it is killed. */
const killAfterMs = 1000

// As text, because the program is one file. `reallyExit` runs no listener that a package could hang in.
const workerSource = `
const { parentPort, workerData } = require('node:worker_threads')
const { writeSync } = require('node:fs')
const { Session } = require('node:inspector')
let task = workerData.what
parentPort.on('message', (what) => { task = what })
setTimeout(() => {
  const fields = { level: 'error', package: 'scheduler', event: 'watchdog', task, msg: 'the deadline of the run passed; ending the process' }
  try { writeSync(2, JSON.stringify(fields) + '\\n') } catch {}
  setTimeout(() => process.kill(process.pid, 'SIGKILL'), ${killAfterMs})
  const session = new Session()
  session.connectToMainThread()
  session.post('Runtime.evaluate', { expression: 'process.reallyExit(1)' })
}, workerData.deadlineMs)
`

/** @param deadlineMs milliseconds from now */
export function startWatchdog(options: { readonly deadlineMs: number; readonly what: string }): Watchdog {
  const worker = new Worker(workerSource, { eval: true, workerData: options, env: {}, execArgv: [] })
  worker.unref()
  // Without its second thread a run is as it would be without a watchdog: no reason to end it.
  worker.on('error', () => undefined)
  return {
    watching: (what) => {
      worker.postMessage(what)
    },
    stop: () => {
      void worker.terminate()
    },
  }
}
