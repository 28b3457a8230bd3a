/** Keys of expired rows that wait for their batch, in the order of time. Pure. */

/** One expired row. */
export interface ExpiredKey {
  /** Values of the primary key as text, in the order of its columns. */
  readonly key: readonly string[]
  /** The time column as text, UTC, with microseconds: `2020-03-01 17:04:05.123456+00`. */
  readonly time: string
  /** Its month in UTC: `2020-03`. */
  readonly month: string
}

/**
 * Some hundred keys as they come from PostgreSQL, one text for all. Keys wait in their tens of thousands, and as objects each takes 250 bytes
 * and is copied by the garbage collector while it waits: a list of them raised the peak of the process by 30 MiB.
 */
export interface KeyPack {
  readonly count: number
  /** Of each row its time, and the values of its key. */
  readonly json: string
  /** Of all of them. Undefined: that of their times. */
  readonly month?: string
}

/** @param keys of one month, which need not be that of their times */
export function packKeys(keys: readonly ExpiredKey[], month: string): KeyPack {
  return { count: keys.length, json: JSON.stringify(keys.map(({ time, key }) => [time, ...key])), month }
}

export function unpackKeys({ json, month }: KeyPack): readonly ExpiredKey[] {
  return (JSON.parse(json) as readonly (readonly [string, ...string[]])[]).map(([time, ...key]) => ({
    key,
    time,
    // A year may have more than four digits.
    month: month ?? time.slice(0, time.indexOf('-') + 3),
  }))
}

export class KeyQueue {
  /** Those that come next: the rest is packed. */
  #keys: readonly ExpiredKey[] = []
  #next = 0
  #packs: KeyPack[] = []
  #packed = 0

  get length(): number {
    return this.#keys.length - this.#next + this.#packed
  }

  add(packs: readonly KeyPack[]): void {
    this.#packs.push(...packs)
    for (const { count } of packs) this.#packed += count
  }

  /** Back to the front: they are tried again first. */
  putBack(keys: readonly ExpiredKey[]): void {
    this.#keys = [...keys, ...this.#keys.slice(this.#next)]
    this.#next = 0
  }

  /** The first keys, at most `most`, and all of one month: a batch never spans two. */
  take(most: number): readonly ExpiredKey[] {
    const taken: ExpiredKey[] = []
    for (;;) {
      const next = this.#keys[this.#next]
      if (next === undefined) {
        if (!this.#unpack()) return taken
      } else {
        if (taken.length >= most || (taken[0] !== undefined && taken[0].month !== next.month)) return taken
        taken.push(next)
        this.#next += 1
      }
    }
  }

  /** @returns whether there was a pack */
  #unpack(): boolean {
    const pack = this.#packs.shift()
    if (pack === undefined) return false
    this.#keys = unpackKeys(pack)
    this.#next = 0
    this.#packed -= pack.count
    return true
  }
}
