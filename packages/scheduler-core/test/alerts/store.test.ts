/** The store of alerts: PostgreSQL's, and the one in memory that stands for it in long simulations, by the same contract. */
import { sql } from 'kysely'
import { randomUUID } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { AlertChanges, AlertStore } from '../../src/alerts/alert-store.js'
import type { AlertRow } from '../../src/alerts/plan-alerts.js'
import type { NewChangeMessage, NewMessage, ToldRow } from '../../src/alerts/plan-messages.js'
import { PostgresAlertStore } from '../../src/state/alert-store.js'
import { createWorld, type World } from '../support.js'
import { MemoryAlertStore } from './memory-store.js'
import { after, at, finding, hour, looked, minute } from './rows.js'

let now = at(0)
let world: World | undefined
let store: AlertStore

const row = (): AlertRow => after([looked(0, [finding({ dependsOn: ['x'], details: { a: [1] } })])])[0]![0]!
const content = () => {
  const { key, task, findingKey, severity, summary, details } = row()
  return { key, task, findingKey, severity, summary, details, openedAt: at(0) }
}
const message = (change: Partial<NewMessage> = {}): NewMessage => ({
  id: randomUUID(),
  channel: 'pager',
  name: 'health/queue',
  incidentAt: at(0),
  transition: 'opened',
  content: content(),
  at: at(0),
  ...change,
})
const told = (change: Partial<ToldRow> = {}): ToldRow => ({
  channel: 'pager',
  name: 'health/queue',
  incidentAt: at(0),
  state: 'open',
  content: content(),
  calledSeverity: 'error',
  toldAt: at(0),
  calledAt: undefined,
  target: 'a',
  ...change,
})
const changes = (change: Partial<AlertChanges['messages']> = {}, rows: readonly AlertRow[] = []): AlertChanges => ({
  alerts: { rows, changed: rows, forgotten: [], transitions: [] },
  messages: { messages: [], rewritten: [], told: [], untold: [], dead: [], ...change },
  changes: { messages: [], taken: [] },
  evaluated: [],
})

