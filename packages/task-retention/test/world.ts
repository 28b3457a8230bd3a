/** A database like BattleScope's with killmails over some months around the horizon, a folder as store, and runs of retention over both. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { coldStorageConfig, openStore, readOnly, type Store } from '@battlescope/cold-storage'
import { openConnections, type DatabaseConnections } from '@battlescope/database'
import { battlescopeDdl } from '@battlescope/database/battlescope-ddl'
import type { ClientFactories } from '@battlescope/scheduler-core'
import {
  createTestDatabase,
  runOneTask,
  type OneTaskRun,
  type RunOneTaskOptions,
  type TestDatabase,
  type TestServer,
} from '@battlescope/scheduler-testing'
import { CompiledQuery } from 'kysely'
import { retention } from '../src/index.js'
import { retentionConfig, type RetentionConfig } from '../src/config.js'

export const relations = [
  'public.killmail_events',
  'public.killmail_enrichments',
  'public.pilot_ship_history',
  'public.battles',
  'public.battle_killmails',
  'public.battle_participants',
] as const

/** The schema, with the two indexes whose lack preflight reports. */
export const template = {
  name: 'retention',
  build: `${battlescopeDdl}
    CREATE INDEX killmail_events_battle_id_idx ON public.killmail_events (battle_id) WHERE battle_id IS NOT NULL;
    CREATE INDEX killmail_events_occurred_at_idx ON public.killmail_events (occurred_at);
    CREATE INDEX battles_end_time_idx ON public.battles (end_time);`,
}

/**
 * Killmails from 62 months ago to 58 months ago; every fifth belongs to a battle of ten killmails. Each has an enrichment and two rows of
 * ship history; battles have their killmails and three participants.
 */
export function seedSql(killmails: number): string {
  return `
    INSERT INTO battles (id, system_id, start_time, end_time, total_kills, total_isk_destroyed, zkill_related_url, created_at, security_type)
    SELECT md5('battle ' || b)::uuid, 30000000 + b % 7, at, at + interval '1 hour', 10, b * 1000.25, 'https://zkillboard.com/related/' || b, at,
      (ARRAY['highsec', 'lowsec', 'nullsec', NULL])[1 + b % 4]::security_type
    FROM (SELECT b, date_trunc('second', now() - interval '62 months' + b * 50 * (interval '4 months' / ${killmails})) AS at
      FROM generate_series(0, ${killmails} / 50) b) s;
    INSERT INTO killmail_events (killmail_id, system_id, occurred_at, victim_alliance_id, victim_corp_id, attacker_character_ids, isk_value,
      zkb_url, fetched_at, processed_at, battle_id, attacker_alliance_ids)
    SELECT k, 30000000 + k % 7, at, nullif(k % 3, 0), 98000000 + k % 11, ARRAY[k, k + 1], k * 12345.67, 'https://zkillboard.com/kill/' || k,
      at + interval '1 minute', at + interval '2 hours', CASE WHEN k % 5 = 0 THEN md5('battle ' || k / 50)::uuid END,
      CASE WHEN k % 2 = 0 THEN ARRAY[k]::bigint[] ELSE '{}' END
    FROM (SELECT k, CASE WHEN k % 5 = 0
        THEN (SELECT start_time + (k % 50) * interval '1 minute' FROM battles WHERE id = md5('battle ' || k / 50)::uuid)
        ELSE now() - interval '62 months' + k * (interval '4 months' / ${killmails}) + interval '0.000001 second' * (k % 7) END AS at
      FROM generate_series(1, ${killmails}) k) s;
    INSERT INTO killmail_enrichments (killmail_id, status, payload, fetched_at, updated_at, created_at)
    SELECT killmail_id, 'succeeded', jsonb_build_object('killmail_id', killmail_id, 'hash', md5(killmail_id::text), 'notes', repeat('x', 200),
      'unicode', 'ü€𝄞'), fetched_at, fetched_at, fetched_at FROM killmail_events;
    INSERT INTO pilot_ship_history (id, killmail_id, character_id, ship_type_id, system_id, is_loss, ship_value, occurred_at, zkb_url, created_at)
    SELECT md5('history ' || killmail_id || ' ' || c)::uuid, killmail_id, 90000000 + c, 587, system_id, c = 1, killmail_id * 10, occurred_at, zkb_url, fetched_at
    FROM killmail_events, generate_series(1, 2) c;
    INSERT INTO battle_killmails (battle_id, killmail_id, zkb_url, occurred_at, isk_value, attacker_alliance_ids)
    SELECT battle_id, killmail_id, zkb_url, occurred_at, isk_value, attacker_alliance_ids FROM killmail_events WHERE battle_id IS NOT NULL;
    INSERT INTO battle_participants (battle_id, character_id, ship_type_id, is_victim)
    SELECT id, 90000000 + c, 587, c = 1 FROM battles, generate_series(1, 3) c;
    ANALYZE;`
}

