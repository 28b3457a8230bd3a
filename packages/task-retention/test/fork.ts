/** A copy of a world's database, as a snapshot makes one: with everything that the scheduler remembers, over the same store. */
import { openConnections } from '@battlescope/database'
import { migrate } from '@battlescope/scheduler-core'
import { createTestDatabase, runOneTask, type OneTaskRun, type TestDatabase } from '@battlescope/scheduler-testing'
import { retention } from '../src/index.js'
import { retentionConfig } from '../src/config.js'
import { storeClients, template, type RunChange, type World } from './world.js'

const copied = [
  'public.battles',
  'public.killmail_events',
  'public.killmail_enrichments',
  'public.pilot_ship_history',
  'public.battle_killmails',
  'public.battle_participants',
  'scheduler.task',
  'scheduler.archive_owner',
  'scheduler.archive_batch',
  'scheduler.archive_object',
] as const

export interface Fork {
  readonly database: TestDatabase
  run(change?: RunChange): Promise<OneTaskRun>
  close(): Promise<void>
}

/** @param what an empty one is a new database that lost everything but the store */
export async function forkOf(world: World, what: 'copy' | 'empty' = 'copy'): Promise<Fork> {
  const database = await createTestDatabase({ template })
  const connections = openConnections({ url: database.url, applicationName: 'fork' })
  try {
    await migrate(connections, 'scheduler')
  } finally {
    await connections.close()
  }
  for (const table of what === 'copy' ? copied : []) {
    const [row] = await world.database.query<{ rows: string | null }>(
      `SELECT jsonb_agg(t)::text AS rows FROM ${table} t`,
    )
    await database.query(`INSERT INTO ${table} SELECT * FROM jsonb_populate_recordset(NULL::${table}, $1::jsonb)`, [
      row?.rows ?? '[]',
    ])
  }
  // Databases of one server have different names; a snapshot keeps its own.
  await database.query('UPDATE scheduler.archive_owner SET database = current_database()')
  return {
    database,
    run: ({ config, wrap, ...change } = {}) =>
      runOneTask({
        task: retention,
        databaseUrl: database.url,
        force: true,
        config: retentionConfig.parse({ batchRows: 500, pause: '0s', ...config }),
        clients: storeClients(world.url, wrap),
        ...change,
      }),
    close: () => database.drop(),
  }
}
