/**
 * A bucket of S3, or of a service that speaks its protocol, as a store.
 *
 * This module imports the SDK; {@link openStore} imports it where a bucket is configured.
 */
import { DeleteObjectCommand, GetObjectCommand } from '@aws-sdk/client-s3'
import type { ColdStorageConfig } from './config.js'
import type { Location } from './location.js'
import { checkName, checkPrefix, checkRange, rangeBehindEnd } from './object-name.js'
import { S3Bucket } from './s3-bucket.js'
import { makeClient } from './s3-client.js'
import { ConditionsProof } from './s3-conditions.js'
import { factsOf, notS3 } from './s3-errors.js'
import { abortUploads, countUploads, listObjects } from './s3-listing.js'
import { Upload } from './s3-upload.js'
import {
  StoreError,
  type ByteRange,
  type OpenStore,
  type ReadOptions,
  type StoredObject,
  type WriteOptions,
} from './store.js'

/** Connects to nothing yet. */
export async function openS3Store(
  { bucket, prefix }: Extract<Location, { kind: 's3' }>,
  config: ColdStorageConfig,
): Promise<OpenStore> {
  return new S3Store(new S3Bucket(await makeClient(config), bucket, prefix, config))
}

class S3Store implements OpenStore {
  readonly location: string
  readonly conditionalWrites: boolean
  readonly #bucket: S3Bucket
  readonly #proof: ConditionsProof

  constructor(bucket: S3Bucket) {
    this.#bucket = bucket
    this.#proof = new ConditionsProof(bucket)
    this.location = `s3://${bucket.name}/${bucket.prefix}`.replace(/\/$/, '')
    this.conditionalWrites = bucket.config.conditionalWrites
  }

  async head(name: string, { signal }: ReadOptions = {}): Promise<StoredObject | undefined> {
    checkName(name, this.#bucket.prefix)
    return (await this.#bucket.look(name, signal))?.object
  }

  async *get(name: string, options: ReadOptions & { readonly range?: ByteRange } = {}): AsyncIterable<Uint8Array> {
    const { signal, range } = options
    checkName(name, this.#bucket.prefix)
    if (range !== undefined) checkRange(name, range)
    const { Body, ContentLength, ContentRange, ETag } = await this.#request(name, range, signal)
    // In Node, the SDK gives a stream.
    const body = Body as AsyncIterable<Uint8Array> & { destroy(): void }
    try {
      if (ETag === undefined) throw notS3(`read ${name}`)
      if (range !== undefined && ContentRange === undefined) {
        throw new StoreError('store-failed', `the store sends all of ${name} instead of a range of its bytes`)
      }
      let received = 0
      for await (const chunk of body) {
        signal?.throwIfAborted()
        received += chunk.byteLength
        yield chunk
      }
      if (ContentLength !== undefined && received !== ContentLength) {
        throw new StoreError('store-unavailable', `${name} broke off after ${received} of ${ContentLength} bytes`)
      }
    } catch (error) {
      throw await this.#bucket.explain(error, `read ${name}`, signal)
    } finally {
      // What is left of it would keep the connection.
      body.destroy()
    }
  }

  list(prefix: string, { signal }: ReadOptions = {}): AsyncIterable<StoredObject> {
    checkPrefix(prefix)
    return listObjects(this.#bucket, prefix, signal)
  }

  async put(
    name: string,
    body: Uint8Array | AsyncIterable<Uint8Array>,
    options: WriteOptions = {},
  ): Promise<StoredObject> {
    const { ifAbsent = false, ifMatch, signal } = options
    checkName(name, this.#bucket.prefix)
    if (ifAbsent || ifMatch !== undefined) await this.#checkConditions(name, options)
    const conditions = {
      ...(ifAbsent ? { IfNoneMatch: '*' as const } : {}),
      ...(ifMatch === undefined ? {} : { IfMatch: ifMatch }),
    }
    return new Upload(this.#bucket, name, this.conditionalWrites ? conditions : {}, signal).send(body, this.#proof)
  }

  async delete(name: string, { signal }: ReadOptions = {}): Promise<void> {
    checkName(name, this.#bucket.prefix)
    await this.#bucket.run(`delete ${name}`, signal, async (client, options) => {
      try {
        await client.send(new DeleteObjectCommand(this.#bucket.at(name)), options)
      } catch (error) {
        // Amazon answers 204 for what does not exist; others may not.
        if (factsOf(error).name !== 'NoSuchKey') throw error
      }
    })
  }

  async countUnfinishedUploads(prefix: string, startedBefore: Date, { signal }: ReadOptions = {}): Promise<number> {
    checkPrefix(prefix)
    return countUploads(this.#bucket, prefix, startedBefore, signal)
  }

  async abortUnfinishedUploads(prefix: string, startedBefore: Date, { signal }: ReadOptions = {}): Promise<number> {
    checkPrefix(prefix)
    return abortUploads(this.#bucket, prefix, startedBefore, signal)
  }

  async close(): Promise<void> {
    this.#bucket.client.destroy()
  }

  #request(name: string, range: ByteRange | undefined, signal: AbortSignal | undefined) {
    const { config } = this.#bucket
    const command = new GetObjectCommand({
      ...this.#bucket.at(name),
      ...(range === undefined ? {} : { Range: `bytes=${range.first}-${range.last}` }),
      ...(range === undefined && config.checksum === 'crc32' ? { ChecksumMode: 'ENABLED' } : {}),
    })
    return this.#bucket.run(`read ${name}`, signal, async (client, options) => {
      try {
        return await client.send(command, options)
      } catch (error) {
        throw range !== undefined && factsOf(error).status === 416 ? rangeBehindEnd(name, range) : error
      }
    })
  }

  /**
   * Before the transfer, because it may be long. Where the store decides by itself this is only an early answer; where it does not it is all
   * there is, and a writer in the moment between is not noticed.
   */
  async #checkConditions(name: string, { ifAbsent = false, ifMatch, signal }: WriteOptions): Promise<void> {
    const found = await this.head(name, signal === undefined ? {} : { signal })
    if (ifAbsent && found !== undefined) throw conflict(name, 'it exists')
    if (ifMatch === undefined || found?.etag === ifMatch) return
    throw conflict(name, found === undefined ? 'it does not exist' : 'it was changed')
  }
}

function conflict(name: string, why: string): StoreError {
  return new StoreError('store-conflict', `${name} was not written: ${why}`)
}
