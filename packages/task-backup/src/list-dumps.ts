/** What the store itself says of dumps: their manifests, and whether the dumps are there. Needs no database: that may be what is lost. */
import type { StoreReader, StoredObject } from '@battlescope/cold-storage'
import { messageOf } from '@battlescope/scheduler-core'
import { readManifest, type DumpManifest } from './manifest.js'
import { dumpPrefix, manifestObjectName, manifestPrefix } from './names.js'

export interface ListedDump {
  readonly manifestObject: string
  /** Undefined when it cannot be read. */
  readonly manifest: DumpManifest | undefined
  /** Why it is no good backup; undefined when nothing that costs little to see speaks against it. */
  readonly problem: string | undefined
}

export interface DumpListing {
  /** The newest first, by when they were taken; those that cannot be read last. */
  readonly dumps: readonly ListedDump[]
  /** Dumps without a manifest: being written just now, or left over. No backups. */
  readonly unpromoted: readonly StoredObject[]
}

export async function listDumps(store: StoreReader, signal?: AbortSignal): Promise<DumpListing> {
  const options = signal === undefined ? {} : { signal }
  const objects = new Map<string, StoredObject>()
  for await (const object of store.list(dumpPrefix, options)) objects.set(object.name, object)
  const read: { readonly name: string; readonly manifest: DumpManifest | Error }[] = []
  for await (const { name } of store.list(manifestPrefix, options)) {
    const manifest = await readManifest(store, name, signal).catch((error: unknown) => {
      if ((error as { readonly code?: unknown }).code === 'manifest-invalid') return error as Error
      throw error
    })
    if (manifest !== undefined) read.push({ name, manifest })
  }
  return judgeDumps(read, objects)
}

/** Pure. */
function judgeDumps(
  read: readonly { readonly name: string; readonly manifest: DumpManifest | Error }[],
  objects: ReadonlyMap<string, StoredObject>,
): DumpListing {
  const manifests = new Set(read.map(({ name }) => name))
  const dumps = read.map(({ name, manifest }): ListedDump => {
    if (manifest instanceof Error) return { manifestObject: name, manifest: undefined, problem: messageOf(manifest) }
    const found = objects.get(manifest.object)
    const problem =
      found === undefined
        ? `${manifest.object} is gone`
        : found.sizeBytes === manifest.sizeBytes
          ? undefined
          : `${manifest.object} has ${found.sizeBytes} bytes, not ${manifest.sizeBytes}`
    return { manifestObject: name, manifest, problem }
  })
  return {
    dumps: dumps.sort((a, b) => (b.manifest?.startedAt.getTime() ?? 0) - (a.manifest?.startedAt.getTime() ?? 0)),
    unpromoted: [...objects.values()].filter(
      ({ name }) => name.endsWith('.dump') && !manifests.has(manifestObjectName(name)),
    ),
  }
}
