import { parseRelationName } from '@battlescope/database'
import { redisNames } from '@battlescope/redis'
import { duration, size } from '@battlescope/scheduler-core'
import { z } from 'zod'

const relation = z.string().superRefine((text, context) => {
  try {
    parseRelationName(text)
  } catch (error) {
    context.addIssue({ code: 'custom', message: `the name of a relation: ${(error as Error).message}` })
  }
})

const expiringRelation = z.strictObject({
  relation: relation.describe('schema.name, or a name in public.'),
  column: z.string().min(1).describe('Column with the time: timestamptz, timestamp (taken as UTC) or date.'),
  after: duration({ min: '0s' }).prefault('0s').describe('How long after that time a row has expired.'),
})

const keepJobs = z
  .strictObject({
    age: duration().optional().describe('Jobs that finished longer ago go.'),
    count: z.number().int().min(0).optional().describe('Of the rest, at most this many newest ones stay.'),
  })
  .refine(({ age, count }) => age !== undefined || count !== undefined, { error: 'age, count, or both' })

/** One object for all policies: which properties go with which is checked below, with a message that says so. */
const namespace = z
  .strictObject({
    on: z.array(z.enum(redisNames)).min(1).describe('Which Redis: redis, esiCache, session.'),
    policy: z.enum(['cache', 'session', 'pointer', 'bullmq']).default('cache'),
    pattern: z.string().min(1).optional().describe('Keys: a text with the wildcards * and ?. Not for bullmq.'),
    ttl: duration().optional().describe('What a missing TTL is set to.'),
    maxAge: duration().optional().describe('cache: keys go whose value has an older time in timeField.'),
    timeField: z.string().min(1).optional().describe('cache, session: property of the JSON value that holds a time.'),
    maxIdle: duration().optional().describe('cache: keys go that nobody used for longer (not with an LFU policy).'),
    target: z.string().optional().describe('pointer: the key that it points to, with {value} for its value.'),
    queue: z.string().min(1).optional().describe('bullmq: name of the queue.'),
    prefix: z.string().min(1).optional().describe('bullmq: prefix of its keys; bull when absent.'),
    completed: keepJobs.optional().describe('bullmq: which completed jobs stay; all when absent.'),
    failed: keepJobs.optional().describe('bullmq: which failed jobs stay; all when absent.'),
  })
  .superRefine((it, context) => {
    const refuse = (name: string, message: string) => context.addIssue({ code: 'custom', path: [name], message })
    const allowed: Record<typeof it.policy, readonly string[]> = {
      cache: ['pattern', 'ttl', 'maxAge', 'timeField', 'maxIdle'],
      session: ['pattern', 'ttl', 'timeField'],
      pointer: ['pattern', 'ttl', 'target'],
      bullmq: ['queue', 'prefix', 'completed', 'failed'],
    }
    for (const [name, value] of Object.entries(it)) {
      if (value === undefined || name === 'on' || name === 'policy') continue
      if (!allowed[it.policy].includes(name)) refuse(name, `nothing: the policy ${it.policy} has no ${name}`)
    }
    if (it.policy === 'bullmq' ? it.queue === undefined : it.pattern === undefined) {
      const name = it.policy === 'bullmq' ? 'queue' : 'pattern'
      refuse(name, `a value: the policy ${it.policy} needs it`)
    }
    // A pattern of wildcards alone would be everything: nothing would lie outside of the namespaces.
    if (it.pattern !== undefined && /^[*?]/.test(it.pattern)) refuse('pattern', 'a text that begins with no wildcard')
    if ((it.maxAge === undefined) !== (it.timeField === undefined) && it.policy === 'cache') {
      refuse(it.maxAge === undefined ? 'maxAge' : 'timeField', 'a value: maxAge and timeField go together')
    }
    if (it.policy === 'pointer' && it.target?.includes('{value}') !== true) refuse('target', 'a key with {value} in it')
  })

export type NamespaceConfig = z.output<typeof namespace>

/** BattleScope's keys and how long it keeps them. What it writes without TTL is BullMQ's alone, which keeps its own order. */
const battlescope: z.input<typeof namespace>[] = [
  { on: ['session'], policy: 'session', pattern: 'battlescope:session:*', ttl: '8h' },
  {
    on: ['session'],
    policy: 'pointer',
    pattern: 'battlescope:account-session:*',
    ttl: '8h',
    target: 'battlescope:session:{value}',
  },
  { on: ['session'], pattern: 'battlescope:authz:*', ttl: '60s' },
  ...['universe:names:*', 'universe:system:*', 'characters:info:*', 'corporations:info:*', 'alliances:info:*'].flatMap(
    (pattern): z.input<typeof namespace>[] => [
      // The API keeps them for 5 minutes, ingest for a day.
      { on: ['esiCache'], pattern, ttl: '5m' },
      { on: ['redis'], pattern, ttl: '24h' },
    ],
  ),
  { on: ['redis', 'esiCache'], pattern: 'battlescope:system:security:*', ttl: '24h' },
  { on: ['redis', 'esiCache'], pattern: 'battlescope:ruleset:active', ttl: '5m' },
  { on: ['redis', 'esiCache'], pattern: 'battlescope:intel:*', ttl: '1h' },
  { on: ['redis'], policy: 'bullmq', queue: 'killmail-enrichment' },
]

export const cacheConfig = z.object({
  relations: z
    .array(expiringRelation)
    .prefault([{ relation: 'public.esi_cache', column: 'expires_at' }])
    .describe(
      'Relations whose rows expire, as JSON or YAML: relation, column (a time), after (how long after it). Those that do not exist are left out.',
    ),
  rowBatchSize: z.number().int().min(1).max(50_000).default(5000).describe('Rows that one statement deletes, about.'),
  namespaces: z
    .array(namespace)
    .prefault(battlescope)
    .describe(
      'Which keys of Redis to look after, and how, as JSON or YAML; the first that fits a key decides. All other keys stay untouched.',
    ),
  commandsPerSecond: z
    .number()
    .int()
    .min(10)
    .max(1_000_000)
    .default(10_000)
    .describe('Commands per second that Redis gets from this task at most, all servers together.'),
  keyBatchSize: z
    .number()
    .int()
    .min(1)
    .max(20_000)
    .default(2000)
    .describe('Keys that are found before they are changed: one action each time.'),
  bigKey: size().prefault('8MiB').describe('From which size on a key is reported.'),
  fragmentationRatio: z
    .number()
    .min(1)
    .max(100)
    .default(1.5)
    .describe('From which mem_fragmentation_ratio on it is reported, when more than 64 MiB are lost.'),
  sampleKeys: z
    .number()
    .int()
    .min(1)
    .max(1_000_000)
    .default(10_000)
    .describe('Keys of each server that a dry run looks at.'),
})

export type CacheConfig = z.output<typeof cacheConfig>
