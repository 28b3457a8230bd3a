/**
 * A folder on disk as a store.
 *
 * An object is written beside (`.uploads/`), synced, and then given its name in one step: by link(2), which refuses a name that is taken, or
 * by rename(2) under a lock (`.locks/`) that every replacement and deletion of the name takes. Directories are synced too, so that what was
 * reported as written is there after a power failure.
 */
import { createHash, randomInt, randomUUID } from 'node:crypto'
import type { BigIntStats } from 'node:fs'
import { link, lstat, open, realpath, rename, stat, type FileHandle } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { codeOf, folderError } from './folder-errors.js'
import {
  BodyFailure,
  entriesOf,
  makeFolder,
  openForReading,
  removeIfThere,
  statAny,
  syncFolder,
  writeAll,
} from './folder-files.js'
import { removeDeadWaiters, withLock } from './folder-lock.js'
import { checkName, checkPrefix, checkRange, isObjectName, rangeBehindEnd } from './object-name.js'
import {
  StoreError,
  type ByteRange,
  type OpenStore,
  type ReadOptions,
  type StoredObject,
  type WriteOptions,
} from './store.js'

/** Names of objects never begin with a dot, so these cannot be taken for one. */
const uploads = '.uploads'
const locks = '.locks'
/** Bytes read at once. */
const chunkBytes = 256 * 1024
const fileNameBytes = 255

/**
 * Opens a folder, which must exist: one that is made on demand hides a volume that is not mounted.
 * @throws StoreError `store-not-found`, `store-denied`
 */
export async function openFolderStore(path: string): Promise<OpenStore> {
  const location = pathToFileURL(path).href
  let root: string
  try {
    root = await realpath(path)
    if (!(await stat(root)).isDirectory()) throw new StoreError('store-failed', `${location} is no folder`)
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw folderError(error, `open ${location}`)
    throw new StoreError('store-not-found', `the folder ${location} does not exist`, {
      hint: 'make it, or mount the volume it is on; it is never made by itself, because a missing mount would go unnoticed',
      cause: error,
    })
  }
  return new FolderStore(root, location)
}

class FolderStore implements OpenStore {
  readonly location: string
  readonly conditionalWrites = true
  readonly #root: string

  constructor(root: string, location: string) {
    this.#root = root
    this.location = location
  }

