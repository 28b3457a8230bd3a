import { startFauxqs } from 'fauxqs'
import { afterAll, beforeAll } from 'vitest'
import { coldStorageConfig, openStore } from '../src/index.js'
import { faultyStore } from '../src/testing.js'
import { openStrict, temporaryFolder, uploadsIn } from './open-stores.js'
import { describeStoreContract } from './store-contract.js'
import { bucket, StrictS3 } from '../src/strict-s3.js'

describeStoreContract('a folder', async () => {
  const folder = await temporaryFolder()
  const store = await openStore(coldStorageConfig.parse({ url: folder.url }))
  return {
    store,
    unfinished: async () => (await uploadsIn(folder.path)).length,
    close: async () => {
      await store.close()
      await folder.remove()
    },
  }
})

let strict: StrictS3
beforeAll(async () => {
  strict = await StrictS3.start()
})
afterAll(() => strict.stop())

for (const checksum of ['crc32', 'md5'] as const) {
  describeStoreContract(`S3 that verifies signatures and checksums (${checksum})`, async () => {
    strict.reset()
    strict.pageSize = 10
    strict.refusesChecksums = checksum === 'md5'
    const store = await openStrict(strict, { checksum })
    return { store, unfinished: async () => strict.uploads.size, close: () => store.close() }
  })
}

let fauxqs: Awaited<ReturnType<typeof startFauxqs>>
beforeAll(async () => {
  fauxqs = await startFauxqs({ port: 0, logger: false })
  fauxqs.createBucket(bucket)
})
afterAll(() => fauxqs.stop())

// It knows no conditional writes, so this is the contract of a store that does not decide them.
describeStoreContract(
  'S3 as fauxqs plays it',
  async () => {
    const store = await openStore(
      coldStorageConfig.parse({
        url: `s3://${bucket}`,
        endpoint: `http://127.0.0.1:${fauxqs.port}`,
        accessKeyId: 'test',
        secretAccessKey: 'test',
        conditionalWrites: false,
      }),
    )
    return {
      store,
      // It does not list them.
      unfinished: async () => 0,
      close: async () => {
        await store.close()
        fauxqs.emptyBucket(bucket)
      },
    }
  },
  { conditions: true, orderOfLists: true },
)

describeStoreContract('a faulty store without faults', async () => {
  const folder = await temporaryFolder()
  const store = await openStore(coldStorageConfig.parse({ url: folder.url }))
  return {
    store: faultyStore(store, []),
    unfinished: async () => (await uploadsIn(folder.path)).length,
    close: folder.remove,
  }
})
