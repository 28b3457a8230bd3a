/** Sessions: how many there are, which transactions are old, and who waits for whom. */
import { sql, type Kysely } from 'kysely'
import { queryShape } from './query-shape.js'

/** Sessions of each kind that are named, and waiting ones whose blockers are looked up: that takes the lock manager's own locks. */
const mostNamed = 5
const mostBlocked = 20

export interface Session {
  readonly pid: number
  readonly user: string
  readonly application: string
  readonly database: string
  readonly state: string
  /** Milliseconds since its transaction began, or since it has been idle in it, or has waited. */
  readonly forMs: number
  /** Its statement without values. */
  readonly query: string
}

export interface Sessions {
  /** Those that count against the limit. */
  readonly connections: number
  /** What `max_connections` leaves to roles that are no superuser. */
  readonly limit: number
  readonly byApplication: readonly { readonly application: string; readonly connections: number }[]
  readonly oldestTransactions: readonly Session[]
  readonly idleInTransaction: readonly Session[]
  readonly blocked: readonly (Session & { readonly blockers: readonly Session[] })[]
}

type SessionRow = Omit<Session, 'forMs' | 'query'> & { readonly for_ms: number; readonly query: string }
interface Row {
  readonly connections: number
  readonly most: number
  readonly applications: Sessions['byApplication'] | null
  readonly oldest: readonly SessionRow[] | null
  readonly idle: readonly SessionRow[] | null
  readonly blocked: readonly (SessionRow & { readonly blockers: readonly SessionRow[] | null })[] | null
}

const sessionFrom = ({ for_ms, query, ...row }: SessionRow): Session => ({
  ...row,
  forMs: Math.round(for_ms),
  query: queryShape(query),
})

/** As JSON; both arguments are written here, and nothing of them comes from outside. */
const sessionText = (alias: string, since: string, extra = '') =>
  `json_build_object('pid', ${alias}.pid, 'user', coalesce(${alias}.usename, ''),
    'application', coalesce(${alias}.application_name, ''), 'database', coalesce(${alias}.datname, ''),
    'state', coalesce(${alias}.state, ''), 'for_ms', coalesce(extract(epoch FROM clock_timestamp() - ${since}), 0)::float8 * 1000,
    'query', left(coalesce(${alias}.query, ''), 2000)${extra})`

/** Transactions that replicate, or vacuum by themselves, have checks of their own. */
export async function selectSessions(db: Kysely<unknown>, exceptApplications: readonly string[]): Promise<Sessions> {
  const session = (alias: string, since: string, extra = '') => sql.raw(sessionText(alias, since, extra))
  const { rows } = await sql<Row>`
    WITH client AS MATERIALIZED (
      SELECT a.* FROM pg_catalog.pg_stat_activity a
      WHERE a.backend_type = 'client backend' AND a.pid <> pg_catalog.pg_backend_pid()),
    waiting AS (
      SELECT c.*, l.waitstart FROM client c
      CROSS JOIN LATERAL (SELECT min(l.waitstart) AS waitstart FROM pg_catalog.pg_locks l WHERE l.pid = c.pid AND NOT l.granted) l
      WHERE c.wait_event_type = 'Lock' AND l.waitstart IS NOT NULL ORDER BY l.waitstart LIMIT ${mostBlocked})
    SELECT (SELECT count(*) + 1 FROM client)::int AS connections,
      (pg_catalog.current_setting('max_connections')::int - pg_catalog.current_setting('superuser_reserved_connections')::int
        - coalesce(pg_catalog.current_setting('reserved_connections', true), '0')::int) AS most,
      (SELECT json_agg(json_build_object('application', t.application, 'connections', t.connections)) FROM (
        SELECT coalesce(c.application_name, '') AS application, count(*)::int AS connections FROM client c
        GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT ${mostNamed}) t) AS applications,
      (SELECT json_agg(${session('t', 't.xact_start')}) FROM (
        SELECT c.* FROM client c WHERE c.xact_start IS NOT NULL AND c.state <> 'idle'
          AND c.application_name <> ALL (${exceptApplications}::text[])
        ORDER BY c.xact_start LIMIT ${mostNamed}) t) AS oldest,
      (SELECT json_agg(${session('t', 't.state_change')}) FROM (
        SELECT c.* FROM client c WHERE c.state LIKE 'idle in transaction%'
        ORDER BY c.state_change LIMIT ${mostNamed}) t) AS idle,
      (SELECT json_agg(${session(
        'w',
        'w.waitstart',
        `, 'blockers', (SELECT json_agg(${sessionText('b', 'b.xact_start')})
          FROM pg_catalog.pg_stat_activity b WHERE b.pid = ANY (pg_catalog.pg_blocking_pids(w.pid)))`,
      )}) FROM waiting w) AS blocked`.execute(db)
  const [row] = rows
  return {
    connections: row?.connections ?? 0,
    limit: row?.most ?? 0,
    byApplication: row?.applications ?? [],
    oldestTransactions: (row?.oldest ?? []).map(sessionFrom),
    idleInTransaction: (row?.idle ?? []).map(sessionFrom),
    blocked: (row?.blocked ?? []).map(({ blockers, ...waiting }) => ({
      ...sessionFrom(waiting),
      blockers: (blockers ?? []).map(sessionFrom),
    })),
  }
}
