import { battlescopeDdl } from '@battlescope/database/battlescope-ddl'
import { createTestDatabase, type TestDatabase } from '@battlescope/postgres-testing'
import fc from 'fast-check'
import type pg from 'pg'
import { from as copyFrom } from 'pg-copy-streams'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { connect } from '../../src/database.js'
import { generateKillmails } from '../../src/generator/generate.js'
import { parseFile } from '../../src/killmails/parse-file.js'
import { formatRows } from '../../src/loading/copy-text.js'
import { loadAccounts, loadKillmails } from '../../src/loading/load.js'
import { esi, region, zkillboard } from '../killmails/samples.js'

const nowMs = Date.UTC(2026, 10, 23, 20, 10)
const options = { nowMs, seed: 1, signal: new AbortController().signal }

/** Another killmail in the same system some minutes after the sample of zKillboard: together they are a battle. */
const follower = {
  ...esi,
  killmail_id: 304,
  killmail_time: '2024-03-05T19:40:00Z',
  victim: { ...esi.victim, ship_type_id: 670 },
  attackers: [
    ...esi.attackers,
    // The victim among its own attackers, somebody twice, and somebody in an unknown ship.
    { character_id: 2113000001, corporation_id: 98000021, ship_type_id: 600 },
    { character_id: 2113000002, corporation_id: 98000022, ship_type_id: 603 },
    { character_id: 2113000009, corporation_id: 98000022 },
  ],
}
const { killmails: real } = parseFile(JSON.stringify([zkillboard, follower, region]), { nowMs })
const generated = generateKillmails({ count: 2_000, seed: 4, endsAtMs: nowMs })

let database: TestDatabase
let client: pg.Client
const count = async (sql: string) =>
  Number((await database.query<{ count: string }>(`select count(*) ${sql}`))[0]?.count)

beforeAll(async () => {
  database = await createTestDatabase({ template: { name: 'demo_battlescope', build: battlescopeDdl } })
  client = await connect(database.url)
  await loadKillmails(client, [...real, ...generated], options)
  await loadAccounts(client, options)
})

afterAll(async () => {
  await client.end()
  await database.drop()
})

