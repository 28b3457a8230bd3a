/** Which stretch of time a report covers, and into how many parts of equal length it is cut. Pure. */

export interface ReportPeriod {
  /** The beginning of the first part. */
  readonly from: Date
  /** Database time of the report; the last part ends after it. */
  readonly to: Date
  /** Milliseconds of one part. Parts begin where a count from `origin` has them, so days begin at midnight UTC. */
  readonly partMs: number
}

const minuteMs = 60_000
const dayMs = 86_400_000

/** One column each on a phone's screen. */
const mostParts = 72

const partLengths: readonly number[] = [
  ...[1, 2, 5, 10, 15, 30, 60, 120, 180, 240, 360, 480, 720].map((minutes) => minutes * minuteMs),
  ...[1, 2, 7, 14, 28].map((days) => days * dayMs),
]

/** A Monday, so that parts of a week begin on Mondays. */
const originMs = Date.UTC(2000, 0, 3)

/** Milliseconds. The longest is what the longest parts allow. */
export const reportLimits = { shortestMs: 60 * minuteMs, longestMs: (mostParts - 1) * 28 * dayMs } as const

/** The last `sinceMs` milliseconds before `now`, rounded out to whole parts. */
export function reportPeriod(now: Date, sinceMs: number): ReportPeriod {
  // One more than fits evenly: both ends are parts of parts.
  const partMs = partLengths.find((length) => sinceMs / length <= mostParts - 1) ?? 28 * dayMs
  const sinceOrigin = now.getTime() - sinceMs - originMs
  return { from: new Date(originMs + Math.floor(sinceOrigin / partMs) * partMs), to: now, partMs }
}

/** Where each part begins, oldest first. */
export function partsOf({ from, to, partMs }: ReportPeriod): readonly Date[] {
  const count = Math.floor((to.getTime() - from.getTime()) / partMs) + 1
  return Array.from({ length: count }, (_, index) => new Date(from.getTime() + index * partMs))
}
