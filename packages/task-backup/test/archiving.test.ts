/** What is said of WAL archiving, on a server that archives. */
import { openConnections } from '@battlescope/database'
import { createTestDatabase, startPostgres, type TestDatabase, type TestServer } from '@battlescope/scheduler-testing'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { judgeBackups } from '../src/assurance.js'
import { selectArchiver } from '../src/queries.js'
import { config } from './rows.js'

describe.each([15, 17] as const)('WAL archiving on PostgreSQL %i', (major) => {
  let server: TestServer
  let database: TestDatabase
  beforeAll(async () => {
    // The command is set later: what a server is started with, ALTER SYSTEM does not change.
    server = await startPostgres({ major, settings: { wal_level: 'replica', archive_mode: 'on' } })
  })
  afterAll(() => server.stop())
  beforeEach(async () => {
    database = await createTestDatabase({ server })
  })
  afterEach(() => database.drop())

  const judge = async () => {
    const role = await database.createRole()
    const connections = openConnections({ url: role.url, applicationName: 'test' })
    try {
      const archiver = await selectArchiver(connections.reader({ statementTimeoutMs: 10_000 }))
      const facts = { backups: [], now: new Date(), archiver, failedCountBefore: undefined }
      return judgeBackups(facts, config({ driver: 'none' }))
    } finally {
      await connections.close()
    }
  }
  const archiveBy = async (command: string) => {
    await database.query(`ALTER SYSTEM SET archive_command = '${command}'`)
    await database.query('SELECT pg_reload_conf()')
    await isMet(`current_setting('archive_command') = '${command}'`)
  }
  const isMet = async (condition: string) => {
    for (;;) {
      const [row] = await database.query<{ met: boolean }>(`SELECT ${condition} AS met FROM pg_stat_archiver`)
      if (row?.met === true) return
    }
  }
  const until = async (condition: string) => {
    await database.query('SELECT pg_logical_emit_message(true, $$a$$, $$b$$), pg_switch_wal()')
    await isMet(condition)
  }

  it('says since when nothing was archived, as far as the statistics reach back', async () => {
    await archiveBy('true')
    await until('archived_count > 0')
    expect(await judge()).toEqual([])
    await archiveBy('false')
    await database.query(`SELECT pg_stat_reset_shared('archiver')`)
    await until('failed_count > 0')
    const [since] = await database.query<{ at: Date }>('SELECT stats_reset AS at FROM pg_stat_archiver')
    const [finding] = await judge()
    expect(finding).toMatchObject({ key: 'wal-archiving-fails', severity: 'error' })
    expect(finding?.summary).toContain(`nothing was archived since ${since?.at.toISOString() ?? ''}`)
  })

  it('fails where archive_mode is on and nothing says how: the server counts no failure of that', async () => {
    await archiveBy('true')
    await until(
      'archived_count > 0 AND last_archived_time > coalesce(last_failed_time, last_archived_time - interval $$1 s$$)',
    )
    await archiveBy('')
    await database.query('SELECT pg_logical_emit_message(true, $$a$$, $$b$$), pg_switch_wal()')
    expect(await judge()).toMatchObject([
      { key: 'wal-archiving-fails', severity: 'error', summary: expect.stringContaining('archive_command') as string },
    ])
  })
})
