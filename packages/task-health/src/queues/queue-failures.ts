import { duration, formatDuration } from '@battlescope/scheduler-core'
import { z } from 'zod'
import { defineCheck, measured } from '../check.js'
import { countFailedSince, isQueue, openQueue } from './read-queue.js'

export const queueFailures = defineCheck({
  key: 'queue-failures',
  group: 'queues',
  description: 'Jobs of the enrichment queue that failed lately: each has one attempt, and nobody makes a second one.',
  interval: 'every-run',
  severity: 'warning',
  holdDownMs: 0,
  options: {
    jobs: z.number().int().min(1).default(50).describe('Failed jobs within the window, from which on it is found.'),
    window: duration({ min: '1m' }).prefault('1h').describe('The time over which they are counted.'),
  },
  hint: 'read failedReason of the newest failed jobs; then retry them, for the service does not',
  needs: () => ({ clients: ['redis'] }),
  read: async (context, { window }) => {
    const queue = await openQueue(context)
    if (!isQueue(queue)) return queue
    return measured({ failed: await countFailedSince(queue, new Date(context.now.getTime() - window)) })
  },
  judge: ({ failed }, { jobs, window }) =>
    failed < jobs
      ? []
      : [
          {
            summary: `${failed} enrichment jobs failed within ${formatDuration(window)}, the threshold is ${jobs}`,
            details: { failed },
          },
        ],
})
