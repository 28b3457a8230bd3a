import { describe, expect, it } from 'vitest'
import type { AlertTransition, DigestChannel, EachChannel, StateChannel } from '../../src/alerts/channel.js'
import type { AlertRow } from '../../src/alerts/plan-alerts.js'
import {
  planMessages,
  type MessageQuestion,
  type ToldRow,
  type WaitingMessage,
} from '../../src/alerts/plan-messages.js'
import { stateFor } from '../../src/alerts/alerting.js'
import { after, at, finding, hour, looked, policy, routingOf } from './rows.js'

const all: readonly AlertTransition[] = ['opened', 'changed', 'raised', 'reminded', 'resolved']
const pager = (change: Partial<EachChannel> = {}): EachChannel => ({
  kind: 'each',
  name: 'pager',
  transitions: all,
  send: () => Promise.resolve({ outcome: 'delivered' }),
  ...change,
})
const chat: DigestChannel = {
  kind: 'digest',
  name: 'chat',
  transitions: ['opened', 'resolved'],
  send: () => Promise.resolve({ outcome: 'delivered' }),
}
const firing = (change: Partial<AlertRow> = {}): AlertRow => ({
  ...after([looked(0, [finding()])])[0]![0]!,
  ...change,
})

let ids = 0
function ask(change: Partial<MessageQuestion> = {}) {
  ids = 0
  return planMessages({
    now: at(0),
    rows: [],
    told: [],
    waiting: [],
    routing: routingOf([pager()]),
    policy,
    newId: () => `id-${(ids += 1)}`,
    ...change,
  })
}

/** The state after the opening was told, and delivered where `calledAt` says so. */
const toldOf = (row: AlertRow, change: Partial<ToldRow> = {}): ToldRow => ({
  ...ask({ rows: [row] }).told[0]!,
  calledAt: at(0),
  ...change,
})
const waitingFor = (told: ToldRow, change: Partial<WaitingMessage> = {}): WaitingMessage => ({
  id: 'waiting',
  channel: told.channel,
  name: told.name,
  incidentAt: told.incidentAt,
  transition: 'opened',
  at: at(0),
  untouched: true,
  ...change,
})
const transitions = ({ messages }: ReturnType<typeof ask>) =>
  messages.map(({ channel, transition }) => `${channel} ${transition}`)

describe('an alert that fires', () => {
  it('is opened at every channel that it is routed to, and no other', () => {
    const routing = routingOf([pager(), chat], ({ severity }) =>
      severity === 'critical' ? ['pager', 'chat'] : ['chat'],
    )
    expect(transitions(ask({ rows: [firing()], routing }))).toEqual(['chat opened'])
    const plan = ask({ rows: [firing({ severity: 'critical' })], routing })
    expect(transitions(plan)).toEqual(['pager opened', 'chat opened'])
    expect(plan.messages[0]).toMatchObject({
      name: 'health/queue',
      incidentAt: at(0),
      content: { key: 'test:health/queue', summary: 'the queue is long', openedAt: at(0) },
    })
    expect(plan.told).toMatchObject([{ channel: 'pager', state: 'open', calledAt: undefined }, { channel: 'chat' }])
  })

  it('is told once', () => {
    const row = firing()
    expect(ask({ now: at(5), rows: [row], told: [toldOf(row)] })).toEqual({
      messages: [],
      rewritten: [],
      told: [],
      untold: [],
      dead: [],
    })
  })

  it('is told to nobody while it is pending or silent, and then as opened', () => {
    expect(transitions(ask({ rows: [firing({ state: 'pending', openedAt: undefined })] }))).toEqual([])
    expect(transitions(ask({ rows: [firing({ silence: 'muted' })] }))).toEqual([])
    expect(transitions(ask({ now: at(600), rows: [firing()] }))).toEqual(['pager opened'])
  })

  it('is told to a channel that is new', () => {
    const row = firing()
    const routing = routingOf([pager(), chat])
    expect(transitions(ask({ now: at(5), rows: [row], told: [toldOf(row)], routing }))).toEqual(['chat opened'])
  })

  it('says that it flaps', () => {
    expect(ask({ rows: [firing({ flapping: true })] }).messages[0]?.content.details).toEqual({ flapping: true })
  })
})

