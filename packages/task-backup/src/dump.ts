/**
 * The driver `pg-dump`, step by step: announce, write, read back, promote (the manifest), record. Whatever step a process is killed after, the
 * store holds no manifest, or one of a dump that was read back: never half a backup that counts.
 */
import { randomUUID } from 'node:crypto'
import { selectIdentity } from '@battlescope/archive'
import { codeOf, messageOf } from '@battlescope/scheduler-core'
import { checkDump, DumpUnfit, Meter, type Measured } from './check-dump.js'
import type { BackupContext } from './driver.js'
import { isSameDatabase, readManifest, writeManifest, type DumpManifest } from './manifest.js'
import { dumpObjectName, dumpPrefix, manifestObjectName, manifestPrefix } from './names.js'
import { goodBackups } from './plan.js'
import type { PrunePlan } from './plan-prune.js'
import { announce, record } from './record.js'
import type { BackupRecord } from './tables.js'

export interface DumpRequest {
  readonly name: string
  readonly attempt: number
  readonly reason: string
  readonly databaseBytes: number
  /** What `pg_dump --version` says. */
  readonly writtenBy: string
}

/** Takes one. How it ended is in the table, also when it failed; a run that is aborted leaves that to the next. */
export async function takeDump(context: BackupContext, request: DumpRequest): Promise<void> {
  const { slot, clock, db } = context
  const store = await context.client('store')
  const objectName = dumpObjectName(request.name, randomUUID())
  const startedAt = clock.now()
  const { name, attempt, databaseBytes } = request
  const state = 'running' as const
  const database = await selectIdentity(db)
  await announce(
    context,
    {
      name,
      slotId: slot.id,
      attempt,
      driver: 'pg-dump',
      state,
      startedAt,
      objectName,
      databaseBytes,
      location: store.location,
      database,
    },
    request.reason,
  )
  // From here on a manifest may be in the store, whatever error says that it is not.
  let promoting = false
  try {
    const written = await writeDump(context, objectName, name)
    const entries = context.dryRun ? 0 : await checkWritten(context, objectName, written)
    const manifest: DumpManifest = {
      manifestVersion: 1,
      name,
      slotId: slot.id,
      object: objectName,
      ...written,
      entries,
      startedAt,
      verifiedAt: clock.now(),
      database,
      databaseBytes,
      writtenBy: request.writtenBy,
    }
    await context.act({ kind: 'promote-dump', target: store.location, reason: name, via: 'store' }, async (client) => {
      promoting = true
      await writeManifest(client, manifest, context.signal)
      return { details: { manifest: manifestObjectName(objectName) } }
    })
    await recordGood(context, manifest)
  } catch (error) {
    // The run is over, or the task somebody else's: the next run finds the row and decides by what is in the store.
    context.signal.throwIfAborted()
    // So it does for a dump that was read back already: a connection that broke behind the manifest is no reason to remove it.
    if (promoting || codeOf(error) === 'lost-claim') throw error
    await discard(context, { name, objectName }, messageOf(error))
  }
}

async function writeDump(context: BackupContext, objectName: string, name: string): Promise<Measured> {
  const { config, signal } = context
  const programs = await context.client('program')
  const target = (await context.client('store')).location
  let written: Measured = { sizeBytes: 0, sha256: '0'.repeat(64) }
  await context.act({ kind: 'write-dump', target, reason: name, via: 'store' }, async (store) => {
    const meter = new Meter()
    const body = programs.dump({ compressionLevel: config.compressionLevel, signal })
    const stored = await store.put(objectName, meter.pass(body), { ifAbsent: true, signal })
    written = meter.measured()
    if (stored.sizeBytes !== written.sizeBytes)
      throw new DumpUnfit(`the store has ${stored.sizeBytes} bytes of ${objectName}, not ${written.sizeBytes}`)
    return { bytes: written.sizeBytes, details: { object: objectName, sha256: written.sha256 } }
  })
  return written
}

async function checkWritten({ config, ...context }: BackupContext, object: string, written: Measured): Promise<number> {
  if (written.sizeBytes < config.minSize)
    throw new DumpUnfit(`the dump has ${written.sizeBytes} bytes, and backup.minSize is ${config.minSize}`)
  const [store, programs] = [await context.client('store'), await context.client('program')]
  const entries = await checkDump(store, programs, object, written, { signal: context.signal })
  if (entries === 0) throw new DumpUnfit('the dump has no contents')
  return entries
}

async function recordGood(context: BackupContext, manifest: DumpManifest): Promise<void> {
  await record(context, manifest.name, {
    state: 'succeeded',
    startedAt: manifest.startedAt,
    finishedAt: manifest.verifiedAt,
    sizeBytes: manifest.sizeBytes,
    databaseBytes: manifest.databaseBytes,
    checksum: `sha256:${manifest.sha256}`,
  })
}

/** The manifest goes first: what has none is no backup any more, whatever happens next. */
async function removeFromStore(context: BackupContext, { name, objectName }: Located, kind: string): Promise<void> {
  const { location } = await context.client('store')
  await context.act({ kind, target: location, reason: name, via: 'store' }, async (store) => {
    const { signal } = context
    await store.delete(manifestObjectName(objectName), { signal })
    await store.delete(objectName, { signal })
    // Only of this very object: nobody else ever writes under its name.
    await store.abortUnfinishedUploads(objectName, context.clock.now(), { signal })
    return { details: { object: objectName } }
  })
}

interface Located {
  readonly name: string
  readonly objectName: string
}

async function discard(context: BackupContext, located: Located, message: string): Promise<void> {
  await removeFromStore(context, located, 'discard-dump')
  await record(context, located.name, { state: 'failed', finishedAt: context.clock.now(), message })
}

