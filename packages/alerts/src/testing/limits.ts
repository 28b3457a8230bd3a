/**
 * The documented limits of every provider, each with the provider's own page. The stand-ins enforce these rows, the table in docs/alert-providers.md is made of them, and each row
 * has a violation that the stand-in must refuse.
 */

export const providers = ['pagerduty', 'jsm', 'opsgenie', 'alertmanager', 'slack', 'webhook', 'heartbeat'] as const
export type Provider = (typeof providers)[number]

export interface Limit {
  /** `provider.what`. */
  readonly id: string
  readonly provider: Provider
  readonly rule: string
  /** Characters, bytes or entries, as the rule says. */
  readonly max?: number
  readonly page: string
  /** `stated`: the page says so. `other`: known from elsewhere, as `note` says; the provider's page does not. */
  readonly source: 'stated' | 'other'
  readonly note?: string
}

const pagerdutyAlert = 'https://developer.pagerduty.com/docs/send-alert-event'
const pagerdutyChange = 'https://developer.pagerduty.com/docs/send-change-event'
const pagerdutyOverview = 'https://developer.pagerduty.com/docs/events-api-v2-overview'
const opsgenieAlert = 'https://docs.opsgenie.com/docs/alert-api'
const opsgenieResponse = 'https://docs.opsgenie.com/docs/response'
const opsgenieRate = 'https://docs.opsgenie.com/docs/api-rate-limiting'
const jsmEvents = 'https://developer.atlassian.com/cloud/jira/service-desk-ops/rest/v1/api-group-integration-events'
const alertmanagerApi = 'https://prometheus.io/docs/alerting/latest/alerts_api/'
const alertmanagerSpec = 'https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml'
const slackWebhooks = 'https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks'
const slackErrors = 'https://api.slack.com/changelog/2016-05-17-changes-to-errors-for-incoming-webhooks'
const slackBlocks = 'https://docs.slack.dev/reference/block-kit/blocks'
const slackSection = 'https://docs.slack.dev/reference/block-kit/blocks/section-block'
const slackRate = 'https://docs.slack.dev/apis/web-api/rate-limits'
const standardWebhooks = 'https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md'
const healthchecks = 'https://healthchecks.io/docs/http_api'

const inherited =
  'the page lists the field without a limit; the limit is that of the Opsgenie Alert API, which it came from'

const copied = "read in copies of the page's table, not on the page itself"

type Row = Omit<Limit, 'id' | 'provider' | 'source'> & { readonly source?: Limit['source'] }

