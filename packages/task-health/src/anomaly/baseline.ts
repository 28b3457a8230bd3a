/**
 * What a metric usually is at this hour of the week, from the last few weeks.
 *
 * A *slot* is five minutes, a *bucket* one of the 168 hours of the week (UTC, from Sunday 00:00 on, as `getUTCDay` counts), and its
 * *values* are what that hour came to in each of the last weeks, oldest first. Median and median absolute deviation of so few values
 * need no distribution, and half of the weeks may be odd before they move. Values are rates per hour, or levels: never sums over however
 * long a run was late.
 */

export const slotMs = 300_000
export const hourMs = 3_600_000
export const slotsPerHour = hourMs / slotMs
const hoursPerWeek = 168

/** Weeks that a bucket remembers. Ten outvote four odd ones, and forget a season within a quarter. */
export const valuesPerBucket = 10

/** By hour of week; a bucket that was never filled is absent. */
export type Baseline = ReadonlyMap<number, readonly number[]>

export function hourOfWeek(atMs: number): number {
  const at = new Date(atMs)
  return at.getUTCDay() * 24 + at.getUTCHours()
}

/** The value and those before it, the oldest left out when there are too many. */
export function withValue(values: readonly number[], value: number): readonly number[] {
  return [...values, value].slice(-valuesPerBucket)
}

/** What follows from a baseline: made once, asked for every slot. */
export interface Expectation {
  /** What is usual at that time; undefined before so many weeks of its hour were seen. */
  usualAt(atMs: number): number | undefined
  /**
   * How far an hour is from the usual, as a standard deviation of the logarithm of the ratio: at 0.2 one third of the hours are off by
   * more than a fifth. Over the same hour of every day and its two neighbours, for one bucket has too few values, while hours of the
   * same time of day are alike in level and therefore in noise.
   */
  spreadAt(atMs: number): number
}

/** So many weeks of its own weigh as much as what the other days say about an hour. */
const borrowedWeeks = 4
/** So regular no metric is. */
const leastSpread = 0.08
/** The standard deviation of a normal distribution in units of its median absolute deviation. */
const normalMad = 1.4826

export function expectationOf(baseline: Baseline, warmUpWeeks: number): Expectation {
  const usualOf = smoothed(baseline, warmUpWeeks)
  const middles = middlesOf(usualOf)
  const middleAt = (atMs: number): number | undefined => middles.get(hourOfWeek(atMs))
  const spreads = new Map<number, number>()
  return {
    usualAt(atMs) {
      const own = middleAt(atMs)
      if (own === undefined) return undefined
      // The rhythm doubles within an hour at times, and steps would make the first minutes look low.
      const fromMiddle = ((atMs % hourMs) + slotMs / 2) / hourMs - 0.5
      const neighbour = middleAt(atMs + Math.sign(fromMiddle) * hourMs) ?? own
      return own + (neighbour - own) * Math.abs(fromMiddle)
    },
    spreadAt(atMs) {
      const hour = hourOfWeek(atMs) % 24
      const known = spreads.get(hour) ?? spreadOf(baseline, usualOf, hour)
      spreads.set(hour, known)
      return known
    },
  }
}

/**
 * The median of every hour of the week, drawn towards what the same hour is on the other days: with a handful of weeks a median is off
 * by as much as a third of what is to be found. Days have their own level and share one shape, which is nearly so; the more weeks an
 * hour has of its own, the less the others count.
 */
function smoothed(baseline: Baseline, warmUpWeeks: number): ReadonlyMap<number, number> {
  const medians = new Map<number, number>()
  for (const [hour, values] of baseline) if (values.length >= warmUpWeeks) medians.set(hour, median(values))
  const levelOfDay = Array.from({ length: 7 }, (_, day) =>
    mean(range(24).flatMap((hour) => medians.get(day * 24 + hour) ?? [])),
  )
  const shares = range(24).map((hour) =>
    mean(
      range(7).flatMap((day) => {
        const [own, level] = [medians.get(day * 24 + hour), levelOfDay[day]]
        return own === undefined || level === undefined || level === 0 ? [] : [own / level]
      }),
    ),
  )
  // Days whose hours are not all known yet have no comparable level.
  const complete = medians.size >= hoursPerWeek - 7
  return new Map(
    [...medians].map(([hour, own]) => {
      const [share, level] = [shares[hour % 24], levelOfDay[Math.floor(hour / 24)]]
      if (!complete || share === undefined || level === undefined) return [hour, own]
      const weeks = baseline.get(hour)?.length ?? 0
      return [hour, (own * weeks + share * level * borrowedWeeks) / (weeks + borrowedWeeks)]
    }),
  )
}

/**
 * What the middle of an hour has, so that straight lines between middles have the means of the hours: of 3/4 of the middle and 1/8 of
 * each neighbour's. Where the rhythm turns a middle is not its hour's mean. Each pass leaves a third of the error.
 */
function middlesOf(means: ReadonlyMap<number, number>): ReadonlyMap<number, number> {
  let middles = means
  for (let pass = 0; pass < 4; pass++) {
    const last = middles
    middles = new Map(
      [...means].map(([hour, own]) => {
        const before = last.get((hour + hoursPerWeek - 1) % hoursPerWeek) ?? own
        const after = last.get((hour + 1) % hoursPerWeek) ?? own
        return [hour, Math.max(own / 2, (own - (before + after) / 8) / 0.75)]
      }),
    )
  }
  return middles
}

function spreadOf(baseline: Baseline, usualOf: ReadonlyMap<number, number>, hourOfDay: number): number {
  const deviations: number[] = []
  for (const day of range(7)) {
    for (const offset of [-1, 0, 1]) {
      const hour = (day * 24 + hourOfDay + offset + hoursPerWeek) % hoursPerWeek
      const expected = usualOf.get(hour)
      if (expected === undefined) continue
      for (const value of baseline.get(hour) ?? []) deviations.push(Math.abs(logRatio(value, expected)))
    }
  }
  return Math.max(leastSpread, normalMad * (deviations.length === 0 ? 0 : median(deviations)))
}

/** Half an event is added on both sides, so that nothing and one are comparable; beside real rates it does not count. */
export function logRatio(value: number, expected: number): number {
  return Math.log((value + 0.5) / (expected + 0.5))
}

/** Of at least one number. */
export function median(numbers: readonly number[]): number {
  const sorted = numbers.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  const upper = sorted[middle] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? upper) + upper) / 2
}

function mean(numbers: readonly number[]): number | undefined {
  return numbers.length === 0 ? undefined : numbers.reduce((sum, one) => sum + one, 0) / numbers.length
}

const range = (length: number): number[] => Array.from({ length }, (_, index) => index)
