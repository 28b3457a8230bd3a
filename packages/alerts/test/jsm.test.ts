import type { AlertTransition, Delivery, EachChannel } from '@battlescope/scheduler-core'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { deliveryContext, startJsm, type JsmServer } from '../src/testing/index.js'
import { channelsOf, message } from './messages.js'
import { now } from './stand-ins.js'

const minutesLater = (minutes: number) => deliveryContext(new Date(now.getTime() + minutes * 60_000))
const receiptOf = (delivery: Delivery) => (delivery as { receipt: string }).receipt

describe.each(['jsm', 'opsgenie'] as const)('%s', (product) => {
  let server: JsmServer
  let channel: EachChannel
  beforeEach(async () => {
    server = await startJsm(product)
    channel = channelsOf({ jsm: { apiKey: server.apiKey, product, url: server.apiUrl } }).channels[0] as EachChannel
  })
  afterEach(() => server.close())
  const send = (transition: AlertTransition, others = {}, context = minutesLater(0)) =>
    channel.send(message(transition, others), context)
  const poll = (delivery: Delivery, minutes = 5) => channel.poll!(receiptOf(delivery), minutesLater(minutes))

  it('opens and closes by alias; what became of each is asked in a later run', async () => {
    const opened = await send('opened')
    expect(opened.outcome).toBe('accepted')
    expect(await poll(opened)).toEqual({ outcome: 'delivered' })
    expect(await poll(await send('resolved'))).toEqual({ outcome: 'delivered' })
    expect(server.alerts).toMatchObject([{ alias: 'vacuum/xmin-held', priority: 'P2', count: 1, closed: true }])
  })

  it('waits for a request that is not carried out yet', async () => {
    server.processing = 'later'
    const opened = await send('opened')
    expect(await poll(opened)).toMatchObject({ outcome: 'accepted' })
    server.process()
    expect(await poll(opened)).toEqual({ outcome: 'delivered' })
  })

  it('waits when only the question fails', async () => {
    const opened = await send('opened')
    server.failNext({ kind: 'status', status: 503 })
    expect(await poll(opened)).toEqual(opened)
  })

  it('reports what was not carried out', async () => {
    const opened = await send('opened')
    server.failNext({
      kind: 'status',
      status: 200,
      body: { data: { isSuccess: false, status: 'The integration is disabled' } },
    })
    expect(await poll(opened)).toEqual({ outcome: 'refused', reason: 'The integration is disabled' })
  })

  it('is content when a person has closed it first', async () => {
    await send('opened')
    server.closeByHand('vacuum/xmin-held')
    expect(await poll(await send('resolved'))).toEqual({ outcome: 'delivered' })
    expect(await poll(await send('changed', { summary: 'otherwise' }))).toEqual({ outcome: 'delivered' })
    expect(server.alerts).toHaveLength(1)
  })

  it('counts when it reminds, and opens what a person closed while it still fires', async () => {
    await send('opened')
    await send('reminded')
    expect(server.alerts).toMatchObject([{ count: 2 }])
    server.closeByHand('vacuum/xmin-held')
    await send('reminded')
    expect(server.alerts).toMatchObject([{ closed: true }, { closed: false, count: 1 }])
  })

  it('changes an open alert and calls nobody', async () => {
    await send('opened')
    const changed = await send('changed', { summary: 'for 4 hours', severity: 'warning' })
    expect(await poll(changed)).toEqual({ outcome: 'delivered' })
    expect(server.alerts).toHaveLength(1)
    if (product === 'opsgenie')
      expect(server.alerts).toMatchObject([{ message: 'for 4 hours', priority: 'P3', count: 1 }])
    else expect(server.alerts[0]!.notes).toEqual([expect.stringContaining('warning: for 4 hours')])
  })

  it('closes and opens anew for a higher severity', async () => {
    await send('opened', { severity: 'warning' })
    const raised = await send('raised', { severity: 'critical', summary: 'for 9 hours' })
    expect(await poll(raised)).toEqual({ outcome: 'delivered' })
    expect(server.alerts).toMatchObject([
      { priority: 'P3', closed: true },
      { priority: 'P1', message: 'for 9 hours', closed: false, count: 1 },
    ])
  })

  it('opens anew only when the close is done, in whatever order requests are carried out', async () => {
    await send('opened', { severity: 'warning' })
    server.processing = 'later'
    const raised = await send('raised', { severity: 'critical' })
    expect(server.alerts).toHaveLength(1)
    const still = await poll(raised)
    expect(still).toMatchObject({ outcome: 'accepted' })
    server.process({ backwards: true })
    const reopened = await poll(still)
    expect(reopened).toMatchObject({ outcome: 'accepted' })
    server.process({ backwards: true })
    expect(await poll(reopened, 10)).toEqual({ outcome: 'delivered' })
    expect(server.alerts).toMatchObject([{ closed: true }, { priority: 'P1', closed: false }])
  })

  it('opens anew all the same when nothing is heard of the close', async () => {
    await send('opened', { severity: 'warning' })
    server.processing = 'later'
    const raised = await send('raised', { severity: 'critical' })
    server.process()
    server.failNext({ kind: 'status', status: 404, body: 'unknown' })
    await poll(raised, 11)
    server.process()
    expect(server.alerts.filter(({ closed }) => !closed)).toMatchObject([{ priority: 'P1' }])
  })

  it('raises from the beginning when opening anew failed', async () => {
    await send('opened', { severity: 'warning' })
    server.failNext({ kind: 'status', status: 202, body: {} }, { kind: 'status', status: 503 })
    expect(await send('raised', { severity: 'critical' })).toMatchObject({ outcome: 'retry' })
    await send('raised', { severity: 'critical' })
    expect(server.alerts.filter(({ closed }) => !closed)).toMatchObject([{ priority: 'P1', count: 1 }])
  })

  it('does not take the receipt of another channel', async () => {
    for (const receipt of [
      '',
      'null',
      '{}',
      '{"what":"create","ids":[1],"takenAtMs":1,"create":{}}',
      '{"what":"create","ids":[],"takenAtMs":1}',
      '{"what":"reopen","ids":[],"takenAtMs":1,"create":null}',
    ]) {
      expect(await channel.poll!(receipt, minutesLater(0))).toMatchObject({ outcome: 'refused' })
    }
  })

  it('creates again what was lost, where that can be known', async () => {
    server.processing = 'later'
    const opened = await send('opened', { summary: 'for 3 hours' })
    server.lose()
    const asked = await poll(opened, 11)
    server.process()
    if (product === 'jsm') {
      expect(asked).toEqual({ outcome: 'delivered' })
      return
    }
    expect(server.alerts).toMatchObject([{ alias: 'vacuum/xmin-held', message: 'for 3 hours', count: 1 }])
    // It is asked about anew, from the time of the second request.
    expect(asked).not.toEqual(opened)
    expect(await poll(asked, 15)).toEqual({ outcome: 'delivered' })
  })

  it('tries again when what was lost cannot be created either', async () => {
    server.processing = 'later'
    const opened = await send('opened')
    server.lose()
    server.failNext({ kind: 'status', status: 404, body: 'unknown' }, { kind: 'status', status: 503 })
    expect(await poll(opened, 11)).toMatchObject({ outcome: product === 'opsgenie' ? 'retry' : 'delivered' })
  })

  it.each([401, 403, 422, 429, 503])(
    'waits for ten minutes when the question gets %i, then takes it as done',
    async (status) => {
      const opened = await send('opened')
      server.failNext({ kind: 'status', status }, { kind: 'status', status })
      expect(await poll(opened, 9)).toEqual(opened)
      expect(await poll(opened, 10)).toEqual({ outcome: 'delivered' })
      expect(server.alerts).toMatchObject([{ count: 1, closed: false }])
    },
  )

  it('waits as long as throttling lasts', async () => {
    server.failNext({
      kind: 'status',
      status: 429,
      headers: { 'X-RateLimit-Period-In-Sec': '60', 'X-RateLimit-State': 'THROTTLED' },
    })
    expect(await send('opened')).toEqual({ outcome: 'retry', reason: 'HTTP 429', afterMs: 60_000 })
  })
})

it.each([
  [{}, 'https://api.atlassian.com/jsm/ops/integration/v2/alerts'],
  [{ product: 'opsgenie' }, 'https://api.opsgenie.com/v2/alerts'],
  [{ product: 'opsgenie', region: 'eu' }, 'https://api.eu.opsgenie.com/v2/alerts'],
])('%o asks %s', async (options, url) => {
  const asked: string[] = []
  const answer = (request: { url: string }) => {
    asked.push(request.url)
    return Promise.resolve({ status: 202, headers: {}, body: '' })
  }
  const [channel] = channelsOf({ jsm: { apiKey: 'a-key-of-an-api', ...options } }).channels
  await (channel as EachChannel).send(
    message('opened'),
    deliveryContext(now, { http: { get: answer, post: answer, send: answer } }),
  )
  expect(asked).toEqual([url])
})
