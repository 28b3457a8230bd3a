/** Kysely types of the scheduler's own tables; `migrations.ts` makes them. Names are qualified by `withSchema`. */
import {
  sql,
  type ColumnType,
  type Generated,
  type GeneratedAlways,
  type JSONColumnType,
  type Kysely,
  type RawBuilder,
  type SqlBool,
} from 'kysely'
import type { AlertContent, ChangeContent, MessageTransition } from '../alerts/channel.js'
import type { AlertRow } from '../alerts/plan-alerts.js'
import type { ToldRow } from '../alerts/plan-messages.js'
import type { ChangeLink, Finding, Severity } from '../task.js'

type Timestamp = ColumnType<Date, Date | string, Date | string>
type NullableTimestamp = ColumnType<Date | null, Date | string | null | undefined, Date | string | null>
/** int8 comes from PostgreSQL as text. */
type BigInteger = ColumnType<string, number | string, number | string>
type NullableBigInteger = ColumnType<string | null, number | string | null | undefined, number | string | null>

export const outcomes = ['succeeded', 'partial', 'skipped', 'failed', 'timed-out', 'cancelled'] as const
/** How one run of a task ended. */
export type Outcome = (typeof outcomes)[number]

export interface StateDatabase {
  meta: {
    singleton: Generated<boolean>
    schema_version: number
    instance_id: Generated<string>
    created_at: Generated<Date>
    history_pruned_at: ColumnType<Date, never, Date>
    alerts_since: Generated<Date>
  }
  task: {
    name: string
    revision: Generated<string>
    third_party: Generated<boolean>
    first_seen_at: Generated<Date>
    last_slot_at: NullableTimestamp
    last_claimed_at: NullableTimestamp
    ticket: string | null
    consecutive_failures: Generated<number>
    consecutive_expiries: Generated<number>
    retry_at: NullableTimestamp
  }
  pause: {
    task: string
    paused_at: ColumnType<Date, Date | undefined, Date>
    until: NullableTimestamp
    reason: string | null
  }
  claim: {
    ticket: string
    task: string
    run_id: string
    slot_id: string
    slot_at: Timestamp
    holder: string
    uses_direct: boolean
    claimed_at: Generated<Date>
    renewed_at: Generated<Date>
    expires_at: Timestamp
  }
  checkpoint: { task: string; data: JSONColumnType<object, string, string>; ticket: string; saved_at: Generated<Date> }
  run: {
    id: string
    started_at: Timestamp
    finished_at: Timestamp
    exit_code: number
    version: string
    holder: string
    decisions: JSONColumnType<readonly object[], string, string>
    trace_id: string | null
    span_id: string | null
  }
  task_run: {
    id: GeneratedAlways<string>
    run_id: string
    task: string
    ticket: string
    slot_id: string
    slot_at: Timestamp
    late_by_ms: BigInteger
    outcome: Outcome
    reason: string | null
    error_code: string | null
    attempts: number
    started_at: Timestamp
    finished_at: Generated<Date>
    duration_ms: BigInteger
    peak_memory_bytes: NullableBigInteger
    remaining: NullableBigInteger
    action_count: number
    findings: JSONColumnType<readonly Finding[], string, string>
    trace_id: string | null
    evaluated: ColumnType<boolean, SqlBool | undefined, boolean>
  }
  action: {
    id: GeneratedAlways<string>
    run_id: string
    task: string
    ticket: string
    slot_id: string
    kind: string
    target: string
    via: string
    reason: string | null
    result: 'started' | 'succeeded' | 'failed'
    error_code: string | null
    row_count: NullableBigInteger
    byte_count: NullableBigInteger
    details: JSONColumnType<object, string | null, string | null> | null
    duration_ms: NullableBigInteger
    at: Generated<Date>
  }
  task_total: {
    task: string
    outcome: Outcome
    run_count: Generated<string>
    duration_ms_sum: Generated<string>
    bucket_bounds: number[]
    bucket_counts: string[]
    created_at: Generated<Date>
  }
  run_total: {
    exit_code: number
    run_count: ColumnType<string, number | string | undefined, number | string>
    duration_ms_sum: ColumnType<string, number | string | undefined, number | string>
    bucket_bounds: number[]
    bucket_counts: string[]
    created_at: Generated<Date>
  }
  task_metric: {
    task: string
    name: string
    attributes: JSONColumnType<Record<string, string>, string, string>
    kind: 'gauge' | 'counter'
    value: number
    created_at: Generated<Date>
    updated_at: Generated<Date>
  }
  alert: {
    name: string
    task: string | null
    finding_key: string
    dedup_key: string
    state: AlertRow['state']
    severity: Severity
    summary: string
    details: JSONColumnType<Readonly<Record<string, unknown>>, string, string>
    depends_on: JSONColumnType<readonly string[], string, string>
    first_seen_at: Timestamp
    last_seen_at: Timestamp
    opened_at: NullableTimestamp
    resolved_at: NullableTimestamp
    resolution: string | null
    good_runs: number
    good_since: NullableTimestamp
    last_good_at: NullableTimestamp
    openings: JSONColumnType<readonly string[], string, string>
    flapping: boolean
    silence: string | null
  }
  alert_mute: { pattern: string; until: Timestamp; reason: string | null; muted_at: Generated<Date> }
  alert_told: {
    channel: string
    name: string
    incident_at: Timestamp
    state: ToldRow['state']
    content: JSONColumnType<StoredContent, string, string>
    called_severity: Severity
    told_at: Timestamp
    called_at: NullableTimestamp
    target: string | null
  }
  alert_message: {
    seq: GeneratedAlways<string>
    id: string
    channel: string
    name: string
    incident_at: Timestamp
    transition: MessageTransition
    content: JSONColumnType<StoredContent | ChangeContent, string, string>
    at: Timestamp
    state: ColumnType<'waiting' | 'accepted' | 'dead', never, 'waiting' | 'accepted' | 'dead'>
    attempts: Generated<number>
    next_attempt_at: Timestamp
    leased_until: NullableTimestamp
    digest_id: string | null
    receipt: string | null
    reason: string | null
    dead_at: NullableTimestamp
  }
  change: {
    id: GeneratedAlways<string>
    task: string
    slot_id: string
    key: string
    summary: string
    details: JSONColumnType<Readonly<Record<string, unknown>>, string, string>
    links: JSONColumnType<readonly ChangeLink[], string, string>
    at: Generated<Date>
  }
  alert_channel: {
    channel: string
    hold_until: NullableTimestamp
    last_success_at: NullableTimestamp
    last_failure_at: NullableTimestamp
    last_failure: string | null
  }
}

/** What is told of an alert, as JSON keeps it. */
export type StoredContent = Readonly<
  Omit<AlertContent, 'openedAt' | 'task'> & { readonly openedAt: string; readonly task?: string }
>

/** With the schema of the scheduler's own tables. */
export type StateDb = Kysely<StateDatabase>

/** A table's qualified name, for SQL as text. */
export type TableName = (name: keyof StateDatabase) => RawBuilder<unknown>

export function tableNames(schema: string): TableName {
  return (name) => sql.id(schema, name)
}
