/**
 * What a check is: data, one bounded read, and one pure judgement.
 *
 * A check is *due* by its own interval, *made* by reading, and then one of four things: *measured* (its judgement may find something, or
 * nothing), *unknown* (it could not be made: never taken for fine), *not applicable* (there is nothing of the kind here), or *off*.
 * What a check found is reported again in every run until it is made the next time, for a finding exists as long as each run reports it.
 */
import type { ClientKind, Finding, HttpReader, Severity, TaskLogger } from '@battlescope/scheduler-core'
import type { RedisReader } from '@battlescope/redis'
import type { Kysely } from 'kysely'
import type { z } from 'zod'
import type { HealthSettings } from './settings.js'

export const checkGroups = ['services', 'queues', 'integrity', 'database', 'anomalies'] as const
export type CheckGroup = (typeof checkGroups)[number]

/** What can be set for every check; the values are options of the same names. */
export interface CheckOptions {
  readonly enabled: boolean
  /** Milliseconds between two times that it is made; absent: in every run. */
  readonly interval?: number | undefined
  readonly severity: Severity
  /** Milliseconds for which it must be found before an alert fires. */
  readonly holdDown: number
}

/** The options of a check of which nothing else is known. */
export type AnyOptions = CheckOptions & Readonly<Record<string, unknown>>

/** The options of one check: those that every check has, and its own thresholds. */
export type OptionsOf<Shape extends z.ZodRawShape> = CheckOptions & Readonly<z.output<z.ZodObject<Shape>>>

export interface Check<Shape extends z.ZodRawShape = z.ZodRawShape, Reading = unknown, Memory = unknown> {
  /** Unique, kebab-case, stable: findings are named after it, and its options (`queue-depth` → `health.queueDepth`). */
  readonly key: string
  readonly group: CheckGroup
  /** One line: what is measured, and what is found. Becomes the description in the README. */
  readonly description: string
  /** Default of the option `interval`, in milliseconds. */
  readonly interval: 'every-run' | number
  /** Default of the option `severity`: that of findings which name none. */
  readonly severity: Severity
  /** Default of the option `holdDown`, in milliseconds. */
  readonly holdDownMs: number
  /** Thresholds: one option each, with `.describe()` and a default; units are part of the type or of the name. */
  readonly options: Shape
  /** One line: what a human does about it. */
  readonly hint: string
  /** What it needs under these settings; held against the catalog before it is made. Default: nothing. */
  readonly needs?: (settings: HealthSettings, options: OptionsOf<Shape>) => Needs
  /** Milliseconds for the whole read. Default: 3000. Each statement has its own limit of one second. */
  readonly timeoutMs?: number
  /** The shape of what it remembers until it is made again. A stored value that does not fit reads as absent. */
  readonly memory?: z.ZodType<Memory>
  /** Reads, and decides nothing but whether it could. Whatever it throws makes the check unknown. */
  read(context: CheckContext<Memory>, options: OptionsOf<Shape>): Promise<Outcome<Reading, Memory>>
  /** Pure: no clock, no database. What is wrong, worst first; empty when nothing is. */
  judge(reading: Reading, options: OptionsOf<Shape>): readonly Found[]
  /** Pure: gauges of a reading, by name (snake_case). The same names for every reading, so that no series comes and goes. */
  gauges?(reading: Reading, options: OptionsOf<Shape>): Readonly<Record<string, number>>
  /**
   * What is written after it was measured (a baseline), inside the one action of the run that all checks share: few, short statements,
   * harmless if done twice.
   */
  record?(recorder: Recorder, reading: Reading, options: OptionsOf<Shape>): Promise<void>
}

/** A check whose type parameters do not matter: what the list of them holds. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any -- Check is invariant in its parameters, so only `any` admits every check
export type AnyCheck = Check<any, any, any>

export interface Needs {
  /** Those that do not exist, or lack a column, make the check not applicable; those that may not be read make it unknown. */
  readonly relations?: readonly NeededRelation[]
  /** Without one of them the check is unknown. */
  readonly clients?: readonly ClientKind[]
  /** Those that it uses where they are configured, and does without where they are not. */
  readonly optionalClients?: readonly ClientKind[]
  /** Roles whose privileges the connection must have: `pg_monitor`. Without one of them the check is unknown. */
  readonly roles?: readonly string[]
}

export interface NeededRelation {
  /** `schema.name`. */
  readonly relation: string
  readonly columns: readonly string[]
}

