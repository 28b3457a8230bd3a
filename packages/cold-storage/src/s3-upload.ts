/** Writing one object: by one request, or in parts. */
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  PutObjectCommand,
  UploadPartCommand,
  type CompletedPart,
  type S3Client,
} from '@aws-sdk/client-s3'
import { randomUUID } from 'node:crypto'
import { maxParts, partBytes, partsOf, type Part } from './parts.js'
import { pause } from './pause.js'
import { writeIdKey, type S3Bucket } from './s3-bucket.js'
import { checksumOf, withAlgorithm } from './s3-checksum.js'
import type { ConditionsProof } from './s3-conditions.js'
import { factsOf } from './s3-errors.js'
import { StoreError, type StoredObject } from './store.js'

/** Amazon asks to send a write again that met another one of the same name; who loses three times has lost. */
const conflictTries = 3
const conflictPauseMs = 50
/** For cleaning up when the caller's signal has been aborted already. */
const cleanUpMs = 5000

export interface Conditions {
  readonly IfNoneMatch?: '*'
  readonly IfMatch?: string
}

/** One call of `put`. */
export class Upload {
  readonly #bucket: S3Bucket
  readonly #name: string
  readonly #conditions: Conditions
  readonly #signal: AbortSignal | undefined
  readonly #writeId = randomUUID()

  constructor(bucket: S3Bucket, name: string, conditions: Conditions, signal: AbortSignal | undefined) {
    this.#bucket = bucket
    this.#name = name
    this.#conditions = conditions
    this.#signal = signal
  }

  async send(body: Uint8Array | AsyncIterable<Uint8Array>, proof: ConditionsProof): Promise<StoredObject> {
    const isConditional = Object.keys(this.#conditions).length > 0
    if (isConditional) await proof.of('put', this.#signal)
    const parts = partsOf(body, partBytes)
    try {
      const first = await nextOf(parts)
      if (first.isLast) return await this.#finish(await this.#putWhole(first.bytes), first.bytes.byteLength)
      if (isConditional) await proof.of('multipart', this.#signal)
      const { etag, sizeBytes } = await this.#putInParts(first, parts)
      return await this.#finish(etag, sizeBytes)
    } finally {
      // A body that was not read to its end may hold something open.
      await parts.return()
    }
  }

  #run<T>(request: (client: S3Client, options: { readonly abortSignal?: AbortSignal }) => Promise<T>): Promise<T> {
    return this.#bucket.run(`write ${this.#name}`, this.#signal, request)
  }

  #putWhole(bytes: Uint8Array): Promise<string | undefined> {
    const command = {
      ...this.#bucket.at(this.#name),
      Body: bytes,
      Metadata: { [writeIdKey]: this.#writeId },
      ...checksumOf(this.#bucket, bytes),
      ...this.#conditions,
    }
    return this.#run((client, options) =>
      this.#decide(conflictTries, async () => (await client.send(new PutObjectCommand(command), options)).ETag),
    )
  }

  async #putInParts(first: Part, parts: AsyncGenerator<Part, void>) {
    const at = this.#bucket.at(this.#name)
    const { UploadId } = await this.#run((client, options) =>
      client.send(
        new CreateMultipartUploadCommand({
          ...at,
          Metadata: { [writeIdKey]: this.#writeId },
          ...withAlgorithm(this.#bucket),
        }),
        options,
      ),
    )
    const upload = { ...at, UploadId }
    try {
      const done: CompletedPart[] = []
      let sizeBytes = 0
      for (let part = first; ; part = await nextOf(parts)) {
        const PartNumber = done.length + 1
        if (PartNumber > maxParts) throw tooLarge(this.#name)
        const { ETag, ChecksumCRC32 } = await this.#run((client, options) =>
          client.send(
            new UploadPartCommand({ ...upload, PartNumber, Body: part.bytes, ...checksumOf(this.#bucket, part.bytes) }),
            options,
          ),
        )
        done.push({ PartNumber, ETag, ...(ChecksumCRC32 === undefined ? {} : { ChecksumCRC32 }) })
        sizeBytes += part.bytes.byteLength
        if (part.isLast) break
      }
      const command = { ...upload, MultipartUpload: { Parts: done }, ...this.#conditions }
      // Sent once: after a conflict, the parts would have to be sent again.
      const etag = await this.#run((client, options) =>
        this.#decide(1, async () => (await client.send(new CompleteMultipartUploadCommand(command), options)).ETag),
      )
      return { etag, sizeBytes }
    } catch (error) {
      await this.#bucket.client
        .send(new AbortMultipartUploadCommand(upload), { abortSignal: AbortSignal.timeout(cleanUpMs) })
        // Then abortUnfinishedUploads ends it.
        .catch(() => undefined)
      throw error
    }
  }

  /**
   * Makes the request that makes the object visible, and finds out what became of it when the answer does not say. The response may get lost
   * after the write took effect; sent again, a conditional write then fails on its own object. The metadata tells whose it is.
   */
  async #decide(tries: number, write: () => Promise<string | undefined>): Promise<string | undefined> {
    for (let sent = 1; ; sent++) {
      try {
        return await write()
      } catch (error) {
        const { name, status, attempts } = factsOf(error)
        const isUncertain = attempts > 1 || sent > 1 || status === undefined || status >= 500
        if (isUncertain && name !== 'CredentialsProviderError' && this.#signal?.aborted !== true) {
          const found = await this.#bucket.look(this.#name, this.#signal).catch(() => undefined)
          if (found?.writeId === this.#writeId) return found.object.etag
        }
        if (name !== 'ConditionalRequestConflict' || sent >= tries) throw error
        await pause(conflictPauseMs * sent, this.#signal)
      }
    }
  }

  /** Looks at the object as others see it: the response to a write has no time. */
  async #finish(etag: string | undefined, sizeBytes: number): Promise<StoredObject> {
    const found = await this.#bucket.look(this.#name, this.#signal)
    if (found === undefined) {
      throw new StoreError('store-failed', `${this.#name} was written, but is not there`, {
        hint: 'something else deletes in this prefix, or the store shows objects late, which is not supported',
      })
    }
    const { object, writeId } = found
    // Overwritten since: then its etag would let the caller overwrite what he has not seen.
    if (writeId !== undefined && writeId !== this.#writeId) return { ...object, sizeBytes, etag: etag ?? '' }
    if (object.sizeBytes === sizeBytes) return object
    throw new StoreError('store-checksum', `the store has ${object.sizeBytes} of ${sizeBytes} bytes of ${this.#name}`)
  }
}

async function nextOf(parts: AsyncGenerator<Part, void>): Promise<Part> {
  const next = await parts.next()
  if (next.done === true) throw new TypeError('a body without a last part')
  return next.value
}

function tooLarge(name: string): StoreError {
  return new StoreError('store-failed', `${name} is larger than ${(maxParts * partBytes) / 1024 ** 3} GiB`, {
    hint: 'write it as several objects',
  })
}
