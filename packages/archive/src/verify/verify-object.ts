/** Looks at one object as closely as was asked for. */
import { createHash } from 'node:crypto'
import type { StoreReader } from '@battlescope/cold-storage'
import type { ArchiveObject } from '../catalog/objects.js'
import { openObject } from '../format/object-reader.js'
import { verifyObject } from '../format/verify.js'
import { readWhole } from '../manifest.js'
import { finding, type ArchiveFinding } from './findings.js'

/**
 * - `quick`: is it there, and how large.
 * - `hash`: its bytes are read and hashed, and its footer is read.
 * - `deep`: every value is decoded, too.
 */
export const verifyDepths = ['quick', 'hash', 'deep'] as const
export type VerifyDepth = (typeof verifyDepths)[number]

/** One object is in memory at a time; objects are made of a bounded size. @throws the signal's reason, and nothing else */
export async function inspectObject(
  store: StoreReader,
  object: ArchiveObject,
  depth: VerifyDepth,
  signal?: AbortSignal,
): Promise<ArchiveFinding | undefined> {
  const { name, sizeBytes } = object
  try {
    const found = await store.head(name, signal === undefined ? {} : { signal })
    if (found === undefined) return finding('object-missing', name, `${object.rowCount} rows of ${object.relation}`)
    if (found.sizeBytes !== sizeBytes) {
      return finding('object-differs', name, `size: expected ${sizeBytes} bytes, found ${found.sizeBytes}`)
    }
    if (depth === 'quick') return undefined
    return await inspectBytes(object, depth, await readWhole(store, name, signal))
  } catch (error) {
    signal?.throwIfAborted()
    const { code, message } = error as { readonly code?: unknown; readonly message: string }
    if (code === 'store-not-found')
      return finding('object-missing', name, `${object.rowCount} rows of ${object.relation}`)
    return finding('object-unreadable', name, message)
  }
}

async function inspectBytes(
  object: ArchiveObject,
  depth: VerifyDepth,
  bytes: Uint8Array,
): Promise<ArchiveFinding | undefined> {
  const { name, rowCount, sizeBytes, sha256, columns } = object
  try {
    if (depth === 'deep') {
      const checksums = Object.fromEntries(columns.map((column) => [column.name, column.checksum]))
      await verifyObject(bytes, { rowCount, sizeBytes, sha256, columns, checksums })
      return undefined
    }
    const hash = createHash('sha256').update(bytes).digest('hex')
    if (hash !== sha256) return finding('object-differs', name, `sha256: expected ${sha256}, found ${hash}`)
    const opened = openObject(bytes)
    if (opened.rowCount === rowCount) return undefined
    return finding('object-differs', name, `rows: expected ${rowCount}, found ${opened.rowCount}`)
  } catch (error) {
    if ((error as { readonly code?: unknown }).code !== 'archive-mismatch') throw error
    return finding('object-differs', name, (error as Error).message)
  }
}
