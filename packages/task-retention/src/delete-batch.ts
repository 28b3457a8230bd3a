/** The transaction in which the rows of a batch leave the database, all or none. */
import { setImmediate } from 'node:timers/promises'
import { catalogIn, GuardColumn, markDeleted } from '@battlescope/archive'
import type { Fenced } from '@battlescope/scheduler-core'
import { BatchTaken, BatchTooLarge, KeysChanged, RowsChanged } from './batch-errors.js'
import type { BatchPlan, ReadBatch, ReadRelation } from './read-batch.js'
import { schemaOf } from './archive-batch.js'
import type { ChildShape } from './batch-shape.js'
import {
  assignToParents,
  digestOf,
  rowCountOf,
  rowRange,
  rowsOf,
  type Digest,
  type Guards,
  type Owners,
} from './guards.js'
import {
  deleteArchivedChildren,
  deleteArchivedRows,
  deleteChildren,
  deleteParents,
  guardColumns,
  hurryCommit,
  keepCommit,
  lockDeletable,
  lockParents,
  selectHasChild,
  type Values,
} from './queries.js'
import type { Cursor } from './cursor.js'
import { selectReferences } from './preflight-queries.js'
import type { Slice } from './slice.js'
import { countWaitingForUs } from './throttle-queries.js'

export interface DeletedRows {
  readonly parents: number
  /** Children included. */
  readonly rows: number
  readonly byRelation: Readonly<Record<string, number>>
  /** Sessions that waited for us at the end. */
  readonly waiting: number
  readonly deletedAt: Date | undefined
}

/** With what its transaction took, in milliseconds. */
export type TimedRows = DeletedRows & { readonly tookMs: number }

type Transaction = Fenced<unknown, Cursor>

/**
 * Deletes exactly the row versions of a verified batch: what is deleted is compared with its copy, and what has no foreign key is looked for
 * again. Where PostgreSQL would not refuse a late row that a foreign key knows of (`locks`), the parents are locked and compared first, so
 * that there can be none.
 * @throws RowsChanged when something is not as it was archived; BatchTaken; whatever a statement fails with. Then nothing is deleted.
 */
export async function deleteArchived(slice: Slice, batch: ReadBatch): Promise<TimedRows | undefined> {
  const { plan } = batch
  const { parent, children, policy } = plan.shape
  const count = (batch.keys[0] ?? []).length
  // Before the transaction: what is only computed should hold no locks.
  const archivedChildren = children.map((child, index) => archivedChild(batch, child, batch.children[index]))
  return transact(slice, plan, count, `batch ${batch.id}: ${batch.rows} rows`, async (fenced) => {
    const { db } = fenced
    await keepCommit(db)
    // First of all, so that whoever discards the batch waits for us, or we for them.
    const deletedAt = await markDeleted(catalogIn(db, schemaOf(slice)), batch.id)
    if (deletedAt === undefined) throw new BatchTaken()
    const byRelation: Record<string, number> = {}
    const archived = (first: number, end: number) => digestOf(batch.parent.guards, rowRange(first, end))
    if (plan.locks) {
      await slice.sizes.cover(`lock ${parent.name}`, count, async (first, end) => {
        const locked = lockParents(db, plan.shape, cut(batch.keys, first, end))
        await mustEqual(locked, () => archived(first, end), parent.name)
      })
    }
    for (const child of archivedChildren) {
      byRelation[child.shape.name] = await deleteArchivedChild(slice, fenced, child, count)
    }
    await slice.sizes.cover(`delete ${parent.name}`, count, async (first, end) => {
      const keys = cut(batch.keys, first, end)
      if (!plan.locks) {
        const gone = deleteArchivedRows(db, plan.deletable, plan.shape, keys)
        await mustEqual(gone, () => archived(first, end), parent.name)
        return
      }
      const deleted = await deleteParents(db, plan.deletable, plan.shape, keys)
      // Their versions are locked: fewer means that a hold, a group or a member came in between.
      if (deleted !== end - first) throw new RowsChanged(parent.name, `${end - first - deleted} rows must stay`)
    })
    byRelation[parent.name] = count
    for (const { shape, targets } of archivedChildren) {
      if (!shape.hasForeignKey) await refuseLateChildren(slice, db, shape, targets)
    }
    await refuseOtherKeys(db, plan)
    return finish(slice, fenced, policy.name, { parents: count, byRelation, deletedAt })
  })
}

