/** Stage 5: outcomes become rows. Each task's record is committed as it ends. */
import type { TaskRunResult } from './execute/run-task.js'
import { LostClaimError } from './errors.js'
import { slotToFinish, type DueTask } from './plan.js'
import type { ClaimIdentity } from './state/claims.js'
import type { TaskRunRecord } from './state/records.js'
import type { StateStore } from './state/store.js'

export interface FinishedRun {
  readonly decision: DueTask
  readonly identity: ClaimIdentity
  readonly result: TaskRunResult
  readonly claimedAt: Date
  readonly traceId: string | undefined
}

/** @returns false when the claim was lost before the record: then nothing was written. */
export async function recordTaskRun(store: StateStore, finished: FinishedRun): Promise<boolean> {
  try {
    await store.finishTaskRun(toRecord(finished))
    return true
  } catch (error) {
    if (error instanceof LostClaimError) return false
    throw error
  }
}

function toRecord({ decision, identity, result, claimedAt, traceId }: FinishedRun): TaskRunRecord {
  const finishes = result.outcome === 'succeeded' || result.outcome === 'skipped'
  return {
    ...identity,
    scheduledAt: decision.scheduledAt,
    lateByMs: decision.lateByMs,
    outcome: result.outcome,
    reason: result.reason,
    errorCode: result.errorCode,
    attempts: result.attempts,
    startedAt: claimedAt,
    durationMs: result.durationMs,
    peakMemoryBytes: result.peakMemoryBytes,
    remaining: result.remaining,
    actionCount: result.actions.length,
    findings: result.findings,
    changes: result.changes,
    traceId,
    metrics: result.metrics,
    requested: decision.reason === 'requested',
    finishedSlotAt: finishes ? slotToFinish(decision, claimedAt) : undefined,
  }
}
