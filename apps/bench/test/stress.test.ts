/** The short form of `pnpm stress`: the built program against real PostgreSQL, judged by rows alone. */
import { findPgBouncer } from '@battlescope/postgres-testing'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { killAnywhere } from '../src/kill-anywhere.js'
import { discontinuities, metricContinuity } from '../src/metric-continuity.js'
import { startTogether } from '../src/start-together.js'
import { stopAndContinue } from '../src/stop-and-continue.js'
import { createWorld, type Path, type World } from '../src/world.js'

const pgbouncer = await findPgBouncer()
const missing = pgbouncer === undefined ? ' (skipped: pgbouncer is not installed; apt-get install pgbouncer)' : ''

function stress(path: Path, amount: { readonly rounds: number; readonly kills: number }): void {
  let world: World
  beforeEach(async () => {
    world = await createWorld(path)
  })
  afterEach(() => world.close())

  it(
    'processes that start together run every slot once, and never at the same time',
    { timeout: 240_000 },
    async () => {
      // Twenty in the long form: tests share the machine with those of another package.
      const report = await startTogether(world, { rounds: amount.rounds, processes: 12 })
      expect(report.violations).toEqual([])
    },
  )

  it('a kill -9 anywhere blocks nothing and repeats no success', { timeout: 240_000 }, async () => {
    const report = await killAnywhere(world, { kills: amount.kills })
    expect(report.violations).toEqual([])
    const hits = Object.values(report.hits)
    expect(hits.reduce((sum, count) => sum + count)).toBe(amount.kills)
  })

  it('a process that was stopped beyond its claim commits nothing when it goes on', { timeout: 120_000 }, async () => {
    const report = await stopAndContinue(world)
    expect(report.violations).toEqual([])
    expect(report.exitCode).toBe(1)
  })
}

describe('directly', () => {
  stress('direct', { rounds: 2, kills: 10 })
})

describe.skipIf(missing !== '')(`through PgBouncer in transaction mode${missing}`, () => {
  stress('pooled', { rounds: 1, kills: 4 })
})

describe('metrics over many processes', () => {
  it('read as if one process had counted all the time', { timeout: 240_000 }, async () => {
    const world = await createWorld('direct')
    try {
      const report = await metricContinuity(world, { runs: 12 })
      expect(report.violations).toEqual([])
      expect(report.killed).toBe(3)
      expect(report.batches).toBeGreaterThan(8)
    } finally {
      await world.close()
    }
  })

  const batch = (samples: Readonly<Record<string, readonly [value: number, startedAt: string | undefined]>>) =>
    new Map(Object.entries(samples).map(([series, [value, startedAt]]) => [series, { value, startedAt }]))
  it.each([
    ['a counter that falls', { runs: [2, 'a'] }, { runs: [1, 'a'] }, /fell from 2 to 1/],
    ['another beginning', { runs: [2, 'a'] }, { runs: [3, 'b'] }, /began again/],
    ['a newcomer', {}, { runs: [1, 'a'] }, /is new/],
    ['a series that is gone', { runs: [1, 'a'] }, {}, /has vanished/],
  ] as const)('would tell %s', (_what, before, after, told) => {
    expect(discontinuities([batch(before), batch(after)])).toEqual([expect.stringMatching(told)])
  })

  it('let gauges fall', () => {
    expect(discontinuities([batch({ backlog: [2, undefined] }), batch({ backlog: [1, undefined] })])).toEqual([])
  })
})
