/** Integrity on real battles, each broken in one way. */
import { battlescopeDdl } from '@battlescope/database/battlescope-ddl'
import { createTestDatabase, type TestDatabase } from '@battlescope/scheduler-testing'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { integrityChecks } from '../src/integrity/index.js'
import { lines, runHealth } from './run.js'

let database: TestDatabase
beforeAll(async () => {
  database = await createTestDatabase({ template: { name: 'battlescope', build: battlescopeDdl } })
})
afterAll(() => database.drop())

const battle = (n: number) => `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`
const names = integrityChecks.map(({ key }) => key.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase()))
/** Every look is due at once; `own` goes to every check. */
const run = (own: object = {}) =>
  runHealth(database, {
    checks: integrityChecks,
    options: Object.fromEntries(names.map((name) => [name, { interval: '1ms', ...optionsFor(name, own) }])),
  })
function optionsFor(name: string, own: object): object {
  const check = integrityChecks[names.indexOf(name)]
  return Object.fromEntries(Object.entries(own).filter(([key]) => key in ((check?.options ?? {}) as object)))
}

/** Battles of three killmails and two pilots, an hour old. */
beforeEach(async () => {
  await database.query(`
    DROP SCHEMA IF EXISTS scheduler CASCADE;
    TRUNCATE battles, killmail_events, killmail_enrichments CASCADE;
    INSERT INTO battles (id, system_id, start_time, end_time, total_kills, total_isk_destroyed, zkill_related_url, created_at)
      SELECT format('00000000-0000-4000-8000-%s', lpad(b::text, 12, '0'))::uuid, 30000142, now(), now(), 3, 300, '', now() - interval '1 hour'
      FROM generate_series(1, 40) AS b;
    INSERT INTO killmail_events (killmail_id, system_id, occurred_at, zkb_url, isk_value, processed_at, battle_id)
      SELECT b * 10 + k, 30000142, now(), '', 100, now() - interval '1 hour',
        format('00000000-0000-4000-8000-%s', lpad(b::text, 12, '0'))::uuid
      FROM generate_series(1, 40) AS b, generate_series(1, 3) AS k;
    INSERT INTO battle_killmails (battle_id, killmail_id, zkb_url, occurred_at, isk_value, attacker_alliance_ids)
      SELECT battle_id, killmail_id, '', occurred_at, isk_value, '{}' FROM killmail_events;
    INSERT INTO battle_participants (battle_id, character_id, ship_type_id)
      SELECT id, c, 587 FROM battles, generate_series(1, 2) AS c;
    INSERT INTO killmail_enrichments (killmail_id, status) SELECT killmail_id, 'succeeded' FROM killmail_events`)
})

describe('battles', () => {
  it('finds nothing where all fit', async () => {
    const { outcome, findings } = await run()
    expect({ outcome, findings }).toEqual({ outcome: 'succeeded', findings: [] })
  })

  it.each([
    [
      'a total of kills',
      `UPDATE battles SET total_kills = 4 WHERE id = '${battle(7)}'`,
      'battle-totals: 1 of 40 sampled battles have totals that are not those of their killmails',
    ],
    [
      'a total of ISK',
      `UPDATE battles SET total_isk_destroyed = 301 WHERE id = '${battle(7)}'`,
      'battle-totals: 1 of 40 sampled battles have totals that are not those of their killmails',
    ],
    [
      'too few kills',
      `DELETE FROM battle_killmails WHERE battle_id = '${battle(7)}' AND killmail_id > 71;
       UPDATE killmail_events SET battle_id = NULL WHERE battle_id = '${battle(7)}' AND killmail_id > 71;
       UPDATE battles SET total_kills = 1, total_isk_destroyed = 100 WHERE id = '${battle(7)}'`,
      'battles-too-small: 1 of 40 sampled battles have fewer than 2 kills',
    ],
    [
      'no participants',
      `DELETE FROM battle_participants WHERE battle_id = '${battle(7)}'`,
      'battles-without-participants: 1 of 40 sampled battles have no participants',
    ],
    [
      'a killmail that its battle does not know',
      `UPDATE killmail_events SET battle_id = '${battle(8)}' WHERE killmail_id = 71`,
      'killmails-unknown-to-battle: 1 of 120 sampled killmails with a battle are unknown to it',
    ],
    [
      'a deleted killmail',
      `DELETE FROM killmail_events WHERE killmail_id = 71; DELETE FROM killmail_enrichments WHERE killmail_id = 71`,
      'orphaned-battle-killmails: 1 of 120 sampled killmails of battles do not exist',
    ],
    [
      'an enrichment without killmail',
      `INSERT INTO killmail_enrichments (killmail_id) VALUES (99)`,
      'orphaned-enrichments: 1 of 121 sampled enrichments have no killmail',
    ],
  ])('finds %s', async (_, breakIt, expected) => {
    await database.query(breakIt)
    expect(lines(await run())).toEqual([`warning ${expected}`])
  })

  it('finds participants of a battle that is not there, where no foreign key prevents it', async () => {
    await database.query(`
      ALTER TABLE battle_participants DROP CONSTRAINT battle_participants_battle_id_fkey;
      INSERT INTO battle_participants (battle_id, character_id, ship_type_id) VALUES ('${battle(999)}', 1, 587)`)
    try {
      expect(lines(await run())).toEqual([
        'warning orphaned-participants: 1 of 41 sampled battles of participants do not exist',
      ])
    } finally {
      await database.query(`
        DELETE FROM battle_participants WHERE battle_id = '${battle(999)}';
        ALTER TABLE battle_participants ADD CONSTRAINT battle_participants_battle_id_fkey
          FOREIGN KEY (battle_id) REFERENCES battles (id) ON DELETE CASCADE`)
    }
  })

  it('leaves alone what is being written', async () => {
    await database.query(
      `UPDATE battles SET total_kills = 9, created_at = now() - interval '9 minutes' WHERE id = '${battle(7)}'`,
    )
    expect(lines(await run())).toEqual([])
  })
})

