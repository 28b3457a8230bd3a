/** The command line, as yargs knows it. Loaded only when there is one. */
import { didYouMean, duration, SchedulerError, severities } from '@battlescope/scheduler-core'
import yargs, { type Argv } from 'yargs'
import { alertsCommandLine } from './alerts-command-line.js'
import { archiveCommandLine } from './archive-command-line.js'
import { backupCommandLine } from './backup-command-line.js'
import type { Host } from './host.js'
import { statisticsCommandLine } from './statistics-command-line.js'
import { version } from './version.js'

const commandNames = [
  'run',
  'plan',
  'tasks',
  'status',
  'history',
  'metrics',
  'config',
  'doctor',
  'migrate',
  'pause',
  'resume',
  'release',
  'archive',
  'statistics',
  'backup',
  'report',
  'alerts',
]

/** @throws SchedulerError `usage` */
export async function runCommandLine(host: Host, argv: readonly string[]): Promise<number> {
  let exitCode = 0
  const end = (code: number) => {
    exitCode = code
  }
  const parser = commandLine(host, end)
    .exitProcess(false)
    .fail((message: string | null, error: Error | undefined) => {
      if (error !== undefined) throw error
      throw new SchedulerError('usage', message ?? 'the command line is wrong', { hint: hintFor(message ?? '', argv) })
    })
  await parser.parseAsync([...argv])
  return exitCode
}

function hintFor(message: string, argv: readonly string[]): string {
  const unknown = /Unknown (?:argument|command)s?: ([^,]+)/.exec(message)?.[1]
  const near =
    unknown === undefined
      ? undefined
      : didYouMean(unknown, [
          ...commandNames,
          'task',
          'force',
          'dry-run',
          'budget',
          'grace',
          'fail-on',
          'json',
          'since',
          'actions',
          'limit',
          'from',
          'to',
          'until',
          'reason',
          'config',
          'out',
          'channel',
        ])
  return (
    near ??
    `battlescope-scheduler ${commandNames.includes(argv[0] ?? '') ? `${argv[0] ?? ''} ` : ''}--help shows what there is`
  )
}

