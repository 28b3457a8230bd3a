/**
 * Reading and changing the scheduler's own rows. Reads first, then writes.
 *
 * The model. Who may run a task is decided by one row of `task`: whoever holds its `ticket`. The ticket is made by the client, so a
 * lost answer to COMMIT can be resolved by looking. Every change of the row raises `revision`; a claim names the revision that its
 * decision was based on, so a claim whose grounds changed meanwhile fails instead of running a slot twice. Database time alone decides.
 * How long a ticket is good stands in `claim`, because it is renewed while transactions of the run lock the task's row FOR SHARE.
 * A ticket that expired is freed by {@link freeExpiredClaims}, which counts it as a failure in the same statement.
 */
import { randomUUID } from 'node:crypto'
import { sql, type Kysely, type SqlBool } from 'kysely'
import type { Connections, UnitOfWork } from '../connections.js'
import { classifyFailure, codeOf, LostClaimError } from '../errors.js'
import type { Finding } from '../task.js'
import { outcomes, type Outcome, type StateDatabase } from './tables.js'

/** Milliseconds for one statement on the scheduler's own small tables. */
const stateStatementTimeoutMs = 10_000

/** After the second failure in a row a task waits one cron period, then twice that, up to an hour. The first retry is immediate. */
const firstBackoffSeconds = 300
const longestBackoffSeconds = 3600

/** A third-party task whose claim expired this often in a row (a hang, an endless loop, out of memory) is paused. */
const expiriesUntilPause = 5

/** Bounds of the duration histogram, in seconds. A change of them needs a migration that starts the totals anew. */
export const durationBoundsSeconds = [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 45, 60] as const

export interface ClaimState {
  readonly ticket: string
  readonly runId: string
  readonly slotId: string
  readonly holder: string
  readonly claimedAt: Date
  readonly expiresAt: Date
  readonly expired: boolean
}

export interface TaskState {
  readonly name: string
  /** Raised by every change of the row. */
  readonly revision: string
  readonly firstSeenAt: Date
  readonly lastSlotAt: Date | undefined
  readonly lastClaimedAt: Date | undefined
  readonly claim: ClaimState | undefined
  readonly consecutiveFailures: number
  readonly retryAt: Date | undefined
  readonly paused:
    { readonly at: Date; readonly until: Date | undefined; readonly reason: string | undefined } | undefined
}

export interface State {
  /** Undefined when the schema has not been made yet. */
  readonly schemaVersion: number | undefined
  readonly instanceId: string | undefined
  /** Database time of this reading. */
  readonly now: Date
  readonly historyPrunedAt: Date | undefined
  readonly tasks: ReadonlyMap<string, TaskState>
}

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

export interface TaskRunRecord {
  readonly runId: string
  readonly task: string
  readonly ticket: string
  readonly slotId: string
  readonly scheduledAt: Date
  readonly lateByMs: number
  readonly outcome: Outcome
  readonly reason: string | undefined
  readonly errorCode: string | undefined
  readonly attempts: number
  readonly startedAt: Date
  readonly durationMs: number
  readonly remaining: number | undefined
  readonly actionCount: number
  readonly findings: readonly Finding[]
  readonly traceId: string | undefined
  readonly metrics: readonly MetricValue[]
  /** The slot to store as finished; undefined when the slot stays due or the task has none. */
  readonly finishedSlotAt: Date | undefined
}

export interface MetricValue {
  readonly kind: 'gauge' | 'counter'
  readonly name: string
  readonly value: number
  readonly attributes: Readonly<Record<string, string>>
}

export interface ActionRecord {
  readonly kind: string
  readonly target: string
  readonly via: string
  readonly reason: string | undefined
  readonly result: 'started' | 'succeeded' | 'failed'
  readonly errorCode?: string | undefined
  readonly rows?: number | undefined
  readonly bytes?: number | undefined
  readonly details?: Readonly<Record<string, unknown>> | undefined
  readonly durationMs?: number | undefined
}