/** A child of a batch, and which of its rows go with which parent. */
interface ArchivedChild {
  readonly shape: ChildShape
  readonly guards: Guards
  /** The values that its rows point to, of each parent. */
  readonly targets: Values
  readonly owners: Owners
}

function archivedChild(batch: ReadBatch, shape: ChildShape, read: ReadRelation | undefined): ArchivedChild {
  const guards = read?.guards ?? []
  const names = guardColumns(shape)
  const targets = targetsOf(batch.plan, batch.targets, shape)
  const pointers = shape.linkColumns.map(({ name }) => guards[names.indexOf(name)] ?? GuardColumn.empty)
  return { shape, guards, targets, owners: assignToParents(pointers, targets) }
}

/** @param count of the parents */
async function deleteArchivedChild(
  slice: Slice,
  { db }: Transaction,
  { shape, guards, targets, owners }: ArchivedChild,
  count: number,
): Promise<number> {
  const rowCount = rowCountOf(guards)
  const statement = async (first: number, end: number) => {
    const gone = deleteArchivedChildren(db, shape, cut(targets, first, end))
    const rows = () => (owners.unassigned > 0 ? rowRange(0, rowCount) : rowsOf(owners, first, end))
    await mustEqual(gone, () => digestOf(guards, rows()), shape.name)
  }
  // Rows that point to a value which looks different cannot be told apart by parent: then it is one statement for all.
  if (owners.unassigned > 0) await statement(0, count)
  else await slice.sizes.cover(`delete ${shape.name}`, count, statement)
  return rowCount
}

/** Nothing but this look keeps a child without a foreign key from arriving between its siblings' end and its parent's. */
async function refuseLateChildren(
  slice: Slice,
  db: Transaction['db'],
  child: ChildShape,
  targets: Values,
): Promise<void> {
  await slice.sizes.cover(`look ${child.name}`, (targets[0] ?? []).length, async (first, end) => {
    if (await selectHasChild(db, child, cut(targets, first, end)))
      throw new RowsChanged(child.name, 'a row arrived late')
  })
}

/**
 * A foreign key that came or changed since preflight may have taken rows along that nobody archived. None can come any more: who creates
 * one needs a lock that waits for our deletes.
 * @throws KeysChanged
 */
async function refuseOtherKeys(db: Transaction['db'], { shape, references }: BatchPlan): Promise<void> {
  const now = await selectReferences(
    db,
    [shape.parent, ...shape.children].map(({ relation }) => relation),
  )
  if (JSON.stringify(now) !== JSON.stringify(references)) throw new KeysChanged(shape.parent.name)
}

/**
 * Deletes without a copy. Without locks the rows that are deleted are counted, and one too few undoes it all. Its commit does not wait for the
 * disk: what a crash of the server brings back with cursor and action goes in a later run (of the next slot, if this one went on), and the
 * record of this run, whose commit waits, is behind it in the log.
 * @param locked locks the parents first and deletes only those that may still go; else as many as keys, or RowsChanged
 */
