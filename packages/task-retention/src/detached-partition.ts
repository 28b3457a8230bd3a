/** A detached partition on its way out: archived batch by batch, then compared under lock, and dropped. */
import { catalogIn, markAllDeleted } from '@battlescope/archive'
import { parseRelationName, type RelationName } from '@battlescope/database'
import { schemaOf } from './archive-batch.js'
import { codeOf, RowsChanged } from './batch-errors.js'
import { followStaleManifests } from './clean-up.js'
import { isSameContent } from './content-hash.js'
import { isDeletable, type Expiry } from './expiry.js'
import { PartitionArchive } from './partition-archive.js'
import { checkArchived } from './partition-check.js'
import type { ArchivedSoFar, PartitionContent, PartitionRecord } from './partition-facts.js'
import { waitingFinding } from './partition-findings.js'
import { dropTable, lockDetached, selectColumnsText, selectContent } from './partition-queries.js'
import {
  areArchivedLive,
  confirmDetached,
  forgetArchived,
  isRefusal,
  mayPass,
  nothingArchived,
} from './partition-recovery.js'
import { updateDropped } from './partition-records.js'
import { keyOf, type Policy } from './policy.js'
import { keepCommit } from './queries.js'
import type { Slice } from './slice.js'

/** How often a partition is archived anew in one run because somebody wrote into it. */
const mostRestarts = 2
/** How often the transaction that drops it is tried in one run. */
const mostTries = 3
const retryPauseMs = 200

/** `waits`: people have to see to it, and a finding says so. `stopped`: the next run goes on. */
export type DropEnd = 'dropped' | 'waits' | 'stopped'

/** Rows of it must stay: a hold, a longer period, or what somebody put there. */
class RowsStay extends Error {
  override readonly name = 'RowsStay'
}

export class DetachedPartition {
  readonly #slice: Slice
  readonly #expiry: Expiry
  readonly #horizon: Date
  readonly #relation: RelationName
  /** What was begun with an archive ends with one, whatever the configuration says by now. */
  readonly #isArchived: boolean
  #record: PartitionRecord
  /** That were dropped. */
  #rows = 0

  constructor(slice: Slice, expiry: Expiry, horizon: Date, record: PartitionRecord) {
    this.#slice = slice
    this.#expiry = expiry
    this.#record = record
    this.#relation = parseRelationName(record.partition)
    this.#horizon = horizon
    this.#isArchived = expiry.policy.archive || record.archive || record.archived.batchIds.length > 0
  }

  async run(): Promise<DropEnd> {
    let end: DropEnd
    try {
      end = await this.#work()
    } catch (error) {
      // Of one partition, and in every run: the other policies go on.
      if (this.#slice.context.signal.aborted || !(mayPass(error) || isRefusal(error))) throw error
      return this.#waitFor(error)
    }
    // Not within: what goes wrong from here on is no failure of the drop, which is committed.
    if (end === 'dropped') await this.#dropped()
    return end
  }

  async #work(): Promise<DropEnd> {
    const slice = this.#slice
    if (this.#isArchived && !slice.context.hasClient('store')) {
      const { rows } = this.#record.archived
      return this.#wait(`${rows} of its rows are archived, the others shall be, and no cold storage is configured`)
    }
    if (this.#record.detachedAt === undefined) await confirmDetached(slice, schemaOf(slice), this.#record)
    const before = await this.#beforehand()
    if (before !== 'go') return before
    for (let restarts = 0; ; restarts += 1) {
      const dropped = await this.#archiveAndDrop()
      if (dropped !== 'changed') return dropped
      if (this.#record.archived.batchIds.length > 0) {
        const areThere = await areArchivedLive(slice, schemaOf(slice), this.#record)
        if (areThere === undefined) return this.#wait('whether its archived rows are in it cannot be told')
        if (!areThere) return this.#wait(this.#removed())
      }
      const why = 'what was archived is not, or no more, what there is'
      if (!(await forgetArchived(slice, schemaOf(slice), this.#record, why))) return 'stopped'
      this.#record = { ...this.#record, archived: nothingArchived }
      if (restarts >= mostRestarts) {
        return this.#wait(`somebody writes into it: ${restarts + 1} times its rows were not what had been archived`)
      }
    }
  }

  async #archiveAndDrop(): Promise<DropEnd | 'changed'> {
    if (this.#isArchived) {
      const before = new Set(this.#record.archived.batchIds)
      const archive = new PartitionArchive(this.#slice, this.#expiry, this.#horizon, this.#record)
      const end = await archive.run()
      const { archived } = archive
      this.#record = { ...this.#record, archived }
      if (end !== 'archived') return end
      const written = new Set(archived.batchIds.filter((id) => !before.has(id)))
      const check = await checkArchived(this.#slice, this.#record, written)
      if (check !== 'archived') return check
    }
    return this.#drop()
  }

  get #policy(): Policy {
    return this.#expiry.policy
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
    if (content.rows < this.#record.archived.rows) return this.#wait(this.#removed())
    if (content.rows <= rowsLeft) return 'go'
    if (rowsDeleted > 0) return 'stopped'
    return this.#wait(`it has ${content.rows} rows, and one run deletes at most ${context.config.maxRowsPerRun}`)
  }

  #removed(): string {
    return `not all of the ${this.#record.archived.rows} rows that are archived are in it any more: some were removed by another hand. Drop it, or attach it again: either way the archive keeps what it has`
  }

  #wait(why: string): DropEnd {
    this.#slice.report(waitingFinding(this.#record, why))
    return 'waits'
  }

  #waitFor(error: unknown): DropEnd {
    const end = this.#wait((error as Error).message)
    return codeOf(error) === '55P03' ? 'stopped' : end
  }

  // ── drop ───────────────────────────────────────────────────────────────────────────────────────────────────────

  async #drop(): Promise<DropEnd | 'changed'> {
    const slice = this.#slice
    const { context } = slice
    for (let tried = 1; ; tried += 1) {
      try {
        await this.#compareAndDrop()
        return 'dropped'
      } catch (error) {
        if (context.signal.aborted) throw error
        if (error instanceof RowsChanged) return 'changed'
        if (error instanceof RowsStay) return this.#wait(error.message)
        if (mayPass(error) && tried < mostTries) {
          await context.clock.sleep(retryPauseMs * tried)
        } else throw error
      }
    }
  }

  async #compareAndDrop(): Promise<void> {
    const slice = this.#slice
    const { archived } = this.#record
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
      const why = await lockDetached(db, this.#relation, this.#record.oid)
      if (why !== undefined) throw new RowsStay(why)
      const content = await selectContent(db, this.#relation, {
        keyColumns: this.#expiry.keyColumns,
        mayGo: isDeletable(this.#expiry, 't'),
        hashed: this.#isArchived,
      })
      if (content.staying > 0) throw new RowsStay(`${content.staying} of its rows must stay`)
      if (this.#isArchived) await this.#mustEqual(content, archived, () => selectColumnsText(db, this.#relation))
      if (!(await dropTable(db, this.#relation, this.#record.oid)))
        throw new RowsStay('another table has its name by now')
      await updateDropped(db, schema, this.#record.id)
      const { rows } = content
      await fenced.saveCheckpoint(slice.cursorAfter(this.#policy.name, { parents: rows, rows }))
      this.#rows = rows
      return { rows }
    })
  }

  async #mustEqual(content: PartitionContent, archived: ArchivedSoFar, columns: () => Promise<string>): Promise<void> {
    const { partition } = this.#record
    // Some were removed by another hand, and what was archived of them is the only copy.
    if (content.rows < archived.rows) throw new RowsStay(this.#removed())
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