describe('an alert that changes', () => {
  const row = firing()
  const told = toldOf(row)

  it('is raised at once by a higher severity, and by the same once only', () => {
    const critical = firing({ severity: 'critical' })
    const raised = ask({ now: at(5), rows: [critical], told: [told] })
    expect(transitions(raised)).toEqual(['pager raised'])
    expect(raised.told).toMatchObject([{ calledSeverity: 'critical', calledAt: undefined }])
    const calmed = ask({ now: at(10), rows: [row], told: [{ ...raised.told[0]!, calledAt: at(5) }] })
    expect(transitions(calmed)).toEqual(['pager changed'])
    const again = ask({ now: at(15), rows: [critical], told: calmed.told })
    expect(transitions(again)).toEqual(['pager changed'])
  })

  it('has another summary told only so often', () => {
    const other = firing({ summary: 'longer' })
    expect(transitions(ask({ now: at(5), rows: [other], told: [told] }))).toEqual([])
    expect(transitions(ask({ now: at(30), rows: [other], told: [told] }))).toEqual(['pager changed'])
  })

  it('now routed elsewhere is opened there, and goes on where it is open', () => {
    const routing = routingOf([pager(), chat], ({ severity }) => (severity === 'critical' ? ['chat'] : ['pager']))
    const plan = ask({ now: at(5), rows: [firing({ severity: 'critical' })], told: [told], routing })
    expect(transitions(plan)).toEqual(['pager raised', 'chat opened'])
  })

  it('reaches whoever was not told yet as one message', () => {
    const late = { ...told, calledAt: undefined }
    const waiting = [waitingFor(late)]
    const plan = ask({ now: at(5), rows: [firing({ severity: 'critical', summary: 'worse' })], told: [late], waiting })
    expect(plan.messages).toEqual([])
    expect(plan.rewritten).toMatchObject([
      { id: 'waiting', transition: 'opened', content: { severity: 'critical', summary: 'worse' } },
    ])
    // A message that was tried may have arrived.
    const tried = ask({
      now: at(5),
      rows: [firing({ severity: 'critical' })],
      told: [late],
      waiting: [waitingFor(late, { untouched: false })],
    })
    expect(transitions(tried)).toEqual(['pager raised'])
    const lower = ask({
      now: at(5),
      rows: [firing({ severity: 'warning' })],
      told: [late],
      waiting: [waitingFor(late, { untouched: false })],
    })
    expect(lower).toMatchObject({ messages: [], rewritten: [], told: [] })
  })
})

describe('a reminder', () => {
  const row = firing()

  it('comes when the interval since people were called is over, counted from the delivery', () => {
    const told = toldOf(row, { calledAt: at(200) })
    expect(transitions(ask({ now: at(439), rows: [row], told: [told] }))).toEqual([])
    const reminded = ask({ now: at(440), rows: [row], told: [told] })
    expect(transitions(reminded)).toEqual(['pager reminded'])
    expect(transitions(ask({ now: at(445), rows: [row], told: reminded.told }))).toEqual([])
  })

  it('takes the place of a change that waits, or nobody would ever be called again', () => {
    const told = toldOf(row)
    const other = firing({ summary: 'longer' })
    const waiting = [waitingFor(told, { transition: 'changed', at: at(235) })]
    const due = ask({ now: at(240), rows: [other], told: [told], waiting })
    expect(due.messages).toEqual([])
    expect(due.rewritten).toMatchObject([{ id: 'waiting', transition: 'reminded', content: { summary: 'longer' } }])
    expect(due.told).toMatchObject([{ calledAt: undefined }])
    const worse = ask({ now: at(240), rows: [firing({ severity: 'critical' })], told: [told], waiting })
    expect(worse.rewritten).toMatchObject([{ transition: 'raised' }])
    // A channel without reminders counts as told, and keeps the change.
    const deaf = ask({
      now: at(240),
      rows: [other],
      told: [told],
      waiting,
      routing: routingOf([pager({ transitions: ['opened', 'changed', 'resolved'] })]),
    })
    expect(deaf.rewritten).toMatchObject([{ transition: 'changed' }])
    expect(deaf.told).toMatchObject([{ calledAt: at(240) }])
  })

  it('does not come while nobody was called yet', () => {
    const told = toldOf(row, { calledAt: undefined })
    expect(transitions(ask({ now: at(5000), rows: [row], told: [told], waiting: [waitingFor(told)] }))).toEqual([])
  })

  it('does not come to a muted alert', () => {
    const told = toldOf(row)
    expect(transitions(ask({ now: at(5000), rows: [{ ...row, silence: 'muted' }], told: [told] }))).toEqual([])
  })

  it('is not stored for a channel that has no use for it, which counts as told', () => {
    const routing = routingOf([chat])
    const told: ToldRow = { ...ask({ rows: [row], routing }).told[0]!, calledAt: at(0) }
    const plan = ask({ now: at(240), rows: [row], told: [told], routing })
    expect(plan.messages).toEqual([])
    expect(plan.told).toMatchObject([{ calledAt: at(240) }])
  })
})

