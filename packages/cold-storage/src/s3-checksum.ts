import { createHash } from 'node:crypto'
import type { S3Bucket } from './s3-bucket.js'

/**
 * By what the store verifies the body of one request, beside the SHA-256 that the request is signed with. The SDK computes CRC-32 itself;
 * Content-MD5 is as old as S3 and known to services that refuse the newer headers.
 */
export function checksumOf(bucket: S3Bucket, bytes: Uint8Array): { ChecksumAlgorithm?: 'CRC32'; ContentMD5?: string } {
  return bucket.config.checksum === 'crc32'
    ? { ChecksumAlgorithm: 'CRC32' }
    : { ContentMD5: createHash('md5').update(bytes).digest('base64') }
}

/** For the request that begins an upload in parts: its parts will have this checksum. */
export function withAlgorithm(bucket: S3Bucket): { ChecksumAlgorithm?: 'CRC32' } {
  return bucket.config.checksum === 'crc32' ? { ChecksumAlgorithm: 'CRC32' } : {}
}
