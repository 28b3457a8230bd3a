/** A detached partition on its way into the archive: batch by batch, in the order of time and key, in as many runs as it takes. */
import { parseRelationName, type RelationName } from '@battlescope/database'
import { sql } from 'kysely'
import { schemaOf, writeBatch } from './archive-batch.js'
import { BatchTooLarge, isStoreProblem } from './batch-errors.js'
import type { BatchShape } from './batch-shape.js'
import { discardBatch, reportStoreProblem } from './clean-up.js'
import { addContent, contentHashOf } from './content-hash.js'
import type { Expiry } from './expiry.js'
import { selectKeys } from './expiry-queries.js'
import { KeyQueue, type ExpiredKey, type KeyPack } from './key-queue.js'
import { takeStore } from './ownership.js'
import type { ArchivedSoFar, PartitionRecord } from './partition-facts.js'
import { columnsText } from './partition-queries.js'
import { updateArchived } from './partition-records.js'
import { keyOf } from './policy.js'
import { readBatch, type BatchPlan, type ReadBatch } from './read-batch.js'
import type { Slice } from './slice.js'
import { Bystanders } from './stand-aside.js'

/** Keys that are found by one statement: see policy-run.ts. */
const keysPerList = 50_000

/** `changed`: what is archived so far is no part of what there is. `stopped`: the next run goes on. */
export type ArchiveEnd = 'archived' | 'changed' | 'stopped'

export class PartitionArchive {
  /** Also after a run that came to no end. */
  archived: ArchivedSoFar
  readonly #slice: Slice
  readonly #expiry: Expiry
  readonly #record: PartitionRecord
  readonly #relation: RelationName
  readonly #bystanders: Bystanders
  readonly #plan: BatchPlan
  readonly #sizeKey: string

  constructor(slice: Slice, expiry: Expiry, horizon: Date, record: PartitionRecord) {
    this.archived = record.archived
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
    this.#plan = { shape, deletable: () => sql<boolean>`true`, locks: true, references: [], horizon, asText: new Map() }
  }

  async run(): Promise<ArchiveEnd> {
    const slice = this.#slice
    const { context } = slice
    const queue = new KeyQueue()
    for (;;) {
      if (queue.length === 0) queue.add(await this.#list())
      if (queue.length === 0) return 'archived'
      if (slice.mustStop || (await this.#bystanders.standAside()) !== undefined) return 'stopped'
      const keys = queue.take(slice.sizes.of(this.#sizeKey, context.config.batchRows))
      context.progress({
        done: this.archived.rows,
        total: this.archived.rows + keys.length + queue.length,
        unit: 'rows',
        current: this.#record.partition,
      })
      slice.batches += 1
      try {
        const next = await this.#archiveBatch(keys)
        if (typeof next === 'string') return next
        this.archived = next
      } catch (error) {
        if (!(error instanceof BatchTooLarge) || keys.length === 1) throw error
        slice.sizes.halve(this.#sizeKey, keys.length)
        queue.putBack(keys)
      }
    }
  }

  async #list(): Promise<readonly KeyPack[]> {
    const { context } = this.#slice
    const { policy, keyColumns } = this.#expiry
    const { last } = this.archived
    return selectKeys(
      context.reader({ statementTimeoutMs: context.config.countLimit }),
      { relation: this.#relation, timeColumn: policy.timeColumn, keyColumns },
      sql<boolean>`true`,
      { limit: keysPerList, ...(last === undefined ? {} : { after: last }) },
    )
  }

  async #archiveBatch(keys: readonly ExpiredKey[]): Promise<ArchivedSoFar | 'changed' | 'stopped'> {
    const slice = this.#slice
    const { archived } = this
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
      slice.context.metrics.count('rows_archived', batch.rows, { policy: this.#expiry.policy.name })
      slice.context.metrics.count('bytes_archived', batch.bytes, { policy: this.#expiry.policy.name })
      return next
    } catch (error) {
      if (!isStoreProblem(error) || slice.context.signal.aborted) throw error
      if (batch !== undefined) {
        await discardBatch(slice, batch.id, keyOf(this.#expiry.policy.relation), (error as Error).message)
        slice.context.metrics.count('batches_discarded', 1, { policy: this.#expiry.policy.name })
      }
      reportStoreProblem(slice, error)
      return 'stopped'
    }
  }
}
