/** Whether to trigger, with what, and what the backlog says about the service. Pure. */
import type { Finding, TaskResult } from '@battlescope/scheduler-core'
import type { Judgement } from './answer.js'
import type { ClusterConfig } from './config.js'
import type { Backlog, OpenJob } from './queries.js'

/** 95 % of anything needs at least twenty of it. */
const fewestForShare = 20

const killmailColumns = ['occurred_at', 'processed_at']
const jobColumns = ['slot_id', 'requested_at', 'payload', 'finished_at']

/** Why the backlog cannot be measured; undefined when it can. */
export function relationProblem(relation: string, columns: ReadonlySet<string> | undefined): string | undefined {
  return columnProblem(relation, columns, killmailColumns)
}

/** Why no job can be left; undefined when one can. */
export function jobRelationProblem(relation: string, columns: ReadonlySet<string> | undefined): string | undefined {
  return columnProblem(relation, columns, jobColumns)
}

function columnProblem(relation: string, columns: ReadonlySet<string> | undefined, needed: readonly string[]) {
  if (columns === undefined) return `there is no relation ${relation}`
  const missing = needed.filter((column) => !columns.has(column))
  return missing.length === 0 ? undefined : `${relation} has no column ${missing.join(', ')}`
}

/** What one run leaves for the next: only while killmails are late. */
export interface Cursor {
  readonly slotId: string
  readonly late: number
  readonly lagMs: number
  /** Slots in a row in which the late ones became neither fewer nor younger. */
  readonly slots: number
}

export interface Occasion {
  readonly slotId: string
  readonly scheduledAt: Date
  /** Database time. */
  readonly now: Date
  readonly traceparent: string | undefined
}

export type ClusterPlan =
  /** Nothing to do, and why. */
  | { readonly kind: 'idle' | 'measured' | 'still-open'; readonly reason: string }
  | {
      readonly kind: 'trigger'
      readonly action: { readonly kind: string; readonly target: string; readonly reason: string }
      /** JSON, the same in every way to trigger. */
      readonly payload: string
    }

export function planCluster(
  backlog: Backlog,
  openJob: OpenJob | undefined,
  occasion: Occasion,
  config: ClusterConfig,
): ClusterPlan {
  if (config.trigger === 'none') {
    const hint = config.url === undefined ? '' : '; cluster.url is set: did you mean cluster.trigger http?'
    return { kind: 'measured', reason: `no trigger is configured, the backlog is only measured${hint}` }
  }
  if (backlog.waiting === 0) return { kind: 'idle', reason: 'no killmail waits' }
  if (openJob !== undefined && occasion.now.getTime() - openJob.requestedAt.getTime() < config.jobTimeout) {
    return { kind: 'still-open', reason: `the service has not finished ${openJob.slotId}` }
  }
  const reason = `${counted(backlog, config)} killmails wait, the oldest since ${backlog.oldestAt?.toISOString() ?? '?'}`
  return {
    kind: 'trigger',
    action: { kind: 'trigger-clustering', target: targetOf(config), reason },
    payload: payloadOf(backlog, occasion),
  }
}

function counted({ waiting }: Backlog, { countLimit }: ClusterConfig): string {
  return waiting < countLimit ? String(waiting) : `at least ${waiting}`
}

function targetOf({ trigger, url, channel, jobRelation }: ClusterConfig): string {
  if (trigger === 'notify') return `channel ${channel}`
  if (trigger === 'job-table') return jobRelation
  // Without its query, where keys travel.
  const { origin, pathname } = new URL(url ?? '')
  return `${origin}${pathname}`
}

function payloadOf(backlog: Backlog, { slotId, scheduledAt, traceparent }: Occasion): string {
  return JSON.stringify({
    version: 1,
    slotId,
    scheduledAt: scheduledAt.toISOString(),
    backlog: backlog.waiting,
    oldestAt: backlog.oldestAt?.toISOString(),
    traceparent,
  })
}

/** Milliseconds that the killmail which has waited longest has been waiting beyond the processing delay. */
export function lagOf({ readySince }: Backlog, now: Date): number {
  return readySince === undefined ? 0 : Math.max(0, now.getTime() - readySince.getTime())
}

/**
 * Counts the slots in which the service got nowhere. The number that waits goes up and down with what arrives, so what is compared is
 * how many are late, and for how long: a service that works takes the oldest first.
 */
export function nextCursor(before: Cursor | undefined, backlog: Backlog, occasion: Occasion): Cursor | undefined {
  const { slotId, now } = occasion
  if (backlog.late === 0) return undefined
  // A slot that is tried again is no further slot.
  if (before?.slotId === slotId) return before
  const lagMs = lagOf(backlog, now)
  const grew = before === undefined || (backlog.late >= before.late && lagMs > before.lagMs)
  return { slotId, late: backlog.late, lagMs, slots: grew ? (before?.slots ?? 0) + 1 : 0 }
}

export interface Ended {
  readonly plan: ClusterPlan
  readonly backlog: Backlog
  readonly cursor: Cursor | undefined
  /** What the service answered; undefined when it was not asked. */
  readonly judgement: Judgement | undefined
}

export function resultOf(ended: Ended, config: ClusterConfig): TaskResult {
  const findings = [...answerFindings(ended), ...levelFindings(ended, config)]
  if (ended.plan.kind === 'measured') return { outcome: 'skipped', reason: ended.plan.reason, findings }
  if (ended.judgement?.verdict === 'stopped') return { outcome: 'partial', remaining: ended.backlog.waiting, findings }
  return { outcome: 'succeeded', findings }
}

function answerFindings({ judgement }: Ended): readonly Finding[] {
  if (judgement?.verdict === 'not-offered') {
    return [{ key: 'no-endpoint', severity: 'warning', summary: judgement.summary, details: { code: judgement.code } }]
  }
  if (judgement?.verdict === 'no-answer') {
    const summary = `${judgement.summary}; whether it clusters shows in the next run's backlog`
    return [{ key: 'no-answer', severity: 'info', summary, details: { code: judgement.code } }]
  }
  return []
}

function levelFindings({ plan, backlog, cursor }: Ended, config: ClusterConfig): readonly Finding[] {
  const findings: Finding[] = []
  if (cursor !== undefined && cursor.slots >= config.growthSlots) {
    const despite = plan.kind === 'measured' ? '' : ' although clustering was triggered'
    findings.push({
      key: 'backlog-grows',
      severity: 'error',
      summary: `${cursor.slots} slots in a row the late killmails became neither fewer nor younger${despite}: ${cursor.late} late, ${minutes(cursor.lagMs)} at most`,
      details: { slots: cursor.slots, waiting: backlog.waiting, late: cursor.late, lagSeconds: seconds(cursor.lagMs) },
    })
  }
  const { killmails, p95LagMs } = backlog.recent
  if (killmails >= fewestForShare && p95LagMs > config.serviceLevel) {
    findings.push({
      key: 'service-level',
      severity: 'warning',
      summary: `95 % of the killmails of the last ${minutes(config.serviceLevelWindow)} are clustered within ${minutes(p95LagMs)}, not ${minutes(config.serviceLevel)}, after the processing delay`,
      details: { killmails, p95LagSeconds: seconds(p95LagMs), serviceLevelSeconds: seconds(config.serviceLevel) },
    })
  }
  return findings
}

function minutes(ms: number): string {
  return `${Math.round(ms / 6000) / 10} min`
}

function seconds(ms: number): number {
  return Math.round(ms / 1000)
}
