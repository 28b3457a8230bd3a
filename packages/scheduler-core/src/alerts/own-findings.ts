/** What the scheduler finds about itself, from its own rows. Pure, and independent of any task: it works while every task fails. */
import { formatDuration } from '../option-types.js'
import type { DisabledTask } from '../registry.js'
import type { Finding } from '../task.js'
import { undeliveredPrefix } from './plan-messages.js'

/** From this period on a task is rare: its first failure counts, and so does its first success. */
const rarePeriodMs = 3_600_000
/** Failures in a row of a task that runs often: one is retried at once, and the next may meet the same passing trouble. */
const failuresOfFrequentTask = 3
/** A task that runs often is stale after this many runs of the scheduler: two alone would tell of every run that was short of budget. */
const staleIntervals = 6
/** How long a task that is no longer enabled counts as forgotten rather than removed. */
const forgottenForMs = 7 * 86_400_000
/**
 * A task that is not enabled here and ran within this time has a job of its own, with a list of its own: a daily one is the least frequent
 * that can be told from one that is gone.
 */
const goneAfterMs = 26 * 3_600_000
const runsOverBudget = 3
const deadLettersCountForMs = 86_400_000
/** A message that waits for so long is told of through other channels. */
const undeliveredAfterMs = 1_800_000

export interface OwnFacts {
  readonly now: Date
  readonly expectedIntervalMs: number
  readonly budgetMs: number
  readonly tasks: readonly OwnTaskFacts[]
  /** Packages that could not be loaded. */
  readonly disabled: readonly DisabledTask[]
  /** Milliseconds that the newest runs took, newest first. */
  readonly runDurationsMs: readonly number[]
  readonly channels: readonly OwnChannelFacts[]
}

export interface OwnTaskFacts {
  readonly name: string
  /** Milliseconds from slot to slot; undefined for a task that is not enabled. */
  readonly periodMs: number | undefined
  readonly consecutiveFailures: number
  readonly consecutiveExpiries: number
  readonly lastReason: string | undefined
  /** Its claim expired and could not be freed. */
  readonly stuck: boolean
  readonly paused: boolean
  readonly firstSeenAt: Date
  readonly lastClaimedAt: Date | undefined
  readonly lastSuccessAt: Date | undefined
}

export interface OwnChannelFacts {
  readonly name: string
  readonly newestDeadAt: Date | undefined
  readonly deadLetters: number
  readonly lastReason: string | undefined
  readonly oldestWaitingAt: Date | undefined
}

export const notEnabledPrefix = 'task-not-enabled/'
/** Beginnings of keys that are over only when every task of the configuration is known. */
const needsEveryTask: readonly string[] = [notEnabledPrefix, 'package-disabled/']

/** Claimed lately, by whatever process: a task that is not enabled here has a job of its own. */
export function ranLately({ lastClaimedAt }: Pick<OwnTaskFacts, 'lastClaimedAt'>, now: Date): boolean {
  return lastClaimedAt !== undefined && now.getTime() - lastClaimedAt.getTime() <= goneAfterMs
}

/** The task that a finding of the scheduler is about, where only a process that has this task enabled can say whether it is over. */
export function taskOfOwnFinding(key: string): string | undefined {
  return /^(?:task-failing|task-stale|claim-expired|claim-stuck)\/(.+)$/s.exec(key)?.[1]
}

/**
 * Of which keys the scheduler's look says nothing, found or not: of tasks that are enabled elsewhere, or may be among those that are not
 * loaded yet, this process knows neither the period nor whether they are wanted.
 */
export function silentOnOwn({
  tasks,
  complete,
  now,
}: {
  readonly tasks: readonly Pick<OwnTaskFacts, 'name' | 'periodMs' | 'lastClaimedAt'>[]
  /** Every task of the configuration is known. */
  readonly complete: boolean
  readonly now: Date
}): (key: string) => boolean {
  const unjudged = new Set(
    tasks.flatMap((task) => (task.periodMs === undefined && (!complete || ranLately(task, now)) ? [task.name] : [])),
  )
  return (key) =>
    unjudged.has(taskOfOwnFinding(key) ?? '') ||
    (!complete && needsEveryTask.some((beginning) => key.startsWith(beginning)))
}

export function ownFindings(facts: OwnFacts): readonly Finding[] {
  return [
    ...facts.tasks.flatMap((task) => (task.periodMs === undefined ? [] : ofTask(task, task.periodMs, facts))),
    ...facts.tasks.flatMap((task) => notEnabled(task, facts)),
    ...facts.disabled.map(({ name, reason, hint }): Finding => ({
      key: `package-disabled/${name}`,
      severity: 'error',
      summary: `${name} is disabled: ${reason}`,
      details: hint === undefined ? {} : { hint },
    })),
    ...overBudget(facts),
    ...facts.channels.flatMap((channel) => undelivered(channel, facts.now)),
  ]
}

