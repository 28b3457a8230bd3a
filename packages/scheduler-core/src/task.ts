/**
 * The contract between the scheduler and a task package.
 *
 * Words: a *task* is a definition; a *run* of it is one execution; an *action* is one change made in a run.
 * A *slot* is one planned time of a task, a *claim* is the right to run it now, and the *ticket* is the proof of the claim.
 * A *timeout* is a hard limit, a *budget* a soft one.
 */
import type { Kysely } from 'kysely'
import type { z } from 'zod'
import type { ClientKind, ReadClient, WriteClient } from './clients.js'
import type { Notice } from './connections.js'
import type { Schedule } from './schedule.js'

/** The version of this contract. A task written for another version is refused when it is loaded. */
export const apiVersion = 1

/** A unit of database upkeep: data plus one function. Keeps no state between runs; what must survive goes into the checkpoint. */
export interface Task<Schema extends z.ZodObject = z.ZodObject, DB = unknown, Cursor = unknown, Request = unknown> {
  /** The contract's version that this task was written for: `1`. */
  readonly apiVersion: typeof apiVersion
  /** Unique, kebab-case, at most 40 characters. Names options, rows and metrics: renaming a task starts a new one. */
  readonly name: string
  /** One line, shown by the command `tasks` and in the docs. */
  readonly description: string
  /** Default cadence. Configuration may replace it. */
  readonly schedule: Schedule
  /** Hard limit of one run of this task, in milliseconds. The run is aborted and its statement cancelled on the server. */
  readonly timeoutMs: number
  /** `true` for work that takes seconds: it runs after the cheap tasks of the same run. Default: `false`. */
  readonly heavy?: boolean
  /** Options. Every option needs a `.describe()` and a default (or `.optional()`). */
  readonly configSchema: Schema
  /** The shape of the checkpoint. A stored value that does not fit (an older version's) reads as absent. */
  readonly checkpointSchema?: z.ZodType<Cursor>
  /**
   * The shape of what a command may ask of one run beside the schedule: `archive restore`, `statistics recalculate`. Such a run has
   * claim, fence, gate and record like any other, and finishes no slot. Absent: the task takes no requests.
   */
  readonly requestSchema?: z.ZodType<Request>
  /** What the task touches under a given configuration: `tasks`, `doctor` and the documented grants come from it. Pure. */
  requires(config: Readonly<z.output<Schema>>): Requirements
  /** One run. Throws to fail; see {@link TaskResult} for every other outcome. */
  run(context: TaskContext<z.output<Schema>, DB, Cursor, Request>): Promise<TaskResult>
}

/** A task whose type parameters do not matter: what the registry holds. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any -- Task is invariant in its parameters, so only `any` admits every task
export type AnyTask = Task<any, any, any, any>

/** What a task touches. */
export interface Requirements {
  readonly relations?: readonly RelationRequirement[]
  /**
   * `true`: needs a session-capable connection (VACUUM, REINDEX CONCURRENTLY), and `doctor` fails where there is none. `'optional'`: uses one, and does
   * its work in another way where opening it is refused with `no-direct-connection`. Default: `false`.
   */
  readonly direct?: boolean | 'optional'
  /** Clients that the task asks the context for. */
  readonly clients?: readonly ClientKind[]
}

export interface RelationRequirement {
  /** `schema.relation`, or `schema.*`. A relation that does not exist is no missing grant. */
  readonly relation: string
  /** Of a `schema.*` or pattern: those left out, in the same forms. */
  readonly except?: readonly string[]
  /** `maintain`: ANALYZE, VACUUM (owner of the relation or of the database; from PostgreSQL 17 also MAINTAIN). `owner`: ownership itself. */
  readonly privileges: readonly ('select' | 'insert' | 'update' | 'delete' | 'maintain' | 'owner')[]
}

