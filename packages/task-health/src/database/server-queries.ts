/** The server's settings, and its counters since it began to count. */
import { sql, type Kysely } from 'kysely'

export interface Counters {
  readonly atMs: number
  /** When the database's counters were reset last, as the server writes it: another value, and they cannot be compared. */
  readonly resetAt: string
  readonly blocksRead: number
  readonly blocksHit: number
  readonly deadlocks: number
  readonly temporaryBytes: number
  readonly checkpointsTimed: number
  readonly checkpointsRequested: number
  readonly checkpointsResetAt: string
  readonly blockBytes: number
}

interface CounterRow {
  readonly reset: string | null
  readonly read: string
  readonly hit: string
  readonly deadlocks: string
  readonly temporary: string
  readonly timed: string
  readonly requested: string
  readonly checkpoint_reset: string | null
  readonly block: number
}

/** Since 17 checkpoints are counted in a view of their own; the functions under both views differ as well. */
export async function selectCounters(db: Kysely<unknown>, now: Date): Promise<Counters> {
  const version = await sql<{ version: number }>`
    SELECT pg_catalog.current_setting('server_version_num')::int AS version`.execute(db)
  const checkpoints =
    (version.rows[0]?.version ?? 0) >= 170_000
      ? sql`SELECT c.num_timed AS timed, c.num_requested AS requested, c.stats_reset FROM pg_catalog.pg_stat_checkpointer c`
      : sql`SELECT b.checkpoints_timed AS timed, b.checkpoints_req AS requested, b.stats_reset FROM pg_catalog.pg_stat_bgwriter b`
  const { rows } = await sql<CounterRow>`
    SELECT d.stats_reset::text AS reset, d.blks_read AS read, d.blks_hit AS hit, d.deadlocks, d.temp_bytes AS temporary,
      c.timed, c.requested, c.stats_reset::text AS checkpoint_reset, pg_catalog.current_setting('block_size')::int AS block
    FROM pg_catalog.pg_stat_database d CROSS JOIN (${checkpoints}) c
    WHERE d.datname = pg_catalog.current_database()`.execute(db)
  const [row] = rows
  if (row === undefined) throw new Error('the server counts nothing for this database')
  return {
    atMs: now.getTime(),
    resetAt: row.reset ?? '',
    blocksRead: Number(row.read),
    blocksHit: Number(row.hit),
    deadlocks: Number(row.deadlocks),
    temporaryBytes: Number(row.temporary),
    checkpointsTimed: Number(row.timed),
    checkpointsRequested: Number(row.requested),
    checkpointsResetAt: row.checkpoint_reset ?? '',
    blockBytes: row.block,
  }
}

/**
 * What holds for a session that sets nothing itself: our own sets some for its transaction. Those that this version does not have are
 * left out.
 */
export async function selectSettings(
  db: Kysely<unknown>,
  names: readonly string[],
): Promise<ReadonlyMap<string, string>> {
  const { rows } = await sql<{ name: string; value: string | null }>`
    SELECT s.name, s.reset_val AS value FROM pg_catalog.pg_settings s WHERE s.name = ANY (${names}::text[])`.execute(db)
  return new Map(rows.map(({ name, value }) => [name, value ?? '']))
}

/** Of all databases that the role may connect to: they share the disk. A look at each file, and at no page. */
export async function selectClusterBytes(db: Kysely<unknown>): Promise<number> {
  const { rows } = await sql<{ bytes: string }>`
    SELECT sum(pg_catalog.pg_database_size(d.oid)) AS bytes FROM pg_catalog.pg_database d
    WHERE pg_catalog.has_database_privilege(d.oid, 'CONNECT') OR pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE')`.execute(
    db,
  )
  return Number(rows[0]?.bytes ?? 0)
}

/** Milliseconds since 1970, at the moment at which the server answers. */
export async function selectClock(db: Kysely<unknown>): Promise<number> {
  const { rows } = await sql<{ ms: number }>`
    SELECT extract(epoch FROM pg_catalog.clock_timestamp())::float8 * 1000 AS ms`.execute(db)
  const [row] = rows
  if (row === undefined) throw new Error('the server does not know the time')
  return row.ms
}
