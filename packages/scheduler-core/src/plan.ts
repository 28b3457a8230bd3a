/** Stage 3: which tasks are due now, in which order, and why the others are not. Pure. */
import type { RegisteredTask, Registry } from './registry.js'
import { dueSlot, finishedSlot } from './schedule.js'
import type { State, TaskState } from './state/task-state.js'

export type NotDueReason =
  'not-yet' | 'outside-window' | 'back-off' | 'paused' | 'claimed' | 'already-ran' | 'not-selected'

export interface DueTask {
  readonly due: true
  readonly name: string
  readonly entry: RegisteredTask
  /** The task's row that this decision rests on; '0' when it has none yet. */
  readonly revision: string
  readonly slotId: string
  readonly scheduledAt: Date
  readonly lateByMs: number
  /** Why, in words. */
  readonly reason: string
  /**
   * Milliseconds since it became due or was last claimed, whichever is later: the longest goes first. Not since it became due alone, or a
   * task that needs many slices for one slot would be first in each of them.
   */
  readonly waitingMs: number
  /** It failed last time, and goes last: a task that hangs keeps the others waiting once. */
  readonly failing: boolean
}

export interface NotDueTask {
  readonly due: false
  readonly name: string
  readonly entry: RegisteredTask
  readonly code: NotDueReason
  /** Why not, in words. */
  readonly reason: string
  readonly nextAt: Date | undefined
}

export type Decision = DueTask | NotDueTask

export interface RunPlan {
  /** Due tasks in the order in which they will run, then the others by name. */
  readonly decisions: readonly Decision[]
}

export interface PlanOptions {
  /** Limit to these tasks. Default: all. */
  readonly only?: readonly string[]
  /** Ignore schedule, window and back-off; never pause or claim. Default: false. */
  readonly force?: boolean
  /** Tasks that a command asks something of: they run beside their schedule, and finish no slot. */
  readonly requested?: readonly string[]
  /** Database time at which this run of the scheduler began: an every-run task runs once per run, whoever ran it. */
  readonly runStartedAt: Date
}

export function planRun(registry: Registry, state: State, options: PlanOptions): RunPlan {
  const decisions = registry.tasks.map((entry) => decide(entry, state.tasks.get(entry.name), state.now, options))
  const due = decisions.filter((decision) => decision.due)
  const others = decisions.filter((decision) => !decision.due)
  return {
    decisions: [
      ...due.sort(
        (a, b) =>
          Number(a.failing) - Number(b.failing) ||
          weight(a) - weight(b) ||
          b.waitingMs - a.waitingMs ||
          (a.name < b.name ? -1 : 1),
      ),
      ...others.sort((a, b) => (a.name < b.name ? -1 : 1)),
    ],
  }
}

/** Cheap tasks before heavy ones: health and alerts never wait for a VACUUM. */
function weight(decision: DueTask): number {
  return decision.entry.task.heavy === true ? 1 : 0
}

export function decide(entry: RegisteredTask, state: TaskState | undefined, now: Date, options: PlanOptions): Decision {
  const name = entry.name
  const no = (code: NotDueReason, reason: string, nextAt?: Date): NotDueTask => ({
    due: false,
    name,
    entry,
    code,
    reason,
    nextAt,
  })
  if (options.only !== undefined && !options.only.includes(name)) return no('not-selected', 'not asked for by --task')
  if (state?.paused !== undefined) {
    const { until, reason } = state.paused
    return no(
      'paused',
      `paused${until === undefined ? '' : ` until ${instant(until)}`}${reason === undefined ? '' : `: ${reason}`}`,
      until,
    )
  }
  if (state?.claim !== undefined && !state.claim.expired) {
    return no(
      'claimed',
      `claimed by ${state.claim.holder} until ${instant(state.claim.expiresAt)}`,
      state.claim.expiresAt,
    )
  }
  const occasion = occasionOf(entry, state, now, options)
  if (!occasion.due) return no(occasion.code, occasion.reason, occasion.nextAt)
  if (
    state?.retryAt !== undefined &&
    state.retryAt > now &&
    options.force !== true &&
    occasion.reason !== 'requested'
  ) {
    return no(
      'back-off',
      `${state.consecutiveFailures} failures in a row; next try at ${instant(state.retryAt)}`,
      state.retryAt,
    )
  }
  return {
    due: true,
    name,
    entry,
    revision: state?.revision ?? '0',
    slotId: slotId(name, occasion.scheduledAt),
    scheduledAt: occasion.scheduledAt,
    lateByMs: Math.max(0, now.getTime() - occasion.scheduledAt.getTime()),
    reason: occasion.reason,
    waitingMs: now.getTime() - Math.max(occasion.since.getTime(), state?.lastClaimedAt?.getTime() ?? 0),
    failing: (state?.consecutiveFailures ?? 0) > 0,
  }
}

