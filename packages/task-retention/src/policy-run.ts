/** One policy in one run: rows are found once, and go batch by batch. */
import { BatchTooLarge, codeOf, isStoreProblem, RowsChanged } from './batch-errors.js'
import { readBatch, type BatchPlan, type ReadBatch } from './read-batch.js'
import { storeManifest, writeBatch, type WrittenBatch } from './archive-batch.js'
import { keyText, selectChangedParents } from './changed-rows.js'
import { discardBatch, reportStoreProblem } from './clean-up.js'
import { progressOf, withProgress, withRate } from './cursor.js'
import { deleteArchived, deleteUnarchived, type DeletedRows, type TimedRows } from './delete-batch.js'
import { KeyQueue, unpackKeys, type ExpiredKey, type KeyPack } from './key-queue.js'
import { takeStore } from './ownership.js'
import { Bystanders } from './stand-aside.js'
import type { Slice } from './slice.js'

/**
 * Keys that are found by one statement. Without an index on the time column each such statement scans the relation, so it should be many;
 * with 50 bytes for each, packed, it is 5 MB.
 */
const keysPerList = 100_000
/**
 * How often the transaction of one batch is tried. A statement over its time limit (57014) is halved each time, from thousands of rows to
 * one; whoever holds a lock (55P03) may hold it for long; two transactions in each other's way soon are not.
 */
const mostAttempts: Readonly<Record<string, number>> = { '57014': 13, '55P03': 2, '40P01': 5, '40001': 5 }
/** By a foreign key, and from PostgreSQL 18 on by one with RESTRICT. */
const refusals = new Set(['23503', '23001'])
/** Milliseconds before a batch that waited for a lock, or met another transaction, is tried again; jittered. */
const retryPauseMs = 200
/** Milliseconds that whoever waited for us gets before the next batch. */
const waitersPauseMs = 1_000
/** After so many failures of the store in a row nothing more is archived in this run. */
const mostStoreFailures = 2

export type PolicyEnd =
  /** Nothing that had expired is left, except what was set aside. */
  | { readonly kind: 'finished'; readonly setAside: number }
  /** Rows are left for the next run. */
  | { readonly kind: 'stopped'; readonly remaining: number }

type BatchEnd =
  | { readonly kind: 'deleted'; readonly deleted: TimedRows }
  | { readonly kind: 'set-aside' }
  | { readonly kind: 'again' }
  | { readonly kind: 'stop' }

/** Keys of rows that may go, in the order of time, at most `limit`, behind `after`. */
export type KeyLister = (limit: number, after: ExpiredKey | undefined) => Promise<readonly KeyPack[]>

export async function runBatches(slice: Slice, plan: BatchPlan, list: KeyLister): Promise<PolicyEnd> {
  return new PolicyRun(slice, plan, list).run()
}

class PolicyRun {
  readonly #slice: Slice
  readonly #plan: BatchPlan
  readonly #lister: KeyLister
  readonly #queue = new KeyQueue()
  readonly #bystanders: Bystanders
  readonly #sizeKey: string
  #setAside = 0
  #after: ExpiredKey | undefined
  #listed = false

