import { keyTables, parseRelationPattern } from '@battlescope/database'
import { duration, parsable } from '@battlescope/scheduler-core'
import { z } from 'zod'

const relation = parsable('the name of a relation', parseRelationPattern)

export const analyzeConfig = z.object({
  relations: z
    .array(relation)
    .default([...keyTables])
    .describe(
      'Relations to keep: schema.name, name (schema public), schema.*, or with the wildcards * and ?; quote odd names: "We.ird"."Name".',
    ),
  exclude: z.array(relation).default([]).describe('Relations to leave out, in the same forms.'),
  when: z
    .enum(['changed', 'always'])
    .default('changed')
    .describe(
      'changed: only what changed enough since its last ANALYZE, or was never analyzed. always: everything in every run.',
    ),
  changedRatio: z
    .number()
    .min(0)
    .max(1)
    .default(0.05)
    .describe('Share of the rows that must have changed: half of the share at which autovacuum acts by default (0.1).'),
  changedRows: z
    .number()
    .int()
    .min(1)
    .default(500)
    .describe('Rows that must have changed at least, whatever the share; autovacuum uses 50.'),
  parallel: z.number().int().min(1).max(8).default(2).describe('Relations that are analyzed at the same time.'),
  relationTimeout: duration()
    .prefault('10s')
    .describe('How long ANALYZE of one relation may take; then it is reported, and comes last in the next runs.'),
  lockTimeout: duration()
    .prefault('2s')
    .describe('How long one relation may wait for its lock; then it is left for the next run.'),
})

export type AnalyzeConfig = z.output<typeof analyzeConfig>
