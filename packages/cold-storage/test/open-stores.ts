import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { coldStorageConfig, openStore, type ColdStorageConfig } from '../src/index.js'
import type { OpenStore } from '../src/store.js'
import { accessKeyId, bucket, secretAccessKey, type StrictS3 } from '../src/strict-s3.js'

export async function temporaryFolder(): Promise<{ path: string; url: string; remove(): Promise<void> }> {
  const path = await mkdtemp(join(tmpdir(), 'cold-storage-'))
  return { path, url: pathToFileURL(path).href, remove: () => rm(path, { recursive: true, force: true }) }
}

export const uploadsIn = (folder: string): Promise<string[]> => readdir(join(folder, '.uploads')).catch(() => [])

export function strictConfig(
  server: StrictS3,
  changes: Partial<Record<keyof ColdStorageConfig, unknown>> = {},
): ColdStorageConfig {
  return coldStorageConfig.parse({
    url: `s3://${bucket}/some/prefix`,
    endpoint: server.endpoint,
    region: 'eu-test-1',
    accessKeyId,
    secretAccessKey,
    ...changes,
  })
}

export function openStrict(
  server: StrictS3,
  changes: Partial<Record<keyof ColdStorageConfig, unknown>> = {},
): Promise<OpenStore> {
  return openStore(strictConfig(server, changes))
}
