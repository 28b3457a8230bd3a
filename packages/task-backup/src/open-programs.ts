/** The client of kind `program`: pg_dump and pg_restore on one database, and whatever a configuration names. */
import { once } from 'node:events'
import { access, constants } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import type { ConnectionTarget } from '@battlescope/database'
import { createScrubber } from '@battlescope/scheduler-core'
import { startChild, type Child, type ChildOptions } from './child.js'
import {
  ProgramError,
  type Command,
  type Exited,
  type ProgramOptions,
  type ProgramReader,
  type ProgramRunner,
} from './programs.js'

export interface OpenProgramsOptions {
  /** The database that is dumped: session-capable, not a pooler in transaction mode. */
  readonly target: ConnectionTarget
  /** Our own environment, of which children get next to nothing. */
  readonly environment: Readonly<Record<string, string | undefined>>
  readonly signal?: AbortSignal
}

/** What every program needs to be found and to know its language. */
const handedOn = ['PATH', 'HOME', 'TZ', 'TMPDIR'] as const
/** Messages of tools are kept and shown: in one language, whatever the machine's. */
const language = { LANG: 'C.UTF-8', LC_ALL: 'C.UTF-8' }
/** Variables that are handed on by name hold the keys of the backup's repository, and tools print their environment when they fail. */
const secretName = /pass|secret|token|key|cred|pwd/i
const shownCharacters = 400
const versionTimeoutMs = 10_000

/** libpq's variables: on a command line every user of the machine could read the password. */
function connectionEnvironment(target: ConnectionTarget): Record<string, string> {
  const { host, port, user, password, database, tls, connectTimeoutMs } = target
  const optional: Readonly<Record<string, string | undefined>> = {
    PGPASSWORD: password,
    PGSSLROOTCERT: tls.rootCertificate,
    PGSSLCERT: tls.certificate,
    PGSSLKEY: tls.key,
  }
  return {
    PGHOST: host,
    PGPORT: String(port),
    PGUSER: user,
    PGDATABASE: database,
    PGSSLMODE: tls.mode,
    PGCONNECT_TIMEOUT: String(Math.max(1, Math.ceil((connectTimeoutMs ?? 10_000) / 1000))),
    PGAPPNAME: 'battlescope-scheduler backup',
    ...Object.fromEntries(
      Object.entries(optional).filter((entry): entry is [string, string] => entry[1] !== undefined),
    ),
  }
}

export function openPrograms({ target, environment, signal }: OpenProgramsOptions): ProgramRunner {
  const base: Record<string, string> = { ...picked(environment, handedOn), ...language }
  const connection = connectionEnvironment(target)
  const scrubber = createScrubber()
  if (target.password !== undefined) scrubber.add([target.password])
  const scrub = (text: string) => scrubber.scrub(text)
  const start = (
    program: string,
    args: readonly string[],
    more: { readonly env?: Record<string, string>; readonly timeoutMs?: number } & ProgramOptions,
    keeps: readonly ('stdout' | 'stderr')[],
  ): Promise<Child> => {
    const options: ChildOptions = {
      program,
      args,
      env: { ...base, ...more.env },
      signal: anyOf(signal, more.signal),
      scrub,
      ...(more.timeoutMs === undefined ? {} : { timeoutMs: more.timeoutMs }),
    }
    return startChild(options, keeps)
  }
  return {
    async has(program) {
      const folders = program.includes('/') ? [''] : (base['PATH'] ?? '').split(delimiter)
      const found = await Promise.all(
        folders.map((folder) => isExecutable(folder === '' ? program : join(folder, program))),
      )
      return found.includes(true)
    },

    async version(program, options = {}) {
      const child = await start(program, ['--version'], { ...options, timeoutMs: versionTimeoutMs }, [
        'stdout',
        'stderr',
      ])
      child.process.stdin?.end()
      await mustSucceed(child, program, anyOf(signal, options.signal))
      return child.log().split('\n')[0] ?? ''
    },

    async *dump({ compressionLevel, ...options }) {
      // --no-password: nobody is there to be asked. The lock timeout: pg_dump would wait for an ACCESS EXCLUSIVE lock for ever.
      const args = ['--format=custom', `--compress=${compressionLevel}`, '--no-password', '--lock-wait-timeout=10000']
      const child = await start('pg_dump', args, { ...options, env: connection }, ['stderr'])
      child.process.stdin?.end()
      try {
        if (child.process.stdout !== null) for await (const chunk of child.process.stdout) yield chunk as Buffer
        await mustSucceed(child, 'pg_dump', anyOf(signal, options.signal))
      } finally {
        // Also when nobody wants more of it.
        child.stop()
        await child.ended
      }
    },

    async inspectDump(body, { deep = false, ...options } = {}) {
      const args = deep ? ['--file=/dev/null'] : ['--list']
      const child = await start('pg_restore', args, options, ['stderr', 'stdout'])
      try {
        await feed(child, body)
        await mustSucceed(child, 'pg_restore', anyOf(signal, options.signal))
        return child
          .log()
          .split('\n')
          .filter((line) => /^\d+; /.test(line)).length
      } finally {
        child.stop()
        await child.ended
      }
    },

    async restore(body, { noOwner = false, ...options } = {}) {
      const args = [
        // A name with an equals sign would be read as a connection string.
        `--dbname=dbname='${target.database.replace(/[\\']/g, '\\$&')}'`,
        '--no-password',
        '--exit-on-error',
        '--single-transaction',
        ...(noOwner ? ['--no-owner', '--no-privileges'] : []),
      ]
      const child = await start('pg_restore', args, { ...options, env: connection }, ['stderr', 'stdout'])
      try {
        await feed(child, body)
        await mustSucceed(child, 'pg_restore', anyOf(signal, options.signal))
      } finally {
        child.stop()
        await child.ended
      }
    },

    async run(command: Command): Promise<Exited> {
      const named = picked(environment, command.environment ?? [])
      scrubber.add(Object.entries(named).flatMap(([name, value]) => (secretName.test(name) ? [value] : [])))
      const env = {
        ...named,
        ...(command.withConnection === true ? connection : {}),
      }
      const child = await start(command.program, command.args, { ...command, env }, ['stdout', 'stderr'])
      child.process.stdin?.end()
      const ending = await child.ended
      anyOf(signal, command.signal)?.throwIfAborted()
      return { ...ending, log: child.log() }
    },
  }
}

