/** What one run leaves for the next: how far the slot has come, and what was learned. Pure. */
import { z } from 'zod'
import { horizonsOf, type Horizons, type Policy } from './policy.js'

const progress = z.object({
  /** Rows of the policy's relation, and with those of its children. */
  parents: z.number(),
  rows: z.number(),
  /** Batches whose rows stayed, because they changed or the store failed. */
  discarded: z.number(),
  /** Nothing is left to do in this slot. */
  finished: z.boolean(),
})

/** Of one policy in the current slot. */
export type PolicyProgress = z.output<typeof progress>

export const cursorSchema = z.object({
  slotId: z.string(),
  slotAt: z.iso.datetime(),
  /** Fixed by the first run of the slot, by policy. */
  horizons: z.record(z.string(), z.iso.datetime()),
  progress: z.record(z.string(), progress),
  /** Over slots. How many of them in a row a policy deleted nothing although rows had expired. */
  stuck: z.record(z.string(), z.number()),
  /** Over slots. Rows of a statement or batch, see sizes.ts. */
  sizes: z.record(z.string(), z.number()),
  /** Over slots. How often the build of an index was begun, by its name. */
  indexTries: z.record(z.string(), z.number()),
  /** Over slots. Rows per second, children included, by policy. */
  rates: z.record(z.string(), z.number()),
})

export type Cursor = z.output<typeof cursorSchema>

const noProgress: PolicyProgress = { parents: 0, rows: 0, discarded: 0, finished: false }

/**
 * The cursor of this slot: as saved, or a new one with horizons of its own that knows what the slots before learned. A policy that was
 * configured in the middle of a slot gets its horizon from the same instant.
 */
export function beginSlot(
  saved: Cursor | undefined,
  slot: { readonly id: string; readonly scheduledAt: Date },
  policies: readonly Policy[],
): Cursor {
  const same = saved?.slotId === slot.id ? saved : undefined
  const slotAt = same === undefined ? slot.scheduledAt : new Date(same.slotAt)
  const { byPolicy } = horizonsOf(policies, slotAt)
  const fresh = Object.fromEntries(Object.entries(byPolicy).map(([name, at]) => [name, at.toISOString()]))
  if (same !== undefined) return { ...same, horizons: { ...fresh, ...same.horizons } }
  const known = new Set(policies.map(({ name }) => name))
  return {
    slotId: slot.id,
    slotAt: slotAt.toISOString(),
    horizons: fresh,
    progress: {},
    stuck: Object.fromEntries(Object.entries(saved?.stuck ?? {}).filter(([name]) => known.has(name))),
    sizes: saved?.sizes ?? {},
    rates: saved?.rates ?? {},
    indexTries: saved?.indexTries ?? {},
  }
}

export function horizonsIn(cursor: Cursor): Horizons {
  return {
    slotAt: new Date(cursor.slotAt),
    byPolicy: Object.fromEntries(Object.entries(cursor.horizons).map(([name, at]) => [name, new Date(at)])),
  }
}

export function progressOf(cursor: Cursor, policy: string): PolicyProgress {
  return cursor.progress[policy] ?? noProgress
}

export function withProgress(cursor: Cursor, policy: string, change: Partial<PolicyProgress>): Cursor {
  return { ...cursor, progress: { ...cursor.progress, [policy]: { ...progressOf(cursor, policy), ...change } } }
}

/** A rate is carried on for the larger part: one batch under load says little of the next slot. */
const rateShare = 0.3

export function withRate(cursor: Cursor, policy: string, rows: number, tookMs: number): Cursor {
  if (rows === 0 || tookMs <= 0) return cursor
  const measured = (rows / tookMs) * 1000
  const before = cursor.rates[policy]
  const rate = before === undefined ? measured : before + (measured - before) * rateShare
  return { ...cursor, rates: { ...cursor.rates, [policy]: rate } }
}

/** At the end of a slot: `expired` says whether rows of the policy had expired. */
export function withSlotEnded(cursor: Cursor, policy: string, { expired }: { readonly expired: boolean }): Cursor {
  const { parents } = progressOf(cursor, policy)
  const count = expired && parents === 0 ? (cursor.stuck[policy] ?? 0) + 1 : 0
  return { ...withProgress(cursor, policy, { finished: true }), stuck: { ...cursor.stuck, [policy]: count } }
}
