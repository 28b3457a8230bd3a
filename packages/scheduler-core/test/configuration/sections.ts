import { z } from 'zod'
import type { Section } from '../../src/configuration/index.js'
import { duration, period, secret, size } from '../../src/option-types.js'

/** The program's own options, as the real program has them. */
export const program: Section = {
  schema: z.object({
    databaseUrl: z
      .string()
      .regex(/^postgres(ql)?:\/\//)
      .meta({ env: 'DATABASE_URL', secret: 'url', file: false })
      .describe('PostgreSQL connection string.'),
    logLevel: z
      .enum(['debug', 'info', 'warn'])
      .default('info')
      .meta({ env: 'LOG_LEVEL' })
      .describe('Least level that is logged.'),
    budget: duration().prefault('40s').describe('Soft limit of one run.'),
    expectedInterval: duration().default(300_000).describe('How often something starts it.'),
    alerts: z.object({
      pagerduty: z
        .object({
          routingKey: secret().min(8).describe('Integration key.'),
          url: z.url().default('https://events.example.org').describe('Where events go.'),
        })
        .optional(),
    }),
  }),
}

export const retention: Section = {
  name: 'retention',
  description: 'Removes what is older than its retention period.',
  schema: z.object({
    batchSize: z.int().min(1).max(10_000).default(1000).describe('Rows per statement.'),
    keep: z
      .union([z.literal(false), period()])
      .prefault('60 months')
      .describe('Retention period; false keeps all.'),
    relations: z.array(z.string().min(1)).default(['public.killmail_events']).describe('Which relations.'),
    pauses: z.array(duration()).default([]).describe('Pauses between batches.'),
    dryRun: z.boolean().default(false).describe('Only plans.'),
    when: z.enum(['changed', 'always']).default('changed').describe('When to act.'),
    ratio: z.number().min(0).max(1).default(0.1).describe('Share of changed rows.'),
    memory: size({ max: '1GiB' }).prefault('16MiB').describe('Most memory.'),
    perTable: z.record(z.string(), z.int()).default({}).describe('Batch size by relation.'),
  }),
  task: { schedule: { kind: 'cron', expression: '0 2 * * *', timezone: 'UTC' }, timeoutMs: 30_000 },
}

export const databaseUrl = 'postgres://keeper:correct-horse@db.internal:5432/battlescope'
export const environment = { DATABASE_URL: databaseUrl }
export const sections = [program, retention]
