/** Mode exact: the triggers, what they note, and that no note is lost between transactions that overlap. */
import { openConnections, type DatabaseConnections } from '@battlescope/database'
import { createTestRole, type TestDatabase } from '@battlescope/scheduler-testing'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { generateRows } from './generated-rows.js'
import { compareWithOracle } from './oracle.js'
import { createDatabase, run, runToEnd } from './support.js'

const config = { mode: 'exact' } as const
const sources = ['killmail_events', 'pilot_ship_history', 'battles', 'battle_killmails', 'battle_participants']

let database: TestDatabase
let connections: DatabaseConnections
beforeEach(async () => {
  database = await createDatabase()
  connections = openConnections({ url: database.url, applicationName: 'writer' })
})
afterEach(async () => {
  await connections.close()
  await database.drop()
})

const install = () => run(database, { config, request: { do: 'install-triggers' } })
const targets = async () => (await run(database, { config })).actions.map(({ target }) => target)
const notes = () =>
  database.query(
    `SELECT DISTINCT to_char(day, 'YYYY-MM-DD') AS day, battle_id IS NOT NULL AS battle FROM scheduler.changed_days ORDER BY 1`,
  )
async function expectEqual(): Promise<void> {
  const { stored, expected } = await compareWithOracle(database)
  expect(stored).toEqual(expected)
}

/** Runs statements in a transaction that stays open until the returned function is called. */
async function openTransaction(...statements: string[]): Promise<() => Promise<void>> {
  let commit: () => void = () => undefined
  const released = new Promise<void>((resolve) => (commit = resolve))
  let begun: () => void = () => undefined
  const ready = new Promise<void>((resolve) => (begun = resolve))
  const ended = connections.transaction({ statementTimeoutMs: 30_000 }, async ({ db }) => {
    for (const statement of statements) await sql.raw(statement).execute(db)
    begun()
    await released
  })
  await Promise.race([ready, ended])
  return async () => {
    commit()
    await ended
  }
}

const killmail = (id: number, at: string, system = 5) =>
  `INSERT INTO killmail_events (killmail_id, system_id, occurred_at, isk_value, zkb_url) VALUES (${id}, ${system}, '${at}', 7, '')`

describe('installing', () => {
  it('is recorded, counts everything once more, and from then on only what was noted', async () => {
    await generateRows(database, 300)
    await runToEnd(database)
    // Before the triggers, and older than the trailing days: only counting everything finds it.
    await database.query(killmail(-1, '2020-05-05T12:00Z'))
    const { actions } = await install()
    expect(actions.map(({ kind, target }) => `${kind} ${target}`)).toEqual(
      sources.map((name) => `install-triggers public.${name}`),
    )
    expect((await run(database, { config })).actions.length).toBeGreaterThan(0)
    await expectEqual()
    expect(await targets()).toEqual([])
    await database.query(
      `${killmail(-2, '2019-05-05T12:00Z')}; UPDATE killmail_events SET isk_value = 5 WHERE killmail_id = -1`,
    )
    expect(await targets()).toEqual(['2020-05-05', '2019-05-05'])
    await expectEqual()
    expect(await notes()).toEqual([])
    expect(await targets()).toEqual([])
  })

  it('in a dry run lists the tables and makes nothing', async () => {
    const { actions } = await run(database, { config, request: { do: 'install-triggers' }, dryRun: true })
    expect(actions).toHaveLength(5)
    expect(
      await database.query("SELECT 1 FROM pg_trigger WHERE NOT tgisinternal AND tgname LIKE 'statistics%'"),
    ).toEqual([])
  })

  it('may be done again, and undone; undone, nothing is left, and the mode falls back', async () => {
    await install()
    await runToEnd(database, { config })
    await install()
    await runToEnd(database, { config })
    await database.query(killmail(1, '2020-05-05T12:00Z'))
    await run(database, { config, request: { do: 'remove-triggers' } })
    expect(
      await database.query(
        `SELECT 1 FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace WHERE nspname = 'scheduler'`,
      ),
    ).toEqual([])
    expect(await notes()).toEqual([])
    const { findings, outcome } = await run(database, { config })
    expect(outcome).toBe('succeeded')
    expect(findings).toMatchObject([{ key: 'triggers-missing', severity: 'warning' }])
  })

  it('is not taken for complete when a trigger is disabled, and everything is counted again when it is enabled', async () => {
    await install()
    await runToEnd(database, { config })
    await database.query('ALTER TABLE battles DISABLE TRIGGER statistics_note_update')
    expect((await run(database, { config })).findings).toMatchObject([{ key: 'triggers-missing' }])
    await database.query(killmail(1, '2020-05-05T12:00Z'))
    expect(await targets()).toEqual(['2020-05-05'])
    await expectEqual()
  })

  it('waits for the lock for two seconds at most', async () => {
    const commit = await openTransaction('LOCK TABLE killmail_events IN ROW EXCLUSIVE MODE')
    expect(await install()).toMatchObject({ outcome: 'failed', errorCode: '55P03' })
    await commit()
    expect((await install()).outcome).toBe('succeeded')
  })

  it("needs TRIGGER on the tables; whoever writes to them needs nothing in the scheduler's schema", async () => {
    const role = await createTestRole(database, { grants: 'ALTER SCHEMA scheduler OWNER TO $role' })
    for (const { name } of await database.query<{ name: string }>(
      `SELECT relname AS name FROM pg_class WHERE relnamespace = 'scheduler'::regnamespace AND relkind = 'r'`,
    ))
      await database.query(`ALTER TABLE scheduler."${name}" OWNER TO ${role.name}`)
    for (const name of sources) await database.query(`GRANT SELECT ON ${name} TO ${role.name}`)
    const asRole = { config, databaseUrl: role.url }
    expect(await run(database, { ...asRole, request: { do: 'install-triggers' } })).toMatchObject({
      outcome: 'failed',
      errorCode: '42501',
    })
    for (const name of sources) await database.query(`GRANT TRIGGER ON ${name} TO ${role.name}`)
    expect(await run(database, { ...asRole, request: { do: 'install-triggers' } })).toMatchObject({
      outcome: 'succeeded',
    })
    await runToEnd(database, asRole)
    const service = await createTestRole(database)
    await database.query(
      `GRANT INSERT ON killmail_events TO ${service.name}; SET ROLE ${service.name}; ${killmail(1, '2020-05-05T12:00Z')}; RESET ROLE`,
    )
    expect((await run(database, asRole)).actions.map(({ target }) => target)).toEqual(['2020-05-05'])
  })
})

