/** Which policies run and which cannot, what a run would do, and what it tells afterwards. Pure. */
import type { Change, Finding, TaskResult } from '@battlescope/scheduler-core'
import type { RetentionConfig } from './config.js'
import type { Cursor } from './cursor.js'
import type { ExpiredCount } from './expiry-queries.js'
import { keyOf } from './policy.js'
import type { PreflightFacts } from './preflight-facts.js'
import type { PolicyReport, PreflightReport, Problem } from './preflight-report.js'

export interface PolicyPlan {
  /** In the order in which they run. */
  readonly runnable: readonly PolicyReport[]
  readonly findings: readonly Finding[]
  /** Why nothing runs; undefined: something does. */
  readonly skipped: string | undefined
}

/** @param hasStore whether a cold storage is configured: without one, nothing that wants an archive is deleted */
export function planPolicies({ policies }: PreflightReport, hasStore: boolean): PolicyPlan {
  const ready = policies.filter(({ state }) => state === 'ready')
  const homeless = hasStore ? [] : ready.filter(({ policy }) => policy.archive)
  const withoutHome = new Set(homeless.map(({ policy }) => policy.name))
  // Members of a group stay as long as their own policy cannot run, so the group stays by itself.
  const runnable = ready.filter(({ policy }) => !withoutHome.has(policy.name))
  const blocked = policies.filter(({ state }) => state === 'blocked')
  const findings = [
    ...blocked.map((report) => problemFinding(`blocked-${report.policy.name}`, 'error', report, report.blocked)),
    ...(homeless.length === 0 ? [] : [noStoreFinding(homeless)]),
    ...policies
      .map((report) => ({ report, worth: report.warnings.filter(isWorthSaying) }))
      .filter(({ worth }) => worth.length > 0)
      .map(({ report, worth }) => problemFinding(`preflight-${report.policy.name}`, 'warning', report, worth)),
  ]
  return { runnable, findings, skipped: runnable.length > 0 ? undefined : whySkipped(policies, homeless.length > 0) }
}

function whySkipped(policies: readonly PolicyReport[], homeless: boolean): string {
  if (policies.length === 0) return 'no policies are configured'
  if (policies.every(({ state }) => state === 'not-applicable')) return 'none of the relations exists'
  return homeless ? 'no cold storage is configured, and rows are not deleted without a copy' : 'every policy is blocked'
}

/** What merely is so needs no human. */
function isWorthSaying({ code }: Problem): boolean {
  return code !== 'relation-missing' && code !== 'partitioned'
}

function problemFinding(
  key: string,
  severity: Finding['severity'],
  { policy }: PolicyReport,
  problems: readonly Problem[],
): Finding {
  const [first, ...others] = problems
  const more = others.length === 0 ? '' : ` (and ${others.length} more)`
  const what = severity === 'error' ? 'deletes nothing' : 'runs, but'
  return {
    key,
    severity,
    summary: `policy ${policy.name} ${what}: ${first?.summary ?? ''}${more}`,
    details: { problems: problems.map(({ index: _, ...problem }) => problem) },
  }
}

function noStoreFinding(homeless: readonly PolicyReport[]): Finding {
  const names = homeless.map(({ policy }) => policy.name).join(', ')
  return {
    key: 'no-store',
    severity: 'warning',
    summary: `nothing is deleted by ${names}: no cold storage is configured`,
    details: {
      hint: 'set SCHEDULER_COLD_STORAGE_URL, or archive: false in the policies whose rows may go without a copy',
    },
  }
}

/** One line of `plan`. */
export interface PlannedWork {
  readonly kind: 'archive' | 'delete-rows'
  readonly target: string
  readonly reason: string
}

export interface ForecastInput {
  readonly report: PolicyReport
  readonly count: ExpiredCount
  readonly facts: PreflightFacts
  /** Rows per second of earlier slots; undefined: never measured. */
  readonly rate: number | undefined
  readonly config: Pick<RetentionConfig, 'batchRows' | 'maxRowsPerRun'>
}

