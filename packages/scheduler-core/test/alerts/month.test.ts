import { describe, expect, it } from 'vitest'
import type { AlertStore } from '../../src/alerts/alert-store.js'
import { createWorld } from '../support.js'
import { pairOf, type MemoryAlertStore } from './memory-store.js'
import { memoryBackend, runsOfMonth, simulateMonth } from './month.js'
import { postgresBackend } from './postgres-backend.js'

const seeds = [1, 2, 3, 4, 5, 6]

/** A store that does one thing otherwise. */
function but(store: MemoryAlertStore, other: Partial<AlertStore>): AlertStore {
  return new Proxy<AlertStore>(store, {
    get: (target, name) => {
      const value = (Reflect.get(other, name) ?? Reflect.get(target, name)) as unknown
      return typeof value === 'function' ? (value.bind(target) as unknown) : value
    },
  })
}

const bugs: readonly (readonly [string, (store: MemoryAlertStore) => AlertStore])[] = [
  [
    'a failed attempt counts as delivered',
    (store) =>
      but(store, {
        settle: (messages, settlement) =>
          store.settle(messages, settlement.outcome === 'retry' ? { outcome: 'delivered' } : settlement),
      }),
  ],
  [
    'what a channel was told is forgotten',
    (store) =>
      but(store, {
        evaluate: (plan) =>
          store.evaluate((reading) => {
            const changes = plan(reading)
            return changes === undefined ? undefined : { ...changes, messages: { ...changes.messages, told: [] } }
          }),
      }),
  ],
  ['messages never get too old', (store) => but(store, { expire: async () => 0 })],
  [
    'a call counts from when it was written, not from when it was taken',
    (store) =>
      but(store, {
        settle: async (messages, settlement) => {
          await store.settle(messages, settlement)
          for (const message of messages) {
            const told = store.told.get(pairOf(message))
            if (told?.calledAt !== undefined) store.told.set(pairOf(message), { ...told, calledAt: told.toldAt })
          }
        },
      }),
  ],
  [
    'a failed run says that all is well',
    (store) =>
      but(store, {
        read: async () => {
          const reading = await store.read()
          return { ...reading, evidence: reading.evidence.map((run) => ({ ...run, outcome: 'succeeded' })) }
        },
        evaluate: (plan) =>
          store.evaluate((reading) =>
            plan({ ...reading, evidence: reading.evidence.map((run) => ({ ...run, outcome: 'succeeded' as const })) }),
          ),
      }),
  ],
  [
    'one message in twenty is not written',
    (store) => {
      let count = 0
      return but(store, {
        evaluate: (plan) =>
          store.evaluate((reading) => {
            const changes = plan(reading)
            if (changes === undefined) return undefined
            const messages = changes.messages.messages.filter(() => (count += 1) % 20 !== 0)
            return { ...changes, messages: { ...changes.messages, messages } }
          }),
      })
    },
  ],
  ['the end of an outage is not told', (store) => but(store, { insertMessages: async () => undefined })],
]

describe(`a month of ${runsOfMonth} runs, with outages of provider, chat, PostgreSQL and scheduler`, () => {
  it.each(seeds)('opens and closes every incident once (seed %i)', async (seed) => {
    const month = await simulateMonth({ seed })
    expect(month.violations).toEqual([])
    expect(month.incidents.length).toBeGreaterThan(30)
    expect(month.crashes).toBeGreaterThan(50)
    // Outages may fall into each other.
    expect(month.databaseOutages).toBeGreaterThanOrEqual(1)
    expect(month.pages).toBeGreaterThan(month.incidents.length / 2)
  })

  it.each(bugs)('would notice that %s', async (_, breakStore) => {
    const found: string[] = []
    for (const seed of seeds) {
      const { violations } = await simulateMonth({ seed, backend: (now) => memoryBackend(now, breakStore) })
      found.push(...violations)
      if (found.length > 0) break
    }
    expect(found.length).toBeGreaterThan(0)
  })
})

describe('two days on PostgreSQL', () => {
  it('keep the same promises', async () => {
    const world = await createWorld()
    try {
      const backend = (now: () => Date) => postgresBackend(world, now)
      const month = await simulateMonth({ seed: 11, days: 2, backend })
      expect(month.violations).toEqual([])
      expect(month.incidents.length).toBeGreaterThan(3)
    } finally {
      await world.close()
    }
  })
})
