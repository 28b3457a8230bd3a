/** Before each batch: whether others come first, and for how long it is worth waiting. */
import type { RelationName } from '@battlescope/database'
import { decideThrottle, throttleReasons, type Throttle } from './throttle.js'
import { selectThrottleFacts } from './throttle-queries.js'
import type { Slice } from './slice.js'

/** What was read is good for so long. */
const freshMs = 1_000
/** What passes within seconds is waited for, once per batch and no longer. */
const longestWaitMs = 5_000

export class Bystanders {
  readonly #slice: Slice
  readonly #relations: readonly RelationName[]
  #readAtMs: number | undefined

  constructor(slice: Slice, relations: readonly RelationName[]) {
    this.#slice = slice
    this.#relations = relations
  }

  /** @returns why this run goes no further; undefined: the way is free */
  async standAside(): Promise<Throttle | undefined> {
    const { context } = this.#slice
    const startedMs = context.clock.monotonicMs()
    if (this.#readAtMs !== undefined && startedMs - this.#readAtMs < freshMs) return undefined
    for (;;) {
      const throttle = await this.look()
      if (throttle === undefined) {
        this.#readAtMs = context.clock.monotonicMs()
        return undefined
      }
      context.logger.info({ event: 'throttled', reason: throttle.reason, summary: throttle.summary }, 'standing aside')
      const waitedMs = context.clock.monotonicMs() - startedMs
      if (!throttle.passing || waitedMs >= longestWaitMs || context.budget.remainingMs() <= freshMs) return throttle
      await context.clock.sleep(freshMs)
    }
  }

  /** Asks once, and says what comes of it in metric and finding. */
  async look(): Promise<Throttle | undefined> {
    const { context } = this.#slice
    const facts = await selectThrottleFacts(context.db, this.#relations)
    const throttle = decideThrottle(facts, context.config)
    for (const reason of throttleReasons) {
      context.metrics.gauge('throttled', reason === throttle?.reason ? 1 : 0, { reason })
    }
    if (throttle !== undefined) {
      this.#slice.report({
        key: `throttled-${throttle.reason}`,
        severity: throttle.passing ? 'info' : 'warning',
        summary: `retention stands aside: ${throttle.summary}`,
      })
    }
    return throttle
  }
}
