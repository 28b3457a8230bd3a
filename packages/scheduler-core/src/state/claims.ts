/**
 * Who may run a task.
 *
 * It is decided by one row of `task`: whoever holds its `ticket`. The ticket is made by the client, so that a lost answer to COMMIT can be
 * resolved by looking. Every change of the row raises `revision`; a claim names the revision that its decision was based on, so a claim
 * whose grounds changed meanwhile fails instead of running a slot twice. Database time alone decides. How long a ticket is good stands in
 * `claim`, because it is renewed while transactions of the run lock the task's row FOR SHARE. A ticket that expired is freed by
 * {@link freeExpiredClaims}, which counts it as a failure in the same statement.
 */
import { sql, type Kysely, type RawBuilder } from 'kysely'
import { LostClaimError } from '../errors.js'
import { countedBuckets } from './histogram.js'
import type { StateDb, TableName } from './tables.js'

/** After the second failure in a row a task waits one cron period, then twice that, up to an hour. The first retry is immediate. */
const firstBackoffSeconds = 300
const longestBackoffSeconds = 3600

/** A third-party task whose claim expired this often in a row (a hang, an endless loop, out of memory) is paused. */
const expiriesUntilPause = 5

export interface ClaimRequest {
  readonly task: string
  readonly revision: string
  readonly ticket: string
  readonly runId: string
  readonly slotId: string
  readonly scheduledAt: Date
  readonly holder: string
  readonly usesDirect: boolean
  /** Milliseconds until the claim expires unless it is renewed. */
  readonly durationMs: number
}

/** Whose action or checkpoint it is. */
export interface ClaimIdentity {
  readonly runId: string
  readonly task: string
  readonly ticket: string
  readonly slotId: string
}

export interface FreedClaim {
  readonly task: string
  readonly ticket: string
  readonly holder: string
  readonly paused: boolean
}

export const retryAtAfterFailure = sql`CASE WHEN consecutive_failures + 1 < 2 THEN NULL ELSE now() + interval '1 second'
  * least(${longestBackoffSeconds}::int, ${firstBackoffSeconds}::int * power(2, least(consecutive_failures - 1, 10))) END`

/** Takes a task, if nothing about it has changed since the decision. @returns when it was claimed, or undefined. */
export async function claimTask(db: StateDb, table: TableName, request: ClaimRequest): Promise<Date | undefined> {
  const { rows } = await sql<{ claimed_at: Date }>`
    WITH over AS (
      DELETE FROM ${table('pause')} WHERE task = ${request.task} AND until <= now()
    ), claimed AS (
      UPDATE ${table('task')}
      SET ticket = ${request.ticket}, revision = revision + 1, last_claimed_at = now()
      WHERE name = (
        SELECT name FROM ${table('task')}
        WHERE name = ${request.task} AND revision = ${request.revision} AND ticket IS NULL
          AND NOT EXISTS (SELECT 1 FROM ${table('pause')} WHERE task = ${request.task} AND (until IS NULL OR until > now()))
          AND ${request.scheduledAt}::timestamptz <= now()
        FOR UPDATE SKIP LOCKED)
      RETURNING name, last_claimed_at
    )
    INSERT INTO ${table('claim')} (ticket, task, run_id, slot_id, slot_at, holder, uses_direct, expires_at)
    SELECT ${request.ticket}, name, ${request.runId}, ${request.slotId}, ${request.scheduledAt}, ${request.holder},
      ${request.usesDirect}, now() + ${request.durationMs} * interval '1 millisecond'
    FROM claimed
    RETURNING claimed_at`.execute(db)
  return rows[0]?.claimed_at
}

/**
 * Frees every claim that expired unreleased, unless a transaction or a direct statement of its holder is still open, and counts it as
 * a failure: history row, back-off and, for a third-party task after five in a row, pause, all in one statement.
 */
export async function freeExpiredClaims(db: StateDb, table: TableName): Promise<readonly FreedClaim[]> {
  const { rows } = await sql<FreedClaim>`
    WITH expired AS (
      SELECT t.name, c.ticket, c.run_id, c.slot_id, c.slot_at, c.holder, c.claimed_at
      FROM ${table('task')} t JOIN ${table('claim')} c ON c.ticket = t.ticket
      WHERE c.expires_at < now()
        AND NOT (c.uses_direct AND EXISTS (
          SELECT 1 FROM pg_catalog.pg_stat_activity a WHERE right(a.application_name, 36) = c.ticket::text))
      FOR UPDATE OF t, c SKIP LOCKED
    ), freed AS (
      UPDATE ${table('task')} t
      SET ticket = NULL, revision = revision + 1,
          consecutive_failures = consecutive_failures + 1, consecutive_expiries = consecutive_expiries + 1,
          retry_at = ${retryAtAfterFailure}
      FROM expired e WHERE t.name = e.name
      RETURNING t.name, t.third_party AND t.consecutive_expiries >= ${expiriesUntilPause} AS paused
    ), paused AS (
      INSERT INTO ${table('pause')} (task, reason)
      SELECT name, ${`its claim expired ${expiriesUntilPause} times in a row: it hangs, or ends the process`} FROM freed WHERE paused
      ON CONFLICT (task) DO NOTHING
    ), removed AS (
      DELETE FROM ${table('claim')} c USING expired e WHERE c.ticket = e.ticket
    ), counted AS (
      UPDATE ${table('task_total')} o
      SET run_count = run_count + 1,
          duration_ms_sum = duration_ms_sum + (extract(epoch FROM now() - e.claimed_at) * 1000)::bigint,
          bucket_counts = ${countedBuckets(sql`extract(epoch FROM now() - e.claimed_at)`)}
      FROM expired e WHERE o.task = e.name AND o.outcome = 'failed'
    ), recorded AS (
      INSERT INTO ${table('task_run')} (run_id, task, ticket, slot_id, slot_at, late_by_ms, outcome, reason, error_code,
        attempts, started_at, duration_ms, action_count)
      SELECT run_id, name, ticket, slot_id, slot_at, greatest(0, extract(epoch FROM claimed_at - slot_at) * 1000)::bigint, 'failed',
        'the process ended, or was paused, without releasing its claim', 'claim-expired', 1, claimed_at,
        (extract(epoch FROM now() - claimed_at) * 1000)::bigint, 0
      FROM expired
    )
    SELECT e.name AS task, e.ticket, e.holder, f.paused FROM expired e JOIN freed f ON f.name = e.name`.execute(db)
  return rows
}

