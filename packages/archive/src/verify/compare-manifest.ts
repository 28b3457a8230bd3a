/** Holds a manifest against the catalog. Pure. */
import type { BatchWithObjects } from '../catalog/batches.js'
import { isVerified, type ArchiveObject } from '../catalog/objects.js'
import type { Manifest } from '../manifest.js'
import { finding, type ArchiveFinding } from './findings.js'

/** @returns at most one finding per manifest: the first difference says enough */
export function compareManifest(name: string, manifest: Manifest, batch: BatchWithObjects): ArchiveFinding | undefined {
  if (manifest.state === 'deleted' && batch.state !== 'deleted') {
    return finding('manifest-ahead', name, `it says that its rows were deleted, and the catalog says ${batch.state}`)
  }
  const [difference] = differences(manifest, batch)
  if (difference === undefined) {
    return manifest.state === batch.state
      ? undefined
      : finding('manifest-behind', name, `it says ${manifest.state}, and the catalog ${batch.state}`)
  }
  // After rows were restored, the catalog has the new names first.
  return batch.storedState === batch.state || !isOnlyMoved(manifest, batch)
    ? finding('manifest-differs', name, difference)
    : finding('manifest-behind', name, 'it does not say yet that its rows were restored')
}

function differences(manifest: Manifest, batch: BatchWithObjects): readonly string[] {
  const objects = batch.objects.filter(isVerified)
  const told = (what: string, stored: unknown, catalog: unknown) =>
    JSON.stringify(stored) === JSON.stringify(catalog)
      ? []
      : [`${what}: it says ${shortened(stored)}, and the catalog ${shortened(catalog)}`]
  return [
    ...told('policy', manifest.policy, batch.policy),
    ...told('relation', manifest.relation, batch.relation),
    ...told('month', manifest.month, batch.month),
    ...told('slot', manifest.slotId, batch.slotId),
    ...told('objects', names(manifest.objects), names(objects)),
    ...manifest.objects.flatMap((object) => {
      const known = objects.find(({ name }) => name === object.name)
      return known === undefined ? [] : told(object.name, comparable(object), comparable(known))
    }),
  ]
}

function names(objects: readonly { readonly name: string }[]): readonly string[] {
  return objects.map(({ name }) => name).sort()
}

/** Keys in one order, whatever wrote them. */
function comparable({
  relation,
  part,
  rowCount,
  sizeBytes,
  sha256,
  columns,
  firstKey,
  lastKey,
}: ArchiveObject): unknown {
  const described = columns.map((column) => [
    column.name,
    column.typeName,
    column.encoding,
    column.list,
    column.notNull,
    column.generated,
    column.checksum,
  ])
  return [relation, part, rowCount, sizeBytes, sha256, firstKey, lastKey, described]
}

function isOnlyMoved(manifest: Manifest, batch: BatchWithObjects): boolean {
  const unmoved = ({ name }: { readonly name: string }) => name.slice(name.indexOf('/'))
  const stored = manifest.objects.map(unmoved).sort()
  return stored.join() === batch.objects.map(unmoved).sort().join()
}

function shortened(value: unknown): string {
  const text = JSON.stringify(value) ?? 'nothing'
  return text.length <= 120 ? text : `${text.slice(0, 119)}…`
}
