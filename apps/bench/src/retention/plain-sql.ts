/** The yardsticks: what somebody would write who deletes, or saves and deletes, these rows once. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import type pg from 'pg'
import { costOf, type Cost } from './cost.js'

export type Form = 'by-keys' | 'by-time'

const horizon = `now() - interval '60 months'`
const expiredBattle = `b.end_time < ${horizon}
  AND NOT EXISTS (SELECT FROM public.killmail_events m WHERE m.battle_id = b.id AND m.occurred_at >= ${horizon})
  AND NOT EXISTS (SELECT FROM public.battle_killmails m WHERE m.battle_id = b.id AND m.occurred_at >= ${horizon})`

/** What has expired, as two relations of keys. */
const keys = (temporary: boolean) => [
  `CREATE ${temporary ? 'TEMPORARY ' : ''}TABLE expired_battle AS SELECT b.id FROM public.battles b WHERE ${expiredBattle}`,
  `CREATE ${temporary ? 'TEMPORARY ' : ''}TABLE expired_killmail AS SELECT k.killmail_id FROM public.killmail_events k
   WHERE k.occurred_at < ${horizon} AND (k.battle_id IS NULL OR k.battle_id IN (SELECT id FROM expired_battle))`,
  'ANALYZE expired_battle',
  'ANALYZE expired_killmail',
]

/** Children first; one transaction. */
const forms: Readonly<Record<Form, readonly string[]>> = {
  'by-keys': [
    ...keys(true),
    'DELETE FROM public.killmail_enrichments t USING expired_killmail e WHERE t.killmail_id = e.killmail_id',
    'DELETE FROM public.pilot_ship_history t USING expired_killmail e WHERE t.killmail_id = e.killmail_id',
    'DELETE FROM public.killmail_events t USING expired_killmail e WHERE t.killmail_id = e.killmail_id',
    'DELETE FROM public.battle_killmails t USING expired_battle e WHERE t.battle_id = e.id',
    'DELETE FROM public.battle_participants t USING expired_battle e WHERE t.battle_id = e.id',
    'DELETE FROM public.battles t USING expired_battle e WHERE t.id = e.id',
  ],
  // Right only where no battle lies across the horizon, as here.
  'by-time': [
    `DELETE FROM public.pilot_ship_history WHERE occurred_at < ${horizon}`,
    `DELETE FROM public.killmail_enrichments t USING public.killmail_events e WHERE t.killmail_id = e.killmail_id AND e.occurred_at < ${horizon}`,
    `DELETE FROM public.killmail_events WHERE occurred_at < ${horizon}`,
    `DELETE FROM public.battle_killmails WHERE occurred_at < ${horizon}`,
    `DELETE FROM public.battle_participants t USING public.battles b WHERE t.battle_id = b.id AND b.end_time < ${horizon}`,
    `DELETE FROM public.battles WHERE end_time < ${horizon}`,
  ],
}

export async function deletePlainly(client: pg.Client, form: Form): Promise<Cost> {
  const { ms, cpuMs } = await costOf(client, async () => {
    await client.query('BEGIN')
    for (const statement of forms[form]) await client.query(statement)
    await client.query('COMMIT')
  })
  await client.query('DROP TABLE IF EXISTS expired_battle, expired_killmail')
  return { ms, cpuMs }
}

const expiredRows: Readonly<Record<string, string>> = {
  killmail_events: 'SELECT t.* FROM public.killmail_events t JOIN expired_killmail e USING (killmail_id)',
  killmail_enrichments: 'SELECT t.* FROM public.killmail_enrichments t JOIN expired_killmail e USING (killmail_id)',
  pilot_ship_history: 'SELECT t.* FROM public.pilot_ship_history t JOIN expired_killmail e USING (killmail_id)',
  battles: 'SELECT t.* FROM public.battles t JOIN expired_battle e USING (id)',
  battle_killmails: 'SELECT t.* FROM public.battle_killmails t JOIN expired_battle e ON e.id = t.battle_id',
  battle_participants: 'SELECT t.* FROM public.battle_participants t JOIN expired_battle e ON e.id = t.battle_id',
}

export interface CopiedRows extends Cost {
  readonly bytes: number
}

/** `COPY (…) TO STDOUT | zstd -3`, then read back and hashed; finding the keys included. */
export async function copyPlainly(
  { client, url }: { client: pg.Client; url: string },
  folder: string,
): Promise<CopiedRows> {
  const { ms, cpuMs, result } = await costOf(client, async () => {
    for (const statement of keys(false)) await client.query(statement)
    let bytes = 0
    for (const [table, query] of Object.entries(expiredRows)) {
      const file = join(folder, `${table}.zst`)
      await shell('psql "$1" -qAtc "$2" | zstd -3 -q -f -o "$3"', url, `COPY (${query}) TO STDOUT`, file)
      await shell('zstd -dc -q "$1" | sha256sum', file)
      bytes += (await stat(file)).size
    }
    return bytes
  })
  return { ms, cpuMs, bytes: result }
}

/** `pg_dump -Fc` of the same rows. @returns bytes */
export async function dumpExpired(
  { client, url }: { client: pg.Client; url: string },
  folder: string,
): Promise<number> {
  await client.query('CREATE SCHEMA expired')
  for (const statement of keys(false)) await client.query(statement)
  for (const [table, query] of Object.entries(expiredRows))
    await client.query(`CREATE TABLE expired.${table} AS ${query}`)
  const file = join(folder, 'expired.dump')
  await shell('pg_dump "$1" -Fc --data-only -n expired -f "$2"', url, file)
  return (await stat(file)).size
}

/** @throws Error with what it wrote to stderr */
async function shell(script: string, ...argv: readonly string[]): Promise<void> {
  const child = spawn('bash', ['-o', 'pipefail', '-c', script, 'bash', ...argv], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let stderr = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
  const [code] = (await once(child, 'close')) as [number | null]
  if (code !== 0) throw new Error(`${script}: ${stderr}`)
}
