import { describe, expect, it } from 'vitest'
import { alertsConfig } from '../src/config.js'
import { createRouting } from '../src/routing.js'
import { groups } from './messages.js'

const key = (letter: string) => letter.repeat(32)

function targets(options: object): readonly (string | undefined)[] {
  const { channels } = createRouting(alertsConfig.parse({ ...groups, ...options }), { name: 'here' })
  return channels.map((channel) => ('target' in channel ? channel.target : undefined))
}

describe('where a channel sends', () => {
  it.each([
    ['pagerduty', { routingKey: key('a') }, { routingKey: key('b') }],
    ['jsm', { apiKey: key('a') }, { apiKey: key('b') }],
    ['jsm', { apiKey: key('a') }, { apiKey: key('a'), product: 'opsgenie' }],
    ['slack', { webhookUrl: 'https://slack.test/a' }, { webhookUrl: 'https://slack.test/b' }],
    ['webhook', { url: 'https://a.test/', unsigned: true }, { url: 'https://b.test/', unsigned: true }],
  ])('has a mark of its own at %s, which tells nothing of its secret', (channel, one, other) => {
    const [mark] = targets({ [channel]: one })
    expect(targets({ [channel]: one })).toEqual([mark])
    expect(targets({ [channel]: other })).not.toEqual([mark])
    expect(mark).toMatch(/^[0-9a-f]{16}$/)
  })

  it('is not marked at Alertmanager, where nothing of a message is kept', () => {
    expect(targets({ alertmanager: { urls: ['http://alertmanager:9093'] } })).toEqual([undefined])
  })
})
