/** Which relations to analyze, worst first, and why the others not; afterwards, what became of it. Pure. */
import type { Finding, TaskResult } from '@battlescope/scheduler-core'
import { chosenRelations, isName, unmatched } from './chosen-relations.js'
import type { AnalyzeConfig } from './config.js'
import type { Candidate } from './queries.js'

/** What one run leaves for the next. Relations stand in it as {@link keyOf} writes them. */
export interface Cursor {
  /** What the leaves of partitioned relations had counted at their parent's last ANALYZE. */
  readonly parents: Readonly<Record<string, number>>
  /** Relations whose ANALYZE took too long: they come last, so that they keep nobody else waiting. */
  readonly slow: readonly string[]
}

export interface PlannedAnalyze {
  readonly candidate: Candidate
  readonly reason: string
  /** Changed rows per row; Infinity when never analyzed. */
  readonly changedRatio: number
}

export interface AnalyzePlan {
  readonly actions: readonly PlannedAnalyze[]
  readonly unchanged: readonly Candidate[]
  readonly notPermitted: readonly Candidate[]
  /** Configured names and patterns that match no relation. */
  readonly missing: readonly string[]
}

export function planAnalyze(candidates: readonly Candidate[], config: AnalyzeConfig, cursor: Cursor): AnalyzePlan {
  const chosen = chosenRelations(candidates, config)
  const permitted = chosen.filter((candidate) => candidate.permitted)
  const judged = permitted.map((candidate) => judge(candidate, config, cursor))
  return {
    actions: judged.filter((planned) => planned !== undefined).sort(worstFirst(cursor)),
    unchanged: permitted.filter((_, index) => judged[index] === undefined),
    notPermitted: chosen.filter((candidate) => !candidate.permitted),
    missing: unmatched(config.relations, candidates),
  }
}

function judge(candidate: Candidate, config: AnalyzeConfig, cursor: Cursor): PlannedAnalyze | undefined {
  const { estimatedRows } = candidate
  if (estimatedRows === undefined) return { candidate, reason: 'never analyzed', changedRatio: Infinity }
  const changed = changedRowsOf(candidate, cursor)
  const changedRatio = changed / Math.max(1, estimatedRows)
  if (config.when === 'always') return { candidate, reason: `always; ${changed} rows changed`, changedRatio }
  if (changed < config.changedRows || changed < config.changedRatio * estimatedRows) return undefined
  return { candidate, reason: `${changed} of ${Math.round(estimatedRows)} rows changed`, changedRatio }
}

/** Autovacuum never analyzes a partitioned parent, and its own counter stays 0: what its leaves counted since then decides. */
function changedRowsOf(candidate: Candidate, cursor: Cursor): number {
  if (candidate.kind !== 'partitioned') return candidate.changedRows
  const before = cursor.parents[keyOf(candidate)] ?? 0
  // A smaller sum means that statistics were reset, or partitions dropped: then all that is counted is new.
  return candidate.leafChanges >= before ? candidate.leafChanges - before : candidate.leafChanges
}

function worstFirst({ slow }: Cursor) {
  const wasSlow = ({ candidate }: PlannedAnalyze) => Number(slow.includes(keyOf(candidate)))
  return (a: PlannedAnalyze, b: PlannedAnalyze): number => {
    if (wasSlow(a) !== wasSlow(b)) return wasSlow(a) - wasSlow(b)
    if (a.changedRatio !== b.changedRatio) return b.changedRatio - a.changedRatio
    return keyOf(a.candidate) < keyOf(b.candidate) ? -1 : 1
  }
}

/** What became of one planned relation. */
export interface Attempt {
  readonly planned: PlannedAnalyze
  /** `not-now`: the relation is locked, gone, or not ours, which is no fault of the task. */
  readonly result: 'analyzed' | 'not-now' | 'failed' | 'too-slow' | 'out-of-budget'
  /** Why it was not analyzed. */
  readonly reason?: string
}

