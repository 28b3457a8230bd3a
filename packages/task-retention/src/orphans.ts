/**
 * Children without a foreign key that arrived after their parent had left: nobody refuses them, and no batch ever takes them along. They
 * are looked for in the key ranges from which batches of the last weeks took their parents, which is cheap because such a range is all but
 * empty by now; and they go, archived like everything, once their parent is found in the object itself. A range alone proves nothing: a
 * child of the same range may have come before its parent.
 */
import {
  catalogIn,
  decodeRows,
  readWhole,
  selectBatchesWithObjects,
  type BatchWithObjects,
  type StoredArchiveObject,
} from '@battlescope/archive'
import { codeOf, isStoreProblem } from './batch-errors.js'
import { referencesOf, type BatchShape, type ChildShape } from './batch-shape.js'
import { reportStoreProblem } from './clean-up.js'
import { linkKeyOf } from './expiry.js'
import { packKeys, type ExpiredKey, type KeyPack } from './key-queue.js'
import { hasNoParent, selectOrphans, type Orphan } from './orphan-queries.js'
import { runBatches, type PolicyEnd } from './policy-run.js'
import type { PreflightReport } from './preflight-report.js'
import type { BatchPlan } from './read-batch.js'
import type { Slice } from './slice.js'

/** Who arrives later than this is not found; `archive_batch` tells by hand which parents there were. */
const lookBackMs = 30 * 86_400_000
/** Objects of parents that are looked into, newest first: each range costs one look into the index. */
const mostRanges = 2_000
/** Orphans that are dealt with in one run: where there are more, something else is wrong. */
const mostOrphans = 5_000

/** One part of a batch's parents: where their keys lie, and in which object they are. */
interface ParentObject {
  readonly batch: BatchWithObjects
  readonly object: StoredArchiveObject
  readonly first: string
  readonly last: string
}

export async function runOrphans(slice: Slice, plan: BatchPlan, report: PreflightReport): Promise<PolicyEnd> {
  let setAside = 0
  for (const child of plan.shape.children) {
    if (!canBeOrphaned(plan, child) || report.unindexed.has(linkOf(child))) continue
    const end = await runOrphansOf(slice, plan, child)
    if (end.kind === 'stopped') return end
    setAside += end.setAside
  }
  return { kind: 'finished', setAside }
}

/** Ranges are those of the parent's key, of one column, which the child points to. What takes others along is no matter of its rows alone. */
function canBeOrphaned({ shape: { parent } }: BatchPlan, child: ChildShape): boolean {
  const [key, ...others] = parent.keyColumns
  return (
    !child.hasForeignKey &&
    !child.takesAlong &&
    others.length === 0 &&
    child.references.length === 1 &&
    child.references[0] === key?.name
  )
}

function linkOf({ relation, linkColumns }: ChildShape): string {
  return linkKeyOf({ relation, columns: linkColumns.map(({ name }) => name) })
}

async function runOrphansOf(slice: Slice, whole: BatchPlan, child: ChildShape): Promise<PolicyEnd> {
  const { policy, parent } = whole.shape
  const shape: BatchShape = { policy, parent: { ...child, targetColumns: child.keyColumns }, children: [] }
  const plan: BatchPlan = {
    shape,
    deletable: (alias) => hasNoParent(parent, child, alias),
    locks: false,
    references: referencesOf(shape, whole.references),
    horizon: whole.horizon,
    asText: new Map(),
  }
  return runBatches(slice, plan, async (_limit, after) => {
    if (after !== undefined) return []
    try {
      return await listOrphans(slice, policy.name, parent.name, whole.shape, child)
    } catch (error) {
      if (slice.context.signal.aborted) throw error
      if (isStoreProblem(error)) reportStoreProblem(slice, error)
      else if (codeOf(error) !== '57014') throw error
      slice.context.logger.warn(
        { event: 'orphans-not-found', relation: child.name },
        'late children were not looked for',
      )
      return []
    }
  })
}

/** Orphans whose parents are proven to be archived, in the order of month. */
async function listOrphans(
  slice: Slice,
  policy: string,
  relation: string,
  { parent }: BatchPlan['shape'],
  child: ChildShape,
): Promise<readonly KeyPack[]> {
  const { context } = slice
  if (context.stateSchema === undefined) return []
  const since = new Date(context.clock.now().getTime() - lookBackMs)
  const batches = await selectBatchesWithObjects(catalogIn(context.db, context.stateSchema), {
    policies: [policy],
    states: ['deleted'],
    deletedSince: since,
  })
  const objects = batches.filter((batch) => batch.relation === relation).flatMap((batch) => parentObjects(batch))
  const newest = objects.slice(-mostRanges)
  const db = context.reader({ statementTimeoutMs: context.config.countLimit })
  const orphans = await selectOrphans(db, parent, child, newest, mostOrphans)
  if (orphans.length === 0) return []
  const proven = await prove(slice, orphans, newest, parent.keyColumns[0]?.name ?? '')
  context.logger.info(
    { event: 'orphans-found', relation: child.name, rows: orphans.length, proven: proven.length },
    'late children without a parent',
  )
  const months = [...new Set(proven.map(({ month }) => month))].sort()
  return months.map((each) =>
    packKeys(
      proven.filter(({ month }) => month === each),
      each,
    ),
  )
}

function parentObjects(batch: BatchWithObjects): readonly ParentObject[] {
  return batch.objects.flatMap((object) => {
    if (object.relation !== batch.relation || object.firstKey === undefined || object.lastKey === undefined) return []
    const [first] = JSON.parse(object.firstKey) as string[]
    const [last] = JSON.parse(object.lastKey) as string[]
    return first === undefined || last === undefined ? [] : [{ batch, object, first, last }]
  })
}

/** Reads the key column of each object in whose range an orphan lies. */
async function prove(
  { context }: Slice,
  orphans: readonly Orphan[],
  objects: readonly ParentObject[],
  keyColumn: string,
): Promise<readonly ExpiredKey[]> {
  const store = await context.client('store')
  const proven = new Map<Orphan, ExpiredKey>()
  for (const [index, { batch, object }] of objects.entries()) {
    const candidates = orphans.filter((orphan) => !proven.has(orphan) && orphan.ranges.includes(index))
    if (candidates.length === 0) continue
    const keys = new Set<string | null>()
    for await (const { values } of decodeRows(await readWhole(store, object.name, context.signal), [keyColumn])) {
      for (const key of values[keyColumn] ?? []) keys.add(key)
    }
    const time = (batch.firstAt ?? batch.createdAt).toISOString()
    for (const orphan of candidates) {
      if (keys.has(orphan.link)) proven.set(orphan, { key: orphan.key, time, month: batch.month })
    }
  }
  return [...proven.values()]
}
