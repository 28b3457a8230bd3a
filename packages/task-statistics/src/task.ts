import { defineTask, type Task } from '@battlescope/scheduler-core'
import { statisticsConfig } from './config.js'
import { planStatistics } from './plan.js'
import { countExpired, deleteExpired, relation, selectRelationExists, type StatisticsTables } from './queries.js'

type Statistics = Task<typeof statisticsConfig, StatisticsTables>

/** Read → plan → act, one action after another. */
export const statistics: Statistics = defineTask({
  apiVersion: 1,
  name: 'statistics',
  description: 'deletes rows of statistics that expired',
  schedule: { kind: 'interval', everyMs: 3_600_000 },
  timeoutMs: 30_000,
  configSchema: statisticsConfig,
  requires: () => ({ relations: [{ relation, privileges: ['select', 'delete'] }] }),

  async run(context) {
    const { config, db } = context
    if (!(await selectRelationExists(db))) return { outcome: 'skipped', reason: `there is no relation ${relation}` }

    const horizon = new Date(context.clock.now().getTime() - config.grace)
    const { batches } = planStatistics({ expiredRows: await countExpired(db, horizon), batchSize: config.batchSize })

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