type TaskOccasion =
  | { readonly due: true; readonly scheduledAt: Date; readonly since: Date; readonly reason: string }
  | { readonly due: false; readonly code: NotDueReason; readonly reason: string; readonly nextAt: Date | undefined }

function occasionOf(
  entry: RegisteredTask,
  state: TaskState | undefined,
  now: Date,
  options: PlanOptions,
): TaskOccasion {
  const { schedule } = entry
  if (options.requested?.includes(entry.name) === true)
    return { due: true, scheduledAt: now, since: now, reason: 'requested' }
  if (schedule.kind === 'every-run') {
    // Two Jobs for the same minute: whatever was claimed after this run began was claimed for this occasion.
    if (state?.lastClaimedAt !== undefined && state.lastClaimedAt >= options.runStartedAt && options.force !== true) {
      return {
        due: false,
        code: 'already-ran',
        reason: 'another process has run it since this run began',
        nextAt: undefined,
      }
    }
    return {
      due: true,
      scheduledAt: now,
      since: state?.lastClaimedAt ?? state?.firstSeenAt ?? now,
      reason: 'due in every run',
    }
  }
  const occasion = dueSlot(schedule, { lastSlotAt: state?.lastSlotAt, firstSeenAt: state?.firstSeenAt }, now)
  if (occasion.due) {
    const reason =
      state === undefined || state.lastSlotAt === undefined
        ? `first slot ${instant(occasion.scheduledAt)}`
        : `slot ${instant(occasion.scheduledAt)} is unfinished`
    return { ...occasion, reason }
  }
  if (options.force === true) return { due: true, scheduledAt: now, since: now, reason: 'forced' }
  const next = occasion.nextAt === undefined ? 'never' : instant(occasion.nextAt)
  return {
    due: false,
    code: occasion.reason,
    nextAt: occasion.nextAt,
    reason: occasion.reason === 'not-yet' ? `next slot ${next}` : `its window has passed; next slot ${next}`,
  }
}

/** When the task is due next: in the past for a slot that waits. Undefined for a task that is due in every run, and while it is paused for good. */
export function nextDueAt(entry: RegisteredTask, state: TaskState | undefined, now: Date): Date | undefined {
  if (entry.schedule.kind === 'every-run') return undefined
  const decision = decide(entry, state, now, { runStartedAt: now })
  return decision.due ? decision.scheduledAt : decision.nextAt
}

/**
 * What to store as finished when a due task's slot is finished; undefined for tasks without slots, and for forced and requested runs
 * beside the schedule, which finish nothing.
 */
export function slotToFinish(decision: DueTask, claimedAt: Date): Date | undefined {
  const { schedule } = decision.entry
  if (schedule.kind === 'every-run' || decision.reason === 'forced' || decision.reason === 'requested') return undefined
  return finishedSlot(schedule, decision.scheduledAt, claimedAt)
}

/** `analyze@2026-11-23T02:00:00Z`; milliseconds are kept only where there are any. */
export function slotId(task: string, scheduledAt: Date): string {
  return `${task}@${instant(scheduledAt)}`
}

function instant(date: Date): string {
  return date.toISOString().replace('.000Z', 'Z')
}
