/** Entry point of the program: an exit code for every way to end, and the only place that ends the process. */
import { codeOf, exitCodes, messageOf, SchedulerError } from '@battlescope/scheduler-core'
import { run } from './commands/run.js'
import { createHost, type Host, type Loader } from './host.js'
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
    exitCode = explainEnd(error, host)
  }
  endProcess(exitCode)
}

function explainEnd(error: unknown, host: Host): number {
  // What was aborted by a signal rejects with its name.
  if (host.stop.aborted && error === host.stop.reason)
    return (error === 'SIGINT' ? exitCodes.interrupted : exitCodes.terminated).code
  const output = new Output(host)
  const verbose = host.environment['LOG_LEVEL'] === 'debug'
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