/** Exported for the generated documentation. */
export function commandLine(host: Host, end: (exitCode: number) => void): Argv {
  const json = { json: { type: 'boolean', describe: 'data on stdout as JSON, logs on stderr' } } as const
  const selection = {
    task: { type: 'string', array: true, requiresArg: true, describe: 'only this enabled task; may be repeated' },
    force: { type: 'boolean', describe: 'ignore schedule, window and back-off (never pause or claim)' },
    ...json,
  } as const
  const limits = {
    budget: { type: 'string', requiresArg: true, describe: 'soft limit of this run, such as 30m' },
    grace: { type: 'string', requiresArg: true, describe: 'time to stop in' },
  } as const
  const failOn = {
    'fail-on': {
      choices: severities,
      requiresArg: true,
      describe: 'exit code 80 for findings of this severity or worse',
    },
  } as const
  const parser = yargs([])
    .scriptName('battlescope-scheduler')
    // --no-owner is an option of its own, not the opposite of one: nothing here is switched off by no-.
    .parserConfiguration({ 'boolean-negation': false })
    .usage(
      '$0 <command>\n\nKeeps a PostgreSQL database healthy: runs the upkeep tasks that are due, and exits. No command means run.',
    )
    .option('config', {
      type: 'string',
      requiresArg: true,
      describe: 'configuration file, YAML or JSON (SCHEDULER_CONFIG)',
      global: true,
    })
    .command(
      ['run', '$0'],
      'run what is due',
      (command) =>
        command.options({
          ...selection,
          'dry-run': { type: 'boolean', describe: 'claim, change and record nothing; list the actions' },
          ...limits,
          ...failOn,
        }),
      async (args) => {
        const { run } = await import('./commands/run.js')
        const { presentPlan } = await import('./commands/plan.js')
        const dry = args['dry-run'] === true
        end(
          await run(host, {
            ...selected(args),
            flags: flagsOf(args),
            ...(dry ? { dryRun: true } : {}),
            ...(dry && args.json !== true ? { present: presentPlan } : {}),
            ...(args['fail-on'] === undefined ? {} : { failOn: args['fail-on'] }),
          }),
        )
      },
    )
    .command(
      'plan',
      'what run would do now, and why; writes nothing',
      (command) => command.options({ ...selection, ...limits }),
      async (args) => {
        const { plan } = await import('./commands/plan.js')
        end(await plan(host, { ...selected(args), flags: flagsOf(args) }))
      },
    )
    .command(
      'tasks',
      'the installed tasks: schedule, options, what they touch',
      (command) => command.options(json),
      async (args) => {
        end(await (await import('./commands/inspect.js')).tasks(host, { ...jsonOf(args), flags: flagsOf(args) }))
      },
    )
    .command(
      'status',
      'each task: last outcome, next slot, claim, failures, findings; alerts; what is stuck',
      (command) => command.options(json),
      async (args) => {
        end(await (await import('./commands/inspect.js')).status(host, { ...jsonOf(args), flags: flagsOf(args) }))
      },
    )
    .command(
      'history',
      'past runs, newest first',
      (command) =>
        command.options({
          task: { type: 'string', requiresArg: true, describe: 'only this task' },
          since: { type: 'string', default: '7d', requiresArg: true, describe: 'how far back' },
          limit: { type: 'number', default: 1000, requiresArg: true, describe: 'rows at most' },
          actions: { type: 'boolean', describe: 'the audit trail of actions instead' },
          ...json,
        }),
      async (args) => {
        const { history } = await import('./commands/history.js')
        end(
          await history(host, {
            ...jsonOf(args),
            flags: flagsOf(args),
            sinceMs: durationOf('--since', args.since),
            limit: limitOf(args.limit),
            ...(args.task === undefined ? {} : { task: args.task }),
            ...(args.actions === undefined ? {} : { actions: args.actions }),
          }),
        )
      },
    )
    .command('metrics', 'totals and gauges as Prometheus text, for those without a collector', {}, async (args) => {
      end(await (await import('./commands/metrics.js')).metrics(host, flagsOf(args)))
    })
    .command(
      'config',
      'effective options with their source, secrets masked',
      (command) =>
        command
          .command('schema', 'JSON Schema of the configuration file', {}, async () => {
            end(await (await import('./commands/config.js')).configSchema(host))
          })
          .options(json),
      async (args) => {
        end(await (await import('./commands/config.js')).config(host, { ...jsonOf(args), flags: flagsOf(args) }))
      },
    )
    .command(
      'doctor',
      'can it work here: connection, grants, pooler, clock, schema',
      (command) => command.options(json),
      async (args) => {
        end(await (await import('./commands/doctor.js')).doctor(host, { ...jsonOf(args), flags: flagsOf(args) }))
      },
    )
    .command('migrate', "create or update the scheduler's own schema", {}, async (args) => {
      end(await (await import('./commands/change.js')).migrate(host, flagsOf(args)))
    })
    .command(
      'pause <name>',
      'stop a task from running',
      (command) =>
        command.positional('name', { type: 'string', demandOption: true }).options({
          until: { type: 'string', requiresArg: true, describe: 'an instant (2026-12-01T06:00Z) or a duration (3d)' },
          reason: { type: 'string', default: 'by hand', requiresArg: true, describe: 'shown by status' },
        }),
      async (args) => {
        const { pause } = await import('./commands/change.js')
        end(await pause(host, flagsOf(args), args.name, untilOf(args.until), args.reason))
      },
    )
    .command(
      'resume <name>',
      'let a paused task run again',
      (command) => command.positional('name', { type: 'string', demandOption: true }),
      async (args) => {
        end(await (await import('./commands/change.js')).resume(host, flagsOf(args), args.name))
      },
    )
    .command(
      'release <name>',
      'free a stuck claim',
      (command) => command.positional('name', { type: 'string', demandOption: true }),
      async (args) => {
        end(await (await import('./commands/change.js')).release(host, flagsOf(args), args.name))
      },
    )
  const withArchive = parser.command('archive', 'what lies in cold storage: list, verify, restore, adopt', (command) =>
    archiveCommandLine(command, host, end, flagsOf)
      .demandCommand(1, 'archive needs one of: list, verify, restore, adopt')
      .strict(),
  )
  const withStatistics = statisticsCommandLine(withArchive, host, end, flagsOf)
  const withBackup = backupCommandLine(withStatistics, host, end, flagsOf)
  return alertsCommandLine(withBackup, host, end, { flagsOf, untilOf })
    .command(
      'report',
      'a page to look at: one HTML file of what is on record',
      (command) =>
        command.options({
          out: { type: 'string', default: 'report.html', requiresArg: true, describe: 'where to; - is stdout' },
          since: { type: 'string', default: '30d', requiresArg: true, describe: 'how far back' },
        }),
      async (args) => {
        const { report } = await import('./commands/report.js')
        const sinceMs = durationOf('--since', args.since)
        end(await report(host, { flags: flagsOf(args), out: args.out, sinceMs }))
      },
    )
    .strict()
    .recommendCommands()
    .version(version)
    .help()
    .wrap(100)
}

