import { duration, formatDuration } from '@battlescope/scheduler-core'
import { defineCheck, measured } from '../check.js'
import { showAge } from '../ages.js'
import { isQueue, openQueue, readOldest } from './read-queue.js'

export const queueAge = defineCheck({
  key: 'queue-age',
  group: 'queues',
  description: 'How long the oldest job of the enrichment queue has been waiting.',
  interval: 'every-run',
  severity: 'warning',
  holdDownMs: 300_000,
  options: {
    age: duration().prefault('15m').describe('Age of the oldest waiting job, from which on it is found.'),
  },
  hint: 'does the enrichment service run? Few jobs that wait long mean that nobody takes any',
  needs: () => ({ clients: ['redis'] }),
  read: async (context) => {
    const queue = await openQueue(context)
    if (!isQueue(queue)) return queue
    const oldest = await readOldest(queue)
    return measured({ ageMs: oldest === undefined ? 0 : Math.max(0, context.now.getTime() - oldest.getTime()) })
  },
  judge: ({ ageMs }, { age }) =>
    ageMs < age
      ? []
      : [
          {
            summary: `the oldest job of the enrichment queue has waited ${showAge(ageMs)}, the threshold is ${formatDuration(age)}`,
            details: { ageMs },
          },
        ],
  gauges: ({ ageMs }) => ({ queue_oldest_age_seconds: ageMs / 1000 }),
})
