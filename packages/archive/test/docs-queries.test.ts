/** The queries of docs/archive.md, over files as retention lays them out, against PostgreSQL over the same rows. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { openConnections, quoteIdentifier, type DatabaseConnections } from '@battlescope/database'
import { battlescopeDdl } from '@battlescope/database/battlescope-ddl'
import { createTestDatabase, type TestDatabase } from '@battlescope/postgres-testing'
import { DuckDBInstance, type DuckDBConnection } from '@duckdb/node-api'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { archiveSelect, dataName, encodeObjects, planColumns, selectColumns } from '../src/index.js'

/** The SQL of the page, by the comment that each block begins with. */
const page = readFileSync(join(import.meta.dirname, '../../../docs/archive.md'), 'utf8')
const blocks = new Map(
  [...page.matchAll(/```sql\n-- (.*)\n([\s\S]*?)```/g)].map(([, name = '', text = '']) => [name, text] as const),
)

const month = `to_char(occurred_at AT TIME ZONE 'UTC', 'YYYY-MM')`

/** The same questions to PostgreSQL, over the rows before they were archived. */
const same: Readonly<Record<string, string>> = {
  'killmails per month': `SELECT ${month} AS month, count(*)::text AS killmails FROM killmail_events GROUP BY 1 ORDER BY 1`,
  'ISK per system and month': `SELECT system_id::text, ${month} AS month, sum(isk_value)::numeric(38,2)::text AS isk FROM killmail_events GROUP BY system_id, 2 ORDER BY system_id, 2`,
  'most frequent attackers': `SELECT u.attacker::text, count(*)::text AS killmails FROM killmail_events, unnest(attacker_character_ids) AS u (attacker)
    GROUP BY u.attacker ORDER BY count(*) DESC, u.attacker LIMIT 10`,
  'killmails by one alliance': `SELECT killmail_id::text FROM killmail_events WHERE 99000002 = ANY (attacker_alliance_ids) ORDER BY killmail_events.killmail_id`,
  'the busiest hours': `SELECT to_char(date_trunc('hour', occurred_at, 'UTC') AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') || '+00' AS hour, count(*)::text AS killmails
    FROM killmail_events WHERE ${month} = '2020-03' AND occurred_at >= '2020-03-02 00:00:00+00' GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 5`,
  'what enrichments say': `SELECT payload #>> '{killmail,hash}' AS hash, killmail_id::text FROM killmail_enrichments
    WHERE status = 'succeeded' ORDER BY killmail_enrichments.killmail_id LIMIT 5`,
  'battles and their killmails': `SELECT b.id::text, b.security_type::text, count(k.killmail_id)::text AS killmails
    FROM battles b LEFT JOIN killmail_events k ON k.battle_id = b.id GROUP BY b.id ORDER BY b.id`,
  'everything that was ever there': `SELECT count(*)::text AS killmails, count(DISTINCT killmail_id)::text AS different, max(isk_value)::numeric(38,2)::text AS dearest FROM killmail_events`,
}

const unit = { statementTimeoutMs: 60_000 }

