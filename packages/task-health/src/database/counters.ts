/** What grows too fast, by the difference of two readings. Pure. */
import { z } from 'zod'
import type { Counters } from './server-queries.js'

export const countersSchema = z.object({
  atMs: z.number(),
  resetAt: z.string(),
  blocksRead: z.number(),
  blocksHit: z.number(),
  deadlocks: z.number(),
  temporaryBytes: z.number(),
  checkpointsTimed: z.number(),
  checkpointsRequested: z.number(),
  checkpointsResetAt: z.string(),
  blockBytes: z.number(),
})

export interface Growth {
  readonly elapsedMs: number
  readonly readBytesPerSecond: number
  /** Of all blocks that were asked for, those that were not in shared buffers. */
  readonly missRatio: number
}

/** Undefined when the two cannot be compared: the counters were reset, or a crash has lost them. */
export function growthBetween(before: Counters | undefined, now: Counters): Growth | undefined {
  if (before === undefined || before.resetAt !== now.resetAt) return undefined
  const elapsedMs = now.atMs - before.atMs
  const read = now.blocksRead - before.blocksRead
  const hit = now.blocksHit - before.blocksHit
  if (elapsedMs <= 0 || read < 0 || hit < 0) return undefined
  return {
    elapsedMs,
    readBytesPerSecond: (read * now.blockBytes * 1000) / elapsedMs,
    missRatio: read + hit === 0 ? 0 : read / (read + hit),
  }
}

/** A day, after which half of an older average is forgotten. */
const halfLifeMs = 86_400_000
/** One reading counts at most this many times the average: a scan at night must not make the next one look usual. */
const mostInfluence = 4

export interface Average {
  readonly perSecond: number
  /** Time that it stands for. */
  readonly overMs: number
}

/** An average that forgets, of what was read per second. */
export function averageWith(average: Average | undefined, growth: Growth): Average {
  if (average === undefined) return { perSecond: growth.readBytesPerSecond, overMs: growth.elapsedMs }
  const bounded = Math.min(growth.readBytesPerSecond, Math.max(average.perSecond, 1) * mostInfluence)
  const byAge = 1 - 0.5 ** (growth.elapsedMs / halfLifeMs)
  // While it is young, every reading counts the same.
  const weight = Math.max(byAge, growth.elapsedMs / (average.overMs + growth.elapsedMs))
  return {
    perSecond: average.perSecond + weight * (bounded - average.perSecond),
    overMs: average.overMs + growth.elapsedMs,
  }
}
