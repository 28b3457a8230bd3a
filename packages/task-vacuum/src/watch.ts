/** Beside a VACUUM, on another connection: how far it is, and whether somebody waits for it. */
import { codeOf, messageOf, type TaskContext } from '@battlescope/scheduler-core'
import { cancelVacuum, selectWatched } from './situation-queries.js'

/** Often enough to be seen moving, seldom enough to cost nothing. */
const everyMs = 1_000

export interface Watched {
  readonly relation: string
  readonly backendPid: number
  readonly backendStart: string
}

/**
 * One watch for all relations of a run, so that no VACUUM waits for the end of its own. It ends with the run, whose clock rejects then.
 *
 * Somebody who waits for a lock that VACUUM holds (ALTER TABLE) keeps everybody behind him waiting, readers, too. Autovacuum gives way
 * after deadlock_timeout; so does this, by cancelling its own VACUUM, which may be begun again at any time.
 */
export class VacuumWatch {
  readonly #context: TaskContext
  #current: Watched | undefined
  #ended = false
  #gaveWay = false
  #failing: string | undefined

  constructor(context: TaskContext) {
    this.#context = context
  }

  /** Whether the VACUUM that was watched last was cancelled for somebody who waited. */
  get gaveWay(): boolean {
    return this.#gaveWay
  }

  start(): void {
    void this.#loop()
  }

  async during<T>(watched: Watched, work: () => Promise<T>): Promise<T> {
    this.#gaveWay = false
    this.#current = watched
    try {
      return await work()
    } finally {
      this.#current = undefined
    }
  }

  end(): void {
    this.#ended = true
  }

  async #loop(): Promise<void> {
    while (!this.#over()) {
      try {
        await this.#context.clock.sleep(everyMs)
      } catch {
        // Rejects when the run has ended, and only then.
        return
      }
      const watched = this.#current
      if (watched === undefined) continue
      try {
        await this.#look(watched)
        this.#failing = undefined
      } catch (error) {
        if (!this.#over()) this.#failed(watched, error)
      }
    }
  }

  #over(): boolean {
    return this.#ended || this.#context.signal.aborted
  }

  /**
   * One look that failed is no reason to stop the work, nor to look no more: whoever waits for its lock would wait to its end. The same
   * failure in a row is said once.
   */
  #failed({ relation }: Watched, error: unknown): void {
    const { logger } = this.#context
    const code = codeOf(error)
    const message = messageOf(error, 300)
    const fields = { event: 'watch-failed', relation, error: message, code }
    const text = 'could not look after a running vacuum, looks again'
    const known = code ?? message
    if (this.#failing === known) logger.debug(fields, text)
    else logger.warn(fields, text)
    this.#failing = known
  }

  async #look(watched: Watched): Promise<void> {
    const { relation, backendPid } = watched
    const seen = await selectWatched(this.#context.db, backendPid)
    // Between two statements, or another VACUUM meanwhile.
    if (seen === undefined || this.#current !== watched) return
    this.#context.progress({
      done: seen.scannedPages,
      total: seen.totalPages,
      unit: 'pages',
      current: `${relation}: ${seen.phase}`,
    })
    if (seen.waiting === 0) return
    await this.#context.act(
      { kind: 'cancel-vacuum', target: relation, reason: `${seen.waiting} sessions wait for its lock` },
      async ({ db }) => {
        // Said before: the cancelled VACUUM may end before this does. Taken back where nothing was cancelled.
        this.#gaveWay = true
        let rows = 0
        try {
          rows = await cancelVacuum(db, backendPid, watched.backendStart)
        } finally {
          if (rows === 0) this.#gaveWay = false
        }
        return { rows }
      },
    )
  }
}
