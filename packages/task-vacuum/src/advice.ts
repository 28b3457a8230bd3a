/** What to do about a relation that is too large for a run: settings that let autovacuum do it often, in small portions. Pure. */
import { quoteRelation } from '@battlescope/database'
import type { VacuumConfig } from './config.js'
import type { PlannedVacuum } from './plan.js'
import type { Candidate } from './queries.js'
import type { Settings } from './situation-queries.js'
import { thresholdsOf, toastOf } from './thresholds.js'

/** Each VACUUM reads the indexes whole, so more often than at a hundredth of the rows costs more than it saves. */
const scaleFactor = 0.01
/** Autovacuum's own limit of 200 is 40 MB/s of dirtied pages at most, for all its workers together: ten times that lets it keep up. */
const costLimit = 2000

export interface Advice {
  readonly sql: readonly string[]
  readonly why: string
}

export function adviceFor({ candidate, need }: PlannedVacuum, settings: Settings, config: VacuumConfig): Advice {
  const inToast = need.kind === 'toast'
  const prefix = inToast ? 'toast.' : ''
  const heap = inToast ? (toastOf(candidate) ?? candidate) : candidate
  const thresholds = thresholdsOf(heap, settings)
  const current = (name: string) => Number(heap.parameters[name] ?? settings.values[name])
  const rows = heap.rows ?? 0
  const wanted: string[] = []
  if (heap.parameters['autovacuum_enabled'] !== undefined && !thresholds.autovacuum)
    wanted.push(`${prefix}autovacuum_enabled = true`)
  if (thresholds.deadRows > scaleFactor * rows + config.deadRows)
    wanted.push(
      `${prefix}autovacuum_vacuum_scale_factor = ${scaleFactor}`,
      `${prefix}autovacuum_vacuum_threshold = ${Math.min(config.deadRows, 10_000)}`,
    )
  if (thresholds.insertedRows !== undefined && thresholds.insertedRows > scaleFactor * rows + config.deadRows)
    wanted.push(`${prefix}autovacuum_vacuum_insert_scale_factor = ${scaleFactor}`)
  const limit = current('autovacuum_vacuum_cost_limit')
  const effective = limit > 0 ? limit : Number(settings.values['vacuum_cost_limit'])
  if (effective < costLimit) wanted.push(`${prefix}autovacuum_vacuum_cost_limit = ${costLimit}`)
  if (inToast && wanted.length > 0) wanted.push(...inherited(candidate, wanted))
  const sql: string[] = []
  if (settings.values['autovacuum'] !== 'on') sql.push('ALTER SYSTEM SET autovacuum = on;', 'SELECT pg_reload_conf();')
  if (wanted.length > 0)
    sql.push(`ALTER TABLE ${quoteRelation(candidate.schema, candidate.name)} SET (${wanted.join(', ')});`)
  return {
    sql,
    why: sql.length > 0 ? 'lets autovacuum take it more often, and faster' : 'autovacuum is set to keep up with it',
  }
}

/**
 * A TOAST table without parameters of its own takes the table's, all of them, and with the first of its own none any more: `extract_autovac_opts` in
 * PostgreSQL's autovacuum.c. So what was inherited is said again. ANALYZE has none for TOAST.
 */
function inherited({ toast, parameters }: Candidate, wanted: readonly string[]): readonly string[] {
  if (toast === undefined || Object.keys(toast.parameters).length > 0) return []
  return Object.entries(parameters)
    .filter(([name]) => /^autovacuum_(?!analyze)|^log_autovacuum_min_duration$/.test(name))
    .map(([name, value]) => `toast.${name} = ${value}`)
    .filter((one) => !wanted.some((other) => other.split(' ')[0] === one.split(' ')[0]))
}

/** What the component long-run-vacuum gives one relation, in minutes. */
const leastMinutes = 25
/** A prediction may be wrong by half. */
const safety = 1.5
/** Reading, and what goes before it. */
const besidesMinutes = 5
/** Of its timeout a task has four fifths to work in. */
const softShare = 0.8

/** A run that has room for it: how it is started. Pure. */
export function longRunFor(predictedMs: number): string {
  const relation = Math.max(leastMinutes, Math.ceil((safety * predictedMs) / 60_000))
  const budget = relation + besidesMinutes
  const timeout = Math.ceil(budget / softShare)
  return `run --task vacuum --force --budget ${budget}m with SCHEDULER_VACUUM_TIMEOUT=${timeout}m and SCHEDULER_VACUUM_RELATION_TIMEOUT=${relation}m`
}
