/** Which relations to analyze, worst first, and why the others not. Pure. */
import type { AnalyzeConfig } from './config.js'
import type { Candidate } from './queries.js'
import { matches, parsePattern } from './relation-pattern.js'

/** What the leaves of partitioned relations had counted at their parent's last ANALYZE, by `"schema"."name"`. */
export interface Cursor {
  readonly parents: Readonly<Record<string, number>>
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
    actions: judged.filter((planned) => planned !== undefined).sort(worstFirst),
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

function worstFirst(a: PlannedAnalyze, b: PlannedAnalyze): number {
  if (a.changedRatio !== b.changedRatio) return b.changedRatio - a.changedRatio
  return keyOf(a.candidate) < keyOf(b.candidate) ? -1 : 1
}

/** The quoted, qualified name: one text per relation. */
export function keyOf({ schema, name }: Pick<Candidate, 'schema' | 'name'>): string {
  const quote = (identifier: string) =>
    /^[a-z_][a-z0-9_$]*$/.test(identifier) ? identifier : `"${identifier.replaceAll('"', '""')}"`
  return `${quote(schema)}.${quote(name)}`
}
