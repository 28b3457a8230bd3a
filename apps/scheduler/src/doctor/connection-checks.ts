/** Where the connection strings lead, and whether that will do. */
import { connectionProblem, openConnections, type DatabaseConnections, type ServerFacts } from '@battlescope/database'
import { formatDuration, type RegisteredTask, type SchedulerError } from '@battlescope/scheduler-core'
import { sql, type Kysely } from 'kysely'
import type { ProgramOptions } from '../configuration/program-options.js'
import { applicationName, refuseUnfit } from '../connect.js'
import type { Check } from './check.js'

/** Milliseconds. Two clocks further apart make slots and logs contradict each other. */
const largestClockSkewMs = 60_000
const statementTimeoutMs = 10_000

export function connectionCheck(facts: ServerFacts): Check {
  const where = `${facts.currentUser} at ${facts.host}:${facts.port}/${facts.database}`
  return { check: 'connection', result: 'ok', detail: `${where}, ${facts.encrypted ? 'with TLS' : 'without TLS'}` }
}

export function serverCheck(facts: ServerFacts): Check {
  try {
    refuseUnfit(facts)
    return { check: 'server', result: 'ok', detail: `PostgreSQL ${facts.version}, primary` }
  } catch (error) {
    const { message, hint } = error as SchedulerError
    return { check: 'server', result: 'fail', detail: message, ...(hint === undefined ? {} : { mend: hint }) }
  }
}

export function clockCheck({ clockSkewMs }: ServerFacts): Check {
  const apart = formatDuration(Math.max(1, Math.abs(clockSkewMs)))
  if (Math.abs(clockSkewMs) < largestClockSkewMs)
    return { check: 'clock', result: 'ok', detail: `${apart} apart from the database` }
  return {
    check: 'clock',
    result: 'fail',
    detail: `${apart} apart from the database, whose time counts`,
    mend: 'synchronise the clocks (NTP): logs and slots contradict each other',
  }
}

/** Work that needs a session: over DATABASE_DIRECT_URL, or over DATABASE_URL when it is direct. */
export async function sessionChecks(
  program: ProgramOptions,
  connections: DatabaseConnections,
  facts: ServerFacts,
  tasks: readonly RegisteredTask[],
): Promise<readonly Check[]> {
  const whose = (direct: unknown) => tasks.filter(({ requires }) => requires.direct === direct).map(({ name }) => name)
  if (program.databaseDirectUrl === undefined) return [poolerCheck(facts, whose(true), whose('optional'))]
  const pooler = facts.direct ? 'DATABASE_URL reaches PostgreSQL itself' : 'DATABASE_URL goes through a pooler'
  return [
    { check: 'pooler', result: 'ok', detail: `${pooler}; work that needs a session uses DATABASE_DIRECT_URL` },
    await directCheck(program.databaseDirectUrl, connections, facts),
  ]
}

function poolerCheck(facts: ServerFacts, needing: readonly string[], using: readonly string[]): Check {
  const check = 'pooler'
  if (facts.direct) return { check, result: 'ok', detail: 'DATABASE_URL reaches PostgreSQL itself' }
  if (needing.length === 0) {
    const detail = 'DATABASE_URL goes through a pooler, which is fine for the enabled tasks'
    if (using.length === 0) return { check, result: 'ok', detail }
    return { check, result: 'ok', detail: `${detail}; with DATABASE_DIRECT_URL ${using.join(', ')} could do more` }
  }
  return {
    check,
    result: 'fail',
    detail: `DATABASE_URL goes through a pooler, and ${needing.join(', ')} need${needing.length === 1 ? 's' : ''} a session`,
    mend: 'set DATABASE_DIRECT_URL to a connection string that reaches PostgreSQL itself',
  }
}

/** Connects it: that it was set proves nothing. */
async function directCheck(url: string, connections: DatabaseConnections, pooled: ServerFacts): Promise<Check> {
  const check = 'direct connection'
  const fail = (detail: string, mend: string): Check => ({ check, result: 'fail', detail, mend })
  const direct = openConnections({ url, applicationName, maxConnections: 1 })
  try {
    const facts = await direct.probe()
    const where = `${facts.currentUser} at ${facts.host}:${facts.port}/${facts.database}`
    if (!facts.direct)
      return fail(
        `DATABASE_DIRECT_URL (${where}) goes through a pooler, too`,
        'set it to a connection string that reaches PostgreSQL itself',
      )
    const here = 'set it to the server and database of DATABASE_URL'
    if (facts.inRecovery) return fail(`DATABASE_DIRECT_URL (${where}) leads to a standby`, here)
    if ((await selectIdentity(direct)) !== (await selectIdentity(connections)))
      return fail(`DATABASE_DIRECT_URL (${where}) leads to another database than DATABASE_URL`, here)
    if (facts.currentUser !== pooled.currentUser) {
      return {
        check,
        result: 'warn',
        detail: `${where}: the same database as another role; the grants below are those of ${pooled.currentUser}`,
        mend: 'use one role in DATABASE_URL and DATABASE_DIRECT_URL',
      }
    }
    return { check, result: 'ok', detail: `${where}: PostgreSQL itself, the same database` }
  } catch (error) {
    const { kind, message, hint } = connectionProblem(error)
    if (kind === 'other') throw error
    return fail(`DATABASE_DIRECT_URL: ${message}`, hint)
  } finally {
    await direct.close()
  }
}

/** What two ways to one database have in common. A copy of the server's files has the same identifier; only its address tells it apart. */
async function selectIdentity(connections: DatabaseConnections): Promise<string> {
  const db = connections.reader({ statementTimeoutMs }) as Kysely<unknown>
  const { rows } = await sql<{ identity: string }>`
    SELECT pg_catalog.concat_ws('/', c.system_identifier, d.oid, d.datname) AS identity
    FROM pg_catalog.pg_control_system() c, pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()`.execute(
    db,
  )
  return rows[0]?.identity ?? ''
}
