/** The statements by themselves: what they send, and what they find. */
import { openConnections, type DatabaseConnections, type StatementReport } from '@battlescope/database'
import type { TestDatabase } from '@battlescope/scheduler-testing'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { endOfDays, firstDay } from '../src/days.js'
import { deleteNotes, selectDensity, selectNotes, selectOldestCounted, selectSources } from '../src/queries.js'
import type { Counting } from '../src/fresh-rows.js'
import { selectDifferences, selectWithRows, writeRows } from '../src/recount.js'
import { rollupNames, rollups } from '../src/rollups.js'
import type { Db } from '../src/tables.js'
import { generateRows } from './generated-rows.js'
import { createDatabase } from './support.js'

let database: TestDatabase
let connections: DatabaseConnections
const sent: StatementReport[] = []
beforeEach(async () => {
  database = await createDatabase()
  sent.length = 0
  connections = openConnections({
    url: database.url,
    applicationName: 'test',
    onStatement: (report) => sent.push(report),
  })
})
afterEach(async () => {
  await connections.close()
  await database.drop()
})
const reader = () => connections.reader({ statementTimeoutMs: 10_000 }) as Db
const write = <T>(work: (db: Db) => Promise<T>) =>
  connections.transaction({ statementTimeoutMs: 10_000 }, ({ db }) => work(db as Db))

const counting: Counting = {
  schema: 'scheduler',
  killmails: rollupNames,
  battles: true,
  killmailAccess: 'plain',
  battleAccess: 'plain',
  freezeBefore: undefined,
}
const everything = { from: firstDay, to: endOfDays }

describe('selectSources', () => {
  it('tells what is there, with which indexes', async () => {
    const facts = await selectSources(reader())
    expect(facts.killmail_events).toMatchObject({ present: true, timeIndex: false, systemIndex: true })
    expect(facts.battles).toMatchObject({ present: true, timeIndex: false, systemIndex: true })
    expect(facts.pilot_ship_history).toMatchObject({ present: true, timeIndex: true, systemIndex: false })
    expect(facts.battle_participants).toMatchObject({ present: true, timeIndex: false, systemIndex: false })
  })

  it('counts no index that does not serve: partial, invalid, or with systems that may be NULL', async () => {
    await database.query(`
      CREATE INDEX partial ON killmail_events (occurred_at) WHERE battle_id IS NULL;
      ALTER TABLE killmail_events ALTER COLUMN system_id DROP NOT NULL;
      UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'idx_pilot_ship_history_occurred_at'::regclass`)
    const facts = await selectSources(reader())
    expect(facts.killmail_events).toMatchObject({ timeIndex: false, systemIndex: false })
    expect(facts.pilot_ship_history).toMatchObject({ timeIndex: false })
    await database.query(
      'CREATE INDEX brin ON killmail_events USING brin (occurred_at); ALTER TABLE battles DROP COLUMN total_kills',
    )
    expect((await selectSources(reader())).killmail_events.timeIndex).toBe(true)
    expect((await selectSources(reader())).battles.present).toBe(false)
  })

  it('adds up the partitions of a table', async () => {
    await database.query(`
      DROP TABLE battle_participants;
      CREATE TABLE battle_participants (battle_id uuid, character_id bigint, alliance_id bigint, corp_id bigint, ship_type_id bigint) PARTITION BY LIST (corp_id);
      CREATE TABLE one PARTITION OF battle_participants FOR VALUES IN (1);
      INSERT INTO battle_participants SELECT gen_random_uuid(), i, 1, 1, 1 FROM generate_series(1, 500) AS i`)
    const { present, sizeBytes } = (await selectSources(reader())).battle_participants
    expect([present, sizeBytes > 0]).toEqual([true, true])
  })
})

describe('selectDensity', () => {
  it('is exact for a small table, and close by a sample of a large one', async () => {
    await database.query(`
      INSERT INTO killmail_events (killmail_id, system_id, occurred_at, zkb_url)
      SELECT i, 1, timestamptz '2026-01-01 00:00Z' + (i % 20) * interval '1 day', repeat('x', 80) FROM generate_series(1, 40000) AS i;
      INSERT INTO killmail_events (killmail_id, system_id, occurred_at, zkb_url) VALUES (-1, 1, 'infinity', ''), (-2, 1, '2500-01-01 BC', '')`)
    const facts = await selectSources(reader())
    const exact = await selectDensity(reader(), facts)
    expect(exact).toHaveLength(20)
    expect(exact.every(({ rows }) => rows === 2000)).toBe(true)
    const events = { ...facts.killmail_events, sizeBytes: 10 * 2048 * 8192 }
    const sampled = await selectDensity(reader(), { ...facts, killmail_events: events })
    const total = sampled.reduce((sum, { rows }) => sum + rows, 0)
    expect(total).toBeGreaterThan(20_000)
    expect(total).toBeLessThan(70_000)
    expect(await selectDensity(reader(), { ...facts, killmail_events: events })).toEqual(sampled)
  })
})

