/** `backup list|verify|restore`, as yargs knows them. */
import { SchedulerError } from '@battlescope/scheduler-core'
import type { Argv } from 'yargs'
import type { Host } from './host.js'

const json = { json: { type: 'boolean', describe: 'data on stdout as JSON, logs on stderr' } } as const
const named = {
  type: 'string',
  describe: 'name of the backup as `backup list` prints it, or the end of its object; without it the newest good one',
} as const

export function backupCommandLine(
  parser: Argv,
  host: Host,
  end: (exitCode: number) => void,
  flagsOf: (args: Readonly<Record<string, unknown>>) => Readonly<Record<string, string>>,
): Argv {
  return parser.command('backup', 'dumps in cold storage: list, verify, restore', (command) =>
    command
      .command(
        'list',
        'what the store has, newest first; needs no database',
        (one) =>
          one.options({
            history: { type: 'boolean', describe: 'instead, every attempt of every driver, from the database' },
            ...json,
          }),
        async (args) => {
          const { list } = await import('./commands/backup/list.js')
          end(await list(host, { flags: flagsOf(args), json: args.json === true, history: args.history === true }))
        },
      )
      .command(
        'verify [name]',
        'read dumps back and compare them; 80 when something is wrong or there are none; needs no database',
        (one) =>
          one
            .positional('name', { ...named, describe: 'name of a backup; without it all of them' })
            .options({ deep: { type: 'boolean', describe: 'unpack every row, beside hashing the bytes' }, ...json }),
        async (args) => {
          const { verify } = await import('./commands/backup/verify.js')
          const options = { flags: flagsOf(args), json: args.json === true, deep: args.deep === true }
          end(await verify(host, { ...options, ...(args.name === undefined ? {} : { name: args.name }) }))
        },
      )
      .command(
        'restore [name]',
        'bring a dump into a database, in one transaction',
        (one) =>
          one
            .positional('name', named)
            .options({
              to: { type: 'string', requiresArg: true, describe: 'connection string of the target' },
              'to-file': {
                type: 'string',
                requiresArg: true,
                describe: 'a file that holds it: no password on the command line',
              },
              'into-non-empty': { type: 'boolean', describe: 'although the target has relations already' },
              'into-source': { type: 'boolean', describe: 'although the target is the database that the dump is of' },
              'no-owner': {
                type: 'boolean',
                describe: 'all of it becomes the property of the user of the connection; no grants',
              },
              'dry-run': { type: 'boolean', describe: 'check dump and target; restore nothing' },
              ...json,
            })
            .conflicts('to', 'to-file'),
        async (args) => {
          const target = args.to ?? args['to-file']
          if (target === undefined) {
            throw new SchedulerError('usage', 'backup restore needs a target', {
              hint: '--to postgresql://user@host/empty_database, or --to-file with a file that holds it',
            })
          }
          const { restore } = await import('./commands/backup/restore.js')
          end(
            await restore(host, {
              flags: flagsOf(args),
              json: args.json === true,
              ...(args.name === undefined ? {} : { name: args.name }),
              target: args.to === undefined ? { file: target } : { url: target },
              intoNonEmpty: args['into-non-empty'] === true,
              intoSource: args['into-source'] === true,
              noOwner: args['no-owner'] === true,
              dryRun: args['dry-run'] === true,
            }),
          )
        },
      )
      .demandCommand(1, 'backup needs one of: list, verify, restore')
      .strict(),
  )
}
