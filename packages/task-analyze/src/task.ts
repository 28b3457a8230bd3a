import {
  defineTask,
  type Finding,
  type Notice,
  type Task,
  type TaskContext,
  type TaskResult,
} from '@battlescope/scheduler-core'
import { z } from 'zod'
import { analyzeConfig, type AnalyzeConfig } from './config.js'
import { keyOf, planAnalyze, type AnalyzePlan, type Cursor, type PlannedAnalyze } from './plan.js'
import { analyzeRelation, selectCandidates, selectLastAnalyze } from './queries.js'
import { parsePattern } from './relation-pattern.js'

type Context = TaskContext<AnalyzeConfig, unknown, Cursor>

/** Refreshes planner statistics where they no longer describe the data. */
export const analyze: Task<typeof analyzeConfig, unknown, Cursor> = defineTask({
  apiVersion: 1,
  name: 'analyze',
  description: 'refreshes planner statistics of relations that changed',
  schedule: { kind: 'every-run' },
  timeoutMs: 30_000,
  configSchema: analyzeConfig,
  checkpointSchema: z.object({ parents: z.record(z.string(), z.number()) }),
  requires: ({ relations }) => ({ relations: relations.map((relation) => ({ relation, privileges: ['maintain'] })) }),
  run: async (context) => {
    const cursor = (await context.checkpoint.load()) ?? { parents: {} }
    const plan = planAnalyze(await selectCandidates(context.db), context.config, cursor)
    const left = await analyzeAll(context, plan.actions, cursor)
    context.metrics.gauge('relations_stale', left.remaining + left.failed.length)
    context.metrics.count('relations_analyzed', plan.actions.length - left.remaining - left.failed.length)
    return resultOf(plan, left, context.config)
  },
})

interface Left {
  /** Planned, and not begun when the budget was exhausted. */
  readonly remaining: number
  readonly failed: readonly { readonly relation: string; readonly reason: string }[]
}

/** `parallel` workers take the planned relations in order. All have ended when this ends, whatever one of them throws. */
async function analyzeAll(context: Context, actions: readonly PlannedAnalyze[], before: Cursor): Promise<Left> {
  const queue = [...actions]
  const parents: Record<string, number> = { ...before.parents }
  const failed: { relation: string; reason: string }[] = []
  let done = 0
  // The checkpoint is one value: two parents that save it at the same time would forget one of them.
  let parentsBefore: Promise<unknown> = Promise.resolve()
  const inTurn = (next: PlannedAnalyze): Promise<string | undefined> => {
    if (next.candidate.kind !== 'partitioned') return analyzeOne(context, next, parents)
    const result = parentsBefore.then(() => analyzeOne(context, next, parents))
    parentsBefore = result.catch(() => undefined)
    return result
  }
  const work = async () => {
    while (!context.budget.exhausted()) {
      const next = queue.shift()
      if (next === undefined) return
      context.progress({ done, total: actions.length, unit: 'relations', current: keyOf(next.candidate) })
      const reason = await inTurn(next)
      if (reason !== undefined) failed.push({ relation: keyOf(next.candidate), reason })
      done += 1
    }
  }
  const workers = await Promise.allSettled(Array.from({ length: context.config.parallel }, work))
  const thrown = workers.find((worker) => worker.status === 'rejected')
  if (thrown !== undefined) return Promise.reject(thrown.reason as Error)
  return { remaining: queue.length, failed }
}

/** @returns why the relation was not analyzed, or undefined when it was. */
async function analyzeOne(
  context: Context,
  { candidate, reason }: PlannedAnalyze,
  parents: Record<string, number>,
): Promise<string | undefined> {
  const { schema, name } = candidate
  const key = keyOf(candidate)
  let warnings: readonly Notice[] = []
  try {
    await context.act(
      { kind: 'analyze', target: key, reason, lockTimeoutMs: context.config.lockTimeout },
      async (fenced) => {
        await analyzeRelation(fenced.db, schema, name)
        warnings = fenced.notices.filter(({ code }) => code.startsWith('01') || code === '55P03')
        if (warnings.length > 0) throw new NotAnalyzed(warnings[0]?.message ?? 'the server refused with a warning')
        if (candidate.kind === 'partitioned')
          await fenced.saveCheckpoint({ parents: { ...parents, [key]: candidate.leafChanges } })
      },
    )
    if (candidate.kind === 'partitioned') parents[key] = candidate.leafChanges
  } catch (error) {
    const why = reasonToGoOn(error)
    if (why === undefined) throw error
    return why
  }
  if (context.dryRun) return undefined
  const lastAnalyzeAt = await selectLastAnalyze(context.db, schema, name)
  const before = candidate.lastAnalyzeAt
  const advanced = lastAnalyzeAt !== undefined && (before === undefined || lastAnalyzeAt > before)
  return advanced ? undefined : 'ANALYZE ended without an error, and yet its statistics are no newer'
}

/** PostgreSQL only warns when it will not analyze: thrown inside the transaction, so that no action is recorded as done. */
class NotAnalyzed extends Error {
  readonly code = 'not-analyzed'
}

/** Errors that concern one relation alone, by SQLSTATE; undefined for all others. */
function reasonToGoOn(error: unknown): string | undefined {
  const { code, message } = error as { code?: string; message?: string }
  if (code === '55P03') return 'is locked by another session'
  if (code === '42P01' || code === '3F000') return 'was dropped meanwhile'
  if (code === '42501') return 'permission denied'
  return error instanceof NotAnalyzed ? message : undefined
}

function resultOf(plan: AnalyzePlan, { remaining, failed }: Left, config: AnalyzeConfig): TaskResult {
  const findings = findingsOf(plan, failed, config)
  if (remaining > 0) return { outcome: 'partial', remaining, findings }
  if (plan.actions.length + plan.unchanged.length > 0) return { outcome: 'succeeded', findings }
  const reason =
    plan.notPermitted.length > 0 ? 'no relation may be analyzed by this role' : 'none of the relations exists'
  return { outcome: 'skipped', reason, findings }
}

function findingsOf(plan: AnalyzePlan, failed: Left['failed'], config: AnalyzeConfig): readonly Finding[] {
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
  if (failed.length > 0) {
    const summary = `not analyzed: ${failed.map(({ relation, reason }) => `${relation} (${reason})`).join(', ')}`
    findings.push({ key: 'not-analyzed', severity: 'warning', summary, details: { relations: failed } })
  }
  return findings
}