describe('counting', () => {
  beforeEach(() => generateRows(database, 500))

  it('is one statement, and the same system by system', async () => {
    const plain = await selectDifferences(reader(), rollups, everything, counting)
    const bySystem = { ...counting, killmailAccess: 'by-system', battleAccess: 'by-system' } as const
    sent.length = 0
    expect(await selectDifferences(reader(), rollups, everything, bySystem)).toEqual(plain)
    const statements = sent.filter(({ text }) => text.includes('fresh_by_'))
    expect(statements).toHaveLength(1)
    expect(statements[0]?.text.match(/FROM "public"."killmail_events" t ORDER BY/g)).toHaveLength(1)
    expect(plain.every(({ added, changed, removed }) => added > 0 && changed === 0 && removed === 0)).toBe(true)
    expect(new Set(plain.map(({ rollup }) => rollup))).toEqual(new Set(rollupNames))
    expect(await selectWithRows(reader(), rollups, everything, 'scheduler')).toEqual([])
    expect(await write((db) => writeRows(db, rollups, everything, counting, []))).toEqual(plain)
    expect(await selectWithRows(reader(), rollups, everything, 'scheduler')).toEqual(rollupNames)
    expect(await selectDifferences(reader(), rollups, everything, bySystem)).toEqual([])
    expect(await write((db) => writeRows(db, rollups, everything, counting, rollupNames))).toEqual([])
  })

  it.each(rollups)('of $name alone, and in pieces, gives what it gives at once', async (rollup) => {
    const together = await selectDifferences(reader(), rollups, everything, counting)
    const whole = together.filter((each) => each.rollup === rollup.name)
    expect(await selectDifferences(reader(), [rollup], everything, counting)).toEqual(whole)
    const middle = whole[Math.floor(whole.length / 2)]?.day ?? ''
    const pieces = [
      ...(await selectDifferences(reader(), [rollup], { from: firstDay, to: middle }, counting)),
      ...(await selectDifferences(reader(), [rollup], { from: middle, to: endOfDays }, counting)),
    ]
    expect(pieces).toEqual(whole)
  })

  it('says by day what was added, changed and removed, and writes only that', async () => {
    const only = rollups.filter(({ name }) => name === 'system')
    await write((db) => writeRows(db, only, everything, counting, []))
    await database.query(`
      UPDATE scheduler.statistics_by_system SET battles = 99 WHERE day = (SELECT min(day) FROM scheduler.statistics_by_system);
      INSERT INTO scheduler.statistics_by_system SELECT min(day) + 1, 1, 0, 1, 1, 1, 0 FROM scheduler.statistics_by_system;
      DELETE FROM scheduler.statistics_by_system WHERE (day, system_id) IN (SELECT max(day), max(system_id) FROM scheduler.statistics_by_system
        WHERE day = (SELECT max(day) FROM scheduler.statistics_by_system))`)
    const found = await selectDifferences(reader(), only, everything, counting)
    expect(found).toMatchObject([
      { added: 0, removed: 0 },
      { added: 0, changed: 0, removed: 1 },
      { added: 1, changed: 0, removed: 0 },
    ])
    expect(found[0]?.changed).toBeGreaterThan(0)
    expect(await write((db) => writeRows(db, only, everything, counting, ['system']))).toEqual(found)
    expect(await selectDifferences(reader(), only, everything, counting)).toEqual([])
  })

  it('knows the oldest day that is kept', async () => {
    expect(await selectOldestCounted(reader(), 'scheduler')).toBeUndefined()
    await database.query(`INSERT INTO scheduler.statistics_by_ship_type VALUES ('2019-05-05', 1, 1, 0, 0, 0, 0), ('2020-05-05', 1, 1, 0, 0, 0, 0);
      INSERT INTO scheduler.statistics_by_system VALUES ('2019-05-06', 1, 1, 0, 0, 0, 0)`)
    expect(await selectOldestCounted(reader(), 'scheduler')).toBe('2019-05-05')
  })
})

describe('notes', () => {
  const id = '00000000-0000-4000-8000-000000000001'
  beforeEach(() =>
    database.query(`
      INSERT INTO battles (id, system_id, start_time, end_time, total_kills, zkill_related_url) VALUES ('${id}', 1, '2026-01-03 23:30Z', '2026-01-04 00:10Z', 2, '');
      INSERT INTO scheduler.changed_days (day, battle_id) VALUES ('2026-01-01', NULL), ('2026-01-01', NULL), ('2026-01-05', NULL), (NULL, '${id}'),
        (NULL, gen_random_uuid())`),
  )

  it('are read by day, battles by the day they have now', async () => {
    expect(await selectNotes(reader(), 'scheduler', true)).toEqual({
      days: ['2026-01-01', '2026-01-03', '2026-01-05'],
      obsolete: 1,
    })
    expect(await selectNotes(reader(), 'scheduler', false)).toEqual({ days: ['2026-01-01', '2026-01-05'], obsolete: 2 })
  })

  it('of a range go, with those of battles that are gone', async () => {
    expect(await write((db) => deleteNotes(db, 'scheduler', true, { from: '2026-01-01', to: '2026-01-04' }))).toBe(4)
    expect(await selectNotes(reader(), 'scheduler', true)).toEqual({ days: ['2026-01-05'], obsolete: 0 })
  })
})