describe.each(['PostgreSQL', 'memory'])('the store in %s', (kind) => {
  beforeEach(async () => {
    now = at(0)
    if (kind === 'memory') {
      store = new MemoryAlertStore(() => now)
      return
    }
    world = await createWorld()
    store = new PostgresAlertStore(world.connections, 'scheduler', { now: () => sql<Date>`${now}::timestamptz` })
  })
  afterEach(async () => {
    await world?.close()
    world = undefined
  })

  it('gives back what was written', async () => {
    await store.evaluate(() => changes({ messages: [message()], told: [told()] }, [row()]))
    const reading = await store.read()
    expect(reading).toMatchObject({ now: at(0), rows: [row()], told: [told()], evidence: [] })
    expect(reading.waiting).toMatchObject([{ name: 'health/queue', transition: 'opened', untouched: true, at: at(0) }])
    expect(reading.channels).toMatchObject([{ channel: 'pager', waiting: 1, deadLetters: 0, oldestWaitingAt: at(0) }])
    await store.evaluate(() => ({
      ...changes({ untold: [told()] }),
      alerts: { ...changes().alerts, forgotten: ['health/queue'] },
    }))
    expect(await store.read()).toMatchObject({ rows: [], told: [] })
  })

  it('changes nothing when the plan says so, or fails', async () => {
    expect(await store.evaluate(() => undefined)).toBeUndefined()
    await expect(
      store.evaluate(() => {
        throw new Error('a plan')
      }),
    ).rejects.toThrow('a plan')
    expect(await store.read()).toMatchObject({ rows: [], waiting: [] })
  })

  it('gives changes after alerts, whatever came first, and to no digest', async () => {
    const content = { task: 'backup', changeKey: 'completed', slotId: 's', summary: 'done', details: {}, links: [] }
    const done: NewChangeMessage = {
      ...message(),
      id: randomUUID(),
      name: 'backup/completed',
      transition: 'completed',
      content,
    }
    await store.insertMessages([done, message()])
    expect(await store.claimNext('pager', minute)).toMatchObject({ name: 'health/queue', transition: 'opened' })
    const claimed = await store.claimNext('pager', minute)
    expect(claimed).toMatchObject({ id: done.id, transition: 'completed', change: content, attempts: 1 })
    await store.insertMessages([{ ...done, id: randomUUID(), channel: 'chat' }])
    expect(await store.claimDigest('chat', minute)).toBeUndefined()
    await store.settle([claimed!], { outcome: 'dead', reason: 'status 400' })
    expect((await store.read()).channels).toContainEqual(
      expect.objectContaining({ channel: 'pager', waiting: 1, deadLetters: 1, lastDeadReason: 'status 400' }),
    )
    now = at(10 * 60)
    expect(await store.expire(hour)).toBe(2)
  })

  it('keeps a message that is there, whoever inserts it again', async () => {
    const twice = message()
    await store.insertMessages([twice])
    await store.insertMessages([{ ...twice, transition: 'resolved' }])
    expect((await store.read()).waiting).toMatchObject([{ id: twice.id, transition: 'opened' }])
  })

  it('hands out the messages of one alert in order, one at a time, and those of another beside them', async () => {
    const [first, second, other] = [message(), message({ transition: 'resolved' }), message({ name: 'health/disk' })]
    await store.insertMessages([first, second, other])
    const one = await store.claimNext('pager', minute)
    expect(one).toMatchObject({ id: first.id, attempts: 1, alert: content(), receipt: undefined })
    expect(await store.claimNext('pager', minute)).toMatchObject({ id: other.id })
    expect(await store.claimNext('pager', minute)).toBeUndefined()
    expect(await store.claimNext('chat', minute)).toBeUndefined()
    await store.settle([one!], { outcome: 'delivered' })
    expect(await store.claimNext('pager', minute)).toMatchObject({ id: second.id })
  })

  it('hands out a message again once its lease is over, under the same id; the late answer then changes nothing', async () => {
    await store.evaluate(() => changes({ messages: [message()], told: [told()] }))
    const late = await store.claimNext('pager', minute)
    now = at(2)
    const again = await store.claimNext('pager', minute)
    expect(again).toMatchObject({ id: late!.id, attempts: 2 })
    await store.settle([late!], { outcome: 'dead', reason: 'late' })
    await store.settle([late!], { outcome: 'delivered' })
    expect((await store.read()).waiting).toHaveLength(1)
    await store.settle([again!], { outcome: 'delivered' })
    expect(await store.read()).toMatchObject({ waiting: [], told: [{ calledAt: at(2) }] })
  })

  it('counts a call from its delivery, and a change as none', async () => {
    await store.evaluate(() =>
      changes({ messages: [message({ transition: 'changed' })], told: [told({ calledAt: at(-60) })] }),
    )
    await store.settle([(await store.claimNext('pager', minute))!], { outcome: 'delivered' })
    expect((await store.read()).told).toMatchObject([{ calledAt: at(-60) }])
    await store.insertMessages([message({ transition: 'reminded' })])
    now = at(3)
    await store.settle([(await store.claimNext('pager', minute))!], { outcome: 'delivered' })
    expect((await store.read()).told).toMatchObject([{ calledAt: at(3) }])
  })

  it('forgets what a channel was told when the end was delivered', async () => {
    await store.evaluate(() =>
      changes({ messages: [message({ transition: 'resolved' })], told: [told({ state: 'closing' })] }),
    )
    await store.settle([(await store.claimNext('pager', minute))!], { outcome: 'delivered' })
    expect((await store.read()).told).toEqual([])
  })

  it('waits after a failed attempt, and leaves the whole channel alone when the provider asks for it', async () => {
    await store.insertMessages([message(), message({ name: 'health/disk' })])
    await store.settle([(await store.claimNext('pager', minute))!], {
      outcome: 'retry',
      reason: 'status 503',
      afterMs: 4 * minute,
      holdMs: undefined,
    })
    const other = await store.claimNext('pager', minute)
    expect(other).toMatchObject({ name: 'health/disk' })
    await store.settle([other!], { outcome: 'retry', reason: 'status 429', afterMs: minute, holdMs: 10 * minute })
    now = at(5)
    expect(await store.claimNext('pager', minute)).toBeUndefined()
    expect((await store.read()).channels).toMatchObject([{ lastFailure: 'status 429', lastFailureAt: at(0) }])
    now = at(10)
    expect(await store.claimNext('pager', minute)).toMatchObject({ name: 'health/queue', attempts: 2 })
  })

  it('asks later what became of a message that was only taken, and holds back what follows', async () => {
    await store.insertMessages([message(), message({ transition: 'resolved' })])
    const first = await store.claimNext('pager', minute)
    await store.settle([first!], { outcome: 'accepted', receipt: 'r-1', afterMs: minute })
    expect(await store.claimNext('pager', minute)).toBeUndefined()
    now = at(1)
    const asked = await store.claimNext('pager', minute)
    expect(asked).toMatchObject({ id: first!.id, receipt: 'r-1' })
    await store.settle([asked!], { outcome: 'delivered' })
    expect(await store.claimNext('pager', minute)).toMatchObject({ transition: 'resolved' })
  })

  it('hands out what nobody has taken before the questions about what was taken', async () => {
    const [taken, fresh] = [message(), message({ name: 'health/disk' })]
    await store.insertMessages([taken])
    const first = await store.claimNext('pager', minute)
    await store.settle([first!], { outcome: 'accepted', receipt: 'r-1', afterMs: 0 })
    await store.insertMessages([fresh])
    expect(await store.claimNext('pager', minute)).toMatchObject({ id: fresh.id })
    expect(await store.claimNext('pager', minute)).toMatchObject({ id: taken.id, receipt: 'r-1' })
  })

  it('makes a dead letter of what is refused, with all that would follow', async () => {
    await store.evaluate(() =>
      changes({
        messages: [message(), message({ transition: 'resolved' }), message({ incidentAt: at(60) })],
        told: [told({ state: 'closing' })],
      }),
    )
    await store.settle([(await store.claimNext('pager', minute))!], { outcome: 'dead', reason: 'status 400' })
    const reading = await store.read()
    expect(reading.told).toMatchObject([{ state: 'refused' }])
    expect(reading.waiting).toMatchObject([{ incidentAt: at(60) }])
    expect(reading.channels).toMatchObject([{ deadLetters: 1, newestDeadAt: at(0), lastDeadReason: 'status 400' }])
  })

  it('lets messages get too old: an opening is forgotten, an end is to be told anew', async () => {
    const opened = message({ at: at(-60) })
    const resolved = message({ name: 'health/disk', transition: 'resolved', at: at(-60) })
    await store.evaluate(() =>
      changes({
        messages: [opened, resolved, message({ name: 'health/new' })],
        told: [told(), told({ name: 'health/disk', state: 'closing' })],
      }),
    )
    expect(await store.expire(hour + 1)).toBe(0)
    expect(await store.expire(hour)).toBe(2)
    const reading = await store.read()
    expect(reading.waiting).toMatchObject([{ name: 'health/new' }])
    expect(reading.told).toMatchObject([{ name: 'health/disk', state: 'open' }])
  })

  it('lets people be called again when a call got lost', async () => {
    await store.evaluate(() =>
      changes({
        messages: [
          message({ transition: 'reminded', at: at(-60) }),
          message({ name: 'health/disk', transition: 'raised' }),
        ],
        told: [told(), told({ name: 'health/disk' })],
      }),
    )
    await store.expire(hour)
    await store.settle([(await store.claimNext('pager', minute))!], { outcome: 'dead', reason: 'status 400' })
    const calls = (await store.read()).told.map(({ name, calledAt }) => [name, calledAt])
    expect(Object.fromEntries(calls)).toEqual({ 'health/queue': at(-60), 'health/disk': at(0) })
  })

  it('lets nothing get too old that is on its way at this moment', async () => {
    await store.insertMessages([message({ at: at(-60) })])
    await store.claimNext('pager', minute)
    expect(await store.expire(hour)).toBe(0)
    now = at(1)
    expect(await store.expire(hour)).toBe(1)
  })

  it('hands out a digest whole, and the same again under the same id after a failure; what is new waits for the next', async () => {
    await store.insertMessages([message(), message({ name: 'health/disk' })])
    const digest = await store.claimDigest('pager', minute)
    expect(digest?.messages.map(({ name }) => name)).toEqual(['health/queue', 'health/disk'])
    expect(await store.claimDigest('pager', minute)).toBeUndefined()
    await store.settle(digest!.messages, { outcome: 'retry', reason: 'no', afterMs: minute, holdMs: undefined })
    await store.insertMessages([message({ name: 'health/new' })])
    expect(await store.claimDigest('pager', minute)).toBeUndefined()
    now = at(1)
    const again = await store.claimDigest('pager', minute)
    expect(again).toMatchObject({ id: digest!.id, messages: [{ attempts: 2 }, { attempts: 2 }] })
    await store.settle(again!.messages, { outcome: 'delivered' })
    const next = await store.claimDigest('pager', minute)
    expect(next?.id).not.toBe(digest!.id)
    expect(next?.messages.map(({ name }) => name)).toEqual(['health/new'])
  })

  it('rewrites what nobody has tried to deliver, and buries what never can be', async () => {
    const [first, second] = [message(), message({ name: 'health/disk' })]
    await store.insertMessages([first, second])
    await store.evaluate(() =>
      changes({
        rewritten: [{ id: first.id, transition: 'raised', content: { ...content(), summary: 'worse' } }],
        dead: [{ id: second.id, reason: 'gone' }],
      }),
    )
    expect(await store.claimNext('pager', minute)).toMatchObject({ transition: 'raised', alert: { summary: 'worse' } })
    expect((await store.read()).channels).toMatchObject([{ deadLetters: 1, lastDeadReason: 'gone' }])
  })
})

