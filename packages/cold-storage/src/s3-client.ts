import { S3Client, type S3ClientConfig } from '@aws-sdk/client-s3'
import type { ColdStorageConfig } from './config.js'

/** Where nothing names another region: what services without regions expect. */
const defaultRegion = 'us-east-1'

/** Connects to nothing yet. */
export async function makeClient(config: ColdStorageConfig): Promise<S3Client> {
  const client = new S3Client(clientConfig(config, config.region))
  try {
    // Reads the environment and the shared files, and throws when neither names a region.
    await client.config.region()
    return client
  } catch {
    client.destroy()
    return new S3Client(clientConfig(config, defaultRegion))
  }
}

function clientConfig(config: ColdStorageConfig, region: string | undefined): S3ClientConfig {
  const { endpoint, accessKeyId, secretAccessKey, sessionToken } = config
  const ignore = () => undefined
  return {
    ...(region === undefined ? {} : { region }),
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(accessKeyId === undefined || secretAccessKey === undefined
      ? {}
      : { credentials: { accessKeyId, secretAccessKey, ...(sessionToken === undefined ? {} : { sessionToken }) } }),
    forcePathStyle: config.pathStyle ?? endpoint !== undefined,
    maxAttempts: config.attempts,
    retryMode: 'standard',
    // Bodies are whole buffers: their checksum goes into a header, never into a trailer, which many services do not understand.
    requestChecksumCalculation: config.checksum === 'crc32' ? 'WHEN_SUPPORTED' : 'WHEN_REQUIRED',
    // Each read of a whole object asks for it; the checksum of a whole object does not fit a part of it.
    responseChecksumValidation: 'WHEN_REQUIRED',
    requestHandler: {
      connectionTimeout: config.connectTimeout,
      requestTimeout: config.requestTimeout,
      throwOnRequestTimeout: true,
      // For a body that stands still: the request's own timeout ends with the head of its response.
      socketTimeout: config.requestTimeout,
    },
    // Else it writes to the console.
    logger: { debug: ignore, info: ignore, warn: ignore, error: ignore },
  }
}
