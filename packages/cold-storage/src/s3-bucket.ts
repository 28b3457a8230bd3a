import { HeadBucketCommand, HeadObjectCommand, type S3Client } from '@aws-sdk/client-s3'
import type { ColdStorageConfig } from './config.js'
import { factsOf, notS3, s3Error } from './s3-errors.js'
import type { StoredObject } from './store.js'

/** Metadata of an object that tells which call wrote it; each call draws a new one. */
export const writeIdKey = 'write-id'

export interface Found {
  readonly object: StoredObject
  readonly writeId: string | undefined
}

/** A bucket, the prefix in it, and how requests to it are made and explained. */
export class S3Bucket {
  readonly client: S3Client
  readonly name: string
  /** Empty, or ends with a slash. */
  readonly prefix: string
  readonly config: ColdStorageConfig
  #exists = false

  constructor(client: S3Client, name: string, prefix: string, config: ColdStorageConfig) {
    this.client = client
    this.name = name
    this.prefix = prefix === '' ? '' : `${prefix}/`
    this.config = config
  }

  at(name: string): { readonly Bucket: string; readonly Key: string } {
    return { Bucket: this.name, Key: this.prefix + name }
  }

  /** Makes requests; `what` completes "cannot …". @throws StoreError, or the reason of the signal */
  async run<T>(
    what: string,
    signal: AbortSignal | undefined,
    request: (client: S3Client, options: { readonly abortSignal?: AbortSignal }) => Promise<T>,
  ): Promise<T> {
    signal?.throwIfAborted()
    try {
      return await request(this.client, signal === undefined ? {} : { abortSignal: signal })
    } catch (error) {
      throw await this.explain(error, what, signal)
    }
  }

  async explain(error: unknown, what: string, signal: AbortSignal | undefined): Promise<unknown> {
    if (signal?.aborted === true) return signal.reason
    return s3Error(error, what, await this.#secrets(error))
  }

  /** @returns undefined when there is no such object. @throws as {@link run} */
  async look(name: string, signal: AbortSignal | undefined): Promise<Found | undefined> {
    const what = `look at ${name}`
    const found = await this.run(what, signal, async (client, options) => {
      try {
        return await client.send(new HeadObjectCommand(this.at(name)), options)
      } catch (error) {
        if (factsOf(error).status !== 404) throw error
        return undefined
      }
    })
    if (found === undefined) {
      await this.#checkThatItExists(what, signal)
      return undefined
    }
    const { ContentLength, LastModified, ETag, Metadata } = found
    if (ContentLength === undefined || LastModified === undefined || ETag === undefined) throw notS3(what)
    const object = { name, sizeBytes: ContentLength, modifiedAt: LastModified, etag: ETag }
    return { object, writeId: Metadata?.[writeIdKey] }
  }

  /** A response to HEAD has no body: a missing bucket looks like a missing object, and a wrong name would pass for an empty store. */
  async #checkThatItExists(what: string, signal: AbortSignal | undefined): Promise<void> {
    if (this.#exists) return
    await this.run(what, signal, async (client, options) => {
      try {
        await client.send(new HeadBucketCommand({ Bucket: this.name }), options)
      } catch (error) {
        const { status } = factsOf(error)
        if (status === 404) {
          const missing = new Error(`the bucket ${this.name} does not exist`)
          throw Object.assign(missing, { name: 'NoSuchBucket' })
        }
        // Who may not look at the bucket was told about the object all the same.
        if (status !== 403) throw error
      }
    })
    this.#exists = true
  }

  /** What must not be shown. Keys of the standard chain are known once the SDK has found them; to search for them now could take seconds. */
  async #secrets(error: unknown): Promise<string[]> {
    const { accessKeyId, secretAccessKey, sessionToken } = this.config
    const own = [accessKeyId, secretAccessKey, sessionToken]
    const found =
      factsOf(error).status === undefined ? undefined : await this.client.config.credentials().catch(() => undefined)
    const all = [...own, found?.accessKeyId, found?.secretAccessKey, found?.sessionToken]
    return all.filter((secret) => secret !== undefined)
  }
}