export function isRare(periodMs: number): boolean {
  return periodMs >= rarePeriodMs
}

function ofTask(task: OwnTaskFacts, periodMs: number, { now, expectedIntervalMs }: OwnFacts): readonly Finding[] {
  const { name, consecutiveFailures, consecutiveExpiries } = task
  const findings: Finding[] = []
  const because = task.lastReason === undefined ? '' : `: ${task.lastReason}`
  if (consecutiveFailures >= (isRare(periodMs) ? 1 : failuresOfFrequentTask)) {
    findings.push({
      key: `task-failing/${name}`,
      severity: 'error',
      // Without the number of failures, which would make another summary of every run.
      summary: `The task ${name} fails${because}`,
      details: { consecutiveFailures, hint: `battlescope-scheduler history --task ${name}` },
    })
  }
  if (consecutiveExpiries > 0) {
    findings.push({
      key: `claim-expired/${name}`,
      severity: 'warning',
      summary: `A run of the task ${name} ended without a word: killed, out of memory, or hanging`,
      details: { inARow: consecutiveExpiries, hint: `battlescope-scheduler history --task ${name}` },
    })
  }
  if (task.stuck) {
    findings.push({
      key: `claim-stuck/${name}`,
      severity: 'error',
      summary: `The claim on the task ${name} expired, and a transaction or statement of its holder is still open`,
      details: { hint: `battlescope-scheduler status, then: battlescope-scheduler release ${name}` },
    })
  }
  const since = task.lastSuccessAt ?? task.firstSeenAt
  const staleAfterMs = Math.max(2 * periodMs, staleIntervals * expectedIntervalMs)
  if (!task.paused && now.getTime() - since.getTime() > staleAfterMs) {
    findings.push({
      key: `task-stale/${name}`,
      severity: 'warning',
      summary: `The task ${name} has not succeeded since ${since.toISOString()}`,
      details: { staleAfter: formatDuration(staleAfterMs), hint: `battlescope-scheduler history --task ${name}` },
      // After an outage of the scheduler itself everything is late, and caught up within a run or two.
      holdDownMs: 3 * expectedIntervalMs,
      dependsOn: [`task-failing/${name}`, `claim-stuck/${name}`],
    })
  }
  return findings
}

/** A task with history that is no longer in the configuration: by mistake, perhaps. */
function notEnabled({ name, periodMs, lastClaimedAt }: OwnTaskFacts, { now }: OwnFacts): readonly Finding[] {
  // Rows with a colon are those of packages, which are claimed to be loaded.
  if (periodMs !== undefined || lastClaimedAt === undefined || name.includes(':')) return []
  if (ranLately({ lastClaimedAt }, now) || now.getTime() - lastClaimedAt.getTime() > forgottenForMs) return []
  return [
    {
      key: `${notEnabledPrefix}${name}`,
      severity: 'warning',
      summary: `The task ${name} ran until ${lastClaimedAt.toISOString()} and is no longer enabled`,
      details: {
        hint: `add it to SCHEDULER_TASKS, or: battlescope-scheduler alerts mute scheduler/task-not-enabled/${name} --until 7d`,
      },
      holdDownMs: 0,
    },
  ]
}

function overBudget({ runDurationsMs, budgetMs }: OwnFacts): readonly Finding[] {
  const newest = runDurationsMs.slice(0, runsOverBudget)
  if (newest.length < runsOverBudget || !newest.every((ms) => ms > budgetMs)) return []
  return [
    {
      key: 'runs-over-budget',
      severity: 'warning',
      summary: `The last ${runsOverBudget} runs took longer than their budget of ${formatDuration(budgetMs)}`,
      details: { hint: 'docs/tune.md: give long tasks a run of their own, or raise SCHEDULER_BUDGET' },
    },
  ]
}

function undelivered(channel: OwnChannelFacts, now: Date): readonly Finding[] {
  const { name, newestDeadAt, oldestWaitingAt, lastReason } = channel
  const isDead = newestDeadAt !== undefined && now.getTime() - newestDeadAt.getTime() < deadLettersCountForMs
  const isLate = oldestWaitingAt !== undefined && now.getTime() - oldestWaitingAt.getTime() > undeliveredAfterMs
  if (!isDead && !isLate) return []
  return [
    {
      key: `${undeliveredPrefix}${name}`,
      severity: 'error',
      summary: isDead ? `Alerts were lost on the way to ${name}` : `Alerts cannot be delivered to ${name}`,
      details: {
        deadLetters: channel.deadLetters,
        ...(lastReason === undefined ? {} : { reason: lastReason }),
        hint: 'battlescope-scheduler status',
      },
      holdDownMs: 0,
    },
  ]
}
