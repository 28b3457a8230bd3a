import type { AlertContent, AlertMessage, StateChannel } from '@battlescope/scheduler-core'
import { afterEach, describe, expect, it } from 'vitest'
import { deliveryContext, startAlertmanager, type AlertmanagerServer } from '../src/testing/index.js'
import { channelsOf, content, message } from './messages.js'
import { now } from './stand-ins.js'

const servers: AlertmanagerServer[] = []
afterEach(async () => {
  for (const server of servers.splice(0)) await server.close()
})
async function start(authorization?: string): Promise<AlertmanagerServer> {
  const server = await startAlertmanager({ now: () => now, ...(authorization === undefined ? {} : { authorization }) })
  servers.push(server)
  return server
}
const minute = 60_000
const at = (minutes: number) => new Date(now.getTime() + minutes * minute)
const channelTo = (urls: readonly string[], options = {}) =>
  channelsOf({ alertmanager: { urls, ...options } }).channels[0] as StateChannel
const send = (
  channel: StateChannel,
  firing: readonly AlertContent[],
  resolved: readonly AlertMessage[] = [],
  minutes = 0,
) => channel.send({ firing, resolved }, deliveryContext(at(minutes)))

describe('Alertmanager', () => {
  it('never lets a firing alert end between runs, nor when two of them fail', async () => {
    const server = await start()
    const channel = channelTo([server.url])
    for (let minutes = 0; minutes < 60; minutes += 5) {
      await send(channel, [content()], [], minutes)
      expect(server.firingAt(at(minutes + 14.9))).toHaveLength(1)
    }
    expect(server.alerts).toHaveLength(1)
  })

  it('ends what is over at once, and it began when it was opened', async () => {
    const server = await start()
    const channel = channelTo([server.url])
    await send(channel, [content()])
    await send(channel, [], [message('resolved')], 5)
    expect(server.alerts).toMatchObject([{ startsAt: content().openedAt, endsAt: at(5) }])
    expect(server.firingAt(at(5))).toEqual([])
  })

  it('is the same alert whatever changes but its key', async () => {
    const server = await start()
    const channel = channelTo([server.url])
    await send(channel, [content()])
    await send(channel, [content({ severity: 'critical', summary: 'for 9 hours', details: { pid: 1 } })], [], 5)
    expect(server.alerts).toMatchObject([
      {
        labels: { alertname: 'SchedulerFinding', scheduler: 'battlescope-test', task: 'vacuum', finding: 'xmin-held' },
        annotations: { severity: 'critical', summary: 'for 9 hours', description: 'pid: 1' },
      },
    ])
  })

  it('does not end what fires again', async () => {
    const server = await start()
    await send(channelTo([server.url]), [content()], [message('resolved')])
    expect(server.firingAt(at(1))).toHaveLength(1)
  })

  it('takes an alert that began a moment after now', async () => {
    const server = await start()
    const openedAt = new Date(now.getTime() + 1500)
    expect(await send(channelTo([server.url]), [], [message('resolved', { openedAt })])).toEqual({
      outcome: 'delivered',
    })
  })

  it('adds labels, and the severity among them when that is wanted', async () => {
    const server = await start()
    await send(channelTo([server.url], { labels: { team: 'data' }, severityLabel: true, alertname: 'BattleScope' }), [
      content(),
    ])
    expect(server.alerts[0]!.labels).toMatchObject({ team: 'data', severity: 'error', alertname: 'BattleScope' })
  })

  it.each([
    [{ username: 'keeper', password: 'a-password' }, `Basic ${Buffer.from('keeper:a-password').toString('base64')}`],
    [{ bearerToken: 'a-bearer-token' }, 'Bearer a-bearer-token'],
  ])('proves who it is: %o', async (options, authorization) => {
    const server = await start(authorization)
    expect(await send(channelTo([server.url], options), [content()])).toEqual({ outcome: 'delivered' })
    expect(await send(channelTo([server.url]), [content()])).toEqual({
      outcome: 'refused',
      reason: 'HTTP 401: Unauthorized',
    })
  })

  it('tells every member of a cluster, and is not done before each was told', async () => {
    const [first, second] = [await start(), await start()]
    const channel = channelTo([first.url, `${second.url}/`])
    second.failNext({ kind: 'reset' })
    expect((await send(channel, [], [message('resolved')])).outcome).toBe('retry')
    expect(first.alerts).toHaveLength(1)
    expect(await send(channel, [], [message('resolved')])).toEqual({ outcome: 'delivered' })
    expect(second.alerts).toHaveLength(1)
  })

  it('asks nothing of anybody when there is nothing to tell', async () => {
    const server = await start()
    expect(await send(channelTo([server.url]), [])).toEqual({ outcome: 'delivered' })
    expect(server.requests).toEqual([])
  })
})
