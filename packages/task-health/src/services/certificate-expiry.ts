import { codeOf } from '@battlescope/database'
import { duration, formatDuration } from '@battlescope/scheduler-core'
import { within } from '../bounded.js'
import { defineCheck, measured, notApplicable, type CheckContext, type Found } from '../check.js'
import { readCertificateExpiry, type Endpoint } from './read-certificate.js'

export interface CertificateReading {
  readonly name: string
  /** Milliseconds that it is still valid; negative when it has expired. Undefined when it could not be read. */
  readonly validForMs: number | undefined
  readonly problem: string | undefined
}

const dayMs = 86_400_000

export const certificateExpiry = defineCheck({
  key: 'certificate-expiry',
  group: 'services',
  description: 'TLS certificates of https:// services and rediss:// databases that expire soon.',
  interval: 6 * 3_600_000,
  severity: 'warning',
  holdDownMs: 0,
  options: {
    validFor: duration().prefault('21d').describe('How long a certificate must still be valid.'),
    urgent: duration().prefault('3d').describe('Below which time that is critical.'),
    timeout: duration({ min: '100ms', max: '10s' }).prefault('2s').describe('How long connecting may take.'),
  },
  hint: 'why was it not renewed? With cert-manager: kubectl get certificates, and the events of the one concerned',
  needs: () => ({ optionalClients: ['redis'] }),
  timeoutMs: 11_000,
  read: async (context, { timeout }) => {
    const endpoints = [...serviceEndpoints(context), ...(await redisEndpoints(context, timeout))]
    if (endpoints.length === 0) return notApplicable('no https:// service and no rediss:// database is configured')
    const ask = async ([name, endpoint]: readonly [string, Endpoint]): Promise<CertificateReading> => {
      const limit = AbortSignal.any([context.signal, AbortSignal.timeout(timeout)])
      try {
        const expiresAt = await within(timeout, context.signal, readCertificateExpiry(endpoint, limit))
        return { name, validForMs: expiresAt.getTime() - context.now.getTime(), problem: undefined }
      } catch (error) {
        context.signal.throwIfAborted()
        const problem = codeOf(error) ?? (error instanceof Error ? error.message : String(error))
        return { name, validForMs: undefined, problem }
      }
    }
    return measured(await Promise.all(endpoints.map(ask)))
  },
  judge: (readings, { validFor, urgent }) =>
    readings.flatMap(({ name, validForMs, problem }): Found[] => {
      if (validForMs === undefined) {
        const summary = `the certificate of ${name} could not be read: ${problem ?? ''}`
        const dependsOn = [`health/service-health:${name}`, `health/redis-answers:${name}`]
        return [{ subject: `${name}-unread`, summary, dependsOn }]
      }
      if (validForMs >= validFor) return []
      const days = Math.floor(validForMs / dayMs)
      const when = validForMs <= 0 ? 'has expired' : days < 1 ? 'expires within a day' : `expires in ${days} days`
      const summary = `the certificate of ${name} ${when}, the threshold is ${formatDuration(validFor)}`
      return [
        {
          subject: name,
          ...(validForMs < urgent ? { severity: 'critical' as const } : {}),
          summary,
          details: { days },
        },
      ]
    }),
})

function serviceEndpoints({ settings }: CheckContext): readonly (readonly [string, Endpoint])[] {
  return Object.entries(settings.services ?? {})
    .map(([name, url]) => [name, new URL(url)] as const)
    .filter(([, { protocol }]) => protocol === 'https:')
    .map(([name, { hostname, port }]) => [name, { host: hostname.replace(/^\[|\]$/g, ''), port: Number(port || 443) }])
}

/** Those that answer: those that do not are found by the check of that. */
async function redisEndpoints(
  context: CheckContext,
  timeoutMs: number,
): Promise<readonly (readonly [string, Endpoint])[]> {
  if (!context.hasClient('redis')) return []
  const reader = await context.redis()
  const endpoints: (readonly [string, Endpoint])[] = []
  for (const name of reader.configured) {
    const opened = await within(timeoutMs, context.signal, reader.open(name)).catch(() => undefined)
    context.signal.throwIfAborted()
    const [, host, port] = /^rediss(?:-cluster)?:\/\/(?:\[([^\]]+)\]|[^:/,]+):(\d+)/.exec(opened?.location ?? '') ?? []
    if (opened !== undefined && port !== undefined) {
      const named = host ?? /\/\/([^:/,]+)/.exec(opened.location)?.[1] ?? ''
      endpoints.push([name, { host: named, port: Number(port) }])
    }
  }
  return endpoints
}
