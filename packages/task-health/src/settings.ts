/** What several checks share: where things are. */
import { parseRelationName } from '@battlescope/database'
import { duration } from '@battlescope/scheduler-core'
import { z } from 'zod'

const relation = z.string().superRefine((text, context) => {
  try {
    parseRelationName(text)
  } catch (error) {
    context.addIssue({ code: 'custom', message: `the name of a relation: ${(error as Error).message}` })
  }
})

/** fetch() refuses credentials in a URL and drops a fragment: better said here than at night. */
const serviceUrl = z.string().superRefine((text, context) => {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url === undefined || !/^https?:$/.test(url.protocol) || url.username + url.password + url.hash !== '') {
    context.addIssue({ code: 'custom', message: 'an http:// or https:// URL without user, password and fragment' })
  }
})

const serviceName = z.string().regex(/^[a-z][a-z0-9-]{0,39}$/, {
  error: 'a name in kebab-case of at most 40 characters: findings are named after it',
})

export const settingsShape = {
  services: z
    .record(serviceName, serviceUrl)
    .optional()
    .describe('Services that must answer, as JSON or YAML: name → URL of its health endpoint.'),
  killmails: relation.default('public.killmail_events').describe('The killmails.'),
  enrichments: relation.default('public.killmail_enrichments').describe('The enrichments of killmails.'),
  battles: relation.default('public.battles').describe('The battles.'),
  battleKillmails: relation.default('public.battle_killmails').describe('Which killmails belong to which battle.'),
  battleParticipants: relation.default('public.battle_participants').describe('Who took part in a battle.'),
  queue: z.string().min(1).default('killmail-enrichment').describe('The BullMQ queue of enrichments in REDIS_URL.'),
  queuePrefix: z.string().min(1).default('bull').describe("The prefix of the queue's keys."),
  processingDelay: duration({ min: '0s' })
    .prefault('90m')
    .describe(
      'How long a killmail waits for clustering on purpose: the CLUSTER_PROCESSING_DELAY_MINUTES of the service.',
    ),
  checkConcurrency: z
    .number()
    .int()
    .min(1)
    .max(3)
    .default(2)
    .describe('Checks of the database that are made at the same time, each on a connection of its own.'),
} as const

export type HealthSettings = Readonly<z.output<z.ZodObject<typeof settingsShape>>>
