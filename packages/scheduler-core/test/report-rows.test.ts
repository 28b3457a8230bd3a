/** The rows of a report, on real PostgreSQL: right, and bounded however long the history is. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { mostTasks, partsOf, reportLimits, reportPeriod, selectReportRows } from '../src/state/report/index.js'
import { StateStore } from '../src/state/store.js'
import { createWorld, entry, run, writeNote, type World } from './support.js'

const dayMs = 86_400_000
const flows = { deleted: ['delete-rows', 'drop-partition'], archived: ['archive'] }

describe('the period', () => {
  const now = new Date('2026-11-25T18:07:31.250Z')

  it.each([
    ['1h', 3_600_000, 60_000, '2026-11-25T17:07:00.000Z'],
    ['a day', dayMs, 30 * 60_000, '2026-11-24T18:00:00.000Z'],
    ['a week', 7 * dayMs, 3 * 3_600_000, '2026-11-18T18:00:00.000Z'],
    ['30 days', 30 * dayMs, 12 * 3_600_000, '2026-10-26T12:00:00.000Z'],
    ['a year', 365 * dayMs, 7 * dayMs, '2025-11-24T00:00:00.000Z'],
  ])('of %s has parts that people count in', (_, sinceMs, partMs, from) => {
    const period = reportPeriod(now, sinceMs)
    expect(period).toEqual({ from: new Date(from), to: now, partMs })
  })

  it.each([reportLimits.shortestMs, 13 * 3_600_000, 100 * dayMs, reportLimits.longestMs])(
    'of %d ms covers all of it in few parts',
    (sinceMs) => {
      const period = reportPeriod(now, sinceMs)
      const parts = partsOf(period)
      expect(parts.length).toBeLessThanOrEqual(73)
      expect(parts[0]).toEqual(period.from)
      expect(period.from.getTime()).toBeLessThanOrEqual(now.getTime() - sinceMs)
      expect(parts.at(-1)!.getTime()).toBeLessThanOrEqual(now.getTime())
      expect(parts.at(-1)!.getTime() + period.partMs).toBeGreaterThan(now.getTime())
    },
  )
})

describe('rows for a report', () => {
  let world: World
  beforeEach(async () => {
    world = await createWorld()
  })
  afterEach(() => world.close())

  const read = async (sinceMs = 30 * dayMs) => {
    const { now } = await new StateStore(world.connections, 'scheduler').readState()
    const period = reportPeriod(now, sinceMs)
    return { period, rows: await selectReportRows(world.connections, 'scheduler', period, { flows }) }
  }

  it('are empty before anything ran', async () => {
    const { rows } = await read()
    expect(rows).toEqual({
      runParts: [],
      runTotals: { durations: undefined, byExitCode: [], oldestAt: undefined, newestAt: undefined },
      taskTotals: [],
      taskParts: [],
      problems: [],
      actionTotals: [],
      flowParts: [],
      flowTargets: [],
      growth: { relationCount: 0, total: [], relations: [] },
    })
  })

  it('tell what runs did', async () => {
    const good = entry({
      run: async (context) => {
        await writeNote(context, 'x')
        await context.act({ kind: 'delete-rows', target: 'public.effect' }, async () => ({ rows: 7, bytes: 100 }))
        return { outcome: 'succeeded' }
      },
    })
    const bad = entry({
      name: 'bad',
      run: async () => {
        throw new Error('no such luck')
      },
    })
    await run(world, [good, bad])
    await run(world, [good])
    const { rows } = await read()
    expect(rows.runTotals.byExitCode).toEqual([
      { exitCode: 0, runs: 1 },
      { exitCode: 1, runs: 1 },
    ])
    expect(rows.runTotals.newestAt).toBeInstanceOf(Date)
    expect(rows.runTotals.durations?.longestMs).toBeGreaterThan(0)
    expect(rows.runParts.reduce((sum, { runs }) => sum + runs, 0)).toBe(2)
    expect(rows.runParts.reduce((sum, { failed }) => sum + failed, 0)).toBe(1)
    expect(rows.taskTotals.map(({ task, counts }) => [task, counts.succeeded, counts.failed])).toEqual([
      ['bad', 0, 1],
      ['work', 2, 0],
    ])
    expect(
      rows.taskParts.filter(({ task }) => task === 'work').reduce((sum, part) => sum + part.counts.succeeded, 0),
    ).toBe(2)
    expect(rows.problems).toMatchObject([{ task: 'bad', outcome: 'failed', reason: 'no such luck' }])
    expect(rows.actionTotals).toMatchObject([
      { task: 'work', kind: 'delete-rows', succeeded: 2, failed: 0, rows: 14, bytes: 200 },
      { task: 'work', kind: 'write', succeeded: 2, failed: 0, rows: 2, bytes: undefined },
    ])
    expect(rows.flowTargets).toEqual([{ flow: 'deleted', target: 'public.effect', rows: 14, bytes: 200 }])
    expect(rows.flowParts.map(({ flow, rows: count }) => [flow, count])).toEqual([['deleted', 14]])
  })

  it('put each run into the part in which it ended', async () => {
    await history(`SELECT timestamptz '2026-11-20 00:00:00Z' + i * interval '6 hours' FROM generate_series(-1, 4) AS i`)
    const period = reportPeriod(new Date('2026-11-25T12:00:00Z'), 30 * dayMs)
    const { taskParts } = await selectReportRows(world.connections, 'scheduler', period, { flows })
    expect(taskParts.map(({ at, counts }) => [at.toISOString(), counts.succeeded])).toEqual([
      ['2026-11-19T12:00:00.000Z', 1],
      ['2026-11-20T00:00:00.000Z', 2],
      ['2026-11-20T12:00:00.000Z', 2],
      ['2026-11-21T00:00:00.000Z', 1],
    ])
  })

  it('are as few for a long history as for a short one', async () => {
    await world.database.query(`
      INSERT INTO scheduler.run (id, started_at, finished_at, exit_code, version, holder, decisions)
        SELECT gen_random_uuid(), now() - i * interval '5 minutes', now() - i * interval '5 minutes' + interval '2 seconds', i % 50, '0', 'h', '[]'
        FROM generate_series(1, 8000) AS i;
      INSERT INTO scheduler.task_run (run_id, task, ticket, slot_id, slot_at, late_by_ms, outcome, attempts, started_at, finished_at, duration_ms, action_count)
        SELECT gen_random_uuid(), 'task-' || i % 70, gen_random_uuid(), 's' || i, now(), 0,
          (ARRAY['succeeded', 'partial', 'skipped', 'failed', 'timed-out', 'cancelled'])[1 + i % 6], 1, now(), now() - i * interval '5 minutes', i % 900, 0
        FROM generate_series(1, 20000) AS i;
      INSERT INTO scheduler.action (run_id, task, ticket, slot_id, kind, target, via, result, row_count, at)
        SELECT gen_random_uuid(), 't' || i % 40, gen_random_uuid(), 's', CASE WHEN i % 3 = 0 THEN 'archive' WHEN i % 3 = 1 THEN 'delete-rows' ELSE 'kind-' || i % 200 END,
          'public.r' || i % 500, 'transaction', 'succeeded', 1, now() - i * interval '5 minutes'
        FROM generate_series(1, 20000) AS i;
      INSERT INTO scheduler.statistics_table_growth (day, relation, row_estimate, heap_bytes, toast_bytes, index_bytes)
        SELECT (now() AT TIME ZONE 'UTC')::date - d, 'public.r' || r, r, 8192 * (r * 10 - d / 100), 8192, 8192
        FROM generate_series(0, 199) AS d, generate_series(1, 40) AS r`)
    const { rows, period } = await read(69 * dayMs)
    const parts = partsOf(period).length
    expect(rows.runParts.length).toBeLessThanOrEqual(parts)
    expect(rows.runTotals.byExitCode).toHaveLength(20)
    expect(rows.taskTotals).toHaveLength(mostTasks + 1)
    expect(rows.taskParts.length).toBeLessThanOrEqual((mostTasks + 1) * parts)
    expect(rows.problems).toHaveLength(21)
    expect(rows.actionTotals).toHaveLength(101)
    expect(rows.flowParts.length).toBeLessThanOrEqual(2 * parts)
    expect(rows.flowTargets).toHaveLength(61)
    expect(rows.growth.relations).toHaveLength(20)
    expect(rows.growth.relations[0]).toMatchObject({ relation: 'public.r40', rowEstimate: 40, heapBytes: 8192 * 400 })
    expect(rows.growth.relationCount).toBe(40)
    const longer = (await read(198 * dayMs)).rows.growth
    for (const points of [longer.total, ...longer.relations.map((relation) => relation.points)]) {
      expect(points.length).toBeGreaterThan(60)
      expect(points.length).toBeLessThanOrEqual(74)
      expect(points.at(-1)).toEqual({ day: rows.growth.total.at(-1)!.day, bytes: points.at(-1)!.bytes })
    }
    expect(longer.total[0]!.bytes).toBeLessThan(longer.total.at(-1)!.bytes)
  })

  it('are read by whoever may only read, and change nothing', async () => {
    const before = await world.database.query('SELECT xmin, * FROM scheduler.task ORDER BY name')
    await read()
    expect(await world.database.query('SELECT xmin, * FROM scheduler.task ORDER BY name')).toEqual(before)
  })

  const history = (instants: string) =>
    world.database.query(`
      INSERT INTO scheduler.task_run (run_id, task, ticket, slot_id, slot_at, late_by_ms, outcome, attempts, started_at, finished_at, duration_ms, action_count)
        SELECT gen_random_uuid(), 'work', gen_random_uuid(), 's' || at, at, 0, 'succeeded', 1, at, at, 10, 0 FROM (${instants}) AS t (at)`)
})
