/**
 * Alertmanager, API v2. https://prometheus.io/docs/alerting/latest/alerts_api/
 *
 * What fires is sent again in every run, with an end beyond the next runs, so that the receiver's own `resolve_timeout` (5 minutes by default, as long as the time between
 * two runs) never ends and reopens it. The labels are what an alert is recognized by, so whatever changes while it fires stands in annotations.
 */
import type { AlertContent, Delivery, DeliveryContext, StateChannel } from '@battlescope/scheduler-core'
import type { AlertsConfig } from './config.js'
import { exchange } from './exchange.js'
import { linkFor, placeOf, type Installation } from './installation.js'
import { masking } from './secrets.js'
import { cut, detailLines, wellFormed } from './text-limits.js'

/** Two runs may fail, or be late, before a firing alert ends by itself. */
const intervalsUntilEnd = 3

/** Of one annotation: no limit is documented, but notifications carry them. */
const maxAnnotation = 4000

type Options = Omit<AlertsConfig['alertmanager'], 'urls'> & { readonly urls: readonly [string, ...string[]] }

export function alertmanagerChannel(
  options: Options,
  link: string | undefined,
  installation: Installation,
): StateChannel {
  const { username, password, bearerToken } = options
  const basic = username === undefined ? undefined : Buffer.from(`${username}:${password ?? ''}`).toString('base64')
  const mask = masking([password, bearerToken, basic].filter((secret) => secret !== undefined))
  const headers: Record<string, string> = { 'content-type': 'application/json' }
  if (bearerToken !== undefined) headers.authorization = `Bearer ${bearerToken}`
  else if (basic !== undefined) headers.authorization = `Basic ${basic}`

  const describe = (alert: AlertContent, endsAt: Date) => ({
    labels: labelsOf(alert, options, installation),
    annotations: annotationsOf(alert),
    startsAt: alert.openedAt.toISOString(),
    // An end before the beginning is refused; clocks differ.
    endsAt: new Date(Math.max(endsAt.getTime(), alert.openedAt.getTime())).toISOString(),
    ...generatorOf(link, alert),
  })

  return {
    kind: 'state',
    name: 'alertmanager',
    async send({ firing, resolved }, context) {
      if (firing.length + resolved.length === 0) return { outcome: 'delivered' }
      const end = new Date(context.now.getTime() + intervalsUntilEnd * context.expectedIntervalMs)
      const stillFiring = new Set(firing.map(({ key }) => key))
      const alerts = [
        ...firing.map((alert) => describe(alert, end)),
        // What fires again is not over, whatever happened in between: one list must not say both.
        ...resolved.filter(({ alert }) => !stillFiring.has(alert.key)).map(({ alert }) => describe(alert, context.now)),
      ]
      return sendToAll(options.urls, { headers, body: JSON.stringify(alerts), mask }, context)
    },
  }
}

interface Post {
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
  readonly mask: (text: string) => string
}

/** The members of a cluster share notifications, not alerts: each has to be told, and whoever was not is told in the next run. */
async function sendToAll(
  urls: readonly string[],
  { headers, body, mask }: Post,
  context: DeliveryContext,
): Promise<Delivery> {
  const deliveries = await Promise.all(
    urls.map(async (url) => {
      const target = `${url.replace(/\/+$/, '')}/api/v2/alerts`
      const { delivery } = await exchange(context, { method: 'POST', url: target, headers, body }, mask)
      return delivery
    }),
  )
  return (
    deliveries.find(({ outcome }) => outcome === 'retry') ??
    deliveries.find(({ outcome }) => outcome === 'refused') ?? { outcome: 'delivered' }
  )
}

function labelsOf(alert: AlertContent, options: Options, installation: Installation): Record<string, string> {
  const labels = {
    ...options.labels,
    alertname: options.alertname,
    scheduler: installation.name,
    task: alert.task ?? 'scheduler',
    finding: alert.findingKey,
    ...(options.severityLabel ? { severity: alert.severity } : {}),
  }
  return Object.fromEntries(Object.entries(labels).map(([name, value]) => [name, wellFormed(value)]))
}

function annotationsOf(alert: AlertContent): Record<string, string> {
  const description = detailLines(alert.details).join('\n')
  return {
    summary: cut(alert.summary || placeOf(alert), maxAnnotation),
    severity: alert.severity,
    ...(description === '' ? {} : { description: cut(description, maxAnnotation) }),
  }
}

function generatorOf(link: string | undefined, alert: AlertContent): { generatorURL?: string } {
  const href = linkFor(link, alert)
  return href === undefined ? {} : { generatorURL: href }
}
