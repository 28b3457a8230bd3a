/** The scheduler's own rows: which statement runs in which unit of work, and what is tried again. The SQL is beside it. */
import { randomUUID } from 'node:crypto'
import { sql, type Kysely } from 'kysely'
import type { Connections, UnitOfWork } from '../connections.js'
import { codeOf, LostClaimError, SchedulerError } from '../errors.js'
import {
  endOrphanedSessions,
  claimPackage,
  claimTask,
  freeExpiredClaims,
  lockFence,
  releasePackage,
  releaseTask,
  renewClaim,
  type ClaimIdentity,
  type ClaimRequest,
  type FreedClaim,
  type PackageClaimRequest,
} from './claims.js'
import {
  deleteOldHistory,
  finishTaskRun,
  insertAction,
  insertRun,
  selectActions,
  selectHistory,
  selectLastRuns,
  startRunTotals,
  type ActionRecord,
  type HistoryFilter,
  type RunRecord,
  type TaskRunRecord,
} from './records.js'
import { emptyHistogram } from './histogram.js'
import { selectMetricRows, type MetricRows } from './metric-rows.js'
import { retryTransient, stateStatementTimeoutMs } from './retry.js'
import { outcomes, tableNames, type Outcome, type StateDb, type TableName } from './tables.js'
import { selectState, type State } from './task-state.js'

/** The scheduler's rows in one schema of one database. Every method is one unit of work and is retried after transient errors. */
export class StateStore {
  readonly #connections: Connections
  readonly schema: string
  readonly #unit: UnitOfWork
  readonly #table: TableName

  constructor(connections: Connections, schema: string, signal?: AbortSignal) {
    this.#connections = connections
    this.schema = schema
    this.#table = tableNames(schema)
    this.#unit = { statementTimeoutMs: stateStatementTimeoutMs, ...(signal === undefined ? {} : { signal }) }
  }

  // ── reads ──────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Everything that planning needs, in one statement. */
  async readState(): Promise<State> {
    try {
      return await this.#read((db) => selectState(db))
    } catch (error) {
      const missing = isMissingSchema(error)
      if (!missing && codeOf(error) !== '42703') throw error
      // Tables of another version. Its number is what every version can read, and decides whether to migrate or to refuse.
      return this.#unreadableState()
    }
  }

