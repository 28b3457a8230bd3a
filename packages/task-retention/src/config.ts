import { quoteIdentifier } from '@battlescope/database'
import { duration, period } from '@battlescope/scheduler-core'
import { z } from 'zod'
import { policyProblems, relationProblem, shortPeriodProblems } from './policy-problems.js'

const relation = z
  .string()
  .superRefine((text, context) => {
    const problem = relationProblem(text)
    if (problem !== undefined) context.addIssue({ code: 'custom', message: `the name of a relation: ${problem}` })
  })
  .describe('A relation: schema.name, or name (schema public); quote odd names: "We.ird"."Name".')

const column = z
  .string()
  .superRefine((name, context) => {
    try {
      quoteIdentifier(name)
    } catch (error) {
      context.addIssue({ code: 'custom', message: `the name of a column: ${(error as Error).message}` })
    }
  })
  .describe('The name of a column, exactly as the catalog has it, without quotes.')

const columns = z.array(column).min(1).max(32)

/** How rows of another relation point to rows of the policy's: `columns[i]` holds the value of `references[i]`. */
const link = {
  relation,
  columns: columns.describe('Its columns that point to the rows of the policy.'),
  references: columns.describe('The columns that they point to, in the same order.'),
}

const child = z
  .strictObject(link)
  .describe(
    'Rows that are archived and deleted together with the row that they point to. One level: a child has no children of its own.',
  )

const member = z
  .strictObject({
    ...link,
    timeColumn: column
      .optional()
      .describe('When the member took place. Without it, the group stays as long as it has any such row.'),
  })
  .describe(
    'Rows that make up the group that a row of the policy stands for. The group expires when all of them lie before the horizon, and ' +
      'its row is deleted when no member is left, except those that are children, too.',
  )

const keepCondition = z.union([
  z.strictObject({
    column,
    is: z.enum(['null', 'not-null']).describe('Rows whose column is so stay.'),
  }),
  z.strictObject({
    column,
    within: z
      .union([z.literal('backfillGrace'), period()])
      .describe(
        "Rows whose column lies less than this before the slot stay; 'backfillGrace' is the option of that name.",
      ),
  }),
])

const policy = z.strictObject({
  name: z
    .string()
    .regex(/^[a-z][a-z0-9]*(-[a-z0-9]+)*$/, { error: 'a name in kebab-case' })
    .max(40)
    .describe('Unique, kebab-case. Names batches and holds: renaming a policy starts a new one.'),
  relation,
  timeColumn: column.describe('The column, a timestamptz, that says how old a row is.'),
  keep: period().optional().describe('How long rows stay. Default: the option keep.'),
  confirmShortPeriod: z.boolean().default(false).describe('Allows keep to be shorter than minimumKeep.'),
  archive: z
    .boolean()
    .default(true)
    .describe('Whether rows go to the cold storage before they are deleted. false deletes them for good.'),
  allowTriggers: z
    .boolean()
    .default(false)
    .describe(
      'Whether to delete although a user trigger fires on DELETE: it may change or refuse what nobody here can foresee.',
    ),
  detachPartitions: z
    .boolean()
    .default(true)
    .describe(
      'Whether expired partitions of a partitioned relation go as a whole: detached CONCURRENTLY over the direct connection, archived, and dropped. false, or where there is no direct connection: row by row.',
    ),
  children: z.array(child).default([]).describe('Relations whose rows go together with those of the policy.'),
  keepWhile: z.array(keepCondition).default([]).describe('Rows to which any of these applies stay.'),
  members: z.array(member).default([]).describe('Relations whose rows must have expired, too.'),
  with: z
    .strictObject({
      policy: z.string().describe('The name of the policy of the group.'),
      columns: columns.describe('The columns of this relation that point to the group; NULL: belongs to none.'),
      references: columns.describe("The columns of the group's relation that they point to, in the same order."),
    })
    .optional()
    .describe(
      'A row that belongs to a row of another policy, its group, expires only with it, and is deleted before it.',
    ),
})

