/** The short form of `pnpm --filter @battlescope/bench retention`: that what it compares is the same work, and that it measures at all. */
import { spawnSync } from 'node:child_process'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  compareRemains,
  measureAllStatements,
  measureArchives,
  measureDeletes,
  measureDump,
  measureLoad,
  type Setting,
} from '../src/retention/benchmark.js'
import { openDatabases, type Databases } from '../src/retention/databases.js'
import { median } from '../src/median.js'
import { summarize } from '../src/retention/summary.js'

let databases: Databases
let setting: Setting
beforeAll(async () => {
  databases = await openDatabases(8000)
  setting = { databases, say: () => undefined, loadSeconds: 1 }
}, 240_000)
afterAll(() => databases.close())

const isMissing = (...programs: readonly string[]) =>
  programs.some((name) => spawnSync(name, ['--version']).status !== 0)
const missing = isMissing('psql', 'pg_dump', 'zstd', 'pgbench')
  ? ' (skipped: psql, pg_dump, pgbench or zstd is not installed; apt-get install postgresql-client postgresql-contrib zstd)'
  : ''

describe('the benchmark of retention', () => {
  it('compares what leaves the same rows', { timeout: 240_000 }, async () => {
    expect(await compareRemains(setting)).toEqual([])
  })

  it('deletes the same number of rows with an archive and without', { timeout: 240_000 }, async () => {
    const [pair] = await measureDeletes(setting, 1, true)
    expect(pair?.withoutArchive.rows).toBeGreaterThan(2000)
    expect(pair?.withArchive).toMatchObject({
      rows: pair?.withoutArchive.rows,
      archivedRows: pair?.withoutArchive.rows,
    })
    expect(pair?.withoutArchive.archivedRows).toBe(0)
    expect(pair?.withArchive.transactionsMs.length).toBeGreaterThan(0)
    expect(pair?.withArchive.bytes).toBeGreaterThan(0)
  })

  it("finds the writing statements in the server's log", { timeout: 240_000 }, async () => {
    const { withoutArchive, withArchive } = await measureAllStatements(setting)
    for (const times of [withoutArchive, withArchive]) {
      // Six relations, each at least once.
      expect(times.statements).toBeGreaterThanOrEqual(6)
      expect(times.commitsMs).toBeGreaterThan(0)
      expect(times.longestMs).toBeGreaterThanOrEqual(times.medianMs)
      expect(times.longest).toMatch(/delete from/i)
    }
  })
})

describe.skipIf(missing !== '')(`the benchmark of retention, with PostgreSQL's own programs${missing}`, () => {
  it('copies, dumps and archives the same rows', { timeout: 240_000 }, async () => {
    const [pair] = await measureArchives(setting, 1)
    expect(pair?.copied.bytes).toBeGreaterThan(10_000)
    expect(pair?.task.archivedRows).toBe(pair?.task.rows)
    expect(await measureDump(setting)).toBeGreaterThan(10_000)
  })

  it('feels what others feel', { timeout: 240_000 }, async () => {
    const load = await measureLoad(setting, 1)
    expect(load.saturatedRate).toBeGreaterThan(0)
    const [pair] = load.pairs
    for (const felt of [pair?.plain, pair?.withoutArchive, pair?.plainWithCopy, pair?.withArchive])
      expect(felt?.p95Ms).toBeGreaterThan(0)
  })
})

describe('the summary', () => {
  it('takes medians, and the faster form of plain SQL in each pair', () => {
    const run = {
      ms: 1000,
      cpuMs: 2000,
      deleteMs: 500,
      rows: 1,
      archivedRows: 0,
      bytes: 0,
      transactionsMs: [],
      peakMib: 1,
      runs: 1,
    }
    const pair = (byKeys: number, byTime: number) => ({
      plain: { 'by-keys': { ms: byKeys, cpuMs: byKeys }, 'by-time': { ms: byTime, cpuMs: byTime } },
      withoutArchive: run,
      withPauses: run,
      withArchive: run,
    })
    expect(median([3, 1, 2])).toBe(2)
    expect(median([4, 1, 3, 2])).toBe(2.5)
    const figures = summarize({
      machine: '',
      killmails: 1,
      deletes: [pair(900, 950), pair(2000, 800), pair(1000, 1000)],
    })
    expect(figures.map(({ value }) => value)).toEqual(
      expect.arrayContaining(['0.90 × (0.90, 0.80, 1.00)', '0.45 × (0.45, 0.40, 0.50)']),
    )
  })
})
