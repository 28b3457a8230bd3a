/** What runs before this one left behind: batches that nobody works on any more, objects of those, and manifests that lag behind. */
import {
  catalogIn,
  discardBatches,
  manifestFromCatalog,
  manifestName,
  selectDiscardedBatches,
  selectStaleManifests,
  selectUnfinishedBatches,
  updateStoredState,
  type BatchWithObjects,
  type RecordedOwner,
} from '@battlescope/archive'
import type { Store } from '@battlescope/cold-storage'
import { storeManifest } from './archive-batch.js'
import { isStoreProblem } from './batch-errors.js'
import { takeStore } from './ownership.js'
import { selectKeptBatchIds } from './partition-records.js'
import { keepCommit } from './queries.js'
import { settleAll, type Slice } from './slice.js'

/** A process may be paused for long and still finish writing an object then: for so long we look. */
const lookBackMs = 7 * 86_400_000
/** Objects that are looked at, or removed, at the same time. */
const parallel = 8

/**
 * Discards what is unfinished. We hold the fence, so whoever began it can commit nothing any more, and its rows are all there: the work is
 * done again. Only then the store: not at all where its prefix is not ours.
 */
export async function cleanUp(slice: Slice): Promise<void> {
  const { context } = slice
  const { stateSchema } = context
  if (stateSchema === undefined) return
  const kept = await selectKeptBatchIds(context.db, stateSchema)
  const unfinished = (await selectUnfinishedBatches(catalogIn(context.db, stateSchema))).filter(
    // A partition that is archived and not dropped yet has batches over several runs.
    ({ id, state }) => state !== 'verified' || !kept.has(id),
  )
  if (unfinished.length > 0) {
    const reason = `${unfinished.length} batches that an earlier run left unfinished`
    await context.act({ kind: 'discard-batches', target: `${stateSchema}.archive_batch`, reason }, async ({ db }) => {
      await keepCommit(db)
      const ids = unfinished.map(({ id }) => id)
      return { rows: (await discardBatches(catalogIn(db, stateSchema), ids)).length }
    })
  }
  if (!context.hasClient('store')) return
  try {
    await cleanStore(slice, stateSchema, unfinished.length > 0)
  } catch (error) {
    if (!isStoreProblem(error)) throw error
    reportStoreProblem(slice, error)
  }
}

async function cleanStore(slice: Slice, stateSchema: string, killed: boolean): Promise<void> {
  const { context } = slice
  const catalog = catalogIn(context.db, stateSchema)
  const since = new Date(context.clock.now().getTime() - lookBackMs)
  const stray = await selectStray(slice, await selectDiscardedBatches(catalog, since))
  const stale = await selectStaleManifests(catalog)
  if (stray.length === 0 && stale.length === 0 && !killed) return
  const access = await takeStore(slice)
  if (access.kind === 'refused') return
  if (stray.length > 0 || killed) await removeObjects(slice, stray)
  await writeStale(slice, stale, access.owner)
}

/** Lets the manifests of batches follow that left the database together. If they cannot now, the next run sees to it. */
export async function followStaleManifests(slice: Slice): Promise<void> {
  const { context } = slice
  if (context.stateSchema === undefined) return
  try {
    const access = await takeStore(slice)
    if (access.kind === 'refused') return
    await writeStale(slice, await selectStaleManifests(catalogIn(context.db, context.stateSchema)), access.owner)
  } catch (error) {
    if (!isStoreProblem(error) || context.signal.aborted) throw error
    context.logger.warn({ event: 'manifest-behind' }, 'manifests lag behind')
  }
}

async function writeStale(slice: Slice, stale: readonly BatchWithObjects[], owner: RecordedOwner): Promise<void> {
  const { context } = slice
  if (stale.length === 0) return
  const reason = `${stale.length} manifests that do not say yet that their rows are gone`
  const target = (await context.client('store')).location
  await context.act({ kind: 'write-manifest', target, via: 'store', reason }, async (store) => {
    for (const batch of stale) {
      await storeManifest(slice, store, manifestFromCatalog(batch, owner))
      slice.manifestsFollowed.push(batch.id)
    }
  })
  await followManifests(slice)
}

