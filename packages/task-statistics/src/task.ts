import { defineTask, type Task } from '@battlescope/scheduler-core'
import { z } from 'zod'
import { statisticsConfig } from './config.js'
import { mostHalvings, type Cursor } from './plan.js'
import { requestSchema } from './request.js'
import { rollupNames, sourceNames } from './rollups.js'
import type { Request } from './slices.js'

const cursorSchema: z.ZodType<Cursor> = z.object({
  counted: z.array(z.enum(rollupNames)),
  sweep: z
    .object({
      startedAt: z.string(),
      before: z.string(),
      full: z.boolean(),
      rollups: z.array(z.enum(rollupNames)),
      triggers: z.string().nullable(),
    })
    .nullable(),
  sweptAt: z.string().nullable(),
  exactSince: z.string().nullable(),
  halvings: z.number().int().min(0).max(mostHalvings),
})

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
