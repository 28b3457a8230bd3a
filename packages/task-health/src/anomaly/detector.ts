/**
 * Judges a metric against its baseline, one slot after another, and learns from what was normal. Pure: state in, state out.
 *
 * Two windows of completed slots are compared with what the baseline expects of the same slots. The *hour* finds what is off by half:
 * in five minutes chance alone does that. The *quarter* of an hour finds a collapse soon. What it learns it learns an hour late, and only
 * when nothing was wrong until then, so that an outage never becomes the usual; what lasts for days and is no outage does.
 */
import {
  expectationOf,
  hourMs,
  hourOfWeek,
  logRatio,
  median,
  slotMs,
  slotsPerHour,
  withValue,
  type Baseline,
  type Expectation,
} from './baseline.js'

export interface Slot {
  readonly startMs: number
  /** Per hour, of a rate; the level, of what has one. */
  readonly value: number
}

export type Direction = 'low' | 'high' | 'both'

export interface DetectorOptions {
  readonly direction: Direction
  /**
   * Low: events that must be usual within a window for a verdict, so that chance alone leaves some. High: in the metric's unit, what is
   * never too much, and counts as usual.
   */
  readonly floor: number
  readonly warmUpWeeks: number
  /** Standard deviations (robust) between usual and odd. */
  readonly sensitivity: number
  /** Times of day, UTC, in which nothing is judged nor learned. */
  readonly quiet: readonly QuietTime[]
  /** Slots that the hour must have before it is judged: fewer, where a metric has one value per run. */
  readonly minSlots: number
}

export interface QuietTime {
  /** Milliseconds since midnight. */
  readonly fromMs: number
  readonly lastsMs: number
}

/** What is kept between slots: at most an hour of slots and three days of ratios, about 3 kB as JSON. */
export interface DetectorState {
  readonly lastSlotMs: number
  /** The last hour, oldest first; those without expectation are for learning alone. */
  readonly recent: readonly RecentSlot[]
  /** Today's deviation from the usual, slowly followed and bounded: a busy day is no anomaly, a slow decline becomes one. */
  readonly level: number
  /** Hours that are not learned yet. */
  readonly pending: readonly PendingHour[]
  readonly anomaly?: OpenAnomaly | undefined
}

interface RecentSlot {
  /** Counts slots outside the quiet times, whether they were seen or not: windows reach over a quiet time, not over a gap. */
  readonly index: number
  readonly value: number
  readonly expected: number
}

interface PendingHour {
  readonly startMs: number
  readonly sum: number
  readonly slots: number
}

interface OpenAnomaly {
  readonly direction: 'low' | 'high'
  readonly sinceMs: number
  /** Observed to usual, one per hour, newest last. */
  readonly ratios: readonly number[]
  readonly ratioHourMs: number
}

export type Verdict =
  | { readonly kind: 'learning' }
  | { readonly kind: 'quiet' }
  | { readonly kind: 'too-few' }
  | { readonly kind: 'normal'; readonly measured: Measured }
  | { readonly kind: 'low' | 'high'; readonly measured: Measured; readonly sinceMs: number }

/** In the metric's unit, over the window that decided. */
export interface Measured {
  readonly value: number
  readonly expected: number
  readonly windowMs: number
}

export interface Advance {
  readonly state: DetectorState
  readonly verdict: Verdict
  /** Buckets whose values changed. */
  readonly learned: ReadonlyMap<number, readonly number[]>
  /** All values are to be multiplied by this first: a level that lasted became the usual one. */
  readonly rescaledBy: number | undefined
}

const quarterSlots = 3
/** Less than an hour, so that an outage of minutes is not reported for an hour; more than a quarter, which is too noisy to believe. */
const recoverySlots = 6
/** A quarter of an hour has four times the variance of an hour if slots are independent; they are not quite, which errs to the safe side. */
const quarterSpread = 2
/** The quarter is judged more strictly than the hour: four times as many independent looks, and a thicker tail. */
const quarterSensitivity = 1.5
/** What is off by less is not worth a page, however regular the metric. */
const leastChange = { low: 0.7, high: 1.4 }
/** Of the evidence in so many standard deviations, the share that half a rate must have for it. */
const halfEvidence = 2 / 3
/** Per slot: half of a difference is followed within six hours. */
const levelGain = 1 - 0.5 ** (1 / 72)
/** How much of the level is taken out of what is learned: most, or a busy week would widen the spread; not all, or a lasting change would never be learned. */
const levelKept = 0.8
/** A day may be this much busier or quieter without being odd; a decline beyond is not followed. */
const levelBounds = { least: 0.85, most: 1.18 }
/** After this an anomaly is the new usual, unless next to nothing is left: a stop stays one. */
const lastingHours = 72
const stoppedRatio = 0.1