/** What the next run has to know. */
export function nextCursor(before: Cursor, { actions }: AnalyzePlan, attempts: readonly Attempt[]): Cursor {
  const stale = new Set(actions.map(({ candidate }) => keyOf(candidate)))
  const slow = new Set(before.slow.filter((key) => stale.has(key)))
  const parents: Record<string, number> = { ...before.parents }
  for (const { planned, result } of attempts) {
    const { candidate } = planned
    const key = keyOf(candidate)
    if (result === 'too-slow' || result === 'out-of-budget') slow.add(key)
    if (result !== 'analyzed') continue
    slow.delete(key)
    if (candidate.kind === 'partitioned') parents[key] = candidate.leafChanges
  }
  return { parents, slow: [...slow] }
}

export function resultOf(plan: AnalyzePlan, attempts: readonly Attempt[], config: AnalyzeConfig): TaskResult {
  const findings = findingsOf(plan, attempts, config)
  const notDone = notAnalyzed(attempts)
  const remaining = plan.actions.length - attempts.filter(({ result }) => result !== 'out-of-budget').length
  if (remaining > 0) return { outcome: 'partial', remaining, findings }
  if (attempts.length > 0 && notDone.length === attempts.length)
    return { outcome: 'skipped', reason: `nothing could be analyzed: ${inWords(notDone)}`, findings }
  if (plan.actions.length + plan.unchanged.length > 0) return { outcome: 'succeeded', findings }
  const reason =
    plan.notPermitted.length > 0 ? 'no relation may be analyzed by this role' : 'none of the relations exists'
  return { outcome: 'skipped', reason, findings }
}

/** Why the run as a whole failed: nothing was analyzed, and at least one relation was not merely unavailable. Undefined when it did not. */
export function failureOf(attempts: readonly Attempt[]): string | undefined {
  const faults = attempts.filter(({ result }) => result === 'failed' || result === 'too-slow')
  const tolerable = attempts.some(({ result }) => result === 'analyzed' || result === 'out-of-budget')
  return faults.length === 0 || tolerable ? undefined : `nothing was analyzed: ${inWords(notAnalyzed(faults))}`
}

interface NotAnalyzed {
  readonly relation: string
  readonly reason: string
}

function notAnalyzed(attempts: readonly Attempt[]): readonly NotAnalyzed[] {
  return attempts
    .filter(({ result }) => result === 'not-now' || result === 'failed' || result === 'too-slow')
    .map(({ planned, reason = '' }) => ({ relation: keyOf(planned.candidate), reason }))
}

function inWords(relations: readonly NotAnalyzed[]): string {
  return relations.map(({ relation, reason }) => `${relation} (${reason})`).join(', ')
}

function findingsOf(plan: AnalyzePlan, attempts: readonly Attempt[], config: AnalyzeConfig): readonly Finding[] {
  const findings: Finding[] = []
  const notPermitted = plan.notPermitted.map(keyOf)
  if (notPermitted.length > 0) {
    findings.push({
      key: 'not-permitted',
      severity: 'warning',
      summary: `not ours to analyze: ${notPermitted.join(', ')}`,
      details: {
        relations: notPermitted,
        hint: 'make the role owner (PostgreSQL 15, 16), or GRANT MAINTAIN (17 and later), and GRANT USAGE on the schema; `doctor` prints the SQL',
      },
    })
  }
  // The default list names BattleScope's tables, which other databases rightly lack.
  const missing = plan.missing.filter(isName)
  if (missing.length > 0 && missing.length < config.relations.length) {
    findings.push({
      key: 'missing',
      severity: 'info',
      summary: `do not exist: ${missing.join(', ')}`,
      details: { relations: missing },
    })
  }
  const failed = notAnalyzed(attempts)
  if (failed.length > 0) {
    const summary = `not analyzed: ${inWords(failed)}`
    findings.push({ key: 'not-analyzed', severity: 'warning', summary, details: { relations: failed } })
  }
  return findings
}

/** The quoted, qualified name: one text per relation. */
export function keyOf({ schema, name }: Pick<Candidate, 'schema' | 'name'>): string {
  const quote = (identifier: string) =>
    /^[a-z_][a-z0-9_$]*$/.test(identifier) ? identifier : `"${identifier.replaceAll('"', '""')}"`
  return `${quote(schema)}.${quote(name)}`
}
