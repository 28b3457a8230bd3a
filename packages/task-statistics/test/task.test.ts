import { createTestRole, type TestDatabase } from '@battlescope/scheduler-testing'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { generateRows } from './generated-rows.js'
import { compareWithOracle } from './oracle.js'
import { createDatabase, run, runToEnd } from './support.js'

let database: TestDatabase
beforeEach(async () => {
  database = await createDatabase()
})
afterEach(() => database.drop())

const targets = (result: Awaited<ReturnType<typeof run>>) =>
  result.actions.map(({ kind, target }) => `${kind} ${target}`)
const daysAgo = (days: number) => new Date(Date.now() - days * 86_400_000).toISOString().slice(0, 10)

async function expectEqual(): Promise<void> {
  const { stored, expected } = await compareWithOracle(database)
  expect(stored).toEqual(expected)
}

/** As if this much of the time for a re-check had passed. */
async function moveSweepBack(hours: number): Promise<void> {
  await database.query(`
    UPDATE scheduler.checkpoint SET data = data
      || jsonb_build_object('sweptAt', to_char((data->>'sweptAt')::timestamptz - interval '${hours} hours', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'))
      || CASE WHEN jsonb_typeof(data->'sweep') = 'object' THEN jsonb_build_object('sweep', data->'sweep'
        || jsonb_build_object('startedAt', to_char((data->'sweep'->>'startedAt')::timestamptz - interval '${hours} hours', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'))) ELSE '{}' END`)
}

