/**
 * Reads an archive again and holds it against what is known of it: the catalog in PostgreSQL, the manifests in the store, and the objects
 * themselves. Changes nothing. Month by month, one object in memory at a time.
 */
import type { StoreReader } from '@battlescope/cold-storage'
import type { RelationName } from '@battlescope/database'
import { selectBatchesWithObjects, type BatchWithObjects } from '../catalog/batches.js'
import { isVerified, type ArchiveObject } from '../catalog/objects.js'
import type { CatalogDb } from '../catalog/tables.js'
import { readManifest, type Manifest } from '../manifest.js'
import { dataName, dataPrefix, manifestName, manifestPrefix, restoredPrefix } from '../object-names.js'
import { selectMonths, selectStateOfObject } from './verify-queries.js'
import { compareManifest } from './compare-manifest.js'
import { finding, type ArchiveFinding } from './findings.js'
import { KnownNames, monthOfName } from './known-names.js'
import { inspectObject, type VerifyDepth } from './verify-object.js'

export interface VerifyOptions {
  readonly store: StoreReader
  /** Undefined when it is lost: then the manifests alone say what should be there. `now` is database time. */
  readonly catalog: { readonly db: CatalogDb; readonly now: Date } | undefined
  readonly depth: VerifyDepth
  /** Months as `2020-11`, both included. Default: all. */
  readonly fromMonth?: string
  readonly toMonth?: string
  /** Only objects of these, as the catalog names them; and their manifests. Default: all. */
  readonly relations?: readonly { readonly key: string; readonly relation: RelationName }[]
  readonly signal?: AbortSignal
  readonly report: (found: ArchiveFinding) => void
  readonly progress?: (done: VerifyCounts & { readonly month: string }) => void
}

export interface VerifyCounts {
  readonly batches: number
  readonly objects: number
  readonly rows: number
  readonly bytes: number
}

/** A batch takes seconds. What is older was left behind. */
const unfinishedAfterMs = 86_400_000

/** @throws StoreError when the store cannot even be listed; what the catalog fails with; the signal's reason */
export async function verifyArchive(options: VerifyOptions): Promise<VerifyCounts> {
  const { store } = options
  const catalog = options.catalog?.db
  const reading = options.signal === undefined ? {} : { signal: options.signal }
  const verification = new Verification(options)
  const manifests = new Map<string, string[]>()
  for await (const { name } of store.list(manifestPrefix, reading)) {
    const month = monthOfName(name)
    if (month !== undefined && isWanted(options, month)) manifests.set(month, [...(manifests.get(month) ?? []), name])
  }
  const months = new Set(manifests.keys())
  if (catalog !== undefined)
    for (const month of await selectMonths(catalog)) if (isWanted(options, month)) months.add(month)
  for (const month of [...months].sort(byMonth)) await verification.month(month, manifests.get(month) ?? [])
  await verification.strays()
  await verification.uploads()
  return verification.counts
}

class Verification {
  readonly #known = new KnownNames()
  readonly #catalog: CatalogDb | undefined
  readonly #unfinishedBefore: number
  counts: VerifyCounts = { batches: 0, objects: 0, rows: 0, bytes: 0 }

  constructor(private readonly options: VerifyOptions) {
    this.#catalog = options.catalog?.db
    this.#unfinishedBefore = (options.catalog?.now.getTime() ?? 0) - unfinishedAfterMs
  }

  async month(month: string, manifestNames: readonly string[]): Promise<void> {
    const catalog = this.#catalog
    const batches =
      catalog === undefined ? [] : await selectBatchesWithObjects(catalog, { fromMonth: month, toMonth: month })
    const unread = new Set(manifestNames)
    for (const batch of batches) {
      this.#known.addBatch(batch)
      const name = manifestName(batch.month, batch.id)
      const manifest = unread.delete(name) ? await this.#manifest(name) : undefined
      await this.#batch(month, batch, name, manifest)
    }
    for (const name of unread) await this.#unknownManifest(month, name)
  }