  async head(name: string, { signal }: ReadOptions = {}): Promise<StoredObject | undefined> {
    checkName(name)
    signal?.throwIfAborted()
    if (!(await this.#enter(dirname(name), 'look'))) return undefined
    return statFile(this.#path(name), name)
  }

  async *get(name: string, options: ReadOptions & { readonly range?: ByteRange } = {}): AsyncIterable<Uint8Array> {
    const { signal, range } = options
    checkName(name)
    if (range !== undefined) checkRange(name, range)
    signal?.throwIfAborted()
    const file = (await this.#enter(dirname(name), 'look')) ? await openForReading(this.#path(name)) : undefined
    if (file === undefined) throw new StoreError('store-not-found', `there is no object ${name} in ${this.location}`)
    try {
      const { size } = await file.stat()
      if (range !== undefined && range.first >= size) throw rangeBehindEnd(name, range)
      const end = Math.min(size, (range?.last ?? size) + 1)
      for (let position = range?.first ?? 0; position < end;) {
        signal?.throwIfAborted()
        // A buffer of its own for each chunk: whoever keeps one must not see it change.
        const buffer = Buffer.allocUnsafeSlow(Math.min(chunkBytes, end - position))
        const { bytesRead } = await file.read(buffer, 0, buffer.length, position)
        if (bytesRead === 0) {
          throw new StoreError('store-checksum', `${name} was cut off at byte ${position} while it was read`)
        }
        position += bytesRead
        yield buffer.subarray(0, bytesRead)
      }
    } catch (error) {
      throw folderError(error, `read ${name}`)
    } finally {
      await file.close()
    }
  }

  async *list(prefix: string, { signal }: ReadOptions = {}): AsyncIterable<StoredObject> {
    checkPrefix(prefix)
    const folder = dirname(`${prefix}x`)
    signal?.throwIfAborted()
    if (!(await this.#enter(folder, 'look'))) return
    yield* this.#walk(folder === '.' ? '' : `${folder}/`, prefix, signal)
  }

  async put(
    name: string,
    body: Uint8Array | AsyncIterable<Uint8Array>,
    options: WriteOptions = {},
  ): Promise<StoredObject> {
    const { ifAbsent = false, ifMatch, signal } = options
    checkName(name)
    signal?.throwIfAborted()
    // Before the transfer, because it may be long; what counts is decided in one step with the write.
    if (ifAbsent || ifMatch !== undefined) checkCondition(name, await this.head(name), ifAbsent, ifMatch)
    await this.#enter(dirname(name), 'make')
    const upload = join(await this.#own(uploads), uploadName(name))
    let file: FileHandle | undefined
    try {
      file = await open(upload, 'wx')
      const size = await writeAll(file, body, signal)
      await stamp(file)
      await file.sync()
      const { size: written } = await file.stat()
      if (written !== size)
        throw new StoreError('store-checksum', `${written} of ${size} bytes of ${name} were written`)
      signal?.throwIfAborted()
      if (ifAbsent) await this.#create(name, upload)
      else await this.#replace(name, upload, file, ifMatch, signal)
      await syncFolder(dirname(this.#path(name)))
      return describe(name, await file.stat({ bigint: true }))
    } catch (error) {
      throw error instanceof BodyFailure ? error.error : folderError(error, `write ${name}`)
    } finally {
      await file?.close()
      await removeIfThere(upload)
    }
  }

  async delete(name: string, { signal }: ReadOptions = {}): Promise<void> {
    checkName(name)
    signal?.throwIfAborted()
    if (!(await this.#enter(dirname(name), 'look'))) return
    const path = this.#path(name)
    if ((await statFile(path, name)) === undefined) return
    await withLock(await this.#lock(name), signal, async (held) => {
      await held.verify()
      await removeIfThere(path)
    })
    await syncFolder(dirname(path))
  }

  async countUnfinishedUploads(prefix: string, startedBefore: Date, { signal }: ReadOptions = {}): Promise<number> {
    checkPrefix(prefix)
    let count = 0
    for await (const _ of this.#unfinished(prefix, startedBefore, signal)) count++
    return count
  }

  async abortUnfinishedUploads(prefix: string, startedBefore: Date, { signal }: ReadOptions = {}): Promise<number> {
    checkPrefix(prefix)
    signal?.throwIfAborted()
    await removeDeadWaiters(join(this.#root, locks), startedBefore)
    let aborted = 0
    for await (const path of this.#unfinished(prefix, startedBefore, signal)) if (await removeIfThere(path)) aborted++
    return aborted
  }

  async *#unfinished(prefix: string, startedBefore: Date, signal: AbortSignal | undefined): AsyncIterable<string> {
    signal?.throwIfAborted()
    for (const entry of await entriesOf(join(this.#root, uploads))) {
      signal?.throwIfAborted()
      const target = entry.name.slice(entry.name.indexOf('~') + 1).replaceAll('~', '/')
      // The end of a long name is missing: what is there may be shorter than the prefix.
      if (!target.startsWith(prefix) && !(entry.name.length === fileNameBytes && prefix.startsWith(target))) continue
      const path = join(this.#root, uploads, entry.name)
      const stats = await lstat(path).catch(() => undefined)
      if (stats !== undefined && beginOf(stats) < startedBefore.getTime()) yield path
    }
  }

  async close(): Promise<void> {}

  #path(name: string): string {
    return join(this.#root, name)
  }

  async #own(folder: string): Promise<string> {
    await this.#enter(folder, 'make')
    return join(this.#root, folder)
  }

  /** The lock of one name. Its file has the hash of the name: names may be longer than file names, and `a/b` must not need a folder. */
  async #lock(name: string): Promise<string> {
    return join(await this.#own(locks), createHash('sha256').update(name).digest('hex').slice(0, 32))
  }

  /**
   * Goes down to a folder, part by part, through real folders only: a symbolic link could lead out of the store.
   * @returns false when it does not exist and was not to be made.
   */
  async #enter(folder: string, how: 'look' | 'make'): Promise<boolean> {
    let path = this.#root
    for (const part of folder === '.' ? [] : folder.split('/')) {
      const parent = path
      path = join(path, part)
      let stats = await statAny(path)
      if (stats === undefined) {
        if (how === 'look') return false
        await makeFolder(path, parent)
        stats = await statAny(path)
      }
      if (stats?.isDirectory() === true) continue
      if (stats?.isSymbolicLink() === true) {
        throw new StoreError('store-denied', `${path} is a symbolic link`, {
          hint: 'folders below the store must be real: a link could lead out of it',
        })
      }
      if (how === 'look') return false
      throw new StoreError('store-invalid-name', `${folder} cannot be a folder: there is an object of the name ${part}`)
    }
    return true
  }

  async *#walk(folder: string, prefix: string, signal: AbortSignal | undefined): AsyncIterable<StoredObject> {
    const entries = (await entriesOf(this.#path(folder)))
      .filter((entry) => (entry.isDirectory() || entry.isFile()) && isObjectName(folder + entry.name))
      // In a whole name, what follows the name of a folder is a slash: only with it the order is that of names.
      .map((entry) => ({ isFolder: entry.isDirectory(), name: folder + entry.name + (entry.isDirectory() ? '/' : '') }))
      .filter(({ name }) => name.startsWith(prefix))
      .sort((a, b) => (a.name < b.name ? -1 : 1))
    for (const { name, isFolder } of entries) {
      signal?.throwIfAborted()
      if (isFolder) {
        yield* this.#walk(name, prefix, signal)
      } else {
        // It may have been deleted since.
        const found = await statFile(this.#path(name), name)
        if (found !== undefined) yield found
      }
    }
  }

  async #create(name: string, upload: string): Promise<void> {
    try {
      await link(upload, this.#path(name))
    } catch (error) {
      if (codeOf(error) === 'EEXIST') throw conflict(name, 'it exists')
      throw error
    }
  }

  async #replace(
    name: string,
    upload: string,
    file: FileHandle,
    ifMatch: string | undefined,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const path = this.#path(name)
    await withLock(await this.#lock(name), signal, async (held) => {
      const before = await statAny(path)
      if (before?.isDirectory() === true) {
        throw new StoreError('store-invalid-name', `${name} cannot be an object: there are objects below that name`)
      }
      if (ifMatch !== undefined) checkCondition(name, before && describe(name, before), false, ifMatch)
      if (before !== undefined) await stamp(file, before.mtimeNs)
      await held.verify()
      await rename(upload, path)
    })
  }
}

/** Inode, time and size. The hash of the content would need all of it to be read, for every object that is listed. */
function describe(name: string, { ino, mtimeNs, size }: BigIntStats): StoredObject {
  return {
    name,
    sizeBytes: Number(size),
    modifiedAt: new Date(Number(mtimeNs / 1_000_000n)),
    etag: `${ino.toString(16)}-${mtimeNs.toString(16)}-${size.toString(16)}`,
  }
}

/**
 * Makes sure that the etag is new. File systems use the inode of a removed file again, and their clock may stand still for 10 ms: so the time
 * of an object is later than that of the one it replaces, and its microseconds are drawn.
 */
async function stamp(file: FileHandle, after = 0n): Promise<void> {
  const { atimeMs, mtimeNs } = await file.stat({ bigint: true })
  const ms = Math.max(Number(mtimeNs / 1_000_000n), Number(after / 1_000_000n) + 1)
  await file.utimes(Number(atimeMs) / 1000, ms / 1000 + randomInt(1000) / 1e6)
}

function checkCondition(name: string, found: StoredObject | undefined, ifAbsent: boolean, ifMatch?: string): void {
  if (ifAbsent && found !== undefined) throw conflict(name, 'it exists')
  if (ifMatch === undefined || found?.etag === ifMatch) return
  throw conflict(name, found === undefined ? 'it does not exist' : 'it was changed')
}

function conflict(name: string, why: string): StoreError {
  return new StoreError('store-conflict', `${name} was not written: ${why}`)
}

async function statFile(path: string, name: string): Promise<StoredObject | undefined> {
  const stats = await statAny(path)
  return stats?.isFile() === true ? describe(name, stats) : undefined
}

/** Says which object it is for, so that uploads can be found by prefix; cut where file names end. */
function uploadName(name: string): string {
  return `${randomUUID()}~${name.replaceAll('/', '~')}`.slice(0, fileNameBytes)
}

/** Not all file systems know when a file was made. */
function beginOf({ birthtimeMs, mtimeMs }: { readonly birthtimeMs: number; readonly mtimeMs: number }): number {
  return birthtimeMs > 0 ? Math.min(birthtimeMs, mtimeMs) : mtimeMs
}