const rows: Readonly<Record<string, Row>> = {
  'pagerduty.routing_key': { rule: 'routing_key is required, 32 characters', max: 32, page: pagerdutyAlert },
  'pagerduty.event_action': { rule: 'event_action is trigger, acknowledge or resolve', page: pagerdutyAlert },
  'pagerduty.dedup_key': { rule: 'dedup_key at most 255 characters', max: 255, page: pagerdutyAlert },
  'pagerduty.summary': {
    rule: 'payload.summary is required, at most 1024 characters',
    max: 1024,
    page: pagerdutyAlert,
  },
  'pagerduty.source': { rule: 'payload.source is required', page: pagerdutyAlert },
  'pagerduty.severity': { rule: 'payload.severity is critical, error, warning or info', page: pagerdutyAlert },
  'pagerduty.links': { rule: 'every link has an href', page: pagerdutyAlert },
  'pagerduty.size': {
    rule: 'an event at most 512 KB',
    max: 512_000,
    page: pagerdutyOverview,
    note: 'taken as 512 000 bytes, the smaller of what KB can mean; the page does not say how a larger event is answered',
  },
  'pagerduty.change_summary': {
    rule: 'of a change event: payload.summary is required, at most 1024 characters',
    max: 1024,
    page: pagerdutyChange,
  },
  'pagerduty.change_ruleset': {
    rule: 'keys that begin with R take no change events',
    page: pagerdutyOverview,
  },
  'pagerduty.rate': { rule: 'too many events: 429, try again later', page: pagerdutyOverview },

  'opsgenie.key': { rule: 'Authorization: GenieKey and a valid key', page: opsgenieResponse },
  'opsgenie.json': { rule: 'the body is JSON', page: opsgenieResponse },
  'opsgenie.message': { rule: 'message is required, at most 130 characters', max: 130, page: opsgenieAlert },
  'opsgenie.alias': { rule: 'alias at most 512 characters', max: 512, page: opsgenieAlert },
  'opsgenie.description': {
    rule: 'description at most 15 000 characters',
    max: 15_000,
    page: opsgenieAlert,
    note: copied,
  },
  'opsgenie.tags': { rule: 'at most 20 tags', max: 20, page: opsgenieAlert, note: copied },
  'opsgenie.tag': { rule: 'a tag at most 50 characters', max: 50, page: opsgenieAlert, note: copied },
  'opsgenie.details': {
    rule: 'details are texts by name, 8000 characters in all',
    max: 8000,
    page: opsgenieAlert,
    note: copied,
  },
  'opsgenie.entity': { rule: 'entity at most 512 characters', max: 512, page: opsgenieAlert, note: copied },
  'opsgenie.source': { rule: 'source at most 100 characters', max: 100, page: opsgenieAlert, note: copied },
  'opsgenie.note': { rule: 'note at most 25 000 characters', max: 25_000, page: opsgenieAlert, note: copied },
  'opsgenie.priority': { rule: 'priority is P1 to P5', page: opsgenieAlert },
  'opsgenie.rate': { rule: 'too many requests: 429', page: opsgenieRate },

  'jsm.key': { rule: 'Authorization: GenieKey and a valid key', page: jsmEvents },
  'jsm.json': { rule: 'the body is JSON', page: jsmEvents },
  'jsm.message': {
    rule: 'message is required, at most 130 characters',
    max: 130,
    page: jsmEvents,
    source: 'other',
    note: inherited,
  },
  'jsm.alias': { rule: 'alias at most 512 characters', max: 512, page: jsmEvents, source: 'other', note: inherited },
  'jsm.description': {
    rule: 'description at most 15 000 characters',
    max: 15_000,
    page: jsmEvents,
    source: 'other',
    note: inherited,
  },
  'jsm.tags': { rule: 'at most 20 tags', max: 20, page: jsmEvents, source: 'other', note: inherited },
  'jsm.tag': { rule: 'a tag at most 50 characters', max: 50, page: jsmEvents, source: 'other', note: inherited },
  'jsm.details': {
    rule: 'details are texts by name, 8000 characters in all',
    max: 8000,
    page: jsmEvents,
    source: 'other',
    note: inherited,
  },
  'jsm.entity': { rule: 'entity at most 512 characters', max: 512, page: jsmEvents, source: 'other', note: inherited },
  'jsm.source': { rule: 'source at most 100 characters', max: 100, page: jsmEvents, source: 'other', note: inherited },
  'jsm.note': {
    rule: 'note at most 25 000 characters',
    max: 25_000,
    page: jsmEvents,
    source: 'other',
    note: inherited,
  },
  'jsm.priority': { rule: 'priority is P1 to P5', page: jsmEvents, source: 'other', note: inherited },
  'jsm.update': {
    rule: 'there is no PUT: an open alert is changed by a note',
    page: jsmEvents,
    note: 'the page offers create, acknowledge, close and add note',
  },
  'jsm.rate': { rule: 'too many requests: 429', page: jsmEvents, source: 'other', note: 'as of the Opsgenie API' },

  'alertmanager.content_type': { rule: 'Content-Type is application/json', page: alertmanagerApi },
  'alertmanager.array': { rule: 'the body is a JSON list of alerts', page: alertmanagerApi },
  'alertmanager.alertname': { rule: 'every alert has the label alertname', page: alertmanagerApi },
  'alertmanager.labels': {
    rule: 'labels and annotations are texts by name, names of letters, digits and _',
    page: alertmanagerSpec,
    note: 'the specification says texts by name; what a name is made of is said of Prometheus labels',
  },
  'alertmanager.times': { rule: 'startsAt and endsAt are RFC 3339', page: alertmanagerApi },
  'alertmanager.order': {
    rule: 'endsAt is not before startsAt',
    page: alertmanagerApi,
    source: 'other',
    note: "validated by Alertmanager's own code (alert.Validate), not written on the page",
  },

  'slack.path': { rule: 'the URL is the secret: an unknown one is 404', page: slackWebhooks },
  'slack.payload': { rule: 'the body is JSON: otherwise 400 invalid_payload', page: slackErrors },
  'slack.text': { rule: 'there is a text or a block', page: slackWebhooks },
  'slack.blocks': { rule: 'at most 50 blocks in a message', max: 50, page: slackBlocks },
  'slack.section': { rule: 'the text of a section has 1 to 3000 characters', max: 3000, page: slackSection },
  'slack.message': {
    rule: 'about 13 000 characters in all blocks',
    max: 13_000,
    page: 'https://github.com/slackapi/bolt-js/issues/2509',
    source: 'other',
    note: 'observed (msg_blocks_too_long), documented nowhere',
  },
  'slack.rate': { rule: 'one message per second, with short bursts; then 429 with Retry-After', page: slackRate },

  'webhook.headers': { rule: 'webhook-id, webhook-timestamp and webhook-signature', page: standardWebhooks },
  'webhook.id': { rule: 'webhook-id has no full stop', page: standardWebhooks },
  'webhook.timestamp': { rule: 'webhook-timestamp is in whole seconds, and recent', page: standardWebhooks },
  'webhook.signature': { rule: 'v1, and HMAC-SHA256 of id.timestamp.body in Base64', page: standardWebhooks },

  'heartbeat.method': { rule: 'HEAD, GET or POST', page: healthchecks },
  'heartbeat.path': {
    rule: 'an unknown URL is 404, or 200 with the text OK (not found)',
    page: healthchecks,
    source: 'other',
    note: 'seen by others (bdd/runitor#66): URLs with a UUID are answered 200 whatever happens',
  },
}

export const limits: readonly Limit[] = Object.entries(rows).map(([id, row]) => ({
  id,
  provider: id.slice(0, id.indexOf('.')) as Provider,
  source: 'stated',
  ...row,
}))

/** @throws for a row without a number */
export function limitOf(id: string): number {
  const max = rows[id]?.max
  if (max === undefined) throw new Error(`limits.ts has no number for ${id}`)
  return max
}
