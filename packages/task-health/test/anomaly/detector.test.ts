import { describe, expect, it } from 'vitest'
import {
  expectationOf,
  hourMs,
  hourOfWeek,
  median,
  slotMs,
  valuesPerBucket,
  withValue,
} from '../../src/anomaly/baseline.js'
import {
  advance,
  isQuiet,
  type Advance,
  type DetectorOptions,
  type DetectorState,
  type Slot,
} from '../../src/anomaly/detector.js'

const sunday = Date.UTC(2026, 0, 4)
const weekMs = 168 * hourMs
const low: DetectorOptions = { direction: 'low', floor: 20, warmUpWeeks: 3, sensitivity: 4, quiet: [], minSlots: 9 }
const high: DetectorOptions = { ...low, direction: 'high', floor: 100, minSlots: 3 }

/** Feeds a metric, slot by slot, and keeps what the database would keep. */
class Watched {
  state: DetectorState | undefined
  baseline: ReadonlyMap<number, readonly number[]> = new Map()
  last: Advance | undefined
  rescaled: number[] = []
  readonly #options: DetectorOptions

  constructor(options: DetectorOptions) {
    this.#options = options
  }

  see(slots: readonly Slot[]): Advance | undefined {
    const next = advance(this.state, this.baseline, slots, this.#options)
    if (next === undefined) return undefined
    this.last = next
    // As jsonb would give it back.
    this.state = JSON.parse(JSON.stringify(next.state)) as DetectorState
    if (next.rescaledBy !== undefined) {
      const factor = next.rescaledBy
      this.rescaled.push(factor)
      this.baseline = new Map([...this.baseline].map(([hour, values]) => [hour, values.map((one) => one * factor)]))
    }
    if (next.learned.size > 0) this.baseline = new Map([...this.baseline, ...next.learned])
    return next
  }

  /** The kinds of verdict of each slot. */
  feed(fromMs: number, untilMs: number, value: (startMs: number) => number | undefined): string[] {
    const kinds: string[] = []
    for (let startMs = fromMs; startMs < untilMs; startMs += slotMs) {
      const one = value(startMs)
      if (one !== undefined) kinds.push(this.see([{ startMs, value: one }])?.verdict.kind ?? 'nothing')
    }
    return kinds
  }
}

/** 400 to 800 an hour by time of day, with 5 % to either side by turns: noise that is the same in every run of the test. */
const usual = (startMs: number): number =>
  (600 + 200 * Math.sin((startMs / hourMs / 24) * 2 * Math.PI)) *
  (1 + (Math.floor(startMs / slotMs) % 2 === 0 ? 0.05 : -0.05))

function warmedUp(
  options: DetectorOptions,
  value: (startMs: number) => number = usual,
  weeks = 4,
): { watched: Watched; now: number } {
  const watched = new Watched(options)
  const now = sunday + weeks * weekMs
  watched.feed(sunday, now, value)
  return { watched, now }
}

describe('what is usual', () => {
  it('counts hours of the week from Sunday midnight UTC', () => {
    expect([sunday, sunday + 11 * hourMs + 1, sunday + weekMs - 1].map(hourOfWeek)).toEqual([0, 11, 167])
  })

  it('keeps a bounded number of weeks, the newest', () => {
    let values: readonly number[] = []
    for (let week = 1; week <= 30; week++) values = withValue(values, week)
    expect(values).toEqual(Array.from({ length: valuesPerBucket }, (_, index) => 21 + index))
  })

  it('is the median: less than half of the weeks cannot move it out of the others', () => {
    const sound = [90, 95, 100, 103, 107, 110]
    for (const odd of [
      [0, 0, 0, 0, 0],
      [1e9, 1e9, 1e9, 1e9, 1e9],
      [0, 1e9, 0, 1e9, 0],
    ]) {
      expect(median([...odd, ...sound])).toBeGreaterThanOrEqual(90)
      expect(median([...sound, ...odd])).toBeLessThanOrEqual(110)
    }
  })

  it('is unknown before so many weeks', () => {
    const baseline = new Map([[5, [100, 100]]])
    expect(expectationOf(baseline, 3).usualAt(sunday + 5 * hourMs)).toBeUndefined()
    expect(expectationOf(baseline, 2).usualAt(sunday + 5 * hourMs)).toBe(100)
  })

  it('has the mean of every hour where the rhythm turns, too', () => {
    const shape = (hour: number) => [100, 60, 30, 60, 100, 140][hour % 6] ?? 0
    const baseline = new Map(Array.from({ length: 168 }, (_, hour) => [hour, [shape(hour), shape(hour), shape(hour)]]))
    const expectation = expectationOf(baseline, 3)
    for (const hour of [2, 26, 100]) {
      const slots = Array.from(
        { length: 12 },
        (_, slot) => expectation.usualAt(sunday + hour * hourMs + slot * slotMs) ?? 0,
      )
      expect(slots.reduce((sum, one) => sum + one, 0) / 12 / shape(hour)).toBeCloseTo(1, 1)
    }
  })

  it('has a spread by what other weeks were, and never none', () => {
    const flat = new Map(Array.from({ length: 168 }, (_, hour) => [hour, [100, 100, 100, 100]]))
    const noisy = new Map(Array.from({ length: 168 }, (_, hour) => [hour, [60, 140, 80, 120]]))
    expect(expectationOf(flat, 3).spreadAt(sunday)).toBe(0.08)
    expect(expectationOf(noisy, 3).spreadAt(sunday)).toBeGreaterThan(0.3)
  })
})

describe('a metric that should not fall', () => {
  it('is not judged before it was seen for so many weeks', () => {
    const watched = new Watched(low)
    expect(new Set(watched.feed(sunday, sunday + 2 * weekMs, () => 0))).toEqual(new Set(['learning']))
  })

  it('is normal as long as it follows its rhythm', () => {
    const { watched, now } = warmedUp(low)
    expect(new Set(watched.feed(now, now + 2 * weekMs, usual))).toEqual(new Set(['normal']))
  })

  it('is low within three slots after a stop, and again normal half an hour after the end', () => {
    const { watched, now } = warmedUp(low)
    const kinds = watched.feed(now, now + 2 * hourMs, () => 0)
    expect(kinds.indexOf('low')).toBeLessThan(3)
    expect(new Set(kinds.slice(3))).toEqual(new Set(['low']))
    expect(watched.state?.anomaly?.sinceMs).toBeGreaterThanOrEqual(now - slotMs)
    expect(watched.feed(now + 2 * hourMs, now + 3 * hourMs, usual).indexOf('normal')).toBeLessThanOrEqual(6)
  })

  it('is low within an hour at half of its rate', () => {
    const { watched, now } = warmedUp(low)
    const kinds = watched.feed(now, now + 2 * hourMs, (startMs) => usual(startMs) / 2)
    expect(kinds.indexOf('low')).toBeGreaterThanOrEqual(3)
    expect(kinds.indexOf('low')).toBeLessThan(12)
  })

  it('is not judged where too little is usual', () => {
    const { watched, now } = warmedUp({ ...low, floor: 1000 })
    expect(new Set(watched.feed(now, now + 2 * hourMs, () => 0))).toEqual(new Set(['too-few']))
  })

  it('may be high', () => {
    const { watched, now } = warmedUp(low)
    expect(watched.feed(now, now + hourMs, (startMs) => 5 * usual(startMs))).not.toContain('high')
  })

  it('does not learn a stop, however short of the three days', () => {
    const { watched, now } = warmedUp(low)
    const before = watched.baseline
    watched.feed(now, now + 2.5 * 24 * hourMs, () => 0)
    expect(watched.baseline.get(0)).toEqual(before.get(0))
    expect(watched.baseline.get(30)).toEqual(before.get(30))
    // The hour before the stop was well and is not learned: whether the stop began in it is not known.
    expect(watched.baseline.get(167)).toHaveLength(3)
  })

  it('never takes a stop for the usual', () => {
    const { watched, now } = warmedUp(low)
    const kinds = watched.feed(now, now + 14 * 24 * hourMs, () => 0)
    expect(kinds.at(-1)).toBe('low')
    expect(watched.rescaled).toEqual([])
  })

  it('takes a level that lasts for three days for the usual, in every hour of the week', () => {
    const { watched, now } = warmedUp(low)
    const kinds = watched.feed(now, now + 5 * 24 * hourMs, (startMs) => usual(startMs) / 2)
    expect(kinds.slice(12, 3 * 24 * 12)).not.toContain('normal')
    expect(kinds.at(-1)).toBe('normal')
    expect(watched.rescaled).toHaveLength(1)
    expect(watched.rescaled[0]).toBeCloseTo(0.5, 1)
    // And it still finds what is odd at the new level.
    const later = now + 5 * 24 * hourMs
    expect(watched.feed(later, later + hourMs, () => 0)).toContain('low')
  })

  it('follows a busy or quiet day no further than its bounds: a slow decline is found', () => {
    const { watched, now } = warmedUp(low)
    const kinds = watched.feed(now, now + 6 * 24 * hourMs, (startMs) => {
      const days = (startMs - now) / hourMs / 24
      return usual(startMs) * Math.max(0.4, 1 - days * 0.15)
    })
    expect(kinds.slice(0, 24 * 12)).not.toContain('low')
    expect(kinds).toContain('low')
  })
})

describe('slots that were not seen', () => {
  it('count as nothing, never as zero', () => {
    const { watched, now } = warmedUp(low)
    // The scheduler was away for nine hours, then for three days.
    expect(watched.feed(now + 9 * hourMs, now + 10 * hourMs, usual)).not.toContain('low')
    expect(watched.feed(now + 82 * hourMs, now + 84 * hourMs, usual)).not.toContain('low')
  })

  it('may be every second one', () => {
    const { watched, now } = warmedUp({ ...low, minSlots: 5 })
    const sparse = (value: (startMs: number) => number) => (startMs: number) =>
      (startMs / slotMs) % 2 === 0 ? value(startMs) : undefined
    expect(watched.feed(now, now + 24 * hourMs, sparse(usual))).not.toContain('low')
    expect(
      watched.feed(
        now + 24 * hourMs,
        now + 25 * hourMs,
        sparse(() => 0),
      ),
    ).toContain('low')
  })

  it('are caught up with in one run, to the same end', () => {
    const { watched: slow, now } = warmedUp(low)
    const { watched: fast } = warmedUp(low)
    const slots = Array.from({ length: 12 }, (_, index) => ({ startMs: now + index * slotMs, value: usual(now) }))
    for (const slot of slots) slow.see([slot])
    fast.see(slots.toReversed())
    expect(fast.state).toEqual(slow.state)
    expect(fast.baseline).toEqual(slow.baseline)
  })

  it('are judged once: an old slot changes nothing', () => {
    const { watched, now } = warmedUp(low)
    watched.see([{ startMs: now, value: 0 }])
    const { state } = watched
    expect(
      watched.see([
        { startMs: now, value: 0 },
        { startMs: now - slotMs, value: 0 },
      ]),
    ).toBeUndefined()
    expect(watched.state).toEqual(state)
  })
})

describe('the downtime', () => {
  const quiet = [{ fromMs: 11 * hourMs, lastsMs: 45 * 60_000 }]
  const down = (startMs: number) => (isQuiet(startMs, quiet) ? 0 : usual(startMs))

  it('holds every slot of which any part is quiet', () => {
    const at = (text: string) => Date.parse(`2026-01-05T${text}:00Z`)
    expect(['10:54', '10:55', '10:58', '11:00', '11:40', '11:45'].map((text) => isQuiet(at(text), quiet))).toEqual([
      false,
      false,
      true,
      true,
      true,
      false,
    ])
    expect(isQuiet(at('00:05'), [{ fromMs: 23.5 * hourMs, lastsMs: hourMs }])).toBe(true)
  })

  it('is neither judged nor learned, and the hour around it is', () => {
    const { watched, now } = warmedUp({ ...low, quiet }, down)
    const kinds = watched.feed(now + 10 * hourMs, now + 13 * hourMs, down)
    expect(kinds.filter((kind) => kind === 'quiet')).toHaveLength(9)
    expect(kinds).not.toContain('low')
    expect(watched.baseline.get(11)?.every((value) => value > 300)).toBe(true)
  })

  it('does not hide a stop that began before it: windows reach over it', () => {
    const { watched, now } = warmedUp({ ...low, quiet }, down)
    watched.feed(now, now + 10 * hourMs + 55 * 60_000, down)
    const kinds = watched.feed(now + 10 * hourMs + 55 * 60_000, now + 12 * hourMs, () => 0)
    // One slot before it, nine in it, and the first one after.
    expect(kinds.indexOf('low')).toBe(10)
  })

  it('leaves open what was open', () => {
    const { watched, now } = warmedUp({ ...low, quiet }, down)
    watched.feed(now, now + 10 * hourMs, down)
    watched.feed(now + 10 * hourMs, now + 11.5 * hourMs, () => 0)
    expect(watched.last?.verdict.kind).toBe('quiet')
    expect(watched.state?.anomaly?.direction).toBe('low')
  })
})

describe('a level that should not rise', () => {
  const quietly = (startMs: number) => (Math.floor(startMs / slotMs) % 3) * 10

  it('is high when it stays far above both the usual and the floor', () => {
    const { watched, now } = warmedUp(high, quietly)
    expect(watched.feed(now, now + hourMs, () => 400)).toContain('high')
  })

  it('may be anything up to the floor', () => {
    const { watched, now } = warmedUp(high, quietly)
    expect(watched.feed(now, now + 3 * hourMs, () => 100)).not.toContain('high')
  })

  it('may be zero for weeks, and zero again', () => {
    const { watched, now } = warmedUp(high, () => 0)
    expect(new Set(watched.feed(now, now + 24 * hourMs, () => 0))).toEqual(new Set(['normal']))
  })
})

it('keeps little: a few kilobytes of state while something is wrong for weeks', () => {
  const { watched, now } = warmedUp(low)
  watched.feed(now, now + 14 * 24 * hourMs, () => 0)
  expect(JSON.stringify(watched.state).length).toBeLessThan(4000)
  expect(watched.baseline.size).toBe(168)
})
