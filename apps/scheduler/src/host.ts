/** What the program is given by its loader, and the only place that reads the process's environment. */
import { hostname } from 'node:os'
import { createScrubber, exitCodes, type Scrubber } from '@battlescope/scheduler-core'
import { endProcess } from './third-party/guard.js'

export interface Loader {
  readonly argv: readonly string[]
  /** Where third-party packages are looked for when no plug-in folder is set. */
  readonly appFolder: string
  importModule(url: string): Promise<unknown>
  /** Takes back the loader's own signal handlers. */
  takeOverSignals(): void
}

export type Environment = Readonly<Record<string, string | undefined>>

export interface Host {
  readonly environment: Environment
  readonly appFolder: string
  importModule(url: string): Promise<unknown>
  /** Aborted by the first signal, with its name as reason. */
  readonly stop: AbortSignal
  /** Aborted by the second signal. */
  readonly hardStop: AbortSignal
  /**
   * From now on the first signal ends the process: for commands that have nothing to finish. A transaction that is open then is rolled
   * back by the server.
   */
  endAtSignal(): void
  /** While `work` runs, signals have their default effect, so that they end the process even in an endless loop of foreign code. */
  withDefaultSignals<T>(work: () => Promise<T>): Promise<T>
  /** Host and process, for claims. */
  readonly holder: string
  readonly terminal: Terminal
  /** This machine's clock, for what has no database to ask. */
  readonly now: () => Date
  /** Knows the secrets of the configuration once it is read; everything that leaves the process goes through it. */
  readonly secrets: Scrubber
}

export interface Terminal {
  readonly stdoutIsTerminal: boolean
  readonly stderrIsTerminal: boolean
  readonly colour: boolean
  readonly columns: number
}

const signals = ['SIGTERM', 'SIGINT'] as const

export function createHost(loader: Loader): Host {
  const stop = new AbortController()
  const hardStop = new AbortController()
  let endsAtOnce = false
  const onSignal = (signal: NodeJS.Signals) => {
    if (endsAtOnce) endProcess((signal === 'SIGINT' ? exitCodes.interrupted : exitCodes.terminated).code)
    if (stop.signal.aborted) hardStop.abort(signal)
    else stop.abort(signal)
  }
  const handleSignals = () => {
    for (const signal of signals) process.on(signal, onSignal)
  }
  handleSignals()
  loader.takeOverSignals()
  const environment: Environment = process.env
  const stdoutIsTerminal = process.stdout.isTTY === true
  return {
    environment,
    appFolder: loader.appFolder,
    importModule: (url) => loader.importModule(url),
    stop: stop.signal,
    hardStop: hardStop.signal,
    endAtSignal: () => {
      endsAtOnce = true
    },
    withDefaultSignals: async (work) => {
      // Pid 1 has no default action for signals.
      if (process.pid === 1) return work()
      for (const signal of signals) process.off(signal, onSignal)
      try {
        return await work()
      } finally {
        handleSignals()
      }
    },
    // Not the variable HOSTNAME, which cron does not set.
    holder: `${hostname()}/${process.pid}`,
    now: () => new Date(),
    secrets: createScrubber(),
    terminal: {
      stdoutIsTerminal,
      stderrIsTerminal: process.stderr.isTTY === true,
      // https://no-color.org, https://force-color.org
      colour: environment['FORCE_COLOR'] !== undefined || (stdoutIsTerminal && environment['NO_COLOR'] === undefined),
      columns: process.stdout.columns ?? 120,
    },
  }
}
