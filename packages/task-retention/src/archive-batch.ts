/** A batch on its way out: read from one snapshot, written as objects, read back, and only then fit to be deleted. */
import { randomUUID } from 'node:crypto'
import {
  catalogIn,
  dataName,
  encodeObjects,
  insertBatch,
  manifestName,
  manifestOf,
  markVerified,
  planColumns,
  readWhole,
  selectColumns,
  serializeManifest,
  updateStoredState,
  updateVerifiedObjects,
  verifyObject,
  writeManifest,
  type ArchiveObject,
  type EncodedObject,
  type Manifest,
  type PlannedColumn,
  type RecordedOwner,
} from '@battlescope/archive'
import type { Store } from '@battlescope/cold-storage'
import type { Snapshot } from '@battlescope/scheduler-core'
import { BatchTaken, BatchTooLarge, codeOf, NotReadBack } from './batch-errors.js'
import type { BatchShape, ChildShape, RelationShape } from './batch-shape.js'
import type { ExpiredKey } from './expiry-queries.js'
import { joinGuards, type Guards } from './guards.js'
import {
  copyChildren,
  copyParents,
  guardColumns,
  selectStillDeletable,
  type Deletable,
  type Values,
} from './queries.js'
import { settleAll, type Slice } from './slice.js'

/** What the batches of one policy in one run have in common. */
export interface BatchPlan {
  readonly shape: BatchShape
  readonly deletable: Deletable
  /** Whether the rows that decide are locked before anything is deleted: else what is deleted of them is compared, as of children. */
  readonly locks: boolean
  readonly horizon: Date
  /** Columns, by relation, that hold what their type's encoding cannot: found when it happens, and then kept for the run. */
  readonly asText: Map<string, Set<string>>
}

export interface ReadRelation {
  readonly relation: RelationShape
  readonly columns: readonly PlannedColumn[]
  readonly objects: readonly EncodedObject[]
  readonly guards: Guards
  readonly rows: number
  readonly bytes: number
}

/** Rows as they were in one snapshot, encoded, in memory. */
export interface ReadBatch {
  readonly id: string
  readonly plan: BatchPlan
  readonly month: string
  readonly firstAt: Date
  readonly lastAt: Date
  /** Of the parents that were read, in the order of the copy. */
  readonly keys: Values
  readonly targets: Values
  readonly parent: ReadRelation
  /** In the order of the shape. */
  readonly children: readonly ReadRelation[]
  readonly rows: number
  readonly bytes: number
}

/**
 * Bytes of encoded objects that one batch may have while it can be smaller. A batch is held in memory until it is stored, so that the
 * snapshot, which holds back VACUUM, is not open for as long as a store takes.
 */
const mostBatchBytes = 24 * 1024 * 1024

/**
 * Reads the rows with these keys, as far as they may still be deleted, and everything that hangs on them.
 * @returns undefined when none of them may be deleted any more
 * @throws BatchTooLarge when it takes more memory, or has more rows, than one batch may, and fewer keys would help
 */
export async function readBatch(
  slice: Slice,
  plan: BatchPlan,
  keys: readonly ExpiredKey[],
): Promise<ReadBatch | undefined> {
  for (;;) {
    try {
      return await slice.context.snapshot((snapshot) => readFrom(snapshot, slice, plan, keys))
    } catch (error) {
      const { column, asText, relation } = error as { column?: string; asText?: boolean; relation?: string }
      if (codeOf(error) !== 'unrepresentable-value' || asText !== true || relation === undefined) throw error
      const columns = plan.asText.get(relation) ?? new Set<string>()
      if (column === undefined || columns.has(column)) throw error
      plan.asText.set(relation, columns.add(column))
    }
  }
}

async function readFrom(
  { db, copyTo }: Snapshot<unknown>,
  slice: Slice,
  plan: BatchPlan,
  expired: readonly ExpiredKey[],
): Promise<ReadBatch | undefined> {
  const { shape } = plan
  const { parent } = shape
  const named = parent.keyColumns.map((_, column) => expired.map(({ key }) => key[column] ?? ''))
  const targets = await selectStillDeletable(db, plan.deletable, shape, named)
  const of = (column: string) => targets[parent.targetColumns.findIndex(({ name }) => name === column)] ?? []
  const keys = parent.keyColumns.map(({ name }) => of(name))
  if ((keys[0] ?? []).length === 0) return undefined
  const limit = new BatchLimit(slice.rowsLeft, expired.length > 1)
  const read = async (relation: RelationShape | ChildShape, statement: (columns: readonly PlannedColumn[]) => string) =>
    readRelation(db, copyTo, relation, plan, statement, limit)
  const ofParent = await read(parent, (columns) => copyParents(shape, columns, keys))
  const children: ReadRelation[] = []
  for (const child of shape.children) {
    children.push(await read(child, (columns) => copyChildren(child, columns, child.references.map(of))))
  }
  const [first, last] = [expired[0], expired.at(-1)]
  return {
    id: randomUUID(),
    plan,
    month: first?.month ?? '',
    firstAt: instantOf(first?.time),
    lastAt: instantOf(last?.time),
    keys,
    targets,
    parent: ofParent,
    children,
    rows: limit.rows,
    bytes: limit.bytes,
  }
}