describe('a filled database', () => {
  it('has every killmail with its enrichment', async () => {
    expect(await count('from killmail_events')).toBe(2_003)
    expect(await count('from killmail_events e join killmail_enrichments n using (killmail_id)')).toBe(2_003)
    expect(await count(`from killmail_enrichments where status not in ('pending', 'succeeded', 'failed')`)).toBe(0)
    expect(await count(`from killmail_enrichments where (status = 'succeeded') <> (payload is not null)`)).toBe(0)
    expect(await count(`from killmail_enrichments where (payload ->> 'killmail_id')::bigint <> killmail_id`)).toBe(0)
  })

  it("keeps the real killmails' own text, value, time and participants", async () => {
    const rows = await database.query(
      `select e.killmail_id::int as id, occurred_at, isk_value, attacker_character_ids::text as characters,
              attacker_corp_ids::text as corporations, attacker_alliance_ids::text as alliances, n.payload
         from killmail_events e join killmail_enrichments n using (killmail_id)
        where killmail_id in (303, -202) order by 1`,
    )
    expect(rows).toEqual([
      {
        id: -202,
        occurred_at: new Date(region.killmail_time),
        isk_value: null,
        characters: '{}',
        corporations: '{}',
        alliances: '{}',
        payload: region,
      },
      {
        id: 303,
        occurred_at: new Date(zkillboard.killmail_time),
        isk_value: '1234.56',
        characters: '{2113000002}',
        corporations: '{98000022,1000125}',
        alliances: '{99000012}',
        payload: zkillboard,
      },
    ])
  })

  it('has one row of history per pilot with a known ship, the loss first', async () => {
    const rows = await database.query(
      `select character_id::int as character, ship_type_id::int as ship, is_loss from pilot_ship_history where killmail_id = 304 order by 1`,
    )
    expect(rows).toEqual([
      { character: 2113000001, ship: 670, is_loss: true },
      { character: 2113000002, ship: 601, is_loss: false },
    ])
    expect(await count('from pilot_ship_history where killmail_id = -202')).toBe(0)
  })

  it('makes a battle of what belongs together: each pilot once, and the ship before the capsule', async () => {
    const [battle] = await database.query<{ id: string }>(
      `select b.id, total_kills::int as kills, total_isk_destroyed as isk, start_time, end_time
         from battles b join killmail_events e on e.battle_id = b.id where e.killmail_id = 303`,
    )
    expect(battle).toMatchObject({
      kills: 2,
      isk: '1234.56',
      start_time: new Date(zkillboard.killmail_time),
      end_time: new Date(follower.killmail_time),
    })
    const participants = await database.query(
      `select character_id::int as character, ship_type_id::int as ship, is_victim from battle_participants where battle_id = $1 order by 1`,
      [battle?.id],
    )
    expect(participants).toEqual([
      { character: 2113000001, ship: 600, is_victim: true },
      { character: 2113000002, ship: 601, is_victim: false },
    ])
  })

  it('has totals that equal their killmails, in both tables', async () => {
    expect(await count('from battles')).toBeGreaterThan(300)
    for (const killmails of ['battle_killmails', 'killmail_events']) {
      const wrong = await count(
        `from battles b join (
           select battle_id, count(*) as kills, sum(coalesce(isk_value, 0)) as isk, min(occurred_at) as first, max(occurred_at) as last
             from ${killmails} group by 1
         ) k on k.battle_id = b.id
         where (b.total_kills, b.total_isk_destroyed, b.start_time, b.end_time) is distinct from (k.kills, k.isk, k.first, k.last)`,
      )
      expect(wrong, killmails).toBe(0)
      expect(await count(`from battles b where not exists (select from ${killmails} k where k.battle_id = b.id)`)).toBe(
        0,
      )
    }
    expect(
      await count(
        `from killmail_events e full join battle_killmails k on k.killmail_id = e.killmail_id and k.battle_id = e.battle_id
          where (e.battle_id is not null or e.killmail_id is null) and (k.killmail_id is null or e.killmail_id is null)`,
      ),
    ).toBe(0)
  })

  it("follows the clusterer's rule, as SQL says it", async () => {
    expect(await count('from battles where total_kills < 2')).toBe(0)
    expect(await count(`from battles where end_time - start_time > interval '30 min'`)).toBe(0)
    expect(
      await count(
        `from (select occurred_at - lag(occurred_at) over (partition by battle_id order by occurred_at) as gap
                 from battle_killmails) g where gap > interval '15 min'`,
      ),
    ).toBe(0)
    // No two that belong together are apart: neighbours in one system, close in time, one battle unless a window ended between them.
    expect(
      await count(
        `from (select battle_id, occurred_at, lag(battle_id) over w as before, occurred_at - lag(occurred_at) over w as gap,
                      lag(occurred_at) over w as last, system_id
                 from killmail_events where processed_at is not null window w as (partition by system_id order by occurred_at, killmail_id)) n
          left join battles b on b.id = n.before
         where gap <= interval '15 min' and battle_id is distinct from before
           and n.occurred_at - coalesce(b.start_time, n.last) <= interval '30 min'`,
      ),
    ).toBe(0)
  })

  it('processes what is older than the delay, and nothing younger', async () => {
    const cut = `timestamptz '${new Date(nowMs).toISOString()}' - interval '90 min'`
    expect(await count(`from killmail_events where (processed_at is not null) <> (occurred_at <= ${cut})`)).toBe(0)
    expect(await count('from killmail_events where processed_at is null and battle_id is not null')).toBe(0)
    expect(await count(`from killmail_events where fetched_at < occurred_at or processed_at < fetched_at`)).toBe(0)
  })

  it('has accounts whose primary character is their own', async () => {
    expect(
      await count('from accounts a join characters c on c.id = a.primary_character_id and c.account_id = a.id'),
    ).toBe(await count('from accounts'))
    expect(await count('from rulesets')).toBe(1)
    expect(await count(`from audit_logs where (actor_account_id is null) <> (action like 'system.%')`)).toBe(0)
  })

  it('has analyzed nothing', async () => {
    expect(
      await count(`from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r' and reltuples <> -1`),
    ).toBe(0)
  })
})

describe('loading', () => {
  it('is one transaction: a killmail that is there already leaves nothing behind', async () => {
    const before = await count('from battles')
    await expect(loadKillmails(client, real, options)).rejects.toMatchObject({ code: '23505' })
    expect(await count('from battles')).toBe(before)
  })

  it('stops when it is aborted', async () => {
    const fresh = generateKillmails({ count: 50, seed: 9, endsAtMs: nowMs, firstId: 900_000_000 })
    await expect(loadKillmails(client, fresh, { ...options, signal: AbortSignal.abort() })).rejects.toMatchObject({
      name: 'AbortError',
    })
  })

  it('carries any text through COPY as it is', async () => {
    await database.query('create table texts (n int, t text, numbers bigint[])')
    const other = await connect(database.url)
    const text = fc
      .string({ unit: 'binary' })
      .filter((value) => !value.includes('\0') && !/[\ud800-\udfff]/u.test(value))
    const texts = fc.sample(fc.oneof(text, fc.constantFrom('\\N', '\\.', '\\\\', '\t\n\r', '')), 500)
    const rows = texts.map((value, index) => [index, value, [index, -1]] as const)
    await pipeline(Readable.from(formatRows(rows)), other.query(copyFrom('copy texts from stdin')))
    await other.end()
    const stored = await database.query<{ t: string }>('select t from texts order by n')
    expect(stored.map(({ t }) => t)).toEqual(texts)
  })
})
