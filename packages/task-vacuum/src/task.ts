import { defineTask, type Task } from '@battlescope/scheduler-core'
import { z } from 'zod'
import { vacuumConfig } from './config.js'
import type { Cursor } from './plan.js'

/** Removes dead rows, keeps visibility maps and frozen ages, where that helps and nobody is disturbed. */
export const vacuum: Task<typeof vacuumConfig, unknown, Cursor> = defineTask({
  apiVersion: 1,
  name: 'vacuum',
  description: 'vacuums relations where it helps, in the quiet hours',
  schedule: { kind: 'cron', expression: '0 4 * * *', windowMs: 2 * 60 * 60 * 1000 },
  timeoutMs: 45_000,
  heavy: true,
  configSchema: vacuumConfig,
  checkpointSchema: z.object({
    relations: z.record(
      z.string(),
      z.object({
        bytesPerMs: z.number().positive().optional(),
        cutOff: z.boolean().optional(),
        deferrals: z.number().optional(),
        horizon: z.string().optional(),
      }),
    ),
  }),
  requires: ({ relations, exclude }) => ({
    direct: true,
    relations: relations.map((relation) => ({ relation, except: exclude, privileges: ['maintain'] })),
  }),
  run: async (context) => (await import('./run.js')).runVacuum(context),
})