/** Whose action or checkpoint it is. */
export interface ClaimIdentity {
  readonly runId: string
  readonly task: string
  readonly ticket: string
  readonly slotId: string
}

export interface RunRecord {
  readonly id: string
  readonly startedAt: Date
  readonly exitCode: number
  readonly version: string
  readonly holder: string
  readonly decisions: readonly object[]
  readonly traceId: string | undefined
}

export interface FreedClaim {
  readonly task: string
  readonly ticket: string
  readonly holder: string
  readonly paused: boolean
}

export interface HistoryFilter {
  readonly task?: string | undefined
  readonly sinceMs: number
  readonly limit: number
}

type Db = Kysely<StateDatabase>

/** The scheduler's rows in one schema of one database. Every method is one unit of work and is retried after transient errors. */
export class StateStore {
  readonly #connections: Connections
  readonly schema: string
  readonly #unit: UnitOfWork

  constructor(connections: Connections, schema: string, signal?: AbortSignal) {
    this.#connections = connections
    this.schema = schema
    this.#unit = { statementTimeoutMs: stateStatementTimeoutMs, ...(signal === undefined ? {} : { signal }) }
  }

  // ── reads ──────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Everything that planning needs, in one statement. */
  async readState(): Promise<State> {
    try {
      return await this.#read((db) => selectState(db))
    } catch (error) {
      if (!isMissingSchema(error)) throw error
      const now = await this.#read(
        async (db) => (await sql<{ now: Date }>`SELECT now() AS now`.execute(db)).rows[0]?.now,
      )
      return {
        schemaVersion: undefined,
        instanceId: undefined,
        historyPrunedAt: undefined,
        now: now ?? new Date(0),
        tasks: new Map(),
      }
    }
  }

  /** Undefined also where nothing has been migrated yet, as in a dry run on a bare database. */
  async selectCheckpoint(task: string): Promise<unknown> {
    try {
      const row = await this.#read((db) =>
        db.selectFrom('checkpoint').select('data').where('task', '=', task).executeTakeFirst(),
      )
      return row?.data
    } catch (error) {
      if (!isMissingSchema(error)) throw error
      return undefined
    }
  }

  /** Newest first. */
  async selectHistory(filter: HistoryFilter) {
    return this.#read((db) =>
      db
        .selectFrom('task_run')
        .selectAll()
        .where('finished_at', '>', sql<Date>`now() - ${filter.sinceMs} * interval '1 millisecond'`)
        .$if(filter.task !== undefined, (query) => query.where('task', '=', filter.task ?? ''))
        .orderBy('id', 'desc')
        .limit(filter.limit)
        .execute(),
    )
  }

  /** Newest first. */
  async selectActions(filter: HistoryFilter) {
    return this.#read((db) =>
      db
        .selectFrom('action')
        .selectAll()
        .where('at', '>', sql<Date>`now() - ${filter.sinceMs} * interval '1 millisecond'`)
        .$if(filter.task !== undefined, (query) => query.where('task', '=', filter.task ?? ''))
        .orderBy('id', 'desc')
        .limit(filter.limit)
        .execute(),
    )
  }

  /** Each task's newest run. */
  async selectLastRuns() {
    return this.#read((db) =>
      db.selectFrom('task_run').distinctOn('task').selectAll().orderBy('task').orderBy('id', 'desc').execute(),
    )
  }

  async selectTotals() {
    return this.#read((db) => db.selectFrom('task_total').selectAll().orderBy('task').orderBy('outcome').execute())
  }

  async selectMetrics() {
    return this.#read((db) => db.selectFrom('task_metric').selectAll().orderBy('task').orderBy('name').execute())
  }

  // ── writes ─────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Makes rows for tasks that have none: first sight starts here. */
  async registerTasks(tasks: readonly { readonly name: string; readonly thirdParty: boolean }[]): Promise<void> {
    if (tasks.length === 0) return
    await this.#write(async (db) => {
      await db
        .insertInto('task')
        .values(tasks.map((task) => ({ name: task.name, third_party: task.thirdParty })))
        .onConflict((conflict) =>
          conflict.column('name').doUpdateSet((e) => ({ third_party: e.ref('excluded.third_party') })),
        )
        .execute()
      await db
        .insertInto('task_total')
        .values(
          tasks.flatMap(({ name }) =>
            outcomes.map((outcome) => ({
              task: name,
              outcome,
              bucket_bounds: [...durationBoundsSeconds],
              bucket_counts: [...durationBoundsSeconds, Infinity].map(() => '0'),
            })),
          ),
        )
        .onConflict((conflict) => conflict.doNothing())
        .execute()
    })
  }

  /**
   * Frees every claim that expired unreleased, unless a transaction or a direct statement of its holder is still open, and counts it as
   * a failure: history row, back-off and, for a third-party task after five in a row, pause, all in one statement.
   */
  async freeExpiredClaims(): Promise<readonly FreedClaim[]> {
    return this.#write(async (db) => {
      const { rows } = await sql<FreedClaim>`
        WITH expired AS (
          SELECT t.name, c.ticket, c.run_id, c.slot_id, c.slot_at, c.holder, c.claimed_at
          FROM ${this.#table('task')} t JOIN ${this.#table('claim')} c ON c.ticket = t.ticket
          WHERE c.expires_at < now()
            AND NOT (c.uses_direct AND EXISTS (
              SELECT 1 FROM pg_catalog.pg_stat_activity a WHERE right(a.application_name, 36) = c.ticket::text))
          FOR UPDATE OF t, c SKIP LOCKED
        ), freed AS (
          UPDATE ${this.#table('task')} t
          SET ticket = NULL, revision = revision + 1,
              consecutive_failures = consecutive_failures + 1, consecutive_expiries = consecutive_expiries + 1,
              retry_at = ${retryAtAfterFailure},
              paused_at = CASE WHEN third_party AND consecutive_expiries + 1 >= ${expiriesUntilPause} THEN now() ELSE paused_at END,
              pause_reason = CASE WHEN third_party AND consecutive_expiries + 1 >= ${expiriesUntilPause}
                THEN ${`its claim expired ${expiriesUntilPause} times in a row: it hangs, or ends the process`} ELSE pause_reason END
          FROM expired e WHERE t.name = e.name
          RETURNING t.name, t.paused_at IS NOT NULL AS paused
        ), removed AS (
          DELETE FROM ${this.#table('claim')} c USING expired e WHERE c.ticket = e.ticket
        ), counted AS (
          UPDATE ${this.#table('task_total')} o SET run_count = run_count + 1
          FROM expired e WHERE o.task = e.name AND o.outcome = 'failed'
        ), recorded AS (
          INSERT INTO ${this.#table('task_run')} (run_id, task, ticket, slot_id, slot_at, late_by_ms, outcome, reason, error_code,
            attempts, started_at, duration_ms, action_count)
          SELECT run_id, name, ticket, slot_id, slot_at, greatest(0, extract(epoch FROM claimed_at - slot_at) * 1000)::bigint, 'failed',
            'the process ended, or was paused, without releasing its claim', 'claim-expired', 1, claimed_at,
            (extract(epoch FROM now() - claimed_at) * 1000)::bigint, 0
          FROM expired
        )
        SELECT e.name AS task, e.ticket, e.holder, f.paused FROM expired e JOIN freed f ON f.name = e.name`.execute(db)
      return rows
    })
  }

  /** Asks the server to cancel direct statements that outlived their claim. They are found by their ticket, never by a stored pid. */
  async cancelOrphanedStatements(): Promise<number> {
    return this.#write(async (db) => {
      const { rows } = await sql<{ cancelled: boolean }>`
        SELECT pg_catalog.pg_cancel_backend(a.pid) AS cancelled
        FROM ${this.#table('claim')} c JOIN pg_catalog.pg_stat_activity a ON right(a.application_name, 36) = c.ticket::text
        WHERE c.expires_at < now() AND c.uses_direct`.execute(db)
      return rows.length
    })
  }

  /** Takes a task, if nothing about it has changed since the decision. @returns when it was claimed, or undefined. */
  async claim(request: ClaimRequest): Promise<Date | undefined> {
    try {
      return await this.#write((db) => this.#claim(db, request))
    } catch (error) {
      if (codeOf(error) !== 'commit-unknown') throw error
      // The ticket is ours alone: if it is there, the COMMIT whose answer was lost took effect.
      return this.#read(
        async (db) =>
          (await db.selectFrom('claim').select('claimed_at').where('ticket', '=', request.ticket).executeTakeFirst())
            ?.claimed_at,
      )
    }
  }

  async #claim(db: Db, request: ClaimRequest): Promise<Date | undefined> {
    const { rows } = await sql<{ claimed_at: Date }>`
      WITH claimed AS (
        UPDATE ${this.#table('task')}
        SET ticket = ${request.ticket}, revision = revision + 1, last_claimed_at = now(),
            paused_at = NULL, paused_until = NULL, pause_reason = NULL
        WHERE name = (
          SELECT name FROM ${this.#table('task')}
          WHERE name = ${request.task} AND revision = ${request.revision} AND ticket IS NULL
            AND (paused_at IS NULL OR paused_until <= now())
            AND ${request.scheduledAt}::timestamptz <= now()
          FOR UPDATE SKIP LOCKED)
        RETURNING name, last_claimed_at
      )
      INSERT INTO ${this.#table('claim')} (ticket, task, run_id, slot_id, slot_at, holder, uses_direct, expires_at)
      SELECT ${request.ticket}, name, ${request.runId}, ${request.slotId}, ${request.scheduledAt}, ${request.holder},
        ${request.usesDirect}, now() + ${request.durationMs} * interval '1 millisecond'
      FROM claimed
      RETURNING claimed_at`.execute(db)
    return rows[0]?.claimed_at
  }

  /**
   * Claims the import of a third-party package in a row of its own.
   * @returns the ticket, or undefined when another process holds it.
   */
  async claimPackage(request: {
    readonly row: string
    readonly runId: string
    readonly holder: string
    /** Milliseconds until an import that has not come back counts as a failure. */
    readonly durationMs: number
  }): Promise<string | undefined> {
    const ticket = randomUUID()
    const claimed = await this.#write(async (db) => {
      await db
        .insertInto('task')
        .values({ name: request.row, third_party: true })
        .onConflict((conflict) => conflict.doNothing())
        .execute()
      const row = await db.selectFrom('task').select('revision').where('name', '=', request.row).executeTakeFirst()
      if (row === undefined) return undefined
      const now = (await sql<{ now: Date }>`SELECT now() AS now`.execute(db)).rows[0]?.now ?? new Date(0)
      return this.#claim(db, {
        task: request.row,
        revision: row.revision,
        ticket,
        runId: request.runId,
        slotId: `${request.row}@${now.toISOString()}`,
        scheduledAt: now,
        holder: request.holder,
        usesDirect: false,
        durationMs: request.durationMs,
      })
    }).catch((error: unknown) => {
      // Perhaps it took effect: releasing a ticket that is not there changes nothing.
      if (codeOf(error) === 'commit-unknown') return ticket
      throw error
    })
    return claimed === undefined ? undefined : ticket
  }

  /** The import came back, whatever it brought: it did not end the process. */
  async releasePackage(ticket: string): Promise<void> {
    await this.#write(async (db) => {
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
    })
  }

  /** Renews a claim that has not expired. @returns false when it is lost. */
  async renewClaim(ticket: string, durationMs: number): Promise<boolean> {
    return this.#write(async (db) => {
      const result = await db
        .updateTable('claim')
        .set({ renewed_at: sql<Date>`now()`, expires_at: sql<Date>`now() + ${durationMs} * interval '1 millisecond'` })
        .where('ticket', '=', ticket)
        .where('expires_at', '>', sql<Date>`now()`)
        .executeTakeFirst()
      return result.numUpdatedRows > 0n
    })
  }

  /** Must be the first statement of every writing transaction of a run. @throws LostClaimError */
  async lockFence(db: Kysely<unknown>, identity: ClaimIdentity): Promise<void> {
    const { rows } = await sql`
      SELECT 1 FROM ${this.#table('task')} WHERE name = ${identity.task} AND ticket = ${identity.ticket} FOR SHARE`.execute(
      db,
    )
    if (rows.length === 0) throw new LostClaimError(identity.task)
  }

  /** Inside a transaction that has locked the fence. */
  async insertAction(db: Kysely<unknown>, identity: ClaimIdentity, action: ActionRecord): Promise<void> {
    await this.#own(db)
      .insertInto('action')
      .values({
        run_id: identity.runId,
        task: identity.task,
        ticket: identity.ticket,
        slot_id: identity.slotId,
        kind: action.kind,
        target: action.target,
        via: action.via,
        reason: action.reason ?? null,
        result: action.result,
        error_code: action.errorCode ?? null,
        row_count: action.rows ?? null,
        byte_count: action.bytes ?? null,
        details: action.details === undefined ? null : JSON.stringify(action.details),
        duration_ms: action.durationMs === undefined ? null : Math.round(action.durationMs),
      })
      .execute()
  }

  /** Inside a transaction that has locked the fence. */
  async upsertCheckpoint(db: Kysely<unknown>, identity: ClaimIdentity, cursor: unknown): Promise<void> {
    await this.#own(db)
      .insertInto('checkpoint')
      .values({ task: identity.task, data: JSON.stringify(cursor), ticket: identity.ticket })
      .onConflict((conflict) =>
        conflict.column('task').doUpdateSet((e) => ({
          data: e.ref('excluded.data'),
          ticket: e.ref('excluded.ticket'),
          saved_at: sql<Date>`now()`,
        })),
      )
      .execute()
  }

  /** A transaction of the scheduler's own that holds the fence. @throws LostClaimError */
  async fenced<T>(identity: ClaimIdentity, work: (db: Kysely<unknown>) => Promise<T>): Promise<T> {
    return this.#write(async (_, db) => {
      await this.lockFence(db, identity)
      return work(db)
    })
  }

  async deleteCheckpoint(identity: ClaimIdentity): Promise<void> {
    await this.fenced(identity, async (db) => {
      await this.#own(db).deleteFrom('checkpoint').where('task', '=', identity.task).execute()
    })
  }

  /** Ends a run: its record, the task's next state, totals and metrics in one transaction. @throws LostClaimError and writes nothing. */
  async finishTaskRun(record: TaskRunRecord): Promise<void> {
    try {
      await this.#write((db) => this.#finishTaskRun(db, record))
    } catch (error) {
      const uncertain = codeOf(error) === 'commit-unknown' || error instanceof LostClaimError
      // A COMMIT whose answer was lost, here or before a retry, left our record behind.
      if (!uncertain || !(await this.#isRecorded(record.ticket, record.outcome))) throw error
    }
  }

  async #isRecorded(ticket: string, outcome: Outcome): Promise<boolean> {
    const row = await this.#read((db) =>
      db
        .selectFrom('task_run')
        .select('error_code')
        .where('ticket', '=', ticket)
        .where('outcome', '=', outcome)
        .executeTakeFirst(),
    )
    return row !== undefined && row.error_code !== 'claim-expired'
  }

  async #finishTaskRun(db: Db, record: TaskRunRecord): Promise<void> {
    const failed = record.outcome === 'failed' || record.outcome === 'timed-out'
    const stopped = record.outcome === 'cancelled'
    const updated = await db
      .updateTable('task')
      .set({
        ticket: null,
        revision: sql<string>`revision + 1`,
        ...(record.finishedSlotAt === undefined ? {} : { last_slot_at: record.finishedSlotAt }),
        consecutive_expiries: 0,
        // A run that we stopped says nothing about the task.
        ...(failed
          ? { consecutive_failures: sql<number>`consecutive_failures + 1`, retry_at: sql<Date>`${retryAtAfterFailure}` }
          : stopped
            ? {}
            : { consecutive_failures: 0, retry_at: null }),
      })
      .where('name', '=', record.task)
      .where('ticket', '=', record.ticket)
      .executeTakeFirst()
    if (updated.numUpdatedRows === 0n) throw new LostClaimError(record.task)
    await db.deleteFrom('claim').where('ticket', '=', record.ticket).execute()
    await db
      .insertInto('task_run')
      .values({
        run_id: record.runId,
        task: record.task,
        ticket: record.ticket,
        slot_id: record.slotId,
        slot_at: record.scheduledAt,
        late_by_ms: Math.round(record.lateByMs),
        outcome: record.outcome,
        reason: record.reason ?? null,
        error_code: record.errorCode ?? null,
        attempts: record.attempts,
        started_at: record.startedAt,
        duration_ms: Math.round(record.durationMs),
        remaining: record.remaining ?? null,
        action_count: record.actionCount,
        findings: JSON.stringify(record.findings),
        trace_id: record.traceId ?? null,
      })
      .execute()
    await this.#addToTotals(db, record)
    await this.#storeMetrics(db, record)
  }

  async #addToTotals(db: Db, record: TaskRunRecord): Promise<void> {
    // width_bucket counts bounds at or below the value; Prometheus' `le` is inclusive, hence the difference of one for a value on a bound.
    const seconds = record.durationMs / 1000
    const bucket = durationBoundsSeconds.filter((bound) => bound < seconds).length + 1
    await db
      .updateTable('task_total')
      .set({
        run_count: sql<string>`run_count + 1`,
        duration_ms_sum: sql<string>`duration_ms_sum + ${Math.round(record.durationMs)}`,
        bucket_counts: sql<string[]>`(SELECT array_agg(CASE WHEN i = ${bucket} THEN n + 1 ELSE n END ORDER BY i)
          FROM unnest(bucket_counts) WITH ORDINALITY AS bucket (n, i))`,
      })
      .where('task', '=', record.task)
      .where('outcome', '=', record.outcome)
      .execute()
  }

  async #storeMetrics(db: Db, record: TaskRunRecord): Promise<void> {
    for (const metric of record.metrics) {
      await db
        .insertInto('task_metric')
        .values({
          task: record.task,
          name: metric.name,
          attributes: JSON.stringify(metric.attributes),
          kind: metric.kind,
          value: metric.value,
        })
        .onConflict((conflict) =>
          conflict.columns(['task', 'name', 'attributes']).doUpdateSet((e) => ({
            kind: e.ref('excluded.kind'),
            updated_at: sql<Date>`now()`,
            value: metric.kind === 'gauge' ? e.ref('excluded.value') : sql<number>`task_metric.value + excluded.value`,
          })),
        )
        .execute()
    }
  }

  /** Doing it twice changes nothing. */
  async insertRun(record: RunRecord): Promise<void> {
    await this.#write(async (db) => {
      await db
        .insertInto('run')
        .values({
          id: record.id,
          started_at: record.startedAt,
          finished_at: sql<Date>`clock_timestamp()`,
          exit_code: record.exitCode,
          version: record.version,
          holder: record.holder,
          decisions: JSON.stringify(record.decisions),
          trace_id: record.traceId ?? null,
        })
        .onConflict((conflict) =>
          conflict.column('id').doUpdateSet((e) => ({ exit_code: e.ref('excluded.exit_code') })),
        )
        .execute()
    })
  }

  /**
   * Removes history older than its retention period (milliseconds), a bounded number of rows at a time. Each task's newest run stays.
   * @returns the number of rows removed.
   */
  async deleteOldHistory(
    retention: { readonly historyMs: number; readonly actionsMs: number },
    batchSize = 5000,
  ): Promise<number> {
    const horizon = (ms: number) => sql<Date>`now() - ${ms} * interval '1 millisecond'`
    return this.#write(async (db) => {
      await db
        .updateTable('meta')
        .set({ history_pruned_at: sql<Date>`now()` })
        .execute()
      const runs = await db
        .deleteFrom('task_run')
        .where('id', 'in', (query) =>
          query
            .selectFrom('task_run')
            .select('id')
            .where('finished_at', '<', horizon(retention.historyMs))
            .limit(batchSize),
        )
        .where('id', 'not in', (query) =>
          query
            .selectFrom('task_run')
            .select((e) => e.fn.max('id').as('id'))
            .groupBy('task'),
        )
        .executeTakeFirst()
      const wholeRuns = await db
        .deleteFrom('run')
        .where('id', 'in', (query) =>
          query.selectFrom('run').select('id').where('started_at', '<', horizon(retention.historyMs)).limit(batchSize),
        )
        .executeTakeFirst()
      const actions = await db
        .deleteFrom('action')
        .where('id', 'in', (query) =>
          query.selectFrom('action').select('id').where('at', '<', horizon(retention.actionsMs)).limit(batchSize),
        )
        .executeTakeFirst()
      return Number(runs.numDeletedRows + wholeRuns.numDeletedRows + actions.numDeletedRows)
    })
  }

  /** @returns false when there is no such task. */
  async pause(task: string, until: Date | undefined, reason: string): Promise<boolean> {
    return this.#changeTask(task, { paused_at: sql<Date>`now()`, paused_until: until ?? null, pause_reason: reason })
  }

  /** Also forgets failures and back-off: whoever resumes a task wants to see it run. */
  async resume(task: string): Promise<boolean> {
    return this.#changeTask(task, {
      paused_at: null,
      paused_until: null,
      pause_reason: null,
      retry_at: null,
      consecutive_failures: 0,
      consecutive_expiries: 0,
    })
  }

  /** Takes the ticket away from whoever holds it. @returns the claim that was ended, or undefined when there was none. */
  async release(task: string): Promise<{ holder: string; claimedAt: Date } | undefined> {
    return this.#write(async (db) => {
      const claim = await db
        .selectFrom('task')
        .innerJoin('claim', 'claim.ticket', 'task.ticket')
        .select(['claim.ticket', 'claim.holder', 'claim.claimed_at'])
        .where('task.name', '=', task)
        .forUpdate('task')
        .executeTakeFirst()
      if (claim === undefined) return undefined
      await db
        .updateTable('task')
        .set({ ticket: null, revision: sql<string>`revision + 1` })
        .where('name', '=', task)
        .execute()
      await db.deleteFrom('claim').where('ticket', '=', claim.ticket).execute()
      return { holder: claim.holder, claimedAt: claim.claimed_at }
    })
  }

  async #changeTask(task: string, change: object): Promise<boolean> {
    return this.#write(async (db) => {
      const result = await db
        .updateTable('task')
        .set({ ...change, revision: sql<string>`revision + 1` })
        .where('name', '=', task)
        .executeTakeFirst()
      return result.numUpdatedRows > 0n
    })
  }

  // ── units of work ──────────────────────────────────────────────────────────────────────────────────────────────

  #own(db: Kysely<unknown>): Db {
    return (db as Db).withSchema(this.schema)
  }

  #table(name: keyof StateDatabase) {
    return sql.id(this.schema, name)
  }

  async #read<T>(work: (db: Db) => Promise<T>): Promise<T> {
    return retryTransient(() => work(this.#own(this.#connections.reader(this.#unit))))
  }

  async #write<T>(work: (db: Db, plain: Kysely<unknown>) => Promise<T>): Promise<T> {
    return retryTransient(() =>
      this.#connections.transaction(this.#unit, ({ db }) => work(this.#own(db), db as Kysely<unknown>)),
    )
  }
}

