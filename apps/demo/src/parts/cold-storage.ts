import { DuckDBInstance } from '@duckdb/node-api'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { Output } from '../output.js'
import type { Part, Stage } from '../stage.js'

/** The shortest that retention takes without being asked twice. */
const keep = '30 days'

const tables = [
  'killmail_events',
  'killmail_enrichments',
  'pilot_ship_history',
  'battles',
  'battle_killmails',
  'battle_participants',
]

export const coldStorage: Part = {
  title: 'Old killmails move to cold storage, and come back',
  async run({ output, database, schedulerWith, folder }) {
    const options = {
      SCHEDULER_TASKS: 'analyze,retention',
      SCHEDULER_COLD_STORAGE_URL: pathToFileURL(folder).href,
      SCHEDULER_RETENTION_KEEP: keep,
      // BattleScope's own schema lacks two that deleting wants; the plan says which, and what they would save.
      SCHEDULER_RETENTION_CREATE_MISSING_INDEXES: 'true',
    }
    output.text(
      `The scheduler keeps 60 months; here ${keep}, so that something expires. What leaves the database is written as Parquet, read back`,
      'and compared first, and then exactly those row versions are deleted.',
    )
    const { rowCount } = await database.query(
      `update public.killmail_events set fetched_at = now() - interval '8 days'
       where fetched_at > now() - interval '8 days' and occurred_at < now() - interval '${keep}'`,
    )
    if (rowCount !== null && rowCount > 0) {
      output.text(
        '',
        `${rowCount} of those killmails were fetched only just now. So that ingestion and retention do not fight over such, they stay for a`,
        'week; here, as if it were over.',
      )
    }
    const before = await countRows(database)
    await schedulerWith(options, 'plan', '--task', 'retention', '--force')
    await schedulerWith(options, 'run', '--task', 'retention', '--force')
    const after = await countRows(database)
    await schedulerWith(options, 'archive', 'list')
    output.text('', 'The files are open: any tool that reads Parquet can query them. DuckDB, say:', '')
    const archived = await queryArchive(output, folder)
    await schedulerWith(options, 'archive', 'verify')

    const { rows } = await database.query<{ from: string; to: string }>(
      `select to_char(min(month), 'YYYY-MM') as from, to_char(max(month), 'YYYY-MM') as to from scheduler.archive_batch where state = 'deleted'`,
    )
    const { from, to } = rows[0] ?? { from: '', to: '' }
    output.text('', 'And back again; retention leaves what was restored alone until a date:')
    await schedulerWith(options, 'archive', 'restore', '--from', from, '--to', to)
    const restored = await countRows(database)
    output.text('')
    output.table([
      ['table', 'before', 'after retention', 'archived', 'restored'],
      ...tables.map((table) => [
        table,
        before.get(table) ?? 0,
        after.get(table) ?? 0,
        archived.get(table) ?? 0,
        restored.get(table) ?? 0,
      ]),
    ])
  },
}

async function countRows(database: Stage['database']): Promise<ReadonlyMap<string, number>> {
  const union = tables
    .map((table) => `select '${table}' as name, count(*) as count from public.${table}`)
    .join(' union all ')
  const { rows } = await database.query<{ name: string; count: string }>(union)
  return new Map(rows.map(({ name, count }) => [name, Number(count)]))
}

/** Shows what a query over the files of killmails gives, and counts the rows of every relation's files. */
async function queryArchive(output: Output, folder: string): Promise<ReadonlyMap<string, number>> {
  const instance = await DuckDBInstance.create(':memory:')
  const connection = await instance.connect()
  try {
    const files = (table: string) => `'${join(folder, 'data', `public.${table}`)}/*/*.parquet'`
    const select = (text: string) =>
      `select system_id, count(*) as killmails, sum(isk_value::decimal(38, 2)) as isk\n  from read_parquet(${text}) group by 1 order by 2 desc limit 3`
    output.text(...`  ${select("'…/data/public.killmail_events/*/*.parquet'")}`.split('\n'), '')
    const busiest = await connection.runAndReadAll(select(files('killmail_events')))
    output.table([['system_id', 'killmails', 'isk'], ...busiest.getRows().map((row) => row.map(String))])
    const present = new Set(await readdir(join(folder, 'data')).catch(() => []))
    const counts = new Map<string, number>()
    for (const table of tables.filter((each) => present.has(`public.${each}`))) {
      const count = await connection.runAndReadAll(`select count(*) from read_parquet(${files(table)})`)
      counts.set(table, Number(count.getRows()[0]?.[0] ?? 0))
    }
    return counts
  } finally {
    connection.closeSync()
    instance.closeSync()
  }
}
