import type { ColdStorageConfig } from './config.js'
import { allowedLocations, parseLocation } from './location.js'
import { StoreError, type OpenStore } from './store.js'

/**
 * Opens what the configuration names. Writes nothing; of S3 it does not even connect.
 * @throws StoreError `store-failed` without a URL, `store-not-found` when the folder does not exist, `store-denied` when it is out of reach.
 */
export async function openStore(config: ColdStorageConfig): Promise<OpenStore> {
  const location = config.url === undefined ? undefined : parseLocation(config.url)
  if (location === undefined) {
    throw new StoreError(
      'store-failed',
      config.url === undefined ? 'no cold storage is configured' : 'not a location',
      {
        hint: `set SCHEDULER_COLD_STORAGE_URL to ${allowedLocations}`,
      },
    )
  }
  // Each is read only where it is used. The SDK behind S3 costs several times the CPU and memory of all the rest.
  if (location.kind === 'folder') return (await import('./folder-store.js')).openFolderStore(location.path)
  const { openS3Store } = await import('./s3-store.js')
  return openS3Store(location, config)
}
