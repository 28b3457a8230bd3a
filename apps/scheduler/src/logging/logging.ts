/** Logs: one JSON line per event for machines, readable lines for people. */
import type { TaskLogger } from '@battlescope/scheduler-core'
import pino from 'pino'
import type { Terminal } from '../host.js'
import { terminalRenderer } from './terminal-renderer.js'

export interface Logging {
  readonly logger: TaskLogger
  bind(fields: Readonly<Record<string, unknown>>): TaskLogger
  /** Ends a line of live progress. */
  end(): void
}

export interface LoggingOptions {
  readonly level: string
  /** Where data goes to stdout, logs go to stderr. */
  readonly stream: 'stdout' | 'stderr'
  readonly terminal: Terminal
  /** Takes secrets out of a line. */
  readonly scrub: (text: string) => string
  /** Trace and span of the moment, when telemetry is on. */
  readonly traceFields?: () => object
}

export function createLogging({ level, stream, terminal, scrub, traceFields }: LoggingOptions): Logging {
  const human = stream === 'stdout' ? terminal.stdoutIsTerminal : terminal.stderrIsTerminal
  // Synchronous: nothing may be lost when the process ends, and a run writes a handful of lines.
  const destination = pino.destination({ dest: stream === 'stdout' ? 1 : 2, sync: true })
  const renderer = human ? terminalRenderer((text) => destination.write(text), terminal) : undefined
  const logger = pino(
    {
      // Progress is a record at debug level, which a terminal shows live.
      level: human && level === 'info' ? 'debug' : level,
      base: { package: 'scheduler' },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      ...(traceFields === undefined ? {} : { mixin: traceFields }),
    },
    // The whole line, because secrets may be in the fields of an error as well as in its message, and in what a logger was bound to.
    {
      write: (line: string) => {
        if (renderer === undefined) destination.write(scrub(line))
        else renderer.write(scrub(line))
      },
    },
  )
  return {
    logger,
    bind: (fields) => logger.child(fields),
    end: () => renderer?.end(),
  }
}