describe('in mode trailing', () => {
  it('counts everything first, the newest days first, and then writes nothing until something changes', async () => {
    await generateRows(database, 600)
    const config = { sliceRows: 150 } as const
    const first = await run(database, { config })
    expect(first.outcome).toBe('succeeded')
    expect(first.actions.length).toBeGreaterThan(3)
    expect(targets(first)).toEqual([...targets(first)].sort().reverse())
    await expectEqual()
    expect((await run(database, { config })).actions).toEqual([])
  })

  it('writes the days that changed, and of these the rows that differ', async () => {
    await generateRows(database, 300)
    await runToEnd(database)
    await database.query(`INSERT INTO killmail_events (killmail_id, system_id, occurred_at, zkb_url) VALUES (-1, 5, now(), '');
      DELETE FROM pilot_ship_history WHERE killmail_id = 60; DELETE FROM killmail_events WHERE killmail_id = 60`)
    const before = await database.query<{ xmin: string }>(
      `SELECT DISTINCT xmin::text FROM scheduler.statistics_by_alliance`,
    )
    const { actions, outcome, reason: why } = await run(database)
    expect([outcome, why]).toEqual(['succeeded', undefined])
    expect(actions.every(({ target, reason }) => target >= daysAgo(2) && reason?.startsWith('the last 3 days: '))).toBe(
      true,
    )
    expect(actions.length).toBeGreaterThan(0)
    await expectEqual()
    const rows = await database.query<{ written: number; all: number }>(
      `SELECT count(*) FILTER (WHERE xmin::text <> ALL ($1))::int AS written, count(*)::int AS all FROM scheduler.statistics_by_alliance WHERE day >= $2`,
      [before.map(({ xmin }) => xmin), daysAgo(2)],
    )
    expect(rows[0]?.written).toBeLessThan(rows[0]?.all ?? 0)
  })

  it('finds a change of an older day by the re-check, piece by piece and within the stated time', async () => {
    await generateRows(database, 600)
    const config = { sliceRows: 100, recheckWithin: 4 * 86_400_000 }
    await runToEnd(database, { config })
    await database.query(`UPDATE killmail_events SET isk_value = 1 WHERE occurred_at < now() - interval '5 days'`)
    expect((await run(database, { config })).actions).toEqual([])
    // Three days are its share of the four: the re-check begins, and nothing of it is due in that very moment.
    await moveSweepBack(72)
    expect((await run(database, { config })).actions).toEqual([])
    const found: string[] = []
    for (let hours = 0; hours < 72; hours += 12) {
      await moveSweepBack(12)
      const { actions, outcome } = await run(database, { config })
      expect(outcome).toBe('succeeded')
      found.push(...actions.map(({ target }) => target))
    }
    expect(found.length).toBeGreaterThan(1)
    expect(found).toEqual([...found].sort().reverse())
    await expectEqual()
  })

  it('says so when the re-check does not end in time', async () => {
    await generateRows(database, 300)
    const config = { sliceRows: 100 }
    await runToEnd(database, { config })
    await moveSweepBack(7 * 24)
    await run(database, { config })
    await moveSweepBack(7 * 24 + 1)
    expect((await run(database, { config })).findings).toMatchObject([{ key: 'recheck-late', severity: 'warning' }])
    expect((await run(database, { config })).findings).toEqual([])
  })

  it('goes on where the budget ended, slice by slice', async () => {
    await generateRows(database, 600)
    const config = { sliceRows: 100 }
    let runs = 0
    for (;;) {
      const stop = new AbortController()
      const { outcome, actions } = await run(database, {
        config,
        stop: stop.signal,
        beforeAction: () => stop.abort('SIGTERM'),
      })
      runs += 1
      expect(actions.length).toBeLessThanOrEqual(1)
      if (outcome !== 'partial') break
    }
    expect(runs).toBeGreaterThan(4)
    await expectEqual()
  })

  it('takes smaller slices when one takes too long', async () => {
    await generateRows(database, 300)
    // The trigger makes every statement that writes days of alliances in bulk too slow.
    await database.query(`
      CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN IF (SELECT count(DISTINCT day) FROM n) > 4 THEN PERFORM pg_sleep(20); END IF; RETURN NULL; END $$;
      CREATE TRIGGER slow AFTER INSERT ON scheduler.statistics_by_alliance REFERENCING NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION slow()`)
    const first = await run(database)
    expect(first).toMatchObject({ outcome: 'partial' })
    await database.query(`UPDATE scheduler.checkpoint SET data = data || '{"halvings": 9}'`)
    await runToEnd(database)
    await expectEqual()
    const [cursor] = await database.query<{ data: unknown }>(`SELECT data FROM scheduler.checkpoint`)
    expect(cursor?.data).toMatchObject({ sweep: null, halvings: 8 })
  })

  it('keeps only the rollups that are wanted, and counts one that is added later', async () => {
    await generateRows(database, 200)
    await runToEnd(database, { config: { rollups: ['system'] } })
    const { stored, expected } = await compareWithOracle(database)
    expect(stored).toEqual({ ...stored, system: expected['system'], alliance: [], corporation: [] })
    await runToEnd(database)
    await expectEqual()
  })

  it('says what is missing, and is skipped when everything is', async () => {
    await database.query('DROP TABLE pilot_ship_history')
    expect((await run(database)).findings).toMatchObject([{ key: 'missing', severity: 'info' }])
    await database.query('DROP TABLE battle_killmails, battle_participants, killmail_events, battles')
    expect(await run(database)).toMatchObject({
      outcome: 'skipped',
      reason: 'none of the relations exists',
      findings: [],
    })
  })

  it('needs SELECT on the tables, and its own schema', async () => {
    await generateRows(database, 100)
    const role = await createTestRole(database, {
      grants: `GRANT USAGE ON SCHEMA scheduler TO $role; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA scheduler TO $role`,
    })
    expect(await run(database, { databaseUrl: role.url })).toMatchObject({ outcome: 'failed', errorCode: '42501' })
    await database.query(
      `GRANT SELECT ON killmail_events, pilot_ship_history, battles, battle_killmails, battle_participants TO ${role.name}`,
    )
    expect(await run(database, { databaseUrl: role.url, config: { growthRelations: ['public.*'] } })).toMatchObject({
      outcome: 'succeeded',
    })
    await expectEqual()
  })
})

