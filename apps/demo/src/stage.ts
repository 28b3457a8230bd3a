/** What a part of the show has at hand. */
import type pg from 'pg'
import type { Output } from './output.js'

export interface Stage {
  readonly output: Output
  /** A connection as the role `battlescope`, which owns everything. */
  readonly database: pg.Client
  /** Connection string of a second database of the same role, in which nothing is: to restore into. */
  readonly emptyUrl: string
  /** The seed of what is generated. */
  readonly seed: number
  readonly signal: AbortSignal
  /**
   * Runs the scheduler as cron would, and shows the command line, what it prints, and its exit code.
   * @throws SchedulerFailedError when the exit code is not 0
   */
  readonly scheduler: (...args: readonly string[]) => Promise<void>
  /** The same with options in its environment, which are shown before the command line. */
  readonly schedulerWith: (options: Readonly<Record<string, string>>, ...args: readonly string[]) => Promise<void>
  /** A folder for what a part leaves outside the database. It goes when the server goes. */
  readonly folder: string
}

/** Parts follow one another on the same database: each finds what the ones before it left. */
export interface Part {
  readonly title: string
  run(stage: Stage): Promise<void>
}

export class SchedulerFailedError extends Error {
  override readonly name = 'SchedulerFailedError'
}
