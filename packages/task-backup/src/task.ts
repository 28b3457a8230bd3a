import { defineTask, type Task } from '@battlescope/scheduler-core'
import { z } from 'zod'
import { backupConfig } from './config.js'
import type { Cursor } from './driver.js'
import type {} from './programs.js'

/** Has a backup taken once per slot, looks how it goes in later runs, and says what is wrong with the backups there are. */
export const backup: Task<typeof backupConfig, unknown, Cursor> = defineTask({
  apiVersion: 1,
  name: 'backup',
  description: 'has backups taken, watches them, and says when there is no good one',
  schedule: { kind: 'cron', expression: '0 3 * * *', timezone: 'UTC' },
  timeoutMs: 45_000,
  heavy: true,
  configSchema: backupConfig,
  checkpointSchema: z.object({ slotId: z.string(), failedCount: z.number(), failedCountBefore: z.number().nullable() }),
  requires: ({ driver }) => {
    switch (driver) {
      case 'none':
        return {}
      case 'kubernetes':
      case 'http':
        return { clients: ['http'] }
      case 'command':
        return { clients: ['program', 'store'] }
      case 'pg-dump':
        return { relations: [{ relation: 'public.*', privileges: ['select'] }], clients: ['program', 'store'] }
    }
  },
  run: async (context) => (await import('./run.js')).runBackup(context),
})
