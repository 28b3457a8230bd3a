import { z } from 'zod'
import { defineCheck, measured, type Found } from '../check.js'
import { isQueue, openQueue, readCounts, type QueueCounts } from './read-queue.js'

export const queueDepth = defineCheck({
  key: 'queue-depth',
  group: 'queues',
  description: 'Jobs that wait in the enrichment queue (BullMQ), and whether it is paused.',
  interval: 'every-run',
  severity: 'warning',
  // The service level: 1 000 jobs for 15 minutes.
  holdDownMs: 900_000,
  options: {
    jobs: z.number().int().min(1).default(1000).describe('Waiting jobs, from which on it is found.'),
  },
  hint: 'does the enrichment service run, and does zKillboard answer it? More replicas work a backlog off',
  needs: () => ({ clients: ['redis'] }),
  read: async (context) => {
    const queue = await openQueue(context)
    return isQueue(queue) ? measured(await readCounts(queue)) : queue
  },
  judge: (counts, { jobs }) => {
    const { waiting, isPaused } = counts
    const found: Found[] = []
    if (waiting >= jobs) {
      const summary = `${waiting} jobs wait in the enrichment queue, the threshold is ${jobs}`
      found.push({ summary, details: { ...counts } })
    }
    if (isPaused) {
      const summary = `the enrichment queue is paused, with ${waiting} jobs`
      found.push({
        subject: 'paused',
        summary,
        details: { ...counts },
        hint: 'who paused it, and why? Resume it with BullMQ',
      })
    }
    return found
  },
  gauges: ({ waiting, active, delayed, failed }: QueueCounts) => ({
    queue_waiting: waiting,
    queue_active: active,
    queue_delayed: delayed,
    queue_failed: failed,
  }),
})