describe('the queries of docs/archive.md', () => {
  let database: TestDatabase
  let connections: DatabaseConnections
  let duckdb: DuckDBConnection
  let folder: string

  beforeAll(async () => {
    database = await createTestDatabase({ template: { name: 'battlescope', build: battlescopeDdl } })
    await database.query(`
      INSERT INTO battles (id, system_id, start_time, end_time, total_kills, zkill_related_url, created_at, security_type)
      SELECT md5(b::text)::uuid, 1, at, at + interval '1 hour', 3, '', at, (ARRAY['nullsec', NULL, 'pochven'])[1 + b % 3]::security_type
      FROM (SELECT b, '2020-01-20'::timestamptz + b * interval '1 day' AS at FROM generate_series(1, 90) b) s;
      INSERT INTO killmail_events (killmail_id, system_id, occurred_at, isk_value, attacker_character_ids, attacker_alliance_ids, zkb_url, fetched_at, battle_id)
      SELECT 9000000000 + k, 30000142 + k % 4, '2020-01-20'::timestamptz + k * interval '61 minutes 7.000001 seconds', CASE WHEN k % 9 > 0 THEN k * 1234567890.37 END,
        CASE k % 4 WHEN 0 THEN '{}' ELSE ARRAY[k % 17, k % 5, 90000000 + k % 3] END, ARRAY[99000000 + k % 6], '', now(),
        CASE WHEN k % 10 = 0 THEN md5((1 + k % 90)::text)::uuid END
      FROM generate_series(1, 2000) k;
      INSERT INTO killmail_enrichments (killmail_id, status, payload)
      SELECT killmail_id, CASE WHEN killmail_id % 3 = 0 THEN 'failed' ELSE 'succeeded' END,
        jsonb_build_object('killmail', jsonb_build_object('hash', md5(killmail_id::text), 'name', 'ä"€')) FROM killmail_events`)
    connections = openConnections({ url: database.url, applicationName: 'docs' })
    folder = mkdtempSync(join(tmpdir(), 'archive-docs-'))
    await archive('killmail_events', 'killmail_id', `${month.replace('occurred_at', 't.occurred_at')}`)
    await archive(
      'killmail_enrichments',
      'killmail_id',
      `(SELECT ${month} FROM public.killmail_events k WHERE k.killmail_id = t.killmail_id)`,
    )
    await archive('battles', 'id', `to_char(t.end_time AT TIME ZONE 'UTC', 'YYYY-MM')`)
    duckdb = await (await DuckDBInstance.create()).connect()
    await duckdb.run((blocks.get('setup') ?? '').replaceAll('/var/archive', folder))
  })

  afterAll(async () => {
    duckdb?.closeSync()
    await connections?.close()
    await database?.drop()
    rmSync(folder, { recursive: true, force: true })
  })

  /** As retention does it: one object per relation and month, under the name that it would have. */
  async function archive(relation: string, key: string, monthOfRow: string): Promise<void> {
    await connections.snapshot(unit, async ({ db, copyTo }) => {
      const columns = planColumns(await selectColumns(db, 'public', relation))
      const months = await database.query<{ month: string }>(
        `SELECT DISTINCT ${monthOfRow} AS month FROM public.${relation} t`,
      )
      for (const { month: own } of months) {
        const list = archiveSelect({ columns, alias: 't', guards: [`t.${quoteIdentifier(key)}`] })
        const source = copyTo(
          `COPY (SELECT ${list} FROM public.${relation} t WHERE ${monthOfRow} = '${own}' ORDER BY t.${key}) TO STDOUT (FORMAT binary)`,
        )
        let part = 0
        for await (const { bytes } of encodeObjects({ columns, guardCount: 1, source, maxObjectBytes: 50_000 })) {
          const name = dataName({
            relation: { schema: 'public', name: relation },
            month: own,
            slotAt: new Date('2026-11-23T02:00:00Z'),
            batchId: '1f0c9a77-0f9b-4f5e-8a61-0d9fc2b1a001',
            part: part++,
          })
          mkdirSync(join(folder, dirname(name)), { recursive: true })
          writeFileSync(join(folder, name), bytes)
        }
      }
    })
  }

  it('are all here', () => {
    expect([...blocks.keys()].filter((name) => name !== 'setup')).toEqual(Object.keys(same))
    expect([...page.matchAll(/```sql/g)].length).toBe(blocks.size)
  })

  it.each(Object.keys(same))('%s: DuckDB over the files says what PostgreSQL says', async (name) => {
    const found = (await duckdb.runAndReadAll(blocks.get(name) ?? '')).getRowObjectsJson()
    const expected = await database.query(same[name] ?? '')
    expect(expected.length).toBeGreaterThan(0)
    expect(found).toEqual(expected)
  })
})
