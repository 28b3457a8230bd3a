import type { TestDatabase } from '@battlescope/postgres-testing'

/**
 * What a run could have changed in a database, as one text per relation: a checksum of all rows and their versions, the definition, and
 * the planner statistics with the time of their last refresh. Equal texts mean that nothing was written, not even by ANALYZE.
 */
export async function fingerprint(database: TestDatabase): Promise<Readonly<Record<string, string>>> {
  const relations = await database.query<{ oid: string; name: string; kind: string }>(`
    SELECT c.oid::text, format('%I.%I', n.nspname, c.relname) AS name, c.relkind AS kind
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND n.nspname NOT LIKE 'pg\\_temp%' AND n.nspname NOT LIKE 'pg\\_toast%'
    ORDER BY 2`)
  const result: Record<string, string> = {}
  for (const { oid, name, kind } of relations) {
    const rows = ['r', 'p', 'm'].includes(kind) ? await checksum(database, name, kind) : ''
    const [statistics] = await database.query<{ text: string }>(
      `SELECT concat_ws(' ', c.relkind, c.reltuples, c.relnatts, c.relfilenode, i.indisvalid, pg_catalog.pg_get_indexdef(i.indexrelid),
         s.last_analyze, s.analyze_count, s.last_vacuum, s.vacuum_count) AS text
       FROM pg_catalog.pg_class c
       LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid
       LEFT JOIN pg_catalog.pg_stat_all_tables s ON s.relid = c.oid
       WHERE c.oid = $1::oid`,
      [oid],
    )
    result[name] = `${rows} ${statistics?.text ?? ''}`
  }
  return result
}

async function checksum(database: TestDatabase, name: string, kind: string): Promise<string> {
  // xmin tells a row that was written again with the same content; a partitioned parent has none of its own.
  const row = kind === 'r' ? `t.xmin::text || ' ' || t::text` : 't::text'
  const [sum] = await database.query<{ sum: string | null }>(
    `SELECT md5(string_agg(${row}, E'\\n' ORDER BY ${row})) AS sum FROM ${name} t`,
  )
  return sum?.sum ?? 'empty'
}
