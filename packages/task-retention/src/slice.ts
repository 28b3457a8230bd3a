/** One run of the task: what its parts share, and what they leave behind. */
import type { RecordedOwner } from '@battlescope/archive'
import type { Finding, TaskContext } from '@battlescope/scheduler-core'
import type { RetentionConfig } from './config.js'
import { withProgress, progressOf, type Cursor } from './cursor.js'
import { Sizes } from './sizes.js'

export type Context = TaskContext<RetentionConfig, unknown, Cursor>

/** Whether something may be written to the store in this run. */
export type StoreAccess =
  | { readonly kind: 'ours'; readonly owner: RecordedOwner }
  /** Nothing may be written there, and why. */
  | { readonly kind: 'refused'; readonly finding: Finding }

export class Slice {
  readonly context: Context
  readonly sizes: Sizes
  readonly #findings = new Map<string, Finding>()
  cursor: Cursor
  /** Asked for before the first write to the store, and remembered: see ownership.ts. */
  storeAccess: StoreAccess | undefined
  /** Batches of this run that deleted something. */
  batches = 0
  rowsDeleted = 0
  /** Batches whose manifest in the store says by now that their rows are gone, which the catalog does not know yet. */
  readonly manifestsFollowed: string[] = []
  /** The store failed twice in a row: nothing more is archived in this run. */
  storeFailures = 0

  constructor(context: Context, cursor: Cursor) {
    this.context = context
    this.cursor = cursor
    const { batchRows, statementTarget } = context.config
    this.sizes = new Sizes(cursor.sizes, { mostRows: batchRows, targetMs: statementTarget }, context.clock)
  }

  get findings(): readonly Finding[] {
    return [...this.#findings.values()]
  }

  report(finding: Finding): void {
    this.#findings.set(finding.key, finding)
  }

  /** Rows that this run may still delete. */
  get rowsLeft(): number {
    return Math.max(0, this.context.config.maxRowsPerRun - this.rowsDeleted)
  }

  /**
   * Time to come to a border. A run that came far enough to begin does one batch at least, or runs under a short budget would do nothing
   * but prepare themselves.
   */
  get mustStop(): boolean {
    return this.context.signal.aborted || (this.batches > 0 && this.context.budget.exhausted())
  }

  /** The cursor after a batch, for the transaction that deletes it. */
  cursorAfter(policy: string, done: { readonly parents: number; readonly rows: number }): Cursor {
    const before = progressOf(this.cursor, policy)
    return {
      ...withProgress(this.cursor, policy, {
        parents: before.parents + done.parents,
        rows: before.rows + done.rows,
      }),
      sizes: this.sizes.toJSON(),
    }
  }
}

/** Runs all, waits for all, and then throws what the first one threw: nothing goes on behind our back. */
export async function settleAll<T>(work: readonly Promise<T>[]): Promise<readonly T[]> {
  const settled = await Promise.allSettled(work)
  return settled.map((one) => {
    if (one.status === 'rejected') throw one.reason as Error
    return one.value
  })
}
