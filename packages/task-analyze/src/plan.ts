/** Which relations to analyze, worst first, and why the others not; afterwards, what became of it. Pure. */
import type { Finding, TaskResult } from '@battlescope/scheduler-core'
import type { AnalyzeConfig } from './config.js'
import type { Candidate } from './queries.js'
import { matches, parsePattern } from './relation-pattern.js'

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
  const wanted = config.relations.map(parsePattern)
  const excluded = config.exclude.map(parsePattern)
  const chosen = candidates.filter(
    (candidate) =>
      wanted.some((pattern) => matches(pattern, candidate)) && !excluded.some((pattern) => matches(pattern, candidate)),
  )
  const permitted = chosen.filter((candidate) => candidate.permitted)
  const judged = permitted.map((candidate) => judge(candidate, config, cursor))
  return {
    actions: judged.filter((planned) => planned !== undefined).sort(worstFirst(cursor)),
    unchanged: permitted.filter((_, index) => judged[index] === undefined),
    notPermitted: chosen.filter((candidate) => !candidate.permitted),
    missing: config.relations.filter(
      (_, index) => !candidates.some((candidate) => matches(wanted[index] ?? parsePattern(''), candidate)),
    ),
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
  readonly result: 'analyzed' | 'failed' | 'too-slow' | 'out-of-budget'
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
  const remaining = plan.actions.length - attempts.filter(({ result }) => result !== 'out-of-budget').length
  if (remaining > 0) return { outcome: 'partial', remaining, findings }
  if (plan.actions.length + plan.unchanged.length > 0) return { outcome: 'succeeded', findings }
  const reason =
    plan.notPermitted.length > 0 ? 'no relation may be analyzed by this role' : 'none of the relations exists'
  return { outcome: 'skipped', reason, findings }
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
        hint: 'make the role owner (PostgreSQL 15, 16), or GRANT MAINTAIN (17 and later)',
      },
    })
  }
  // The default list names BattleScope's tables, which other databases rightly lack.
  const missing = plan.missing.filter((relation) => parsePattern(relation).kind === 'name')
  if (missing.length > 0 && missing.length < config.relations.length) {
    findings.push({
      key: 'missing',
      severity: 'info',
      summary: `do not exist: ${missing.join(', ')}`,
      details: { relations: missing },
    })
  }
  const failed = attempts
    .filter(({ result }) => result === 'failed' || result === 'too-slow')
    .map(({ planned, reason }) => ({ relation: keyOf(planned.candidate), reason }))
  if (failed.length > 0) {
    const summary = `not analyzed: ${failed.map(({ relation, reason }) => `${relation} (${reason ?? ''})`).join(', ')}`
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
