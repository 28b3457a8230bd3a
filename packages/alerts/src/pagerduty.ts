/**
 * PagerDuty, Events API v2. https://developer.pagerduty.com/docs/send-alert-event
 *
 * A second trigger with a key that is open only adds to the log: the title stays, and nobody is called. So a raised severity is a resolve and a trigger. A changed summary
 * is not sent at all: a trigger would open a new incident where a person has resolved the old one, and call for a number that moved.
 */
import type { AlertMessage, ChangeMessage, Delivery, DeliveryContext, EachChannel } from '@battlescope/scheduler-core'
import type { AlertsConfig } from './config.js'
import { exchange } from './exchange.js'
import { linkFor, type Installation } from './installation.js'
import { masking } from './secrets.js'
import { targetOf } from './target.js'
import { cut, fitDetails, jsonBytes, keyWithin, oneLine } from './text-limits.js'

const regions = { us: 'https://events.pagerduty.com', eu: 'https://events.eu.pagerduty.com' } as const

/** "512 KB", read as the smaller of what it can mean; https://developer.pagerduty.com/docs/events-api-v2-overview#size-limits */
const maxEventBytes = 512_000
const maxSummary = 1024
const maxDedupKey = 255
/** No limit is documented for these; they are shown in lists. */
const maxLabel = 255

export function pagerdutyChannel(
  options: AlertsConfig['pagerduty'] & { readonly routingKey: string },
  link: string | undefined,
  installation: Installation,
): EachChannel {
  const { routingKey } = options
  const base = (options.url ?? regions[options.region]).replace(/\/+$/, '')
  const mask = masking([routingKey])

  const post = async (path: string, event: object, context: DeliveryContext): Promise<Delivery> => {
    const { delivery } = await exchange(
      context,
      {
        method: 'POST',
        url: base + path,
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(event),
      },
      mask,
    )
    return delivery
  }
  const enqueue = (event: object, context: DeliveryContext) => post('/v2/enqueue', event, context)

  return {
    kind: 'each',
    name: 'pagerduty',
    target: targetOf(base, routingKey),
    transitions: ['opened', 'raised', 'reminded', 'resolved'],
    async send(message, context) {
      const key = keyWithin(message.alert.key, maxDedupKey)
      const resolve = { routing_key: routingKey, event_action: 'resolve', dedup_key: key }
      if (message.transition === 'resolved') return enqueue(resolve, context)
      if (message.transition === 'raised') {
        // Sent again as a whole when the second half fails: a resolve of nothing is dropped.
        const resolved = await enqueue(resolve, context)
        if (resolved.outcome !== 'delivered') return resolved
      }
      return enqueue(trigger(message, { routingKey, key, link, installation }), context)
    },
    // Keys of rulesets and orchestrations, which begin with R, take no change events.
    ...(options.changes && !routingKey.startsWith('R')
      ? {
          sendChange: (change: ChangeMessage, context: DeliveryContext) =>
            post('/v2/change/enqueue', changeEvent(change, { routingKey, link, installation }), context),
        }
      : {}),
  }
}

interface EventParts {
  readonly routingKey: string
  readonly link: string | undefined
  readonly installation: Installation
}

interface TriggerParts extends EventParts {
  readonly key: string
}

function trigger({ alert }: AlertMessage, { routingKey, key, link, installation }: TriggerParts): object {
  const href = linkFor(link, alert)
  const event = (details: object) => ({
    routing_key: routingKey,
    event_action: 'trigger',
    dedup_key: key,
    client: cut(installation.name, maxLabel),
    ...(href === undefined ? {} : { client_url: href, links: [{ href, text: 'Dashboard' }] }),
    payload: {
      summary: cut(oneLine(alert.summary) || alert.key, maxSummary),
      source: cut(installation.name, maxLabel),
      // The four names are PagerDuty's as well.
      severity: alert.severity,
      timestamp: alert.openedAt.toISOString(),
      component: cut(alert.task ?? 'scheduler', maxLabel),
      group: cut(installation.name, maxLabel),
      class: cut(alert.findingKey, maxLabel),
      custom_details: details,
    },
  })
  return event(fitDetails(alert.details, maxEventBytes - jsonBytes(event({}))))
}

/** Change events have no key: one that is sent again is a second mark on the time line, with the same `changeId`. */
function changeEvent({ id, change, at }: ChangeMessage, { routingKey, link, installation }: EventParts): object {
  const { task, changeKey, slotId, summary, details } = change
  const dashboard = linkFor(link, { key: `${task}/${changeKey}`, task, findingKey: changeKey })
  const links = [
    ...change.links.map(({ href, text }) => ({ href, text: cut(text ?? href, maxLabel) })),
    ...(dashboard === undefined ? [] : [{ href: dashboard, text: 'Dashboard' }]),
  ]
  const event = (all: object) => ({
    routing_key: routingKey,
    ...(links.length === 0 ? {} : { links }),
    payload: {
      summary: cut(oneLine(summary) || `${task}/${changeKey}`, maxSummary),
      source: cut(installation.name, maxLabel),
      timestamp: at.toISOString(),
      custom_details: all,
    },
  })
  return event(fitDetails({ ...details, slot: slotId, changeId: id }, maxEventBytes - jsonBytes(event({}))))
}
