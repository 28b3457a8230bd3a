import { codeOf } from '@battlescope/database'
import { duration } from '@battlescope/scheduler-core'
import { redisNames, type RedisName } from '@battlescope/redis'
import { within } from '../bounded.js'
import { defineCheck, measured, type Found } from '../check.js'

export interface RedisAnswer {
  readonly name: RedisName
  readonly problem: { readonly code: string; readonly message: string } | undefined
  /** The fastest of a few: one alone may have waited for our own process. */
  readonly latencyMs: number
}

const key = 'redis-answers'
/** What a finding depends on whose cause is a Redis that does not answer. */
export const redisFindings: readonly string[] = redisNames.map((name) => `health/${key}:${name}`)

/** Milliseconds for a connection, in other checks: so they end before their own limit, and say what explains it. */
export const openTimeoutMs = 2000

const pings = 3

export const redisAnswers = defineCheck({
  key,
  group: 'services',
  description: 'Redis databases that do not answer PING, or answer slowly.',
  interval: 'every-run',
  severity: 'error',
  holdDownMs: 300_000,
  options: {
    timeout: duration({ min: '100ms', max: '10s' })
      .prefault('2s')
      .describe('How long a Redis may take to accept a connection and answer.'),
    latency: duration({ min: '1ms' }).prefault('250ms').describe('From which time on PING is slow: a warning.'),
  },
  hint: 'is the server running, loading its data, or blocked by a slow command (SLOWLOG GET)?',
  needs: () => ({ clients: ['redis'] }),
  timeoutMs: 11_000,
  read: async (context, { timeout }) => {
    const reader = await context.redis()
    const ask = async (name: RedisName): Promise<RedisAnswer> => {
      try {
        const latencyMs = await within(
          timeout,
          context.signal,
          reader.open(name).then(async ({ masters }) => {
            let slowest = 0
            for (const master of masters) {
              let fastest = Number.POSITIVE_INFINITY
              for (let ping = 0; ping < pings; ping += 1) {
                const startedMs = context.monotonicMs()
                await master.ping()
                fastest = Math.min(fastest, context.monotonicMs() - startedMs)
              }
              slowest = Math.max(slowest, fastest)
            }
            return slowest
          }),
        )
        return { name, problem: undefined, latencyMs: Math.round(latencyMs) }
      } catch (error) {
        context.signal.throwIfAborted()
        const message = error instanceof Error ? error.message : String(error)
        return { name, problem: { code: codeOf(error) ?? 'redis-failed', message }, latencyMs: 0 }
      }
    }
    return measured(await Promise.all(reader.configured.map(ask)))
  },
  judge: (answers, { latency }) =>
    answers.flatMap(({ name, problem, latencyMs }): Found[] => {
      if (problem !== undefined) {
        const { code, message } = problem
        return [{ subject: name, summary: `Redis ${name} does not answer: ${message}`, details: { code } }]
      }
      if (latencyMs < latency) return []
      const summary = `Redis ${name} answers slowly: PING takes ${latencyMs} ms, the threshold is ${latency} ms`
      return [{ subject: name, severity: 'warning', summary, details: { latencyMs } }]
    }),
})