/** Rows per second before anything was measured: what a small machine does, archive and deletes together or deletes alone. */
const firstRates = { archived: 10_000, deleted: 50_000 }

/** Nothing when nothing expired. The run performs the same kinds on the same relations, batch by batch. */
export function forecast({ report, count, facts, rate, config }: ForecastInput): readonly PlannedWork[] {
  if (count.rows === 0) return []
  const { policy } = report
  const relations = [policy, ...policy.children].map(({ relation }) => keyOf(relation))
  const rowsOf = (relation: string) =>
    relation === keyOf(policy.relation) ? count.rows : (count.children.get(relation) ?? 0)
  const rows = relations.reduce((sum, relation) => sum + rowsOf(relation), 0)
  const bytes = relations.reduce((sum, relation) => sum + bytesOf(facts, relation, rowsOf(relation)), 0)
  const batches = Math.ceil(count.rows / config.batchRows)
  const perSecond = rate ?? (policy.archive ? firstRates.archived : firstRates.deleted)
  const seconds = Math.ceil(rows / perSecond)
  const runs = Math.ceil(rows / config.maxRowsPerRun)
  const span = `${count.oldest ?? ''} to ${count.newest ?? ''}`
  const work = `${rows} rows in all, about ${bytes} bytes, ${batches} batches, about ${seconds} s${runs > 1 ? `, in ${runs} runs at least` : ''}`
  return [
    ...(policy.archive
      ? relations
          .filter((relation) => rowsOf(relation) > 0)
          .map((target): PlannedWork => ({
            kind: 'archive',
            target,
            reason: `${policy.name}: ${rowsOf(target)} rows, about ${bytesOf(facts, target, rowsOf(target))} bytes`,
          }))
      : []),
    {
      kind: 'delete-rows',
      target: keyOf(policy.relation),
      reason: `${policy.name}: ${count.rows} rows from ${span} and what hangs on them; ${work}`,
    },
  ]
}

/** By the average row, with its share of indexes. */
function bytesOf({ relations }: PreflightFacts, relation: string, rows: number): number {
  const facts = relations.get(relation)
  if (facts?.estimatedRows === undefined || facts.estimatedRows <= 0) return 0
  return Math.round((facts.totalBytes / facts.estimatedRows) * rows)
}

/** A policy that deletes nothing although rows expired, slot after slot. */
export function stuckFinding(policy: string, slots: number, { stuckRuns }: Pick<RetentionConfig, 'stuckRuns'>) {
  if (slots < stuckRuns) return undefined
  return {
    key: `stuck-${policy}`,
    severity: 'error',
    summary: `policy ${policy} has deleted nothing in ${slots} slots in a row, although rows expired`,
  } satisfies Finding
}

export interface RunEnd {
  /** Rows that expired and are left for the next run; undefined: everything is done. */
  readonly remaining: number | undefined
  readonly findings: readonly Finding[]
  /** At the end of the run. */
  readonly cursor: Pick<Cursor, 'progress' | 'horizons'>
}

export function resultOf({ remaining, findings, cursor }: RunEnd): TaskResult {
  return remaining === undefined
    ? { outcome: 'succeeded', findings, changes: changesOf(cursor) }
    : { outcome: 'partial', remaining: Math.max(1, remaining), findings }
}

/** What the whole slot deleted, over all of its runs; a slot in which nothing had expired changed nothing. */
function changesOf({ progress, horizons }: RunEnd['cursor']): readonly Change[] {
  const worked = Object.entries(progress).filter(([, { rows }]) => rows > 0)
  if (worked.length === 0) return []
  const rows = worked.reduce((sum, [, done]) => sum + done.rows, 0)
  const names = worked.map(([name]) => name).join(', ')
  const policies = Object.fromEntries(
    worked.map(([name, done]) => [name, { rows: done.rows, parents: done.parents, horizon: horizons[name] }]),
  )
  return [{ key: 'completed', summary: `Retention deleted ${rows} rows: ${names}`, details: { rows, policies } }]
}
