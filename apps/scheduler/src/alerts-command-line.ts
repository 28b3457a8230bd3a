/** `alerts mute|unmute|test`, as yargs knows them. */
import type { Argv } from 'yargs'
import type { Host } from './host.js'

/** Adds the command to the command line. `flagsOf` reads the options that every command has, `untilOf` an instant or a duration. */
export function alertsCommandLine(
  parser: Argv,
  host: Host,
  end: (exitCode: number) => void,
  readers: {
    readonly flagsOf: (args: Readonly<Record<string, unknown>>) => Readonly<Record<string, string>>
    readonly untilOf: (text: string | undefined) => Date | number | undefined
  },
): Argv {
  const pattern = {
    type: 'string',
    demandOption: true,
    describe: "of alert names as status shows them; '*' for anything",
  } as const
  return parser.command('alerts', 'mute alerts, or try the channels', (command) =>
    command
      .command(
        'mute <pattern>',
        'tell nobody of alerts until a date; they are kept and shown',
        (one) =>
          one.positional('pattern', pattern).options({
            until: {
              type: 'string',
              demandOption: true,
              requiresArg: true,
              describe: 'an instant (2026-12-01T06:00Z) or a duration (3d)',
            },
            reason: { type: 'string', requiresArg: true, describe: 'shown by status' },
          }),
        async (args) => {
          const { mute } = await import('./commands/alerts.js')
          const until = readers.untilOf(args.until)
          if (until !== undefined) end(await mute(host, readers.flagsOf(args), args.pattern, until, args.reason))
        },
      )
      .command(
        'unmute <pattern>',
        'end a mute, by the pattern that it was made with',
        (one) => one.positional('pattern', pattern),
        async (args) => {
          end(await (await import('./commands/alerts.js')).unmute(host, readers.flagsOf(args), args.pattern))
        },
      )
      .command(
        'test',
        'send an alert to every channel, and resolve it',
        (one) =>
          one.options({
            channel: { type: 'string', requiresArg: true, describe: 'only this channel' },
            json: { type: 'boolean', describe: 'data on stdout as JSON, logs on stderr' },
          }),
        async (args) => {
          const { test } = await import('./commands/alerts.js')
          end(await test(host, readers.flagsOf(args), { channel: args.channel, json: args.json === true }))
        },
      )
      .demandCommand(1, 'alerts needs one of: mute, unmute, test')
      .strict(),
  )
}
