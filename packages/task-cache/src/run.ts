/** What a run of cache does. */
import { codeOf, type TaskResult } from '@battlescope/scheduler-core'
import { cleanRedis } from './clean-redis.js'
import { deleteRows, type Context } from './delete-rows.js'
import { resultOf } from './plan.js'

/** The share of its time that PostgreSQL gets at first, where Redis waits: neither may starve the other. */
const rowsShare = 0.5

export async function runCache(context: Context): Promise<TaskResult> {
  const { budget } = context
  const share = context.hasClient('redis') ? budget.remainingMs() * (1 - rowsShare) : 0
  const first = await deleteRows(context, () => !budget.exhausted() && budget.remainingMs() > share)
  const redis = await cleanRedis(context)
  const rows =
    first.unfinished > 0 && !budget.exhausted() ? await deleteRows(context, () => !budget.exhausted()) : first
  if (redis.failures.length > 0) throw failureOf(redis.failures)
  return resultOf({
    ...rows,
    ...redis,
    looked: rows.relations + redis.servers > 0,
    nothing: nothingFor(context),
    unfinished: rows.unfinished + redis.unfinished,
  })
}

function nothingFor(context: Context): string {
  const redis = context.hasClient('redis') ? 'no namespace is on a configured Redis' : 'no Redis is configured'
  return `none of the relations exists, and ${redis} (REDIS_URL, ESI_REDIS_CACHE_URL, SESSION_REDIS_URL)`
}

/** What failed, after everything else was done. */
function failureOf(failures: readonly Error[]): Error {
  const [first, ...more] = failures
  if (first !== undefined && more.length === 0) return first
  const message = failures.map((failure) => failure.message).join('; ')
  return Object.assign(new Error(message), { code: codeOf(first) ?? 'redis-failed' })
}