describe('frozen days', () => {
  const archived = (relation: string, first: string, last: string, state = 'deleted') =>
    database.query(
      `INSERT INTO scheduler.archive_batch (id, policy, relation, month, horizon, slot_id, ticket, state, first_at, last_at)
       VALUES (gen_random_uuid(), 'p', $1, '2020-01-01', now(), 's', gen_random_uuid(), $2, $3, $4)`,
      [relation, state, first, last],
    )
  const parts = (select: string) =>
    database.query(
      `SELECT day::text, system_id, ${select} FROM scheduler.statistics_by_system WHERE day < current_date - 10 ORDER BY 1, 2`,
    )
  const killmailColumns = 'killmails, isk_destroyed, isk_lost'
  const battleColumns = 'battles, participants, biggest_battle_id, biggest_battle_killmails'

  beforeEach(async () => {
    await generateRows(database, 1000)
    await runToEnd(database)
  })
  const all = { config: { trailingDays: 60 } }
  const removeOld = () =>
    database.query(`
      DELETE FROM pilot_ship_history WHERE occurred_at < current_date - 10;
      DELETE FROM killmail_events WHERE occurred_at < current_date - 10`)
  const removeOldBattles = () => database.query('DELETE FROM battles WHERE start_time < current_date - 10')

  it('keep the part of a row whose source is archived, and count the other', async () => {
    const [killmails, ships] = [
      await parts(killmailColumns),
      await database.query(
        `SELECT * FROM scheduler.statistics_by_ship_type WHERE day < current_date - 10 ORDER BY 1, 2`,
      ),
    ]
    await archived('public.killmail_events', `${daysAgo(40)}T00:00:00Z`, `${daysAgo(11)}T23:59:59Z`)
    await removeOld()
    await run(database, all)
    expect(await parts(killmailColumns)).toEqual(killmails)
    expect(
      await database.query(
        `SELECT * FROM scheduler.statistics_by_ship_type WHERE day < current_date - 10 ORDER BY 1, 2`,
      ),
    ).toEqual(ships)
    // Battles are not archived: when they go, they go from the rollups, and rows that only they made vanish.
    await removeOldBattles()
    await run(database, all)
    expect(
      (await parts(battleColumns)).every(({ battles, biggest_battle_id: id }) => battles === '0' && id === null),
    ).toBe(true)
    expect(await parts(killmailColumns)).toEqual(killmails.filter(({ killmails: count }) => count !== '0'))
    expect(
      await database.query(`SELECT 1 FROM scheduler.statistics_by_security_type WHERE day < current_date - 10`),
    ).toEqual([])
    expect((await run(database, all)).actions).toEqual([])
  })

  it('keep battles by the archive of battles', async () => {
    const before = await parts(battleColumns)
    const security = await database.query('SELECT * FROM scheduler.statistics_by_security_type ORDER BY 1, 2')
    await archived('public.battles', `${daysAgo(60)}T00:00:00Z`, `${daysAgo(11)}T23:59:59Z`)
    await database.query('UPDATE killmail_events SET battle_id = NULL')
    await removeOldBattles()
    await run(database, all)
    expect(await parts(battleColumns)).toEqual(before)
    expect(await database.query('SELECT * FROM scheduler.statistics_by_security_type ORDER BY 1, 2')).toEqual(security)
  })

  it('are those of deleted batches alone, and every other day is counted as ever', async () => {
    await archived('public.killmail_events', `${daysAgo(15)}T00:00:00Z`, `${daysAgo(15)}T10:00:00Z`)
    await archived('public.killmail_events', `${daysAgo(14)}T00:00:00Z`, `${daysAgo(14)}T23:00:00Z`, 'verified')
    await archived('public.audit_logs', `${daysAgo(13)}T00:00:00Z`, `${daysAgo(13)}T23:00:00Z`)
    const kept = await database.query(`SELECT * FROM scheduler.statistics_by_alliance WHERE day = $1 ORDER BY 1, 2`, [
      daysAgo(15),
    ])
    await database.query('UPDATE killmail_events SET isk_value = 3')
    const { actions } = await run(database, all)
    expect(actions.some(({ target }) => target.includes(daysAgo(14)) || target < daysAgo(14))).toBe(true)
    expect(
      await database.query(`SELECT * FROM scheduler.statistics_by_alliance WHERE day = $1 ORDER BY 1, 2`, [
        daysAgo(15),
      ]),
    ).toEqual(kept)
    const { stored, expected } = await compareWithOracle(database, ['alliance'])
    const others = (rows: typeof stored) => rows['alliance']?.filter(({ day }) => day !== daysAgo(15))
    expect(others(stored)).toEqual(others(expected))
  })

  it('are those older than freezeAfter, once they were counted, where nothing is archived', async () => {
    const before = await compareWithOracle(database)
    await database.query('DELETE FROM battle_killmails')
    await removeOld()
    await removeOldBattles()
    const config = { trailingDays: 60, freezeAfter: { months: 0, days: 9 } }
    await run(database, { config })
    const old = (rows: typeof before.stored) =>
      Object.fromEntries(
        Object.entries(rows).map(([name, list]) => [name, list.filter(({ day }) => String(day) < daysAgo(10))]),
      )
    expect(old((await compareWithOracle(database)).stored)).toEqual(old(before.stored))
    // Late: a day that was never counted is.
    await database.query(
      `INSERT INTO killmail_events (killmail_id, system_id, occurred_at, zkb_url) VALUES (-1, 5, '2019-01-01 12:00Z', '')`,
    )
    await run(database, { config, request: { do: 'recalculate', from: '2019-01-01', to: '2019-01-01' } })
    expect(
      await database.query(`SELECT system_id, killmails FROM scheduler.statistics_by_system WHERE day = '2019-01-01'`),
    ).toEqual([{ system_id: '5', killmails: '1' }])
  })
})

