import { openConnections, type DatabaseConnections } from '@battlescope/database'
import { createTestDatabase, type TestDatabase } from '@battlescope/scheduler-testing'
import type { Kysely } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { analyzeRelation, selectCandidates, selectLastAnalyze } from '../src/queries.js'

let database: TestDatabase
let connections: DatabaseConnections
beforeEach(async () => {
  database = await createTestDatabase()
  connections = openConnections({ url: database.url, applicationName: 'test' })
})
afterEach(async () => {
  await connections.close()
  await database.drop()
})
const reader = () => connections.reader({ statementTimeoutMs: 5000 }) as Kysely<unknown>

describe('selectCandidates', () => {
  it('reads tables, partitioned parents and materialized views, and no others', async () => {
    await database.query(`
      CREATE TABLE t (i int); INSERT INTO t SELECT generate_series(1, 7);
      CREATE VIEW v AS SELECT 1 AS i;
      CREATE MATERIALIZED VIEW m AS SELECT 1 AS i;
      CREATE SEQUENCE s;
      CREATE INDEX ON t (i);
      CREATE TABLE p (i int) PARTITION BY LIST (i);
      CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1, 2);
      INSERT INTO p VALUES (1), (2);
      SELECT pg_stat_force_next_flush()`)
    const rows = await selectCandidates(reader())
    expect(rows.map(({ name, kind, estimatedRows, permitted }) => [name, kind, estimatedRows, permitted])).toEqual([
      ['m', 'materialized-view', undefined, true],
      ['p', 'partitioned', undefined, true],
      ['p1', 'table', undefined, true],
      ['t', 'table', undefined, true],
    ])
    expect(rows.find(({ name }) => name === 't')?.changedRows).toBe(7)
    expect(rows.find(({ name }) => name === 'p')?.leafChanges).toBe(2)
  })

  it('tells an analyzed empty relation from one that never was', async () => {
    await database.query('CREATE TABLE t (i int); ANALYZE t')
    expect(await selectCandidates(reader())).toMatchObject([{ name: 't', estimatedRows: 0 }])
  })
})

describe('analyzeRelation', () => {
  it('sends one ANALYZE with quoted names, and moves last_analyze', async () => {
    await database.query('CREATE SCHEMA "S.x"; CREATE TABLE "S.x"."T""y" AS SELECT 1 AS i')
    expect(await selectLastAnalyze(reader(), 'S.x', 'T"y')).toBeUndefined()
    await connections.transaction({ statementTimeoutMs: 5000 }, ({ db }) =>
      analyzeRelation(db as Kysely<unknown>, 'S.x', 'T"y'),
    )
    expect(await selectLastAnalyze(reader(), 'S.x', 'T"y')).toBeInstanceOf(Date)
    expect(await selectLastAnalyze(reader(), 'S.x', 'absent')).toBeUndefined()
  })
})