describe('notes', () => {
  beforeEach(async () => {
    await generateRows(database, 60)
    await install()
    await runToEnd(database, { config })
  })

  it('tell of bulk changes by days, of battles by themselves, and of nothing when nothing changed', async () => {
    await database.query('UPDATE killmail_events SET isk_value = 1 WHERE false')
    expect(await notes()).toEqual([])
    await database.query(`INSERT INTO killmail_events (killmail_id, system_id, occurred_at, zkb_url)
      SELECT -i, 5, timestamptz '2020-01-01 23:00Z' + i * interval '1 hour', '' FROM generate_series(1, 30) AS i`)
    expect(await notes()).toEqual([
      { day: '2020-01-02', battle: false },
      { day: '2020-01-03', battle: false },
    ])
    await database.query('UPDATE battle_participants SET ship_type_id = 1')
    expect(await notes()).toContainEqual({ day: null, battle: true })
    await database.query('TRUNCATE pilot_ship_history')
    await runToEnd(database, { config })
    await expectEqual()
  })

  it('tell of both days of what was moved', async () => {
    await database.query(`${killmail(-1, '2020-01-01T12:00Z')}; ${killmail(-2, '2020-02-01T12:00Z')}`)
    await runToEnd(database, { config })
    await database.query(`UPDATE killmail_events SET occurred_at = '2020-03-01T12:00Z' WHERE killmail_id = -1`)
    expect(await targets()).toEqual(['2020-03-01', '2020-01-01'])
    await expectEqual()
  })

  it('tell of all that a deleted battle takes along', async () => {
    await database.query('DELETE FROM battles WHERE id IN (SELECT id FROM battles LIMIT 3)')
    await runToEnd(database, { config })
    await expectEqual()
    expect(await notes()).toEqual([])
  })

  it('of battles that are gone are taken away', async () => {
    await database.query(`INSERT INTO scheduler.changed_days (battle_id) VALUES (gen_random_uuid())`)
    expect((await run(database, { config })).actions).toMatchObject([{ kind: 'delete-notes' }])
    expect(await notes()).toEqual([])
  })

  it('of times without an end belong to no day, and are counted nowhere', async () => {
    await database.query(`${killmail(-1, 'infinity')}; ${killmail(-2, '-infinity')}; ${killmail(-3, '2020-01-01 BC')}`)
    expect(await notes()).toEqual([])
    await runToEnd(database, { config: { trailingDays: 3 } })
    expect(await database.query('SELECT 1 FROM scheduler.statistics_by_system WHERE system_id = 5')).toEqual([])
  })
})

describe('transactions that overlap', () => {
  beforeEach(async () => {
    await install()
    await runToEnd(database, { config })
  })

  it('lose nothing: a change that commits after its day was counted is counted next', async () => {
    const commit = await openTransaction(killmail(1, '2020-05-05T12:00Z'))
    await database.query(killmail(2, '2020-05-05T13:00Z'))
    expect(await targets()).toEqual(['2020-05-05'])
    await expectEqual()
    await commit()
    expect(await targets()).toEqual(['2020-05-05'])
    await expectEqual()
  })

  it('lose nothing that commits between the reading of notes and the counting', async () => {
    const commit = await openTransaction(killmail(1, '2020-05-05T12:00Z'))
    await database.query(killmail(2, '2020-05-05T13:00Z'))
    let committed = false
    await run(database, {
      config,
      beforeAction: async () => {
        if (!committed) await commit()
        committed = true
      },
    })
    await expectEqual()
    expect(await notes()).toEqual([])
  })

  it('lose nothing when one moves a battle to another day while the other adds to it', async () => {
    const id = '00000000-0000-4000-8000-000000000001'
    await database.query(
      `INSERT INTO battles (id, system_id, start_time, end_time, total_kills, zkill_related_url) VALUES ('${id}', 5, '2020-05-05T12:00Z', '2020-05-05T12:10Z', 2, '')`,
    )
    await runToEnd(database, { config })
    const commit = await openTransaction(
      `INSERT INTO battle_participants (battle_id, character_id, alliance_id, ship_type_id) VALUES ('${id}', 1, 91, 587)`,
    )
    await database.query(`UPDATE battles SET start_time = '2020-05-19T12:00Z'`)
    expect(await targets()).toEqual(['2020-05-19', '2020-05-05'])
    await expectEqual()
    await commit()
    expect(await targets()).toEqual(['2020-05-19'])
    await expectEqual()
  })

  it('write beside each other: no note waits for another', async () => {
    const first = await openTransaction(killmail(1, '2020-05-05T12:00Z'))
    const second = await openTransaction(killmail(2, '2020-05-05T12:00Z'))
    await database.query(killmail(3, '2020-05-05T12:00Z'))
    await second()
    await first()
    await runToEnd(database, { config })
    await expectEqual()
  })
})
