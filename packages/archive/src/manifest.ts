/**
 * The manifest of a batch: a JSON object beside the data, which says what left the database, when and why, and how to tell that the copy
 * is whole. With the manifests alone, the catalog can be built again.
 */
import type { Store, StoreReader } from '@battlescope/cold-storage'
import { z } from 'zod'
import type { BatchWithObjects } from './catalog/batches.js'
import { isVerified, type ArchiveObject } from './catalog/objects.js'
import { manifestName } from './object-names.js'
import type { RecordedOwner } from './owner.js'

/** Raised when a reader of the older form could misunderstand the newer one. */
export const manifestVersion = 1

const column = z.object({
  name: z.string(),
  typeName: z.string(),
  encoding: z.enum([
    'boolean',
    'int16',
    'int32',
    'int64',
    'float32',
    'float64',
    'date',
    'timestamp',
    'timestamptz',
    'uuid',
    'json',
    'bytes',
    'text',
  ]),
  list: z.boolean(),
  notNull: z.boolean(),
  generated: z.boolean(),
  checksum: z.string(),
})

const instant = z.iso.datetime().transform((text) => new Date(text))

const manifestSchema = z.object({
  manifestVersion: z.literal(manifestVersion),
  batchId: z.uuid(),
  policy: z.string(),
  relation: z.string(),
  month: z.string().regex(/^\d{4,6}-\d{2}$/),
  horizon: instant,
  slotId: z.string(),
  state: z.enum(['verified', 'deleted']),
  firstAt: instant,
  lastAt: instant,
  verifiedAt: instant,
  deletedAt: instant.optional(),
  database: z.object({ systemIdentifier: z.string(), host: z.string(), name: z.string() }),
  owner: z.object({ ownerId: z.uuid(), generation: z.number().int() }),
  objects: z.array(
    z.object({
      relation: z.string(),
      part: z.number().int(),
      name: z.string(),
      rowCount: z.number().int(),
      sizeBytes: z.number().int(),
      sha256: z.string(),
      columns: z.array(column),
      firstKey: z.string(),
      lastKey: z.string(),
    }),
  ),
})

/** `objects` stand in the order in which their rows can be inserted again: parents first. */
export type Manifest = z.output<typeof manifestSchema>

/** A manifest that is not one, or of a version that this program does not know. */
export class ManifestError extends Error {
  override readonly name = 'ManifestError'
  readonly code = 'manifest-invalid'
  readonly hint =
    'a newer version of the scheduler may have written it; else restore the object from a backup of the store'
}

export interface ManifestParts {
  readonly batch: Pick<
    BatchWithObjects,
    'id' | 'policy' | 'relation' | 'month' | 'horizon' | 'slotId' | 'firstAt' | 'lastAt' | 'verifiedAt' | 'deletedAt'
  >
  readonly objects: readonly ArchiveObject[]
  readonly owner: RecordedOwner
}

export function manifestOf({ batch, objects, owner }: ManifestParts): Manifest {
  const { systemIdentifier, host, database } = owner.identity
  const never = new Date(0)
  return {
    manifestVersion,
    batchId: batch.id,
    policy: batch.policy,
    relation: batch.relation,
    month: batch.month,
    horizon: batch.horizon,
    slotId: batch.slotId,
    state: batch.deletedAt === undefined ? 'verified' : 'deleted',
    firstAt: batch.firstAt ?? never,
    lastAt: batch.lastAt ?? never,
    verifiedAt: batch.verifiedAt ?? never,
    ...(batch.deletedAt === undefined ? {} : { deletedAt: batch.deletedAt }),
    database: { systemIdentifier, host, name: database },
    owner: { ownerId: owner.ownerId, generation: owner.generation },
    objects: objects.map((object) => ({
      relation: object.relation,
      part: object.part,
      name: object.name,
      rowCount: object.rowCount,
      sizeBytes: object.sizeBytes,
      sha256: object.sha256,
      columns: [...object.columns],
      firstKey: object.firstKey,
      lastKey: object.lastKey,
    })),
  }
}

/** The manifest of a batch that was verified once, from the catalog alone. */
export function manifestFromCatalog(batch: BatchWithObjects, owner: RecordedOwner): Manifest {
  return manifestOf({ batch, objects: batch.objects.filter(isVerified), owner })
}

export function serializeManifest(manifest: Manifest): Buffer {
  return Buffer.from(`${JSON.stringify(manifest, null, 1)}\n`)
}

/** @throws ManifestError */
export function parseManifest(bytes: Uint8Array, name: string): Manifest {
  let raw: unknown
  try {
    raw = JSON.parse(Buffer.from(bytes).toString('utf8'))
  } catch {
    throw new ManifestError(`the manifest ${name} is no JSON`)
  }
  const parsed = manifestSchema.safeParse(raw)
  if (parsed.success) return parsed.data
  const [problem] = parsed.error.issues
  throw new ManifestError(
    `the manifest ${name} has a wrong ${problem?.path.join('.') ?? 'form'}: ${problem?.message ?? ''}`,
  )
}

/** @throws StoreError; ManifestError */
export async function readManifest(store: StoreReader, name: string, signal?: AbortSignal): Promise<Manifest> {
  return parseManifest(await readWhole(store, name, signal), name)
}

/**
 * Writes the manifest of a batch. One that is new must not be there; one that follows a change replaces what is there, whatever it says,
 * because the catalog decides.
 * @throws StoreError
 */
export async function writeManifest(
  store: Store,
  manifest: Manifest,
  options: { readonly ifAbsent?: boolean; readonly signal?: AbortSignal } = {},
): Promise<void> {
  await store.put(manifestName(manifest.month, manifest.batchId), serializeManifest(manifest), options)
}

/** The bytes of a small object. @throws StoreError */
export async function readWhole(store: StoreReader, name: string, signal?: AbortSignal): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  for await (const chunk of store.get(name, signal === undefined ? {} : { signal })) chunks.push(chunk)
  return chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks)
}
