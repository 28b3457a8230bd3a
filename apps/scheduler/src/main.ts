/** Entry point of the program: an exit code for every way to end, and the only place that ends the process. */
import { codeOf, exitCodes, messageOf, SchedulerError } from '@battlescope/scheduler-core'
import { run } from './commands/run.js'
import { createHost, type Loader } from './host.js'
import { Output } from './output.js'
import { endProcess } from './third-party/guard.js'

export async function main(loader: Loader): Promise<void> {
  const host = createHost(loader)
  let exitCode: number
  try {
    const { argv } = loader
    const isPlainRun = argv.length === 0 || (argv.length === 1 && argv[0] === 'run')
    // A run without arguments, every five minutes at 50m CPU, does not pay for a command line parser.
    exitCode = isPlainRun ? await run(host, {}) : await (await import('./command-line.js')).runCommandLine(host, argv)
  } catch (error) {
    exitCode = explainEnd(error, new Output(host.terminal), host.environment['LOG_LEVEL'] === 'debug')
  }
  endProcess(exitCode)
}

function explainEnd(error: unknown, output: Output, verbose: boolean): number {
  if (error instanceof SchedulerError) {
    output.error(error.message, error.hint)
    return error.exitCode
  }
  const code = codeOf(error)
  output.error(
    `${messageOf(error)}${code === undefined ? '' : ` (${code})`}`,
    'this is a bug of the scheduler, or something it does not expect; LOG_LEVEL=debug shows where',
  )
  if (verbose && error instanceof Error) output.line(error.stack)
  return exitCodes.internal.code
}
