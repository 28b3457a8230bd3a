import { duration } from '@battlescope/scheduler-core'
import { z } from 'zod'

/** The options. Each needs a description and a default; names, table and JSON Schema follow from here. */
export const statisticsConfig = z.object({
  grace: duration({ min: '0s' }).prefault('1h').describe('How long a row stays after it expired.'),
  batchSize: z.number().int().min(1).max(10_000).default(1000).describe('Rows that one statement deletes at most.'),
})

export type StatisticsConfig = z.output<typeof statisticsConfig>