export function advance(
  before: DetectorState | undefined,
  baseline: Baseline,
  slots: readonly Slot[],
  options: DetectorOptions,
): Advance | undefined {
  const detector = new Detector(before, baseline, options)
  const fresh = slots.filter(({ startMs }) => startMs > (before?.lastSlotMs ?? -Infinity))
  for (const slot of fresh.toSorted((a, b) => a.startMs - b.startMs)) detector.see(slot)
  return fresh.length === 0 ? undefined : detector.result()
}

const expectations = new WeakMap<Baseline, Expectation>()

class Detector {
  #baseline: Baseline
  readonly #options: DetectorOptions
  readonly #learned = new Map<number, readonly number[]>()
  #rescaledBy: number | undefined
  #state: DetectorState
  #verdict: Verdict = { kind: 'learning' }

  constructor(before: DetectorState | undefined, baseline: Baseline, options: DetectorOptions) {
    this.#baseline = baseline
    this.#options = options
    this.#state = before ?? { lastSlotMs: 0, recent: [], level: 1, pending: [] }
  }

  result(): Advance {
    return { state: this.#state, verdict: this.#verdict, learned: this.#learned, rescaledBy: this.#rescaledBy }
  }

  see({ startMs, value }: Slot): void {
    const index = this.#nextIndex(startMs)
    this.#state = { ...this.#state, lastSlotMs: startMs }
    if (isQuiet(startMs, this.#options.quiet)) {
      this.#verdict = { kind: 'quiet' }
      return
    }
    this.#learnPending(startMs)
    const usually = this.#expectation().usualAt(startMs)
    if (usually === undefined) {
      // Nothing to compare with: an anomaly found before a gap in the baseline cannot be followed, either.
      this.#state = { ...this.#state, recent: [], anomaly: undefined }
      this.#addPending(startMs, value)
      this.#verdict = { kind: 'learning' }
      return
    }
    const expected = this.#floored(usually * this.#state.level)
    this.#state = { ...this.#state, recent: this.#recentWith({ index, value, expected }) }
    const { anomaly } = this.#state
    if (anomaly === undefined) this.#judge(startMs, value)
    else this.#follow(anomaly, startMs, value, usually)
  }

  #judge(startMs: number, value: number): void {
    const { recent } = this.#state
    const oddness = this.#oddness(startMs)
    if (oddness === undefined) this.#verdict = { kind: 'too-few' }
    else if (oddness.kind === 'normal') this.#verdict = { kind: 'normal', measured: oddness.measured }
    else {
      const sinceMs = startMs + slotMs - oddness.measured.windowMs
      this.#state = {
        ...this.#state,
        // What came before it was found is part of it.
        pending: [],
        anomaly: { direction: oddness.kind, sinceMs, ratios: [], ratioHourMs: startMs - (startMs % hourMs) },
      }
      this.#verdict = { kind: oddness.kind, measured: oddness.measured, sinceMs }
      return
    }
    this.#addPending(startMs, value)
    const hour = windowOf(recent, slotsPerHour)
    if (hour.slots >= this.#options.minSlots && hour.expected > 0) {
      const level = this.#state.level * Math.exp(levelGain * logRatio(hour.value, hour.expected))
      this.#state = { ...this.#state, level: Math.min(levelBounds.most, Math.max(levelBounds.least, level)) }
    }
  }

