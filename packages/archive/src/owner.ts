/**
 * Whose prefix of the store it is. No database can know that it is a copy of another one: a snapshot has the same system identifier and the
 * same rows. So the prefix has an owner object, and whoever archives first advances it, here and in the store, by a conditional write. The
 * other one finds a nonce in the store that it never announced, and stops until somebody decides (`archive adopt`).
 */
import type { Store, StoreReader, StoredObject } from '@battlescope/cold-storage'
import { z } from 'zod'
import { readWhole } from './manifest.js'
import { ownerName } from './object-names.js'

/** What tells databases apart without help. All of it is equal in a snapshot of the same server; all of it may differ after a restore. */
export interface DatabaseIdentity {
  readonly systemIdentifier: string
  /** What the cluster is called (`cluster_name`); empty when nobody named it. */
  readonly host: string
  readonly database: string
}

/** What this database remembers. */
export interface RecordedOwner {
  readonly ownerId: string
  readonly location: string
  readonly generation: number
  readonly nonce: string
  /** Announced here before the store is changed, so that a kill in between differs from a foreign hand. */
  readonly pendingNonce: string | undefined
  readonly identity: DatabaseIdentity
}

/** What the store says. */
export interface StoredOwner {
  readonly ownerId: string
  readonly generation: number
  readonly nonce: string
  readonly systemIdentifier: string
  readonly host: string
  readonly database: string
}

const storedOwnerSchema = z.object({
  ownerId: z.uuid(),
  generation: z.number().int(),
  nonce: z.uuid(),
  systemIdentifier: z.string(),
  host: z.string(),
  database: z.string(),
})

export interface OwnershipFacts {
  /** Undefined when there is no owner object. */
  readonly stored: StoredOwner | undefined
  /** Undefined when this database has never archived. */
  readonly recorded: RecordedOwner | undefined
  readonly identity: DatabaseIdentity
  readonly location: string
}

export type OwnershipDecision =
  /** Nobody's: ours from now on, by a write that succeeds only if it still is nobody's. */
  | { readonly kind: 'claim' }
  /** Ours: to be advanced by a write that succeeds only if it still says so. */
  | { readonly kind: 'advance' }
  /** Advanced by us, and killed before we wrote that down. */
  | { readonly kind: 'finish'; readonly stored: StoredOwner }
  /** Not ours, or not surely. Nothing may be written. */
  | { readonly kind: 'foreign'; readonly reason: string }

/** Pure: whether this database may write under the prefix, and what has to be done first. */
export function decideOwnership({ stored, recorded, identity, location }: OwnershipFacts): OwnershipDecision {
  if (recorded === undefined) {
    if (stored === undefined) return { kind: 'claim' }
    return foreign(`the store belongs to ${describe(stored)}, and this database has never archived into it`)
  }
  const moved = differences(recorded.identity, identity)
  if (moved !== undefined) return foreign(`this database is not the one that archived before: ${moved}`)
  if (stored === undefined) {
    // Announced, and killed before the store was written: the generation is still that of a beginner.
    if (recorded.generation === 0) return { kind: 'claim' }
    return foreign(
      recorded.location === location
        ? 'the owner object is gone from the store'
        : `the store ${location} is another one than before (${recorded.location})`,
    )
  }
  if (stored.ownerId !== recorded.ownerId) {
    return foreign(`the store belongs to ${describe(stored)}, and this database to ${recorded.ownerId}`)
  }
  if (stored.nonce === recorded.pendingNonce && stored.generation === recorded.generation + 1) {
    return { kind: 'finish', stored }
  }
  if (stored.nonce !== recorded.nonce || stored.generation !== recorded.generation) {
    return foreign(
      `a copy of this database has archived into the store: it is at generation ${stored.generation}, this database at ${recorded.generation}`,
    )
  }
  return { kind: 'advance' }
}

function foreign(reason: string): OwnershipDecision {
  return { kind: 'foreign', reason }
}

function describe({ ownerId, host, database }: StoredOwner): string {
  return `${ownerId} (database ${database}${host === '' ? '' : ` of ${host}`})`
}

function differences(before: DatabaseIdentity, now: DatabaseIdentity): string | undefined {
  const changed = (
    [
      ['system identifier', before.systemIdentifier, now.systemIdentifier],
      ['cluster name', before.host, now.host],
      ['database name', before.database, now.database],
    ] as const
  ).filter(([, was, is]) => was !== is)
  if (changed.length === 0) return undefined
  return changed.map(([what, was, is]) => `${what} was '${was}' and is '${is}'`).join(', ')
}

/** What the store is to say after the advance. */
export function nextOwner(ownerId: string, generation: number, nonce: string, identity: DatabaseIdentity): StoredOwner {
  return { ownerId, generation, nonce, ...identity }
}

export interface ReadOwner {
  readonly owner: StoredOwner
  /** For `ifMatch`. */
  readonly object: StoredObject
}

/**
 * @returns undefined when the store has no owner. An owner object that cannot be read is a foreign one.
 * @throws StoreError
 */
export async function readOwner(store: StoreReader, signal?: AbortSignal): Promise<ReadOwner | undefined> {
  // The etag first: if the object changes in between, the conditional write that follows fails, and that is right.
  const object = await store.head(ownerName, signal === undefined ? {} : { signal })
  if (object === undefined) return undefined
  const text = Buffer.from(await readWhole(store, ownerName, signal)).toString('utf8')
  return { owner: parseOwner(text), object }
}

/** @throws StoreError `store-conflict` when the store changed since it was read */
export async function writeOwner(
  store: Store,
  owner: StoredOwner,
  before: ReadOwner | undefined,
  signal?: AbortSignal,
): Promise<void> {
  await store.put(ownerName, Buffer.from(`${JSON.stringify(owner, null, 1)}\n`), {
    ...(before === undefined ? { ifAbsent: true } : { ifMatch: before.object.etag }),
    ...(signal === undefined ? {} : { signal }),
  })
}

function parseOwner(text: string): StoredOwner {
  try {
    return storedOwnerSchema.parse(JSON.parse(text))
  } catch {
    const unreadable = 'an owner object that cannot be read'
    return { ownerId: unreadable, generation: -1, nonce: '', systemIdentifier: '', host: '', database: '' }
  }
}
