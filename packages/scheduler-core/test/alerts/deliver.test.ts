import { FakeTimer } from './fake-timer.js'
import { describe, expect, it } from 'vitest'
import type { Delivery, DeliveryContext, DigestChannel, EachChannel } from '../../src/alerts/channel.js'
import { deliverMessages, sendUnstored, settlementOf, type DeliveryPass } from '../../src/alerts/deliver.js'
import type { NewMessage } from '../../src/alerts/plan-messages.js'
import { safeText } from '../../src/execute/safe-text.js'
import { MemoryAlertStore } from './memory-store.js'
import { at, minute } from './rows.js'

const silent = { trace() {}, debug() {}, info() {}, warn() {}, error() {} }
const noHttp = { get: never, post: never, send: never }
function never(): Promise<never> {
  return Promise.reject(new Error('no network here'))
}

const message = (channel: string, name: string, transition: NewMessage['transition'] = 'opened'): NewMessage => ({
  id: `${channel}-${name}-${transition}`,
  channel,
  name,
  incidentAt: at(0),
  transition,
  content: {
    key: name,
    task: 'health',
    findingKey: name,
    severity: 'error',
    summary: name,
    details: {},
    openedAt: at(0),
  },
  at: at(0),
})

function each(name: string, send: EachChannel['send'], poll?: EachChannel['poll']): EachChannel {
  return { kind: 'each', name, transitions: ['opened', 'resolved'], send, ...(poll === undefined ? {} : { poll }) }
}

function passOf(store: MemoryAlertStore, channels: DeliveryPass['channels'], timer = new FakeTimer()): DeliveryPass {
  return {
    store,
    channels,
    http: () => Promise.resolve(noHttp),
    now: () => at(0),
    expectedIntervalMs: 5 * minute,
    capMs: 5000,
    timer,
    signal: new AbortController().signal,
    random: () => 0.5,
    safe: safeText((text) => text.replaceAll('s3cret', '***')),
    logger: silent,
  }
}

async function storeWith(...messages: readonly NewMessage[]): Promise<MemoryAlertStore> {
  const store = new MemoryAlertStore(() => at(0))
  await store.insertMessages(messages)
  return store
}

