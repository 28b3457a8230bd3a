/** Everything that the demo reads from the environment, and what the programs it starts find there. The only file here that touches `process.env`. */

/** Where the user was: relative paths on the command line start there. npm and pnpm change the folder, and say here from where. */
export const invocationFolder = (): string => process.env['INIT_CWD'] ?? process.cwd()

export const colourWanted = (): boolean =>
  process.stdout.isTTY && (process.env['NO_COLOR'] ?? '') === '' && process.env['TERM'] !== 'dumb'

/** For the process that keeps the server: the embedded PostgreSQL, wherever Docker answers or not. */
export const keeperEnvironment = (): NodeJS.ProcessEnv => ({ ...process.env, TEST_POSTGRES: 'embedded' })

/** What cron leaves of an environment, and what a terminal needs. */
const kept = ['PATH', 'HOME', 'LANG', 'TERM', 'COLORTERM', 'NO_COLOR', 'FORCE_COLOR', 'TMPDIR', 'SYSTEMROOT']

/** For the scheduler: nothing of the user's own configuration, so that the demo shows the same everywhere. */
export const schedulerEnvironment = (options: Readonly<Record<string, string>>): NodeJS.ProcessEnv => ({
  ...Object.fromEntries(kept.flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name]]]))),
  ...options,
})
