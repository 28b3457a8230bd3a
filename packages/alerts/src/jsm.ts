/**
 * Jira Service Management's integration events API and the Opsgenie Alert API, which it came from: the same keys, fields and answers.
 * https://developer.atlassian.com/cloud/jira/service-desk-ops/rest/v1/api-group-integration-events, https://docs.opsgenie.com/docs/alert-api
 *
 * Both answer 202 and work later: what became of a request is asked for in a later run. An alias that is open only counts up when it is created again, and calls nobody.
 * Opsgenie changes text and priority by PUT; the successor has no such requests, so there a change is a note. A raised severity has to call people
 * again, in both: the alert is closed, and created anew only when the close was processed. Otherwise, the order being nobody's promise,
 * the creation could be taken for a repetition, and the close then end it.
 */
import { createHash } from 'node:crypto'
import type { AlertContent, AlertMessage, Delivery, DeliveryContext, EachChannel } from '@battlescope/scheduler-core'
import type { Severity } from '@battlescope/scheduler-core'
import type { AlertsConfig } from './config.js'
import { exchange, jsonObjectOf, type Answer } from './exchange.js'
import { linkFor, type Installation } from './installation.js'
import { parseReceipt, receiptOf, type Receipt } from './jsm-receipt.js'
import { masking } from './secrets.js'
import { targetOf } from './target.js'
import { asText, cut, detailLines, keyWithin, oneLine, type JsonObject } from './text-limits.js'

const opsgenieRegions = { us: 'https://api.opsgenie.com/v2', eu: 'https://api.eu.opsgenie.com/v2' } as const
/** One address for every region. */
const jsmUrl = 'https://api.atlassian.com/jsm/ops/integration/v2'

const maxMessage = 130
const maxAlias = 512
const maxDescription = 15_000
const maxEntity = 512
const maxSource = 100
const maxTag = 50
const maxNote = 25_000
/** Names and values of all details together. */
const maxDetails = 8000

const priorities: Readonly<Record<Severity, string>> = { critical: 'P1', error: 'P2', warning: 'P3', info: 'P5' }

/** A request that is not known so long after it was taken was lost, or cannot be asked for. */
const unknownForMs = 10 * 60_000

