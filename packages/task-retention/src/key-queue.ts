/** Keys of expired rows that wait for their batch, in the order of time. Pure. */
import type { ExpiredKey } from './expiry-queries.js'

export class KeyQueue {
  #keys: ExpiredKey[] = []
  #next = 0

  get length(): number {
    return this.#keys.length - this.#next
  }

  add(keys: readonly ExpiredKey[]): void {
    this.#keys = [...this.#keys.slice(this.#next), ...keys]
    this.#next = 0
  }

  /** Back to the front: they are tried again first. */
  putBack(keys: readonly ExpiredKey[]): void {
    this.#keys = [...keys, ...this.#keys.slice(this.#next)]
    this.#next = 0
  }

  /** The first keys, at most `most`, and all of one month: a batch never spans two. */
  take(most: number): readonly ExpiredKey[] {
    const first = this.#next
    const month = this.#keys[first]?.month
    let end = first
    while (end < this.#keys.length && end - first < most && this.#keys[end]?.month === month) end += 1
    this.#next = end
    return this.#keys.slice(first, end)
  }
}