  constructor(slice: Slice, plan: BatchPlan, lister: KeyLister) {
    const { parent, children, policy } = plan.shape
    this.#slice = slice
    this.#plan = plan
    this.#lister = lister
    this.#bystanders = new Bystanders(
      slice,
      [parent, ...children].map(({ relation }) => relation),
    )
    this.#sizeKey = `batch ${policy.name} ${parent.name}`
  }

  async run(): Promise<PolicyEnd> {
    const { context, sizes } = this.#slice
    for (;;) {
      if (this.#queue.length === 0) await this.#list()
      if (this.#queue.length === 0) return { kind: 'finished', setAside: this.#setAside }
      if (this.#slice.mustStop || this.#slice.rowsLeft === 0) return this.#stopped()
      if ((await this.#bystanders.standAside()) !== undefined) return this.#stopped()
      const most = Math.min(sizes.of(this.#sizeKey, context.config.batchRows), this.#slice.rowsLeft)
      const keys = this.#queue.take(most)
      context.progress({
        done: progressOf(this.#slice.cursor, this.#policy.name).parents,
        total: progressOf(this.#slice.cursor, this.#policy.name).parents + keys.length + this.#queue.length,
        unit: 'rows',
        current: this.#plan.shape.parent.name,
      })
      this.#slice.batches += 1
      const startedMs = context.clock.monotonicMs()
      const end = await this.#attempt(keys)
      if (end.kind === 'stop') return this.#stopped(keys.length)
      if (end.kind === 'set-aside') this.#setAside += keys.length
      if (end.kind === 'deleted') await this.#deleted(end.deleted, context.clock.monotonicMs() - startedMs)
    }
  }

  get #policy() {
    return this.#plan.shape.policy
  }

  #stopped(more = 0): PolicyEnd {
    return { kind: 'stopped', remaining: this.#queue.length + more + (this.#listed ? 0 : 1) }
  }

  /** Goes on behind the last list, so that what was set aside stays aside. */
  async #list(): Promise<void> {
    if (this.#listed) return
    const packs = await this.#lister(keysPerList, this.#after)
    const last = packs.at(-1)
    this.#queue.add(packs)
    this.#listed = this.#queue.length < keysPerList
    this.#after = last === undefined ? undefined : unpackKeys(last).at(-1)
  }

  async #attempt(keys: readonly ExpiredKey[]): Promise<BatchEnd> {
    try {
      return this.#policy.archive ? await this.#archive(keys) : await this.#deleteOnly(keys)
    } catch (error) {
      if (!(error instanceof BatchTooLarge) || keys.length === 1) throw error
      this.#slice.sizes.halve(this.#sizeKey, keys.length)
      this.#queue.putBack(keys)
      return { kind: 'again' }
    }
  }

  // ── with an archive ────────────────────────────────────────────────────────────────────────────────────────────

  async #archive(keys: readonly ExpiredKey[]): Promise<BatchEnd> {
    const slice = this.#slice
    let batch: ReadBatch | undefined
    try {
      const access = await takeStore(slice)
      if (access.kind === 'refused') return { kind: 'stop' }
      batch = await readBatch(slice, this.#plan, keys)
      if (batch === undefined) return { kind: 'set-aside' }
      const written = await writeBatch(slice, batch, access.owner)
      slice.storeFailures = 0
      return await this.#deleteWritten(written, keys)
    } catch (error) {
      if (!isStoreProblem(error) || slice.context.signal.aborted) throw error
      return this.#storeFailed(error, batch, keys)
    }
  }

  async #storeFailed(error: unknown, batch: ReadBatch | undefined, keys: readonly ExpiredKey[]): Promise<BatchEnd> {
    const slice = this.#slice
    slice.storeFailures += 1
    slice.context.logger.warn({ event: 'store-failed', error: (error as Error).message }, 'the store failed')
    if (batch !== undefined) await this.#discard(batch, (error as Error).message)
    if (slice.storeFailures >= mostStoreFailures) {
      reportStoreProblem(slice, error)
      return { kind: 'stop' }
    }
    this.#queue.putBack(keys)
    return { kind: 'again' }
  }

  async #deleteWritten(written: WrittenBatch, keys: readonly ExpiredKey[]): Promise<BatchEnd> {
    const slice = this.#slice
    const { batch } = written
    const end = await this.#deleteWithRetries(() => deleteArchived(slice, batch)).catch(async (error: unknown) => {
      if (error instanceof BatchTooLarge) await this.#discard(batch, error.message)
      throw error
    })
    if (end.kind === 'deleted') {
      slice.context.metrics.count('rows_archived', batch.rows, { policy: this.#policy.name })
      slice.context.metrics.count('bytes_archived', batch.bytes, { policy: this.#policy.name })
      await this.#followManifest(written, end.deleted)
      return end
    }
    await this.#discard(batch, end.why)
    if (end.kind === 'changed') {
      const changed = await selectChangedParents(slice, batch)
      const rest = keys.filter(({ key }) => !changed.has(keyText(key)))
      slice.context.logger.info(
        { event: 'rows-changed', policy: this.#policy.name, rows: keys.length - rest.length, why: end.why },
        'rows changed since they were archived',
      )
      // Nothing that can be named: a hold, a group. Then all of them wait for the next run.
      if (rest.length === keys.length) return { kind: 'set-aside' }
      this.#setAside += keys.length - rest.length
      this.#queue.putBack(rest)
      return { kind: 'again' }
    }
    return { kind: 'set-aside' }
  }

  /** The store's manifest follows. If it cannot now, the next run sees to it. */
  async #followManifest({ manifest }: WrittenBatch, { deletedAt }: DeletedRows): Promise<void> {
    const { context, manifestsFollowed } = this.#slice
    const deleted = { ...manifest, state: 'deleted' as const, ...(deletedAt === undefined ? {} : { deletedAt }) }
    try {
      await context.act({ kind: 'write-manifest', target: this.#plan.shape.parent.name, via: 'store' }, (store) =>
        storeManifest(this.#slice, store, deleted),
      )
      manifestsFollowed.push(manifest.batchId)
    } catch (error) {
      if (!isStoreProblem(error) || context.signal.aborted) throw error
      context.logger.warn({ event: 'manifest-behind', batchId: manifest.batchId }, 'a manifest lags behind')
    }
  }

  async #discard(batch: ReadBatch, why: string): Promise<void> {
    const slice = this.#slice
    const { discarded } = progressOf(slice.cursor, this.#policy.name)
    slice.cursor = withProgress(slice.cursor, this.#policy.name, { discarded: discarded + 1 })
    slice.context.metrics.count('batches_discarded', 1, { policy: this.#policy.name })
    await discardBatch(slice, batch.id, this.#plan.shape.parent.name, why)
  }

  // ── without one ────────────────────────────────────────────────────────────────────────────────────────────────

  async #deleteOnly(keys: readonly ExpiredKey[]): Promise<BatchEnd> {
    const values = this.#plan.shape.parent.keyColumns.map((_, column) => keys.map(({ key }) => key[column] ?? ''))
    let locked = this.#plan.locks
    const end = await this.#deleteWithRetries(() => deleteUnarchived(this.#slice, this.#plan, values, locked))
    if (end.kind === 'deleted') return end
    if (end.kind === 'failed' || locked) return { kind: 'set-aside' }
    // Something changed, or is in the way: from now on by the book, row locks first.
    locked = true
    const again = await this.#deleteWithRetries(() => deleteUnarchived(this.#slice, this.#plan, values, locked))
    return again.kind === 'deleted' ? again : { kind: 'set-aside' }
  }

  // ── either way ─────────────────────────────────────────────────────────────────────────────────────────────────

  async #deleteWithRetries(
    attempt: () => Promise<TimedRows | undefined>,
  ): Promise<
    | { readonly kind: 'deleted'; readonly deleted: TimedRows }
    | { readonly kind: 'changed' | 'failed'; readonly why: string }
  > {
    const { context } = this.#slice
    for (let tried = 1; ; tried += 1) {
      try {
        const deleted = await attempt()
        if (deleted === undefined) return { kind: 'failed', why: 'nothing was done' }
        return { kind: 'deleted', deleted }
      } catch (error) {
        if (context.signal.aborted) throw error
        const why = (error as Error).message
        // A row of a child arrived between the delete of its siblings and that of its parent.
        if (error instanceof RowsChanged || refusals.has(codeOf(error))) return { kind: 'changed', why }
        const attempts = mostAttempts[codeOf(error)]
        if (attempts === undefined) throw error
        if (tried >= attempts) return this.#tooSlow(error)
        // A statement that was too long is shorter next time; for everything else only waiting helps.
        if (codeOf(error) !== '57014') await context.clock.sleep(retryPauseMs * (1 + Math.random()) * tried)
      }
    }
  }

  #tooSlow(error: unknown): { readonly kind: 'failed'; readonly why: string } {
    const { parent } = this.#plan.shape
    const locked = codeOf(error) !== '57014'
    this.#slice.report({
      key: `${locked ? 'locked' : 'too-slow'}-${this.#policy.name}`,
      severity: 'warning',
      summary: locked
        ? `rows of ${parent.name} are locked by other sessions and left for later`
        : `deleting few rows of ${parent.name} takes longer than statementLimit: rows are left for later`,
      details: { error: (error as Error).message },
    })
    return { kind: 'failed', why: (error as Error).message }
  }

  async #deleted(deleted: TimedRows, tookMs: number): Promise<void> {
    const slice = this.#slice
    const { context } = slice
    const { name } = this.#policy
    slice.cursor = withRate(slice.cursorAfter(name, deleted), name, deleted.rows, tookMs)
    slice.rowsDeleted += deleted.rows
    for (const [relation, rows] of Object.entries(deleted.byRelation)) {
      context.metrics.count('rows_deleted', rows, { policy: name, relation })
    }
    if (deleted.waiting > 0) {
      slice.sizes.halve(this.#sizeKey, deleted.parents)
      context.logger.info({ event: 'throttled', reason: 'lock-waiters', waiting: deleted.waiting }, 'standing aside')
    } else slice.sizes.fit(this.#sizeKey, deleted.parents, deleted.tookMs, context.config.transactionTarget)
    const pauseMs = deleted.waiting > 0 ? waitersPauseMs : context.config.pause
    if (pauseMs > 0 && this.#queue.length > 0) await context.clock.sleep(pauseMs)
  }
}
