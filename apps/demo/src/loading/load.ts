/** Fills BattleScope's tables by COPY. */
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type pg from 'pg'
import { from as copyFrom } from 'pg-copy-streams'
import { Random } from '../generator/random.js'
import type { Killmail } from '../killmails/killmail.js'
import { accountTables, primaryCharacters } from './account-tables.js'
import { planBattles } from './battles.js'
import { formatRows } from './copy-text.js'
import { killmailTables, type TableRows } from './killmail-tables.js'

export interface LoadOptions {
  readonly nowMs: number
  readonly seed: number
  readonly signal: AbortSignal
}

export interface LoadedTable {
  readonly table: string
  readonly rows: number
}

/** Loads killmails and what BattleScope's services would have made of them, in one transaction. */
export async function loadKillmails(
  client: pg.Client,
  killmails: readonly Killmail[],
  { nowMs, seed, signal }: LoadOptions,
): Promise<readonly LoadedTable[]> {
  const battles = planBattles(killmails, nowMs, new Random(seed))
  return loadTables(client, killmailTables(killmails, battles, nowMs), signal)
}

/** Loads a ruleset, accounts, characters and audit logs, in one transaction. */
export async function loadAccounts(
  client: pg.Client,
  { nowMs, seed, signal }: LoadOptions,
): Promise<readonly LoadedTable[]> {
  return loadTables(client, accountTables(new Random(seed), nowMs), signal, [primaryCharacters])
}

async function loadTables(
  client: pg.Client,
  tables: readonly TableRows[],
  signal: AbortSignal,
  after: readonly string[] = [],
): Promise<readonly LoadedTable[]> {
  const loaded: LoadedTable[] = []
  await client.query('begin')
  try {
    for (const { table, columns, rows } of tables) {
      const stream = client.query(copyFrom(`copy public.${table} (${columns.join(', ')}) from stdin`))
      await pipeline(Readable.from(formatRows(rows)), stream, { signal })
      loaded.push({ table, rows: stream.rowCount ?? 0 })
    }
    for (const statement of after) await client.query(statement)
    await client.query('commit')
    // A session counts its changes for all to see at most once a second; the demo's next step does not wait that long.
    await client.query('select pg_catalog.pg_stat_force_next_flush()')
  } catch (error) {
    await client.query('rollback').catch(() => undefined)
    throw error
  }
  return loaded
}