/** Everything that a task may touch. No globals, no environment, no `Date.now()`. */
export interface TaskContext<Config = unknown, DB = unknown, Cursor = unknown, Request = unknown> {
  readonly config: Readonly<Config>
  /** What a command asked of this run; undefined in every scheduled one. */
  readonly request: Request | undefined
  /** Reads only, in every mode: each statement is a READ ONLY unit of work of its own, and what is no plain read is refused. */
  readonly db: Kysely<DB>
  /** The same with other limits, for a read that rightly takes longer. */
  reader(limits: ReadLimits): Kysely<DB>
  /** Several reads from one REPEATABLE READ, READ ONLY snapshot. Keep it short: it holds back VACUUM while it is open. */
  snapshot<T>(read: (snapshot: Snapshot<DB>) => Promise<T>, limits?: ReadLimits): Promise<T>
  /** Schema of the scheduler's own tables, where those of tasks are, too. Undefined in a dry run before they were made: read as empty. */
  readonly stateSchema: string | undefined
  /** False where it is known already that a direct connection cannot be had: there is only a pooler. For tasks whose `requires` says `'optional'`. */
  readonly hasDirect: boolean
  /** Whether {@link client} would give this one: declared by `requires`, and configured. */
  hasClient(kind: ClientKind): boolean
  /** A read-only view of a client that `requires` declares. @throws SchedulerError `client-unavailable` when not declared or not configured */
  client<K extends ClientKind>(kind: K): Promise<ReadClient<K>>
  /**
   * The one gate for writes: records the action, then performs it inside a transaction that begins by locking the task's fence row,
   * or, where the action names `via`, with the direct connection or the client. In a dry run `perform` never runs and the action is
   * only listed; `act` then resolves to `undefined`.
   * @throws LostClaimError when the claim was taken over; whatever `perform` throws, after the failure was recorded.
   */
  act<T extends ActionEffect | void>(
    action: Action & { readonly via?: 'transaction' },
    perform: (fenced: Fenced<DB, Cursor>) => Promise<T>,
  ): Promise<T | undefined>
  act<T extends ActionEffect | void>(
    action: Action & { readonly via: 'direct' },
    perform: (direct: Direct<DB>) => Promise<T>,
  ): Promise<T | undefined>
  act<K extends ClientKind, T extends ActionEffect | void>(
    action: Action & { readonly via: K },
    perform: (client: WriteClient<K>) => Promise<T>,
  ): Promise<T | undefined>
  readonly logger: TaskLogger
  readonly clock: Clock
  readonly slot: Slot
  /** Hard stop. Also cancels the running statement on the server. */
  readonly signal: AbortSignal
  /** Soft stop: when exhausted, return `partial` at the next border. */
  readonly budget: Budget
  /** What this task saved in an earlier run. Kept until the task changes or clears it, over slots and processes. */
  readonly checkpoint: Checkpoint<Cursor>
  readonly metrics: TaskMetrics
  /** How far long work has come: shown live on a terminal, logged at debug level elsewhere. */
  progress(progress: Progress): void
  /** W3C trace context of this run, for what the task triggers. Absent without telemetry. */
  readonly traceparent: string | undefined
  /** Plans only: `act` performs nothing. Needed for wording alone; a task must not branch on it to protect data. */
  readonly dryRun: boolean
}

export interface ReadLimits {
  /** Milliseconds for one statement, or for a COPY from its first to its last byte. Default: 15000; never beyond the task's hard stop. */
  readonly statementTimeoutMs?: number
}

/** What happened in one run of a task that did not throw. */
export type TaskResult =
  | { readonly outcome: 'succeeded'; readonly findings?: readonly Finding[]; readonly changes?: readonly Change[] }
  /** Stopped at a border; the same slot goes on in the next run. `remaining` is the backlog in the task's own unit, a whole number. */
  | { readonly outcome: 'partial'; readonly remaining?: number; readonly findings?: readonly Finding[] }
  /** Nothing could or should be done, and why. Finishes the slot. */
  | { readonly outcome: 'skipped'; readonly reason: string; readonly findings?: readonly Finding[] }

export const severities = ['info', 'warning', 'error', 'critical'] as const
export type Severity = (typeof severities)[number]

/** How a task says "a human should know". A finding exists as long as each run of its task reports it again. */
export interface Finding {
  /** Stable over runs and versions: no times, counts or messages in it. Unique within the task, at most 200 characters. */
  readonly key: string
  readonly severity: Severity
  /** One line. */
  readonly summary: string
  /** JSON-safe. */
  readonly details?: Readonly<Record<string, unknown>>
  /** Milliseconds that it must last before people are told. Default: what the operator configured for its severity. */
  readonly holdDownMs?: number
  /**
   * Findings of which this one is a mere consequence: nobody is told of it while one of them lasts. Keys of the same task, or
   * `task/key`, or `scheduler/…` for what the scheduler finds by itself.
   */
  readonly dependsOn?: readonly string[]
}

/**
 * How a task says "this was done, put it on the time line": a finished retention, a backup. It calls nobody and is never taken back.
 *
 * It comes with success alone, which finishes the slot: a run that was killed before its record is repeated and reports it again, and
 * nothing is told twice. So it is made of what the slot left in rows or checkpoint, not of what this one process did.
 */
export interface Change {
  /** What kind of change: kebab-case, stable over runs, at most 200 characters. Routes and mutes name it `task/key`. */
  readonly key: string
  /** One line, shown as the title. */
  readonly summary: string
  /** JSON-safe. */
  readonly details?: Readonly<Record<string, unknown>>
  /** Where more is to be seen: `https://` or `http://`. */
  readonly links?: readonly ChangeLink[]
}

