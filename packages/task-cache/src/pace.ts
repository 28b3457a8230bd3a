/** Holds the commands that Redis gets to a number per second. */
import type { Budget, Clock } from '@battlescope/scheduler-core'

/** Milliseconds owed before it is worth a pause: timers are no finer. */
const shortestPauseMs = 2

export class Pace {
  readonly #clock: Clock
  readonly #budget: Budget
  readonly #commandsPerSecond: number
  #owedMs = 0

  constructor(clock: Clock, budget: Budget, commandsPerSecond: number) {
    this.#clock = clock
    this.#budget = budget
    this.#commandsPerSecond = commandsPerSecond
  }

  /** Runs a step, and pauses as long as its commands should have taken. `extra` counts for work that one command hides. */
  async step<T>(server: { commandsSent(): number }, work: () => Promise<T>, extra: (result: T) => number = () => 0) {
    const startedAtMs = this.#clock.monotonicMs()
    const before = server.commandsSent()
    const result = await work()
    const commands = server.commandsSent() - before + extra(result)
    const tookMs = this.#clock.monotonicMs() - startedAtMs
    // Slowness is no credit for a burst later.
    this.#owedMs = Math.max(0, this.#owedMs + (commands * 1000) / this.#commandsPerSecond - tookMs)
    if (this.#owedMs >= shortestPauseMs) {
      // At the end of the budget the process ends: nothing is owed beyond it.
      const pauseMs = Math.min(this.#owedMs, this.#budget.remainingMs() + 1)
      const pausedAtMs = this.#clock.monotonicMs()
      await this.#clock.sleep(pauseMs)
      this.#owedMs = Math.max(0, this.#owedMs - (this.#clock.monotonicMs() - pausedAtMs))
    }
    return result
  }
}