describe('a pass', () => {
  it('delivers everything that waits, one at a time and in order', async () => {
    const store = await storeWith(message('pager', 'a'), message('pager', 'b'), message('pager', 'a', 'resolved'))
    const sent: string[] = []
    let atOnce = 0
    const pager = each('pager', async ({ id }) => {
      atOnce += 1
      expect(atOnce).toBe(1)
      await Promise.resolve()
      atOnce -= 1
      sent.push(id)
      return { outcome: 'delivered' }
    })
    await deliverMessages(passOf(store, [pager]))
    expect(sent).toEqual(['pager-a-opened', 'pager-b-opened', 'pager-a-resolved'])
    expect(store.messages).toEqual([])
  })

  it('leaves a channel alone after the first failure, and goes on with the others', async () => {
    const store = await storeWith(message('down', 'a'), message('down', 'b'), message('up', 'a'))
    const tried: string[] = []
    const down = each('down', ({ id }) => {
      tried.push(id)
      return Promise.reject(new Error('connect to https://user:s3cret@host failed'))
    })
    await deliverMessages(passOf(store, [down, each('up', () => Promise.resolve({ outcome: 'delivered' }))]))
    expect(tried).toEqual(['down-a-opened'])
    expect(store.messages.map(({ message: { id }, attempts, reason }) => [id, attempts, reason])).toEqual([
      ['down-a-opened', 1, 'connect to https://user:***@host failed'],
      ['down-b-opened', 0, undefined],
    ])
  })

  it('goes on after a refusal', async () => {
    const store = await storeWith(message('pager', 'a'), message('pager', 'b'))
    const answers: Delivery[] = [{ outcome: 'refused', reason: 'status 400' }, { outcome: 'delivered' }]
    await deliverMessages(passOf(store, [each('pager', () => Promise.resolve(answers.shift()!))]))
    expect(store.messages).toMatchObject([{ state: 'dead', reason: 'status 400' }])
  })

  it('ends with its time, whatever a channel does: the message is tried again, and a channel beside it was not kept waiting', async () => {
    const store = await storeWith(message('hangs', 'a'), message('up', 'a'))
    const timer = new FakeTimer()
    let context: DeliveryContext | undefined
    const hangs = each('hangs', (_, given) => {
      context = given
      return new Promise(() => undefined)
    })
    let upDone: () => void = () => undefined
    const up = new Promise<void>((resolve) => (upDone = resolve))
    const pass = deliverMessages(
      passOf(
        store,
        [
          hangs,
          each('up', () => {
            upDone()
            return Promise.resolve({ outcome: 'delivered' })
          }),
        ],
        timer,
      ),
    )
    await up
    timer.fire()
    await pass
    expect(context?.signal.aborted).toBe(true)
    expect(store.messages).toMatchObject([{ state: 'waiting', attempts: 1, leasedUntil: undefined }])
  })

  it('asks for what was only taken, and takes no answer for delivered where nothing can be asked', async () => {
    const store = await storeWith(message('asks', 'a'), message('trusts', 'a'))
    const asked: string[] = []
    const taken = () => Promise.resolve<Delivery>({ outcome: 'accepted', receipt: 'r-1' })
    const channels = [
      each('asks', taken, (receipt) => {
        asked.push(receipt)
        return Promise.resolve({ outcome: 'delivered' })
      }),
      each('trusts', taken),
    ]
    await deliverMessages(passOf(store, channels))
    expect(store.messages).toMatchObject([{ state: 'accepted' }, { state: 'accepted' }])
    expect(asked).toEqual([])
    store.messages = store.messages.map((stored) => ({ ...stored, nextAttemptAt: 0 }))
    await deliverMessages(passOf(store, channels))
    expect(asked).toEqual(['r-1'])
    expect(store.messages).toEqual([])
  })

  it('tells a digest channel everything at once', async () => {
    const store = await storeWith(message('chat', 'a'), message('chat', 'b'))
    const digests: string[][] = []
    const chat: DigestChannel = {
      kind: 'digest',
      name: 'chat',
      transitions: ['opened'],
      send: (_, messages) => {
        digests.push(messages.map(({ id }) => id))
        return Promise.resolve({ outcome: 'delivered' })
      },
    }
    await deliverMessages(passOf(store, [chat]))
    expect(digests).toEqual([['chat-a-opened', 'chat-b-opened']])
    expect(store.messages).toEqual([])
  })

  it('is not ended by a database that fails', async () => {
    const store = await storeWith(message('pager', 'a'))
    store.claimNext = () => Promise.reject(new Error('connection lost'))
    await deliverMessages(passOf(store, [each('pager', () => Promise.resolve({ outcome: 'delivered' }))]))
    expect(store.messages).toHaveLength(1)
  })
})

describe('the next attempt', () => {
  const after = (attempts: number, afterMs?: number, random = 0.5) =>
    settlementOf({ outcome: 'retry', reason: 'no', ...(afterMs === undefined ? {} : { afterMs }) }, attempts, {
      expectedIntervalMs: 5 * minute,
      random: () => random,
    })

  it('is made after a minute, twice that, up to half an hour, a fifth more or less', () => {
    expect([1, 2, 3, 6, 60].map((attempts) => after(attempts))).toMatchObject(
      [1, 2, 4, 30, 30].map((minutes) => ({ afterMs: minutes * minute, holdMs: undefined })),
    )
    expect([after(1, undefined, 0), after(1, undefined, 1)]).toMatchObject([{ afterMs: 48_000 }, { afterMs: 72_000 }])
  })

  it('is not made before the provider wants it, of no message of the channel', () => {
    expect(after(1, 10 * minute)).toMatchObject({ afterMs: 10 * minute, holdMs: 10 * minute })
    expect(after(6, minute)).toMatchObject({ afterMs: 30 * minute, holdMs: minute })
  })
})

it('what nothing is stored of is sent beside each other, and each is told apart', async () => {
  const pass = passOf(await storeWith(), [])
  const results = await sendUnstored(pass, [
    { name: 'good', send: () => Promise.resolve({ outcome: 'delivered' }) },
    { name: 'bad', send: () => Promise.reject(new Error('no')) },
  ])
  expect(results).toEqual([
    { name: 'good', delivery: { outcome: 'delivered' } },
    { name: 'bad', delivery: { outcome: 'retry', reason: 'no' } },
  ])
})