export interface ChangeLink {
  readonly href: string
  readonly text?: string
}

/** One change, as the audit trail keeps it. */
export interface Action {
  /** What is done, as a verb in kebab-case: `analyze`, `delete-rows`. */
  readonly kind: string
  /** The relation, or whatever else is changed: `public.killmail_events`. */
  readonly target: string
  /** One line: why, or what exactly. Shown by `plan` and kept in the audit trail. */
  readonly reason?: string
  /** Milliseconds that one statement may wait for a lock. Default: 2000. */
  readonly lockTimeoutMs?: number
  /** Milliseconds that one statement may take; then it fails with SQLSTATE 57014. Default, and never more: until the task's hard stop. */
  readonly statementTimeoutMs?: number
}

/** What an action changed, returned by `perform`; the properties below go into the audit trail. */
export interface ActionEffect {
  readonly rows?: number
  readonly bytes?: number
  readonly details?: Readonly<Record<string, unknown>>
}

/** An open, writable transaction that holds the task's fence: another process cannot take the task over until it ends. */
export interface Fenced<DB, Cursor = unknown> {
  readonly db: Kysely<DB>
  /** Notices and warnings that the server sent in this transaction, in order. */
  readonly notices: readonly Notice[]
  /** Saves the checkpoint in this very transaction, so that cursor and change commit together. */
  saveCheckpoint(cursor: Cursor): Promise<void>
  /** COPY … FROM STDIN. */
  copyFrom(statement: string, source: AsyncIterable<Uint8Array>): Promise<void>
}

/** A session-capable connection of its own, outside transactions. Everything done with it must be harmless if done twice. */
export interface Direct<DB> {
  readonly db: Kysely<DB>
  readonly notices: readonly Notice[]
  /** The server's process id, for the progress views. */
  readonly backendPid: number
}

export interface Snapshot<DB> {
  readonly db: Kysely<DB>
  /** COPY (…) TO STDOUT, as the server sends it. */
  copyTo(statement: string): AsyncIterable<Uint8Array>
}

/** Logging as pino does it: fields first, constant lower-case text second. */
export interface TaskLogger {
  trace(fields: object, message: string): void
  debug(fields: object, message: string): void
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
}

export interface Clock {
  /** Database time. */
  now(): Date
  /** Milliseconds that only ever grow, for durations. */
  monotonicMs(): number
  /** What the clock of this machine says: to be held against the database's, never to go by. */
  hostNow(): Date
  /** Waits; rejects with the signal's reason when the run is aborted. Never call it inside a transaction. */
  sleep(ms: number): Promise<void>
}

/** One planned time of a task. */
export interface Slot {
  /** `task@2026-11-23T02:00:00Z`: the idempotency key for everything outside PostgreSQL. The same over slices and retries of a slot. */
  readonly id: string
  readonly scheduledAt: Date
  /** Milliseconds between `scheduledAt` and the start of this run. */
  readonly lateByMs: number
}

export interface Budget {
  /** Milliseconds left; never negative. */
  remainingMs(): number
  /**
   * Milliseconds that a run gives this task when nothing before it uses any of them: the smaller of the run's budget and the task's own share of its
   * timeout. What is predicted to take longer fits into no run, whatever is left now.
   */
  readonly totalMs: number
  exhausted(): boolean
}

export interface Checkpoint<Cursor> {
  load(): Promise<Cursor | undefined>
  /** Saved with the claim's ticket. Does nothing in a dry run. @throws LostClaimError */
  save(cursor: Cursor): Promise<void>
  /** Forgets the cursor. Does nothing in a dry run. @throws LostClaimError */
  clear(): Promise<void>
}

/** Numbers that outlive the process: stored in PostgreSQL with the record of the run. */
export interface TaskMetrics {
  /** The value now. Names are snake_case and get the task's name as a label. @throws TypeError for a name that is not */
  gauge(name: string, value: number, attributes?: Readonly<Record<string, string>>): void
  /** Adds to a lifetime total. */
  count(name: string, increment: number, attributes?: Readonly<Record<string, string>>): void
}

export interface Progress {
  readonly done: number
  readonly total?: number
  /** What is counted: `relations`, `rows`. */
  readonly unit: string
  /** What is being worked on. */
  readonly current?: string
}

/** Types a task; `DB` and the cursor come from the annotation, the options from the schema. */
export function defineTask<Schema extends z.ZodObject, DB = unknown, Cursor = unknown, Request = unknown>(
  task: Task<Schema, DB, Cursor, Request>,
): Task<Schema, DB, Cursor, Request> {
  return task
}