  async #batch(month: string, batch: BatchWithObjects, name: string, read: Manifest | 'invalid' | undefined) {
    const { report } = this.options
    if (batch.state === 'discarded') {
      if (read !== undefined && read !== 'invalid' && read.state === 'deleted') await this.#again(batch, name)
      else if (read !== undefined) report(finding('object-stray', name, 'its batch was given up'))
      return
    }
    if (batch.state !== 'deleted') {
      if (read !== undefined && read !== 'invalid' && read.state === 'deleted') await this.#again(batch, name)
      else if (batch.createdAt.getTime() < this.#unfinishedBefore) {
        report(
          finding(
            'batch-unfinished',
            batch.id,
            `${batch.relation} ${batch.month}: ${batch.state} since ${batch.createdAt.toISOString()}`,
          ),
        )
      }
      return
    }
    if (read === undefined) report(finding('manifest-missing', name, `of ${batch.relation} ${batch.month}`))
    else if (read !== 'invalid' && compareManifest(name, read, batch) !== undefined) await this.#again(batch, name)
    await this.#objects(month, batch.objects.filter(isVerified), batch.id)
  }

  /** Retention or a restore may have gone on in between: only what two looks agree on is found. */
  async #again({ id }: BatchWithObjects, name: string): Promise<void> {
    const { report } = this.options
    const catalog = this.#catalog
    const batch = catalog === undefined ? undefined : (await selectBatchesWithObjects(catalog, { ids: [id] }))[0]
    const manifest = await this.#manifest(name)
    if (batch === undefined || manifest === undefined || manifest === 'invalid') return
    const found = compareManifest(name, manifest, batch)
    if (found !== undefined) report(found)
  }

  async #unknownManifest(month: string, name: string): Promise<void> {
    const manifest = await this.#manifest(name)
    if (manifest === undefined || manifest === 'invalid') return
    const { report } = this.options
    const catalog = this.#catalog
    this.#known.addManifest(manifest)
    if (catalog !== undefined) {
      const [batch] = await selectBatchesWithObjects(catalog, { ids: [manifest.batchId] })
      if (batch !== undefined) {
        // It was begun after the catalog was read.
        this.#known.addBatch(batch)
        return
      }
      report(finding('manifest-unknown', name, 'the catalog has no such batch: `archive adopt` takes it over'))
    }
    await this.#objects(month, manifest.objects, undefined)
  }

  /** @returns undefined when it is gone by now */
  async #manifest(name: string): Promise<Manifest | 'invalid' | undefined> {
    const { store, signal, report } = this.options
    try {
      return await readManifest(store, name, signal)
    } catch (error) {
      signal?.throwIfAborted()
      const { code, message } = error as { readonly code?: unknown; readonly message: string }
      if (code === 'store-not-found') return undefined
      report(finding('manifest-invalid', name, message))
      return 'invalid'
    }
  }

  async #objects(
    month: string,
    objects: readonly (ArchiveObject & { readonly restoredAt?: Date | undefined })[],
    batchId: string | undefined,
  ): Promise<void> {
    const { store, depth, signal, relations, report, progress } = this.options
    const catalog = this.#catalog
    this.#count({ batches: 1 })
    for (const object of objects) {
      signal?.throwIfAborted()
      if (relations !== undefined && !relations.some(({ key }) => key === object.relation)) continue
      const found = await inspectObject(store, object, depth, signal)
      this.#count({ objects: 1, rows: object.rowCount, bytes: object.sizeBytes })
      progress?.({ ...this.counts, month })
      if (found === undefined) continue
      // Rows of it are live again: whoever needs the space may have removed it. Unless the catalog says that they are not.
      const isLive = batchId === undefined || object.restoredAt !== undefined
      if (found.kind === 'object-missing' && object.name.startsWith(restoredPrefix) && isLive) continue
      if (found.kind === 'object-missing' && catalog !== undefined && batchId !== undefined) {
        const [batch] = await selectBatchesWithObjects(catalog, { ids: [batchId] })
        if (batch !== undefined) this.#known.addBatch(batch)
        if (batch?.objects.every(({ name }) => name !== object.name) === true) continue
      }
      report(found)
    }
  }

  #count(more: Partial<VerifyCounts>): void {
    const { batches, objects, rows, bytes } = this.counts
    this.counts = {
      batches: batches + (more.batches ?? 0),
      objects: objects + (more.objects ?? 0),
      rows: rows + (more.rows ?? 0),
      bytes: bytes + (more.bytes ?? 0),
    }
  }

  /** What lies under the prefix and is nobody's, such as what a process wrote after it was paused for long. */
  async strays(): Promise<void> {
    const { store, signal, relations, report } = this.options
    const catalog = this.#catalog
    const folders = relations?.map(({ relation }) => folderOf(relation))
    for (const prefix of [dataPrefix, restoredPrefix]) {
      for await (const { name } of store.list(prefix, signal === undefined ? {} : { signal })) {
        const month = monthOfName(name)
        if (month !== undefined && !isWanted(this.options, month)) continue
        if (folders?.every((folder) => !name.startsWith(prefix + folder)) === true) continue
        const found = this.#known.judge(name)
        if (found === undefined) continue
        // A batch may have been announced, or restored, after its month was looked at.
        if (catalog !== undefined && found.kind === 'object-stray') {
          const state = await selectStateOfObject(catalog, name)
          if (state !== undefined && state !== 'discarded') continue
        }
        // And this one may have been removed meanwhile.
        if ((await store.head(name, signal === undefined ? {} : { signal })) !== undefined) report(found)
      }
    }
  }

  /** Those that somebody may still be working on are left out, which takes a time to go by. */
  async uploads(): Promise<void> {
    const { store, signal, report } = this.options
    if (this.#catalog === undefined) return
    const before = new Date(this.#unfinishedBefore)
    for (const prefix of [dataPrefix, restoredPrefix, manifestPrefix]) {
      try {
        const count = await store.countUnfinishedUploads(prefix, before, signal === undefined ? {} : { signal })
        if (count === 0) continue
        const summary = `${count} uploads were begun more than a day ago and never finished`
        report(finding('upload-unfinished', prefix, `${summary}; a lifecycle rule of the bucket can end them`))
      } catch (error) {
        signal?.throwIfAborted()
        // Who may read objects may not always ask for this.
        report(finding('upload-unfinished', prefix, `unfinished uploads cannot be told: ${(error as Error).message}`))
      }
    }
  }
}

function folderOf(relation: RelationName): string {
  const name = dataName({ relation, month: '2000-01', slotAt: new Date(0), batchId: '', part: 0 })
  return name.slice(dataPrefix.length, name.lastIndexOf('/month=') + 1)
}

function isWanted({ fromMonth, toMonth }: VerifyOptions, month: string): boolean {
  return (
    (fromMonth === undefined || byMonth(fromMonth, month) <= 0) &&
    (toMonth === undefined || byMonth(month, toMonth) <= 0)
  )
}

/** Years of more than four digits come after those of four. */
export function byMonth(a: string, b: string): number {
  return a.length - b.length || (a < b ? -1 : a > b ? 1 : 0)
}
