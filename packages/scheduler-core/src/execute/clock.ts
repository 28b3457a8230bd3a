import type { Clock } from '../task.js'

/** What the pipeline needs of time. The program uses the system's; tests bring their own. */
export interface Timer {
  /** Milliseconds that only ever grow. */
  monotonicMs(): number
  /** What the clock of this machine says: to be held against the database's, never to go by. */
  hostNow(): Date
  /** Calls back once after `ms`; the returned function takes it back. */
  after(ms: number, call: () => void): () => void
}

export const systemTimer: Timer = {
  monotonicMs: () => performance.now(),
  // As it was when the process began, carried on: no step of the clock during the run, which lasts seconds, makes two answers of one.
  hostNow: () => new Date(performance.timeOrigin + performance.now()),
  after: (ms, call) => {
    const timeout = setTimeout(call, Math.min(ms, 2 ** 31 - 1))
    return () => {
      clearTimeout(timeout)
    }
  },
}

/** Database time, read once and carried on by the monotonic clock, so that a jump of the host's clock changes nothing. */
export class DatabaseClock {
  readonly #base: number
  readonly #readAt: number
  readonly #timer: Timer

  constructor(databaseNow: Date, timer: Timer) {
    this.#base = databaseNow.getTime()
    this.#readAt = timer.monotonicMs()
    this.#timer = timer
  }

  now(): Date {
    return new Date(this.#base + this.#timer.monotonicMs() - this.#readAt)
  }

  forRun(signal: AbortSignal): Clock {
    return {
      now: () => this.now(),
      monotonicMs: () => this.#timer.monotonicMs(),
      hostNow: () => this.#timer.hostNow(),
      sleep: (ms) => sleep(this.#timer, ms, signal),
    }
  }
}

/** Resolves after `ms`, or rejects with the signal's reason. */
export function sleep(timer: Timer, ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(signal.reason as Error)
      return
    }
    const abort = () => {
      cancel()
      reject(signal.reason as Error)
    }
    const cancel = timer.after(ms, () => {
      signal.removeEventListener('abort', abort)
      resolve()
    })
    signal.addEventListener('abort', abort, { once: true })
  })
}