describe('an alert that is over', () => {
  const row = firing()
  const resolved = (change: Partial<AlertRow> = {}) => firing({ state: 'resolved', resolvedAt: at(60), ...change })

  it('is resolved wherever it is open, muted or not, once', () => {
    const plan = ask({ now: at(60), rows: [resolved()], told: [toldOf(row)] })
    expect(transitions(plan)).toEqual(['pager resolved'])
    expect(plan.told).toMatchObject([{ state: 'closing' }])
    expect(ask({ now: at(65), rows: [resolved()], told: plan.told })).toMatchObject({
      messages: [],
      told: [],
      untold: [],
    })
    expect(transitions(ask({ now: at(60), rows: [], told: [toldOf(row)] }))).toEqual(['pager resolved'])
  })

  it('is resolved nowhere else', () => {
    expect(transitions(ask({ now: at(60), rows: [resolved()] }))).toEqual([])
  })

  it('says why, if not by itself', () => {
    const plan = ask({ now: at(60), rows: [resolved({ resolution: 'no longer enabled' })], told: [toldOf(row)] })
    expect(plan.messages[0]?.content.details).toEqual({ resolution: 'no longer enabled' })
  })

  it('and there again is another incident: closed first, then opened', () => {
    const next = firing({ openedAt: at(90), firstSeenAt: at(90) })
    const plan = ask({ now: at(90), rows: [next], told: [toldOf(row)] })
    expect(plan.messages.map(({ transition, incidentAt }) => [transition, incidentAt])).toEqual([
      ['resolved', at(0)],
      ['opened', at(90)],
    ])
  })

  it('and whose end was never taken is not closed over the head of the next incident', () => {
    const next = firing({ openedAt: at(90), firstSeenAt: at(90) })
    const [older, newer] = [toldOf(row), toldOf(next, { calledAt: at(1600) })]
    expect(transitions(ask({ now: at(1600), rows: [next], told: [older, newer] }))).toEqual([])
    // With the newer one everything has ended, and it is said once for each.
    const over = { ...next, state: 'resolved', resolvedAt: at(1700) } as const
    const ends = ask({ now: at(1700), rows: [over], told: [older, newer] })
    expect(ends.messages.map(({ transition, incidentAt }) => [transition, incidentAt])).toEqual([['resolved', at(90)]])
    const last = ask({ now: at(1705), rows: [over], told: [older] })
    expect(last.messages.map(({ transition, incidentAt }) => [transition, incidentAt])).toEqual([['resolved', at(0)]])
    // What the provider refused is not open there.
    const refused = { ...newer, state: 'refused' } as const
    expect(transitions(ask({ now: at(1600), rows: [next], told: [older, refused] }))).toEqual(['pager resolved'])
  })

  it('needs no end where the provider refused the beginning', () => {
    const refused = toldOf(row, { state: 'refused' })
    expect(transitions(ask({ now: at(500), rows: [row], told: [refused] }))).toEqual([])
    const plan = ask({ now: at(500), rows: [resolved()], told: [refused] })
    expect(plan.messages).toEqual([])
    expect(plan.untold).toMatchObject([{ channel: 'pager', name: 'health/queue' }])
  })
})

describe('a channel', () => {
  const row = firing()

  it('that is no longer configured leaves dead letters', () => {
    const told = toldOf(row)
    const plan = ask({ rows: [row], told: [told], waiting: [waitingFor(told)], routing: routingOf([]) })
    expect(plan.dead).toEqual([{ id: 'waiting', reason: 'the channel is no longer configured' }])
    expect(plan.untold).toMatchObject([{ channel: 'pager' }])
  })

  it('that sends elsewhere now is told anew, and what waits for the old place is lost', () => {
    const before = ask({ rows: [row], routing: routingOf([pager({ target: 'old' })]) })
    const told = before.told[0]!
    const routing = routingOf([pager({ target: 'new' })])
    const plan = ask({ now: at(5), rows: [row], told: [told], waiting: [waitingFor(told)], routing })
    expect(transitions(plan)).toEqual(['pager opened'])
    expect(plan.dead).toMatchObject([{ id: 'waiting' }])
    expect(plan.told).toMatchObject([{ target: 'new' }])
    expect(plan.untold).toEqual([])
  })

  it('is not told that it does not deliver', () => {
    const own = firing({
      name: 'scheduler/alerts-undelivered/pager',
      task: undefined,
      findingKey: 'alerts-undelivered/pager',
    })
    expect(transitions(ask({ rows: [own], routing: routingOf([pager(), chat]) }))).toEqual(['chat opened'])
  })

  it('that wants everything in every run gets what fires, and what was resolved since it last took something', () => {
    const state: StateChannel = { kind: 'state', name: 'state', send: () => Promise.resolve({ outcome: 'delivered' }) }
    const routing = routingOf([state])
    const over = firing({ name: 'health/disk', state: 'resolved', resolvedAt: at(60) })
    const rows = [row, firing({ name: 'health/muted', silence: 'muted' }), over]
    expect(transitions(ask({ rows, routing }))).toEqual([])
    const told = stateFor(state, rows, routing, at(59))
    expect(told).toMatchObject({
      firing: [{ findingKey: 'queue' }],
      resolved: [{ transition: 'resolved', at: at(60) }],
    })
    expect(told?.firing).toHaveLength(1)
    expect(stateFor(state, rows, routing, at(61))?.resolved).toEqual([])
    expect(stateFor(state, [over], routing, at(61))).toBeUndefined()
    expect(hour).toBe(3_600_000)
  })
})
