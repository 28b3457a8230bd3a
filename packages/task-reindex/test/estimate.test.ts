/**
 * The estimate against what PostgreSQL builds, and against pgstattuple where indexes are bloated.
 * `REINDEX_INDEXES=200 pnpm exec vitest run test/estimate.test.ts` is the long form; both print the distribution of errors.
 */
import { createTestDatabase, startPostgres, type TestDatabase, type TestServer } from '@battlescope/scheduler-testing'
import { openConnections } from '@battlescope/database'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { estimateOf } from '../src/plan.js'
import { measureIndex, selectIndexes } from '../src/queries.js'
import { indexCount, print } from './long-form.js'

const columns = [
  'id',
  'int4',
  'uuid',
  'at',
  'day',
  'flag',
  'few',
  'many',
  'nullable',
  'sparse',
  'hash',
  'short',
  'long',
  'amount',
  'lower(short)',
  'real8',
] as const

/** Definitions of so many different indexes, always the same ones. */
function definitions(count: number): readonly string[] {
  let state = 7
  const draw = (below: number) => {
    state = (state * 48_271) % 2_147_483_647
    return state % below
  }
  const options = [
    '',
    '',
    '',
    ' WITH (fillfactor = 70)',
    ' WITH (deduplicate_items = off)',
    ' WHERE few < 5',
    ' WHERE sparse IS NOT NULL',
  ]
  const seen = new Set(columns.map((column) => `(${column})`))
  while (seen.size < count) {
    const keys = [...new Set(Array.from({ length: 1 + draw(3) }, () => columns[draw(columns.length)]))]
    const include = draw(8) === 0 ? ' INCLUDE (amount)' : ''
    seen.add(`(${keys.join(', ')})${include}${options[draw(options.length)] ?? ''}`)
  }
  return [...seen].slice(0, count)
}

async function createIndexes(database: TestDatabase): Promise<void> {
  await database.query(`
    CREATE TABLE e WITH (autovacuum_enabled = false) AS SELECT i::bigint AS id, (i * 7 % 1000003)::int AS int4, gen_random_uuid() AS uuid,
      timestamptz '2026-01-01' + (i % 9000) * interval '1 minute' AS at, date '2020-01-01' + i % 800 AS day, i % 2 = 0 AS flag, i % 10 AS few,
      i % 5000 AS many, CASE WHEN i % 2 = 0 THEN i END AS nullable, CASE WHEN i % 20 = 0 THEN i END AS sparse, md5(i::text) AS hash,
      left(md5((i % 3000)::text), 1 + i % 3000 % 30) AS short, repeat(md5(i::text), 3 + i % 4) AS long, (i % 7919 * 1.37)::numeric AS amount,
      (i * 0.001)::float8 AS real8
    FROM generate_series(1, 60000) AS i`)
  for (const [at, definition] of definitions(indexCount).entries())
    await database.query(`CREATE INDEX e_${at} ON e ${definition}`)
  await database.query('VACUUM ANALYZE e')
}

const quantiles = (values: readonly number[]) => {
  const sorted = [...values].sort((a, b) => a - b)
  return Object.fromEntries(
    [0, 0.05, 0.25, 0.5, 0.75, 0.95, 1].map((share) => [
      `p${share * 100}`,
      Number(((sorted[Math.round(share * (sorted.length - 1))] ?? 0) * 100).toFixed(1)),
    ]),
  )
}

describe.each([15, 17] as const)('the estimate on PostgreSQL %i', (major) => {
  let server: TestServer
  let database: TestDatabase
  beforeAll(async () => {
    server = await startPostgres({ major })
    database = await createTestDatabase({ server })
    await createIndexes(database)
  }, 600_000)
  afterAll(async () => {
    await database.drop()
    await server.stop()
  })

  const withReader = async <T>(read: (db: Parameters<typeof selectIndexes>[0]) => Promise<T>): Promise<T> => {
    const connections = openConnections({ url: database.url, applicationName: 'test' })
    try {
      return await read(connections.reader({ statementTimeoutMs: 60_000 }))
    } finally {
      await connections.close()
    }
  }

  it(`is near the size of ${indexCount} new indexes, and says how near`, async () => {
    const indexes = (await withReader(selectIndexes)).filter(({ table }) => table === 'e')
    expect(indexes).toHaveLength(indexCount)
    const judged = indexes.map((index) => {
      const estimate = estimateOf(index)
      const { bytes = 0, lowBytes = 0, highBytes = 0 } = estimate ?? {}
      // A page or two are nothing to speak of.
      const within = index.sizeBytes >= lowBytes - 16_384 && index.sizeBytes <= highBytes + 16_384
      return { definition: index.definition, error: bytes / index.sizeBytes - 1, within, bytes, size: index.sizeBytes }
    })
    print(`PostgreSQL ${major}: estimate against the built size, percent:`, quantiles(judged.map(({ error }) => error)))
    const outside = judged.filter(({ within }) => !within)
    print(`${outside.length} of ${indexCount} outside of their own error`, outside.slice(0, 10))
    expect(outside.length).toBeLessThanOrEqual(indexCount * 0.1)
    // Of combinations of columns nobody knows how many values they have, and the long form draws more of them: every fifth is farther off.
    const farOff = indexCount > 40 ? 0.2 : 0.1
    expect(judged.filter(({ error }) => Math.abs(error) > 0.2).length).toBeLessThanOrEqual(indexCount * farOff)
  })

  it('finds the waste that pgstattuple finds after updates', { timeout: 600_000 }, async () => {
    await database.query('CREATE EXTENSION IF NOT EXISTS pgstattuple')
    for (const share of [3, 2]) await database.query(`UPDATE e SET int4 = int4 + 1 WHERE id % ${share} = 0`)
    await database.query('SELECT pg_stat_force_next_flush()')
    await database.query('VACUUM ANALYZE e')
    const errors = await withReader(async (db) => {
      const found: number[] = []
      for (const index of (await selectIndexes(db)).filter(({ table }) => table === 'e')) {
        const measured = await measureIndex(db, 'public', index.oid)
        const estimate = estimateOf(index)
        if (measured === undefined || estimate === undefined) continue
        const needed = (measured.leafPages * measured.leafDensity) / index.fillFactor
        const measuredWaste = 1 - needed / (measured.leafPages + measured.otherPages)
        found.push(1 - estimate.bytes / index.sizeBytes - measuredWaste)
      }
      return found
    })
    expect(errors).toHaveLength(indexCount)
    print(`PostgreSQL ${major}: wasted share by estimate less by pgstattuple, points:`, quantiles(errors))
    const absolute = errors.map(Math.abs).sort((a, b) => a - b)
    expect(absolute[Math.floor(absolute.length / 2)]).toBeLessThan(0.1)
  })
})
