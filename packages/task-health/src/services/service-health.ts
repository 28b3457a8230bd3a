import { duration, formatDuration } from '@battlescope/scheduler-core'
import { codeOf } from '@battlescope/database'
import { defineCheck, measured, unknown, type Found } from '../check.js'
import { readHealthAnswer, type Verdict } from './health-answer.js'
import { redisFindings } from './redis-answers.js'

export interface ServiceAnswer {
  readonly name: string
  /** `http`: there was an answer. Otherwise why there was none. */
  readonly problem: string | undefined
  readonly status: number | undefined
  readonly verdict: Verdict | undefined
  readonly failing: readonly string[]
  readonly latencyMs: number
}

/** Milliseconds that the check may take beyond the time that one answer may: all services are asked at the same time. */
const marginMs = 1000

export const serviceHealth = defineCheck({
  key: 'service-health',
  group: 'services',
  description: 'Health endpoints of services that do not answer, answer slowly, or say that a part of them fails.',
  interval: 'every-run',
  severity: 'error',
  holdDownMs: 300_000,
  options: {
    timeout: duration({ min: '100ms', max: '10s' }).prefault('5s').describe('How long a service may take to answer.'),
    latency: duration({ min: '1ms' }).prefault('2s').describe('From which time on an answer is slow: a warning.'),
  },
  hint: 'look at the pods and logs of the service: kubectl -n battlescope get pods',
  needs: () => ({ clients: ['http'] }),
  timeoutMs: 10_000 + marginMs,
  read: async (context, options) => {
    const services = Object.entries(context.settings.services ?? {})
    if (services.length === 0) {
      return unknown('not-configured', 'no services are named: set SCHEDULER_HEALTH_SERVICES', {
        missing: 'services',
      })
    }
    const http = await context.http()
    const ask = async ([name, url]: [string, string]): Promise<ServiceAnswer> => {
      const startedMs = context.monotonicMs()
      const latency = () => Math.round(context.monotonicMs() - startedMs)
      try {
        const { status, body } = await http.get({ url, timeoutMs: options.timeout, signal: context.signal })
        const latencyMs = latency()
        return { name, problem: undefined, status, latencyMs, ...readHealthAnswer(status, body) }
      } catch (error) {
        context.signal.throwIfAborted()
        const problem = codeOf(error) ?? 'the connection failed'
        return { name, problem, status: undefined, verdict: undefined, failing: [], latencyMs: latency() }
      }
    }
    return measured(await Promise.all(services.map(ask)))
  },
  judge: (answers, { latency, timeout }) =>
    answers.flatMap((answer): Found[] => {
      const { name, problem, status, verdict, failing, latencyMs } = answer
      const details = { ...(status === undefined ? {} : { status }), failing, latencyMs }
      if (problem !== undefined) {
        const why = problem === 'ETIMEDOUT' ? `no answer within ${formatDuration(timeout)}` : problem
        return [{ subject: name, summary: `service ${name} does not answer: ${why}`, details }]
      }
      const parts = failing.length === 0 ? '' : ` (failing: ${failing.join(', ')})`
      const depends =
        failing.length > 0 && failing.every((part) => /redis/i.test(part)) ? { dependsOn: redisFindings } : {}
      if (verdict === 'unhealthy') {
        return [
          {
            subject: name,
            summary: `service ${name} is unhealthy: status ${status ?? 0}${parts}`,
            details,
            ...depends,
          },
        ]
      }
      if (verdict === 'degraded') {
        const summary = `service ${name} is degraded: status ${status ?? 0}${parts}`
        return [{ subject: name, severity: 'warning', summary, details, ...depends }]
      }
      if (latencyMs < latency) return []
      const summary = `service ${name} answers slowly: ${latencyMs} ms, the threshold is ${latency} ms`
      return [{ subject: name, severity: 'warning', summary, details }]
    }),
})