/** Everything that a check may touch. */
export interface CheckContext<Memory = unknown> {
  readonly settings: HealthSettings
  /** Reads only; every statement is a unit of work of its own and ends after one second (SQLSTATE 57014: the check is unknown). */
  readonly db: Kysely<unknown>
  /** Schema of the scheduler's own tables; undefined in a dry run before they were made: read as empty. */
  readonly stateSchema: string | undefined
  /** Database time at which the checks of this run began: the same for all of them. */
  readonly now: Date
  /** Milliseconds that only ever grow. */
  readonly monotonicMs: () => number
  /** What the clock of this machine says: to be held against the database's, never to go by. */
  readonly hostNow: () => Date
  /** What the catalog says of a relation that `needs` names. @throws RangeError for another one */
  readonly relation: (name: string) => RelationFacts
  /** @throws SchedulerError `client-unavailable` when `needs` does not name it */
  http(): Promise<HttpReader>
  redis(): Promise<RedisReader>
  /** Whether an optional client is configured. */
  hasClient(kind: ClientKind): boolean
  /** Ends with the check's timeout, and with the run. */
  readonly signal: AbortSignal
  /** What the check remembered when it was last measured. */
  readonly memory: { readonly at: Date; readonly value: Memory } | undefined
  readonly logger: TaskLogger
}

/** Of a relation that exists. */
export interface RelationFacts {
  readonly exists: boolean
  /** Names of its columns; none when there is no such relation. */
  readonly columns: ReadonlySet<string>
  /** Privileges that reading it lacks, as GRANT names them: `SELECT ON public.battles`. */
  readonly missingPrivileges: readonly string[]
  /** First columns of its valid indexes without predicate. */
  readonly indexedColumns: ReadonlySet<string>
  /** `reltuples`; undefined before the first ANALYZE or VACUUM. */
  readonly estimatedRows: number | undefined
}

/** The open transaction of the action that records. */
export interface Recorder {
  readonly db: Kysely<unknown>
  /** The scheduler's schema, where the tables are. */
  readonly stateSchema: string
  readonly now: Date
}

/** Why a check could not be made; it decides how loud that is (`findings.ts`). */
export type UnknownCause = 'not-configured' | 'not-permitted' | 'no-answer'

export type Outcome<Reading, Memory = unknown> =
  | { readonly outcome: 'measured'; readonly reading: Reading; readonly memory?: Memory }
  | {
      readonly outcome: 'unknown'
      readonly cause: UnknownCause
      /** Which grant, URL or answer is missing. */
      readonly reason: string
      /** What many checks may miss at once; it names the one finding of all of them. Stable: no name of a role, no text for people. */
      readonly missing?: string
      /** Findings that explain it, as in {@link Finding.dependsOn}. */
      readonly dependsOn?: readonly string[]
    }
  | { readonly outcome: 'not-applicable'; readonly reason: string }

export function measured<Reading, Memory = unknown>(reading: Reading, memory?: Memory): Outcome<Reading, Memory> {
  return { outcome: 'measured', reading, ...(memory === undefined ? {} : { memory }) }
}

export function unknown(
  cause: UnknownCause,
  reason: string,
  more: { readonly missing?: string; readonly dependsOn?: readonly string[] } = {},
): Outcome<never, never> {
  return { outcome: 'unknown', cause, reason, ...more }
}

export function notApplicable(reason: string): Outcome<never, never> {
  return { outcome: 'not-applicable', reason }
}

/** What a judgement says is wrong. Key, hold-down and hint are added from the check (`findings.ts`). */
export interface Found {
  /** What exactly, when a check can find several: the name of a service, a relation, a slot. Stable; no counts, times, pids. */
  readonly subject?: string
  /** Default: the check's option `severity`. */
  readonly severity?: Severity
  /** One line, with the number that was measured and the threshold that it crossed. */
  readonly summary: string
  /** JSON-safe. */
  readonly details?: Readonly<Record<string, unknown>>
  /** Default: the check's. */
  readonly hint?: string
  readonly dependsOn?: Finding['dependsOn']
}

/** Types a check: options from its shape, reading and memory from its functions. */
export function defineCheck<Shape extends z.ZodRawShape, Reading, Memory = never>(
  check: Check<Shape, Reading, Memory>,
): Check<Shape, Reading, Memory> {
  return check
}
