/** Opens the database and refuses servers that the scheduler cannot keep. */
import {
  connectionProblem,
  openConnections,
  type ConnectionsOptions,
  type DatabaseConnections,
  type ServerFacts,
} from '@battlescope/database'
import { codeOf, SchedulerError } from '@battlescope/scheduler-core'
import type { ProgramOptions } from './configuration/program-options.js'
import { selectStateGrants, stateDenial } from './state-grants.js'

/** PostgreSQL 15, as `server_version_num`. */
const oldestVersionNum = 150_000

/** What `pg_stat_activity` shows. */
export const applicationName = 'battlescope-scheduler'

export interface Connected {
  readonly connections: DatabaseConnections
  readonly facts: ServerFacts
}

export interface ConnectOptions extends Pick<ConnectionsOptions, 'onStatement'> {
  /** Connecting lasts until it aborts. */
  readonly signal?: AbortSignal
}

/** Nothing connects yet. */
export function open(
  { databaseUrl, databaseDirectUrl, maxConnections }: ProgramOptions,
  { onStatement }: Pick<ConnectOptions, 'onStatement'> = {},
): DatabaseConnections {
  // The config stage has seen to it, for every command that connects.
  if (databaseUrl === undefined) throw new Error('DATABASE_URL is not set')
  return openConnections({
    url: databaseUrl,
    ...(databaseDirectUrl === undefined ? {} : { directUrl: databaseDirectUrl }),
    applicationName,
    maxConnections,
    ...(onStatement === undefined ? {} : { onStatement }),
  })
}

/**
 * Connects, works and closes. An error of `work` that comes from missing grants on the scheduler's own tables is told as that.
 * @throws SchedulerError `database-unavailable`, `database-standby`, `database-too-old`, `database-permission`, and whatever `work` throws
 */
export async function withDatabase<T>(
  program: ProgramOptions,
  work: (connected: Connected) => Promise<T>,
  options: ConnectOptions = {},
): Promise<T> {
  const connected = await connect(program, options)
  try {
    return await work(connected)
  } catch (error) {
    throw (await explainDenied(error, connected, program.schema)) ?? error
  } finally {
    await connected.connections.close()
  }
}

async function connect(program: ProgramOptions, options: ConnectOptions): Promise<Connected> {
  const connections = open(program, options)
  const { signal } = options
  try {
    const facts = await connections.probe(signal === undefined ? {} : { signal })
    refuseUnfit(facts)
    return { connections, facts }
  } catch (error) {
    await connections.close()
    throw explain(error)
  }
}

/** insufficient_privilege does not name its relation in a form that programs can read, so the grants themselves are asked. */
async function explainDenied(
  error: unknown,
  { connections, facts }: Connected,
  schema: string,
): Promise<SchedulerError | undefined> {
  if (error instanceof SchedulerError || codeOf(error) !== '42501') return undefined
  try {
    const denied = stateDenial(await selectStateGrants(connections, schema), schema, facts.currentUser)
    if (denied === undefined) return undefined
    const hint = `as the owner of the schema, or a superuser: ${denied.mend}`
    return new SchedulerError('database-permission', `${facts.currentUser} ${denied.detail}`, { hint, cause: error })
  } catch {
    // What was wrong first is what must be told.
    return undefined
  }
}

/** Pure, so that a server that nobody has can be tested. */
export function refuseUnfit(facts: Pick<ServerFacts, 'versionNum' | 'version' | 'inRecovery' | 'host' | 'port'>): void {
  if (facts.versionNum < oldestVersionNum) {
    throw new SchedulerError(
      'database-too-old',
      `the server at ${facts.host}:${facts.port} is PostgreSQL ${facts.version}`,
      {
        hint: 'the scheduler needs PostgreSQL 15 or newer',
      },
    )
  }
  if (facts.inRecovery) {
    throw new SchedulerError(
      'database-standby',
      `the server at ${facts.host}:${facts.port} is a standby: it is in recovery and cannot be written to`,
      {
        hint: 'point DATABASE_URL at the primary; after a failover the next run finds it',
      },
    )
  }
}

/** Errors of connecting, in our words; whatever else is left as it is. */
export function explain(error: unknown): unknown {
  if (error instanceof SchedulerError) return error
  const { kind, message, hint } = connectionProblem(error)
  if (kind === 'other') return error
  return new SchedulerError('database-unavailable', message, { hint, cause: error })
}
