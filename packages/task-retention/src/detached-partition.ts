/** A detached partition on its way out: archived batch by batch, then compared under lock, and dropped. */
import { catalogIn, markAllDeleted } from '@battlescope/archive'
import { parseRelationName, type RelationName } from '@battlescope/database'
import { sql } from 'kysely'
import { schemaOf, writeBatch } from './archive-batch.js'
import { BatchTooLarge, codeOf, isStoreProblem, RowsChanged } from './batch-errors.js'
import type { BatchShape } from './batch-shape.js'
import { discardBatch, followStaleManifests, reportStoreProblem } from './clean-up.js'
import { addContent, contentHashOf, isSameContent } from './content-hash.js'
import { isDeletable, type Expiry } from './expiry.js'
import { selectKeys, type ExpiredKey } from './expiry-queries.js'
import { KeyQueue } from './key-queue.js'
import { takeStore } from './ownership.js'
import type { ArchivedSoFar, PartitionContent, PartitionRecord } from './partition-facts.js'
import { waitingFinding } from './partition-findings.js'
import { columnsText, dropTable, lockDetached, selectColumnsText, selectContent } from './partition-queries.js'
import { confirmDetached, forgetArchived, isRefusal, mayPass, nothingArchived } from './partition-recovery.js'
import { updateArchived, updateDropped } from './partition-records.js'
import { keyOf, type Policy } from './policy.js'
import { keepCommit } from './queries.js'
import { readBatch, type BatchPlan, type ReadBatch } from './read-batch.js'
import type { Slice } from './slice.js'
import { Bystanders } from './stand-aside.js'

/** Keys that are found by one statement: see policy-run.ts. */
const keysPerList = 50_000
/** How often a partition is archived anew in one run because somebody wrote into it. */
const mostRestarts = 2
/** How often the transaction that drops it is tried in one run. */
const mostTries = 3
const retryPauseMs = 200

/** `waits`: people have to see to it, and a finding says so. `stopped`: the next run goes on. */
export type DropEnd = 'dropped' | 'waits' | 'stopped'

type ArchiveEnd =
  | { readonly kind: 'archived'; readonly archived: ArchivedSoFar }
  | { readonly kind: 'changed' }
  | { readonly kind: 'stopped' }

/** Rows of it must stay: a hold, a longer period, or what somebody put there. */
class RowsStay extends Error {
  override readonly name = 'RowsStay'
}

export class DetachedPartition {
  readonly #slice: Slice
  readonly #expiry: Expiry
  readonly #bystanders: Bystanders
  readonly #plan: BatchPlan
  readonly #relation: RelationName
  readonly #sizeKey: string
  #record: PartitionRecord
  /** That were dropped. */
  #rows = 0

  constructor(slice: Slice, expiry: Expiry, horizon: Date, record: PartitionRecord) {
    this.#slice = slice
    this.#expiry = expiry
    this.#record = record
    this.#relation = parseRelationName(record.partition)
    this.#bystanders = new Bystanders(slice, [expiry.policy.relation, this.#relation])
    this.#sizeKey = `partition ${expiry.policy.name}`
    const { policy, keyColumns } = expiry
    const shape: BatchShape = {
      policy,
      parent: { relation: this.#relation, name: keyOf(policy.relation), keyColumns, targetColumns: keyColumns },
      children: [],
    }
    // Whether rows may go is judged for all of them at once: every row of it has to be in the archive.
    this.#plan = { shape, deletable: () => sql<boolean>`true`, locks: true, horizon, asText: new Map() }
  }

  async run(): Promise<DropEnd> {
    const slice = this.#slice
    if (this.#record.detachedAt === undefined) await confirmDetached(slice, schemaOf(slice), this.#record)
    const before = await this.#beforehand()
    if (before !== 'go') return before
    for (let restarts = 0; ; restarts += 1) {
      const end: ArchiveEnd = this.#isArchived ? await this.#archive() : { kind: 'archived', archived: nothingArchived }
      if (end.kind === 'stopped') return 'stopped'
      const dropped = end.kind === 'changed' ? 'changed' : await this.#drop(end.archived)
      if (dropped !== 'changed') return dropped
      await forgetArchived(slice, schemaOf(slice), this.#record, 'its rows changed since they were archived')
      this.#record = { ...this.#record, archived: nothingArchived }
      if (restarts >= mostRestarts) {
        return this.#wait(`somebody writes into it: ${restarts + 1} times its rows were not what had been archived`)
      }
    }
  }

  get #policy(): Policy {
    return this.#expiry.policy
  }

  /** What was begun with an archive ends with one, whatever the configuration says by now. */
  get #isArchived(): boolean {
    return this.#policy.archive || this.#record.archived.batchIds.length > 0
  }

  /** A hold or a longer period may have come since it was detached: nothing is archived in vain. */
  async #beforehand(): Promise<'go' | DropEnd> {
    const { context, rowsLeft, rowsDeleted } = this.#slice
    const db = context.reader({ statementTimeoutMs: context.config.countLimit })
    const content = await selectContent(db, this.#relation, {
      keyColumns: this.#expiry.keyColumns,
      mayGo: isDeletable(this.#expiry, 't'),
      hashed: false,
    })
    if (content.staying > 0) return this.#wait(`${content.staying} of its rows must stay`)
    if (content.rows <= rowsLeft) return 'go'
    if (rowsDeleted > 0) return 'stopped'
    return this.#wait(`it has ${content.rows} rows, and one run deletes at most ${context.config.maxRowsPerRun}`)
  }

