/**
 * Weeks of killmails, minute by minute, with the rhythm and the noise of real ones.
 *
 * Measured on 2 000 killmails of one region from 26 January to 16 February 2014 (21 whole days): the share of every hour of day and of
 * every weekday, with the daily downtime at 11 h, and the sizes of groups that are killed together. The variance of that region's hours
 * is 4.6 times their mean (its five minutes: 2.2 times); groups of those sizes have 4.5. All of New Eden has 15 200 killmails a day
 * (documented), a sum over many regions: what moves all of them at once is not in that data, and assumed: days differ by 8 %, hours by
 * another 6 % (standard deviations), beside the rhythm.
 */

/** Killmails by hour of day, UTC. */
export const hours = [
  93, 64, 29, 58, 58, 41, 67, 40, 46, 41, 37, 17, 88, 75, 85, 77, 103, 107, 160, 164, 160, 131, 140, 119,
]
/** Killmails per day, from Sunday on. */
export const weekdays = [103, 68, 91, 74, 98, 86, 112]
/** Percent of groups, by how many killmails they have. */
export const groupSizes: readonly (readonly [number, number, number])[] = [
  [1, 1, 41.5],
  [2, 2, 39.3],
  [3, 3, 6],
  [4, 4, 5.7],
  [5, 5, 2.6],
  [6, 6, 1.3],
  [7, 7, 0.9],
  [8, 10, 1.8],
  [11, 15, 0.2],
  [16, 30, 0.7],
]
export const groupMean = 2.23
export const killmailsPerDay = 15_200
const minuteMs = 60_000
/** A Sunday. */
const startMs = Date.UTC(2026, 0, 4)

export type Random = () => number

/** mulberry32: small, good enough, and the same everywhere. */
export function randomOf(seed: number): Random {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

export function normal(random: Random): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())
}

function poisson(random: Random, mean: number): number {
  if (mean > 50) return Math.max(0, Math.round(mean + Math.sqrt(mean) * normal(random)))
  const limit = Math.exp(-mean)
  let count = 0
  for (let product = random(); product > limit; product *= random()) count++
  return count
}

/** Whole groups lost at random leave `half`. */
export interface Feed {
  readonly full: Int32Array
  readonly half: Int32Array
}

/** Killmails by minute. */
export interface FeedOptions {
  readonly perDay?: number
  /** Each by itself, as battles come, instead of in groups. */
  readonly single?: boolean
}

export function simulateFeed(seed: number, weeks: number, options: FeedOptions = {}): Feed {
  const { perDay = killmailsPerDay, single = false } = options
  const mean = single ? 1 : groupMean
  const random = randomOf(seed)
  const minutes = weeks * 7 * 1440
  const feed = { full: new Int32Array(minutes), half: new Int32Array(minutes) }
  let slow = 0
  for (let hour = 0; hour < weeks * 168; hour++) {
    slow = slow * slowMemory + Math.sqrt(1 - slowMemory ** 2) * normal(random)
    const activity = Math.exp(0.08 * slow + 0.06 * normal(random))
    for (let minute = hour * 60; minute < (hour + 1) * 60; minute++) {
      const groups = poisson(random, (perDay / 1440 / mean) * activity * rhythm(minute))
      for (let group = 0; group < groups; group++) addGroup(feed, random, minute, single)
    }
  }
  return feed
}

/** Of one hour: busy and quiet times last about a day. */
const slowMemory = Math.exp(-1 / 24)

/** Around 1. Between the middles of two hours, and of two days, it goes straight from one to the other. */
function rhythm(minute: number): number {
  return between(hours, minute / 60 - 0.5) * between(weekdays, minute / 1440 - 0.5)
}

function between(shares: readonly number[], at: number): number {
  const share = (index: number): number => shares[((index % shares.length) + shares.length) % shares.length] ?? 0
  const first = Math.floor(at)
  return ((share(first) + (share(first + 1) - share(first)) * (at - first)) * shares.length) / sum(shares)
}

/** The server is away from 11:00 on, mostly for a few minutes, at times for more. */
function addGroup(feed: Feed, random: Random, first: number, single: boolean): void {
  const kept = random() < 0.5
  const size = single ? 1 : drawSize(random)
  for (let one = 0; one < size; one++) {
    const minute = first + Math.floor(random() * 20) - 10
    if (minute < 0 || minute >= feed.full.length || isDown(minute)) continue
    feed.full[minute]! += 1
    if (kept) feed.half[minute]! += 1
  }
}

function isDown(minute: number): boolean {
  const day = Math.floor(minute / 1440)
  const lasts = 5 + Math.floor(25 * randomOf(day)())
  const since = (minute % 1440) - 660
  return since >= 0 && since < lasts
}

function drawSize(random: Random): number {
  let percent = random() * 100
  for (const [from, to, share] of groupSizes) {
    if (percent < share) return from + Math.floor(random() * (to - from + 1))
    percent -= share
  }
  return 1
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, one) => total + one, 0)
}

/** Killmails per hour, in each slot of five minutes. */
export function slotsOf(minutes: Int32Array): { startMs: number; value: number }[] {
  return Array.from({ length: minutes.length / 5 }, (_, index) => ({
    startMs: startMs + index * 5 * minuteMs,
    value: 12 * minutes.subarray(index * 5, index * 5 + 5).reduce((total, one) => total + one, 0),
  }))
}
