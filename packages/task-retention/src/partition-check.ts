/** Whether what earlier runs archived of a partition is still in the store: the last look at it before the only other copy goes. */
import {
  catalogIn,
  isVerified,
  manifestName,
  readManifest,
  selectBatchesWithObjects,
  type BatchWithObjects,
  type StoredArchiveObject,
} from '@battlescope/archive'
import type { StoreReader } from '@battlescope/cold-storage'
import { schemaOf } from './archive-batch.js'
import { codeOf, isStoreProblem } from './batch-errors.js'
import { reportStoreProblem } from './clean-up.js'
import { takeStore } from './ownership.js'
import type { ArchiveEnd } from './partition-archive.js'
import type { PartitionRecord } from './partition-facts.js'
import { updateChecked } from './partition-records.js'
import { readVerified } from './restored-objects.js'
import type { Slice } from './slice.js'

/** The object is not there, or not what it was: asking again will not help. */
const misses = new Set(['store-not-found', 'store-checksum', 'archive-mismatch', 'manifest-invalid'])

/** @param written by this run, which has read them back just now: of these, as of those checked before, only that they are there */
export async function checkArchived(
  slice: Slice,
  record: PartitionRecord,
  written: ReadonlySet<string>,
): Promise<ArchiveEnd> {
  const checked: string[] = []
  const end = await checkBatches(slice, record, written, checked)
  if (end !== 'stopped' || checked.length === 0) return end
  const { context } = slice
  const reason = `${record.partition}: ${checked.length} batches of it are in the store as they were verified`
  await context.act({ kind: 'note-partition', target: record.relation, reason }, ({ db }) =>
    updateChecked(db, schemaOf(slice), record.id, [...record.checkedIds, ...checked]),
  )
  return end
}

/** @param checked gets the batches that were read back now */
async function checkBatches(
  slice: Slice,
  { archived: { batchIds }, checkedIds }: PartitionRecord,
  written: ReadonlySet<string>,
  checked: string[],
): Promise<ArchiveEnd> {
  const { context } = slice
  try {
    if ((await takeStore(slice)).kind === 'refused') return 'stopped'
    const batches = await selectBatchesWithObjects(catalogIn(context.db, schemaOf(slice)), { ids: batchIds })
    if (batches.length !== new Set(batchIds).size) return 'changed'
    const store = await context.client('store')
    for (const batch of batches) {
      if (slice.mustStop) return 'stopped'
      const isRead = written.has(batch.id) || checkedIds.includes(batch.id)
      if (await isWhole(store, batch, isRead, context.signal)) {
        if (isRead) continue
        checked.push(batch.id)
        slice.batches += 1
        continue
      }
      context.logger.warn(
        { event: 'batch-damaged', batchId: batch.id },
        'a batch is not in the store as it was verified',
      )
      return 'changed'
    }
    return 'archived'
  } catch (error) {
    if (!isStoreProblem(error) || context.signal.aborted) throw error
    reportStoreProblem(slice, error)
    return 'stopped'
  }
}

async function isWhole(
  store: StoreReader,
  { id, month, objects }: BatchWithObjects,
  isRead: boolean,
  signal: AbortSignal,
): Promise<boolean> {
  try {
    const manifest = await readManifest(store, manifestName(month, id), signal)
    if (manifest.batchId !== id || contentOf(manifest.objects) !== contentOf(objects)) return false
    for (const object of objects) {
      // Restored: its rows are live by what the catalog says, so it is no copy of them.
      if (!isVerified(object) || object.restoredAt !== undefined) return false
      if (!isRead) await readVerified(store, object, signal)
      else if ((await store.head(object.name, { signal }))?.sizeBytes !== object.sizeBytes) return false
    }
    return true
  } catch (error) {
    if (misses.has(codeOf(error)) && !signal.aborted) return false
    throw error
  }
}

function contentOf(objects: readonly Pick<StoredArchiveObject, 'name' | 'sha256'>[]): string {
  return JSON.stringify(objects.map(({ name, sha256 }) => [name, sha256]).sort())
}