/** One that a run left behind. Whoever was at it has lost the claim: what the store says decides. */
export async function recoverDump(context: BackupContext, backup: BackupRecord): Promise<void> {
  const store = await context.client('store')
  const { name, objectName } = backup
  if (objectName === undefined || backup.location !== store.location) {
    const message = `it was written to ${backup.location ?? 'another store'}, which is no longer the cold storage`
    await record(context, name, { state: 'failed', finishedAt: context.clock.now(), message })
    return
  }
  const manifest = await wholeManifest(context, objectName)
  if (manifest !== undefined) {
    await recordGood(context, manifest)
    return
  }
  // Not ours to remove: the other one may be at it right now.
  if (backup.database !== undefined && !isSameDatabase(backup.database, await selectIdentity(context.db))) {
    const message = `it was begun by another database (${backup.database.database}), of which this one is a copy: ${objectName} is left to that one`
    await record(context, name, { state: 'failed', finishedAt: context.clock.now(), message })
    return
  }
  await discard(context, { name, objectName }, 'the run that took it ended before it did')
}

/** The manifest of a dump that is there, and as long as the manifest says: it was read back before the manifest was written. */
async function wholeManifest(context: BackupContext, objectName: string): Promise<DumpManifest | undefined> {
  const store = await context.client('store')
  try {
    const manifest = await readManifest(store, manifestObjectName(objectName), context.signal)
    if (manifest === undefined) return undefined
    const found = await store.head(objectName, { signal: context.signal })
    return found?.sizeBytes === manifest.sizeBytes ? manifest : undefined
  } catch (error) {
    if (codeOf(error) === 'manifest-invalid') return undefined
    throw error
  }
}

/** Whether a good dump is no longer where it was put: one look at it and at its manifest. Then it counts no longer. */
export async function missDump(context: BackupContext, dump: BackupRecord): Promise<boolean> {
  const store = await context.client('store')
  if (dump.objectName === undefined || dump.location !== store.location) return false
  if ((await wholeManifest(context, dump.objectName)) !== undefined) return false
  const message = `${dump.objectName} or its manifest is gone from ${store.location}, or was changed`
  await record(context, dump.name, { state: 'vanished', message })
  return true
}

export interface Pruned {
  readonly left: number
  /** Why what the plan would remove stays. */
  readonly heldBack: string | undefined
}

/** Removes what the plan says, as far as the budget goes, and nothing while somebody else uses the prefix. */
export async function pruneDumps(
  context: BackupContext,
  plan: PrunePlan,
  backups: readonly BackupRecord[],
): Promise<Pruned> {
  if (plan.remove.length === 0) return { left: 0, heldBack: plan.heldBack }
  const stored = await listStored(context)
  const foreign = foreignManifest(stored, backups)
  if (foreign !== undefined) {
    const heldBack = `${foreign} is in the store, and this database knows nothing of it`
    return { left: 0, heldBack }
  }
  const missed = await missKept(context, stored, plan, backups)
  if (missed.length > 0) return { left: 0, heldBack: `${missed.join(', ')} should be there beside them, and is gone` }
  const identity = await selectIdentity(context.db)
  for (const [index, { name, objectName, state }] of plan.remove.entries()) {
    if (context.budget.exhausted()) return { left: plan.remove.length - index, heldBack: undefined }
    if (objectName === undefined) continue
    const manifest = await wholeManifest(context, objectName)
    if (manifest !== undefined && !isSameDatabase(manifest.database, identity)) {
      return {
        left: 0,
        heldBack: `${name} is of another database (${manifest.database.database}): this one is its copy, or was upgraded`,
      }
    }
    // In this order a kill in between leaves a row that says what was begun, and the next run ends it.
    if (state !== 'pruning') await record(context, name, { state: 'pruning' })
    await removeFromStore(context, { name, objectName }, 'prune-dump')
    await record(context, name, { state: 'pruned', prunedAt: context.clock.now() })
  }
  return { left: 0, heldBack: plan.heldBack }
}

/** What lies in the store: bytes by name. */
async function listStored(context: BackupContext): Promise<ReadonlyMap<string, number>> {
  const store = await context.client('store')
  const stored = new Map<string, number>()
  for (const prefix of [dumpPrefix, manifestPrefix]) {
    for await (const { name, sizeBytes } of store.list(prefix, { signal: context.signal })) stored.set(name, sizeBytes)
  }
  return stored
}

/** A copy of this database that backs up into the same prefix, or the time before this database was restored. */
function foreignManifest(stored: ReadonlyMap<string, number>, backups: readonly BackupRecord[]): string | undefined {
  const known = new Set(
    backups.flatMap(({ objectName }) => (objectName === undefined ? [] : [manifestObjectName(objectName)])),
  )
  return [...stored.keys()].find((name) => name.startsWith(manifestPrefix) && !known.has(name))
}

/**
 * Dumps for whose sake the plan lets others go must be there. Those that are not are looked at once more, and count no longer.
 * @returns their names
 */
async function missKept(
  context: BackupContext,
  stored: ReadonlyMap<string, number>,
  plan: PrunePlan,
  backups: readonly BackupRecord[],
): Promise<readonly string[]> {
  const missed: string[] = []
  const going = new Set(plan.remove)
  for (const dump of goodBackups(backups)) {
    const { name, driver, objectName, sizeBytes } = dump
    if (driver !== 'pg-dump' || objectName === undefined || going.has(dump)) continue
    const isThere = stored.get(objectName) === sizeBytes && stored.has(manifestObjectName(objectName))
    if (!isThere && (await missDump(context, dump))) missed.push(name)
  }
  return missed
}
