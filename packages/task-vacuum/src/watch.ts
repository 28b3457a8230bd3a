/** Beside a VACUUM, on another connection: how far it is, and whether somebody waits for it. */
import { messageOf, type TaskContext } from '@battlescope/scheduler-core'
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

  constructor(context: TaskContext) {
    this.#context = context
  }

  /** Whether the VACUUM that was watched last was cancelled for somebody who waited. */
  get gaveWay(): boolean {
    return this.#gaveWay
  }

  start(): void {
    void this.#loop().catch((error: unknown) => {
      // Not being able to look is no reason to stop the work itself; and the end of the run ends this, too.
      this.#context.logger.debug({ event: 'watch-ended', error: messageOf(error) }, 'progress is watched no more')
    })
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
    while (!this.#ended) {
      await this.#context.clock.sleep(everyMs)
      const watched = this.#current
      if (watched !== undefined) await this.#look(watched)
    }
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
    this.#gaveWay = true
    await this.#context.act(
      { kind: 'cancel-vacuum', target: relation, reason: `${seen.waiting} sessions wait for its lock` },
      async ({ db }) => ({ rows: await cancelVacuum(db, backendPid, watched.backendStart) }),
    )
  }
}
