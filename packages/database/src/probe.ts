/** What kind of server this is, and whether a pooler stands before it. The only file here that reads the process's own clock. */
import type { PgConnection } from './pg-connection.js'

export interface ServerFacts {
  /** `server_version_num`, for example 150018. */
  readonly versionNum: number
  readonly version: string
  /** A standby: it cannot be written to. */
  readonly inRecovery: boolean
  /** No pooler in between: the process id of the connection is the server's own. */
  readonly direct: boolean
  readonly backendPid: number
  /** Database time. */
  readonly now: Date
  /** Milliseconds by which the database's clock is ahead of ours; half of the round trip is taken off. */
  readonly clockSkewMs: number
  readonly currentUser: string
  readonly superuser: boolean
  readonly database: string
  /** Where the connection string leads. */
  readonly host: string
  readonly port: number
  readonly encrypted: boolean
}

interface ProbeRow {
  readonly versionNum: number
  readonly version: string
  readonly inRecovery: boolean
  readonly backendPid: number
  readonly now: Date
  readonly currentUser: string
  readonly superuser: boolean
  readonly database: string
}

const probeStatement = `select
  pg_catalog.current_setting('server_version_num')::pg_catalog.int4 as "versionNum",
  pg_catalog.current_setting('server_version') as "version",
  pg_catalog.pg_is_in_recovery() as "inRecovery",
  pg_catalog.pg_backend_pid() as "backendPid",
  pg_catalog.clock_timestamp() as "now",
  current_user::pg_catalog.text as "currentUser",
  pg_catalog.current_setting('is_superuser')::pg_catalog.bool as "superuser",
  pg_catalog.current_database()::pg_catalog.text as "database"`

/** One round trip. */
export async function probeConnection(
  connection: PgConnection,
  target: { readonly host: string; readonly port: number },
  timeoutMs: number,
): Promise<ServerFacts> {
  const sentAtMs = Date.now()
  const { rows } = await connection.run<ProbeRow>({ text: probeStatement }, { timeoutMs })
  const receivedAtMs = Date.now()
  const row = rows[0]
  if (row === undefined) throw new Error('the probe returned no row')
  return {
    ...row,
    direct: row.backendPid === connection.processId,
    clockSkewMs: Math.round(row.now.getTime() - (sentAtMs + receivedAtMs) / 2),
    host: target.host,
    port: target.port,
    encrypted: connection.encrypted,
  }
}
