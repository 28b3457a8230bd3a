/** The demo's command line, from arguments to exit code. */
import { constants } from 'node:os'
import { parseArguments, usage } from './arguments.js'
import { runDemo } from './demo.js'
import { colourWanted, invocationFolder } from './environment.js'
import { findMissingPaths } from './killmails/read-files.js'
import { createOutput } from './output.js'
import type { SchedulerProgram } from './scheduler-program.js'
import type { Part } from './stage.js'

const exitUsage = 64
const stopSignals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

export interface Show {
  readonly findProgram: () => Promise<SchedulerProgram>
  readonly parts: readonly Part[]
}

/** Runs the demo, and stops it on SIGINT, SIGTERM and SIGHUP; resolves, with the exit code, when nothing is left running. */
export async function runCommand(argv: readonly string[], { findProgram, parts }: Show): Promise<number> {
  const parsed = parseArguments(argv)
  if (parsed.kind === 'help') {
    process.stdout.write(usage)
    return 0
  }
  if (parsed.kind === 'problems') return refuse(parsed.problems)
  const baseFolder = invocationFolder()
  const missing = await findMissingPaths(parsed.arguments.killmails, baseFolder)
  if (missing.length > 0) return refuse(missing.map((path) => `--killmails: there is no file or folder '${path}'`))

  const abort = new AbortController()
  let stoppedBy: (typeof stopSignals)[number] | undefined
  for (const signal of stopSignals) {
    process.on(signal, () => {
      // Stopping takes a second or two; whoever asks again gets it no sooner, and would leave files behind.
      if (stoppedBy !== undefined) return
      stoppedBy = signal
      process.stderr.write('\nstopping PostgreSQL and removing its files\n')
      abort.abort()
    })
  }
  const output = createOutput((text) => process.stdout.write(text), colourWanted())
  try {
    const program = await findProgram()
    await runDemo(parsed.arguments, { program, parts, output, signal: abort.signal, baseFolder })
    return 0
  } catch (error) {
    if (stoppedBy !== undefined) return 128 + constants.signals[stoppedBy]
    process.stderr.write(`\nthe demo failed: ${error instanceof Error ? error.message : String(error)}\n`)
    return 1
  }
}

function refuse(problems: readonly string[]): number {
  process.stderr.write(`${problems.join('\n')}\nHINT: npm run demo -- --help\n`)
  return exitUsage
}
