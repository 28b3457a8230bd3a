import { defineTask, type Task } from '@battlescope/scheduler-core'
import { clusterConfig } from './config.js'
import { planCluster } from './plan.js'
import { countExpired, deleteExpired, relation, selectRelationExists, type ClusterTables } from './queries.js'

type Cluster = Task<typeof clusterConfig, ClusterTables>

/** Read → plan → act, one action after another. */
export const cluster: Cluster = defineTask({
  apiVersion: 1,
  name: 'cluster',
  description: 'deletes rows of cluster that expired',
  schedule: { kind: 'interval', everyMs: 3_600_000 },
  timeoutMs: 30_000,
  configSchema: clusterConfig,
  requires: () => ({ relations: [{ relation, privileges: ['select', 'delete'] }] }),

  async run(context) {
    const { config, db } = context
    if (!(await selectRelationExists(db))) return { outcome: 'skipped', reason: `there is no relation ${relation}` }

    const horizon = new Date(context.clock.now().getTime() - config.grace)
    const { batches } = planCluster({ expiredRows: await countExpired(db, horizon), batchSize: config.batchSize })

    for (const [index, rows] of batches.entries()) {
      if (context.budget.exhausted()) return { outcome: 'partial', remaining: batches.length - index }
      context.progress({ done: index, total: batches.length, unit: 'batches' })
      await context.act({ kind: 'delete-rows', target: relation, reason: `${rows} rows expired` }, async (fenced) => ({
        rows: await deleteExpired(fenced.db, horizon, rows),
      }))
    }
    return { outcome: 'succeeded' }
  },
})