  async #unreadableState(): Promise<State> {
    const nothing = {
      instanceId: undefined,
      historyPrunedAt: undefined,
      lastSpan: undefined,
      tasks: new Map<string, never>(),
    }
    try {
      const row = await this.#read((db) =>
        db
          .selectFrom('meta')
          .select(['schema_version', sql<Date>`now()`.as('now')])
          .executeTakeFirst(),
      )
      if (row !== undefined) return { ...nothing, schemaVersion: row.schema_version, now: row.now }
    } catch (error) {
      if (!isMissingSchema(error)) throw error
    }
    const now = await this.#read(async (db) => (await sql<{ now: Date }>`SELECT now() AS now`.execute(db)).rows[0]?.now)
    return { ...nothing, schemaVersion: undefined, now: now ?? new Date(0) }
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
    return this.#read((db) => selectHistory(db, filter))
  }

  /** Newest first. */
  async selectActions(filter: HistoryFilter) {
    return this.#read((db) => selectActions(db, filter))
  }

  /** Each task's newest run. */
  async selectLastRuns() {
    return this.#read((db) => selectLastRuns(db))
  }

  /** What metrics are made of, in one statement. */
  async selectMetricRows(): Promise<MetricRows> {
    return this.#read((db) => selectMetricRows(db))
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
              ...emptyHistogram,
            })),
          ),
        )
        .onConflict((conflict) => conflict.doNothing())
        .execute()
      await startRunTotals(db)
    })
  }

  /**
   * Frees every claim that expired unreleased, unless a transaction or a direct statement of its holder is still open, and counts it as
   * a failure: history row, back-off and, for a third-party task after five in a row, pause, all in one statement.
   */
  async freeExpiredClaims(): Promise<readonly FreedClaim[]> {
    return this.#write((db) => freeExpiredClaims(db, this.#table))
  }

  /** Ends what direct sessions do that outlived their claim. @returns how many were found that we may end */
  async endOrphanedSessions(): Promise<number> {
    return this.#write((db) => endOrphanedSessions(db, this.#table))
  }

  /** Takes a task, if nothing about it has changed since the decision. @returns when it was claimed, or undefined. */
  async claim(request: ClaimRequest): Promise<Date | undefined> {
    try {
      return await this.#write((db) => claimTask(db, this.#table, request))
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

  /**
   * Claims the import of a third-party package in a row of its own.
   * @returns the ticket, or undefined when another process holds it.
   */
  async claimPackage(request: PackageClaimRequest): Promise<string | undefined> {
    const ticket = randomUUID()
    try {
      const claimed = await this.#write((db) => claimPackage(db, this.#table, { ...request, ticket }))
      return claimed === undefined ? undefined : ticket
    } catch (error) {
      // Perhaps it took effect: releasing a ticket that is not there changes nothing.
      if (codeOf(error) === 'commit-unknown') return ticket
      throw error
    }
  }

  /** The import came back, whatever it brought: it did not end the process. */
  async releasePackage(ticket: string): Promise<void> {
    await this.#write((db) => releasePackage(db, ticket))
  }

  /** Renews a claim that has not expired. @returns false when it is lost. */
  async renewClaim(ticket: string, durationMs: number): Promise<boolean> {
    return this.#write((db) => renewClaim(db, ticket, durationMs))
  }

  /** Must be the first statement of every writing transaction of a run. @throws LostClaimError */
  async lockFence(db: Kysely<unknown>, identity: ClaimIdentity): Promise<void> {
    await lockFence(db, this.#table, identity)
  }

  /** Inside a transaction that has locked the fence. */
  async insertAction(db: Kysely<unknown>, identity: ClaimIdentity, action: ActionRecord): Promise<void> {
    await insertAction(this.#own(db), identity, action)
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
      await this.#write((db) => finishTaskRun(db, record))
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

  async insertRun(record: RunRecord): Promise<void> {
    await this.#write((db) => insertRun(db, record))
  }

  /**
   * Removes history older than its retention period (milliseconds), a bounded number of rows at a time. Each task's newest run stays.
   * @returns the number of rows removed.
   */
  async deleteOldHistory(
    retention: { readonly historyMs: number; readonly actionsMs: number },
    batchSize = 5000,
  ): Promise<number> {
    return this.#write((db) => deleteOldHistory(db, retention, batchSize))
  }

  /** Takes effect at the next claim, whatever the task is doing now. A pause that is there is replaced. */
  async pause(task: string, until: Date | undefined, reason: string): Promise<void> {
    await this.#write(async (db) => {
      await db
        .insertInto('pause')
        .values({ task, until: until ?? null, reason })
        .onConflict((conflict) =>
          conflict.column('task').doUpdateSet((e) => ({
            paused_at: sql<Date>`now()`,
            until: e.ref('excluded.until'),
            reason: e.ref('excluded.reason'),
          })),
        )
        .execute()
    })
  }

  /** Also forgets failures and back-off, unless the task is running: whoever resumes a task wants to see it run. */
  async resume(task: string): Promise<void> {
    await this.#write(async (db) => {
      await db.deleteFrom('pause').where('task', '=', task).execute()
      const row = await db.selectFrom('task').select('name').where('name', '=', task).forUpdate().skipLocked().execute()
      if (row.length === 0) return
      await db
        .updateTable('task')
        .set({
          retry_at: null,
          consecutive_failures: 0,
          consecutive_expiries: 0,
          revision: sql<string>`revision + 1`,
        })
        .where('name', '=', task)
        .execute()
    })
  }

  /**
   * Takes the ticket away from whoever holds it, and ends the direct sessions that carry it.
   * @returns the claim that was ended, or undefined when there was none.
   * @throws SchedulerError `claim-in-use` while a transaction of the holder is open
   */
  async release(task: string): Promise<{ holder: string; claimedAt: Date } | undefined> {
    try {
      return await this.#write((db) => releaseTask(db, this.#table, task))
    } catch (error) {
      if (codeOf(error) !== '55P03') throw error
      throw new SchedulerError('claim-in-use', `a transaction of the run that holds '${task}' is open`, {
        hint: "try again: it ends by itself, with the task's timeout at the latest",
        cause: error,
      })
    }
  }

  // ── units of work ──────────────────────────────────────────────────────────────────────────────────────────────

  #own(db: Kysely<unknown>): StateDb {
    return (db as StateDb).withSchema(this.schema)
  }

  async #read<T>(work: (db: StateDb) => Promise<T>): Promise<T> {
    return retryTransient(() => work(this.#own(this.#connections.reader(this.#unit))))
  }

  async #write<T>(work: (db: StateDb, plain: Kysely<unknown>) => Promise<T>): Promise<T> {
    return retryTransient(() =>
      this.#connections.transaction(this.#unit, ({ db }) => work(this.#own(db), db as Kysely<unknown>)),
    )
  }
}

/** undefined_table, invalid_schema_name: nothing has been migrated yet. */
function isMissingSchema(error: unknown): boolean {
  return ['42P01', '3F000'].includes(codeOf(error) ?? '')
}