describe('the moving window', () => {
  it('comes to all battles, and begins anew', async () => {
    await database.query(`UPDATE battles SET total_kills = 4 WHERE id = '${battle(35)}'`)
    const looks: boolean[] = []
    // Ten at a time, beside the battles of the three newest killmails: the fourth look comes to it.
    for (let look = 0; look < 4; look += 1) looks.push((await run({ window: 10, newest: 3 })).findings.length > 0)
    expect(looks).toEqual([false, false, false, true])
    await database.query(`UPDATE battles SET total_kills = 4 WHERE id = '${battle(2)}'`)
    const [fifth] = lines(await run({ window: 10, newest: 3 }))
    const [sixth] = lines(await run({ window: 10, newest: 3 }))
    expect([fifth, sixth].join()).toContain('2 of ')
  })

  it('goes on looking at what was wrong, until it is right', async () => {
    await database.query(
      `UPDATE battles SET total_kills = 4 WHERE id = '${battle(3)}'; DELETE FROM killmail_events WHERE killmail_id = 11`,
    )
    for (let look = 0; look < 3; look += 1) {
      const found = (await run({ window: 10, newest: 3 })).findings.map(({ key }) => key)
      expect(found).toEqual(['battle-totals', 'orphaned-battle-killmails', 'orphaned-enrichments'])
    }
    await database.query(`
      UPDATE battles SET total_kills = 3 WHERE id = '${battle(3)}';
      DELETE FROM battle_killmails WHERE killmail_id = 11; DELETE FROM killmail_enrichments WHERE killmail_id = 11;
      UPDATE battles SET total_kills = 2, total_isk_destroyed = 200 WHERE id = '${battle(1)}'`)
    expect(lines(await run({ window: 10, newest: 3 }))).toEqual([])
  })
})

describe('its cost', () => {
  it('does not apply where the index is missing', async () => {
    await database.query(
      'ALTER TABLE battle_participants DROP CONSTRAINT battle_participants_pk; DELETE FROM battle_participants',
    )
    try {
      expect(lines(await run())).toEqual([])
    } finally {
      await database.query(
        'ALTER TABLE battle_participants ADD CONSTRAINT battle_participants_pk PRIMARY KEY (battle_id, character_id)',
      )
    }
  })

  it('reads no relation as a whole', async () => {
    await database.query(`
      INSERT INTO killmail_events (killmail_id, system_id, occurred_at, zkb_url, processed_at)
        SELECT 10000 + i, 30000142, now(), '', now() FROM generate_series(1, 30000) AS i;
      INSERT INTO killmail_enrichments (killmail_id, status) SELECT 10000 + i, 'succeeded' FROM generate_series(1, 30000) AS i;
      INSERT INTO battles (id, system_id, start_time, end_time, total_kills, zkill_related_url)
        SELECT gen_random_uuid(), 1, now(), now(), 0, '' FROM generate_series(1, 10000);
      INSERT INTO battle_killmails (battle_id, killmail_id, zkb_url, occurred_at, attacker_alliance_ids)
        SELECT b.id, 10000 + (row_number() OVER ()), '', now(), '{}' FROM battles b;
      INSERT INTO battle_participants (battle_id, character_id, ship_type_id) SELECT id, 3, 587 FROM battles`)
    for (const relation of [
      'killmail_events',
      'killmail_enrichments',
      'battles',
      'battle_killmails',
      'battle_participants',
    ]) {
      await database.query(`VACUUM (ANALYZE) ${relation}`)
    }
    // What this session has counted and not yet handed in would count after the reset.
    await database.query('SELECT pg_stat_force_next_flush()')
    await database.query('SELECT pg_stat_reset()')
    await run()
    const scanned = await database.query(
      `SELECT relname, seq_scan FROM pg_stat_user_tables WHERE schemaname = 'public' AND seq_scan > 0`,
    )
    expect(scanned).toEqual([])
  })
})
