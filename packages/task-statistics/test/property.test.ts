/** After any sequence of inserts, updates and deletes the rollups equal a full recomputation: at once in mode exact, after a re-check in mode trailing. */
import { openConnections, type DatabaseConnections } from '@battlescope/database'
import type { TestDatabase } from '@battlescope/scheduler-testing'
import fc from 'fast-check'
import { sql } from 'kysely'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { compareWithOracle } from './oracle.js'
import { createDatabase, run, runToEnd } from './support.js'

/** The short form; raise it for a long run by hand. A sequence that fails is printed as it is: making it shorter takes minutes. */
const numRuns = 8

const id = (n: number) => `'00000000-0000-4000-8000-${String(n).padStart(12, '0')}'`
// Most of them so far apart that no slice takes in two by chance.
const instants = fc
  .record({ day: fc.constantFrom(0, 1, 10, 20), minute: fc.constantFrom(0, 1, 720, 1439) })
  .map(({ day, minute }) => `timestamptz '2026-02-26 00:00Z' + interval '${day} days ${minute} minutes'`)
const battles = fc.integer({ min: 1, max: 4 })
const killmails = fc.integer({ min: 1, max: 8 })
const ids = fc.option(fc.integer({ min: 1, max: 3 }), { nil: null })
const value = fc.option(
  fc.integer({ min: 0, max: 999 }).map((cents) => `${cents}.25`),
  { nil: null },
)
const list = fc.array(ids, { maxLength: 4 }).map((items) => `'{${items.map((item) => item ?? 'NULL').join(',')}}'`)

/** Inserts alone: they wait for nobody, so they may stay open in a transaction of their own. */
const inserts = fc.oneof(
  fc.tuple(killmails, instants, ids, ids, list, list, value, fc.integer({ min: 1, max: 2 })).map(
    ([killmail, at, alliance, corp, alliances, corps, isk, system]) =>
      `INSERT INTO killmail_events (killmail_id, system_id, occurred_at, victim_alliance_id, victim_corp_id, attacker_alliance_ids, attacker_corp_ids, isk_value, zkb_url)
         VALUES (${killmail}, ${system}, ${at}, ${alliance}, ${corp}, ${alliances}, ${corps}, ${isk}, '') ON CONFLICT DO NOTHING`,
  ),
  fc.tuple(battles, instants, fc.constantFrom(`'highsec'`, `'nullsec'`, 'NULL'), fc.integer({ min: 1, max: 3 })).map(
    ([battle, at, security, kills]) =>
      `INSERT INTO battles (id, system_id, start_time, end_time, total_kills, zkill_related_url, security_type)
         VALUES (${id(battle)}, 1, ${at}, ${at}, ${kills}, '', ${security}) ON CONFLICT DO NOTHING`,
  ),
  fc.tuple(battles, fc.integer({ min: 1, max: 4 }), ids, ids, fc.integer({ min: 1, max: 2 })).map(
    ([battle, pilot, alliance, corp, ship]) =>
      `INSERT INTO battle_participants (battle_id, character_id, alliance_id, corp_id, ship_type_id)
         SELECT ${id(battle)}, ${pilot}, ${alliance}, ${corp}, ${ship} WHERE EXISTS (SELECT FROM battles WHERE id = ${id(battle)}) ON CONFLICT DO NOTHING`,
  ),
  fc.tuple(battles, killmails, value).map(
    ([battle, killmail, isk]) =>
      `INSERT INTO battle_killmails (battle_id, killmail_id, zkb_url, occurred_at, isk_value, attacker_alliance_ids)
         SELECT ${id(battle)}, ${killmail}, '', now(), ${isk}, '{}' WHERE EXISTS (SELECT FROM battles WHERE id = ${id(battle)}) ON CONFLICT DO NOTHING`,
  ),
  fc
    .tuple(
      killmails,
      fc.integer({ min: 1, max: 3 }),
      fc.integer({ min: 1, max: 2 }),
      fc.boolean(),
      fc.option(fc.integer({ min: 0, max: 99 }), { nil: null }),
    )
    .map(
      ([killmail, pilot, ship, loss, isk]) =>
        `INSERT INTO pilot_ship_history (killmail_id, character_id, ship_type_id, system_id, is_loss, killmail_value, occurred_at, zkb_url)
         SELECT killmail_id, ${pilot}, ${ship}, 1, ${loss}, ${isk}, occurred_at, '' FROM killmail_events WHERE killmail_id = ${killmail} ON CONFLICT DO NOTHING`,
    ),
)

