/** Whether VACUUM would help a relation, and why. Pure. */
import type { VacuumConfig } from './config.js'
import type { Candidate } from './queries.js'
import type { Settings } from './situation-queries.js'
import { frozenShareOf, thresholdsOf, toastOf } from './thresholds.js'

/** Fewer pages that are not visible to everyone are read in no time: 8 MiB. */
const leastNotVisiblePages = 1024

export type NeedKind = 'freeze' | 'dead-rows' | 'toast' | 'inserts' | 'visibility'

export interface Need {
  readonly kind: NeedKind
  readonly reason: string
  /** How far beyond the point at which it became due; comparable over kinds. */
  readonly urgency: number
}

/** The most urgent one; undefined when VACUUM would do little. */
export function needOf(candidate: Candidate, settings: Settings, config: VacuumConfig): Need | undefined {
  const needs = [
    freezeNeed(candidate, settings, config),
    deadRowsNeed(candidate, settings, config),
    toastNeed(candidate, settings, config),
    insertsNeed(candidate, settings, config),
    visibilityNeed(candidate, config),
  ].filter((need) => need !== undefined)
  const [first] = needs.sort(
    (a, b) => Number(b.kind === 'freeze') - Number(a.kind === 'freeze') || b.urgency - a.urgency,
  )
  return first
}

/** Whether the planner's statistics are stale by autovacuum's measure. Never analyzed is for the task `analyze`, unless rows came. */
export function wantsAnalyze(candidate: Candidate, settings: Settings, config: VacuumConfig): boolean {
  if (!config.analyze) return false
  return candidate.changedRows >= Math.max(1, config.thresholdShare * thresholdsOf(candidate, settings).changedRows)
}

/** Dead rows at which a heap counts as due: what must be left after a VACUUM for somebody to be holding them back. */
export function dueDeadRows(candidate: Candidate, settings: Settings, config: VacuumConfig): number {
  return Math.max(1, Math.min(config.thresholdShare * thresholdsOf(candidate, settings).deadRows, config.deadRows))
}

function freezeNeed(candidate: Candidate, settings: Settings, config: VacuumConfig): Need | undefined {
  const share = frozenShareOf(candidate, settings)
  if (share < config.freezeShare) return undefined
  const percent = Math.floor(share * 100)
  return {
    kind: 'freeze',
    reason: `${percent} % of the age at which autovacuum has to freeze it`,
    urgency: share / config.freezeShare,
  }
}

function deadRowsNeed(candidate: Candidate, settings: Settings, config: VacuumConfig): Need | undefined {
  const due = dueDeadRows(candidate, settings, config)
  if (candidate.deadRows < due) return undefined
  const of = candidate.rows === undefined ? '' : ` beside ${Math.round(candidate.rows)} rows`
  return { kind: 'dead-rows', reason: `${candidate.deadRows} dead rows${of}`, urgency: candidate.deadRows / due }
}

/** Large values live in a heap of their own, with rows, dead rows and thresholds of its own. */
function toastNeed(candidate: Candidate, settings: Settings, config: VacuumConfig): Need | undefined {
  const toast = toastOf(candidate)
  if (toast === undefined) return undefined
  const due = Math.max(1, Math.min(config.thresholdShare * thresholdsOf(toast, settings).deadRows, config.deadRows))
  if (toast.deadRows < due) return undefined
  return {
    kind: 'toast',
    reason: `${toast.deadRows} dead rows in its TOAST table`,
    urgency: toast.deadRows / due,
  }
}

function insertsNeed(candidate: Candidate, settings: Settings, config: VacuumConfig): Need | undefined {
  const threshold = thresholdsOf(candidate, settings).insertedRows
  if (threshold === undefined) return undefined
  const due = Math.max(1, config.thresholdShare * threshold)
  if (candidate.insertedRows < due) return undefined
  return {
    kind: 'inserts',
    reason: `${candidate.insertedRows} rows inserted since its last VACUUM`,
    urgency: candidate.insertedRows / due,
  }
}

/** Pages that are not visible to everyone although nothing has happened since the last VACUUM would stay so after another. */
function visibilityNeed(candidate: Candidate, config: VacuumConfig): Need | undefined {
  const { pages, allVisiblePages, lastVacuumAt, insertedRows, deadRows } = candidate
  const notVisible = pages - allVisiblePages
  if (notVisible < leastNotVisiblePages || notVisible < config.notVisibleShare * pages) return undefined
  if (lastVacuumAt !== undefined && insertedRows + deadRows === 0) return undefined
  return {
    kind: 'visibility',
    reason: `${notVisible} of ${pages} pages are not in its visibility map`,
    urgency: notVisible / pages / config.notVisibleShare,
  }
}
