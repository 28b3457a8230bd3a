/** Why a batch is given up, where that is no failure of the run. */

/** Rows are not what was archived: changed, gone, or joined by new ones. The transaction that found out is rolled back. */
export class RowsChanged extends Error {
  override readonly name = 'RowsChanged'
  readonly code = 'rows-changed'
  constructor(relation: string, what: string) {
    super(`${relation}: ${what}`)
  }
}

/** What preflight said of this run no longer holds. The transaction that found out is rolled back, and the run ends. */
export class KeysChanged extends Error {
  override readonly name = 'KeysChanged'
  readonly code = 'keys-changed'
  constructor(relation: string) {
    super(
      `foreign keys to ${relation} or its children changed while retention ran: this batch was not deleted, and the next run judges them anew`,
    )
  }
}

/** The batch was discarded by somebody else. */
export class BatchTaken extends Error {
  override readonly name = 'BatchTaken'
  readonly code = 'batch-taken'
  constructor() {
    super('the batch is no longer verified')
  }
}

/** More than fits: the same rows in smaller batches will do. */
export class BatchTooLarge extends Error {
  override readonly name = 'BatchTooLarge'
  readonly code = 'batch-too-large'
}

/** What the store gave back is not what it was given. */
export class NotReadBack extends Error {
  override readonly name = 'NotReadBack'
  readonly code = 'not-read-back'
  constructor(name: string, cause: unknown) {
    super(`${name}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause })
  }
}

export function codeOf(error: unknown): string {
  const code = (error as { code?: unknown } | null | undefined)?.code
  return typeof code === 'string' ? code : ''
}

/** The store is at fault, or what lies between: nothing about the rows is wrong. */
export function isStoreProblem(error: unknown): boolean {
  return codeOf(error).startsWith('store-') || error instanceof NotReadBack
}
