/** What is in the archive, by relation and month, from the catalog or from manifests alone. */
import type { StoreReader } from '@battlescope/cold-storage'
import { manifestPrefix, restoredPrefix } from './object-names.js'
import { readManifest } from './manifest.js'
import { byMonth } from './verify/verify-archive.js'
import { monthOfName } from './verify/known-names.js'

/**
 * - `archived`: its rows are in the archive alone.
 * - `restored`: its rows are live again.
 * - `unfinished`: its rows are in the database, and the copy is being made or checked.
 */
export type ListedState = 'archived' | 'restored' | 'unfinished'

export interface ListedMonth {
  readonly relation: string
  readonly month: string
  readonly policy: string
  readonly state: ListedState
  readonly batches: number
  readonly objects: number
  readonly rows: number
  readonly bytes: number
  /** Of the rows that decided: a child's rows go by their parent's time. */
  readonly firstAt: Date | undefined
  readonly lastAt: Date | undefined
}

export interface ListedObject {
  /** Relative to the prefix of the store. */
  readonly name: string
  readonly relation: string
  readonly month: string
  readonly rows: number
  readonly bytes: number
}

export interface ListingFilter {
  readonly relations?: readonly string[]
  /** Months as `2020-11`, both included. */
  readonly fromMonth?: string
  readonly toMonth?: string
}

/** The same from the manifests, for when the catalog is lost. @throws StoreError; ManifestError */
export async function listManifests(
  store: StoreReader,
  { relations, fromMonth, toMonth }: ListingFilter,
  signal?: AbortSignal,
): Promise<{ readonly months: readonly ListedMonth[]; readonly objects: readonly ListedObject[] }> {
  const months = new Map<string, ListedMonth & { readonly batchIds: Set<string> }>()
  const objects: ListedObject[] = []
  for await (const { name } of store.list(manifestPrefix, signal === undefined ? {} : { signal })) {
    const month = monthOfName(name)
    if (month === undefined) continue
    if (fromMonth !== undefined && byMonth(month, fromMonth) < 0) continue
    if (toMonth !== undefined && byMonth(month, toMonth) > 0) continue
    const manifest = await readManifest(store, name, signal)
    for (const { relation, name: object, rowCount, sizeBytes } of manifest.objects) {
      if (relations?.includes(relation) === false) continue
      const state = object.startsWith(restoredPrefix)
        ? 'restored'
        : manifest.state === 'deleted'
          ? 'archived'
          : 'unfinished'
      const key = JSON.stringify([relation, month, manifest.policy, state])
      const before = months.get(key)
      months.set(key, {
        relation,
        month,
        policy: manifest.policy,
        state,
        batchIds: (before?.batchIds ?? new Set<string>()).add(manifest.batchId),
        batches: 0,
        objects: (before?.objects ?? 0) + 1,
        rows: (before?.rows ?? 0) + rowCount,
        bytes: (before?.bytes ?? 0) + sizeBytes,
        firstAt: earlier(before?.firstAt, manifest.firstAt),
        lastAt: later(before?.lastAt, manifest.lastAt),
      })
      if (state === 'archived') objects.push({ name: object, relation, month, rows: rowCount, bytes: sizeBytes })
    }
  }
  return {
    months: [...months.values()]
      .map(({ batchIds, ...listed }) => ({ ...listed, batches: batchIds.size }))
      .sort((a, b) => a.relation.localeCompare(b.relation) || byMonth(a.month, b.month)),
    objects: objects.sort((a, b) => (a.name < b.name ? -1 : 1)),
  }
}

function earlier(a: Date | undefined, b: Date): Date {
  return a !== undefined && a < b ? a : b
}

function later(a: Date | undefined, b: Date): Date {
  return a !== undefined && a > b ? a : b
}
