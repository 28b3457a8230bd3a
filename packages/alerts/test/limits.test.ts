import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { limits, providers, type Provider } from '../src/testing/index.js'
import { examples, routingKey, type Example } from './examples.js'
import { asByHand, sendByHand, signedBy, startStandIn, type ByHand, type StandIn } from './stand-ins.js'

const standIns = new Map<Provider, StandIn>()
beforeAll(async () => {
  for (const provider of providers) standIns.set(provider, await startStandIn(provider))
})
afterAll(async () => {
  for (const { server } of standIns.values()) await server.close()
})
const of = (provider: Provider) => standIns.get(provider)!

describe('every stand-in takes the examples of the provider', () => {
  it('has one for each', () => {
    expect(new Set(examples.map(({ provider }) => provider))).toEqual(new Set(providers))
  })

  it.each(examples.map((example) => [`${example.provider}: ${example.name}`, example] as const))(
    '%s',
    async (_, example) => {
      const response = await sendByHand(of(example.provider), asByHand(example))
      expect([await response.text(), response.ok]).toEqual([expect.any(String), true])
    },
  )
})

const exampleOf = (provider: Provider, name: string): Example =>
  examples.find((each) => each.provider === provider && each.name === name)!
const long = (length: number) => 'x'.repeat(length)

type Fields = Record<string, unknown>

/** The example with other fields; dots lead into it. */
function withFields(provider: Provider, name: string, fields: Fields): ByHand {
  const example = exampleOf(provider, name)
  const body = structuredClone(example.body) as Fields
  for (const [path, value] of Object.entries(fields)) {
    const keys = path.split('.')
    const last = keys.pop()!
    const target = keys.reduce((at, key) => at[key] as Fields, body)
    if (value === undefined) delete target[last]
    else target[last] = value
  }
  return asByHand({ ...example, body })
}

const trigger = (fields: Fields) => withFields('pagerduty', 'trigger', fields)
const alert = (fields: Fields): ByHand => {
  const [first] = exampleOf('alertmanager', 'alerts').body as Fields[]
  return asByHand({ ...exampleOf('alertmanager', 'alerts'), body: [{ ...first, ...fields }] })
}
const section = (text: string) => ({ type: 'section', text: { type: 'mrkdwn', text } })
const genie = (provider: 'jsm' | 'opsgenie'): Readonly<Record<string, ByHand>> => {
  const create = (fields: Fields) => withFields(provider, 'create', fields)
  return {
    [`${provider}.key`]: { ...create({}), headers: { authorization: 'GenieKey another' } },
    [`${provider}.json`]: { ...create({}), body: '{"message": ' },
    [`${provider}.message`]: create({ message: long(131) }),
    [`${provider}.alias`]: create({ alias: long(513) }),
    [`${provider}.description`]: create({ description: long(15_001) }),
    [`${provider}.tags`]: create({ tags: Array.from({ length: 21 }, (_, index) => `tag${index}`) }),
    [`${provider}.tag`]: create({ tags: [long(51)] }),
    [`${provider}.details`]: create({ details: { name: long(7997) } }),
    [`${provider}.entity`]: create({ entity: long(513) }),
    [`${provider}.source`]: create({ source: long(101) }),
    [`${provider}.note`]: create({ note: long(25_001) }),
    [`${provider}.priority`]: create({ priority: 'P0' }),
  }
}

