/**
 * Services that do not know conditional writes ignore the header and write. So before the first such write of a process, a small object of its
 * own is written against a condition that does not hold: who answers with success is not to be trusted.
 */
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  PutObjectCommand,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import { randomUUID } from 'node:crypto'
import { checksumOf, withAlgorithm } from './s3-checksum.js'
import type { S3Bucket } from './s3-bucket.js'
import { factsOf } from './s3-errors.js'
import { StoreError } from './store.js'

const content = Buffer.from('made to find out whether this store decides conditional writes; can be deleted\n')
/** Of the form of an ETag, but of no object. */
const foreignEtag = '"00000000000000000000000000000000"'

export class ConditionsProof {
  readonly #bucket: S3Bucket
  readonly #proven = new Set<'put' | 'multipart'>()

  constructor(bucket: S3Bucket) {
    this.#bucket = bucket
  }

  /** Asks once per process and kind of write. @throws StoreError */
  async of(kind: 'put' | 'multipart', signal: AbortSignal | undefined): Promise<void> {
    if (this.#proven.has(kind)) return
    // A name that no object can have, so that it is never listed; a new one each time, so that two processes do not meet.
    const at = this.#bucket.at(`.probe-${randomUUID()}`)
    await this.#bucket.run('find out about conditional writes', signal, async (client, options) => {
      const put = (condition: { IfNoneMatch?: string; IfMatch?: string }) =>
        client.send(
          new PutObjectCommand({ ...at, Body: content, ...checksumOf(this.#bucket, content), ...condition }),
          options,
        )
      try {
        await put({})
        if (kind === 'put') {
          await mustBeRefused('If-None-Match', () => put({ IfNoneMatch: '*' }))
          await mustBeRefused('If-Match', () => put({ IfMatch: foreignEtag }))
        } else {
          const { UploadId } = await client.send(
            new CreateMultipartUploadCommand({ ...at, ...withAlgorithm(this.#bucket) }),
            options,
          )
          const upload = { ...at, UploadId }
          try {
            const part = await client.send(
              new UploadPartCommand({ ...upload, PartNumber: 1, Body: content, ...checksumOf(this.#bucket, content) }),
              options,
            )
            const Parts = [{ PartNumber: 1, ETag: part.ETag, ChecksumCRC32: part.ChecksumCRC32 }]
            const complete = new CompleteMultipartUploadCommand({
              ...upload,
              MultipartUpload: { Parts },
              IfNoneMatch: '*',
            })
            await mustBeRefused('If-None-Match of CompleteMultipartUpload', () => client.send(complete, options))
          } finally {
            await client.send(new AbortMultipartUploadCommand(upload), options).catch(() => undefined)
          }
        }
      } finally {
        await client.send(new DeleteObjectCommand(at), options).catch(() => undefined)
      }
    })
    this.#proven.add(kind)
  }
}

async function mustBeRefused(header: string, write: () => Promise<unknown>): Promise<void> {
  try {
    await write()
  } catch (error) {
    const { status } = factsOf(error)
    if (status === 412 || status === 409) return
    throw error
  }
  throw new StoreError('store-failed', `the store ignores conditions of writes (${header})`, {
    hint: 'set SCHEDULER_COLD_STORAGE_CONDITIONAL_WRITES=false, and give each environment a prefix of its own',
  })
}
