/** Makes connections to one target: TLS as the target says, within its time limit, every failure with a code. */
import type { Socket } from 'node:net'
import pg from 'pg'
import type { ConnectionTarget } from './connection-string.js'
import { makeConnectError } from './connection-problem.js'
import type { StatementReport } from './contract.js'
import { codeOf, DatabaseError } from './database-error.js'
import { PgConnection } from './pg-connection.js'
import { planTlsAttempts, type TlsAttempt } from './tls.js'

export interface ConnectorOptions {
  readonly target: ConnectionTarget
  readonly applicationName: string
  /** Milliseconds for everything until the first statement can be sent. */
  readonly connectTimeoutMs: number
  readonly onStatement?: ((report: StatementReport) => void) | undefined
}

export interface Connector {
  /** @throws DatabaseError with the SQLSTATE, the errno name or our own code; the signal's reason when aborted */
  connect(options?: {
    readonly signal?: AbortSignal | undefined
    readonly applicationName?: string
  }): Promise<PgConnection>
}

interface ClientInternals {
  readonly connection: { readonly stream: Socket & { encrypted?: boolean } }
  readonly connectionParameters: { options: string | undefined }
}

/** Codes after which another attempt without TLS would meet the same fate. */
const sameWithoutTls =
  /^(ECONNREFUSED|EHOSTUNREACH|ENETUNREACH|EHOSTDOWN|ENOTFOUND|EAI_AGAIN|ETIMEDOUT|connect-timeout|password-missing)$/

export function createConnector(options: ConnectorOptions): Connector {
  const { target } = options
  const where = target.host.startsWith('/') ? `${target.host}/.s.PGSQL.${target.port}` : `${target.host}:${target.port}`
  let attempts: readonly TlsAttempt[] | undefined
  return {
    async connect({ signal, applicationName = options.applicationName } = {}) {
      attempts ??= await planTlsAttempts(target)
      const deadlineAt = performance.now() + options.connectTimeoutMs
      for (const [index, tls] of attempts.entries()) {
        signal?.throwIfAborted()
        try {
          const client = await connectOnce(options, applicationName, tls, deadlineAt - performance.now(), signal)
          // What worked once is tried first from now on.
          if (index > 0) attempts = attempts.slice(index)
          return new PgConnection(client, tls === false ? undefined : tls, options.onStatement)
        } catch (error) {
          signal?.throwIfAborted()
          const code = codeOf(error) ?? ''
          // As libpq does for `prefer`: a server without TLS, a failed handshake, or an entry of pg_hba.conf for plain connections only.
          const worthAnother = !sameWithoutTls.test(code) && (!/^[0-9][0-9A-Z]{4}$/.test(code) || code === '28000')
          if (index === attempts.length - 1 || !worthAnother) throw makeConnectError(error, where)
        }
      }
      throw new DatabaseError('connection-lost', `cannot connect to ${where}`)
    },
  }
}

async function connectOnce(
  { target }: ConnectorOptions,
  applicationName: string,
  tls: TlsAttempt,
  timeoutMs: number,
  signal: AbortSignal | undefined,
): Promise<pg.Client> {
  const client = new pg.Client({
    host: target.host,
    port: target.port,
    user: target.user,
    // A function instead of nothing: `pg` would look into the environment and ~/.pgpass.
    password: () => target.password ?? '',
    database: target.database,
    application_name: applicationName,
    // `pg` hides the key in the object it is given, so it gets one of its own.
    ssl: tls === false ? false : { ...tls },
    keepAlive: true,
    ...{ sslnegotiation: 'postgres' },
  })
  const { connection, connectionParameters } = client as unknown as ClientInternals
  // `pg` takes these from the environment; as startup parameters poolers refuse them.
  connectionParameters.options = undefined
  const onError = (): void => undefined
  client.on('error', onError)
  const onAbort = (): void =>
    void connection.stream.destroy(new DatabaseError('connection-lost', 'aborted while connecting'))
  signal?.addEventListener('abort', onAbort, { once: true })
  const timer = setTimeout(
    () => connection.stream.destroy(new DatabaseError('connect-timeout', 'the time to connect is over')),
    Math.max(0, timeoutMs),
  )
  try {
    await client.connect()
    return client
  } catch (error) {
    const encrypted = connection.stream.encrypted === true
    connection.stream.destroy()
    if (codeOf(error) !== undefined) throw error
    // `pg` has no codes for these; what it was doing tells them apart.
    if (tls !== false && !encrypted)
      throw new DatabaseError('tls-refused', 'the server does not offer TLS', { cause: error })
    if (target.password === undefined)
      throw new DatabaseError('password-missing', 'no password was given', { cause: error })
    throw error
  } finally {
    clearTimeout(timer)
    signal?.removeEventListener('abort', onAbort)
  }
}
