/** Where a size is heading, if there is enough to say so. Pure. */
import type { SizePoint } from '@battlescope/scheduler-core'

const dayMs = 86_400_000

/** Below a week a forecast would take a weekday for a trend. */
export const leastForecastDays = 7
const leastPoints = 5
const mostAheadDays = 30

export interface Forecast {
  readonly perDayBytes: number
  /** Never further ahead than the measurements reach back. */
  readonly aheadDays: number
  readonly bytes: number
  /** Two standard errors of a single measurement on either side, as if what is left of the line were chance. */
  readonly lowBytes: number
  readonly highBytes: number
}

/** The least-squares line through the points; undefined while they span too little. */
export function forecastOf(points: readonly SizePoint[]): Forecast | undefined {
  const [first, last] = [points[0], points.at(-1)]
  if (first === undefined || last === undefined) return undefined
  const spanDays = dayNumber(last) - dayNumber(first)
  if (points.length < leastPoints || spanDays < leastForecastDays) return undefined
  const samples = points.map((point) => ({ x: dayNumber(point) - dayNumber(last), y: point.bytes }))
  const mean = (pick: (sample: { x: number; y: number }) => number) =>
    samples.reduce((sum, sample) => sum + pick(sample), 0) / samples.length
  const [meanX, meanY] = [mean(({ x }) => x), mean(({ y }) => y)]
  const spread = samples.reduce((sum, { x }) => sum + (x - meanX) ** 2, 0)
  const slope = samples.reduce((sum, { x, y }) => sum + (x - meanX) * (y - meanY), 0) / spread
  const at = (x: number) => meanY + slope * (x - meanX)
  const variance = samples.reduce((sum, { x, y }) => sum + (y - at(x)) ** 2, 0) / (samples.length - 2)
  const aheadDays = Math.min(mostAheadDays, spanDays)
  const margin = 2 * Math.sqrt(variance * (1 + 1 / samples.length + (aheadDays - meanX) ** 2 / spread))
  const bytes = at(aheadDays)
  return {
    perDayBytes: slope,
    aheadDays,
    bytes: Math.max(0, bytes),
    lowBytes: Math.max(0, bytes - margin),
    highBytes: Math.max(0, bytes + margin),
  }
}

/** Days since 1970. */
export function dayNumber({ day }: SizePoint): number {
  return Date.parse(`${day}T00:00:00Z`) / dayMs
}
