import { defineTask, type Task } from '@battlescope/scheduler-core'
import { statisticsConfig } from './config.js'
import { cursorSchema, type Cursor } from './cursor.js'
import { requestSchema } from './request.js'
import { sourceNames } from './rollups.js'
import type { Request } from './slices.js'

/** Keeps rollups of killmails and battles per day, and the growth of tables. */
export const statistics: Task<typeof statisticsConfig, unknown, Cursor, Request> = defineTask({
  apiVersion: 1,
  name: 'statistics',
  description: 'keeps statistics of killmails, battles and table growth per day',
  schedule: { kind: 'interval', everyMs: 1_800_000 },
  timeoutMs: 40_000,
  heavy: true,
  configSchema: statisticsConfig,
  checkpointSchema: cursorSchema,
  requestSchema,
  requires: ({ rollups }) => ({
    relations:
      rollups.length === 0 ? [] : sourceNames.map((name) => ({ relation: `public.${name}`, privileges: ['select'] })),
  }),
  run: async (context) => (await import('./run.js')).runStatistics(context),
})
