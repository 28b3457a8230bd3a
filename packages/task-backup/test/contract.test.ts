import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { describeTaskContract, runOneTask, type TestDatabase } from '@battlescope/scheduler-testing'
import { afterAll, describe } from 'vitest'
import { backup } from '../src/index.js'
import { noClientTools } from './client-tools.js'
import { clientsFor, content } from './world.js'

const folder = mkdtempSync(join(tmpdir(), 'backup-contract-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const tool = join(folder, 'tool')
writeFileSync(tool, '#!/bin/sh\necho done\n')
chmodSync(tool, 0o755)

/** pg_dump is told by its environment which database it dumps: any will do for the contract. */
const clients = (storeUrl: string, databaseUrl = 'postgresql://nobody@localhost/nothing') => clientsFor({ databaseUrl, storeUrl })
const newStore = () => pathToFileURL(mkdtempSync(join(folder, 'store-'))).href

/** Nothing to do: there is a backup that is younger than backup.minAge. */
function contractFor(config: Readonly<Record<string, unknown>>): void {
  const storeUrl = newStore()
  describeTaskContract(backup, {
    template: { name: 'backup', build: content },
    config,
    clients: clients(storeUrl),
    unseeded: async (database) => {
      await runOneTask({ task: backup, databaseUrl: database.url, force: true, config, clients: clients(storeUrl) })
    },
    seed: async (database: TestDatabase) => {
      await database.query(
        `UPDATE scheduler.backup SET announced_at = announced_at - interval '1 day', started_at = started_at - interval '1 day'`,
      )
    },
  })
}

describe('with a command', () => {
  contractFor({ driver: 'command', command: [tool], commandTimeout: 5000 })
})

// The template is a database of its own, that nobody is connected to: dumped through the driver's own database in test/dump.test.ts.
describe.skipIf(noClientTools !== '')(`with pg_dump${noClientTools}`, () => {
  const storeUrl = newStore()
  let url = ''
  const config = { driver: 'pg-dump' }
  describeTaskContract(backup, {
    config,
    clients: {
      ...clients(storeUrl),
      program: (request) => {
        const { program } = clients(storeUrl, url)
        if (program === undefined) throw new Error('no programs')
        return program(request)
      },
    },
    template: { name: 'backup', build: content },
    unseeded: async (database) => {
      url = database.url
      await runOneTask({ task: backup, databaseUrl: url, force: true, config, clients: clients(storeUrl, url) })
    },
    seed: async (database) => {
      url = database.url
      await database.query(
        `UPDATE scheduler.backup SET announced_at = announced_at - interval '1 day', started_at = started_at - interval '1 day'`,
      )
    },
  })
})
