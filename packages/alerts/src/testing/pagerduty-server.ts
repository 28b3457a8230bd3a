import { limitOf } from './limits.js'
import { startProviderServer, type ProviderServer, type ReceivedRequest } from './provider-server.js'
import { asFields, halfCharacters, oneOf, parseFields, required, textOf, tooLong, type JsonFields } from './rules.js'

export interface PagerdutyIncident {
  readonly key: string
  readonly severity: string
  /** That of the first trigger: later ones do not change it. */
  readonly title: string
  /** Triggers, the first included. */
  triggers: number
  resolved: boolean
}

export interface PagerdutyServer extends ProviderServer {
  /** Oldest first; a trigger after a resolve is a new one. */
  readonly incidents: readonly PagerdutyIncident[]
  readonly changes: readonly JsonFields[]
  /** What a person does in the web application. */
  resolveByHand(key: string): void
}

const severities = ['critical', 'error', 'warning', 'info']

export async function startPagerduty(): Promise<PagerdutyServer> {
  const incidents: PagerdutyIncident[] = []
  const changes: JsonFields[] = []
  const openOf = (key: unknown) => incidents.find((incident) => incident.key === key && !incident.resolved)

  const accept = (event: JsonFields) => {
    const key = textOf(event.dedup_key, `generated-${incidents.length}`)
    const open = openOf(key)
    if (event.event_action === 'resolve' && open !== undefined) open.resolved = true
    if (event.event_action === 'trigger') {
      const payload = asFields(event.payload)
      if (open !== undefined) open.triggers += 1
      else {
        const title = String(payload?.summary)
        incidents.push({ key, severity: String(payload?.severity), title, triggers: 1, resolved: false })
      }
    }
    return { status: 202, body: { status: 'success', message: 'Event processed', dedup_key: key } }
  }

  const server = await startProviderServer((request) => {
    const isChange = request.path === '/v2/change/enqueue'
    if (request.method !== 'POST' || (!isChange && request.path !== '/v2/enqueue'))
      return { status: 404, body: 'not found' }
    const event = parseFields(request.body)
    const errors = event === undefined ? ['the body is not JSON'] : problems(request, event, isChange)
    if (event === undefined || errors.length > 0) {
      return { status: 400, body: { status: 'invalid event', message: 'Event object is invalid', errors } }
    }
    if (!isChange) return accept(event)
    changes.push(event)
    return { status: 202, body: { status: 'success', message: 'Change event processed' } }
  })
  return {
    ...server,
    incidents,
    changes,
    resolveByHand: (key) => {
      const open = openOf(key)
      if (open !== undefined) open.resolved = true
    },
  }
}

function problems({ body }: ReceivedRequest, event: JsonFields, isChange: boolean): string[] {
  const payload = asFields(event.payload)
  const key = event.routing_key
  const common = [
    ...(typeof key === 'string' && key.length === limitOf('pagerduty.routing_key')
      ? []
      : ['routing_key: 32 characters']),
    ...(Buffer.byteLength(body) > limitOf('pagerduty.size') ? ['the event is too large'] : []),
    ...(linksOf(event).some((link) => typeof link?.href !== 'string') ? ['links: href is required'] : []),
    ...halfCharacters(body),
  ]
  if (isChange) {
    return [
      ...common,
      ...(String(key).startsWith('R') ? ['rulesets take no change events'] : []),
      ...required('payload.summary', payload?.summary),
      ...tooLong('pagerduty.change_summary', payload?.summary),
    ]
  }
  return [
    ...common,
    ...oneOf('event_action', event.event_action, ['trigger', 'acknowledge', 'resolve']),
    ...tooLong('pagerduty.dedup_key', event.dedup_key),
    ...(event.event_action === 'trigger'
      ? [
          ...required('payload.summary', payload?.summary),
          ...tooLong('pagerduty.summary', payload?.summary),
          ...required('payload.source', payload?.source),
          ...oneOf('payload.severity', payload?.severity, severities),
        ]
      : required('dedup_key', event.dedup_key)),
  ]
}

function linksOf(event: JsonFields): (JsonFields | undefined)[] {
  return Array.isArray(event.links) ? event.links.map(asFields) : []
}