export async function deleteUnarchived(
  slice: Slice,
  plan: BatchPlan,
  keys: Values,
  locked: boolean,
): Promise<TimedRows | undefined> {
  const { parent, children, policy } = plan.shape
  const most = (keys[0] ?? []).length
  return transact(slice, plan, most, `${most} rows, not archived`, async (fenced) => {
    const { db } = fenced
    await hurryCommit(db)
    const targets = locked ? await lockAll(slice, db, plan, keys) : keys
    const own = parent.keyColumns.map(({ name }) => columnOf(plan, targets, name, locked))
    const count = (own[0] ?? []).length
    const byRelation: Record<string, number> = {}
    let rows = count
    for (const child of children) {
      const pointed = child.references.map((name) => columnOf(plan, targets, name, locked))
      let deleted = 0
      await slice.sizes.cover(`delete ${child.name}`, count, async (first, end) => {
        deleted += await deleteChildren(db, child, cut(pointed, first, end))
      })
      byRelation[child.name] = deleted
      rows += deleted
    }
    if (rows > slice.rowsLeft && count > 1) throw new BatchTooLarge(`more than ${slice.rowsLeft} rows`)
    await slice.sizes.cover(`delete ${parent.name}`, count, async (first, end) => {
      const deleted = await deleteParents(db, plan.deletable, plan.shape, cut(own, first, end))
      if (deleted !== end - first) throw new RowsChanged(parent.name, `${end - first - deleted} rows changed`)
    })
    byRelation[parent.name] = count
    await refuseOtherKeys(db, plan)
    return finish(slice, fenced, policy.name, { parents: count, byRelation, deletedAt: undefined })
  })
}

async function lockAll(slice: Slice, db: Transaction['db'], plan: BatchPlan, keys: Values): Promise<Values> {
  const { parent } = plan.shape
  const locked: Values[] = []
  await slice.sizes.cover(`lock ${parent.name}`, (keys[0] ?? []).length, async (first, end) => {
    locked.push(await lockDeletable(db, plan.deletable, plan.shape, cut(keys, first, end)))
  })
  return parent.targetColumns.map((_, column) => locked.flatMap((values) => values[column] ?? []))
}

/** Of values that are either those of the key (`whole` is false), or those of all target columns. */
function columnOf({ shape }: BatchPlan, values: Values, name: string, whole: boolean): readonly string[] {
  const columns = whole ? shape.parent.targetColumns : shape.parent.keyColumns
  return values[columns.findIndex((column) => column.name === name)] ?? []
}

function targetsOf(plan: BatchPlan, targets: Values, child: ChildShape): Values {
  return child.references.map((name) => columnOf(plan, targets, name, true))
}

async function transact(
  slice: Slice,
  { shape }: BatchPlan,
  parents: number,
  reason: string,
  work: (fenced: Transaction) => Promise<DeletedRows>,
): Promise<TimedRows | undefined> {
  const { context } = slice
  const { lockTimeout, statementLimit, transactionLimit } = context.config
  let done: TimedRows | undefined
  const action = {
    kind: 'delete-rows',
    target: shape.parent.name,
    reason,
    lockTimeoutMs: lockTimeout,
    statementTimeoutMs: statementLimit,
  }
  await context.act(action, async (fenced) => {
    const startedMs = context.clock.monotonicMs()
    const deleted = await slice.sizes.within(transactionLimit, parents, () => work(fenced))
    done = { ...deleted, tookMs: context.clock.monotonicMs() - startedMs }
    return { rows: done.rows, details: { ...done.byRelation } }
  })
  return done
}

/** Cursor and rows commit together. */
async function finish(
  slice: Slice,
  fenced: Transaction,
  policy: string,
  { parents, byRelation, deletedAt }: Pick<DeletedRows, 'parents' | 'byRelation' | 'deletedAt'>,
): Promise<DeletedRows> {
  const rows = Object.values(byRelation).reduce((sum, count) => sum + count, 0)
  const waiting = slice.context.config.yieldToLockWaiters ? await countWaitingForUs(fenced.db) : 0
  await fenced.saveCheckpoint(slice.cursorAfter(policy, { parents, rows }))
  return { parents, rows, byRelation, waiting, deletedAt }
}

/** @param archived computes while the server works: a turn of the event loop puts the statement on its way first */
async function mustEqual(statement: Promise<Digest>, archived: () => Digest, relation: string): Promise<void> {
  const [found, wanted] = await Promise.all([statement, setImmediate().then(archived)])
  if (found.rows !== wanted.rows) {
    throw new RowsChanged(relation, `${found.rows} rows where ${wanted.rows} were archived`)
  }
  if (found.hash !== wanted.hash) throw new RowsChanged(relation, 'rows were updated since they were archived')
}

/** The same rows of every list. */
function cut(values: Values, first: number, end: number): Values {
  return values.map((list) => (first === 0 && end >= list.length ? list : list.slice(first, end)))
}