/** What changes the day of a row concerns two days. */
const moves = fc.oneof(
  fc
    .tuple(killmails, instants)
    .map(([killmail, at]) => `UPDATE killmail_events SET occurred_at = ${at} WHERE killmail_id = ${killmail}`),
  fc
    .tuple(battles, instants)
    .map(
      ([battle, at]) => `UPDATE battles SET start_time = ${at}, total_kills = total_kills + 1 WHERE id = ${id(battle)}`,
    ),
)
const others = fc.oneof(
  { weight: 4, arbitrary: moves },
  fc
    .tuple(killmails, value)
    .map(
      ([killmail, isk]) =>
        `UPDATE killmail_events SET isk_value = ${isk}, system_id = 3 - system_id WHERE killmail_id >= ${killmail}`,
    ),
  fc
    .tuple(killmails, list)
    .map(
      ([killmail, alliances]) =>
        `UPDATE killmail_events SET attacker_alliance_ids = ${alliances} WHERE killmail_id = ${killmail}`,
    ),
  fc.constantFrom(
    `UPDATE battles SET security_type = 'wormhole'`,
    'UPDATE battle_participants SET alliance_id = 4 - alliance_id, ship_type_id = 3',
  ),
  battles.map((battle) => `DELETE FROM battles WHERE id = ${id(battle)}`),
  battles.map((battle) => `DELETE FROM battle_participants WHERE battle_id = ${id(battle)} AND character_id < 3`),
  killmails.map((killmail) => `WITH gone AS (DELETE FROM pilot_ship_history WHERE killmail_id = ${killmail}) SELECT 1`),
  killmails.map(
    (killmail) =>
      `DELETE FROM killmail_events e WHERE killmail_id = ${killmail} AND NOT EXISTS (SELECT FROM pilot_ship_history h WHERE h.killmail_id = e.killmail_id)`,
  ),
  fc.constantFrom('TRUNCATE battle_killmails', 'TRUNCATE pilot_ship_history'),
)

type Step =
  | { readonly do: 'statement'; readonly text: string }
  /** In a transaction that commits at the next `commit`. */
  | { readonly do: 'open'; readonly text: string }
  | { readonly do: 'commit' }
  | { readonly do: 'count' }

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 2, arbitrary: inserts.map((text) => ({ do: 'statement', text }) as const) },
  { weight: 7, arbitrary: others.map((text) => ({ do: 'statement', text }) as const) },
  { weight: 1, arbitrary: fc.constant({ do: 'count' } as const) },
)
/** Rows first, and counted; else most changes would change nothing. */
const sequence = (steps: fc.Arbitrary<Step>): fc.Arbitrary<readonly Step[]> =>
  fc
    .tuple(
      fc.array(
        inserts.map((text) => ({ do: 'statement', text }) as const),
        { minLength: 15, maxLength: 30 },
      ),
      fc.array(steps, { minLength: 12, maxLength: 20 }),
    )
    .map(([rows, changes]) => [...rows, { do: 'count' }, ...changes])

