/** Provider × behaviour: the same questions for every channel, against the stand-in that enforces its limits. */
import type { AlertChannel, AlertContent, AlertMessage, Delivery, DeliveryContext } from '@battlescope/scheduler-core'
import { afterEach, describe, expect, it } from 'vitest'
import { deliveryContext, limitOf, providers, startProviderServer, type Provider } from '../src/testing/index.js'
import { channelsOf, message, nasty } from './messages.js'
import { routingKey } from './examples.js'
import { now, startStandIn, type StandIn } from './stand-ins.js'

const closing: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const close of closing.splice(0)) await close()
})

interface Subject {
  readonly standIn: StandIn
  send(others?: Partial<AlertContent>, context?: DeliveryContext): Promise<Delivery>
  readonly secrets: readonly string[]
}

const secretHeader = 'Bearer a-header-that-is-secret'

/** A channel for the provider, spoken to at `base`. */
function sender(provider: Provider, base: string, secret: string) {
  const options = {
    pagerduty: { pagerduty: { routingKey, url: base } },
    jsm: { jsm: { apiKey: secret, url: base } },
    opsgenie: { jsm: { apiKey: secret, product: 'opsgenie', url: base } },
    alertmanager: { alertmanager: { urls: [base], bearerToken: 'a-token-that-is-secret' } },
    slack: { slack: { webhookUrl: base } },
    webhook: { webhook: { url: base, secret, headers: { 'X-Auth': secretHeader } } },
    heartbeat: { heartbeat: { url: base } },
  }[provider]
  const { channels, heartbeats } = channelsOf({ ...options, link: 'https://grafana.example/d/x?key={key}' })
  const [channel] = channels
  return (others: Partial<AlertContent> = {}, context = deliveryContext(now)) =>
    channel === undefined ? heartbeats[0]!.send(context) : sendBy(channel, message('opened', others), context)
}

function sendBy(channel: AlertChannel, each: AlertMessage, context: DeliveryContext): Promise<Delivery> {
  switch (channel.kind) {
    case 'each':
      return channel.send(each, context)
    case 'digest':
      return channel.send('digest', [each], context)
    case 'state':
      return channel.send({ firing: [each.alert], resolved: [] }, context)
  }
}

async function start(provider: Provider): Promise<Subject> {
  const standIn = await startStandIn(provider)
  closing.push(() => standIn.server.close())
  const known = standIn.server as unknown as { readonly apiKey?: string; readonly secret?: string }
  const secret = known.apiKey ?? known.secret ?? 'whsec_YW4gZXhhbXBsZSBvZiBhIGtleTogMzIgYnl0ZXMgb2s='
  return {
    standIn,
    send: sender(provider, standIn.base, secret),
    secrets: secretsOf(provider, secret, new URL(standIn.base).pathname),
  }
}

/** What the channel is configured with and nobody may read. */
function secretsOf(provider: Provider, secret: string, path: string): readonly string[] {
  switch (provider) {
    case 'pagerduty':
      return [routingKey]
    case 'jsm':
    case 'opsgenie':
      return [secret]
    case 'alertmanager':
      return ['a-token-that-is-secret']
    case 'slack':
    case 'heartbeat':
      return [path]
    case 'webhook':
      return [secret, secretHeader]
  }
}

const taken = ['delivered', 'accepted']

