import {
  AbortMultipartUploadCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  type ListMultipartUploadsCommandOutput,
  type MultipartUpload,
} from '@aws-sdk/client-s3'
import { isObjectName } from './object-name.js'
import type { S3Bucket } from './s3-bucket.js'
import { factsOf, notS3 } from './s3-errors.js'
import { StoreError, type StoredObject } from './store.js'

export async function* listObjects(
  bucket: S3Bucket,
  prefix: string,
  signal: AbortSignal | undefined,
): AsyncIterable<StoredObject> {
  let token: string | undefined
  let previous = ''
  do {
    const what = `list ${prefix}*`
    const page = await bucket.run(what, signal, (client, options) =>
      client.send(
        new ListObjectsV2Command({
          Bucket: bucket.name,
          Prefix: bucket.prefix + prefix,
          ...(token === undefined ? {} : { ContinuationToken: token }),
        }),
        options,
      ),
    )
    if (page.IsTruncated === undefined && page.KeyCount === undefined) throw notS3(what)
    for (const { Key = '', Size = 0, LastModified, ETag = '' } of page.Contents ?? []) {
      // Also what a service does that begins anew with every page.
      if (Buffer.compare(Buffer.from(Key), Buffer.from(previous)) <= 0) throw notInOrder(previous, Key)
      previous = Key
      const name = Key.slice(bucket.prefix.length)
      if (!Key.startsWith(bucket.prefix + prefix) || !isObjectName(name) || LastModified === undefined) continue
      yield { name, sizeBytes: Size, modifiedAt: LastModified, etag: ETag }
      signal?.throwIfAborted()
    }
    token = page.IsTruncated === true ? page.NextContinuationToken : undefined
  } while (token !== undefined)
}

/** @returns how many there were */
export async function abortUploads(
  bucket: S3Bucket,
  prefix: string,
  startedBefore: Date,
  signal: AbortSignal | undefined,
): Promise<number> {
  let aborted = 0
  for await (const { Key, UploadId } of unfinishedUploads(bucket, prefix, startedBefore, signal)) {
    aborted += await bucket.run(`abort an upload of ${Key}`, signal, async (client, options) => {
      try {
        await client.send(new AbortMultipartUploadCommand({ Bucket: bucket.name, Key, UploadId }), options)
        return 1
      } catch (error) {
        // It was finished or aborted since.
        if (factsOf(error).status === 404) return 0
        throw error
      }
    })
  }
  return aborted
}

export async function countUploads(
  bucket: S3Bucket,
  prefix: string,
  startedBefore: Date,
  signal: AbortSignal | undefined,
): Promise<number> {
  let count = 0
  for await (const _ of unfinishedUploads(bucket, prefix, startedBefore, signal)) count++
  return count
}

async function* unfinishedUploads(
  bucket: S3Bucket,
  prefix: string,
  startedBefore: Date,
  signal: AbortSignal | undefined,
): AsyncIterable<{ readonly Key: string; readonly UploadId: string }> {
  for await (const { Key, UploadId, Initiated } of listUploads(bucket, bucket.prefix + prefix, signal)) {
    // An upload without a time may be one that is going on.
    if (Key === undefined || UploadId === undefined || Initiated === undefined || Initiated >= startedBefore) continue
    if (Key.startsWith(bucket.prefix + prefix)) yield { Key, UploadId }
  }
}

async function* listUploads(
  bucket: S3Bucket,
  prefix: string,
  signal: AbortSignal | undefined,
): AsyncIterable<MultipartUpload> {
  let marker: { readonly KeyMarker?: string; readonly UploadIdMarker?: string } = {}
  for (;;) {
    const page: ListMultipartUploadsCommandOutput = await bucket.run(
      `list unfinished uploads of ${prefix}*`,
      signal,
      (client, options) =>
        client.send(new ListMultipartUploadsCommand({ Bucket: bucket.name, Prefix: prefix, ...marker }), options),
    )
    yield* page.Uploads ?? []
    const { NextKeyMarker: KeyMarker, NextUploadIdMarker: UploadIdMarker } = page
    if (page.IsTruncated !== true || KeyMarker === undefined) return
    // A service that does not go on would be asked for ever.
    if (KeyMarker === marker.KeyMarker && UploadIdMarker === marker.UploadIdMarker) return
    marker = { KeyMarker, ...(UploadIdMarker === undefined ? {} : { UploadIdMarker }) }
  }
}

function notInOrder(previous: string, key: string): StoreError {
  return new StoreError('store-failed', `the store does not list in the order of names: ${previous}, then ${key}`, {
    hint: 'directory buckets (S3 Express) are not supported',
  })
}
