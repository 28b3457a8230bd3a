/** A database like BattleScope's, with few rows whose times count from the horizon; and the expiry of its policies. */
import { openConnections, type DatabaseConnections } from '@battlescope/database'
import { battlescopeDdl } from '@battlescope/database/battlescope-ddl'
import { createTestDatabase, type TestDatabase, type TestServer } from '@battlescope/scheduler-testing'
import { sql, type Kysely } from 'kysely'
import { retentionConfig } from '../src/config.js'
import { countExpired, selectExpiredKeys, type ExpiredCount, type ExpiredKeysOptions } from '../src/expiry-queries.js'
import { expiryOf, stillExpired, tableOf, type Expiry } from '../src/expiry.js'
import { unpackKeys } from '../src/key-queue.js'
import { horizonsOf, resolvePolicies } from '../src/policy.js'
import { selectPreflightFacts } from '../src/preflight-queries.js'
import { judgePreflight } from '../src/preflight.js'

const slotAt = new Date('2026-11-23T02:00:00Z')
/** Sixty months before. */
export const horizon = '2021-11-23 02:00:00+00'

const holds = `CREATE SCHEMA scheduler;
  CREATE TABLE scheduler.archive_hold (policy text NOT NULL, from_at timestamptz NOT NULL, to_at timestamptz NOT NULL, until timestamptz NOT NULL);`

/** Times are intervals from the horizon: `-1 day`. */
export interface Killmail {
  readonly id: number
  readonly at?: string
  readonly battle?: number | null
  /** Default: when it occurred. */
  readonly fetchedAt?: string
  readonly processed?: boolean
}

export interface ExpiryWorld {
  readonly database: TestDatabase
  readonly db: Kysely<unknown>
  battle(id: number, end?: string): Promise<void>
  killmail(killmail: Killmail): Promise<void>
  /** A row of battle_killmails. */
  battleKillmail(battle: number, killmail: number, at?: string): Promise<void>
  /** Preflight of what is there now, then the expiry of one policy. */
  expiry(policy: string, options?: object): Promise<Expiry>
  /** Keys of the rows that may be deleted now. */
  expired(policy: string, options?: ExpiredKeysOptions): Promise<readonly string[]>
  count(policy: string): Promise<ExpiredCount>
  /** Which of the rows a deleting statement would still take. */
  still(expiry: Expiry): Promise<readonly string[]>
  /** Deletes what may be deleted of one policy, children first, and tells the keys. */
  remove(policy: string): Promise<readonly string[]>
  clear(): Promise<void>
  close(): Promise<void>
}

export const battleId = (id: number): string => `00000000-0000-0000-0000-${String(id).padStart(12, '0')}`
const plainKey = (key: string): string => key.replace(/^0{8}-0{4}-0{4}-0{4}-0*/, 'battle ')

export async function createExpiryWorld(server?: TestServer): Promise<ExpiryWorld> {
  const database = await createTestDatabase({
    ...(server === undefined ? {} : { server }),
    template: { name: 'retention-expiry', build: battlescopeDdl + holds },
  })
  const connections: DatabaseConnections = openConnections({ url: database.url, applicationName: 'test' })
  const db = connections.reader({ statementTimeoutMs: 10_000 }) as Kysely<unknown>

  const expiry: ExpiryWorld['expiry'] = async (policy, options = {}) => {
    const policies = resolvePolicies(retentionConfig.parse(options))
    const report = judgePreflight(await selectPreflightFacts(db, policies), policies, { batchRows: 1000 })
    return expiryOf(report, policy, horizonsOf(policies, slotAt), 'scheduler')
  }
  const expired: ExpiryWorld['expired'] = async (policy, options = { limit: 1000 }) =>
    (await selectExpiredKeys(db, await expiry(policy), options))
      .flatMap(unpackKeys)
      .map(({ key }) => plainKey(key.join()))

  const battleKillmail: ExpiryWorld['battleKillmail'] = async (battle, killmail, at = '-1 day') => {
    await database.query(
      `INSERT INTO battle_killmails (battle_id, killmail_id, zkb_url, occurred_at, attacker_alliance_ids)
         VALUES ($1, $2, '', $3::timestamptz + $4::interval, '{}')`,
      [battleId(battle), killmail, horizon, at],
    )
  }

  return {
    database,
    db,
    expiry,
    expired,
    async battle(id, end = '-1 day') {
      await database.query(
        `INSERT INTO battles (id, system_id, start_time, end_time, total_kills, zkill_related_url)
         VALUES ($1, 1, $2::timestamptz + $3::interval - interval '1 hour', $2::timestamptz + $3::interval, 2, '')`,
        [battleId(id), horizon, end],
      )
    },
    async killmail({ id, at = '-1 day', battle = null, fetchedAt, processed = true }) {
      await database.query(
        `INSERT INTO killmail_events (killmail_id, system_id, occurred_at, zkb_url, fetched_at, processed_at, battle_id)
         VALUES ($1, 1, $2::timestamptz + $3::interval, '', coalesce($4::timestamptz, $2::timestamptz + $3::interval),
           CASE WHEN $5 THEN now() END, $6)`,
        [id, horizon, at, fetchedAt ?? null, processed, battle === null ? null : battleId(battle)],
      )
      await database.query('INSERT INTO killmail_enrichments (killmail_id) VALUES ($1)', [id])
      await database.query(
        `INSERT INTO pilot_ship_history (killmail_id, character_id, ship_type_id, system_id, is_loss, occurred_at, zkb_url)
         SELECT $1, c, 1, 1, true, now(), '' FROM generate_series(1, 2) c`,
        [id],
      )
      if (battle !== null) await battleKillmail(battle, id, at)
    },
    battleKillmail,
    async count(policy) {
      return countExpired(db, await expiry(policy))
    },
    async still(of) {
      const { relation } = of.policy
      const key = sql.id('t', of.keyColumns[0]?.name ?? '')
      const { rows } = await sql<{ key: string }>`
        SELECT ${key}::text AS key FROM ${tableOf(relation)} t WHERE ${stillExpired(of, 't', () => sql<boolean>`true`)} ORDER BY 1`.execute(
        db,
      )
      return rows.map((row) => plainKey(row.key))
    },
    async remove(policy) {
      const of = await expiry(policy)
      const keys = (await selectExpiredKeys(db, of, { limit: 1000 })).flatMap(unpackKeys)
      const { relation, children } = of.policy
      const [keyColumn] = of.keyColumns
      const values = keys.map(({ key }) => key[0])
      for (const child of children) {
        const column = child.columns[0] ?? ''
        await database.query(
          `DELETE FROM ${child.relation.schema}.${child.relation.name} WHERE ${column}::text = ANY ($1)`,
          [values],
        )
      }
      await database.query(
        `DELETE FROM ${relation.schema}.${relation.name} WHERE ${keyColumn?.name}::text = ANY ($1)`,
        [values],
      )
      return keys.map(({ key }) => plainKey(key.join()))
    },
    async clear() {
      await database.query(
        'TRUNCATE battles, killmail_events, killmail_enrichments, pilot_ship_history, battle_killmails, battle_participants, scheduler.archive_hold',
      )
    },
    async close() {
      await connections.close()
      await database.drop()
    },
  }
}