interface CommonArguments {
  readonly [name: string]: unknown
  readonly config?: unknown
  readonly budget?: unknown
  readonly grace?: unknown
}

/** Flags are options by another way: they go through the same checks, and show up as source `flag`. */
function flagsOf(args: CommonArguments): Readonly<Record<string, string>> {
  const flags: Record<string, string> = {}
  for (const name of ['config', 'budget', 'grace'] as const) {
    const value = args[name]
    if (typeof value === 'string') flags[name] = value
  }
  return flags
}

function jsonOf(args: { readonly json?: boolean | undefined }): { readonly json?: boolean } {
  return args.json === undefined ? {} : { json: args.json }
}

function selected(args: {
  readonly task?: readonly string[] | undefined
  readonly force?: boolean | undefined
  readonly json?: boolean | undefined
}) {
  return {
    ...jsonOf(args),
    ...(args.task === undefined
      ? {}
      : { task: args.task.flatMap((name) => name.split(',')).map((name) => name.trim()) }),
    ...(args.force === undefined ? {} : { force: args.force }),
  }
}

function durationOf(flag: string, text: string): number {
  const parsed = duration().safeParse(text)
  if (parsed.success) return parsed.data
  throw new SchedulerError('usage', `${flag}: '${text}' is no duration`, {
    hint: 'write a number with a unit: 90m, 12h, 7d',
  })
}

function limitOf(rows: number): number {
  // One statement and one process of 64 MiB hold them.
  const most = 10_000
  if (Number.isInteger(rows) && rows >= 1 && rows <= most) return rows
  throw new SchedulerError('usage', `--limit: expected a whole number from 1 to ${most}`, {
    hint: 'with --since and --task less is asked for',
  })
}

/** An instant, or milliseconds from the database's now. */
function untilOf(text: string | undefined): Date | number | undefined {
  if (text === undefined) return undefined
  // A date without a timezone would mean the timezone of whoever types it.
  const instant = /^\d{4}-\d\d-\d\d(T[\d:.]+(Z|[+-]\d\d:?\d\d))?$/.test(text) ? new Date(text) : undefined
  if (instant !== undefined && !Number.isNaN(instant.getTime())) return instant
  const parsed = duration().safeParse(text)
  if (!parsed.success)
    throw new SchedulerError('usage', `--until: '${text}' is neither an instant nor a duration`, {
      hint: 'such as 2026-12-01T06:00Z, 2026-12-01 (UTC) or 3d',
    })
  return parsed.data
}
