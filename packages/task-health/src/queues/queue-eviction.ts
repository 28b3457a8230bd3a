import { defineCheck, measured } from '../check.js'
import { isQueue, openQueue } from './read-queue.js'

export const queueEviction = defineCheck({
  key: 'queue-eviction',
  group: 'queues',
  description: 'Whether the Redis of the queue may evict its jobs when memory is short (maxmemory-policy).',
  interval: 6 * 3_600_000,
  // How BattleScope is set up, shared with caches: worth knowing, and no news.
  severity: 'info',
  holdDownMs: 0,
  options: {},
  hint: 'BullMQ asks for maxmemory-policy noeviction: give the queue a Redis of its own, apart from the caches',
  needs: () => ({ clients: ['redis'] }),
  read: async (context) => {
    const queue = await openQueue(context)
    if (!isQueue(queue)) return queue
    const info = await queue.master.info('memory')
    return measured({ policy: queue.master.evictionPolicy, maxBytes: Number(info['maxmemory']) })
  },
  judge: ({ policy, maxBytes }) =>
    // Policies of "volatile" leave alone what has no TTL, and jobs have none.
    maxBytes === 0 || !policy.startsWith('allkeys-')
      ? []
      : [
          {
            summary: `Redis may evict jobs of the enrichment queue: its maxmemory-policy is ${policy}`,
            details: { policy, maxBytes },
          },
        ],
})