describe('two processes on PostgreSQL', () => {
  let shared: World
  beforeEach(async () => {
    shared = await createWorld()
  })
  afterEach(() => shared.close())

  it('never hold the same message, and deliver each once', async () => {
    const stores = [0, 1].map(() => new PostgresAlertStore(shared.connections, 'scheduler'))
    const names = Array.from({ length: 20 }, (_, index) => `health/${index}`)
    await stores[0]!.insertMessages(
      names.flatMap((name) => [message({ name }), message({ name, transition: 'resolved' })]),
    )
    const sent: string[] = []
    const work = async (mine: PostgresAlertStore) => {
      for (let idle = 0; idle < 3;) {
        const next = await mine.claimNext('pager', hour)
        if (next === undefined) {
          idle += 1
          continue
        }
        sent.push(`${next.name} ${next.transition}`)
        await mine.settle([next], { outcome: 'delivered' })
      }
    }
    await Promise.all(stores.map(work))
    expect([...sent].sort()).toEqual(names.flatMap((name) => [`${name} opened`, `${name} resolved`]).sort())
    for (const name of names) expect(sent.indexOf(`${name} opened`)).toBeLessThan(sent.indexOf(`${name} resolved`))
  })

  it('open an alert once although both evaluate at once', async () => {
    const stores = [0, 1].map(() => new PostgresAlertStore(shared.connections, 'scheduler'))
    const plans = stores.map((mine) =>
      mine.evaluate((reading) => (reading.rows.length > 0 ? undefined : changes({ messages: [message()] }, [row()]))),
    )
    expect((await Promise.all(plans)).filter((made) => made !== undefined)).toHaveLength(1)
    expect((await stores[0]!.read()).waiting).toHaveLength(1)
  })
})