  /** While it lasts nothing is learned. It is over when half an hour is closer to the usual than to the threshold. */
  #follow(anomaly: OpenAnomaly, startMs: number, value: number, usually: number): void {
    const half = windowOf(this.#state.recent, recoverySlots)
    const threshold = this.#threshold(anomaly.direction, this.#expectation().spreadAt(startMs), 'hour')
    const ratio = logRatio(half.value, half.expected)
    const recovered = anomaly.direction === 'low' ? ratio > threshold / 2 : ratio < threshold / 2
    if (recovered && half.slots >= Math.min(recoverySlots, this.#options.minSlots)) {
      // What was seen before that must not open it again.
      this.#state = { ...this.#state, anomaly: undefined, recent: this.#state.recent.slice(-recoverySlots) }
      this.#verdict = { kind: 'normal', measured: measuredOf(half) }
      this.#addPending(startMs, value)
      return
    }
    const hour = windowOf(this.#state.recent, slotsPerHour)
    this.#verdict = { kind: anomaly.direction, measured: measuredOf(hour), sinceMs: anomaly.sinceMs }
    this.#remember(anomaly, startMs, hour, usually)
  }

  /** One ratio an hour; after three days of them they tell the new level. */
  #remember(anomaly: OpenAnomaly, startMs: number, hour: Window, usually: number): void {
    const hourStartMs = startMs - (startMs % hourMs)
    if (hourStartMs <= anomaly.ratioHourMs || usually === 0 || hour.expected === 0) return
    const ratio = (hour.value / hour.expected) * this.#state.level
    const ratios = [...anomaly.ratios, ratio].slice(-lastingHours)
    this.#state = { ...this.#state, anomaly: { ...anomaly, ratios, ratioHourMs: hourStartMs } }
    if (ratios.length < lastingHours) return
    const factor = median(ratios)
    if (factor < stoppedRatio) return
    this.#baseline = new Map([...this.#baseline].map(([bucket, values]) => [bucket, values.map((one) => one * factor)]))
    for (const bucket of this.#learned.keys()) this.#learned.set(bucket, this.#baseline.get(bucket) ?? [])
    this.#rescaledBy = (this.#rescaledBy ?? 1) * factor
    this.#state = { ...this.#state, level: 1, recent: [], pending: [], anomaly: undefined }
  }

  #oddness(startMs: number): { readonly kind: 'normal' | 'low' | 'high'; readonly measured: Measured } | undefined {
    const { recent } = this.#state
    const { minSlots, direction } = this.#options
    const spreadNow = this.#expectation().spreadAt(startMs)
    const hour = windowOf(recent, slotsPerHour)
    const quarter = windowOf(recent, quarterSlots)
    const windows = [
      { window: quarter, enough: Math.min(quarterSlots, minSlots), name: 'quarter' as const },
      { window: hour, enough: minSlots, name: 'hour' as const },
    ].filter(({ window, enough }) => window.slots >= enough && this.#isJudged(window))
    if (windows.length === 0) return undefined
    for (const { window, name } of windows) {
      const ratio = logRatio(window.value, window.expected)
      for (const kind of ['low', 'high'] as const) {
        if (direction !== kind && direction !== 'both') continue
        const threshold = this.#threshold(kind, spreadNow, name)
        if (kind === 'low' ? ratio < threshold : ratio > threshold) return { kind, measured: measuredOf(window) }
      }
    }
    return { kind: 'normal', measured: measuredOf(hour) }
  }

  #isJudged({ expected, slots }: Window): boolean {
    return this.#options.direction === 'high' || (expected * slots) / slotsPerHour >= this.#options.floor
  }

  #floored(expected: number): number {
    return this.#options.direction === 'high' ? Math.max(expected, this.#options.floor) : expected
  }

