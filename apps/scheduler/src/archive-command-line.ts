/** `archive list|verify|restore|adopt`, as yargs knows them. */
import { duration, SchedulerError } from '@battlescope/scheduler-core'
import type { Argv } from 'yargs'
import { selectionOf } from './commands/archive/selection.js'
import type { Host } from './host.js'

type Flags = Readonly<Record<string, string>>

const json = { json: { type: 'boolean', describe: 'data on stdout as JSON, logs on stderr' } } as const
const selected = {
  from: { type: 'string', requiresArg: true, describe: 'first month, such as 2020-01 (UTC)' },
  to: { type: 'string', requiresArg: true, describe: 'last month, included' },
  relation: { type: 'string', array: true, requiresArg: true, describe: 'only this relation; may be repeated' },
} as const
const manifestsOnly = {
  'manifests-only': { type: 'boolean', describe: 'use no catalog and no database, only what the store itself says' },
} as const

export function archiveCommandLine(
  parser: Argv,
  host: Host,
  end: (exitCode: number) => void,
  flagsOf: (args: { readonly [name: string]: unknown }) => Flags,
): Argv {
  return parser
    .command(
      'list',
      'what is in cold storage, by relation and month',
      (command) =>
        command.options({
          ...selected,
          objects: { type: 'boolean', describe: 'one line per object that is only there, as DuckDB reads it' },
          ...manifestsOnly,
          ...json,
        }),
      async (args) => {
        const { list } = await import('./commands/archive/list.js')
        end(
          await list(host, {
            ...common(args, flagsOf),
            selection: selectionOf(given(args)),
            objects: args.objects === true,
          }),
        )
      },
    )
    .command(
      'verify',
      'read it again, and hold it against catalog and manifests; 80 when something is wrong',
      (command) =>
        command
          .options({
            ...selected,
            quick: { type: 'boolean', describe: 'only whether objects are there, and their size' },
            deep: { type: 'boolean', describe: 'decode every value, beside hashing the bytes' },
            ...manifestsOnly,
            ...json,
          })
          .conflicts('quick', 'deep'),
      async (args) => {
        const { verify } = await import('./commands/archive/verify.js')
        const depth = args.quick === true ? 'quick' : args.deep === true ? 'deep' : 'hash'
        end(await verify(host, { ...common(args, flagsOf), selection: selectionOf(given(args)), depth }))
      },
    )
    .command(
      'restore',
      'bring rows back into the database',
      (command) =>
        command.options({
          ...selected,
          from: { ...selected.from, demandOption: true },
          to: { ...selected.to, demandOption: true },
          hold: { type: 'string', requiresArg: true, describe: 'how long they stay at least, such as 30d' },
          'ignore-dropped-columns': { type: 'boolean', describe: 'leave out columns that are gone from the table' },
          'dry-run': { type: 'boolean', describe: 'change nothing; list the actions' },
          ...json,
        }),
      async (args) => {
        const { restore } = await import('./commands/archive/restore.js')
        end(
          await restore(host, {
            ...common(args, flagsOf),
            selection: { ...selectionOf(given(args)), fromMonth: args.from, toMonth: args.to },
            ...(args.hold === undefined ? {} : { holdMs: holdOf(args.hold) }),
            dryRun: args['dry-run'] === true,
            ignoreDroppedColumns: args['ignore-dropped-columns'] === true,
          }),
        )
      },
    )
    .command(
      'adopt',
      'show whose the prefix in the store is, and with --yes make it ours',
      (command) =>
        command.options({
          yes: { type: 'boolean', describe: 'take it over, and build the catalog from the manifests' },
          ...json,
        }),
      async (args) => {
        const { adopt } = await import('./commands/archive/adopt.js')
        end(await adopt(host, { ...common(args, flagsOf), yes: args.yes === true }))
      },
    )
    .demandCommand(1, 1, 'archive: which one? list, verify, restore or adopt')
}

interface Given {
  readonly from?: string | undefined
  readonly to?: string | undefined
  readonly relation?: readonly string[] | undefined
}

function given({ from, to, relation }: Given) {
  return {
    ...(from === undefined ? {} : { from }),
    ...(to === undefined ? {} : { to }),
    ...(relation === undefined ? {} : { relation }),
  }
}

function common(
  args: { readonly json?: boolean | undefined; readonly 'manifests-only'?: boolean | undefined },
  flagsOf: (args: { readonly [name: string]: unknown }) => Flags,
) {
  return { flags: flagsOf({ ...args }), json: args.json === true, manifestsOnly: args['manifests-only'] === true }
}

function holdOf(text: string): number {
  const parsed = duration().safeParse(text)
  if (parsed.success) return parsed.data
  throw new SchedulerError('usage', `--hold: '${text}' is no duration`, {
    hint: 'write a number with a unit: 12h, 30d; without --hold it is the option retention.holdAfterRestore',
  })
}
