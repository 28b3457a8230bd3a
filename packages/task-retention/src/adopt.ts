/**
 * Makes this database the owner of the prefix, and builds what its catalog lacks from the manifests in the store. Whoever owned it before
 * finds a nonce that it does not know, and stops. Nothing is thrown away: what was archived by the other database and is live in this one,
 * as in a copy that was taken before, moves to `restored/`.
 */
import { randomUUID } from 'node:crypto'
import {
  catalogIn,
  decideOwnership,
  decodeRows,
  manifestName,
  manifestPrefix,
  markRestored,
  readManifest,
  readOwner,
  restoredName,
  restoredPrefix,
  selectBatches,
  selectIdentity,
  selectOwner,
  updateStoredState,
  type Batch,
  type Manifest,
  type OwnershipFacts,
  type RecordedOwner,
} from '@battlescope/archive'
import type { TaskResult } from '@battlescope/scheduler-core'
import { deleteBatches, insertFromManifests, selectArchivedAgain } from './adopt-queries.js'
import { schemaOf } from './archive-batch.js'
import { codeOf, isStoreProblem } from './batch-errors.js'
import { reportStoreProblem } from './clean-up.js'
import { advance, takeStore } from './ownership.js'
import type { PartitionRecord } from './partition-facts.js'
import { selectPartitionRecords } from './partition-records.js'
import { keepCommit } from './queries.js'
import { copyToRestored, finishMove, readVerified } from './restored-objects.js'
import type { Target } from './restore-plan.js'
import { countLive, selectTarget } from './restore-queries.js'
import { settleAll, type Slice, type StoreAccess } from './slice.js'

/** Manifests that are read at the same time, and written down in one transaction. */
const atOnce = 16

export async function performAdopt(slice: Slice): Promise<TaskResult> {
  const { context } = slice
  const { stateSchema } = context
  if (stateSchema === undefined) return { outcome: 'skipped', reason: 'the tables of the scheduler do not exist yet' }
  if (context.dryRun) return { outcome: 'skipped', reason: 'adopting is shown by `archive adopt` without --yes' }
  try {
    const known = await selectBatches(catalogIn(context.db, stateSchema))
    const unknown = await selectUnknown(slice, stateSchema, known)
    const access = await own(slice, stateSchema)
    if (access.kind === 'refused') {
      slice.report(access.finding)
      return { outcome: 'skipped', reason: 'another process writes to the store', findings: slice.findings }
    }
    return await rebuild(slice, access.owner, unknown)
  } catch (error) {
    if (!isStoreProblem(error)) throw error
    reportStoreProblem(slice, error)
    return { outcome: 'partial', findings: slice.findings }
  }
}

async function own(slice: Slice, stateSchema: string): Promise<StoreAccess> {
  const { context } = slice
  const { location } = await context.client('store')
  const before = await readOwner(await context.client('store'), context.signal)
  const facts: OwnershipFacts = {
    stored: before?.owner,
    recorded: await selectOwner(catalogIn(context.db, stateSchema)),
    identity: await selectIdentity(context.db),
    location,
  }
  if (decideOwnership(facts).kind !== 'foreign') return takeStore(slice)
  return advance(context, adoptedOwner(facts), before)
}

/** What this database has to remember so that the next advance is one from what the store says. Pure but for the nonces. */
export function adoptedOwner({ stored, recorded, identity, location }: OwnershipFacts): RecordedOwner {
  const readable = stored !== undefined && stored.generation >= 0
  return {
    ownerId: (readable ? stored.ownerId : recorded?.ownerId) ?? randomUUID(),
    location,
    generation: (readable ? stored.generation : recorded?.generation) ?? 0,
    nonce: readable ? stored.nonce : randomUUID(),
    pendingNonce: undefined,
    identity,
  }
}

export type AdoptDecision = 'read' | 'skip'

/** Whether a manifest tells something that the catalog does not know. Pure. */
export function decideAdoption(known: Pick<Batch, 'state'> | undefined, stored: Manifest['state']): AdoptDecision {
  if (known === undefined) return 'read'
  // Of what the catalog does not call deleted, another database may have deleted the rows since this one was copied from it.
  return stored === 'deleted' && known.state !== 'deleted' ? 'read' : 'skip'
}

/**
 * Names of the manifests that say more than the catalog. Where the catalog says otherwise, it forgets: before the prefix is ours, so that
 * no later run takes their objects for those of a batch that was given up.
 */
