/**
 * A BullMQ queue, read by its own rules of keys: lists `wait`, `paused` and `active`, sorted sets `prioritized`, `delayed`, `failed` and
 * `waiting-children`, and a hash for each job with the time at which it was added. https://docs.bullmq.io
 */
import type { RedisMasterReader, RedisName } from '@battlescope/redis'
import { within } from '../bounded.js'
import type { CheckContext, Outcome } from '../check.js'
import { unknown } from '../check.js'
import { openTimeoutMs, redisFindings } from '../services/redis-answers.js'

const queueRedis: RedisName = 'redis'

export interface QueueKeys {
  readonly master: RedisMasterReader
  readonly keyOf: (part: string) => string
}

/** The queue of the settings, in REDIS_URL; or why it cannot be read, which is then explained by the check of Redis itself. */
export async function openQueue(context: CheckContext): Promise<QueueKeys | Outcome<never, never>> {
  const reader = await context.redis()
  if (!reader.configured.includes(queueRedis)) {
    return unknown('not-configured', 'REDIS_URL is not set', { missing: 'redis' })
  }
  const keyOf = (part: string) => `${context.settings.queuePrefix}:${context.settings.queue}:${part}`
  try {
    // BullMQ keeps all keys of a queue in one slot.
    const database = await within(openTimeoutMs, context.signal, reader.open(queueRedis))
    return { master: database.masterOf(keyOf('wait')), keyOf }
  } catch (error) {
    context.signal.throwIfAborted()
    const reason = error instanceof Error ? error.message : String(error)
    return unknown('no-answer', reason, { dependsOn: redisFindings })
  }
}

export function isQueue(opened: QueueKeys | Outcome<never, never>): opened is QueueKeys {
  return 'master' in opened
}

export interface QueueCounts {
  /** To be worked on, prioritized ones and those of a paused queue included. */
  readonly waiting: number
  readonly active: number
  readonly delayed: number
  /** At most as many as the service keeps. */
  readonly failed: number
  readonly isPaused: boolean
}

export async function readCounts({ master, keyOf }: QueueKeys): Promise<QueueCounts> {
  const count = async (part: string, type: 'list' | 'zset') => (await master.length(keyOf(part), type)) ?? 0
  const [wait, paused, active, prioritized, delayed, failed, [pausedFlag]] = await Promise.all([
    count('wait', 'list'),
    count('paused', 'list'),
    count('active', 'list'),
    count('prioritized', 'zset'),
    count('delayed', 'zset'),
    count('failed', 'zset'),
    master.hgetEach([keyOf('meta')], 'paused'),
  ])
  return { waiting: wait + paused + prioritized, active, delayed, failed, isPaused: pausedFlag !== undefined }
}

/** When the job was added that has waited longest: jobs come in at the head of the list and are taken from its end. */
export async function readOldest({ master, keyOf }: QueueKeys): Promise<Date | undefined> {
  const ids = await Promise.all([
    master.lindex(keyOf('wait'), -1),
    master.lindex(keyOf('paused'), -1),
    master.zrange(keyOf('prioritized'), 0, 0).then(([first]) => first?.member),
  ])
  // A marker that BullMQ 5 and older leave in the list is no job.
  const keys = ids.flatMap((id) => (id === undefined || id.startsWith('0:') ? [] : [keyOf(id)]))
  const times = (await master.hgetEach(keys, 'timestamp')).map(Number).filter((ms) => ms > 0)
  return times.length === 0 ? undefined : new Date(Math.min(...times))
}

/** Jobs that failed since then, of those that the service still keeps. */
export function countFailedSince({ master, keyOf }: QueueKeys, since: Date): Promise<number> {
  return master.zcount(keyOf('failed'), since.getTime(), '+inf')
}
