import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { ClientFactories } from '@battlescope/scheduler-core'
import { createTestDatabase, describeTaskContract, runOneTask, type TestDatabase } from '@battlescope/scheduler-testing'
import { afterAll, beforeAll, describe } from 'vitest'
import { backup } from '../src/index.js'
import { noClientTools } from './client-tools.js'
import { clientsFor, content } from './world.js'

const folder = mkdtempSync(join(tmpdir(), 'backup-contract-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** Nothing to do: there is a backup that is younger than backup.minAge. Then it is of yesterday. */
function contractFor(config: Readonly<Record<string, unknown>>, clients: ClientFactories): void {
  describeTaskContract(backup, {
    template: { name: 'backup', build: content },
    config,
    clients,
    unseeded: async (database) => {
      await runOneTask({ task: backup, databaseUrl: database.url, force: true, config, clients })
      // Of this run nothing is to be left but its backup: the contract counts.
      await database.query('DELETE FROM scheduler.task_run')
    },
    seed: async (database) => {
      await database.query(
        `UPDATE scheduler.backup SET announced_at = announced_at - interval '1 day', started_at = started_at - interval '1 day', finished_at = finished_at - interval '1 day'`,
      )
    },
  })
}

const newStore = () => pathToFileURL(mkdtempSync(join(folder, 'store-'))).href

describe('with a command', () => {
  const tool = join(folder, 'tool')
  writeFileSync(tool, '#!/bin/sh\necho done\n')
  chmodSync(tool, 0o755)
  const clients = clientsFor({ databaseUrl: 'postgresql://nobody@localhost/nothing', storeUrl: newStore() })
  contractFor({ driver: 'command', command: [tool], commandTimeout: 5000 }, clients)
})

describe.skipIf(noClientTools !== '')(`with pg_dump${noClientTools}`, () => {
  // Databases of the contract come and go, several at a time; which one is dumped is not its matter.
  let dumped: TestDatabase
  beforeAll(async () => {
    dumped = await createTestDatabase({ template: { name: 'backup', build: content } })
  })
  afterAll(() => dumped.drop())
  const storeUrl = newStore()
  contractFor(
    { driver: 'pg-dump' },
    {
      ...clientsFor({ databaseUrl: 'postgresql://nobody@localhost/nothing', storeUrl }),
      program: (request) => {
        const { program } = clientsFor({ databaseUrl: dumped.url, storeUrl })
        if (program === undefined) throw new Error('there is no client of that kind')
        return program(request)
      },
    },
  )
})
