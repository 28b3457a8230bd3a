import type { DigestChannel } from '@battlescope/scheduler-core'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { escaped } from '../src/slack.js'
import { deliveryContext, startSlack, type SlackServer } from '../src/testing/index.js'
import { channelsOf, message, nasty } from './messages.js'
import { now } from './stand-ins.js'

let server: SlackServer
beforeEach(async () => {
  server = await startSlack()
})
afterEach(() => server.close())

const channel = (options = {}) =>
  channelsOf({ slack: { webhookUrl: server.webhookUrl }, ...options }).channels[0] as DigestChannel
const send = (messages: ReturnType<typeof message>[], options = {}) =>
  channel(options).send('digest', messages, deliveryContext(now))
const textsOf = (post: unknown) =>
  (post as { blocks: { text: { text: string } }[] }).blocks.map(({ text }) => text.text)

describe('Slack', () => {
  it('gets one message for everything that happened in a run, the most urgent first', async () => {
    expect(
      await send([
        message('resolved'),
        message('opened'),
        message('raised', { severity: 'critical' }),
        message('opened'),
      ]),
    ).toEqual({ outcome: 'delivered' })
    expect(server.posts).toHaveLength(1)
    expect(server.posts[0]).toMatchObject({ text: 'battlescope-test: 1 raised, 2 opened, 1 resolved' })
    expect(textsOf(server.posts[0]).map((text) => text.split('\n')[0])).toEqual([
      '*battlescope-test: 1 raised, 2 opened, 1 resolved*',
      ':red_circle: *raised* critical · vacuum/xmin-held',
      ':large_orange_circle: *opened* error · vacuum/xmin-held',
      ':large_orange_circle: *opened* error · vacuum/xmin-held',
      ':white_check_mark: *resolved* error · vacuum/xmin-held',
    ])
  })

  it('counts what has no place in one message', async () => {
    expect(
      await send(Array.from({ length: 300 }, () => message('opened', { summary: nasty, details: { nasty } }))),
    ).toEqual({ outcome: 'delivered' })
    const texts = textsOf(server.posts[0])
    expect(texts.length).toBeLessThanOrEqual(50)
    expect(texts.at(-1)).toBe(`and ${300 - (texts.length - 2)} more`)
  })

  it('calls no channel, whatever an alert says', async () => {
    await send([message('opened', { summary: '<!channel> & <@U1> <https://evil.example|here>' })], {
      link: 'https://grafana.example/?k={key}&a=b',
    })
    const text = textsOf(server.posts[0]).join('\n')
    expect(text).toContain('&lt;!channel&gt; &amp; &lt;@U1&gt;')
    expect([...text.matchAll(/<([^>]*)>/g)].map(([, link]) => link)).toEqual([
      'https://grafana.example/?k=vacuum%2Fxmin-held&amp;a=b|vacuum/xmin-held',
    ])
  })

  it('is not asked when nothing happened', async () => {
    expect(await send([])).toEqual({ outcome: 'delivered' })
    expect(server.requests).toEqual([])
  })

  it('cuts before a character, never within what stands for it', () => {
    for (let max = 1; max < 60; max += 1) {
      const text = escaped('a<b>&'.repeat(20), max)
      expect(text.length).toBeLessThanOrEqual(max)
      expect(text.replace(/&(lt|gt|amp);/g, '')).not.toMatch(/[&<>]/)
    }
  })
})
