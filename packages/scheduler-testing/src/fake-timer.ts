import type { Timer } from '@battlescope/scheduler-core'

interface Waiting {
  readonly dueAtMs: number
  readonly call: () => void
}

/** Time that stands still until a test moves it. What falls due is called in order of its time. */
export class FakeTimer implements Timer {
  #nowMs: number
  #waiting: Waiting[] = []

  constructor(startMs = 0) {
    this.#nowMs = startMs
  }

  monotonicMs(): number {
    return this.#nowMs
  }

  /** The beginning of 1970, and what the test moved time on by. */
  hostNow(): Date {
    return new Date(this.#nowMs)
  }

  after(ms: number, call: () => void): () => void {
    const waiting = { dueAtMs: this.#nowMs + Math.max(0, ms), call }
    this.#waiting.push(waiting)
    return () => {
      this.#waiting = this.#waiting.filter((other) => other !== waiting)
    }
  }

  /** Moves time on by `ms`. What is called may schedule more, which is called too when it falls into the span. */
  advance(ms: number): void {
    const endMs = this.#nowMs + ms
    for (let next = this.#next(endMs); next !== undefined; next = this.#next(endMs)) {
      this.#nowMs = Math.max(this.#nowMs, next.dueAtMs)
      this.#waiting = this.#waiting.filter((other) => other !== next)
      next.call()
    }
    this.#nowMs = endMs
  }

  /** How many calls are waiting: zero at the end of a test that leaves nothing behind. */
  get waiting(): number {
    return this.#waiting.length
  }

  #next(untilMs: number): Waiting | undefined {
    return this.#waiting.filter(({ dueAtMs }) => dueAtMs <= untilMs).sort((a, b) => a.dueAtMs - b.dueAtMs)[0]
  }
}