/** Names of objects and manifests of discarded batches that are there after all. */
async function selectStray({ context }: Slice, batches: readonly BatchWithObjects[]): Promise<readonly string[]> {
  const names = batches.flatMap(namesOf)
  if (names.length === 0) return []
  const store = await context.client('store')
  const found: string[] = []
  for (let first = 0; first < names.length; first += parallel) {
    const heads = await settleAll(
      names.slice(first, first + parallel).map((name) => store.head(name, { signal: context.signal })),
    )
    for (const head of heads) if (head !== undefined) found.push(head.name)
  }
  return found
}

function namesOf({ month, id, objects }: BatchWithObjects): readonly string[] {
  return [manifestName(month, id), ...objects.map(({ name }) => name)]
}

async function removeObjects({ context }: Slice, names: readonly string[]): Promise<void> {
  const { signal, clock } = context
  const target = (await context.client('store')).location
  const reason = `${names.length} objects of discarded batches, and uploads that were never finished`
  const now = clock.now()
  await context.act({ kind: 'remove-objects', target, via: 'store', reason }, async (store) => {
    await removeAll(store, names, signal)
    await store.abortUnfinishedUploads('data/', now, { signal })
    return { rows: names.length }
  })
}

export async function removeAll(store: Store, names: readonly string[], signal: AbortSignal): Promise<void> {
  for (let first = 0; first < names.length; first += parallel) {
    await settleAll(names.slice(first, first + parallel).map((name) => store.delete(name, { signal })))
  }
}

/** Gives up one batch of this run: its rows stay. What cannot be removed now is found by the next run. */
export async function discardBatch(slice: Slice, batchId: string, relation: string, why: string): Promise<void> {
  const { context } = slice
  const { stateSchema } = context
  if (stateSchema === undefined) return
  const since = new Date(context.clock.now().getTime() - lookBackMs)
  await context.act(
    { kind: 'discard-batches', target: relation, reason: `batch ${batchId}: ${why}` },
    async ({ db }) => {
      // Its objects go at once: a commit that is lost in a crash would leave a batch that is called verified, without them.
      await keepCommit(db)
      await discardBatches(catalogIn(db, stateSchema), [batchId])
    },
  )
  const batches = await selectDiscardedBatches(catalogIn(context.db, stateSchema), since)
  const names = batches.filter(({ id }) => id === batchId).flatMap(namesOf)
  try {
    // In a copy of the database these are the objects of the other one.
    if ((await takeStore(slice)).kind === 'refused') return
    await context.act({ kind: 'remove-objects', target: relation, via: 'store', reason: `batch ${batchId}` }, (store) =>
      removeAll(store, names, context.signal),
    )
  } catch (error) {
    if (!isStoreProblem(error)) throw error
    context.logger.warn(
      { event: 'objects-left', batchId, objects: names.length },
      'objects of a discarded batch are left',
    )
  }
}

/** Writes down which manifests say by now that their rows are gone. */
export async function followManifests(slice: Slice): Promise<void> {
  const { context, manifestsFollowed } = slice
  const { stateSchema } = context
  if (manifestsFollowed.length === 0 || stateSchema === undefined) return
  const ids = manifestsFollowed.splice(0)
  await context.act({ kind: 'confirm-manifests', target: `${stateSchema}.archive_batch` }, async ({ db }) => {
    await updateStoredState(catalogIn(db, stateSchema), ids, 'deleted')
  })
}

export function reportStoreProblem(slice: Slice, error: unknown): void {
  const { code, hint } = error as { readonly code?: string; readonly hint?: string }
  slice.report({
    key: 'store-failed',
    severity: 'error',
    summary: `the cold storage fails, so nothing is archived or deleted: ${error instanceof Error ? error.message : String(error)}`,
    details: { code, ...(hint === undefined ? {} : { hint }) },
  })
}