  #wait(why: string): DropEnd {
    this.#slice.report(waitingFinding(this.#record, why))
    return 'waits'
  }

  // ── archive ────────────────────────────────────────────────────────────────────────────────────────────────────

  async #archive(): Promise<ArchiveEnd> {
    const slice = this.#slice
    const { context } = slice
    const queue = new KeyQueue()
    let archived = this.#record.archived
    for (;;) {
      if (queue.length === 0) queue.add(await this.#list(archived))
      if (queue.length === 0) return { kind: 'archived', archived }
      if (slice.mustStop || (await this.#bystanders.standAside()) !== undefined) return { kind: 'stopped' }
      const keys = queue.take(slice.sizes.of(this.#sizeKey, context.config.batchRows))
      context.progress({
        done: archived.rows,
        total: archived.rows + keys.length + queue.length,
        unit: 'rows',
        current: this.#record.partition,
      })
      slice.batches += 1
      try {
        const next = await this.#archiveBatch(keys, archived)
        if (typeof next === 'string') return { kind: next }
        archived = next
        this.#record = { ...this.#record, archived }
      } catch (error) {
        if (!(error instanceof BatchTooLarge) || keys.length === 1) throw error
        slice.sizes.halve(this.#sizeKey, keys.length)
        queue.putBack(keys)
      }
    }
  }

  async #list({ last }: ArchivedSoFar): Promise<readonly ExpiredKey[]> {
    const { context } = this.#slice
    const { policy, keyColumns } = this.#expiry
    return selectKeys(
      context.reader({ statementTimeoutMs: context.config.countLimit }),
      { relation: this.#relation, timeColumn: policy.timeColumn, keyColumns },
      sql<boolean>`true`,
      { limit: keysPerList, ...(last === undefined ? {} : { after: last }) },
    )
  }

  async #archiveBatch(
    keys: readonly ExpiredKey[],
    archived: ArchivedSoFar,
  ): Promise<ArchivedSoFar | 'changed' | 'stopped'> {
    const slice = this.#slice
    let batch: ReadBatch | undefined
    try {
      const access = await takeStore(slice)
      if (access.kind === 'refused') return 'stopped'
      batch = await readBatch(slice, this.#plan, keys)
      const last = keys.at(-1)
      if (batch === undefined || last === undefined) return 'changed'
      const { parent } = batch
      const columns = columnsText(parent.columns)
      if (archived.columns !== undefined && archived.columns !== columns) return 'changed'
      const next: ArchivedSoFar = {
        batchIds: [...archived.batchIds, batch.id],
        rows: archived.rows + parent.rows,
        hash: addContent(archived.hash, contentHashOf(parent.guards)),
        columns,
        last: { time: last.time, key: last.key },
      }
      await writeBatch(slice, batch, access.owner, (db) => updateArchived(db, schemaOf(slice), this.#record.id, next))
      slice.context.metrics.count('rows_archived', batch.rows, { policy: this.#policy.name })
      slice.context.metrics.count('bytes_archived', batch.bytes, { policy: this.#policy.name })
      return next
    } catch (error) {
      if (!isStoreProblem(error) || slice.context.signal.aborted) throw error
      if (batch !== undefined) {
        await discardBatch(slice, batch.id, keyOf(this.#policy.relation), (error as Error).message)
        slice.context.metrics.count('batches_discarded', 1, { policy: this.#policy.name })
      }
      reportStoreProblem(slice, error)
      return 'stopped'
    }
  }

  // ── drop ───────────────────────────────────────────────────────────────────────────────────────────────────────

  async #drop(archived: ArchivedSoFar): Promise<DropEnd | 'changed'> {
    const slice = this.#slice
    const { context } = slice
    for (let tried = 1; ; tried += 1) {
      try {
        await this.#compareAndDrop(archived)
        await this.#dropped()
        return 'dropped'
      } catch (error) {
        if (context.signal.aborted) throw error
        if (error instanceof RowsChanged) return 'changed'
        if (error instanceof RowsStay) return this.#wait(error.message)
        if (mayPass(error) && tried < mostTries) {
          await context.clock.sleep(retryPauseMs * tried)
        } else if (mayPass(error) || isRefusal(error)) {
          const end = this.#wait((error as Error).message)
          return codeOf(error) === '55P03' ? 'stopped' : end
        } else throw error
      }
    }
  }

  async #compareAndDrop(archived: ArchivedSoFar): Promise<void> {
    const slice = this.#slice
    const { context } = slice
    const { lockTimeout, countLimit } = context.config
    const schema = schemaOf(slice)
    const action = {
      kind: 'drop-partition',
      target: keyOf(this.#policy.relation),
      reason: `${this.#record.partition}: ${this.#isArchived ? `${archived.rows} rows` : 'not archived'}`,
      lockTimeoutMs: lockTimeout,
      statementTimeoutMs: countLimit,
    }
    await context.act(action, async (fenced) => {
      const { db } = fenced
      await keepCommit(db)
      // First of all, so that whoever discards one of them waits for us, or we for them.
      if (!(await markAllDeleted(catalogIn(db, schema), archived.batchIds))) {
        throw new RowsChanged(this.#record.partition, 'a batch of it was discarded')
      }
      if (!(await lockDetached(db, this.#relation, this.#record.oid)))
        throw new RowsStay('it is not the table that was detached')
      const content = await selectContent(db, this.#relation, {
        keyColumns: this.#expiry.keyColumns,
        mayGo: isDeletable(this.#expiry, 't'),
        hashed: this.#isArchived,
      })
      if (content.staying > 0) throw new RowsStay(`${content.staying} of its rows must stay`)
      if (this.#isArchived) await this.#mustEqual(content, archived, () => selectColumnsText(db, this.#relation))
      await dropTable(db, this.#relation)
      await updateDropped(db, schema, this.#record.id)
      const { rows } = content
      await fenced.saveCheckpoint(slice.cursorAfter(this.#policy.name, { parents: rows, rows }))
      this.#rows = rows
      return { rows }
    })
  }

  async #mustEqual(content: PartitionContent, archived: ArchivedSoFar, columns: () => Promise<string>): Promise<void> {
    const { partition } = this.#record
    if (content.rows !== archived.rows) {
      throw new RowsChanged(partition, `${content.rows} rows where ${archived.rows} were archived`)
    }
    if (!isSameContent(content.hash, archived.hash)) throw new RowsChanged(partition, 'rows changed')
    if (archived.columns !== undefined && archived.columns !== (await columns())) {
      throw new RowsChanged(partition, 'its columns changed')
    }
  }

  async #dropped(): Promise<void> {
    const slice = this.#slice
    const { metrics } = slice.context
    const { name, relation } = this.#policy
    slice.cursor = slice.cursorAfter(name, { parents: this.#rows, rows: this.#rows })
    slice.rowsDeleted += this.#rows
    slice.batches += 1
    metrics.count('rows_deleted', this.#rows, { policy: name, relation: keyOf(relation) })
    metrics.count('partitions_dropped', 1, { policy: name })
    if (this.#isArchived) await followStaleManifests(slice)
  }
}
