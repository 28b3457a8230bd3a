import type { TestDatabase } from '@battlescope/scheduler-testing'
import { runOneTask, type RunOneTaskOptions } from '@battlescope/scheduler-testing'
import { reindex } from '../src/index.js'

/** Small enough for a test: what is wasted counts from two pages on. */
export const small = {
  relations: ['public.*'],
  minWaste: 16_384,
  reportFrom: 8192,
  minInterval: 86_400_000,
  maxTransactionAge: 600_000,
}

export const run = (database: TestDatabase, config: object = {}, more: Partial<RunOneTaskOptions> = {}) =>
  runOneTask({ task: reindex, databaseUrl: database.url, force: true, config: { ...small, ...config }, ...more })

/** A table with a primary key and two indexes, freshly built. */
export async function createTable(database: TestDatabase, name = 't', rows = 8000): Promise<void> {
  await database.query(`
    CREATE TABLE ${name} (id bigint PRIMARY KEY, at timestamptz, label text) WITH (autovacuum_enabled = false);
    INSERT INTO ${name} SELECT i, now() + i * interval '1 second', md5(i::text) FROM generate_series(1, ${rows}) AS i;
    CREATE INDEX ${name}_at_idx ON ${name} (at);
    CREATE INDEX ${name}_label_idx ON ${name} (label)`)
  await count(database, name)
}

/** Leaves every index several times its size: new versions of all rows, again and again, and no VACUUM between them. */
export async function storm(database: TestDatabase, name = 't', times = 4): Promise<void> {
  for (let time = 0; time < times; time += 1)
    await database.query(`UPDATE ${name} SET at = at + interval '1 hour', label = md5(label)`)
  await count(database, name)
}

/** What a session changed reaches the counters at its next report; later than ANALYZE it would look like new changes. */
export async function count(database: TestDatabase, name: string): Promise<void> {
  await database.query('SELECT pg_stat_force_next_flush()')
  await database.query(`VACUUM ANALYZE ${name}`)
}

export interface IndexRow {
  readonly name: string
  readonly oid: number
  readonly valid: boolean
  readonly bytes: number
}

export async function indexesOf(database: TestDatabase, table = 't'): Promise<readonly IndexRow[]> {
  return database.query<IndexRow>(`
    SELECT x.relname AS name, x.oid::int8::float8 AS oid, i.indisvalid AS valid, pg_relation_size(x.oid)::float8 AS bytes
    FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid WHERE i.indrelid = '${table}'::regclass ORDER BY 1`)
}

export async function rebuildsOf(database: TestDatabase): Promise<readonly Record<string, unknown>[]> {
  return database.query(
    'SELECT index_name, outcome, error_code, ended_at IS NOT NULL AS ended FROM scheduler.reindex_rebuild ORDER BY started_at, index_name',
  )
}
