import { parseRelationName } from '@battlescope/database'
import { duration, secret } from '@battlescope/scheduler-core'
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
    context.addIssue({
      code: 'custom',
      message: 'an http:// or https:// URL without user, password and fragment; the token has an option of its own',
    })
  }
})

export const clusterConfig = z
  .object({
    trigger: z
      .enum(['http', 'notify', 'job-table', 'none'])
      .default('none')
      .describe(
        'How the service is told that there is work: http (POST), notify (PostgreSQL NOTIFY), job-table (a row), or none: the backlog is only measured.',
      ),
    relation: relation
      .default('public.killmail_events')
      .describe('The killmails, with the columns occurred_at and processed_at (and fetched_at, where it exists).'),
    processingDelay: duration({ min: '0s' })
      .prefault('90m')
      .describe(
        'How long a killmail waits on purpose: the CLUSTER_PROCESSING_DELAY_MINUTES of the service. Younger ones are no backlog.',
      ),
    countLimit: z
      .number()
      .int()
      .min(1000)
      .max(10_000_000)
      .default(100_000)
      .describe('Waiting killmails that are looked at at most, so that a huge backlog costs no more than a big one.'),
    serviceLevel: duration()
      .prefault('5m')
      .describe('How soon after the processing delay a killmail should be clustered.'),
    serviceLevelWindow: duration({ min: '5m', max: '1d' })
      .prefault('1h')
      .describe('The time over which 95 % of the killmails must have met the service level.'),
    growthSlots: z
      .number()
      .int()
      .min(1)
      .max(1000)
      .default(3)
      .describe(
        'Slots in a row in which the late killmails become neither fewer nor younger, before that is reported.',
      ),
    url: serviceUrl
      .optional()
      .describe('http: where to POST. Required with trigger http.')
      // A query may hold a key.
      .meta({ secret: 'url' }),
    token: secret()
      .regex(/^[\x21-\x7e]+$/, { error: 'visible ASCII characters without spaces' })
      .optional()
      .describe('http: bearer token of the Authorization header. Without it none is sent.'),
    requestTimeout: duration({ min: '100ms', max: '1m' })
      .prefault('10s')
      .describe('http: how long one request may take. A timeout is no failure: the next run looks at the backlog.'),
    retries: z
      .number()
      .int()
      .min(0)
      .max(10)
      .default(3)
      .describe('http: further attempts after 429, 502, 503, 504 or a broken connection, as far as the budget goes.'),
    retryPause: duration({ max: '1m' })
      .prefault('1s')
      .describe('http: pause before the first further attempt, doubled with each. Retry-After goes before it.'),
    channel: z
      .string()
      .regex(/^[a-z_][a-z0-9_]{0,62}$/, {
        error: 'a channel that LISTEN understands without quotes: a to z, 0 to 9 and _, at most 63',
      })
      .default('battlescope_clustering')
      .describe('notify: the channel.'),
    jobRelation: relation
      .default('public.clustering_jobs')
      .describe('job-table: the table. It must exist; the README has its definition.'),
    jobTimeout: duration({ min: '1m' })
      .prefault('15m')
      .describe('job-table: how long an unfinished row keeps the next one back. After that its worker counts as gone.'),
  })
  .superRefine(({ trigger, url }, context) => {
    if (trigger === 'http' && url === undefined) {
      context.addIssue({ code: 'custom', path: ['url'], message: 'the URL of the service, because trigger is http' })
    }
  })

export type ClusterConfig = z.output<typeof clusterConfig>
