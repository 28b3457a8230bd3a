import { openConnections, type DatabaseConnections } from '@battlescope/database'
import { battlescopeDdl } from '@battlescope/database/battlescope-ddl'
import { migrate } from '@battlescope/scheduler-core'
import { createTestDatabase, startPostgres, type TestDatabase, type TestServer } from '@battlescope/scheduler-testing'
import type { Kysely } from 'kysely'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { stateSchema } from '../../src/anomaly/anomaly-check.js'
import type { Advance, DetectorState } from '../../src/anomaly/detector.js'
import {
  recordAdvance,
  selectArrivalSlots,
  selectBattleSlots,
  selectDatabaseBytes,
  selectRunSlots,
  selectStored,
} from '../../src/anomaly/queries.js'

const template = { name: 'battlescope', build: battlescopeDdl }
const minute = 60_000
const noon = Date.UTC(2026, 0, 5, 12)
const at = (minutes: number) => new Date(noon + minutes * minute).toISOString()

describe.each([15, 17] as const)('on PostgreSQL %i', (major) => {
  let server: TestServer
  let database: TestDatabase
  let connections: DatabaseConnections
  let db: Kysely<unknown>
  beforeAll(async () => {
    server = await startPostgres({ major })
  })
  afterAll(() => server.stop())
  beforeEach(async () => {
    database = await createTestDatabase({ server, template })
    connections = openConnections({ url: database.url, applicationName: 'test' })
    await migrate(connections, 'scheduler')
    db = connections.reader({ statementTimeoutMs: 1000 }) as Kysely<unknown>
  })
  afterEach(async () => {
    await connections.close()
    await database.drop()
  })

  const arrive = (id: number, minutes: number) =>
    database.query(
      `INSERT INTO killmail_events (killmail_id, system_id, occurred_at, fetched_at, zkb_url) VALUES ($1, 1, now(), $2, '')`,
      [id, at(minutes)],
    )

  it('counts killmails by when they came in, in completed slots, and says nothing with zero', async () => {
    await arrive(1, -1)
    await arrive(2, 0)
    await arrive(3, 4.9)
    await arrive(4, 12)
    await arrive(5, 15)
    expect(await selectArrivalSlots(db, 'public.killmail_events', noon, noon + 15 * minute)).toEqual([
      { startMs: noon, value: 24 },
      { startMs: noon + 5 * minute, value: 0 },
      { startMs: noon + 10 * minute, value: 12 },
    ])
  })

  it('reads an empty table as nothing that came in', async () => {
    expect(await selectArrivalSlots(db, 'public.killmail_events', noon, noon + 5 * minute)).toEqual([
      { startMs: noon, value: 0 },
    ])
  })

  it('leaves out slots that the newest killmails do not reach back to: unknown is not zero', async () => {
    await arrive(1, 1)
    await database.query(
      `INSERT INTO killmail_events (killmail_id, system_id, occurred_at, fetched_at, zkb_url)
       SELECT 10 + g, 1, now(), $1, '' FROM generate_series(1, 5000) g`,
      [at(7)],
    )
    expect(await selectArrivalSlots(db, 'public.killmail_events', noon, noon + 15 * minute)).toEqual([
      { startMs: noon + 10 * minute, value: 0 },
    ])
  })

  it('counts the battles that clustering touched, each once a slot', async () => {
    await database.query(
      `INSERT INTO battles (id, system_id, start_time, end_time, total_kills, zkill_related_url)
       SELECT ('00000000-0000-0000-0000-00000000000' || g)::uuid, 1, now(), now(), 2, '' FROM generate_series(1, 2) g`,
    )
    for (const [id, minutes, battle] of [
      [1, 1, 1],
      [2, 2, 1],
      [3, 3, 2],
      [4, 6, 1],
      [5, 7, undefined],
    ] as const) {
      await arrive(id, minutes)
      await database.query(`UPDATE killmail_events SET processed_at = $1, battle_id = $2 WHERE killmail_id = $3`, [
        at(minutes),
        battle === undefined ? null : `00000000-0000-0000-0000-00000000000${battle}`,
        id,
      ])
    }
    expect(await selectBattleSlots(db, 'public.killmail_events', noon, noon + 15 * minute)).toEqual([
      { startMs: noon, value: 24 },
      { startMs: noon + 5 * minute, value: 12 },
      { startMs: noon + 10 * minute, value: 0 },
    ])
  })

  it('goes by indexes: the table is not read as a whole', async () => {
    await database.query(
      `INSERT INTO killmail_events (killmail_id, system_id, occurred_at, fetched_at, processed_at, zkb_url)
       SELECT g, 1, now(), $1::timestamptz - g * interval '1 second', $1::timestamptz - g * interval '1 second', ''
       FROM generate_series(1, 50000) g`,
      [at(0)],
    )
    await database.query('ANALYZE killmail_events')
    await selectArrivalSlots(db, 'public.killmail_events', noon - 60 * minute, noon)
    await selectBattleSlots(db, 'public.killmail_events', noon - 60 * minute, noon)
    // Statistics of a session are sent when it ends.
    await connections.close()
    const scans = async () =>
      (
        await database.query<{ seq: string; idx: string }>(
          `SELECT seq_scan AS seq, idx_scan AS idx FROM pg_stat_user_tables WHERE relname = 'killmail_events'`,
        )
      )[0]
    let seen = await scans()
    while (Number(seen?.idx) < 2) seen = await scans()
    expect(Number(seen?.seq)).toBe(0)
  })

  it('reads how long runs took, in the slots in which they began', async () => {
    await database.query(
      `INSERT INTO scheduler.run (id, started_at, finished_at, exit_code, version, holder, decisions)
       SELECT gen_random_uuid(), $1::timestamptz + g * interval '5 minutes', $1::timestamptz + g * interval '5 minutes 7 seconds', 0, '1', 'h', '[]'
       FROM generate_series(0, 20) g`,
      [at(0)],
    )
    const slots = await selectRunSlots(db, 'scheduler')
    expect(slots).toHaveLength(12)
    expect(slots.at(-1)).toEqual({ startMs: noon + 100 * minute, value: 140 })
  })

  it('reads the size of the database', async () => {
    expect(await selectDatabaseBytes(db)).toBeGreaterThan(1_000_000)
  })

  describe('what was learned', () => {
    const state = (lastSlotMs: number): DetectorState => ({ lastSlotMs, recent: [], level: 1, pending: [] })
    const step = (lastSlotMs: number, change: Partial<Advance> = {}): Advance => ({
      state: state(lastSlotMs),
      verdict: { kind: 'learning' },
      learned: new Map(),
      rescaledBy: undefined,
      ...change,
    })
    const write = (before: DetectorState | undefined, advance: Advance) =>
      connections.transaction({ statementTimeoutMs: 5000 }, ({ db: open }) =>
        recordAdvance(open as Kysely<unknown>, 'scheduler', 'm', before, advance),
      )
    const stored = () => selectStored(db, 'scheduler', 'm', stateSchema)

    it('is read as it was written', async () => {
      expect(await stored()).toEqual({ state: undefined, baseline: new Map() })
      expect(await write(undefined, step(noon, { learned: new Map([[5, [1.5, 2]]]) }))).toBe(true)
      expect(await stored()).toEqual({ state: state(noon), baseline: new Map([[5, [1.5, 2]]]) })
    })

    it('is written once, by whoever read the newest state', async () => {
      await write(undefined, step(noon, { learned: new Map([[5, [10]]]) }))
      const next = step(noon + 1, { rescaledBy: 0.5 })
      expect(await write(state(noon), next)).toBe(true)
      expect(await write(state(noon), next)).toBe(false)
      expect((await stored()).baseline).toEqual(new Map([[5, [5]]]))
      // Another process that had read the older state.
      expect(await write(state(noon), step(noon + 2, { rescaledBy: 0.5 }))).toBe(false)
      expect((await stored()).baseline).toEqual(new Map([[5, [5]]]))
    })

    it('is rescaled before what was learned after that is written', async () => {
      await write(
        undefined,
        step(noon, {
          learned: new Map([
            [5, [10, 20]],
            [6, [30]],
          ]),
        }),
      )
      await write(state(noon), step(noon + 1, { rescaledBy: 2, learned: new Map([[6, [60, 61]]]) }))
      expect((await stored()).baseline).toEqual(
        new Map([
          [5, [20, 40]],
          [6, [60, 61]],
        ]),
      )
    })

    it('of another version is read as absent, and its weeks stay', async () => {
      await write(undefined, step(noon, { learned: new Map([[5, [10]]]) }))
      await database.query(`UPDATE scheduler.health_metric SET state = '{"v": 0}'`)
      expect(await stored()).toEqual({ state: undefined, baseline: new Map([[5, [10]]]) })
      // And is replaced.
      expect(await write(undefined, step(noon + 1))).toBe(true)
    })
  })
})
