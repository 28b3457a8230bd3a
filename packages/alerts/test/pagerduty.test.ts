import type { AlertTransition, EachChannel } from '@battlescope/scheduler-core'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { deliveryContext, startPagerduty, type PagerdutyServer } from '../src/testing/index.js'
import { routingKey } from './examples.js'
import { channelsOf, message } from './messages.js'
import { now } from './stand-ins.js'

let server: PagerdutyServer
beforeEach(async () => {
  server = await startPagerduty()
})
afterEach(() => server.close())

const channel = (options: object = {}) =>
  channelsOf({ pagerduty: { routingKey, url: server.url, ...options }, link: 'https://grafana.example/d?var={task}' })
    .channels[0] as EachChannel
const context = deliveryContext(now)
const send = (transition: AlertTransition, others = {}) => channel().send(message(transition, others), context)

describe('PagerDuty', () => {
  it('opens, and resolves what it opened', async () => {
    await send('opened')
    await send('resolved')
    expect(server.incidents).toEqual([
      {
        key: 'vacuum/xmin-held',
        severity: 'error',
        title: 'a transaction holds back vacuum for 3 hours',
        triggers: 1,
        resolved: true,
      },
    ])
    const event = JSON.parse(server.requests[0]!.body) as Record<string, unknown>
    expect(event).toMatchObject({
      client: 'battlescope-test',
      client_url: 'https://grafana.example/d?var=vacuum',
      links: [{ href: 'https://grafana.example/d?var=vacuum' }],
      payload: {
        source: 'battlescope-test',
        component: 'vacuum',
        class: 'xmin-held',
        timestamp: '2026-11-25T11:50:00.000Z',
        custom_details: { pid: 4711 },
      },
    })
  })

  it('opens anew for a higher severity, because the title and severity of an open incident stay', async () => {
    await send('opened', { severity: 'warning' })
    await send('raised', { severity: 'critical', summary: 'for 9 hours' })
    expect(server.incidents).toMatchObject([
      { severity: 'warning', resolved: true },
      { severity: 'critical', title: 'for 9 hours', resolved: false },
    ])
  })

  it('raises once, when only the second half failed the first time', async () => {
    await send('opened')
    const raised = message('raised', { severity: 'critical' })
    server.failNext({ kind: 'status', status: 202 }, { kind: 'status', status: 503 })
    expect(await channel().send(raised, context)).toMatchObject({ outcome: 'retry' })
    expect(await channel().send(raised, context)).toEqual({ outcome: 'delivered' })
    expect(server.incidents.filter(({ severity }) => severity === 'critical')).toHaveLength(1)
  })

  it('does not open what could not be resolved first', async () => {
    await send('opened')
    server.failNext({ kind: 'status', status: 503 })
    expect(await send('raised')).toMatchObject({ outcome: 'retry' })
    expect(server.requests).toHaveLength(2)
  })

  it('adds to an open incident when it reminds, and opens what a person resolved while it still fires', async () => {
    await send('opened')
    await send('reminded')
    expect(server.incidents).toMatchObject([{ triggers: 2, resolved: false }])
    server.resolveByHand('vacuum/xmin-held')
    await send('reminded')
    expect(server.incidents).toMatchObject([{ resolved: true }, { triggers: 1, resolved: false }])
  })

  it('has no use for changes of the summary: they would page for what a person has resolved', () => {
    expect(channel().transitions).toEqual(['opened', 'raised', 'reminded', 'resolved'])
  })

  it('sends change events, unless it is told not to or the key is of a ruleset', async () => {
    const change = {
      task: 'retention',
      changeKey: 'completed',
      slotId: 'retention@2026-11-25T02:00:00Z',
      summary: 'retention deleted 12 000 killmails',
      details: { rows: 12_000 },
      links: [{ href: 'https://wiki.example/retention' }],
    }
    expect(await channel().sendChange!({ id: 'c1', change, at: now }, context)).toEqual({ outcome: 'delivered' })
    expect(server.changes).toEqual([
      {
        routing_key: routingKey,
        links: [
          { href: 'https://wiki.example/retention', text: 'https://wiki.example/retention' },
          { href: 'https://grafana.example/d?var=retention', text: 'Dashboard' },
        ],
        payload: {
          summary: 'retention deleted 12 000 killmails',
          source: 'battlescope-test',
          timestamp: now.toISOString(),
          custom_details: { rows: 12_000, slot: change.slotId, changeId: 'c1' },
        },
      },
    ])
    const long = { ...change, summary: 'é'.repeat(2000), details: { text: 'x'.repeat(600_000) } }
    expect(await channel().sendChange!({ id: 'c2', change: long, at: now }, context)).toEqual({ outcome: 'delivered' })
    expect(channel({ changes: false }).sendChange).toBeUndefined()
    expect(channel({ routingKey: `R${routingKey.slice(1)}` }).sendChange).toBeUndefined()
  })

  it.each([
    ['us', 'https://events.pagerduty.com/v2/enqueue'],
    ['eu', 'https://events.eu.pagerduty.com/v2/enqueue'],
  ])('asks the address of the region %s', async (region, url) => {
    const asked: string[] = []
    const refuse = (request: { url: string }) => {
      asked.push(request.url)
      return Promise.resolve({ status: 202, headers: {}, body: '' })
    }
    const http = { get: refuse, post: refuse, send: refuse }
    await channel({ url: undefined, region }).send(message('opened'), deliveryContext(now, { http }))
    expect(asked).toEqual([url])
  })
})
