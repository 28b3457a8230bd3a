/** `statistics recalculate|triggers`, as yargs knows them. */
import type { Argv } from 'yargs'
import type { StatisticsRequest } from '@battlescope/task-statistics'
import type { Host } from './host.js'

interface Shared {
  readonly 'dry-run': boolean | undefined
  readonly json: boolean | undefined
}

/** Adds the command to the command line. `flagsOf` reads the options that every command has. */
export function statisticsCommandLine(
  parser: Argv,
  host: Host,
  end: (exitCode: number) => void,
  flagsOf: (args: Readonly<Record<string, unknown>>) => Readonly<Record<string, string>>,
): Argv {
  const shared = {
    'dry-run': { type: 'boolean', describe: 'compare and list; change nothing' },
    json: { type: 'boolean', describe: 'data on stdout as JSON, logs on stderr' },
  } as const
  const asked = async (args: Readonly<Record<string, unknown>> & Shared, request: StatisticsRequest) => {
    const { askStatistics } = await import('./commands/statistics.js')
    const options = { flags: flagsOf(args), dryRun: args['dry-run'] === true, json: args.json === true }
    end(await askStatistics(host, request, options))
  }
  return parser.command('statistics', 'recalculate rollups; triggers of mode exact', (command) =>
    command
      .command(
        'recalculate',
        'count a range of days anew, in slices, and report the differences',
        (one) =>
          one.options({
            from: { type: 'string', demandOption: true, requiresArg: true, describe: 'first day, such as 2026-01-01' },
            to: { type: 'string', demandOption: true, requiresArg: true, describe: 'last day, included' },
            ...shared,
          }),
        (args) => asked(args, { do: 'recalculate', from: args.from, to: args.to }),
      )
      .command(
        'triggers <what>',
        'install or remove the triggers that note changed days',
        (one) =>
          one.positional('what', { choices: ['install', 'remove'] as const, demandOption: true }).options(shared),
        (args) => asked(args, { do: args.what === 'install' ? 'install-triggers' : 'remove-triggers' }),
      )
      .demandCommand(1, 'statistics needs one of: recalculate, triggers')
      .strict(),
  )
}
