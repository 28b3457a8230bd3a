import { parseRelationPattern } from '@battlescope/database'
import { duration, period } from '@battlescope/scheduler-core'
import { z } from 'zod'
import { rollupNames } from './rollups.js'

const relation = z.string().superRefine((text, context) => {
  try {
    parseRelationPattern(text)
  } catch (error) {
    context.addIssue({ code: 'custom', message: `the name of a relation: ${(error as Error).message}` })
  }
})

export const statisticsConfig = z.object({
  mode: z
    .enum(['trailing', 'exact'])
    .default('trailing')
    .describe(
      'trailing: the last days in every slot, and everything else again within recheckWithin. exact: the days that triggers noted; they must be installed first.',
    ),
  rollups: z
    .array(z.enum(rollupNames))
    .default([...rollupNames])
    .describe('Rollups to keep. One that is left out keeps its rows.'),
  trailingDays: z
    .number()
    .int()
    .min(1)
    .max(60)
    .default(3)
    .describe('Days, today included, that are compared with their rollups in every slot.'),
  recheckWithin: duration({ min: '1d' })
    .prefault('7d')
    .describe('The longest that a change of an older day may take to reach the rollups in trailing mode.'),
  sliceRows: z
    .number()
    .int()
    .min(1000)
    .max(10_000_000)
    .default(15_000)
    .describe('Killmails that one slice of days counts, by estimate. A slice is one transaction; a day is never cut.'),
  freezeAfter: period()
    .optional()
    .describe(
      'Days older than this keep the rollups that they have, whatever happens to their rows: for retention without an archive, whose deletions no manifest tells of.',
    ),
  growthRelations: z
    .array(relation)
    .default(['public.*', 'scheduler.*'])
    .describe(
      'Relations whose size is kept per day: schema.name, name (schema public), schema.*, or with the wildcards * and ?.',
    ),
})

export type StatisticsConfig = z.output<typeof statisticsConfig>
