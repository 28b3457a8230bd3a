/**
 * Schedules and slots: pure functions of time. A slot is one planned time of a task; which slot is due follows from the schedule
 * and from the newest slot that is finished, never from a stored "next" that a changed schedule would make wrong.
 */
import { Cron } from 'croner'

export type Schedule = (EveryRun | Interval | CronSchedule) & {
  /**
   * Milliseconds after its slot in which a task may start; a slot whose window has passed is dropped.
   * Default: no window, a missed slot is caught up once.
   */
  readonly windowMs?: number
}

/** Due in every run of the scheduler; has no slots. */
export interface EveryRun {
  readonly kind: 'every-run'
}

/** Slots are the multiples of `everyMs` (milliseconds, at least 1000) since 1970-01-01T00:00Z: they cannot drift. */
export interface Interval {
  readonly kind: 'interval'
  readonly everyMs: number
}

/** Five-field cron expression in an IANA timezone. On both days of a DST change a daily slot happens once. */
export interface CronSchedule {
  readonly kind: 'cron'
  readonly expression: string
  /** Default: UTC, whatever the machine's own timezone is. */
  readonly timezone?: string
}

type Slotted = Exclude<Schedule, EveryRun>

/** The newest slot at or before `instant`; undefined when the schedule has none there (a cron expression that never matched). */
export function latestSlot(schedule: Slotted, instant: Date): Date | undefined {
  if (schedule.kind === 'interval') {
    return new Date(Math.floor(instant.getTime() / schedule.everyMs) * schedule.everyMs)
  }
  // croner looks strictly before its reference; one millisecond more admits a slot at the instant itself.
  return cron(schedule).previousRuns(1, new Date(instant.getTime() + 1))[0]
}

/** The first slot strictly after `instant`; undefined when there is none (30 February). */
export function firstSlotAfter(schedule: Slotted, instant: Date): Date | undefined {
  if (schedule.kind === 'interval') {
    return new Date((Math.floor(instant.getTime() / schedule.everyMs) + 1) * schedule.everyMs)
  }
  return cron(schedule).nextRun(instant) ?? undefined
}

/** What the schedule says at one instant, for a task whose newest finished slot and first sight are known. */
export type Occasion =
  | { readonly due: true; readonly scheduledAt: Date; readonly since: Date }
  | { readonly due: false; readonly nextAt: Date | undefined; readonly reason: 'not-yet' | 'outside-window' }

export interface SlotHistory {
  /** The newest slot that is finished. */
  readonly lastSlotAt: Date | undefined
  /** When the scheduler saw this task for the first time; undefined in the run that sees it first. */
  readonly firstSeenAt: Date | undefined
}

/**
 * Which slot is due. However many slots were missed, the answer is one: the oldest unfinished slot, which keeps its identity over
 * partial and failed runs, and whose success finishes every slot up to its own start (see {@link finishedSlot}).
 * A task with a window is due only inside the window of its newest slot.
 */
export function dueSlot(schedule: Slotted, history: SlotHistory, now: Date): Occasion {
  const latest = latestSlot(schedule, now)
  const notYet = { due: false, nextAt: firstSlotAfter(schedule, now), reason: 'not-yet' } as const
  if (latest === undefined) return notYet
  const oldest = oldestUnfinishedSlot(schedule, history, now, latest)
  if (oldest === undefined) return notYet
  // Later than the next slot only where a clock once ran ahead.
  if (oldest > now) return { ...notYet, nextAt: oldest }
  if (schedule.windowMs === undefined) return { due: true, scheduledAt: oldest, since: oldest }
  const scheduledAt = oldest > latest ? oldest : latest
  if (now.getTime() < scheduledAt.getTime() + schedule.windowMs) return { due: true, scheduledAt, since: scheduledAt }
  return { ...notYet, reason: 'outside-window' }
}

function oldestUnfinishedSlot(schedule: Slotted, history: SlotHistory, now: Date, latest: Date): Date | undefined {
  if (history.lastSlotAt !== undefined) return firstSlotAfter(schedule, history.lastSlotAt)
  // At first sight an interval is due at once, while cron (a backup at 03:00) waits for its next slot.
  if (schedule.kind === 'interval') return latest
  return firstSlotAfter(schedule, history.firstSeenAt ?? now)
}

/** The slot to store as finished when a run that was claimed at `claimedAt` finishes its slot: missed ones are finished with it. */
export function finishedSlot(schedule: Slotted, scheduledAt: Date, claimedAt: Date): Date {
  const latest = latestSlot(schedule, claimedAt)
  return latest !== undefined && latest > scheduledAt ? latest : scheduledAt
}

/**
 * Checks a schedule, for schedules that come from a task package.
 * @returns what is wrong with it, or undefined.
 */
export function scheduleProblem(schedule: Schedule): string | undefined {
  if (schedule.kind === 'interval' && !(Number.isInteger(schedule.everyMs) && schedule.everyMs >= 1000)) {
    return `an interval needs a whole number of milliseconds, at least 1000, not ${schedule.everyMs}`
  }
  if (schedule.windowMs !== undefined && !(Number.isInteger(schedule.windowMs) && schedule.windowMs > 0)) {
    return 'a window is a whole number of milliseconds above 0'
  }
  if (schedule.kind !== 'cron') return undefined
  if (schedule.expression.trim().split(/\s+/).length !== 5)
    return `a cron expression has five fields, not '${schedule.expression}'`
  try {
    cron(schedule).nextRun(new Date(0))
    return undefined
  } catch (error) {
    return `'${schedule.expression}' in timezone '${schedule.timezone ?? 'UTC'}': ${(error as Error).message}`
  }
}

function cron(schedule: CronSchedule): Cron {
  // The first use of a timezone loads the runtime's timezone data (20 ms); UTC needs none.
  const { timezone = 'UTC' } = schedule
  const zone = timezone === 'UTC' ? { utcOffset: 0 } : { timezone }
  return new Cron(schedule.expression, zone)
}