const overlappingStep: fc.Arbitrary<Step> = fc.oneof(
  { weight: 8, arbitrary: step },
  {
    weight: 2,
    arbitrary: killmails.chain((n) =>
      inserts.map((text) => ({ do: 'open', text: text.replace(/VALUES \(\d,/, `VALUES (${n + 100},`) }) as const),
    ),
  },
  { weight: 1, arbitrary: fc.constant({ do: 'commit' } as const) },
)

let database: TestDatabase
let connections: DatabaseConnections
beforeAll(async () => {
  database = await createDatabase()
  connections = openConnections({ url: database.url, applicationName: 'writer' })
})
afterAll(async () => {
  await connections.close()
  await database.drop()
})

async function reset(): Promise<void> {
  await database.query(`
    TRUNCATE killmail_events, pilot_ship_history, battles, battle_killmails, battle_participants, scheduler.statistics_by_system,
      scheduler.statistics_by_alliance, scheduler.statistics_by_corporation, scheduler.statistics_by_ship_type, scheduler.statistics_by_security_type`)
}

async function expectEqual(): Promise<void> {
  const { stored, expected } = await compareWithOracle(database)
  expect(stored).toEqual(expected)
}

describe('after any sequence of inserts, updates and deletes', () => {
  it('mode trailing equals a full recomputation when everything was re-checked', { timeout: 300_000 }, async () => {
    // Far in the past: the trailing days have no part in it. Slices of a day or two.
    const config = { mode: 'trailing', sliceRows: 4, recheckWithin: 86_400_000 } as const
    await fc.assert(
      fc.asyncProperty(sequence(step), async (steps) => {
        await reset()
        for (const each of steps) {
          if (each.do === 'statement') await database.query(each.text)
          if (each.do === 'count') await run(database, { config })
        }
        // Twice the stated time later: a re-check that was going on has ended, and a whole one came after it.
        for (let times = 0; times < 2; times += 1) {
          await database.query(`
            UPDATE scheduler.checkpoint SET data = data || '{"sweptAt": "2020-01-01T00:00:00Z"}'
              || CASE WHEN jsonb_typeof(data->'sweep') = 'object' THEN jsonb_build_object('sweep', data->'sweep' || '{"startedAt": "2020-01-01T00:00:00Z"}') ELSE '{}' END`)
          await runToEnd(database, { config })
        }
        await database.query(`
          UPDATE scheduler.checkpoint SET data = data || CASE WHEN jsonb_typeof(data->'sweep') = 'object'
            THEN jsonb_build_object('sweep', data->'sweep' || '{"startedAt": "2020-01-01T00:00:00Z"}') ELSE '{}' END`)
        await runToEnd(database, { config })
        await expectEqual()
      }),
      { numRuns, endOnFailure: true },
    )
  })

  it(
    'mode exact equals a full recomputation after the next run, whatever transactions were open',
    { timeout: 300_000 },
    async () => {
      const config = { mode: 'exact', sliceRows: 4 } as const
      await run(database, { config, request: { do: 'install-triggers' } })
      await runToEnd(database, { config })
      await fc.assert(
        fc.asyncProperty(sequence(overlappingStep), async (steps) => {
          await reset()
          let commit: (() => void) | undefined
          let ended: Promise<unknown> = Promise.resolve()
          const close = async () => {
            commit?.()
            commit = undefined
            await ended
          }
          try {
            for (const each of steps) {
              // What changes or removes rows could wait for the open transaction, and TRUNCATE would.
              if (each.do === 'commit' || (each.do === 'statement' && !each.text.startsWith('INSERT'))) await close()
              if (each.do === 'statement') await database.query(each.text)
              if (each.do === 'count') await run(database, { config })
              if (each.do === 'open') {
                await close()
                let begun: () => void = () => undefined
                const ready = new Promise<void>((resolve) => (begun = resolve))
                const released = new Promise<void>((resolve) => (commit = resolve))
                ended = connections.transaction({ statementTimeoutMs: 10_000 }, async ({ db }) => {
                  await sql.raw(each.text).execute(db)
                  begun()
                  await released
                })
                await Promise.race([ready, ended])
              }
            }
          } finally {
            await close()
          }
          await runToEnd(database, { config })
          await expectEqual()
          expect((await run(database, { config })).actions).toEqual([])
        }),
        { numRuns, endOnFailure: true },
      )
    },
  )
})