async function selectUnknown(slice: Slice, stateSchema: string, known: readonly Batch[]): Promise<readonly string[]> {
  const { context } = slice
  const store = await context.client('store')
  const { signal } = context
  const byName = new Map(known.map((batch) => [manifestName(batch.month, batch.id), batch]))
  const unknown: string[] = []
  const contradicted: string[] = []
  for await (const { name } of store.list(manifestPrefix, { signal })) {
    const batch = byName.get(name)
    if (batch?.state === 'deleted') continue
    if (batch !== undefined) {
      const manifest = await readOrReport(slice, name)
      if (manifest === undefined || decideAdoption(batch, manifest.state) === 'skip') continue
      contradicted.push(batch.id)
    }
    unknown.push(name)
  }
  if (contradicted.length > 0) {
    const reason = 'their rows were deleted by another database'
    await context.act({ kind: 'forget-batches', target: `${stateSchema}.archive_batch`, reason }, async ({ db }) => {
      await deleteBatches(catalogIn(db, stateSchema), contradicted)
      return { rows: contradicted.length }
    })
  }
  return unknown
}

async function readOrReport(slice: Slice, name: string): Promise<Manifest | undefined> {
  const { context } = slice
  try {
    return await readManifest(await context.client('store'), name, context.signal)
  } catch (error) {
    if (codeOf(error) !== 'manifest-invalid') throw error
    const { message, hint } = error as { readonly message: string; readonly hint?: string }
    slice.report({
      key: `manifest-invalid-${name}`.slice(0, 200),
      severity: 'error',
      summary: message,
      details: { hint },
    })
    return undefined
  }
}

async function rebuild(slice: Slice, owner: RecordedOwner, names: readonly string[]): Promise<TaskResult> {
  const { context } = slice
  const targets = new Targets(slice)
  let done = 0
  for (let first = 0; first < names.length; first += atOnce) {
    if (slice.mustStop) return { outcome: 'partial', remaining: names.length - done, findings: slice.findings }
    context.progress({ done, total: names.length, unit: 'manifests' })
    const group = names.slice(first, first + atOnce)
    const manifests = (await settleAll(group.map((name) => readOrReport(slice, name)))).filter(
      (manifest) => manifest !== undefined,
    )
    const judged: ({ readonly manifest: Manifest } & Liveness)[] = []
    for (const manifest of manifests) judged.push({ manifest, ...(await judgeLiveness(slice, manifest, targets)) })
    const schema = schemaOf(slice)
    const reason = `${manifests.length} batches from their manifests`
    await context.act({ kind: 'adopt-batches', target: `${schema}.archive_batch`, reason }, async ({ db }) => {
      await insertFromManifests(
        catalogIn(db, schema),
        judged.filter(({ live }) => live.length === 0).map(({ manifest }) => manifest),
        new Set(judged.flatMap(({ gone }) => [...gone])),
      )
      return { rows: manifests.length }
    })
    for (const { manifest, live, gone } of judged)
      if (live.length > 0) await adoptLive(slice, owner, manifest, { live, gone })
    context.metrics.count('adopted_batches', manifests.length)
    done += group.length
    slice.batches++
  }
  await reportArchivedAgain(slice)
  return { outcome: 'succeeded', findings: slice.findings }
}

/**
 * Rows that were restored, and archived again since, are in two objects. Both count as archived, because either may have rows that are nowhere
 * else; a restore begins with the later one, and leaves what is there.
 */
async function reportArchivedAgain(slice: Slice): Promise<void> {
  const { context } = slice
  const twice = await selectArchivedAgain(catalogIn(context.db, schemaOf(slice)))
  if (twice.length === 0) return
  slice.report({
    key: 'adopt-restored',
    severity: 'warning',
    summary: `${twice.length} objects were restored once, into a database that is lost, and rows of their months were archived later: some rows may be in both`,
    details: {
      objects: twice.slice(0, 10),
      hint: 'a restore takes each row as it was archived last; rows that were deleted in between come back from these objects, too',
    },
  })
}

type ManifestObject = Manifest['objects'][number]

/** The batch, and its objects whose rows are live under their new names, in one transaction: then its manifest follows. */
async function adoptLive(slice: Slice, owner: RecordedOwner, manifest: Manifest, { live, gone }: Liveness) {
  const { context } = slice
  const store = await context.client('store')
  const schema = schemaOf(slice)
  for (const object of live) await copyToRestored(slice, object, await readVerified(store, object, context.signal))
  const reason = `batch ${manifest.batchId}: the rows of ${live.length} objects are live here`
  await context.act({ kind: 'adopt-batches', target: `${schema}.archive_batch`, reason }, async ({ db }) => {
    const catalog = catalogIn(db, schema)
    await keepCommit(db)
    await insertFromManifests(catalog, [manifest], gone)
    await markRestored(
      catalog,
      manifest.batchId,
      live.map(({ name }) => ({ from: name, to: restoredName(name) })),
    )
    await updateStoredState(catalog, [manifest.batchId], 'verified')
    return { rows: 1 }
  })
  await finishMove(
    slice,
    manifest.batchId,
    live.map(({ name }) => name),
    owner,
  )
}

