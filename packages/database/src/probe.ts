/** What kind of server this is, and whether a pooler stands before it. The only file here that reads the process's own clock. */
import type { ServerFacts } from './contract.js'
import type { PgConnection } from './pg-connection.js'

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