export interface WorldOptions {
  readonly killmails?: number
  readonly server?: Pick<TestServer, 'url'>
}

export interface World {
  readonly database: TestDatabase
  /** Of the store. */
  readonly folder: string
  readonly url: string
  /** The task through the real pipeline; slots go on as in the program. Forced unless asked otherwise. */
  run(change?: RunChange): Promise<OneTaskRun>
  /** Runs until nothing is left. */
  runToEnd(change?: RunChange): Promise<readonly OneTaskRun[]>
  store(): Promise<Store>
  names(prefix?: string): Promise<readonly string[]>
  count(relation: string, where?: string): Promise<number>
  /** Questions go over new connections from now on: the one that they went over is lost. @throws while the server is not back */
  reconnect(): Promise<void>
  close(): Promise<void>
}

export interface RunChange extends Partial<Omit<RunOneTaskOptions, 'config'>> {
  readonly config?: Partial<Record<keyof RetentionConfig, unknown>>
  /** Between the task and the store. */
  readonly wrap?: (store: Store) => Store
  readonly noStore?: boolean
}

export async function createWorld({ killmails = 0, server }: WorldOptions = {}): Promise<World> {
  const made = await createTestDatabase({ template, ...(server === undefined ? {} : { server }) })
  let again: DatabaseConnections | undefined
  const database: TestDatabase = {
    ...made,
    query: async <Row extends object>(text: string, parameters?: unknown[]) => {
      if (again === undefined) return made.query<Row>(text, parameters)
      return again.transaction({ statementTimeoutMs: 60_000 }, async ({ db }) => {
        const { rows } = await db.executeQuery<Row>(CompiledQuery.raw(text, parameters))
        return rows
      })
    },
  }
  const folder = mkdtempSync(join(tmpdir(), 'retention-store-'))
  const url = pathToFileURL(folder).href
  if (killmails > 0) await database.query(seedSql(killmails))
  const world: World = {
    database,
    folder,
    url,
    run: ({ config, wrap, noStore, ...change } = {}) =>
      runOneTask({
        task: retention,
        databaseUrl: database.url,
        force: true,
        config: retentionConfig.parse({ batchRows: 500, pause: '0s', ...config }),
        clients: noStore === true ? {} : storeClients(url, wrap),
        ...change,
      }),
    async runToEnd(change) {
      const runs: OneTaskRun[] = []
      do runs.push(await world.run(change))
      while (runs.at(-1)?.task.run?.outcome === 'partial' && runs.length < 50)
      return runs
    },
    store: () => openStore(coldStorageConfig.parse({ url })),
    async names(prefix = '') {
      const names: string[] = []
      for await (const { name } of (await world.store()).list(prefix)) names.push(name)
      return names
    },
    async count(relation, where = 'true') {
      const [row] = await database.query<{ count: string }>(`SELECT count(*) FROM ${relation} WHERE ${where}`)
      return Number(row?.count)
    },
    async reconnect() {
      await again?.close()
      again = openConnections({ url: database.url, applicationName: 'again' })
      await database.query('SELECT 1')
    },
    async close() {
      await again?.close()
      await made.drop()
      rmSync(folder, { recursive: true, force: true })
    },
  }
  return world
}

export function storeClients(url: string, wrap: (store: Store) => Store = (store) => store): ClientFactories {
  return {
    store: async () => {
      const opened = await openStore(coldStorageConfig.parse({ url }))
      const store = wrap(opened)
      return { read: readOnly(store), write: store, close: () => opened.close() }
    },
  }
}
