/** Objects whose rows are live again move from `data/` to `restored/`: copied, read back, renamed in the catalog with the rows, removed. */
import { createHash } from 'node:crypto'
import {
  catalogIn,
  dataPrefix,
  manifestFromCatalog,
  readWhole,
  restoredName,
  restoredPrefix,
  selectBatchesWithObjects,
  verifyObject,
  writeManifest,
  type ArchiveObject,
  type BatchWithObjects,
  type ExpectedObject,
  type RecordedOwner,
} from '@battlescope/archive'
import type { Store, StoreReader, WriteOptions } from '@battlescope/cold-storage'
import { schemaOf } from './archive-batch.js'
import { codeOf, NotReadBack } from './batch-errors.js'
import { followManifests, removeAll } from './clean-up.js'
import type { Slice } from './slice.js'

/**
 * An object as the store has it, every value of it held against the catalog.
 * @throws StoreError; ArchiveMismatch
 */
export async function readVerified(
  store: StoreReader,
  object: ArchiveObject,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const bytes = await readWhole(store, object.name, signal)
  await verifyObject(bytes, expectedOf(object))
  return bytes
}

/**
 * The same for what is to be restored. Where it is not under the name that the catalog knows, it may lie under `restored/`: this database may be
 * older than a restore of it.
 * @throws StoreError; ArchiveMismatch
 */
export async function readWhereverItLies(
  store: StoreReader,
  object: ArchiveObject,
  signal: AbortSignal,
): Promise<Uint8Array> {
  try {
    return await readVerified(store, object, signal)
  } catch (error) {
    const name = movedName(object.name)
    if (codeOf(error) !== 'store-not-found' || name === object.name) throw error
    try {
      return await readVerified(store, { ...object, name }, signal)
    } catch (second) {
      throw codeOf(second) === 'store-not-found' ? error : second
    }
  }
}

function expectedOf({ rowCount, sizeBytes, sha256, columns }: ArchiveObject): ExpectedObject {
  return {
    rowCount,
    sizeBytes,
    sha256,
    columns,
    checksums: Object.fromEntries(columns.map(({ name, checksum }) => [name, checksum])),
  }
}

/** Where an object lies once its rows are live: the same name, if it lies there already. */
export function movedName(name: string): string {
  return name.startsWith(restoredPrefix) ? name : restoredName(name)
}

/**
 * Puts the same bytes under `restored/` and reads them back. Done before the rows go in, so that their transaction can rename the object in
 * the catalog: at every instant the catalog says of each row whether it is live.
 */
export async function copyToRestored({ context }: Slice, object: ArchiveObject, bytes: Uint8Array): Promise<void> {
  const { signal } = context
  const name = movedName(object.name)
  if (name === object.name) return
  await context.act({ kind: 'copy-object', target: object.relation, via: 'store', reason: name }, async (store) => {
    // An earlier run may have got this far, whole or not: what can be read back decides, and what is wrong is written over.
    if (!(await putAndRead(store, name, bytes, object.sha256, { ifAbsent: true, signal }))) {
      if (!(await putAndRead(store, name, bytes, object.sha256, { signal }))) {
        throw new NotReadBack(name, new Error('the copy has another sha256'))
      }
    }
    return { bytes: bytes.length }
  })
}

/** @returns whether what can be read back is what was written */
async function putAndRead(
  store: Store,
  name: string,
  bytes: Uint8Array,
  wanted: string,
  options: WriteOptions,
): Promise<boolean> {
  let failure: unknown
  try {
    await store.put(name, bytes, options)
  } catch (error) {
    // Either way it may be there: the answer can get lost.
    if (codeOf(error) !== 'store-conflict' && codeOf(error) !== 'store-unavailable') throw error
    failure = error
  }
  try {
    return (
      createHash('sha256')
        .update(await readWhole(store, name, options.signal))
        .digest('hex') === wanted
    )
  } catch (error) {
    throw failure ?? error
  }
}

/** After their transaction: what is left under the old names, and the manifest, which lags behind until then. */
export async function finishMove(
  slice: Slice,
  batchId: string,
  oldNames: readonly string[],
  owner: RecordedOwner,
): Promise<void> {
  const { context } = slice
  const [batch] = await selectBatchesWithObjects(catalogIn(context.db, schemaOf(slice)), { ids: [batchId] })
  if (batch === undefined) return
  const { signal } = context
  const reason = `batch ${batchId}: its rows are live again`
  await context.act({ kind: 'remove-objects', target: batch.relation, via: 'store', reason }, async (store) => {
    // In this order: a manifest must never name what is not there.
    await writeManifest(store, manifestFromCatalog(batch, owner), { signal })
    await removeAll(
      store,
      oldNames.filter((name) => name !== movedName(name)),
      signal,
    )
    return { rows: oldNames.length }
  })
  slice.manifestsFollowed.push(batchId)
  await followManifests(slice)
}

/** What a run that was killed after its rows went in left under `data/`. One listing per relation and month, however many objects. */
export async function removeLeftovers(slice: Slice, batches: readonly BatchWithObjects[]): Promise<void> {
  const { context } = slice
  const restored = new Set(
    batches.flatMap(({ objects }) =>
      objects.filter(({ restoredAt }) => restoredAt !== undefined).map(({ name }) => dataNameOf(name)),
    ),
  )
  const folders = new Set([...restored].map((name) => name.slice(0, name.lastIndexOf('/') + 1)))
  const store = await context.client('store')
  const { signal, clock } = context
  const now = clock.now()
  const left: string[] = []
  for (const folder of folders) {
    for await (const { name } of store.list(folder, { signal })) {
      // The other one may have been lost, or removed to make room.
      if (restored.has(name) && (await store.head(movedName(name), { signal })) !== undefined) left.push(name)
    }
  }
  const uploads = await store.countUnfinishedUploads(restoredPrefix, now, { signal })
  if (left.length + uploads === 0) return
  const reason = `${left.length} objects whose rows an earlier run restored, and ${uploads} uploads that it never finished`
  await context.act({ kind: 'remove-objects', target: store.location, via: 'store', reason }, async (writable) => {
    await removeAll(writable, left, signal)
    if (uploads > 0) await writable.abortUnfinishedUploads(restoredPrefix, now, { signal })
    return { rows: left.length }
  })
}

function dataNameOf(name: string): string {
  return dataPrefix + name.slice(restoredPrefix.length)
}