/** Counts what a batch takes, and says when it is too much. */
class BatchLimit {
  rows = 0
  bytes = 0
  constructor(
    private readonly mostRows: number,
    private readonly canBeSmaller: boolean,
  ) {}

  add(object: EncodedObject): void {
    this.rows += object.rowCount
    this.bytes += object.bytes.length
    if (!this.canBeSmaller) return
    if (this.bytes > mostBatchBytes) throw new BatchTooLarge(`more than ${mostBatchBytes} bytes`)
    if (this.rows > this.mostRows) throw new BatchTooLarge(`more than ${this.mostRows} rows`)
  }
}

async function readRelation(
  db: Snapshot<unknown>['db'],
  copyTo: Snapshot<unknown>['copyTo'],
  relation: RelationShape | ChildShape,
  plan: BatchPlan,
  statement: (columns: readonly PlannedColumn[]) => string,
  limit: BatchLimit,
): Promise<ReadRelation> {
  const { schema, name } = relation.relation
  // In the same snapshot as the rows: a column that was added meanwhile would otherwise be deleted without a copy.
  const columns = planColumns(await selectColumns(db, schema, name), plan.asText.get(relation.name))
  const objects: EncodedObject[] = []
  const guardCount = guardColumns(relation).length + 1
  try {
    for await (const object of encodeObjects({ columns, guardCount, source: copyTo(statement(columns)) })) {
      objects.push(object)
      limit.add(object)
    }
  } catch (error) {
    throw codeOf(error) === 'unrepresentable-value' ? Object.assign(error as Error, { relation: relation.name }) : error
  }
  return {
    relation,
    columns,
    objects,
    guards: joinGuards(objects.map(({ guards }) => guards)),
    rows: objects.reduce((sum, { rowCount }) => sum + rowCount, 0),
    bytes: objects.reduce((sum, { bytes }) => sum + bytes.length, 0),
  }
}

/** Milliseconds suffice for what is only told to people. */
function instantOf(time: string | undefined): Date {
  return new Date((time ?? '').replace(' ', 'T').replace(/\+00$/, 'Z'))
}

/** Of the objects of a batch, what the catalog and the manifest say of them. */
function describeObjects(
  slice: Slice,
  batch: ReadBatch,
): readonly (ArchiveObject & { readonly encoded: EncodedObject })[] {
  return [batch.parent, ...batch.children].flatMap(({ relation, columns, objects }) =>
    objects.map((encoded, part) => ({
      relation: relation.name,
      part,
      name: dataName({
        relation: relation.relation,
        month: batch.month,
        slotAt: new Date(slice.cursor.slotAt),
        batchId: batch.id,
        part,
      }),
      rowCount: encoded.rowCount,
      sizeBytes: encoded.bytes.length,
      sha256: encoded.sha256,
      columns: columns.map(({ selectAs: _, ...column }) => ({
        ...column,
        checksum: encoded.checksums[column.name] ?? '',
      })),
      firstKey: keyAt(relation, encoded.guards, 0),
      lastKey: keyAt(relation, encoded.guards, encoded.rowCount - 1),
      encoded,
    })),
  )
}

function keyAt(relation: RelationShape | ChildShape, guards: Guards, row: number): string {
  const names = guardColumns(relation)
  return JSON.stringify(relation.keyColumns.map(({ name }) => guards[names.indexOf(name)]?.[row] ?? ''))
}

/** What is left of a batch that was written and verified. */
export interface WrittenBatch {
  readonly batch: ReadBatch
  readonly manifest: Manifest
}

/**
 * Announces, writes, reads back and verifies. From the first statement on, the catalog knows every name, so whatever ends this in between
 * leaves nothing that the next run does not find.
 * @throws StoreError, NotReadBack: the batch is to be discarded
 */
