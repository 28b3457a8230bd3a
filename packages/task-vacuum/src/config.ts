import { keyTables, parseRelationPattern } from '@battlescope/database'
import { duration, parsable, size } from '@battlescope/scheduler-core'
import { z } from 'zod'

const relation = parsable('the name of a relation', parseRelationPattern)

export const vacuumConfig = z.object({
  relations: z
    .array(relation)
    .default([...keyTables])
    .describe(
      'Relations to keep: schema.name, name (schema public), schema.*, or with the wildcards * and ?; quote odd names: "We.ird"."Name". A partitioned one stands for its partitions.',
    ),
  exclude: z.array(relation).default([]).describe('Relations to leave out, in the same forms.'),
  thresholdShare: z
    .number()
    .min(0.01)
    .max(1)
    .default(0.5)
    .describe(
      "Share of autovacuum's own thresholds (dead rows, inserted rows, changed rows) at which a relation is due: below 1, the quiet hours do what autovacuum would do by day.",
    ),
  deadRows: z
    .number()
    .int()
    .min(1)
    .default(100_000)
    .describe('Dead rows at which a relation is due, however large it is: what a night of retention leaves behind.'),
  notVisibleShare: z
    .number()
    .min(0.01)
    .max(1)
    .default(0.2)
    .describe(
      'Share of the pages that the visibility map leaves out at which a relation is due: index-only scans suffer from it.',
    ),
  freezeShare: z
    .number()
    .min(0.5)
    .max(0.99)
    .default(0.8)
    .describe(
      'Share of autovacuum_freeze_max_age at which a relation is frozen, before autovacuum has to at a time of its own choosing.',
    ),
  analyze: z.boolean().default(true).describe('Add ANALYZE where the statistics of the planner are stale, too.'),
  truncate: z
    .boolean()
    .default(false)
    .describe(
      'Give empty pages at the end back to the file system. It takes ACCESS EXCLUSIVE for a moment, on standbys, too.',
    ),
  indexCleanup: z
    .enum(['auto', 'on', 'off'])
    .default('auto')
    .describe('Whether index entries of dead rows are removed; auto leaves it out where there are next to none.'),
  costDelay: duration({ max: '100ms' })
    .optional()
    .describe(
      'How long VACUUM sleeps each time its cost limit is reached (vacuum_cost_delay). Absent: what the server says, normally no pause.',
    ),
  costLimit: z
    .number()
    .int()
    .min(1)
    .max(10_000)
    .optional()
    .describe('The cost at which it sleeps (vacuum_cost_limit). Absent: what the server says, normally 200.'),
  relationTimeout: duration()
    .prefault('30s')
    .describe(
      'How long VACUUM of one relation may take. What is predicted to take longer is left to autovacuum, with advice.',
    ),
  assumedRate: size()
    .prefault('32MiB')
    .describe('What VACUUM gets through in a second, for predictions, until it was measured.'),
  heldBackAfter: duration({ min: '0s' })
    .prefault('5m')
    .describe('Age from which on a transaction that holds back the removal of dead rows is no passing one.'),
  lockTimeout: duration()
    .prefault('500ms')
    .describe(
      "How long it may wait for an index's lock (for the relation's it never waits): less than deadlock_timeout, after which a waiting session cancels autovacuum.",
    ),
})

export type VacuumConfig = z.output<typeof vacuumConfig>
