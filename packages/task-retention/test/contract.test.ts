import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { describeTaskContract } from '@battlescope/scheduler-testing'
import { afterAll } from 'vitest'
import { retention } from '../src/index.js'
import { retentionConfig } from '../src/config.js'
import { seedSql, storeClients, template } from './world.js'

// Each database of the suite claims a prefix of its own, as each environment has to.
const folders: string[] = []

afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true })
})

function freshStore(): string {
  const folder = mkdtempSync(join(tmpdir(), 'retention-contract-'))
  folders.push(folder)
  return pathToFileURL(folder).href
}

let url = freshStore()

describeTaskContract(retention, {
  template,
  config: retentionConfig.parse({ batchRows: 100, pause: '0s' }),
  clients: { store: (request) => storeClients(url).store!(request) },
  unseeded: async (database) => {
    url = freshStore()
    // A killmail that is the newest, so that all others may go; and young ones.
    await database.query(`
      INSERT INTO killmail_events (killmail_id, system_id, occurred_at, zkb_url, fetched_at, processed_at)
      SELECT k, 30000142, now() - k * interval '1 day', '', now(), now() FROM generate_series(1, 5) k;
      ANALYZE`)
  },
  seed: async (database) => {
    await database.query('TRUNCATE killmail_events CASCADE')
    await database.query(seedSql(200))
  },
})
