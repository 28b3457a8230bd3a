/** Files and folders, with errors in the words of the store. */
import { constants, type BigIntStats, type Dirent } from 'node:fs'
import { lstat, mkdir, open, readdir, unlink, type FileHandle } from 'node:fs/promises'
import { codeOf, folderError } from './folder-errors.js'

/** What a body threw: none of the folder's business, even if it is an error of a file system. */
export class BodyFailure {
  readonly error: unknown
  constructor(error: unknown) {
    this.error = error
  }
}

/** Appends a whole body. @returns its bytes. @throws BodyFailure */
export async function writeAll(
  file: FileHandle,
  body: Uint8Array | AsyncIterable<Uint8Array>,
  signal: AbortSignal | undefined,
): Promise<number> {
  let size = 0
  for await (const chunk of body instanceof Uint8Array ? [body] : guarded(body)) {
    signal?.throwIfAborted()
    for (let offset = 0; offset < chunk.byteLength;) {
      const { bytesWritten } = await file.write(chunk, offset, chunk.byteLength - offset)
      offset += bytesWritten
    }
    size += chunk.byteLength
  }
  return size
}

async function* guarded(body: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
  try {
    yield* body
  } catch (error) {
    // eslint-disable-next-line @typescript-eslint/only-throw-error -- unpacked by whoever writes
    throw new BodyFailure(error)
  }
}

/** Undefined for what is no plain file; without NONBLOCK, opening a named pipe would wait for whoever writes into it. */
export async function openForReading(path: string): Promise<FileHandle | undefined> {
  let file: FileHandle
  try {
    file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'ELOOP', 'ENXIO'].includes(codeOf(error) ?? '')) return undefined
    throw folderError(error, `open ${path}`)
  }
  if ((await file.stat()).isFile()) return file
  await file.close()
  return undefined
}

export async function statAny(path: string): Promise<BigIntStats | undefined> {
  try {
    return await lstat(path, { bigint: true })
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(codeOf(error) ?? '')) return undefined
    throw folderError(error, `look at ${path}`)
  }
}

export async function entriesOf(folder: string): Promise<Dirent[]> {
  try {
    return await readdir(folder, { withFileTypes: true })
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(codeOf(error) ?? '')) return []
    throw folderError(error, `list ${folder}`)
  }
}

export async function makeFolder(path: string, parent: string): Promise<void> {
  try {
    await mkdir(path)
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return
    throw folderError(error, `make the folder ${path}`)
  }
  await syncFolder(parent)
}

export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r')
  try {
    await folder.sync()
  } catch (error) {
    // Some network file systems sync their directories themselves and refuse to be asked.
    if (!['EINVAL', 'ENOTSUP', 'EPERM'].includes(codeOf(error) ?? '')) throw folderError(error, `sync ${path}`)
  } finally {
    await folder.close()
  }
}

/** @returns whether it was there. */
export async function removeIfThere(path: string): Promise<boolean> {
  try {
    await unlink(path)
    return true
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return false
    throw folderError(error, `remove ${path}`)
  }
}