export async function writeBatch(slice: Slice, batch: ReadBatch, owner: RecordedOwner): Promise<WrittenBatch> {
  const { context, cursor } = slice
  const { policy, parent } = batch.plan.shape
  const objects = describeObjects(slice, batch)
  const described = {
    id: batch.id,
    policy: policy.name,
    relation: parent.name,
    month: batch.month,
    horizon: batch.plan.horizon,
    slotId: cursor.slotId,
    firstAt: batch.firstAt,
    lastAt: batch.lastAt,
  }
  await announce(slice, described, objects)
  const perRelation = [batch.parent, ...batch.children].filter(({ rows }) => rows > 0)
  await settleAll(
    perRelation.map(({ relation, rows, bytes }) =>
      context.act(
        { kind: 'archive', target: relation.name, via: 'store', reason: `batch ${batch.id}: ${rows} rows` },
        async (store) => {
          for (const object of objects) if (object.relation === relation.name) await storeObject(slice, store, object)
          return { rows, bytes }
        },
      ),
    ),
  )
  const plain = objects.map(({ encoded: _, ...object }) => object)
  const verifiedAt = context.clock.now()
  const manifest = manifestOf({
    batch: { ...described, verifiedAt, deletedAt: undefined },
    objects: plain,
    owner,
  })
  await context.act({ kind: 'write-manifest', target: parent.name, via: 'store' }, (store) =>
    storeNewManifest(slice, store, manifest),
  )
  await context.act({ kind: 'confirm-batch', target: parent.name, reason: `batch ${batch.id}` }, async ({ db }) => {
    const catalog = catalogIn(db, schemaOf(slice))
    await updateVerifiedObjects(catalog, batch.id, plain)
    if (!(await markVerified(catalog, batch.id))) throw new BatchTaken()
  })
  return { batch, manifest }
}

async function announce(
  slice: Slice,
  batch: Omit<Parameters<typeof insertBatch>[2], 'objects'>,
  objects: readonly ArchiveObject[],
): Promise<void> {
  const followed = [...slice.manifestsFollowed]
  const reason = `batch ${batch.id}: ${objects.length} objects`
  await slice.context.act({ kind: 'announce-batch', target: batch.relation, reason }, async ({ db }) => {
    const catalog = catalogIn(db, schemaOf(slice))
    await updateStoredState(catalog, followed, 'deleted')
    await insertBatch(catalog, 'retention', {
      ...batch,
      objects: objects.map(({ relation, part, name }) => ({ relation, part, name })),
    })
  })
  slice.manifestsFollowed.splice(0, followed.length)
}

/** Writes an object and reads it back from the store: its bytes, its footer, and every value. */
async function storeObject(
  { context }: Slice,
  store: Store,
  object: ArchiveObject & { readonly encoded: EncodedObject },
): Promise<void> {
  let failure: unknown
  try {
    await store.put(object.name, object.encoded.bytes, { ifAbsent: true, signal: context.signal })
  } catch (error) {
    // Both leave it open whether it is there: what can be read back decides.
    if (codeOf(error) !== 'store-unavailable' && codeOf(error) !== 'store-conflict') throw error
    failure = error
  }
  let bytes: Uint8Array
  try {
    bytes = await readWhole(store, object.name, context.signal)
  } catch (error) {
    throw failure ?? error
  }
  try {
    const { rowCount, sizeBytes, sha256, columns } = object
    await verifyObject(bytes, { rowCount, sizeBytes, sha256, columns, checksums: object.encoded.checksums })
  } catch (error) {
    if (codeOf(error) !== 'archive-mismatch') throw error
    throw new NotReadBack(object.name, error)
  }
}

async function storeNewManifest({ context }: Slice, store: Store, manifest: Manifest): Promise<void> {
  const { signal } = context
  let failure: unknown
  try {
    await writeManifest(store, manifest, { ifAbsent: true, signal })
  } catch (error) {
    if (codeOf(error) !== 'store-unavailable' && codeOf(error) !== 'store-conflict') throw error
    failure = error
  }
  const name = manifestName(manifest.month, manifest.batchId)
  let found: Uint8Array
  try {
    found = await readWhole(store, name, signal)
  } catch (error) {
    throw failure ?? error
  }
  if (!serializeManifest(manifest).equals(found)) {
    throw new NotReadBack(name, new Error('the manifest is not the one that was written'))
  }
}

/** The tables are there: a run that performs actions has migrated them. */
export function schemaOf({ context }: Slice): string {
  if (context.stateSchema === undefined) throw new Error('an action without the tables of the scheduler')
  return context.stateSchema
}
