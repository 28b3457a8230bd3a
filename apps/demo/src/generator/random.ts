/** Reproducible randomness: the same seed gives the same numbers on every machine. */

export class Random {
  #state: number

  constructor(seed: number) {
    this.#state = seed >>> 0
  }

  /** In [0, 1). mulberry32: 32 bits of state are plenty for the 10^8 numbers that the largest fill draws. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }

  chance(probability: number): boolean {
    return this.next() < probability
  }

  /** A whole number in [from, to], both included. */
  integer(from: number, to: number): number {
    return from + Math.floor(this.next() * (to - from + 1))
  }

  pick<T>(items: readonly T[]): T {
    const item = items[Math.floor(this.next() * items.length)]
    if (item === undefined) throw new RangeError('nothing to pick from')
    return item
  }

  /** Standard normal, by Box and Muller. */
  normal(): number {
    return Math.sqrt(-2 * Math.log(1 - this.next())) * Math.cos(2 * Math.PI * this.next())
  }

  exponential(mean: number): number {
    return -mean * Math.log(1 - this.next())
  }

  /** Version 4, but reproducible. */
  uuid(): string {
    const hex = Array.from({ length: 32 }, () => this.integer(0, 15).toString(16))
    hex[12] = '4'
    hex[16] = this.integer(8, 11).toString(16)
    const text = hex.join('')
    return [text.slice(0, 8), text.slice(8, 12), text.slice(12, 16), text.slice(16, 20), text.slice(20)].join('-')
  }

  /** That many different whole numbers in [from, to]. */
  distinct(count: number, from: number, to: number): number[] {
    const numbers = new Set<number>()
    while (numbers.size < count) numbers.add(this.integer(from, to))
    return [...numbers]
  }
}

/** Draws indexes with given weights. */
export class Weighted {
  readonly #cumulative: Float64Array

  constructor(weights: readonly number[]) {
    let sum = 0
    this.#cumulative = Float64Array.from(weights, (weight) => (sum += weight))
  }

  draw(random: Random): number {
    const { length } = this.#cumulative
    const wanted = random.next() * (this.#cumulative[length - 1] ?? 0)
    let low = 0
    let high = length - 1
    while (low < high) {
      const middle = (low + high) >> 1
      if ((this.#cumulative[middle] ?? 0) > wanted) high = middle
      else low = middle + 1
    }
    return low
  }
}

/** Weight of rank r is r^-slope. */
export const zipf = (count: number, slope: number): Weighted =>
  new Weighted(Array.from({ length: count }, (_, index) => (index + 1) ** -slope))
