import { defineTask, type Task } from '@battlescope/scheduler-core'
import { reindexConfig } from './config.js'

/** Rebuilds indexes that grew out of their shape, one after another, and reports indexes that somebody should look at. */
export const reindex: Task<typeof reindexConfig> = defineTask({
  apiVersion: 1,
  name: 'reindex',
  description: 'rebuilds bloated indexes without blocking, and reports invalid, duplicate, unused and missing ones',
  // Daily, so that what a killed run leaves costs a day of writes and not a week; `minInterval` lets each index rest for about a week.
  schedule: { kind: 'cron', expression: '0 5 * * *', windowMs: 7_200_000 },
  timeoutMs: 48_000,
  heavy: true,
  configSchema: reindexConfig,
  requires: ({ relations, exclude }) => ({
    direct: true,
    relations: relations.map((relation) => ({ relation, except: exclude, privileges: ['owner'] })),
  }),
  run: async (context) => (await import('./run.js')).runReindex(context),
})