describe('the growth of tables', () => {
  const growthRelations = ['public.*', 'scheduler.task*']

  it('is measured once a day, and adds up to what PostgreSQL says', async () => {
    await generateRows(database, 200)
    await database.query('CREATE TABLE "Odd.name" (t text); ANALYZE killmail_events')
    const first = await run(database, { config: { growthRelations, rollups: [] } })
    expect(targets(first)).toEqual(['measure-sizes scheduler.statistics_table_growth'])
    const rows = await database.query<{ relation: string; row_estimate: string | null; total: boolean }>(
      `SELECT relation, row_estimate, heap_bytes + toast_bytes + index_bytes = pg_total_relation_size(relation::regclass) AS total
       FROM scheduler.statistics_table_growth WHERE relation LIKE 'public.%' AND day = (now() AT TIME ZONE 'UTC')::date`,
    )
    expect(rows.every(({ total }) => total)).toBe(true)
    expect(rows.find(({ relation }) => relation === 'public.killmail_events')?.row_estimate).toBe('190')
    expect(rows.find(({ relation }) => relation === 'public."Odd.name"')?.row_estimate).toBeNull()
    expect((await run(database, { config: { growthRelations, rollups: [] } })).actions).toEqual([])
    await database.query('CREATE TABLE later (i int)')
    expect((await run(database, { config: { growthRelations, rollups: [] } })).actions).toHaveLength(1)
  })

  it('does not stop the rest when a relation is locked', async () => {
    await generateRows(database, 100)
    await database.query(
      'BEGIN; CREATE TABLE locked (i int); COMMIT; BEGIN; LOCK TABLE locked IN ACCESS EXCLUSIVE MODE',
    )
    const result = await run(database, { config: { growthRelations } })
    await database.query('ROLLBACK')
    expect(result).toMatchObject({ outcome: 'succeeded', findings: [{ key: 'sizes-not-measured' }] })
    await expectEqual()
  })
})

