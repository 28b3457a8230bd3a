/** The whole show: a server, a filled database, the parts one after another, and how to go on. */
import type { DemoArguments } from './arguments.js'
import { connect, createBattlescopeDatabase, setAutovacuum } from './database.js'
import { fillDatabase } from './fill.js'
import type { Output } from './output.js'
import { runScheduler, type SchedulerProgram } from './scheduler-program.js'
import { startServer } from './server.js'
import { SchedulerFailedError, type Part, type Stage } from './stage.js'

export interface DemoSurroundings {
  readonly program: SchedulerProgram
  /** The show, in order. */
  readonly parts: readonly Part[]
  readonly output: Output
  readonly signal: AbortSignal
  /** Where relative paths start. */
  readonly baseFolder: string
}

/**
 * Runs the demo. Everything it started is gone when it ends, whatever way; with `--keep`, the server stays when all went well.
 * @throws the signal's reason when it is aborted, SchedulerFailedError, and whatever PostgreSQL says
 */
export async function runDemo(options: DemoArguments, surroundings: DemoSurroundings): Promise<void> {
  const { program, parts, output, signal, baseFolder } = surroundings
  signal.throwIfAborted()
  const startedMs = performance.now()
  const server = startServer()
  let running: Promise<unknown> = Promise.resolve()
  // The scheduler first, so that it does not complain of a server that went away. Then whatever waits for the server fails, and we end.
  const stopEarly = (): void => void running.catch(() => undefined).then(() => server.stop())
  signal.addEventListener('abort', stopEarly, { once: true })
  try {
    output.heading('A BattleScope database')
    const { url, folder } = await server.ready
    const { url: databaseUrl, emptyUrl } = await createBattlescopeDatabase(url)
    const database = await connect(databaseUrl)
    output.text(`PostgreSQL ${await selectVersion(database)} on a free port, database and role 'battlescope'`)
    await setAutovacuum(database, false)
    output.text("autovacuum: off on BattleScope's tables until the end, for its own ANALYZE would steal the show")
    await fillDatabase(database, options, { baseFolder, output, signal })
    output.text('', "Below, '$' starts a command line as cron would have it, with this in its environment:", '')
    output.text(`  DATABASE_URL=${databaseUrl}`)

    const schedulerWith: Stage['schedulerWith'] = async (settings, ...args) => {
      const shown = Object.entries(settings).map(([name, value]) => `${name}=${quoted(value)}`)
      output.text('', `$ ${[...shown, program.shown, ...args].join(' ')}`)
      const run = runScheduler(program, args, { DATABASE_URL: databaseUrl, ...settings }, signal)
      running = run
      const code = await run
      output.text(`exit code ${code}`)
      if (code !== 0) throw new SchedulerFailedError(`battlescope-scheduler ${args.join(' ')}: exit code ${code}`)
    }
    const scheduler: Stage['scheduler'] = (...args) => schedulerWith({}, ...args)
    const seed = options.seed
    const stage: Stage = { output, database, emptyUrl, seed, signal, scheduler, schedulerWith, folder }
    for (const part of parts) {
      signal.throwIfAborted()
      output.heading(part.title)
      await part.run(stage)
    }

    await setAutovacuum(database, true)
    await database.end()
    if (options.keep) {
      await server.keep()
      output.heading(describeEnd(startedMs))
      output.text(...describeKept(databaseUrl, program.shown, server.keeperPid))
      return
    }
  } finally {
    signal.removeEventListener('abort', stopEarly)
    await server.stop()
  }
  output.heading(describeEnd(startedMs))
  output.text(...whatNext)
}

/** As a shell wants it. */
const quoted = (value: string): string =>
  /^[\w@%+=:,./-]+$/.test(value) ? value : `'${value.replaceAll("'", `'\\''`)}'`

const describeEnd = (startedMs: number): string =>
  `The end, after ${((performance.now() - startedMs) / 1000).toFixed(0)} s`

async function selectVersion(database: Stage['database']): Promise<string> {
  const { rows } = await database.query<{ version: string }>(`select current_setting('server_version') as version`)
  return rows[0]?.version ?? '?'
}

const whatNext: readonly string[] = [
  'PostgreSQL is stopped, and its files are removed. What to try next:',
  '',
  '  npm run demo -- --keep                    leave the database running, and look around in it',
  '  npm run demo -- --size 200000             more killmails',
  '  npm run demo -- --killmails FILE FOLDER   real ones, in ESI or zKillboard form',
  '  npm test                                  the tests, on a real PostgreSQL',
  '',
  'A database of your own: set DATABASE_URL and begin with `plan`, which changes nothing; README.md has the crontab line.',
]

const describeKept = (databaseUrl: string, program: string, keeperPid: number): readonly string[] => [
  'PostgreSQL is still running, with autovacuum as on any server:',
  '',
  `  ${databaseUrl}`,
  '',
  'Try on it:',
  '',
  `  export DATABASE_URL=${databaseUrl}`,
  `  ${program} doctor`,
  `  ${program} run --force`,
  `  ${program} history --actions`,
  '',
  'Stop it; this removes its files, too:',
  '',
  `  kill ${keeperPid}`,
]
