/** A database for one catalog trap after the other: SQL in, preflight's report out. */
import { openConnections } from '@battlescope/database'
import { createTestDatabase, type TestDatabase, type TestServer } from '@battlescope/scheduler-testing'
import type { Kysely } from 'kysely'
import { retentionConfig } from '../src/config.js'
import { resolvePolicies } from '../src/policy.js'
import type { PreflightFacts } from '../src/preflight-facts.js'
import { selectPreflightFacts } from '../src/preflight-queries.js'
import { judgePreflight, type PreflightReport } from '../src/preflight.js'

export interface PreflightWorld {
  readonly database: TestDatabase
  /** Begins anew with an empty schema `public`, and runs the SQL. */
  begin(sql: string): Promise<void>
  /** Without policies: those of the defaults. */
  facts(policies?: readonly object[], url?: string): Promise<PreflightFacts>
  report(policies?: readonly object[], url?: string): Promise<PreflightReport>
  close(): Promise<void>
}

export async function createPreflightWorld(server: TestServer): Promise<PreflightWorld> {
  const database = await createTestDatabase({ server })
  const read = async (policies: readonly object[] | undefined, url: string) => {
    const resolved = resolvePolicies(retentionConfig.parse(policies === undefined ? {} : { policies }))
    const connections = openConnections({ url, applicationName: 'test' })
    try {
      const db = connections.reader({ statementTimeoutMs: 10_000 }) as Kysely<unknown>
      return { resolved, facts: await selectPreflightFacts(db, resolved) }
    } finally {
      await connections.close()
    }
  }
  return {
    database,
    async begin(sql) {
      await database.query(
        'DROP SCHEMA IF EXISTS public, other CASCADE; CREATE SCHEMA public; GRANT USAGE ON SCHEMA public TO PUBLIC',
      )
      await database.query(sql)
    },
    async facts(policies, url = database.url) {
      return (await read(policies, url)).facts
    },
    async report(policies, url = database.url) {
      const { resolved, facts } = await read(policies, url)
      return judgePreflight(facts, resolved, { batchRows: 1000 })
    },
    close: () => database.drop(),
  }
}
