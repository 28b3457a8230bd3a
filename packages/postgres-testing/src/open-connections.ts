import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'

/** What our own connections call themselves, so that they are not taken for leaks. */
export const ownApplicationName = 'postgres-testing'

export interface OpenConnection {
  readonly pid: number
  readonly applicationName: string
  readonly state: string | null
  readonly query: string
}

/**
 * The client connections to the database of `url` that are open, besides ours. A connection closed by its client takes a moment to
 * vanish on the server, so the answer is awaited for up to `withinMs` (default: 2000): empty as soon as it is.
 */
export async function listOpenConnections(url: string, withinMs = 2_000): Promise<readonly OpenConnection[]> {
  const client = new pg.Client({ connectionString: url, application_name: ownApplicationName })
  await client.connect()
  try {
    const deadlineAt = performance.now() + withinMs
    for (;;) {
      const { rows } = await client.query<OpenConnection>(
        `select pid, application_name as "applicationName", state, query
         from pg_catalog.pg_stat_activity
         where datname = current_database() and backend_type = 'client backend' and application_name <> $1
         order by pid`,
        [ownApplicationName],
      )
      if (rows.length === 0 || performance.now() >= deadlineAt) return rows
      await sleep(20)
    }
  } finally {
    await client.end()
  }
}

/** Throws when a client connection to the database of `url` stays open, naming each by its application and last statement. */
export async function leakCheck(url: string, withinMs?: number): Promise<void> {
  const open = await listOpenConnections(url, withinMs)
  if (open.length === 0) return
  const lines = open.map(
    ({ pid, applicationName, state, query }) =>
      `  pid ${pid} '${applicationName}' ${state ?? 'unknown'}: ${query.slice(0, 200)}`,
  )
  throw new Error(`${open.length} connection(s) left open:\n${lines.join('\n')}`)
}
