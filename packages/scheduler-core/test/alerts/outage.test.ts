import { describe, expect, it } from 'vitest'
import type { DigestChannel, EachChannel, StateChannel } from '../../src/alerts/channel.js'
import { messagesAfterGap, outageMessages } from '../../src/alerts/outage.js'
import { at, hour, minute, policy, routingOf } from './rows.js'

const delivered = () => Promise.resolve({ outcome: 'delivered' } as const)
const pager: EachChannel = { kind: 'each', name: 'pager', transitions: ['opened', 'resolved'], send: delivered }
const chat: DigestChannel = { kind: 'digest', name: 'chat', transitions: ['opened', 'resolved'], send: delivered }
const state: StateChannel = { kind: 'state', name: 'state', send: delivered }

const question = (now: Date, change: object = {}) => ({
  now,
  policy,
  database: 'db:5432/battlescope',
  expectedIntervalMs: 5 * minute,
  routing: routingOf([pager, chat, state]),
  ...change,
})

describe('while PostgreSQL is down', () => {
  it('every run tells channels with a key, under one key', () => {
    const messages = Array.from(
      { length: 12 },
      (_, run) => outageMessages(question(at(run * 5)), 'refused').each[0]!.message,
    )
    expect(new Set(messages.map(({ alert }) => alert.key)).size).toBe(1)
    // Whoever knows messages by id must not miss a second outage for having heard of the first.
    expect(new Set(messages.map(({ id }) => id)).size).toBe(12)
    expect(messages[0]).toMatchObject({
      transition: 'opened',
      alert: {
        severity: 'critical',
        findingKey: 'database-unavailable',
        summary: 'PostgreSQL cannot be reached: refused',
      },
    })
  })

  it('another database has another key, and a configured name replaces what is derived', () => {
    const keyOf = (change: object) => outageMessages(question(at(0), change), 'x').each[0]!.message.alert.key
    expect(keyOf({ database: 'other:5432/battlescope' })).not.toBe(keyOf({}))
    expect(keyOf({ policy: { ...policy, installation: 'production' } })).toBe(
      'production:scheduler/database-unavailable',
    )
  })

  it('channels without a key hear of it in the first run of an hour, whatever the run is late by', () => {
    const told = Array.from({ length: 24 }, (_, run) => run * 5 + 0.4).filter(
      (minutes) => outageMessages(question(at(minutes)), 'x').digest.length > 0,
    )
    expect(told).toEqual([0.4, 60.4])
  })

  it('only channels that the alert is routed to are told', () => {
    const routing = routingOf([pager, chat, state], () => ['state'])
    expect(outageMessages(question(at(0), { routing }), 'x')).toMatchObject({ each: [], digest: [], state: [{}] })
  })
})

describe('the first run after a gap', () => {
  it('tells whoever may have been told that it is over, under the same key', () => {
    const messages = messagesAfterGap(question(at(60)), at(0))
    expect(messages.map(({ channel, transition }) => [channel, transition])).toEqual([
      ['pager', 'resolved'],
      ['chat', 'resolved'],
    ])
    expect(messages[0]?.content.key).toBe(outageMessages(question(at(0)), 'x').each[0]?.message.alert.key)
    // Two processes that see one gap make one message.
    expect(messagesAfterGap(question(at(61)), at(0)).map(({ id }) => id)).toEqual(messages.map(({ id }) => id))
  })

  it('is not one that came in time, nor the first of all', () => {
    expect(messagesAfterGap(question(at(7.5)), at(0))).toEqual([])
    expect(messagesAfterGap(question(at(7.6)), at(0))).toHaveLength(2)
    expect(messagesAfterGap(question(at(60)), undefined)).toEqual([])
    expect(hour).toBe(60 * minute)
  })
})