export function jsmChannel(
  options: AlertsConfig['jsm'] & { readonly apiKey: string },
  link: string | undefined,
  installation: Installation,
): EachChannel {
  const { apiKey, product } = options
  const base = (options.url ?? (product === 'opsgenie' ? opsgenieRegions[options.region] : jsmUrl)).replace(/\/+$/, '')
  const mask = masking([apiKey])
  const source = cut(installation.name, maxSource)

  const call = (context: DeliveryContext, method: 'GET' | 'POST' | 'PUT', path: string, body?: object) =>
    exchange(
      context,
      {
        method,
        url: `${base}/alerts${path}`,
        headers: {
          authorization: `GenieKey ${apiKey}`,
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      },
      mask,
    )
  const create = (context: DeliveryContext, body: object) => call(context, 'POST', '', body)
  const act = (context: DeliveryContext, method: 'POST' | 'PUT', alert: AlertContent, action: string, body: object) =>
    call(context, method, `/${encodeURIComponent(aliasOf(alert))}/${action}?identifierType=alias`, body)

  async function change(message: AlertMessage, context: DeliveryContext): Promise<Delivery> {
    const { alert } = message
    const steps: readonly (readonly ['POST' | 'PUT', string, object])[] =
      product === 'opsgenie'
        ? [
            ['PUT', 'message', { message: messageOf(alert) }],
            ['PUT', 'description', { description: descriptionOf(alert, link) }],
            ['PUT', 'priority', { priority: priorities[alert.severity] }],
          ]
        : [['POST', 'notes', { note: cut(`${alert.severity}: ${descriptionOf(alert, link)}`, maxNote), source }]]
    const ids: string[] = []
    for (const [method, action, body] of steps) {
      const answer = await act(context, method, alert, action, body)
      if (answer.response?.status === 404) return { outcome: 'delivered' }
      if (answer.delivery.outcome !== 'delivered') return answer.delivery
      const id = requestIdOf(answer)
      if (id !== undefined) ids.push(id)
    }
    return taken({ what: 'change', ids, takenAtMs: context.now.getTime() })
  }

  async function close(message: AlertMessage, context: DeliveryContext): Promise<Answer> {
    const note = message.transition === 'resolved' ? 'resolved' : `raised to ${message.alert.severity}, opened anew`
    const answer = await act(context, 'POST', message.alert, 'close', { source, note })
    // Nothing to close: a person has done it.
    return answer.response?.status === 404 ? { ...answer, delivery: { outcome: 'delivered' } } : answer
  }

  async function createNow(body: JsonObject, context: DeliveryContext): Promise<Delivery> {
    const answer = await create(context, body)
    if (answer.delivery.outcome !== 'delivered') return answer.delivery
    return taken({ what: 'create', ids: idsOf(answer), takenAtMs: context.now.getTime(), create: body })
  }

  async function raise(message: AlertMessage, context: DeliveryContext): Promise<Delivery> {
    const closed = await close(message, context)
    if (closed.delivery.outcome !== 'delivered') return closed.delivery
    const body = createBody(message.alert, { link, source, installation })
    const receipt: Receipt = { what: 'reopen', ids: idsOf(closed), takenAtMs: context.now.getTime(), create: body }
    // Often it is done by now, and people are called in this run.
    return poll(receipt, context)
  }

  async function poll(receipt: Receipt, context: DeliveryContext): Promise<Delivery> {
    for (const id of receipt.ids) {
      const answer = await call(context, 'GET', `/requests/${encodeURIComponent(id)}`)
      if (answer.delivery.outcome !== 'delivered') {
        // It was taken; only the question failed, whatever the answer to it.
        if (context.now.getTime() - receipt.takenAtMs < unknownForMs) return taken(receipt)
        // Jira Service Management's page has no example of this request: there, that it cannot be asked for proves nothing.
        const isLost = receipt.what === 'create' && product === 'opsgenie' && answer.response?.status === 404
        if (isLost) return createNow(receipt.create, context)
        continue
      }
      const failure = failureOf(answer)
      if (failure === undefined) continue
      // The one text that is looked at: there is no code for it. People close alerts, too.
      const isGone = receipt.what !== 'create' && /not exist|already closed|not found/i.test(failure)
      if (!isGone) return { outcome: 'refused', reason: cut(oneLine(mask(failure)), 200) }
    }
    return receipt.what === 'reopen' ? createNow(receipt.create, context) : { outcome: 'delivered' }
  }

  return {
    kind: 'each',
    name: 'jsm',
    target: targetOf(base, apiKey),
    transitions: ['opened', 'changed', 'raised', 'reminded', 'resolved'],
    async send(message, context) {
      switch (message.transition) {
        case 'changed':
          return change(message, context)
        case 'raised':
          return raise(message, context)
        case 'resolved': {
          const answer = await close(message, context)
          if (answer.delivery.outcome !== 'delivered') return answer.delivery
          return taken({ what: 'close', ids: idsOf(answer), takenAtMs: context.now.getTime() })
        }
        case 'opened':
        case 'reminded':
          return createNow(createBody(message.alert, { link, source, installation }), context)
      }
    },
    async poll(text, context) {
      const receipt = parseReceipt(text)
      return receipt === undefined
        ? { outcome: 'refused', reason: 'the receipt is none of this channel' }
        : poll(receipt, context)
    },
  }
}

/** An answer without the id of a request cannot be asked about. */
function taken(receipt: Receipt): Delivery {
  return receipt.ids.length === 0 && receipt.what !== 'reopen'
    ? { outcome: 'delivered' }
    : { outcome: 'accepted', receipt: receiptOf(receipt) }
}

function idsOf(answer: Answer): string[] {
  const id = requestIdOf(answer)
  return id === undefined ? [] : [id]
}

function requestIdOf(answer: Answer): string | undefined {
  const id = jsonObjectOf(answer.response)?.requestId
  return typeof id === 'string' && id !== '' && id.length <= 100 ? id : undefined
}

/** Undefined when the request was carried out. */
function failureOf(answer: Answer): string | undefined {
  const body = jsonObjectOf(answer.response)
  const data = (body?.data ?? body) as JsonObject | undefined
  if (data === undefined || data.isSuccess === true || data.success === true) return undefined
  if (data.isSuccess !== false && data.success !== false) return undefined
  return typeof data.status === 'string' ? data.status : 'the request was not carried out'
}

function aliasOf({ key }: AlertContent): string {
  return keyWithin(key, maxAlias)
}

function messageOf(alert: AlertContent): string {
  return cut(oneLine(alert.summary) || alert.key, maxMessage)
}

function descriptionOf(alert: AlertContent, link: string | undefined): string {
  const href = linkFor(link, alert)
  const lines = [alert.summary, '', ...detailLines(alert.details), ...(href === undefined ? [] : ['', href])]
  return cut(lines.join('\n').trim() || alert.key, maxDescription)
}

interface CreateParts {
  readonly link: string | undefined
  readonly source: string
  readonly installation: Installation
}

function createBody(
  alert: AlertContent,
  { link, source, installation }: CreateParts,
): Readonly<Record<string, unknown>> {
  return {
    message: messageOf(alert),
    alias: aliasOf(alert),
    description: descriptionOf(alert, link),
    details: flatDetails({ ...alert.details, openedAt: alert.openedAt.toISOString(), finding: alert.findingKey }),
    entity: cut(installation.name, maxEntity),
    source,
    priority: priorities[alert.severity],
    tags: [alert.severity, alert.task ?? 'scheduler'].map((tag) => cut(tag.replaceAll(',', ' '), maxTag)),
  }
}

/** Text by name, as much of it as fits. */
function flatDetails(details: JsonObject): Record<string, string> {
  const flat: Record<string, string> = {}
  let left = maxDetails
  for (const [name, value] of Object.entries(details)) {
    const shortName =
      name.length <= 100
        ? cut(name, 100)
        : `${cut(name, 80)}${createHash('sha256').update(name).digest('hex').slice(0, 8)}`
    const text = cut(asText(value), 2000)
    if (shortName.length + text.length > left) continue
    left -= shortName.length + text.length
    flat[shortName] = text
  }
  return flat
}