describe('recalculate', () => {
  const request = (from: number, to: number) => ({ do: 'recalculate', from: daysAgo(from), to: daysAgo(to) }) as const
  const spoil = () =>
    database.query(`
      UPDATE scheduler.statistics_by_system SET killmails = killmails + 1;
      DELETE FROM scheduler.statistics_by_alliance WHERE alliance_id = 99000001;
      INSERT INTO scheduler.statistics_by_corporation SELECT day, 1, 0, 1, 2, 3, 0 FROM (SELECT DISTINCT day FROM scheduler.statistics_by_corporation) d`)
  beforeEach(async () => {
    await generateRows(database, 600)
    await runToEnd(database)
    await spoil()
  })

  it('makes the days of the range right, says what differed, and leaves the others', async () => {
    const result = await run(database, { request: request(8, 4) })
    expect(result.outcome).toBe('succeeded')
    const [finding] = result.findings
    expect(finding).toMatchObject({ key: 'differences', severity: 'info' })
    const stored = await database.query<{ rollup: string; added: string; changed: string; removed: string }>(
      'SELECT rollup, sum(added) AS added, sum(changed) AS changed, sum(removed) AS removed FROM scheduler.statistics_difference GROUP BY 1 ORDER BY 1',
    )
    expect(stored).toMatchObject([
      { rollup: 'alliance', changed: '0', removed: '0' },
      { rollup: 'corporation', added: '0', changed: '0', removed: '5' },
      { rollup: 'system', added: '0', removed: '0' },
    ])
    const after = await compareWithOracle(database, ['system', 'alliance', 'corporation'])
    const inside = ({ day }: Readonly<Record<string, string | null>>) =>
      String(day) >= daysAgo(8) && String(day) <= daysAgo(4)
    for (const name of ['system', 'alliance', 'corporation']) {
      expect(after.stored[name]?.filter(inside)).toEqual(after.expected[name]?.filter(inside))
      expect(after.stored[name]?.filter((row) => !inside(row))).not.toEqual(
        after.expected[name]?.filter((row) => !inside(row)),
      )
    }
    expect((await run(database, { request: request(8, 4) })).findings).toEqual([])
  })

  it('in a dry run says the same and changes nothing', async () => {
    const before = await compareWithOracle(database)
    const dry = await run(database, { request: request(8, 4), dryRun: true })
    expect((await compareWithOracle(database)).stored).toEqual(before.stored)
    expect(dry.actions[0]?.reason).toMatch(
      /^recalculation of .*: \d+ of system, \d+ of alliance, 5 of corporation differ$/,
    )
    const real = await run(database, { request: request(8, 4) })
    const sorted = (findings: typeof dry.findings) => {
      const details = findings[0]?.details as { differences: { rollup: string; day: string }[] }
      return details.differences.toSorted((a, b) => (a.day + a.rollup < b.day + b.rollup ? -1 : 1))
    }
    expect(sorted(dry.findings)).toEqual(sorted(real.findings))
  })

  it('goes on where it was stopped when it is asked again', async () => {
    const config = { sliceRows: 50 }
    const outcomes: string[] = []
    const done: string[] = []
    for (let runs = 0; runs < 40; runs += 1) {
      const stop = new AbortController()
      const result = await run(database, {
        config,
        request: request(10, 0),
        stop: stop.signal,
        beforeAction: () => stop.abort('SIGTERM'),
      })
      outcomes.push(result.outcome)
      done.push(...result.actions.map(({ target }) => target))
      if (result.outcome !== 'partial') break
      expect(result.remaining).toBeGreaterThan(0)
    }
    expect(outcomes.length).toBeGreaterThan(3)
    expect(outcomes.at(-1)).toBe('succeeded')
    expect(new Set(done).size).toBe(done.length)
    const { stored, expected } = await compareWithOracle(database)
    const inside = (rows: typeof stored) =>
      Object.fromEntries(
        Object.entries(rows).map(([name, list]) => [name, list.filter(({ day }) => String(day) >= daysAgo(10))]),
      )
    expect(inside(stored)).toEqual(inside(expected))
    expect(
      await database.query(
        'SELECT count(*)::int AS unfinished FROM scheduler.statistics_recalculation WHERE finished_at IS NULL',
      ),
    ).toEqual([{ unfinished: 0 }])
  })

  it('takes smaller slices when one is cancelled for taking too long, and comes to its end in the same run', async () => {
    let cancelled = 0
    const result = await run(database, {
      config: { sliceRows: 1000 },
      request: request(10, 0),
      beforeAction: () => {
        if (cancelled < 2) {
          cancelled += 1
          throw Object.assign(new Error('canceling statement due to statement timeout'), { code: '57014' })
        }
      },
    })
    expect(result.outcome).toBe('succeeded')
    expect(cancelled).toBe(2)
    // Of eleven days, the two that were cancelled first.
    const [first = 0, second = 0, ...rest] = result.actions.map(({ target }) => {
      const [from = '', to = from] = target.split('..')
      return 1 + (Date.parse(to) - Date.parse(from)) / 86_400_000
    })
    expect(second).toBeLessThanOrEqual(first)
    for (const days of rest) expect(days).toBeLessThan(first)
    expect(rest.reduce((sum, days) => sum + days, 0)).toBe(11)
    const { stored, expected } = await compareWithOracle(database, ['system'])
    const inside = ({ day }: Readonly<Record<string, string | null>>) => String(day) >= daysAgo(10)
    expect(stored['system']?.filter(inside)).toEqual(expected['system']?.filter(inside))
  })

  it('fails when a day by itself takes too long: it cannot be cut', async () => {
    const tooLong = Object.assign(new Error('canceling statement due to statement timeout'), { code: '57014' })
    const result = await run(database, {
      request: request(3, 3),
      beforeAction: () => {
        throw tooLong
      },
    })
    expect(result).toMatchObject({ outcome: 'failed' })
  })

  it('finishes no slot, and refuses what is no range of days', async () => {
    const slots = () => database.query('SELECT last_slot_at FROM scheduler.task')
    const before = await slots()
    await run(database, { request: request(2, 1) })
    expect(await slots()).toEqual(before)
    for (const wrong of [
      { from: '2026-02-30', to: '2026-03-01' },
      { from: '2026-03-02', to: '2026-03-01' },
      { from: 'x', to: 'y' },
    ]) {
      await expect(run(database, { request: { do: 'recalculate', ...wrong } })).rejects.toMatchObject({ code: 'usage' })
    }
  })
})
