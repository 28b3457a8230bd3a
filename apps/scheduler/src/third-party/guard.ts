/**
 * What third-party code may not do to the process that it shares: end it.
 * The guard stays up until the process ends, because code that was given up may still be running.
 */

// Ours, taken before any package can replace it.
const exit = process.exit.bind(process)

/** Events whose listeners could keep the process from ending, or swallow our signals. */
const guardedEvents = ['exit', 'beforeExit', 'SIGTERM', 'SIGINT', 'uncaughtException', 'unhandledRejection'] as const

class ProcessExitRefused extends Error {
  override readonly name = 'ProcessExitRefused'
  readonly code = 'process-exit-refused'
}

type Listener = (...args: unknown[]) => void
let ownListeners: ReadonlyMap<string, readonly unknown[]> | undefined

/** From now on `process.exit` and `process.abort` throw where they are called. */
export function guardProcess(): void {
  process.exit = (code?: number | string | null): never => {
    throw new ProcessExitRefused(`called process.exit(${code ?? ''})`)
  }
  process.abort = (): never => {
    throw new ProcessExitRefused('called process.abort()')
  }
  // `import { exit } from 'node:process'` sees the replacement too.
  // Not imported: Node reads its loader of modules for it, and every run reads this file.
  process.getBuiltinModule('node:module').syncBuiltinESMExports()
  ownListeners = new Map(guardedEvents.map((event) => [event, process.listeners(event as 'exit')]))
}

/** Ends the process for good: the guard does not hold us, and what others attached to its end does not run. */
export function endProcess(code: number): never {
  for (const [event, own] of ownListeners ?? []) {
    for (const listener of process.listeners(event as 'exit'))
      if (!own.includes(listener)) process.off(event, listener as Listener)
  }
  return exit(code)
}
