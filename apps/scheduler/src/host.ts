/** What the program is given by its loader, and the only place that reads the process's environment. */
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
  /** Host and process, for claims. */
  readonly holder: string
  readonly terminal: Terminal
}

export interface Terminal {
  readonly stdoutIsTerminal: boolean
  readonly stderrIsTerminal: boolean
  readonly colour: boolean
  readonly columns: number
}

export function createHost(loader: Loader): Host {
  const stop = new AbortController()
  const hardStop = new AbortController()
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      if (stop.signal.aborted) hardStop.abort(signal)
      else stop.abort(signal)
    })
  }
  loader.takeOverSignals()
  const environment: Environment = process.env
  const stdoutIsTerminal = process.stdout.isTTY === true
  return {
    environment,
    appFolder: loader.appFolder,
    importModule: (url) => loader.importModule(url),
    stop: stop.signal,
    hardStop: hardStop.signal,
    holder: `${environment['HOSTNAME'] ?? 'localhost'}/${process.pid}`,
    terminal: {
      stdoutIsTerminal,
      stderrIsTerminal: process.stderr.isTTY === true,
      // https://no-color.org, https://force-color.org
      colour: environment['FORCE_COLOR'] !== undefined || (stdoutIsTerminal && environment['NO_COLOR'] === undefined),
      columns: process.stdout.columns ?? 120,
    },
  }
}
