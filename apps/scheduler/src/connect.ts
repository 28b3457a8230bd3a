/** Opens the database and refuses servers that the scheduler cannot keep. */
import {
  connectionProblem,
  ConnectionStringError,
  openConnections,
  type DatabaseConnections,
  type ServerFacts,
} from '@battlescope/database'
import { ConfigurationError, SchedulerError } from '@battlescope/scheduler-core'
import type { ProgramOptions } from './configuration/program-options.js'

/** PostgreSQL 15, as `server_version_num`. */
const oldestVersionNum = 150_000

export interface Connected {
  readonly connections: DatabaseConnections
  readonly facts: ServerFacts
}

/** Nothing connects yet. @throws ConfigurationError when a connection string is missing or cannot be read. */
export function open(program: ProgramOptions): DatabaseConnections {
  const { databaseUrl, databaseDirectUrl, maxConnections } = program
  if (databaseUrl === undefined) {
    throw new ConfigurationError([
      {
        path: 'DATABASE_URL',
        expected: 'a PostgreSQL connection string',
        hint: 'set DATABASE_URL=postgres://user:password@host:5432/database, or DATABASE_URL_FILE to a file that holds it',
      },
    ])
  }
  for (const [path, url] of [
    ['DATABASE_URL', databaseUrl],
    ['DATABASE_DIRECT_URL', databaseDirectUrl],
  ] as const) {
    if (url === undefined) continue
    try {
      openConnections({ url, applicationName: 'battlescope-scheduler' })
    } catch (error) {
      if (!(error instanceof ConnectionStringError)) throw error
      throw new ConfigurationError([
        {
          path,
          expected: 'a PostgreSQL connection string',
          hint: `${error.message}${error.hint === undefined ? '' : `; ${error.hint}`}`,
        },
      ])
    }
  }
  return openConnections({
    url: databaseUrl,
    ...(databaseDirectUrl === undefined ? {} : { directUrl: databaseDirectUrl }),
    applicationName: 'battlescope-scheduler',
    maxConnections,
  })
}

/** @throws SchedulerError `database-unavailable`, `database-standby`, `database-too-old` */
export async function connect(program: ProgramOptions): Promise<Connected> {
  const connections = open(program)
  try {
    const facts = await connections.probe()
    refuseUnfit(facts)
    return { connections, facts }
  } catch (error) {
    await connections.close()
    throw explain(error)
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
