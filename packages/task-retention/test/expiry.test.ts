import { openConnections } from '@battlescope/database'
import { sql } from 'kysely'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { startPostgres, type TestServer } from '@battlescope/scheduler-testing'
import { selectExpiredKeys } from '../src/expiry-queries.js'
import { expiryOf, stillExpired, type Among } from '../src/expiry.js'
import { unpackKeys } from '../src/key-queue.js'
import { battleId, createExpiryWorld, horizon, type ExpiryWorld } from './expiry-world.js'

describe.each([15, 17] as const)('on PostgreSQL %i', (major) => {
  let server: TestServer
  let world: ExpiryWorld
  beforeAll(async () => {
    server = await startPostgres({ major })
    world = await createExpiryWorld(server)
  })
  afterAll(async () => {
    await world.close()
    await server.stop()
  })
  beforeEach(async () => {
    await world.clear()
    // The newest rows never expire: these are they.
    await world.battle(999, '1 year')
    await world.killmail({ id: 999, at: '1 year' })
  })

  describe('a killmail', () => {
    it('without a battle expires alone, to the microsecond', async () => {
      await world.killmail({ id: 1, at: '-1 microsecond' })
      await world.killmail({ id: 2, at: '0' })
      await world.killmail({ id: 3, at: '1 microsecond' })
      expect(await world.expired('killmails')).toEqual(['1'])
      expect(await world.still(await world.expiry('killmails'))).toEqual(['1'])
    })

    it('stays while it is unprocessed', async () => {
      await world.killmail({ id: 1, processed: false })
      expect(await world.expired('killmails')).toEqual([])
      expect(await world.still(await world.expiry('killmails'))).toEqual([])
    })

    it('stays for seven days after it was fetched, however old', async () => {
      await world.killmail({ id: 1, fetchedAt: '2026-11-16 02:00:00.000001+00' })
      await world.killmail({ id: 2, fetchedAt: '2026-11-16 02:00:00+00' })
      await world.killmail({ id: 3, fetchedAt: '2026-11-30 00:00:00+00' })
      expect(await world.expired('killmails')).toEqual(['2'])
    })

    it('expires together with the others of its battle', async () => {
      await world.battle(1)
      await world.killmail({ id: 1, battle: 1 })
      await world.killmail({ id: 2, battle: 1 })
      expect(await world.expired('killmails')).toEqual(['1', '2'])
    })

    it('stays with its battle when that ended after the horizon', async () => {
      await world.battle(1, '0')
      await world.killmail({ id: 1, battle: 1 })
      expect(await world.expired('killmails')).toEqual([])
      expect(await world.still(await world.expiry('killmails'))).toEqual([])
    })

    it('stays with its battle while one killmail of that is alive', async () => {
      await world.battle(1)
      await world.killmail({ id: 1, battle: 1 })
      await world.killmail({ id: 2, battle: 1, at: '0' })
      expect(await world.expired('killmails')).toEqual([])
    })

    it('stays with its battle while battle_killmails has a killmail after the horizon', async () => {
      await world.battle(1)
      await world.killmail({ id: 1, battle: 1 })
      await world.battleKillmail(1, 77, '0')
      expect(await world.expired('killmails')).toEqual([])
      // battle_killmails has an index on battle_id: that is cheap enough to ask in every statement.
      expect(await world.still(await world.expiry('killmails'))).toEqual([])
    })

    it('stays when it joined a live battle while the deleting statement waited for it', async () => {
      await world.battle(1)
      await world.battle(2, '1 day')
      await world.killmail({ id: 1, battle: 1 })
      await world.killmail({ id: 2, battle: 1 })
      const expiry = await world.expiry('killmails')
      const named: Among = (alias) => sql<boolean>`${sql.id(alias, 'killmail_id')} IN (1, 2)`
      const connections = openConnections({ url: world.database.url, applicationName: 'test' })
      const limits = { statementTimeoutMs: 20_000, lockTimeoutMs: 20_000 }
      const deleteThem = () =>
        connections.transaction(limits, async ({ db }) => {
          await sql`DELETE FROM pilot_ship_history t WHERE ${named('t')}`.execute(db)
          const { rows } = await sql<{ id: string }>`
            DELETE FROM killmail_events t WHERE ${named('t')} AND ${stillExpired(expiry, 't', named)}
            RETURNING killmail_id::text AS id`.execute(db)
          return rows
        })
      try {
        let deleting: ReturnType<typeof deleteThem> | undefined
        await connections.transaction(limits, async ({ db }) => {
          await sql`UPDATE killmail_events SET battle_id = ${battleId(2)} WHERE killmail_id = 1`.execute(db)
          deleting = deleteThem()
          const waits = 'SELECT FROM pg_locks WHERE NOT granted AND transactionid IS NOT NULL'
          while ((await world.database.query(waits)).length === 0);
        })
        expect(await deleting).toEqual([{ id: '2' }])
      } finally {
        await connections.close()
      }
    })

    it('stays with the newest battle', async () => {
      await world.clear()
      await world.killmail({ id: 999, at: '1 year' })
      await world.battle(1)
      await world.killmail({ id: 1, battle: 1 })
      expect(await world.expired('killmails')).toEqual([])
    })
  })

  describe('a battle', () => {
    beforeEach(async () => {
      await world.battle(1)
      await world.killmail({ id: 1, battle: 1 })
      await world.killmail({ id: 2, battle: 1 })
    })

    it('is not deleted before the last of its killmails', async () => {
      expect(await world.expired('battles')).toEqual([])
      expect(await world.still(await world.expiry('battles'))).toEqual([])
      expect(await world.remove('killmails')).toEqual(['1', '2'])
      expect(await world.expired('battles')).toEqual(['battle 1'])
      expect(await world.still(await world.expiry('battles'))).toEqual(['battle 1'])
      expect(await world.remove('battles')).toEqual(['battle 1'])
      expect(await world.database.query('SELECT killmail_id FROM killmail_events')).toEqual([{ killmail_id: '999' }])
      expect(await world.database.query('SELECT FROM battle_killmails')).toEqual([])
    })

    it('stays while a killmail of it is back-filled or unprocessed', async () => {
      await world.database.query(`UPDATE killmail_events SET fetched_at = '2026-11-22' WHERE killmail_id = 2`)
      expect(await world.remove('killmails')).toEqual(['1'])
      expect(await world.expired('battles')).toEqual([])
    })

    it('is left alone by a killmail that came to it since', async () => {
      await world.remove('killmails')
      const expiry = await world.expiry('battles')
      await world.killmail({ id: 3, at: '2 days', battle: 1 })
      expect(await world.still(expiry)).toEqual([])
    })

    it('stays while battle_killmails has a killmail after the horizon, although no killmail is left', async () => {
      await world.remove('killmails')
      await world.battleKillmail(1, 77, '0')
      expect(await world.expired('battles')).toEqual([])
    })
  })

  describe('what never expires', () => {
    it('is the newest row, and whatever is as new', async () => {
      await world.clear()
      await world.killmail({ id: 1, at: '-2 days' })
      await world.killmail({ id: 2, at: '-1 day' })
      await world.killmail({ id: 3, at: '-1 day' })
      expect(await world.expired('killmails')).toEqual(['1'])
      // Our own deletes make no other row the newest: the deleting statement does without that look.
      expect(await world.still(await world.expiry('killmails'))).toEqual(['1', '2', '3'])
    })

    it('is a row without a time, or with one that no calendar has', async () => {
      await world.database.query('ALTER TABLE battles ALTER end_time DROP NOT NULL')
      for (const [id, end] of [
        [1, null],
        [2, '-infinity'],
        [3, '0044-03-15 BC'],
        [4, 'infinity'],
        [5, '0001-01-01 00:00+00'],
      ]) {
        await world.database.query(
          `INSERT INTO battles (id, system_id, start_time, end_time, total_kills, zkill_related_url) VALUES ($1, 1, now(), $2, 2, '')`,
          [battleId(Number(id)), end],
        )
      }
      expect(await world.expired('battles')).toEqual(['battle 5'])
      await world.killmail({ id: 1, battle: 1 })
      expect(await world.expired('killmails')).toEqual([])
    })
  })

  describe('a hold', () => {
    const hold = (policy: string, from: string, to: string, until: string) =>
      world.database.query(
        `INSERT INTO scheduler.archive_hold VALUES ($1, $2::timestamptz + $3::interval, $2::timestamptz + $4::interval, now() + $5::interval)`,
        [policy, horizon, from, to, until],
      )

    it('keeps rows of its policy and time, from the first instant up to the last', async () => {
      for (const [id, at] of [
        [1, '-4 days'],
        [2, '-3 days'],
        [3, '-2 days'],
        [4, '-1 day'],
      ] as const)
        await world.killmail({ id, at })
      await hold('killmails', '-3 days', '-1 day', '1 hour')
      await hold('battles', '-1 year', '0', '1 hour')
      expect(await world.expired('killmails')).toEqual(['1', '4'])
      expect(await world.still(await world.expiry('killmails'))).toEqual(['1', '4'])
    })

    it('ends', async () => {
      await world.killmail({ id: 1 })
      await hold('killmails', '-1 year', '0', '-1 second')
      expect(await world.expired('killmails')).toEqual(['1'])
    })

    it('of a battle keeps its killmails, too', async () => {
      await world.battle(1)
      await world.killmail({ id: 1, battle: 1 })
      await world.killmail({ id: 2 })
      await hold('battles', '-1 year', '0', '1 hour')
      expect(await world.expired('killmails')).toEqual(['2'])
    })
  })

  describe('selectExpiredKeys', () => {
    it('gives keys in order of time and key, with the whole time, and the month in UTC', async () => {
      await world.killmail({ id: 10, at: '-1 day' })
      await world.killmail({ id: 9, at: '-1 day' })
      await world.killmail({ id: 8, at: '-1 day -1 microsecond' })
      await world.database
        .query(`INSERT INTO killmail_events (killmail_id, system_id, occurred_at, zkb_url, fetched_at, processed_at)
        VALUES (7, 1, '2021-02-01 00:30:00.123456+01', '', '2021-01-01', now())`)
      const keys = (await selectExpiredKeys(world.db, await world.expiry('killmails'), { limit: 10 })).flatMap(
        unpackKeys,
      )
      expect(keys).toEqual([
        { key: ['7'], time: '2021-01-31 23:30:00.123456+00', month: '2021-01' },
        { key: ['8'], time: '2021-11-22 01:59:59.999999+00', month: '2021-11' },
        { key: ['9'], time: '2021-11-22 02:00:00.000000+00', month: '2021-11' },
        { key: ['10'], time: '2021-11-22 02:00:00.000000+00', month: '2021-11' },
      ])
    })

    it('gives at most as many as asked for, and goes on behind the last', async () => {
      for (const id of [1, 2, 3, 4, 5]) await world.killmail({ id })
      const expiry = await world.expiry('killmails')
      const seen: string[] = []
      let after: { key: readonly string[]; time: string } | undefined
      for (let slice = 0; slice < 5; slice += 1) {
        const options = { limit: 2, ...(after === undefined ? {} : { after }) }
        const keys = (await selectExpiredKeys(world.db, expiry, options)).flatMap(unpackKeys)
        seen.push(...keys.map(({ key }) => key.join()))
        after = keys.at(-1) ?? after
      }
      expect(seen).toEqual(['1', '2', '3', '4', '5'])
    })

    it('packs many keys, and loses none between two packs', async () => {
      await world.database.query(`
        INSERT INTO killmail_events (killmail_id, system_id, occurred_at, zkb_url, fetched_at, processed_at)
        SELECT 10000 + k, 1, timestamptz '2020-01-01' - k * interval '1 minute', '', '2020-01-01', now() FROM generate_series(1, 1200) k`)
      const packs = await selectExpiredKeys(world.db, await world.expiry('killmails'), { limit: 1100 })
      expect(packs.map(({ count }) => count)).toEqual([500, 500, 100])
      const ids = packs.flatMap(unpackKeys).map(({ key }) => Number(key[0]))
      expect(ids).toEqual(Array.from({ length: 1100 }, (_, index) => 11200 - index))
    })

    it('goes on behind a composite key whatever its types', async () => {
      await world.database.query(`CREATE TABLE odd (
          "The day" date, "k""2" text COLLATE "C", at timestamptz NOT NULL, PRIMARY KEY ("The day", "k""2"));
        INSERT INTO odd SELECT '2020-01-01', k, '2020-06-01' FROM unnest(ARRAY['b', 'a', '"', 'ä']) k;
        INSERT INTO odd VALUES ('2020-01-02', '', '2020-06-01'), ('2026-01-01', '', '2026-06-01')`)
      const expiry = await world.expiry('odd', { policies: [{ name: 'odd', relation: 'odd', timeColumn: 'at' }] })
      const first = (await selectExpiredKeys(world.db, expiry, { limit: 2 })).flatMap(unpackKeys)
      const after = first.at(-1)!
      const rest = (await selectExpiredKeys(world.db, expiry, { limit: 9, after })).flatMap(unpackKeys)
      expect([...first, ...rest].map(({ key }) => key)).toEqual([
        ['2020-01-01', '"'],
        ['2020-01-01', 'a'],
        ['2020-01-01', 'b'],
        ['2020-01-01', 'ä'],
        ['2020-01-02', ''],
      ])
      await world.database.query('DROP TABLE odd')
    })
  })

  describe('countExpired', () => {
    it('tells the same before and after the killmails have gone', async () => {
      await world.battle(1, '-3 days')
      await world.killmail({ id: 1, battle: 1, at: '-4 days' })
      await world.killmail({ id: 2, battle: 1, at: '-3 days' })
      await world.battle(2)
      await world.killmail({ id: 3, battle: 2, fetchedAt: '2026-11-22' })
      await world.battle(3)
      expect(await world.count('killmails')).toEqual({
        rows: 2,
        oldest: '2021-11-19 02:00:00.000000+00',
        newest: '2021-11-20 02:00:00.000000+00',
        children: new Map([
          ['public.killmail_enrichments', 2],
          ['public.pilot_ship_history', 4],
        ]),
      })
      const battles = {
        rows: 2,
        oldest: '2021-11-20 02:00:00.000000+00',
        newest: '2021-11-22 02:00:00.000000+00',
        children: new Map([
          ['public.battle_killmails', 2],
          ['public.battle_participants', 0],
        ]),
      }
      expect(await world.count('battles')).toEqual(battles)
      await world.remove('killmails')
      expect(await world.count('battles')).toEqual(battles)
      expect(await world.expired('battles')).toEqual(['battle 1', 'battle 3'])
    })

    it('of nothing is nothing', async () => {
      expect(await world.count('battles')).toMatchObject({ rows: 0, oldest: undefined, newest: undefined })
    })
  })

  it('an index on the link of a member makes it part of the deleting statement', async () => {
    await world.battle(1)
    await world.killmail({ id: 1, battle: 1 })
    // Only killmail_events knows of the live one, and no index leads there.
    await world.database.query(
      `INSERT INTO killmail_events (killmail_id, system_id, occurred_at, zkb_url, processed_at, battle_id)
      VALUES (2, 1, now(), '', now(), $1)`,
      [battleId(1)],
    )
    expect(await world.expired('killmails')).toEqual([])
    expect(await world.still(await world.expiry('killmails'))).toEqual(['1'])
    await world.database.query('CREATE INDEX by_battle ON killmail_events (battle_id) WHERE battle_id IS NOT NULL')
    expect(await world.still(await world.expiry('killmails'))).toEqual([])
    await world.database.query('DROP INDEX by_battle')
  })

  it('a policy that is not in the report, or a group that is not there, is an error', async () => {
    const expiry = await world.expiry('killmails')
    expect(() => expiryOf({ policies: [], unindexed: new Set() }, 'killmails', expiry.horizons, undefined)).toThrow(
      "no policy 'killmails' in this report",
    )
    await expect(selectExpiredKeys(world.db, { ...expiry, policies: [] }, { limit: 1 })).rejects.toThrow(
      "no policy 'battles', which 'killmails' expires with",
    )
  })
})
