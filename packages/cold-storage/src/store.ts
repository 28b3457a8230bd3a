/**
 * A store of named objects: what a local folder and an S3-compatible service have in common, and no more.
 *
 * Names are `/`-separated paths of `A-Z a-z 0-9 . _ = + -`, relative to the configured prefix. No part is empty, longer than 255 characters or
 * begins with `.`; name and prefix together have at most 1024 characters. No name continues another's with a `/`. Objects of other names,
 * which someone else put there, are not listed.
 *
 * Aborted calls reject with the signal's reason; what a body throws is passed on as it is.
 */

import type {} from '@battlescope/scheduler-core'

export interface StoredObject {
  readonly name: string
  readonly sizeBytes: number
  readonly modifiedAt: Date
  /**
   * Another one after every write of other bytes; the same bytes may have the same again (S3). Good for `ifMatch` and nothing else: of
   * multipart uploads it is no hash. What `ifMatch` is to guard should hold something that is new in each write.
   */
  readonly etag: string
}

export interface ReadOptions {
  readonly signal?: AbortSignal
}

/** Reads alone. What a dry run gets. */
export interface StoreReader {
  /** Where it is, without secrets: `file:///var/archive`, `s3://bucket/prefix`. */
  readonly location: string
  /** Whether `ifAbsent` and `ifMatch` are decided by the store itself, in one step with the write. */
  readonly conditionalWrites: boolean
  /** @returns undefined when there is no such object. @throws StoreError */
  head(name: string, options?: ReadOptions): Promise<StoredObject | undefined>
  /**
   * The bytes as stored now, never from a cache. A transfer that breaks off, or brings other bytes than the store's checksum says, throws
   * at its end: what was read before is good only when the iteration ends without an error. A range may end behind the object, not begin there.
   * @throws StoreError `store-not-found`
   */
  get(name: string, options?: ReadOptions & { readonly range?: ByteRange }): AsyncIterable<Uint8Array>
  /** Everything whose name begins with `prefix`, in the order of names. @throws StoreError */
  list(prefix: string, options?: ReadOptions): AsyncIterable<StoredObject>
  /** Uploads under `prefix` that were begun before `startedBefore` and never finished: what `abortUnfinishedUploads` would end. @throws StoreError */
  countUnfinishedUploads(prefix: string, startedBefore: Date, options?: ReadOptions): Promise<number>
}

/** Both ends inclusive, from 0. */
export interface ByteRange {
  readonly first: number
  readonly last: number
}

export interface WriteOptions {
  /** Only if no object has this name. @throws StoreError `store-conflict` */
  readonly ifAbsent?: boolean
  /** Only if the object still has this etag. @throws StoreError `store-conflict` */
  readonly ifMatch?: string
  readonly signal?: AbortSignal
}

export interface Store extends StoreReader {
  /**
   * Writes a whole object; it is visible complete or not at all. The transfer is protected by a checksum that the store itself verifies.
   * A failed or aborted write leaves nothing behind that a reader could take for the object, and no unfinished upload where that can be helped.
   * With `store-unavailable` it is unknown whether the object was written: look before writing again with a condition.
   * @throws StoreError
   */
  put(name: string, body: Uint8Array | AsyncIterable<Uint8Array>, options?: WriteOptions): Promise<StoredObject>
  /** Removes an object; absent is no error. @throws StoreError */
  delete(name: string, options?: ReadOptions): Promise<void>
  /** Ends uploads under `prefix` that were begun before `startedBefore` and never finished. @returns how many. @throws StoreError */
  abortUnfinishedUploads(prefix: string, startedBefore: Date, options?: ReadOptions): Promise<number>
}

/** A store and what it holds on to. */
export interface OpenStore extends Store {
  /** Ends connections. Running calls fail. */
  close(): Promise<void>
}

export type StoreErrorCode =
  | 'store-not-found'
  | 'store-conflict'
  | 'store-denied'
  | 'store-unavailable'
  | 'store-checksum'
  | 'store-invalid-name'
  | 'store-failed'

/** What a store could not do, and where; in `hint` what to do about it. Never holds a credential. */
export class StoreError extends Error {
  override readonly name = 'StoreError'
  readonly code: StoreErrorCode
  readonly hint: string | undefined
  constructor(
    code: StoreErrorCode,
    message: string,
    options: { readonly hint?: string; readonly cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.hint = options.hint
  }
}

declare module '@battlescope/scheduler-core' {
  interface ClientTypes {
    store: { read: StoreReader; write: Store }
  }
}