/** For each row a request that breaks it and nothing else. Rates are below. */
const violations: Readonly<Record<string, ByHand>> = {
  'pagerduty.routing_key': trigger({ routing_key: routingKey.slice(1) }),
  'pagerduty.event_action': trigger({ event_action: 'fire' }),
  'pagerduty.dedup_key': trigger({ dedup_key: long(256) }),
  'pagerduty.summary': trigger({ 'payload.summary': long(1025) }),
  'pagerduty.source': trigger({ 'payload.source': undefined }),
  'pagerduty.severity': trigger({ 'payload.severity': 'fatal' }),
  'pagerduty.links': trigger({ links: [{ text: 'no href' }] }),
  'pagerduty.size': trigger({ 'payload.custom_details': { text: long(512_000) } }),
  'pagerduty.change_summary': withFields('pagerduty', 'change', { 'payload.summary': long(1025) }),
  'pagerduty.change_ruleset': withFields('pagerduty', 'change', { routing_key: `R${routingKey.slice(1)}` }),
  ...genie('opsgenie'),
  ...genie('jsm'),
  'jsm.update': {
    method: 'PUT',
    path: '/alerts/DatabaseConnectionFailure_DatabaseServer1/priority?identifierType=alias',
    body: '{"priority":"P2"}',
  },
  'alertmanager.content_type': { ...alert({}), headers: { 'content-type': 'text/plain' } },
  'alertmanager.array': { ...alert({}), body: '{}' },
  'alertmanager.alertname': alert({ labels: { name: 'value' } }),
  'alertmanager.labels': alert({ labels: { alertname: 'required_value', 'a-b': 'value' } }),
  'alertmanager.times': alert({ startsAt: 'Wed, 25 Nov 2026 10:00:00 GMT' }),
  'alertmanager.order': alert({ startsAt: '2026-11-25T11:00:00Z', endsAt: '2026-11-25T10:59:59Z' }),
  'slack.path': { ...asByHand(exampleOf('slack', 'text')), path: 'Y' },
  'slack.payload': { ...asByHand(exampleOf('slack', 'text')), body: 'text=Hello' },
  'slack.text': withFields('slack', 'text', { text: undefined }),
  'slack.blocks': withFields('slack', 'section', { blocks: Array.from({ length: 51 }, () => section('a')) }),
  'slack.section': withFields('slack', 'section', { blocks: [section(long(3001))] }),
  'slack.message': withFields('slack', 'section', { blocks: Array.from({ length: 5 }, () => section(long(2800))) }),
  'webhook.headers': { ...asByHand(exampleOf('webhook', 'event')), headers: { 'webhook-signature': undefined } },
  'webhook.signature': {
    ...asByHand(exampleOf('webhook', 'event')),
    headers: { 'webhook-signature': `v1,${long(44)}` },
  },
  'heartbeat.method': { method: 'DELETE', path: '', body: undefined },
  'heartbeat.path': { method: 'GET', path: '0', body: undefined },
}

describe('every stand-in refuses a violation of each row', () => {
  it.each(limits.filter(({ id }) => !/rate$|^webhook\.(id|timestamp)$/.test(id)))(
    '$id: $rule',
    async ({ id, provider }) => {
      const request = violations[id]
      if (request === undefined) throw new Error(`no violation of ${id}`)
      const response = await sendByHand(of(provider), request)
      expect(response.status).toBeGreaterThanOrEqual(400)
      expect(response.status).toBeLessThan(500)
    },
  )

  it.each([
    ['webhook.id', { id: 'msg.1' }],
    ['webhook.timestamp', { timestamp: '1674087231' }],
  ])('%s', async (_, others) => {
    const { secret } = of('webhook').server as unknown as { secret: string }
    const request = asByHand(exampleOf('webhook', 'event'))
    const response = await sendByHand(of('webhook'), { ...request, headers: signedBy(secret, request.body!, others) })
    expect(response.status).toBe(400)
  })

  it.each(limits.filter(({ id }) => id.endsWith('rate')))('$id', async ({ provider }) => {
    const { server } = of(provider)
    server.limitRate({ requests: 1, retryAfter: '30' })
    const send = async () => {
      const response = await sendByHand(of(provider), asByHand(examples.find((each) => each.provider === provider)!))
      await response.text()
      return [response.ok ? 'ok' : response.status, response.headers.get('retry-after')]
    }
    expect([await send(), await send()]).toEqual([
      ['ok', null],
      [429, '30'],
    ])
    server.limitRate(undefined)
  })

  it('and names the page of each', () => {
    for (const { page, source, note } of limits) {
      expect(page).toMatch(/^https:\/\//)
      if (source === 'other') expect(note).toBeDefined()
    }
  })
})