/** Writes all of it into the child, at the child's pace. One that wants no more (a list is at the beginning) is left alone; the body is read to its end all the same. */
async function feed({ process: child }: Child, body: AsyncIterable<Uint8Array>): Promise<void> {
  const { stdin } = child
  if (stdin === null) return
  const closed = new Promise<void>((resolve) => stdin.once('close', resolve))
  for await (const chunk of body) {
    // What is handed on is used later than the body's own buffer may be.
    if (stdin.destroyed || stdin.write(Buffer.from(chunk))) continue
    await Promise.race([once(stdin, 'drain').catch(() => undefined), closed])
  }
  stdin.end()
}

/** @throws ProgramError when it did not; the signal's reason */
async function mustSucceed(child: Child, program: string, signal: AbortSignal | undefined): Promise<void> {
  const { exitCode, signal: endedBy, timedOut } = await child.ended
  signal?.throwIfAborted()
  if (exitCode === 0) return
  const how = timedOut
    ? 'took too long'
    : exitCode === undefined
      ? `was ended by ${endedBy ?? 'a signal'}`
      : `ended with ${exitCode}`
  const said = child.log().trim()
  throw new ProgramError(
    'program-failed',
    `${program} ${how}${said === '' ? '' : `: ${shortened(said)}`}`,
    hintFor(said),
  )
}

function hintFor(said: string): string | undefined {
  // The one message that everybody meets: Debian's client tools are older than the server.
  if (/server version mismatch|unsupported version \(/.test(said))
    return 'pg_dump must be as new as the server, and pg_restore as new as the pg_dump that wrote the file'
  return undefined
}

/** The end says what went wrong. */
function shortened(text: string): string {
  const line = text.replace(/\s+/g, ' ')
  return line.length <= shownCharacters ? line : `…${line.slice(-shownCharacters)}`
}

/** What a dry run gets: nothing of it changes anything. */
export function readingPrograms({ has, version, dump, inspectDump }: ProgramRunner): ProgramReader {
  return { has, version, dump, inspectDump }
}

async function isExecutable(path: string): Promise<boolean> {
  try {
    await access(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

function picked(
  environment: Readonly<Record<string, string | undefined>>,
  names: readonly string[],
): Record<string, string> {
  return Object.fromEntries(
    names.flatMap((name) => {
      const value = environment[name]
      return value === undefined ? [] : [[name, value] as const]
    }),
  )
}

function anyOf(...signals: readonly (AbortSignal | undefined)[]): AbortSignal | undefined {
  const given = signals.filter((signal) => signal !== undefined)
  return given.length > 1 ? AbortSignal.any(given) : given[0]
}
