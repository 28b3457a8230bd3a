/** Rollups of killmails in the form in which ESI and zKillboard give them, loaded as the demo loads them, and counted by the task. */
import { battlescopeDdl } from '@battlescope/database/battlescope-ddl'
import { createTestDatabase, type TestDatabase } from '@battlescope/postgres-testing'
import { runOneTask } from '@battlescope/scheduler-testing'
import { statistics } from '@battlescope/task-statistics'
import type pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { connect } from '../../src/database.js'
import { parseFile } from '../../src/killmails/parse-file.js'
import { loadKillmails } from '../../src/loading/load.js'
import { compareRollups } from '../../src/parts/rollup-check.js'
import { esi, region, zkillboard } from '../killmails/samples.js'

const nowMs = Date.UTC(2026, 10, 23, 20, 10)
const day = (time: string) => ({ killmail_time: time })

/** Each with something that is counted easily wrong. */
const killmails = [
  zkillboard,
  // Without ids, ships by name alone, from the time before ids were kept.
  region,
  // A battle with the first one, over midnight of its own day; its victim is on the attackers' side, too.
  {
    ...zkillboard,
    ...day('2024-03-05T19:40:00Z'),
    killmail_id: 304,
    attackers: [...esi.attackers, { ...esi.victim, damage_done: 1 }],
  },
  { ...zkillboard, ...day('2024-03-05T23:55:00Z'), killmail_id: 305, solar_system_id: 30001112 },
  { ...zkillboard, ...day('2024-03-06T00:05:00Z'), killmail_id: 306, solar_system_id: 30001112 },
  // Two of one alliance and one corporation among the attackers, in ships of one type; and a victim of no alliance in that type.
  {
    ...zkillboard,
    ...day('2024-03-06T12:00:00Z'),
    killmail_id: 307,
    solar_system_id: 31000005,
    victim: { character_id: 2113000003, corporation_id: 98000022, ship_type_id: 601 },
    attackers: [1, 2].map((number) => ({ ...esi.attackers[0], character_id: 2113000010 + number })),
  },
  { ...zkillboard, ...day('2024-03-06T12:03:00Z'), killmail_id: 308, solar_system_id: 31000005, zkb: undefined },
]

let database: TestDatabase
let client: pg.Client
beforeAll(async () => {
  database = await createTestDatabase({ template: { name: 'demo_battlescope', build: battlescopeDdl } })
  client = await connect(database.url)
  const { killmails: parsed } = parseFile(JSON.stringify(killmails), { nowMs })
  await loadKillmails(client, parsed, { nowMs, seed: 1, signal: new AbortController().signal })
  const { task } = await runOneTask({
    task: statistics,
    databaseUrl: database.url,
    force: true,
    request: { do: 'recalculate', from: '2014-01-01', to: '2024-12-31' },
  })
  expect(task.run?.outcome).toBe('succeeded')
})
afterAll(async () => {
  await client.end()
  await database.drop()
})

describe('rollups of killmails in the real form', () => {
  it('are what SQL of another shape counts', async () => {
    expect(await database.query(`SELECT FROM battles`)).toHaveLength(3)
    const comparisons = await compareRollups(client)
    expect(comparisons.map(({ differing }) => differing)).toEqual([0, 0, 0, 0, 0])
    for (const { rows } of comparisons) expect(rows).toBeGreaterThan(0)
  })

  it.each([
    ['statistics_by_system', 'isk_lost = isk_lost + 0.01', 2],
    ['statistics_by_alliance', 'killmails = killmails + 1', 2],
    ['statistics_by_corporation', 'participants = participants + 1', 2],
    ['statistics_by_ship_type', 'battles = battles + 1', 2],
    ['statistics_by_security_type', 'biggest_battle_killmails = 99', 2],
  ])('are found wrong when a row of %s is', async (table, change, differing) => {
    await client.query('BEGIN')
    try {
      await client.query(
        `UPDATE scheduler.${table} SET ${change} WHERE ctid = (SELECT max(ctid) FROM scheduler.${table})`,
      )
      const wrong = (await compareRollups(client)).filter((comparison) => comparison.differing > 0)
      expect(wrong).toEqual([expect.objectContaining({ rollup: table, differing })])
      await client.query(`DELETE FROM scheduler.${table} WHERE ctid = (SELECT max(ctid) FROM scheduler.${table})`)
      expect((await compareRollups(client)).find(({ rollup }) => rollup === table)).toMatchObject({ differing: 1 })
    } finally {
      await client.query('ROLLBACK')
    }
  })
})