/** Where rows of a relation are here, read once each: in itself, and in partitions of it that retention detached and did not drop yet. */
class Targets {
  readonly #known = new Map<string, readonly Target[]>()
  #detached: readonly PartitionRecord[] | undefined
  constructor(private readonly slice: Slice) {}

  async of(relation: string): Promise<readonly Target[]> {
    const known = this.#known.get(relation)
    if (known !== undefined) return known
    const { db } = this.slice.context
    this.#detached ??= (await selectPartitionRecords(db, schemaOf(this.slice))).filter(
      ({ place }) => place === 'detached' || place === 'pending',
    )
    const own = this.#detached.filter((record) => record.relation === relation)
    const targets: Target[] = []
    for (const name of [relation, ...own.map(({ partition }) => partition)]) {
      const target = await selectTarget(db, name)
      if (target !== undefined && target.primaryKey.length > 0) targets.push(target)
    }
    this.#known.set(relation, targets)
    return targets
  }
}

interface Liveness {
  /** Objects under `data/` all of whose rows are live in this database. */
  readonly live: readonly ManifestObject[]
  /** Names of objects under `restored/` of which that is not so. */
  readonly gone: ReadonlySet<string>
}

/** Objects some of whose rows are live get a finding, and stay where they are. */
async function judgeLiveness(slice: Slice, manifest: Manifest, targets: Targets): Promise<Liveness> {
  const live: ManifestObject[] = []
  const gone = new Set<string>()
  const { context } = slice
  const store = await context.client('store')
  for (const object of manifest.objects) {
    const wasRestored = object.name.startsWith(restoredPrefix)
    // `restored/` may be emptied: of what is not there, nothing can be said or saved.
    if (wasRestored && (await store.head(object.name, { signal: context.signal })) === undefined) continue
    let rows = 0
    try {
      for (const target of await targets.of(object.relation))
        rows += await countLiveRows(slice, object, target, wasRestored)
    } catch (error) {
      // Of one object, and in every run: it counts as archived, and `archive verify` says more of it.
      if (!isUnreadable(error) || context.signal.aborted) throw error
      rows = 0
      slice.report({
        key: `adopt-unreadable-${object.relation}`.slice(0, 200),
        severity: 'error',
        summary: `whether rows of ${object.relation} are live cannot be told: ${(error as Error).message}`,
        details: { object: object.name },
      })
    }
    if (wasRestored && rows !== object.rowCount) gone.add(object.name)
    if (rows === object.rowCount) {
      if (!wasRestored) live.push(object)
    } else if (rows > 0) {
      slice.report({
        key: `adopt-twice-${object.relation}`.slice(0, 200),
        severity: 'warning',
        summary: `some rows of ${object.relation} are both in the archive and in this database`,
        details: { object: object.name, rows, of: object.rowCount },
      })
    }
  }
  return { live, gone }
}

/** An object that is damaged, or whose key is not the one that the relation has by now. */
function isUnreadable(error: unknown): boolean {
  const code = codeOf(error)
  return ['archive-mismatch', 'store-checksum', 'store-not-found'].includes(code) || /^(22|42)...$/.test(code)
}

/** The ends of an object first: rows of one object left their database together, so where neither is here, none is. Not after a restore. */
async function countLiveRows(
  slice: Slice,
  object: ManifestObject,
  target: Target,
  wasRestored: boolean,
): Promise<number> {
  const { context } = slice
  const { primaryKey } = target
  const ends = [object.firstKey, object.lastKey].map((text) => JSON.parse(text) as readonly string[])
  if (ends.some((key) => key.length !== primaryKey.length)) return 0
  const valuesOf = (rows: readonly (readonly string[])[]) =>
    primaryKey.map((_, column) => rows.map((row) => row[column] ?? ''))
  if (!wasRestored && (await countLive(context.db, target, primaryKey, valuesOf(ends))) === 0) return 0
  const bytes = await readVerified(await context.client('store'), object, context.signal)
  let rows = 0
  for await (const group of decodeRows(bytes, primaryKey)) {
    const values = primaryKey.map((name) => group.values[name] ?? [])
    rows += await countLive(context.db, target, primaryKey, values)
  }
  return rows
}
