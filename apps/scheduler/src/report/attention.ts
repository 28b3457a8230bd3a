/** What somebody should look at, worst first. Pure. */
import { severities, type Severity } from '@battlescope/scheduler-core'
import type { ReportFacts, TaskFacts } from './facts.js'
import { counted, duration, fromNow, instant } from './figures.js'

export interface Concern {
  readonly severity: Severity
  /** A task, or the scheduler itself. */
  readonly subject: string
  readonly text: string
}

/** Intervals without a run until that is worth saying: one may be late, two may be a restart. */
const silentIntervals = 3

export function concerns(facts: ReportFacts): readonly Concern[] {
  const all = [...silence(facts), ...disabled(facts), ...facts.tasks.flatMap((task) => ofTask(task, facts))]
  return all.sort((a, b) => rank(b.severity) - rank(a.severity))
}

export function rank(severity: Severity): number {
  return severities.indexOf(severity)
}

function silence({ rows, period, expectedIntervalMs }: ReportFacts): readonly Concern[] {
  const newestAt = rows?.runTotals.newestAt
  if (newestAt === undefined) return []
  const silentMs = period.to.getTime() - newestAt.getTime()
  if (silentMs <= silentIntervals * expectedIntervalMs) return []
  const text = `The last run ended ${duration(silentMs)} ago, at ${instant(newestAt)}; one is expected every ${duration(expectedIntervalMs)}.`
  return [{ severity: 'error', subject: 'scheduler', text }]
}

function disabled(facts: ReportFacts): readonly Concern[] {
  return facts.disabled.map(({ name, reason, hint }) => ({
    severity: 'error',
    subject: name,
    text: `Disabled: ${[reason, hint].filter(Boolean).join('; ')}`,
  }))
}

function ofTask(
  { name, state, last, next, findings }: TaskFacts,
  { period, expectedIntervalMs }: ReportFacts,
): readonly Concern[] {
  const found: Concern[] = []
  const say = (severity: Severity, text: string) => found.push({ severity, subject: name, text })
  if (state?.claim?.expired === true)
    say(
      'error',
      `Stuck: the claim of ${state.claim.holder} expired ${fromNow(state.claim.expiresAt, period.to)}; the next run frees it.`,
    )
  if (state !== undefined && state.consecutiveFailures > 0) {
    const retry =
      state.retryAt !== undefined && state.retryAt > period.to ? ` Next try ${fromNow(state.retryAt, period.to)}.` : ''
    const why = last?.reason === undefined ? '' : ` Last: ${last.reason}.`
    say('error', `${counted(state.consecutiveFailures, 'failure')} in a row.${why}${retry}`)
  }
  if (state?.paused !== undefined) {
    const { at, until, reason } = state.paused
    const end = until === undefined ? 'until somebody resumes it' : `until ${instant(until)}`
    say('warning', `Paused since ${instant(at)}, ${end}${reason === undefined ? '' : `: ${reason}`}.`)
  }
  // A task that has failed waits for its next try, and says so above.
  const waitingMs =
    state !== undefined && next.due && next.at !== undefined ? period.to.getTime() - next.at.getTime() : 0
  if (waitingMs > silentIntervals * expectedIntervalMs && (state?.consecutiveFailures ?? 0) === 0)
    say(
      'warning',
      `Its slot of ${next.at === undefined ? '' : instant(next.at)} has been waiting for ${duration(waitingMs)}.`,
    )
  for (const { severity, summary } of findings) if (severity !== 'info') say(severity, summary)
  return found
}
