/** What the columns mean, on rows whose numbers can be counted by hand, and against SQL of another shape. */
import type { TestDatabase } from '@battlescope/scheduler-testing'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { compareWithOracle } from './oracle.js'
import { generateRows } from './generated-rows.js'
import { createDatabase, run, runToEnd } from './support.js'

let database: TestDatabase
beforeEach(async () => {
  database = await createDatabase()
})
afterEach(() => database.drop())

const battle = '00000000-0000-4000-8000-00000000000'

describe('the rollups', () => {
  it('count what their documentation says', async () => {
    await database.query(`
      INSERT INTO battles (id, system_id, start_time, end_time, total_kills, total_isk_destroyed, zkill_related_url, security_type) VALUES
        ('${battle}1', 7, '2026-03-01 23:50Z', '2026-03-02 00:10Z', 2, 30, '', 'nullsec'),
        ('${battle}2', 7, '2026-03-01 10:00Z', '2026-03-01 10:10Z', 2, 31, '', NULL);
      INSERT INTO killmail_events (killmail_id, system_id, occurred_at, victim_alliance_id, victim_corp_id, attacker_alliance_ids, attacker_corp_ids, isk_value, zkb_url, battle_id) VALUES
        (1, 7, '2026-03-01 23:59:59.999999Z', 91, 81, '{92,92,91}', '{82}', 10.10, '', '${battle}1'),
        (2, 7, '2026-03-02 00:00Z', NULL, 82, '{91,NULL}', '{81,82}', 20.20, '', '${battle}1'),
        (3, 8, '2026-03-02 12:00Z', 92, NULL, '{}', '{}', NULL, '', NULL);
      INSERT INTO battle_killmails (battle_id, killmail_id, zkb_url, occurred_at, isk_value, attacker_alliance_ids) VALUES
        ('${battle}1', 1, '', '2026-03-01 23:59:59.999999Z', 10.10, '{}'), ('${battle}1', 2, '', '2026-03-02 00:00Z', 20.20, '{}');
      INSERT INTO battle_participants (battle_id, character_id, alliance_id, corp_id, ship_type_id, is_victim) VALUES
        ('${battle}1', 1, 91, 81, 587, true), ('${battle}1', 2, 92, 82, 588, false), ('${battle}1', 3, 92, 82, 587, false),
        ('${battle}2', 2, 92, 82, 587, false), ('${battle}2', 4, NULL, 82, 588, true);
      INSERT INTO pilot_ship_history (killmail_id, character_id, ship_type_id, system_id, is_loss, killmail_value, occurred_at, zkb_url) VALUES
        (1, 1, 587, 7, true, 10, '2026-03-01 23:59:59.999999Z', ''), (1, 2, 588, 7, false, 10, '2026-03-01 23:59:59.999999Z', ''),
        (1, 3, 587, 7, false, 10, '2026-03-01 23:59:59.999999Z', ''), (2, 2, 588, 7, true, NULL, '2026-03-02 00:00Z', '')`)
    await runToEnd(database)
    const { stored } = await compareWithOracle(database)
    const row = (day: string, key: string | number, ...values: (string | number | null)[]) => ({
      day: `2026-03-${day}`,
      key: String(key),
      ...Object.fromEntries(
        [
          'battles',
          'killmails',
          'isk_destroyed',
          'isk_lost',
          'participants',
          'biggest_battle_id',
          'biggest_battle_killmails',
        ].map((column, index) => [column, values[index] === null ? null : String(values[index])]),
      ),
    })
    const nothing = [null, null]
    const second = [`${battle}2`, 2]
    const first = [`${battle}1`, 2]
    expect(stored['system']).toEqual([
      // Pilot 2 is in both battles and counts once; of two battles of one size the costlier is the bigger.
      row('01', 7, 2, 1, '10.1', '10.1', 4, ...second),
      row('02', 7, 0, 1, '20.2', '20.2', 0, ...nothing),
      row('02', 8, 0, 1, '0', '0', 0, ...nothing),
    ])
    expect(stored['alliance']).toEqual([
      // On both sides of killmail 1: once a killmail, and its value both destroyed and lost.
      row('01', 91, 1, 1, '10.1', '10.1', 1, ...first),
      row('01', 92, 2, 1, '10.1', '0', 2, ...second),
      row('02', 91, 0, 1, '20.2', '0', 0, ...nothing),
      row('02', 92, 0, 1, '0', '0', 0, ...nothing),
    ])
    expect(stored['corporation']).toEqual([
      row('01', 81, 1, 1, '0', '10.1', 1, ...first),
      row('01', 82, 2, 1, '10.1', '0', 3, ...second),
      row('02', 81, 0, 1, '20.2', '0', 0, ...nothing),
      row('02', 82, 0, 1, '20.2', '20.2', 0, ...nothing),
    ])
    expect(stored['ship-type']).toEqual([
      row('01', 587, 2, 1, '10', '10', 3, ...second),
      row('01', 588, 2, 1, '10', '0', 2, ...second),
      row('02', 588, 0, 1, '0', '0', 0, ...nothing),
    ])
    expect(stored['security-type']).toEqual([
      // Both killmails belong to the day of their battle.
      row('01', 'nullsec', 1, 2, '30.3', '30.3', 3, ...first),
      row('01', 'unknown', 1, 0, '0', '0', 2, ...second),
    ])
  })

  it('equal hand-written SQL of another shape on generated rows, whatever the timezone and date style', async () => {
    await generateRows(database, 1000)
    await database.query(
      `ALTER DATABASE ${database.name} SET timezone = 'Pacific/Kiritimati'; ALTER DATABASE ${database.name} SET datestyle = 'ISO, DMY'`,
    )
    await runToEnd(database, { config: { sliceRows: 400 } })
    const { stored, expected } = await compareWithOracle(database)
    expect(stored).toEqual(expected)
    expect(Object.values(stored).every((rows) => rows.length > 50)).toBe(true)
  })

  it('leave rows alone whose sources are not there', async () => {
    await generateRows(database, 200)
    await runToEnd(database)
    const before = (await compareWithOracle(database)).stored
    await database.query(`
      DROP TABLE pilot_ship_history; ALTER TABLE battle_participants RENAME COLUMN corp_id TO corporation_id;
      DELETE FROM battle_killmails; DELETE FROM killmail_events`)
    const { outcome, findings } = await run(database, { config: { trailingDays: 60 } })
    expect(outcome).toBe('succeeded')
    expect(findings).toMatchObject([
      {
        key: 'missing',
        summary: 'absent, or without columns that are read: public.pilot_ship_history, public.battle_participants',
      },
    ])
    const rows = (name: string) =>
      database.query(
        `SELECT count(*)::int AS rows, sum(killmails)::int AS killmails FROM scheduler.statistics_by_${name}`,
      )
    expect((await rows('ship_type'))[0]).toMatchObject({ rows: before['ship-type']?.length })
    // Battles cannot be counted, so their part stays; killmails are counted, and there are none any more.
    const inBattles = before['system']?.filter(({ battles }) => battles !== '0').length
    expect((await rows('system'))[0]).toEqual({ rows: inBattles, killmails: 0 })
  })
})

describe('the view', () => {
  it('shows one row per day', async () => {
    await generateRows(database, 500)
    await runToEnd(database, { config: { growthRelations: ['public.*'] } })
    const rows = await database.query(`SELECT * FROM scheduler.statistics_overview ORDER BY day`)
    const totals = await database.query<{ killmails: string; days: number; isk: string }>(
      `SELECT count(*) AS killmails, count(DISTINCT (occurred_at AT TIME ZONE 'UTC')::date)::int AS days, sum(isk_value) AS isk FROM killmail_events`,
    )
    const sum = (column: string) => rows.reduce((total, row) => total + Number(row[column]), 0)
    expect(sum('killmails')).toBe(Number(totals[0]?.killmails))
    expect(sum('isk_destroyed')).toBeCloseTo(Number(totals[0]?.isk), 1)
    expect(rows.length).toBeGreaterThanOrEqual(totals[0]?.days ?? 0)
    expect(rows.every(({ busiest_system_id: id }) => id !== null)).toBe(true)
  })
})
