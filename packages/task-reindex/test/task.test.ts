import { createTestDatabase, startPostgres, type TestDatabase, type TestServer } from '@battlescope/scheduler-testing'
import { openConnections } from '@battlescope/database'
import { sql } from 'kysely'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { createTable, indexesOf, rebuildsOf, run, storm } from './bloat.js'

const targets = (ran: Awaited<ReturnType<typeof run>>, kind = 'rebuild-index') =>
  (ran.task.run?.actions ?? []).filter((action) => action.kind === kind).map(({ target }) => target)
const findingKeys = (ran: Awaited<ReturnType<typeof run>>) => (ran.task.run?.findings ?? []).map(({ key }) => key).sort()

describe.each([15, 17] as const)('reindex on PostgreSQL %i', (major) => {
  let server: TestServer
  let database: TestDatabase
  beforeAll(async () => {
    server = await startPostgres({ major })
  })
  afterAll(() => server.stop())
  beforeEach(async () => {
    database = await createTestDatabase({ server })
  })
  afterEach(() => database.drop())

  it('rebuilds nothing at first sight, and afterwards what grew, worst first, a few per run', async () => {
    await createTable(database)
    const first = await run(database)
    expect(first.task.run).toMatchObject({ outcome: 'succeeded' })
    expect(targets(first)).toEqual([])
    expect(await database.query('SELECT count(*)::int AS n FROM scheduler.reindex_index WHERE best_bytes_per_tuple > 0')).toEqual([{ n: 3 }])

    const fresh = await indexesOf(database)
    await storm(database)
    const bloated = await indexesOf(database)
    const second = await run(database)
    expect(second.task.run).toMatchObject({ outcome: 'partial', remaining: 1 })
    expect(targets(second)).toHaveLength(2)
    expect(targets(second)[0]).toBe('public.t_label_idx')

    const third = await run(database)
    expect(third.task.run).toMatchObject({ outcome: 'succeeded' })
    expect(targets(third)).toHaveLength(1)
    const rebuilt = await indexesOf(database)
    expect(rebuilt.map(({ name, valid }) => ({ name, valid }))).toEqual(fresh.map(({ name }) => ({ name, valid: true })))
    for (const [at, { bytes }] of rebuilt.entries()) {
      expect(bytes).toBeLessThan((bloated[at]?.bytes ?? 0) / 2)
      expect(bytes).toBeLessThan((fresh[at]?.bytes ?? 0) * 1.1)
    }
    expect((await run(database)).task.run?.actions).toEqual([])
    expect(await rebuildsOf(database)).toEqual([
      expect.objectContaining({ outcome: 'rebuilt', error_code: null }),
      expect.objectContaining({ outcome: 'rebuilt', error_code: null }),
      expect.objectContaining({ outcome: 'rebuilt', error_code: null }),
    ])
    const [noted] = await database.query(
      `SELECT count(*)::int AS n FROM scheduler.reindex_rebuild
       WHERE new_index_oid <> index_oid AND duration_ms >= 0 AND size_after_bytes < size_before_bytes AND work_bytes > 0 AND predicted_ms > 0`,
    )
    expect(noted).toEqual({ n: 3 })
  })
  void findingKeys
  void openConnections
  void sql
})
