import { isSqlState } from '@battlescope/database'
import { codeOf, defineTask, formatDuration, messageOf, type Task, type TaskContext } from '@battlescope/scheduler-core'
import { z } from 'zod'
import { analyzeConfig, type AnalyzeConfig } from './config.js'
import {
  failureOf,
  keyOf,
  nextCursor,
  planAnalyze,
  resultOf,
  type AnalyzePlan,
  type Attempt,
  type Cursor,
  type PlannedAnalyze,
} from './plan.js'
import { analyzeRelation, selectCandidates, selectLastAnalyze } from './queries.js'

type Context = TaskContext<AnalyzeConfig, unknown, Cursor>

/** Refreshes planner statistics where they no longer describe the data. */
export const analyze: Task<typeof analyzeConfig, unknown, Cursor> = defineTask({
  apiVersion: 1,
  name: 'analyze',
  description: 'refreshes planner statistics of relations that changed',
  schedule: { kind: 'every-run' },
  timeoutMs: 30_000,
  configSchema: analyzeConfig,
  checkpointSchema: z.object({ parents: z.record(z.string(), z.number()), slow: z.array(z.string()) }),
  requires: ({ relations, exclude }) => ({
    relations: relations.map((relation) => ({ relation, except: exclude, privileges: ['maintain'] })),
  }),
  run: async (context) => {
    const cursor = (await context.checkpoint.load()) ?? { parents: {}, slow: [] }
    const plan = planAnalyze(await selectCandidates(context.db), context.config, cursor)
    const attempts = await analyzeAll(context, plan, cursor)
    const analyzed = attempts.filter(({ result }) => result === 'analyzed').length
    context.metrics.gauge('relations_stale', plan.actions.length - analyzed)
    context.metrics.count('relations_analyzed', analyzed)
    const failure = failureOf(attempts)
    if (failure !== undefined) throw new NotAnalyzed(failure)
    return resultOf(plan, attempts, context.config)
  },
})

/** `parallel` workers take the planned relations in order. All have ended when this ends, whatever one of them throws. */
async function analyzeAll(context: Context, plan: AnalyzePlan, before: Cursor): Promise<readonly Attempt[]> {
  const queue = [...plan.actions]
  const attempts: Attempt[] = []
  const cursorWith = (...more: readonly Attempt[]) => nextCursor(before, plan, [...attempts, ...more])
  // The checkpoint is one value: two parents that save it at the same time would forget one of them.
  let parentsBefore: Promise<unknown> = Promise.resolve()
  const inTurn = (planned: PlannedAnalyze): Promise<Attempt> => {
    const attempt = async () => {
      const done = await analyzeOne(context, planned, () => cursorWith({ planned, result: 'analyzed' }))
      attempts.push(done)
      return done
    }
    if (planned.candidate.kind !== 'partitioned') return attempt()
    const result = parentsBefore.then(attempt)
    parentsBefore = result.catch(() => undefined)
    return result
  }
  const work = async () => {
    while (!context.budget.exhausted()) {
      const next = queue.shift()
      if (next === undefined) return
      const total = plan.actions.length
      context.progress({ done: attempts.length, total, unit: 'relations', current: keyOf(next.candidate) })
      await inTurn(next)
    }
  }
  const workers = await Promise.allSettled(Array.from({ length: context.config.parallel }, work))
  const thrown = workers.find((worker) => worker.status === 'rejected')
  if (thrown !== undefined) return Promise.reject(thrown.reason as Error)
  const next = cursorWith()
  if (next.slow.join() !== before.slow.join()) await context.checkpoint.save(next)
  return attempts
}

async function analyzeOne(context: Context, planned: PlannedAnalyze, cursorAfter: () => Cursor): Promise<Attempt> {
  const { candidate, reason } = planned
  const { schema, name } = candidate
  const { lockTimeout, relationTimeout } = context.config
  // Never beyond the soft limit: there it is out of budget, and not a task that hangs.
  const limitMs = Math.max(1, Math.min(relationTimeout, context.budget.remainingMs()))
  const notDone = (result: Attempt['result'], why: string): Attempt => ({ planned, result, reason: why })
  try {
    await context.act(
      {
        kind: 'analyze',
        target: keyOf(candidate),
        reason,
        lockTimeoutMs: lockTimeout,
        statementTimeoutMs: limitMs,
      },
      async (fenced) => {
        await analyzeRelation(fenced.db, schema, name)
        const [warning] = fenced.notices.filter(({ code }) => code.startsWith('01') || code === '55P03')
        if (warning !== undefined) throw new NotAnalyzed(warning.message)
        if (candidate.kind === 'partitioned') await fenced.saveCheckpoint(cursorAfter())
      },
    )
  } catch (error) {
    if (codeOf(error) === '57014' && !context.signal.aborted) {
      return limitMs < relationTimeout
        ? notDone('out-of-budget', 'the budget ended first')
        : notDone('too-slow', `was cancelled, or did not end within ${formatDuration(relationTimeout)}`)
    }
    if (context.signal.aborted || !isAboutOneRelation(error)) throw error
    const unavailable = unavailableBecause[codeOf(error) ?? '']
    if (unavailable !== undefined) return notDone('not-now', unavailable)
    return notDone(
      'failed',
      error instanceof NotAnalyzed ? error.message : `${messageOf(error, 200)}, ${codeOf(error) ?? ''}`,
    )
  }
  if (context.dryRun) return { planned, result: 'analyzed' }
  const lastAnalyzeAt = await selectLastAnalyze(context.db, schema, name)
  const before = candidate.lastAnalyzeAt
  const advanced = lastAnalyzeAt !== undefined && (before === undefined || lastAnalyzeAt > before)
  return advanced
    ? { planned, result: 'analyzed' }
    : notDone('failed', 'ANALYZE ended without an error, and yet its statistics are no newer')
}

/** PostgreSQL only warns when it will not analyze: thrown inside the transaction, so that no action is recorded as done. */
class NotAnalyzed extends Error {
  readonly code = 'not-analyzed'
}

/** No fault of ours, by SQLSTATE. */
const unavailableBecause: Readonly<Record<string, string>> = {
  '55P03': 'is locked by another session',
  '42P01': 'was dropped meanwhile',
  '3F000': 'was dropped meanwhile',
  '42501': 'permission denied',
}

/**
 * What the server says of a statement concerns its relation: an expression of an index that divides by zero, a damaged page. Not so the
 * classes of connection (08), rollback (40), resources (53) and the operator's hand (57), and whatever has no SQLSTATE, such as a lost claim.
 */
function isAboutOneRelation(error: unknown): boolean {
  if (error instanceof NotAnalyzed) return true
  const code = codeOf(error)
  return isSqlState(code) && !/^(08|40|53|57)/.test(code)
}
