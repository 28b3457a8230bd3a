/** How many rows a statement or a batch gets: as many as fit into the time that it should take. */
import type { Clock } from '@battlescope/scheduler-core'
import { BatchTooLarge } from './batch-errors.js'

/** A first guess: two thousand rows and more delete at nine tenths of the rate of one big statement; what is too slow is halved at once. */
const firstRows = 1000
/**
 * Growing and shrinking are slow, and as slow: then half of the statements take less than they should, and half of them more, however much
 * their times differ. Shrinking faster than growing would make them ever smaller on a busy machine, where what a statement costs before its
 * first row counts most: planning one took longer than its 80 rows.
 */
const growth = 1.25
/** So much longer than it should take is felt by others, whatever the reason: then by half. */
const muchTooLong = 4

export interface SizeLimits {
  readonly mostRows: number
  readonly targetMs: number
}

/** After a statement over `rows` rows that took `tookMs`. A last, smaller one says how fast it was, but not that less is better. */
export function sizeAfter(current: number, rows: number, tookMs: number, { mostRows, targetMs }: SizeLimits): number {
  if (rows === 0) return current
  const fitting = (rows * targetMs) / Math.max(tookMs, 0.01)
  const least = tookMs > muchTooLong * targetMs ? current / 2 : current / growth
  return clamp(Math.min(Math.max(fitting, least), grown(current)), mostRows)
}

/** By one row at least: a quarter of one row is none. */
function grown(rows: number): number {
  return Math.max(rows + 1, rows * growth)
}

/** After a statement that was cancelled by its timeout, or waited too long for a lock. */
function sizeAfterTimeout(current: number): number {
  return Math.max(1, Math.floor(current / 2))
}

function clamp(rows: number, mostRows: number): number {
  return Math.max(1, Math.min(Math.floor(rows), mostRows))
}

/** `57014`: over its time limit, or cancelled. `55P03`: waited too long for a lock. */
const timeouts = new Set(['57014', '55P03'])

/** Sizes by what they are for, kept in the checkpoint from slot to slot. */
export class Sizes {
  readonly #rows: Map<string, number>
  readonly #limits: SizeLimits
  readonly #clock: Pick<Clock, 'monotonicMs'>
  /** Until when statements may begin. */
  #deadlineMs = Infinity

  constructor(saved: Readonly<Record<string, number>>, limits: SizeLimits, clock: Pick<Clock, 'monotonicMs'>) {
    this.#rows = new Map(Object.entries(saved))
    this.#limits = limits
    this.#clock = clock
  }

  /** @param first while nothing is known */
  of(key: string, first = firstRows): number {
    return clamp(this.#rows.get(key) ?? first, this.#limits.mostRows)
  }

  /** Whether less is not possible. */
  isLeast(key: string): boolean {
    return this.of(key) === 1
  }

  /** @param rows as many as were too many */
  halve(key: string, rows: number): void {
    this.#rows.set(key, sizeAfterTimeout(rows))
  }

  /** After `rows` rows took `tookMs` milliseconds that should have been `targetMs`. */
  fit(key: string, rows: number, tookMs: number, targetMs: number): void {
    this.#rows.set(key, sizeAfter(this.of(key, this.#limits.mostRows), rows, tookMs, { ...this.#limits, targetMs }))
  }

  /**
   * Runs a transaction over `rows` rows, in which no statement begins later than `limitMs` milliseconds after its start: locks must not be
   * held for as long as many short statements may take. One row is what it is.
   * @throws BatchTooLarge when it would take longer
   */
  async within<T>(limitMs: number, rows: number, transaction: () => Promise<T>): Promise<T> {
    this.#deadlineMs = rows > 1 ? this.#clock.monotonicMs() + limitMs : Infinity
    try {
      return await transaction()
    } finally {
      this.#deadlineMs = Infinity
    }
  }

  /**
   * Covers `0 … count` in statements of the fitting size, one after another. When one fails by its time limit, the size is halved and
   * the error passed on: its transaction is gone anyway.
   */
  async cover(key: string, count: number, statement: (first: number, end: number) => Promise<void>): Promise<void> {
    for (let first = 0; first < count;) {
      const size = this.of(key)
      const end = Math.min(count, first + size)
      const startedMs = this.#clock.monotonicMs()
      if (startedMs >= this.#deadlineMs) throw new BatchTooLarge('its transaction would hold its locks for too long')
      try {
        await statement(first, end)
      } catch (error) {
        if (timeouts.has((error as { code?: string }).code ?? '')) this.#rows.set(key, sizeAfterTimeout(end - first))
        throw error
      }
      const tookMs = this.#clock.monotonicMs() - startedMs
      this.#rows.set(key, sizeAfter(size, end - first, tookMs, this.#limits))
      first = end
    }
  }

  toJSON(): Record<string, number> {
    return Object.fromEntries([...this.#rows].sort(([a], [b]) => (a < b ? -1 : 1)))
  }
}
