/**
 * The manifest of a dump: a JSON object beside it, written last. A dump is a backup when its manifest is there and names it, and never before:
 * stores cannot rename, so this is the promotion.
 */
import { readWhole, type DatabaseIdentity } from '@battlescope/archive'
import type { Store, StoreReader } from '@battlescope/cold-storage'
import { z } from 'zod'
import { dumpPrefix, manifestObjectName } from './names.js'

/** Raised when a reader of the older form could misunderstand the newer one. */
const manifestVersion = 1

const instant = z.iso.datetime().transform((text) => new Date(text))

const manifestSchema = z.object({
  manifestVersion: z.literal(manifestVersion),
  name: z.string(),
  slotId: z.string(),
  object: z.string().startsWith(dumpPrefix),
  sizeBytes: z.number().int().min(0),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
  /** Lines of its list of contents. */
  entries: z.number().int().min(0),
  startedAt: instant,
  verifiedAt: instant,
  database: z.object({ systemIdentifier: z.string(), host: z.string(), database: z.string() }),
  databaseBytes: z.number().int().min(0),
  /** What `pg_dump --version` says: no older pg_restore reads it. */
  writtenBy: z.string(),
})

export type DumpManifest = z.output<typeof manifestSchema>

/** A manifest that is not one, or of a version that this program does not know. */
class ManifestError extends Error {
  override readonly name = 'ManifestError'
  readonly code = 'manifest-invalid'
}

function serializeManifest(manifest: DumpManifest): Buffer {
  return Buffer.from(`${JSON.stringify(manifest, null, 1)}\n`)
}

/** @throws ManifestError */
function parseManifest(bytes: Uint8Array, name: string): DumpManifest {
  let raw: unknown
  try {
    raw = JSON.parse(Buffer.from(bytes).toString('utf8'))
  } catch {
    throw new ManifestError(`the manifest ${name} is no JSON`)
  }
  const parsed = manifestSchema.safeParse(raw)
  if (parsed.success && manifestObjectName(parsed.data.object) === name) return parsed.data
  const [problem] = parsed.error?.issues ?? []
  const what = problem === undefined ? 'names the dump of another' : `has a wrong ${problem.path.join('.')}`
  throw new ManifestError(`the manifest ${name} ${what}`)
}

/** @returns undefined when there is none @throws StoreError; ManifestError */
export async function readManifest(
  store: StoreReader,
  name: string,
  signal?: AbortSignal,
): Promise<DumpManifest | undefined> {
  const options = signal === undefined ? {} : { signal }
  if ((await store.head(name, options)) === undefined) return undefined
  return parseManifest(await readWhole(store, name, signal), name)
}

/** @throws StoreError `store-conflict` when there is one */
export async function writeManifest(store: Store, manifest: DumpManifest, signal?: AbortSignal): Promise<void> {
  await store.put(manifestObjectName(manifest.object), serializeManifest(manifest), {
    ifAbsent: true,
    ...(signal === undefined ? {} : { signal }),
  })
}

export function isSameDatabase(a: DatabaseIdentity, b: DatabaseIdentity): boolean {
  return a.systemIdentifier === b.systemIdentifier && a.host === b.host && a.database === b.database
}