describe.each(providers)('%s', (provider) => {
  it('takes a message', async () => {
    const { send, standIn } = await start(provider)
    expect(taken).toContain((await send()).outcome)
    expect(standIn.server.requests).toHaveLength(1)
  })

  it('takes texts of any length with characters of every kind, because they are cut to its limits', async () => {
    const { send, standIn } = await start(provider)
    const details = Object.fromEntries(
      Array.from({ length: 300 }, (_, index) => [`${index}${nasty.slice(0, 150)}`, [nasty, { deep: nasty }]]),
    )
    const delivery = await send({ summary: nasty.repeat(5), details, key: `k${'/x'.repeat(120)}`, findingKey: nasty })
    expect([delivery.outcome, delivery]).toEqual([expect.stringMatching(/delivered|accepted/), delivery])
    const [request] = standIn.server.requests
    if (provider !== 'heartbeat') expect(() => JSON.parse(request!.body) as unknown).not.toThrow()
    if (provider === 'pagerduty')
      expect(Buffer.byteLength(request!.body)).toBeLessThanOrEqual(limitOf('pagerduty.size'))
  })

  it('takes a message without any text', async () => {
    const { send } = await start(provider)
    expect(taken).toContain((await send({ summary: '', details: {} })).outcome)
  })

  it.each([
    ['seconds', '90', 90_000],
    ['a date', 'Wed, 25 Nov 2026 12:02:00 GMT', 120_000],
    ['a date that has passed', 'Wed, 25 Nov 2026 11:00:00 GMT', 0],
    ['a year', '31536000', 86_400_000],
    ['nonsense', 'soon', undefined],
  ])('tries again after 429, as late as Retry-After says: %s', async (_, retryAfter, afterMs) => {
    const { send, standIn } = await start(provider)
    standIn.server.limitRate({ requests: 0, retryAfter })
    expect(await send()).toEqual({
      outcome: 'retry',
      reason: 'HTTP 429: too many requests',
      ...(afterMs === undefined ? {} : { afterMs }),
    })
  })

  it.each([500, 502, 503, 504, 408])('tries again after %i', async (status) => {
    const { send, standIn } = await start(provider)
    standIn.server.failNext({ kind: 'status', status, body: 'try\nlater', headers: { 'retry-after': '7' } })
    expect(await send()).toEqual({ outcome: 'retry', reason: `HTTP ${status}: try later`, afterMs: 7000 })
    expect(taken).toContain((await send()).outcome)
  })

  it('tries again when there is no answer in time', async () => {
    const { send, standIn } = await start(provider)
    standIn.server.failNext({ kind: 'silence' })
    expect(await send({}, deliveryContext(now, { timeoutMs: 50 }))).toEqual({
      outcome: 'retry',
      reason: 'no answer: ETIMEDOUT',
    })
  })

  it('tries again when the connection is closed', async () => {
    const { send, standIn } = await start(provider)
    standIn.server.failNext({ kind: 'reset' })
    expect(await send()).toMatchObject({
      outcome: 'retry',
      reason: expect.stringMatching(/^no answer: (UND_ERR_SOCKET|ECONNRESET)$/) as string,
    })
  })

  it('tries again when nobody listens', async () => {
    const { send, standIn } = await start(provider)
    await standIn.server.close()
    expect(await send()).toEqual({ outcome: 'retry', reason: 'no answer: ECONNREFUSED' })
  })

  it('tries again when the run is stopped meanwhile', async () => {
    const { send } = await start(provider)
    const signal = AbortSignal.abort(new Error('stopped'))
    expect(await send({}, deliveryContext(now, { signal }))).toEqual({
      outcome: 'retry',
      reason: 'the run was stopped',
    })
  })

  it('gives up what is refused, and repeats no secret that comes back', async () => {
    const { send, standIn, secrets } = await start(provider)
    const said = `no such key ${secrets.join(' ')} ${JSON.stringify(secrets)} ${encodeURIComponent(secrets.join(' '))} ${'x'.repeat(900)}`
    standIn.server.failNext({ kind: 'status', status: 400, body: said })
    const delivery = await send()
    expect(delivery).toMatchObject({
      outcome: 'refused',
      reason: expect.stringMatching(/^HTTP 400: no such key \*\*\*/) as string,
    })
    const { reason } = delivery as { reason: string }
    for (const secret of secrets) expect(reason).not.toContain(secret)
    expect(reason.length).toBeLessThanOrEqual(220)
  })

  it('gives up when it is sent elsewhere: the key is not for everybody', async () => {
    const elsewhere = await startProviderServer(() => ({ status: 200 }))
    closing.push(() => elsewhere.close())
    const { send, standIn } = await start(provider)
    standIn.server.failNext({ kind: 'status', status: 307, headers: { location: elsewhere.url } })
    expect(await send()).toEqual({ outcome: 'refused', reason: 'HTTP 307' })
    expect(elsewhere.requests).toEqual([])
  })

  it('sends the same again after a lost answer', async () => {
    const { send, standIn } = await start(provider)
    standIn.server.failNext({ kind: 'answer-lost' })
    expect((await send()).outcome).toBe('retry')
    expect(taken).toContain((await send()).outcome)
    expect(standIn.server.requests).toHaveLength(2)
  })
})

describe('a message that comes twice', () => {
  it.each([
    ['pagerduty', (server: unknown) => (server as { incidents: unknown[] }).incidents.length],
    ['jsm', (server: unknown) => (server as { alerts: unknown[] }).alerts.length],
    ['opsgenie', (server: unknown) => (server as { alerts: unknown[] }).alerts.length],
    ['alertmanager', (server: unknown) => (server as { alerts: unknown[] }).alerts.length],
  ] as const)('is one alert at %s', async (provider, count) => {
    const { send, standIn } = await start(provider)
    standIn.server.failNext({ kind: 'answer-lost' })
    await send()
    await send()
    expect(count(standIn.server)).toBe(1)
  })
})
