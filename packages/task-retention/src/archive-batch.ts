/** A batch on its way into the store: announced, written as objects, read back, and only then fit to be deleted. */
import {
  catalogIn,
  dataName,
  insertBatch,
  manifestName,
  manifestOf,
  markVerified,
  readWhole,
  serializeManifest,
  updateStoredState,
  updateVerifiedObjects,
  verifyObject,
  writeManifest,
  type ArchiveObject,
  type EncodedObject,
  type Manifest,
  type RecordedOwner,
} from '@battlescope/archive'
import type { Store } from '@battlescope/cold-storage'
import { parseRelationName } from '@battlescope/database'
import type { Kysely } from 'kysely'
import { BatchTaken, codeOf, NotReadBack } from './batch-errors.js'
import type { ChildShape, RelationShape } from './batch-shape.js'
import type { Guards } from './guards.js'
import { guardColumns, keepCommit } from './queries.js'
import type { ReadBatch } from './read-batch.js'
import { settleAll, type Slice } from './slice.js'

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
        // Not `relation.relation`: rows of a detached partition lie beside those of the relation that it belonged to.
        relation: parseRelationName(relation.name),
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
  return JSON.stringify(relation.keyColumns.map(({ name }) => guards[names.indexOf(name)]?.textAt(row) ?? ''))
}

/** What is left of a batch that was written and verified. */
export interface WrittenBatch {
  readonly batch: ReadBatch
  readonly manifest: Manifest
}

/**
 * Announces, writes, reads back and verifies. From the first statement on, the catalog knows every name, so whatever ends this in between
 * leaves nothing that the next run does not find.
 * @param confirm what else commits together with the news that the batch is verified
 * @throws StoreError, NotReadBack: the batch is to be discarded
 */
export async function writeBatch(
  slice: Slice,
  batch: ReadBatch,
  owner: RecordedOwner,
  confirm: (db: Kysely<unknown>) => Promise<void> = () => Promise.resolve(),
): Promise<WrittenBatch> {
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
    storeManifest(slice, store, manifest, { ifAbsent: true }),
  )
  await context.act({ kind: 'confirm-batch', target: parent.name, reason: `batch ${batch.id}` }, async ({ db }) => {
    const catalog = catalogIn(db, schemaOf(slice))
    await updateVerifiedObjects(catalog, batch.id, plain)
    if (!(await markVerified(catalog, batch.id))) throw new BatchTaken()
    await confirm(db)
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
    await keepCommit(db)
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

/**
 * Writes a manifest, and reads it back: it is what the catalog could be made of again.
 * @throws StoreError, NotReadBack
 */
export async function storeManifest(
  { context }: Slice,
  store: Store,
  manifest: Manifest,
  { ifAbsent = false }: { readonly ifAbsent?: boolean } = {},
): Promise<void> {
  const { signal } = context
  let failure: unknown
  try {
    await writeManifest(store, manifest, { ifAbsent, signal })
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