/**
 * Ends what direct sessions do that outlived their claim: a statement is cancelled, an idle session (its process is frozen, or its
 * machine gone) is ended. They are found by their ticket, never by a stored pid. One of a role whose sessions ours may not signal is
 * left alone, and keeps its claim until it ends.
 */
export async function endOrphanedSessions(db: StateDb, table: TableName): Promise<number> {
  const { rows } = await sql`${endSessions(table)} AND c.expires_at < now()`.execute(db)
  return rows.length
}

function endSessions(table: TableName): RawBuilder<unknown> {
  return sql`
    SELECT CASE WHEN a.state = 'idle' THEN pg_catalog.pg_terminate_backend(a.pid) ELSE pg_catalog.pg_cancel_backend(a.pid) END
    FROM ${table('claim')} c JOIN pg_catalog.pg_stat_activity a ON right(a.application_name, 36) = c.ticket::text
    WHERE c.uses_direct AND (pg_catalog.pg_has_role(a.usesysid, 'USAGE')
      OR pg_catalog.pg_has_role('pg_signal_backend', 'USAGE')
        AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_roles r WHERE r.oid = a.usesysid AND r.rolsuper))`
}

/** Renews a claim that has not expired. @returns false when it is lost. */
export async function renewClaim(db: StateDb, ticket: string, durationMs: number): Promise<boolean> {
  const result = await db
    .updateTable('claim')
    .set({ renewed_at: sql<Date>`now()`, expires_at: sql<Date>`now() + ${durationMs} * interval '1 millisecond'` })
    .where('ticket', '=', ticket)
    .where('expires_at', '>', sql<Date>`now()`)
    .executeTakeFirst()
  return result.numUpdatedRows > 0n
}

/** @throws LostClaimError */
export async function lockFence(db: Kysely<unknown>, table: TableName, identity: ClaimIdentity): Promise<void> {
  const { rows } = await sql`
    SELECT 1 FROM ${table('task')} WHERE name = ${identity.task} AND ticket = ${identity.ticket} FOR SHARE`.execute(db)
  if (rows.length === 0) throw new LostClaimError(identity.task)
}

/** @throws an error with SQLSTATE 55P03 while a transaction of the holder is open */
export async function releaseTask(
  db: StateDb,
  table: TableName,
  task: string,
): Promise<{ holder: string; claimedAt: Date } | undefined> {
  const claim = await db
    .selectFrom('task')
    .innerJoin('claim', 'claim.ticket', 'task.ticket')
    .select(['claim.ticket', 'claim.holder', 'claim.claimed_at'])
    .where('task.name', '=', task)
    .forUpdate('task')
    .executeTakeFirst()
  if (claim === undefined) return undefined
  // Once the claim is gone nobody would find them.
  await sql`${endSessions(table)} AND c.ticket = ${claim.ticket}`.execute(db)
  await db
    .updateTable('task')
    .set({ ticket: null, revision: sql<string>`revision + 1` })
    .where('name', '=', task)
    .execute()
  await db.deleteFrom('claim').where('ticket', '=', claim.ticket).execute()
  return { holder: claim.holder, claimedAt: claim.claimed_at }
}

export interface PackageClaimRequest {
  /** The package's row among the tasks. */
  readonly row: string
  readonly runId: string
  readonly holder: string
  /** Milliseconds until an import that has not come back counts as a failure. */
  readonly durationMs: number
}

/** Claims the import of a third-party package in a row of its own. @returns when, or undefined when another process holds it. */
export async function claimPackage(
  db: StateDb,
  table: TableName,
  request: PackageClaimRequest & { readonly ticket: string },
): Promise<Date | undefined> {
  await db
    .insertInto('task')
    .values({ name: request.row, third_party: true })
    .onConflict((conflict) => conflict.doNothing())
    .execute()
  const row = await db.selectFrom('task').select('revision').where('name', '=', request.row).executeTakeFirst()
  if (row === undefined) return undefined
  const now = (await sql<{ now: Date }>`SELECT now() AS now`.execute(db)).rows[0]?.now ?? new Date(0)
  return claimTask(db, table, {
    task: request.row,
    revision: row.revision,
    ticket: request.ticket,
    runId: request.runId,
    slotId: `${request.row}@${now.toISOString()}`,
    scheduledAt: now,
    holder: request.holder,
    usesDirect: false,
    durationMs: request.durationMs,
  })
}

export async function releasePackage(db: StateDb, ticket: string): Promise<void> {
  await db
    .updateTable('task')
    .set({
      ticket: null,
      revision: sql<string>`revision + 1`,
      retry_at: null,
      consecutive_failures: 0,
      consecutive_expiries: 0,
    })
    .where('ticket', '=', ticket)
    .execute()
  await db.deleteFrom('claim').where('ticket', '=', ticket).execute()
}
