import { ConnectionPool } from './connection-pool.js'
import { parseConnectionString, type ConnectionTarget } from './connection-string.js'
import type { ConnectionsOptions, DatabaseConnections, UnitOfWork } from './contract.js'
import { createConnector, type Connector } from './connector.js'
import { copyFrom, copyTo } from './copy-streams.js'
import { codeOf, DatabaseError } from './database-error.js'
import type { PgConnection } from './pg-connection.js'
import { probeConnection } from './probe.js'
import { assertInTransaction, assertRead } from './statement-guard.js'
import { createReader, createSession } from './unit-of-work-driver.js'
import { inTransaction, settingsOf } from './unit-of-work.js'

const defaultMaxConnections = 3
const defaultConnectTimeoutMs = 10_000
/** NAMEDATALEN - 1: the server cuts longer names. */
const applicationNameBytes = 63

/** @throws ConnectionStringError when `url` or `directUrl` cannot be read. Connects to nothing yet. */
export function openConnections(options: ConnectionsOptions): DatabaseConnections {
  const pooled = openTarget(options.url, options)
  const direct = options.directUrl === undefined ? pooled : openTarget(options.directUrl, options)
  const pool = new ConnectionPool(options.maxConnections ?? defaultMaxConnections, (signal) =>
    pooled.connector.connect({ signal }),
  )
  const sessions = new Set<PgConnection>()
  let closed = false
  let metPooler = false

  return {
    target: pooled.target,

    reader: (unit) => createReader(pool, unit),

    snapshot: (unit, read) =>
      pool.use(unit.signal, (connection) =>
        inTransaction(connection, 'read-only-repeatable-read', unit, async () => {
          const session = createSession({
            connection,
            unit,
            guard: assertRead,
            single: true,
            mayBeginTransactions: false,
          })
          try {
            return await read({
              db: session.db,
              copyTo: (statement) =>
                copyTo(connection, unit, statement, () => {
                  session.assertOpen()
                }),
            })
          } finally {
            session.end()
          }
        }),
      ),

    transaction: (unit, work) =>
      pool.use(unit.signal, (connection) => {
        const notices = connection.collectNotices()
        return inTransaction(connection, 'read-write', unit, async () => {
          const session = createSession({ connection, unit, guard: assertInTransaction, mayBeginTransactions: false })
          try {
            return await work({
              db: session.db,
              notices,
              async copyFrom(statement, source) {
                session.assertOpen()
                await copyFrom(connection, unit, statement, source)
              },
            })
          } finally {
            session.end()
          }
        })
      }),

    async direct(unit, work) {
      unit.signal?.throwIfAborted()
      if (closed) throw new DatabaseError('connections-closed', 'the connections were closed before')
      const connection = await direct.connector.connect({
        signal: unit.signal,
        applicationName: nameWithTicket(direct.applicationName, unit.ticket),
      })
      sessions.add(connection)
      const session = createSession({ connection, unit, guard: () => undefined, mayBeginTransactions: true })
      try {
        const backendPid = await prepareDirect(connection, unit, options.directUrl !== undefined)
        const result = await work({ db: session.db, notices: connection.collectNotices(), backendPid })
        unit.signal?.throwIfAborted()
        return result
      } finally {
        session.end()
        sessions.delete(connection)
        await connection.close()
      }
    },

    get hasDirect() {
      return options.directUrl !== undefined || !metPooler
    },

    async probe({ signal } = {}) {
      const facts = await pool.use(signal, (connection) =>
        probeConnection(connection, pooled.target, pooled.connectTimeoutMs),
      )
      metPooler = !facts.direct
      return facts
    },

    async close() {
      closed = true
      const reason = new DatabaseError('connections-closed', 'the connections were closed meanwhile')
      await Promise.all([pool.close(), ...[...sessions].map((connection) => connection.abandon(reason))])
    },
  }
}

interface OpenTarget {
  readonly target: ConnectionTarget
  readonly applicationName: string
  readonly connectTimeoutMs: number
  readonly connector: Connector
}

function openTarget(url: string, options: ConnectionsOptions): OpenTarget {
  const target = parseConnectionString(url)
  const applicationName = cutToBytes(target.applicationName ?? options.applicationName, applicationNameBytes)
  const connectTimeoutMs = target.connectTimeoutMs ?? options.connectTimeoutMs ?? defaultConnectTimeoutMs
  const connector = createConnector({ target, applicationName, connectTimeoutMs, onStatement: options.onStatement })
  return { target, applicationName, connectTimeoutMs, connector }
}

/** Long statements outlive a killed process, unless the server looks whether its client is still there. */
const connectionCheckInterval = "set client_connection_check_interval = '1s'"

/** Proves that the session is ours alone and sets its limits; resolves to the server's process id. */
async function prepareDirect(connection: PgConnection, unit: UnitOfWork, directUrlGiven: boolean): Promise<number> {
  const limits = { signal: unit.signal, timeoutMs: defaultConnectTimeoutMs }
  const { rows } = await connection.run<{ pid: number }>({ text: 'select pg_catalog.pg_backend_pid() as pid' }, limits)
  const pid = rows[0]?.pid ?? 0
  if (pid !== connection.processId) {
    throw new DatabaseError(
      'no-direct-connection',
      `${directUrlGiven ? 'DATABASE_DIRECT_URL' : 'DATABASE_URL'} leads through a pooler, and this work needs a session of its own`,
      { hint: 'set DATABASE_DIRECT_URL to a connection string that reaches PostgreSQL itself' },
    )
  }
  await connection.run({ text: settingsOf(unit, 'session').join('; ') }, limits)
  try {
    await connection.run({ text: connectionCheckInterval }, limits)
  } catch (error) {
    // The server's platform cannot look (22023). Then only statement_timeout ends what a killed process left behind.
    if (codeOf(error) !== '22023') throw error
  }
  return pid
}

/** The ticket stays whole, at the end, because a later run looks for it; the name before it gives way. */
function nameWithTicket(applicationName: string, ticket: string): string {
  const suffix = `:${ticket}`
  return cutToBytes(
    cutToBytes(applicationName, Math.max(0, applicationNameBytes - Buffer.byteLength(suffix))) + suffix,
    applicationNameBytes,
  )
}

function cutToBytes(text: string, bytes: number): string {
  let cut = text
  while (Buffer.byteLength(cut) > bytes) cut = cut.slice(0, -1)
  return cut
}