const retryAtAfterFailure = sql`CASE WHEN consecutive_failures + 1 < 2 THEN NULL ELSE now() + interval '1 second'
  * least(${longestBackoffSeconds}::int, ${firstBackoffSeconds}::int * power(2, least(consecutive_failures - 1, 10))) END`

/** undefined_table, invalid_schema_name: nothing has been migrated yet. */
function isMissingSchema(error: unknown): boolean {
  return ['42P01', '3F000'].includes(codeOf(error) ?? '')
}

/** Own statements are safe to repeat: each is a compare-and-set by ticket or revision, or an upsert. A lost COMMIT is the caller's. */
async function retryTransient<T>(attempt: () => Promise<T>, attempts = 3): Promise<T> {
  for (let left = attempts - 1; ; left -= 1) {
    try {
      return await attempt()
    } catch (error) {
      if (left === 0 || codeOf(error) === 'commit-unknown' || classifyFailure(error) !== 'transient') throw error
    }
  }
}

async function selectState(db: Db): Promise<State> {
  const rows = await db
    .selectFrom('meta')
    .leftJoin('task', (join) => join.on(sql<SqlBool>`true`))
    .leftJoin('claim', 'claim.ticket', 'task.ticket')
    .select([
      sql<Date>`now()`.as('now'),
      'meta.schema_version',
      'meta.instance_id',
      'meta.history_pruned_at',
      'task.name',
      'task.revision',
      'task.first_seen_at',
      'task.last_slot_at',
      'task.last_claimed_at',
      'task.consecutive_failures',
      'task.retry_at',
      'task.paused_at',
      'task.paused_until',
      'task.pause_reason',
      'claim.ticket',
      'claim.run_id',
      'claim.slot_id',
      'claim.holder',
      'claim.claimed_at',
      'claim.expires_at',
      sql<boolean | null>`claim.expires_at < now()`.as('expired'),
    ])
    .execute()
  const first = rows[0]
  if (first === undefined) throw new Error('the table meta is empty: the schema was not made by `migrate`')
  const tasks = new Map<string, TaskState>()
  for (const row of rows) {
    if (row.name === null || row.revision === null || row.first_seen_at === null) continue
    const claim =
      row.ticket === null || row.run_id === null || row.slot_id === null || row.holder === null ? undefined : row
    tasks.set(row.name, {
      name: row.name,
      revision: row.revision,
      firstSeenAt: row.first_seen_at,
      lastSlotAt: row.last_slot_at ?? undefined,
      lastClaimedAt: row.last_claimed_at ?? undefined,
      consecutiveFailures: row.consecutive_failures ?? 0,
      retryAt: row.retry_at ?? undefined,
      paused:
        row.paused_at === null || (row.paused_until !== null && row.paused_until <= first.now)
          ? undefined
          : { at: row.paused_at, until: row.paused_until ?? undefined, reason: row.pause_reason ?? undefined },
      claim:
        claim === undefined
          ? undefined
          : {
              ticket: claim.ticket as string,
              runId: claim.run_id as string,
              slotId: claim.slot_id as string,
              holder: claim.holder as string,
              claimedAt: claim.claimed_at as Date,
              expiresAt: claim.expires_at as Date,
              expired: claim.expired === true,
            },
    })
  }
  return {
    schemaVersion: first.schema_version,
    instanceId: first.instance_id,
    historyPrunedAt: first.history_pruned_at,
    now: first.now,
    tasks,
  }
}
