/** What planning reads: every task's row, and the claim on it. */
import { sql, type SqlBool } from 'kysely'
import type { SpanReference } from '../telemetry.js'
import type { StateDb } from './tables.js'

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
  /** The newest recorded run's, where it was traced. */
  readonly lastSpan: SpanReference | undefined
  readonly tasks: ReadonlyMap<string, TaskState>
}

/** Everything that planning needs, in one statement. */
export async function selectState(db: StateDb): Promise<State> {
  const rows = await db
    .selectFrom('meta')
    .leftJoin('task', (join) => join.on(sql<SqlBool>`true`))
    .leftJoin('claim', 'claim.ticket', 'task.ticket')
    .leftJoin('pause', 'pause.task', 'task.name')
    .leftJoinLateral(
      (query) =>
        query
          .selectFrom('run')
          .select(['trace_id as last_trace_id', 'span_id as last_span_id'])
          .orderBy('started_at', 'desc')
          .limit(1)
          .as('last_run'),
      (join) => join.on(sql<SqlBool>`true`),
    )
    .select([
      sql<Date>`now()`.as('now'),
      'meta.schema_version',
      'meta.instance_id',
      'meta.history_pruned_at',
      'last_trace_id',
      'last_span_id',
      'task.name',
      'task.revision',
      'task.first_seen_at',
      'task.last_slot_at',
      'task.last_claimed_at',
      'task.consecutive_failures',
      'task.retry_at',
      'pause.paused_at',
      'pause.until as paused_until',
      'pause.reason as pause_reason',
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
    lastSpan:
      first.last_trace_id === null || first.last_span_id === null
        ? undefined
        : { traceId: first.last_trace_id, spanId: first.last_span_id },
    now: first.now,
    tasks,
  }
}