/** BattleScope: a killmail goes with its battle, or without one; a battle goes when all its killmails are old enough and gone. */
const battlescopePolicies: z.input<typeof policy>[] = [
  {
    name: 'killmails',
    relation: 'public.killmail_events',
    timeColumn: 'occurred_at',
    children: [
      { relation: 'public.killmail_enrichments', columns: ['killmail_id'], references: ['killmail_id'] },
      { relation: 'public.pilot_ship_history', columns: ['killmail_id'], references: ['killmail_id'] },
    ],
    // An old killmail that was fetched just now would be fetched again: ingestion and retention would fight for ever.
    keepWhile: [
      { column: 'processed_at', is: 'null' },
      { column: 'fetched_at', within: 'backfillGrace' },
    ],
    with: { policy: 'battles', columns: ['battle_id'], references: ['id'] },
  },
  {
    name: 'battles',
    relation: 'public.battles',
    timeColumn: 'end_time',
    children: [
      { relation: 'public.battle_killmails', columns: ['battle_id'], references: ['id'] },
      { relation: 'public.battle_participants', columns: ['battle_id'], references: ['id'] },
    ],
    members: [
      { relation: 'public.killmail_events', columns: ['battle_id'], references: ['id'], timeColumn: 'occurred_at' },
      { relation: 'public.battle_killmails', columns: ['battle_id'], references: ['id'], timeColumn: 'occurred_at' },
    ],
  },
]

export const retentionConfig = z
  .object({
    policies: z
      .array(policy)
      .superRefine((policies, context) => {
        for (const { path, message } of policyProblems(policies))
          context.addIssue({ code: 'custom', path: [...path], message })
      })
      .prefault(battlescopePolicies)
      .describe("What expires, and what hangs on it. Default: BattleScope's killmails and battles."),
    keep: period()
      .prefault('60 months')
      .describe('How long rows stay, where a policy does not say it. Calendar months, in UTC.'),
    minimumKeep: period()
      .prefault('30 days')
      .describe('A policy that keeps rows for less than this must say confirmShortPeriod.'),
    backfillGrace: period()
      .prefault('7 days')
      .describe(
        'How long rows that arrived late stay at least, where a policy says so (keepWhile within backfillGrace).',
      ),
    maxRowsPerRun: z
      .number()
      .int()
      .min(1)
      .max(1_000_000_000)
      .default(1_000_000)
      .describe('Rows that one run deletes at most, children included; the next run goes on.'),
    batchRows: z
      .number()
      .int()
      .min(1)
      .max(100_000)
      .default(5000)
      .describe(
        'Rows of a policy that are archived together and deleted in one transaction at most; their children come on top.',
      ),
    statementTarget: duration({ min: '1ms', max: '10s' })
      .prefault('25ms')
      .describe('How long one deleting statement should take: the number of its rows is adapted to that.'),
    transactionTarget: duration({ min: '10ms' })
      .prefault('2s')
      .describe('How long the transaction of one batch should take: later batches are made so large.'),
    transactionLimit: duration({ min: '10ms' })
      .prefault('10s')
      .describe(
        'When the transaction of a batch takes longer, it is rolled back, and the batch is done again in halves. One row is never too many.',
      ),
    statementLimit: duration({ min: '10ms', max: '60s' })
      .prefault('250ms')
      .describe('How long one deleting statement may take; then it is cancelled, and repeated with half as many rows.'),
    countLimit: duration({ min: '100ms', max: '60s' })
      .prefault('10s')
      .describe('How long the statements that find or count expired rows may take.'),
    pause: duration({ min: '0s', max: '60s' })
      .prefault('10ms')
      .describe('Pause between two batches, for the other users of the database.'),
    lockTimeout: duration({ min: '10ms', max: '30s' })
      .prefault('500ms')
      .describe('How long one statement may wait for a lock; then the batch is left for later.'),
    createMissingIndexes: z
      .boolean()
      .default(false)
      .describe(
        'Whether to build missing indexes on referencing and time columns, CONCURRENTLY, instead of only reporting them.',
      ),
    maxReplicaLag: duration()
      .prefault('30s')
      .describe('Retention stops while a replica lags behind by more, or does not say by how much.'),
    yieldToLockWaiters: z
      .boolean()
      .default(true)
      .describe('Whether retention stops while others wait for a lock on its relations.'),
    yieldToWraparound: z
      .boolean()
      .default(true)
      .describe('Whether retention stops while autovacuum works against transaction id wraparound on its relations.'),
    stuckRuns: z
      .number()
      .int()
      .min(1)
      .max(1000)
      .default(3)
      .describe('Runs in a row in which a policy deletes nothing although rows expired, before that is reported.'),
    holdAfterRestore: period()
      .prefault('30 days')
      .describe('How long restored rows stay before they may expire again.'),
  })
  .superRefine((config, context) => {
    for (const { path, message } of shortPeriodProblems(config))
      context.addIssue({ code: 'custom', path: [...path], message })
    if (config.statementTarget > config.statementLimit) {
      context.addIssue({ code: 'custom', path: ['statementTarget'], message: 'at most statementLimit' })
    }
  })

export type RetentionConfig = z.output<typeof retentionConfig>
