import type { Timer } from '../../src/execute/clock.js'

/** Time that stands still until it is told to run out. */
export class FakeTimer implements Timer {
  #calls: (() => void)[] = []

  monotonicMs(): number {
    return 0
  }

  hostNow(): Date {
    return new Date(0)
  }

  after(_ms: number, call: () => void): () => void {
    this.#calls.push(call)
    return () => {
      this.#calls = this.#calls.filter((each) => each !== call)
    }
  }

  fire(): void {
    for (const call of this.#calls) call()
  }
}
