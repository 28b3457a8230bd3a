import { defineTask, type Task } from '@battlescope/scheduler-core'
import { cacheConfig } from './config.js'
import { cacheCursor, type CacheCursor } from './cursor.js'

/** Removes what caches and sessions have left behind, in PostgreSQL and in Redis. */
export const cache: Task<typeof cacheConfig, unknown, CacheCursor> = defineTask({
  apiVersion: 1,
  name: 'cache',
  description: 'removes expired rows, stale keys and missing TTLs of caches and sessions',
  schedule: { kind: 'interval', everyMs: 3_600_000 },
  timeoutMs: 45_000,
  heavy: true,
  configSchema: cacheConfig,
  checkpointSchema: cacheCursor,
  requires: ({ relations }) => ({
    relations: relations.map(({ relation }) => ({ relation, privileges: ['select', 'update', 'delete'] })),
    clients: ['redis'],
  }),
  run: async (context) => (await import('./run.js')).runCache(context),
})
