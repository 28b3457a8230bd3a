/** The alerts' rows in one schema of one database: which statement runs in which unit of work, and what is tried again. */
import { sql, type RawBuilder } from 'kysely'
import type { AlertChanges, AlertStore, ClaimedMessage, Settlement } from '../alerts/alert-store.js'
import type { AlertRow } from '../alerts/plan-alerts.js'
import type { NewChangeMessage, NewMessage, ToldRow } from '../alerts/plan-messages.js'
import type { Connections, UnitOfWork } from '../connections.js'
import { claimDigest, claimNext, expire, recordAttempt, settle } from './alert-messages.js'
import { selectAlertReading, type AlertReading } from './alert-rows.js'
import { retryTransient, stateStatementTimeoutMs } from './retry.js'
import { tableNames, type StateDb, type TableName } from './tables.js'

export interface DeadLetter {
  readonly channel: string
  readonly name: string
  readonly transition: string
  readonly at: Date
  readonly deadAt: Date
  readonly attempts: number
  readonly reason: string
}

export interface PostgresAlertStoreOptions {
  /** The time to go by. Default: the database's. */
  readonly now?: () => RawBuilder<Date>
}

export class PostgresAlertStore implements AlertStore {
  readonly #connections: Connections
  readonly #schema: string
  readonly #table: TableName
  readonly #now: () => RawBuilder<Date>
  readonly #unit: UnitOfWork = { statementTimeoutMs: stateStatementTimeoutMs }

  constructor(connections: Connections, schema: string, options: PostgresAlertStoreOptions = {}) {
    this.#connections = connections
    this.#schema = schema
    this.#table = tableNames(schema)
    this.#now = options.now ?? (() => sql<Date>`now()`)
  }

