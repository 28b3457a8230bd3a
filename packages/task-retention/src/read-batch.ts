/** A batch as it is in one snapshot: rows that may be deleted and everything that hangs on them, encoded, with what tells their versions. */
import { randomUUID } from 'node:crypto'
import { encodeObjects, planColumns, selectColumns, type EncodedObject, type PlannedColumn } from '@battlescope/archive'
import type { Snapshot } from '@battlescope/scheduler-core'
import { BatchTooLarge, codeOf } from './batch-errors.js'
import type { BatchShape, ChildShape, RelationShape } from './batch-shape.js'
import type { ExpiredKey } from './key-queue.js'
import type { ReferenceFacts } from './preflight-facts.js'
import { joinGuards, type Guards } from './guards.js'
import {
  copyChildren,
  copyParents,
  guardColumns,
  selectStillDeletable,
  type Deletable,
  type Values,
} from './queries.js'
import type { Slice } from './slice.js'

/** What the batches of one policy in one run have in common. */
export interface BatchPlan {
  readonly shape: BatchShape
  readonly deletable: Deletable
  /** Whether the rows that decide are locked before anything is deleted: see `mustLock`. */
  readonly locks: boolean
  /** What preflight judged: the batch is deleted only while these are the foreign keys to its relations. */
  readonly references: readonly ReferenceFacts[]
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
  snapshot: Snapshot<unknown>,
  slice: Slice,
  plan: BatchPlan,
  expired: readonly ExpiredKey[],
): Promise<ReadBatch | undefined> {
  const { shape } = plan
  const { parent } = shape
  const named = parent.keyColumns.map((_, column) => expired.map(({ key }) => key[column] ?? ''))
  const targets = await selectStillDeletable(snapshot.db, plan.deletable, shape, named)
  const of = (column: string) => targets[parent.targetColumns.findIndex(({ name }) => name === column)] ?? []
  const keys = parent.keyColumns.map(({ name }) => of(name))
  if ((keys[0] ?? []).length === 0) return undefined
  const limit = new BatchLimit(slice.rowsLeft, expired.length > 1)
  const read = async (relation: RelationShape | ChildShape, statement: (columns: readonly PlannedColumn[]) => string) =>
    readRelation(snapshot, relation, plan, statement, limit)
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
  snapshot: Snapshot<unknown>,
  relation: RelationShape | ChildShape,
  plan: BatchPlan,
  statement: (columns: readonly PlannedColumn[]) => string,
  limit: BatchLimit,
): Promise<ReadRelation> {
  const { schema, name } = relation.relation
  // In the same snapshot as the rows: a column that was added meanwhile would otherwise be deleted without a copy.
  const columns = planColumns(await selectColumns(snapshot.db, schema, name), plan.asText.get(relation.name))
  const objects: EncodedObject[] = []
  const guardCount = guardColumns(relation).length + 1
  try {
    for await (const object of encodeObjects({ columns, guardCount, source: snapshot.copyTo(statement(columns)) })) {
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
