import type { EachChannel } from '@battlescope/scheduler-core'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  deliveryContext,
  startHeartbeat,
  startWebhook,
  type HeartbeatServer,
  type WebhookServer,
} from '../src/testing/index.js'
import { signatureOf } from '../src/webhook.js'
import { channelsOf, message, nasty } from './messages.js'
import { now } from './stand-ins.js'

let server: WebhookServer
beforeEach(async () => {
  server = await startWebhook({ now: () => now })
})
afterEach(() => server.close())

const channel = (options = {}) =>
  channelsOf({
    webhook: { url: server.webhookUrl, secret: server.secret, ...options },
    link: 'https://grafana.example/?f={finding}',
  }).channels[0] as EachChannel
const context = deliveryContext(now)

describe('the webhook', () => {
  it('signs as the reference libraries do', () => {
    // Their own test vector: https://github.com/standard-webhooks/standard-webhooks/tree/main/libraries
    const signed = { id: 'msg_p5jXN8AQM9LWM0D4loKWxJek', timestamp: '1614265330', body: '{"test": 2432232314}' }
    expect(signatureOf(signed, 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw')).toBe(
      'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
    )
  })

  it('posts all there is', async () => {
    const opened = message('opened')
    expect(await channel().send(opened, context)).toEqual({ outcome: 'delivered' })
    expect(server.events.get(opened.id)).toEqual({
      type: 'alert.opened',
      timestamp: now.toISOString(),
      data: {
        transition: 'opened',
        status: 'firing',
        key: 'vacuum/xmin-held',
        task: 'vacuum',
        finding: 'xmin-held',
        place: 'vacuum/xmin-held',
        severity: 'error',
        summary: 'a transaction holds back vacuum for 3 hours',
        details: { pid: 4711, query: 'select 1' },
        openedAt: '2026-11-25T11:50:00.000Z',
        installation: 'battlescope-test',
        link: 'https://grafana.example/?f=xmin-held',
      },
    })
  })

  it('keeps the id and renews the time when it tries again, so that receivers see a repetition', async () => {
    const opened = message('opened')
    server.failNext({ kind: 'answer-lost' })
    await channel().send(opened, context)
    await channel().send(opened, deliveryContext(new Date(now.getTime() + 60_000)))
    const [first, second] = server.requests.map(({ headers }) => headers)
    expect(first!['webhook-id']).toBe(second!['webhook-id'])
    expect(Number(second!['webhook-timestamp']) - Number(first!['webhook-timestamp'])).toBe(60)
    expect(server.events.size).toBe(1)
  })

  it('fills a template, and whatever is filled in it stays JSON', async () => {
    const template =
      '{"text":"{{ severity }}: {{summary}} $& {{details}}","all":"{{details}}","n":1,"list":["{{key}}",null]}'
    const opened = message('opened', { summary: `"}],{"x":"${nasty}`, details: { quote: '"' } })
    expect(await channel({ template }).send(opened, context)).toEqual({ outcome: 'delivered' })
    expect(server.events.get(opened.id)).toEqual({
      text: expect.stringMatching(/^error: "\}\],\{"x":"😀.* \$& \{"quote":"\\""\}$/su) as string,
      all: { quote: '"' },
      n: 1,
      list: ['vacuum/xmin-held', null],
    })
  })

  it('takes any text as secret, and headers beside its own', async () => {
    await channel({ secret: 'a text of more than 24 bytes', headers: { 'X-Auth': 'token' } }).send(
      message('opened'),
      context,
    )
    expect(server.requests[0]!.headers).toMatchObject({
      'x-auth': 'token',
      'webhook-signature': expect.stringMatching(/^v1,/) as string,
    })
  })

  it('posts without a signature when that is wanted', async () => {
    expect(await channel({ secret: undefined, unsigned: true }).send(message('opened'), context)).toEqual({
      outcome: 'refused',
      reason: 'HTTP 400: missing required headers',
    })
  })

  it('makes an id that can be signed of one that cannot', async () => {
    expect(await channel().send({ ...message('opened'), id: 'alert.1\n2' }, context)).toEqual({ outcome: 'delivered' })
  })
})

describe('the heartbeat', () => {
  let switchServer: HeartbeatServer
  beforeEach(async () => {
    switchServer = await startHeartbeat()
  })
  afterEach(() => switchServer.close())
  const send = (method = 'GET') =>
    channelsOf({ heartbeat: { url: switchServer.pingUrl, method } }).heartbeats[0]!.send(context)

  it.each(['GET', 'POST'])('is sent by %s', async (method) => {
    expect(await send(method)).toEqual({ outcome: 'delivered' })
    expect([switchServer.pings(), switchServer.requests[0]!.method]).toEqual([1, method])
  })

  it.each([
    ['OK (not found)', 'refused'],
    ['OK (rate limited)', 'retry'],
    ['OK', 'delivered'],
  ])('was not heard when the answer is 200 and says so: %s', async (body, outcome) => {
    switchServer.failNext({ kind: 'status', status: 200, body })
    expect(await send()).toMatchObject({ outcome })
  })
})