  #threshold(kind: 'low' | 'high', spreadNow: number, window: 'quarter' | 'hour'): number {
    const { sensitivity } = this.#options
    if (kind === 'low' && window === 'hour')
      return Math.min(Math.log(leastChange.low), -halfDistance(spreadNow, sensitivity))
    const factor = window === 'hour' ? 1 : quarterSpread * quarterSensitivity
    const distance = sensitivity * factor * spreadNow
    return kind === 'low'
      ? Math.min(Math.log(leastChange.low), -distance)
      : Math.max(Math.log(leastChange.high), distance)
  }

  /** Weeks change by the hour, slots by the minute. */
  #expectation(): Expectation {
    let known = expectations.get(this.#baseline)
    if (known === undefined) {
      known = expectationOf(this.#baseline, this.#options.warmUpWeeks)
      expectations.set(this.#baseline, known)
    }
    return known
  }

  #recentWith(slot: RecentSlot): readonly RecentSlot[] {
    return [...this.#state.recent, slot].filter(({ index }) => index > slot.index - slotsPerHour)
  }

  #nextIndex(startMs: number): number {
    const { recent, lastSlotMs } = this.#state
    const newest = recent.at(-1)?.index ?? 0
    // Nothing of before a longer gap is looked at any more.
    if (startMs - lastSlotMs > 24 * hourMs) return newest + slotsPerHour
    let index = newest
    for (let atMs = lastSlotMs + slotMs; atMs <= startMs; atMs += slotMs)
      if (!isQuiet(atMs, this.#options.quiet)) index++
    return index
  }

  #addPending(startMs: number, value: number): void {
    const hourStartMs = startMs - (startMs % hourMs)
    const others = this.#state.pending.filter((hour) => hour.startMs !== hourStartMs)
    const current = this.#state.pending.find((hour) => hour.startMs === hourStartMs)
    const sum = (current?.sum ?? 0) + value / this.#state.level ** levelKept
    const slots = (current?.slots ?? 0) + 1
    this.#state = { ...this.#state, pending: [...others, { startMs: hourStartMs, sum, slots }] }
  }

  /** An hour is learned when the next one has ended well, too: what is found within an hour did not begin before. */
  #learnPending(startMs: number): void {
    const dueBeforeMs = startMs - (startMs % hourMs) - hourMs
    for (const hour of this.#state.pending) {
      if (hour.startMs >= dueBeforeMs || hour.slots < this.#slotsToLearn(hour.startMs)) continue
      const bucket = hourOfWeek(hour.startMs)
      const values = withValue(this.#baseline.get(bucket) ?? [], hour.sum / hour.slots)
      this.#baseline = new Map([...this.#baseline, [bucket, values]])
      this.#learned.set(bucket, values)
    }
    this.#state = { ...this.#state, pending: this.#state.pending.filter((hour) => hour.startMs >= dueBeforeMs) }
  }

  /** Half of the hour's slots that are not quiet, or what is judged if that is less. */
  #slotsToLearn(hourStartMs: number): number {
    let slots = 0
    for (let atMs = hourStartMs; atMs < hourStartMs + hourMs; atMs += slotMs)
      if (!isQuiet(atMs, this.#options.quiet)) slots++
    return Math.min(this.#options.minSlots, slots / 2)
  }
}

interface Window {
  readonly slots: number
  readonly value: number
  readonly expected: number
}

/** Means over the slots there are: what was not seen counts as nothing, neither as zero. */
function windowOf(recent: readonly RecentSlot[], slots: number): Window {
  const newest = recent.at(-1)?.index ?? 0
  const inside = recent.filter(({ index }) => index > newest - slots)
  const mean = (of: (slot: RecentSlot) => number) => inside.reduce((sum, slot) => sum + of(slot), 0) / inside.length
  if (inside.length === 0) return { slots: 0, value: 0, expected: 0 }
  return { slots: inside.length, value: mean((slot) => slot.value), expected: mean((slot) => slot.expected) }
}

function measuredOf({ slots, value, expected }: Window): Measured {
  return { value, expected, windowMs: slots * slotMs }
}

export function isQuiet(startMs: number, quiet: readonly QuietTime[]): boolean {
  const dayMs = 24 * hourMs
  return quiet.some(({ fromMs, lastsMs }) => {
    const sinceMs = (((startMs - fromMs) % dayMs) + dayMs) % dayMs
    // A slot counts as quiet when any of it is.
    return sinceMs < lastsMs || sinceMs > dayMs - slotMs
  })
}

/**
 * How far below the usual an hour must be (as a logarithm) for "half is missing" to explain it better than "nothing is wrong" by a fixed
 * factor of likelihood: at any time of day the same price for a false alarm. A fixed number of standard deviations asks for more than half at
 * night, when few killmails spread much, and gives away by day what a false alarm less there would pay for.
 */
function halfDistance(spread: number, sensitivity: number): number {
  const evidence = halfEvidence * (sensitivity ** 2 / 2)
  return Math.LN2 / 2 + (spread ** 2 * evidence) / Math.LN2
}
