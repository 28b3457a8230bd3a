/** Rows, evidence and questions for the pure parts, with everything that a test does not name left at something plain. */
import type { AlertChannel, AlertRouting } from '../../src/alerts/channel.js'
import { planAlerts, type AlertQuestion, type AlertRow, type Evidence } from '../../src/alerts/plan-alerts.js'
import { defaultAlertPolicy } from '../../src/alerts/policy.js'
import type { Finding } from '../../src/task.js'

export const minute = 60_000
export const hour = 60 * minute
const t0 = Date.UTC(2026, 10, 23, 12)
/** So many minutes after the beginning. */
export const at = (minutes: number) => new Date(t0 + minutes * minute)

export const policy = defaultAlertPolicy

export const finding = (change: Partial<Finding> = {}): Finding => ({
  key: 'queue',
  severity: 'error',
  summary: 'the queue is long',
  ...change,
})

export const looked = (minutes: number, findings: readonly Finding[], change: Partial<Evidence> = {}): Evidence => ({
  task: 'health',
  at: at(minutes),
  complete: true,
  rare: false,
  findings,
  ...change,
})

export function question(change: Partial<AlertQuestion> = {}): AlertQuestion {
  return {
    now: at(0),
    rows: [],
    mutes: [],
    evidence: [],
    enabled: undefined,
    firstSightOf: () => at(-100_000),
    policy,
    expectedIntervalMs: 5 * minute,
    installation: 'test',
    ...change,
  }
}

/** One look after another, each in a run of its own. @returns the rows after each */
export function after(
  looks: readonly Evidence[],
  change: Partial<AlertQuestion> = {},
): readonly (readonly AlertRow[])[] {
  let rows: readonly AlertRow[] = change.rows ?? []
  return looks.map((evidence) => {
    rows = planAlerts(question({ ...change, now: evidence.at, rows, evidence: [evidence] })).rows
    return rows
  })
}

export function routingOf(channels: readonly AlertChannel[], channelsFor?: AlertRouting['channelsFor']): AlertRouting {
  const all = () => channels.map(({ name }) => name)
  return { channels, heartbeats: [], channelsFor: channelsFor ?? all, channelsForChange: all }
}
