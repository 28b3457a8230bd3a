/** When battles happen: by hour of day and weekday, never two at once in one system. */
import { clustererDefaults } from '../clusterer.js'
import { hours, weekdays } from './measured.js'
import type { Random } from './random.js'

const hourMs = 3_600_000
/** More hours than the calendar of any one system has. */
const hoursAtMost = 10_000_000
const busiestHour = Math.max(...hours)
const busiestWeekday = Math.max(...weekdays)

/** A busy system may be full; then a battle runs into another one, as it would in the game. */
const placingAttempts = 30

interface Interval {
  readonly fromMs: number
  readonly toMs: number
}

export class Calendar {
  readonly #random: Random
  readonly #startMs: number
  readonly #endMs: number
  readonly #placed = new Map<number, Interval[]>()

  constructor(random: Random, startMs: number, endMs: number) {
    this.#random = random
    this.#startMs = startMs
    this.#endMs = endMs
  }

  /** The start, in whole seconds, of something that lasts `lastsMs` in that system, and ends before the calendar does. */
  place(systemId: number, lastsMs: number): number {
    let fromMs = this.#drawMs(lastsMs)
    for (let attempt = 1; attempt < placingAttempts && !this.#isFree(systemId, fromMs, lastsMs); attempt++) {
      fromMs = this.#drawMs(lastsMs)
    }
    const key = hourKey(systemId, Math.floor(fromMs / hourMs))
    const sameHour = this.#placed.get(key)
    const interval = { fromMs, toMs: fromMs + lastsMs }
    if (sameHour) sameHour.push(interval)
    else this.#placed.set(key, [interval])
    return fromMs
  }

  #drawMs(lastsMs: number): number {
    for (;;) {
      const atMs = this.#startMs + this.#random.next() * (this.#endMs - lastsMs - this.#startMs)
      const at = new Date(atMs)
      const likelihood =
        ((hours[at.getUTCHours()] ?? 0) / busiestHour) * ((weekdays[at.getUTCDay()] ?? 0) / busiestWeekday)
      if (this.#random.chance(likelihood)) return Math.floor(atMs / 1000) * 1000
    }
  }

  #isFree(systemId: number, fromMs: number, lastsMs: number): boolean {
    const { gapMs, windowMs } = clustererDefaults
    const toMs = fromMs + lastsMs
    const lastHour = Math.floor((toMs + gapMs) / hourMs)
    for (let hour = Math.floor((fromMs - gapMs - windowMs) / hourMs); hour <= lastHour; hour++) {
      for (const other of this.#placed.get(hourKey(systemId, hour)) ?? []) {
        if (fromMs <= other.toMs + gapMs && other.fromMs <= toMs + gapMs) return false
      }
    }
    return true
  }
}

const hourKey = (systemId: number, hour: number): number => systemId * hoursAtMost + hour
