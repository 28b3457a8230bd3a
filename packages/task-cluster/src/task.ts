import { parseRelationName } from '@battlescope/database'
import { defineTask, type Task, type TaskMetrics } from '@battlescope/scheduler-core'
import { z } from 'zod'
import { verdicts, type Judgement } from './answer.js'
import { clusterConfig } from './config.js'
import {
  jobRelationProblem,
  lagOf,
  nextCursor,
  planCluster,
  relationProblem,
  resultOf,
  type Cursor,
  type Occasion,
} from './plan.js'
import {
  selectBacklog,
  selectColumns,
  selectOpenJob,
  type Backlog,
  type ClusterTables,
  type OpenJob,
} from './queries.js'
import { NotTriggered, trigger, type ClusterContext } from './triggers.js'

/** Tells the clustering service that there is work, when there is some, and watches whether it keeps up. */
export const cluster: Task<typeof clusterConfig, ClusterTables, Cursor> = defineTask({
  apiVersion: 1,
  name: 'cluster',
  description: 'triggers clustering when killmails wait for it',
  schedule: { kind: 'every-run' },
  timeoutMs: 30_000,
  configSchema: clusterConfig,
  checkpointSchema: z.object({ slotId: z.string(), late: z.number(), lagMs: z.number(), slots: z.number() }),
  requires: (config) => ({
    relations: [
      { relation: config.relation, privileges: ['select'] },
      ...(config.trigger === 'job-table'
        ? [{ relation: config.jobRelation, privileges: ['select', 'insert'] as const }]
        : []),
    ],
    clients: config.trigger === 'http' ? ['http'] : [],
  }),
  run: async (context) => {
    const { config, db, slot, metrics } = context
    const columns = await selectColumns(db, parseRelationName(config.relation))
    const problem = relationProblem(config.relation, columns)
    if (problem !== undefined) return { outcome: 'skipped', reason: problem }

    const occasion = { ...slot, slotId: slot.id, now: context.clock.now(), traceparent: context.traceparent }
    const backlog = await readBacklog(context, occasion, columns?.has('fetched_at') === true)
    publish(metrics, backlog, occasion)
    const before = await context.checkpoint.load()
    const cursor = nextCursor(before, backlog, occasion)
    const plan = planCluster(backlog, await readOpenJob(context), occasion, config)
    if (plan.kind === 'trigger' && context.budget.exhausted()) return { outcome: 'partial', remaining: backlog.waiting }

    const judgement = plan.kind === 'trigger' ? await counted(metrics, () => trigger(context, plan)) : undefined
    if (cursor !== undefined) await context.checkpoint.save(cursor)
    else if (before !== undefined) await context.checkpoint.clear()
    return resultOf({ plan, backlog, cursor, judgement }, config)
  },
})

function readBacklog({ db, config }: ClusterContext, { now }: Occasion, hasFetchedAt: boolean): Promise<Backlog> {
  return selectBacklog(db, {
    relation: parseRelationName(config.relation),
    now,
    processingDelayMs: config.processingDelay,
    serviceLevelMs: config.serviceLevel,
    windowMs: config.serviceLevelWindow,
    countLimit: config.countLimit,
    hasFetchedAt,
  })
}

/** @throws NotTriggered where jobs cannot be left, although they are to be: also when none is due, or it would be found out at night. */
async function readOpenJob({ db, config }: ClusterContext): Promise<OpenJob | undefined> {
  if (config.trigger !== 'job-table') return undefined
  const relation = parseRelationName(config.jobRelation)
  const problem = jobRelationProblem(config.jobRelation, await selectColumns(db, relation))
  if (problem !== undefined) {
    const summary = `${problem}; the README of this task has its definition`
    throw new NotTriggered({ verdict: 'refused', retryable: false, code: 'job-table-unfit', summary }, 1)
  }
  return selectOpenJob(db, relation)
}

function publish(metrics: TaskMetrics, backlog: Backlog, { now }: Occasion): void {
  const { waiting, late, oldestAt, recent } = backlog
  metrics.gauge('backlog', waiting)
  metrics.gauge('backlog_late', late)
  metrics.gauge('oldest_age_seconds', oldestAt === undefined ? 0 : (now.getTime() - oldestAt.getTime()) / 1000)
  metrics.gauge('lag_seconds', lagOf(backlog, now) / 1000)
  metrics.gauge('lag_p95_seconds', recent.p95LagMs / 1000)
  // Every series exists before its first event.
  for (const result of verdicts) metrics.count('triggers', 0, { result })
}

async function counted(
  metrics: TaskMetrics,
  ask: () => Promise<Judgement | undefined>,
): Promise<Judgement | undefined> {
  try {
    const judgement = await ask()
    if (judgement !== undefined) metrics.count('triggers', 1, { result: judgement.verdict })
    return judgement
  } catch (error) {
    if (error instanceof NotTriggered) metrics.count('triggers', 1, { result: error.judgement.verdict })
    throw error
  }
}