  async read(): Promise<AlertReading> {
    return retryTransient(() =>
      selectAlertReading((this.#connections.reader(this.#unit) as StateDb).withSchema(this.#schema), this.#now()),
    )
  }

  async evaluate(plan: (reading: AlertReading) => AlertChanges | undefined): Promise<AlertChanges | undefined> {
    return this.#write(async (db) => {
      // Two processes that evaluate at once would both open the same alert.
      await db.selectFrom('meta').select('singleton').forUpdate().execute()
      const changes = plan(await selectAlertReading(db, this.#now()))
      if (changes === undefined) return undefined
      const { alerts, messages, evaluated, changes: done } = changes
      if (alerts.forgotten.length > 0) await db.deleteFrom('alert').where('name', 'in', alerts.forgotten).execute()
      for (const row of alerts.changed) await upsertAlert(db, row)
      for (const { channel, name, incidentAt } of messages.untold)
        await db
          .deleteFrom('alert_told')
          .where((e) => e.and({ channel, name, incident_at: incidentAt }))
          .execute()
      for (const told of messages.told) await upsertTold(db, told)
      for (const { id, reason } of messages.dead)
        await db
          .updateTable('alert_message')
          .set({ state: 'dead', reason, dead_at: this.#now() })
          .where('id', '=', id)
          .execute()
      for (const { id, transition, content } of messages.rewritten)
        await db
          .updateTable('alert_message')
          .set({ transition, content: JSON.stringify(content) })
          .where('id', '=', id)
          .execute()
      await insertMessages(db, [...messages.messages, ...done.messages])
      if (done.taken.length > 0) await db.deleteFrom('change').where('id', 'in', done.taken).execute()
      if (evaluated.length > 0)
        await db.updateTable('task_run').set({ evaluated: true }).where('id', 'in', evaluated).execute()
      return changes
    })
  }

  async insertMessages(messages: readonly (NewMessage | NewChangeMessage)[]): Promise<void> {
    await this.#write((db) => insertMessages(db, messages))
  }

  async expire(maximumAgeMs: number): Promise<number> {
    return this.#beside((db) => expire(db, this.#now(), maximumAgeMs))
  }

  async claimNext(channel: string, leaseMs: number): Promise<ClaimedMessage | undefined> {
    return this.#beside((db) => claimNext(db, this.#table, this.#now(), channel, leaseMs))
  }

  async claimDigest(channel: string, leaseMs: number) {
    return this.#beside((db) => claimDigest(db, this.#now(), channel, leaseMs))
  }

  async settle(messages: readonly ClaimedMessage[], settlement: Settlement): Promise<void> {
    const [first] = messages
    if (first === undefined) return
    await this.#beside(async (db) => {
      for (const message of messages) await settle(db, this.#now(), message, settlement)
      const failure = settlement.outcome === 'retry' || settlement.outcome === 'dead' ? settlement.reason : undefined
      const holdMs = settlement.outcome === 'retry' ? settlement.holdMs : undefined
      await recordAttempt(db, this.#now(), first.channel, failure, holdMs)
    })
  }

  async recordAttempt(channel: string, failure: string | undefined): Promise<void> {
    await this.#write((db) => recordAttempt(db, this.#now(), channel, failure))
  }

  /** A mute of the same pattern is replaced. Those that are over are removed. */
  async mute(pattern: string, until: Date, reason: string | undefined): Promise<void> {
    await this.#write(async (db) => {
      await db.deleteFrom('alert_mute').where('until', '<=', this.#now()).execute()
      await db
        .insertInto('alert_mute')
        .values({ pattern, until, reason: reason ?? null })
        .onConflict((conflict) =>
          conflict.column('pattern').doUpdateSet({ until, reason: reason ?? null, muted_at: this.#now() }),
        )
        .execute()
    })
  }

  /** @returns false when there was no such mute */
  async unmute(pattern: string): Promise<boolean> {
    return this.#write(async (db) => {
      const { numDeletedRows } = await db
        .deleteFrom('alert_mute')
        .where('pattern', '=', pattern)
        .executeTakeFirstOrThrow()
      return numDeletedRows > 0n
    })
  }

  /** Newest first. */
  async selectDeadLetters(limit: number): Promise<readonly DeadLetter[]> {
    const rows = await retryTransient(() =>
      (this.#connections.reader(this.#unit) as StateDb)
        .withSchema(this.#schema)
        .selectFrom('alert_message')
        .select(['channel', 'name', 'transition', 'at', 'dead_at', 'attempts', 'reason'])
        .where('state', '=', 'dead')
        .orderBy('dead_at', 'desc')
        .orderBy('seq')
        .limit(limit)
        .execute(),
    )
    return rows.map(({ dead_at, reason, ...row }) => ({ ...row, deadAt: dead_at ?? row.at, reason: reason ?? '' }))
  }

  /** Beside others of its kind, never beside an evaluation, which has read what this changes. */
  async #beside<T>(work: (db: StateDb) => Promise<T>): Promise<T> {
    return this.#write(async (db) => {
      await db.selectFrom('meta').select('singleton').forShare().execute()
      return work(db)
    })
  }

  /** Every write may be repeated, also after a COMMIT whose answer was lost: it is decided on what is there then. */
  async #write<T>(work: (db: StateDb) => Promise<T>): Promise<T> {
    return retryTransient(() =>
      this.#connections.transaction(this.#unit, ({ db }) => work((db as StateDb).withSchema(this.#schema))),
    )
  }
}

async function upsertAlert(db: StateDb, row: AlertRow): Promise<void> {
  const values = {
    task: row.task ?? null,
    finding_key: row.findingKey,
    dedup_key: row.key,
    state: row.state,
    severity: row.severity,
    summary: row.summary,
    details: JSON.stringify(row.details),
    depends_on: JSON.stringify(row.dependsOn),
    first_seen_at: row.firstSeenAt,
    last_seen_at: row.lastSeenAt,
    opened_at: row.openedAt ?? null,
    resolved_at: row.resolvedAt ?? null,
    resolution: row.resolution ?? null,
    good_runs: row.goodRuns,
    good_since: row.goodSince ?? null,
    last_good_at: row.lastGoodAt ?? null,
    openings: JSON.stringify(row.openings),
    flapping: row.flapping,
    silence: row.silence ?? null,
  }
  await db
    .insertInto('alert')
    .values({ name: row.name, ...values })
    .onConflict((conflict) => conflict.column('name').doUpdateSet(values))
    .execute()
}

async function upsertTold(db: StateDb, told: ToldRow): Promise<void> {
  const values = {
    state: told.state,
    content: JSON.stringify(told.content),
    called_severity: told.calledSeverity,
    told_at: told.toldAt,
    called_at: told.calledAt ?? null,
    target: told.target ?? null,
  }
  await db
    .insertInto('alert_told')
    .values({ channel: told.channel, name: told.name, incident_at: told.incidentAt, ...values })
    .onConflict((conflict) => conflict.columns(['channel', 'name', 'incident_at']).doUpdateSet(values))
    .execute()
}

async function insertMessages(db: StateDb, messages: readonly (NewMessage | NewChangeMessage)[]): Promise<void> {
  if (messages.length === 0) return
  await db
    .insertInto('alert_message')
    .values(
      messages.map((message) => ({
        id: message.id,
        channel: message.channel,
        name: message.name,
        incident_at: message.incidentAt,
        transition: message.transition,
        content: JSON.stringify(message.content),
        at: message.at,
        next_attempt_at: message.at,
      })),
    )
    .onConflict((conflict) => conflict.column('id').doNothing())
    .execute()
}
