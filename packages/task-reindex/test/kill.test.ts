/**
 * A rebuild that ends anywhere leaves no invalid index of ours two runs later, touches none of another's, and the index serves all the time.
 * `REINDEX_KILLS=300 REINDEX_KILL_ROWS=200000 pnpm exec vitest run test/kill.test.ts -t 'random instants'` is the long form.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as wait } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { openConnections, type DatabaseConnections } from '@battlescope/database'
import { createTestDatabase, startPostgres, type TestDatabase, type TestServer } from '@battlescope/scheduler-testing'
import { sql } from 'kysely'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { createTable, indexesOf, run, small } from './bloat.js'
import type { ChildInput } from './kill-child.js'
import { killRows, kills, print } from './long-form.js'

/** Durations and sizes as a configuration has them: a child is given text. */
const childConfig = {
  relations: ['public.*'],
  minWaste: '16KiB',
  reportFrom: '8KiB',
  minInterval: '1ms',
  maxTransactionAge: '10m',
  indexesPerRun: 1,
}
const config = { ...small, minInterval: 1, indexesPerRun: 1 }
const names = ['t_at_idx', 't_label_idx', 't_pkey']

const ways = ['SIGKILL, and the session', 'SIGKILL', 'SIGTERM'] as const

/** A process that has loaded everything and waits for the word. */
function prepareChild(): { readonly child: ChildProcess; readonly go: (input: ChildInput) => Promise<void> } {
  const module = new URL('kill-child.ts', import.meta.url).href
  const code = `import { runChild } from ${JSON.stringify(module)}
    process.once('message', async (input) => { await runChild(input); process.exit(0) })
    process.send('ready')`
  const child = spawn(
    process.execPath,
    ['--conditions=@battlescope/source', '--import', 'tsx', '--input-type=module', '-e', code],
    { cwd: fileURLToPath(new URL('..', import.meta.url)), stdio: ['ignore', 'ignore', 'inherit', 'ipc'] },
  )
  const ready = once(child, 'message')
  return {
    child,
    go: async (input) => {
      await ready
      child.send(input)
    },
  }
}

async function endOf(child: ChildProcess): Promise<string | null> {
  if (child.exitCode !== null || child.signalCode !== null) return child.signalCode
  const [, signal] = (await once(child, 'exit')) as [number | null, string | null]
  return signal
}

describe.each([15, 17] as const)('a killed rebuild on PostgreSQL %i', (major) => {
  let server: TestServer
  let database: TestDatabase
  let others: DatabaseConnections
  let foreign: readonly number[]

  beforeAll(async () => {
    server = await startPostgres({ major })
  })
  afterAll(() => server.stop())
  beforeEach(async () => {
    database = await createTestDatabase({ server })
    others = openConnections({ url: database.url, applicationName: 'somebody-else' })
    await createTable(database, 't', killRows)
    // Of somebody else: one that failed, and one that looks exactly as a copy of ours would.
    await database.query('CREATE UNIQUE INDEX CONCURRENTLY t_parity ON t ((id % 2))').catch(() => undefined)
    await database.query('CREATE INDEX t_at_idx_ccnew ON t (at)')
    await database.query(`UPDATE pg_index SET indisvalid = false WHERE indexrelid = 't_at_idx_ccnew'::regclass`)
    foreign = (await indexesOf(database)).filter(({ valid }) => !valid).map(({ oid }) => oid)
    expect(foreign).toHaveLength(2)
    await run(database, config)
  })
  afterEach(async () => {
    await others.close()
    await database.drop()
  })

  /** As if it had been a tenth of its size once: it is rebuilt by the next run. */
  const makeDue = (name: string) =>
    database.query(
      `UPDATE scheduler.reindex_index SET best_bytes_per_tuple = CASE WHEN index_name = $1 THEN 0.1 ELSE 1000 END`,
      [`public.${name}`],
    )

  /** What a killed process leaves is over: its claim, and, within seconds, what the server still ran for it. */
  const bury = async () => {
    await expect
      .poll(
        async () => {
          const [row] = await database.query<{ count: number }>(
            `SELECT count(*)::int FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'battlescope-scheduler%'`,
          )
          return row?.count
        },
        { timeout: 60_000 },
      )
      .toBe(0)
    await database.query(`UPDATE scheduler.claim SET expires_at = now() - interval '1 second'`)
  }

  const validNames = async () => (await indexesOf(database)).filter(({ valid }) => valid).map(({ name }) => name)
  const invalidOids = async () => (await indexesOf(database)).filter(({ valid }) => !valid).map(({ oid }) => oid)
  /** A scan by the index finds what a scan of the table finds. */
  const serves = async () => {
    expect(await validNames()).toEqual(names)
    const [row] = await database.query<{ by_index: number; by_table: number }>(`
      SELECT (SELECT count(*) FROM (SELECT at FROM t ORDER BY at LIMIT 1000000) s)::int AS by_index, (SELECT count(*) FROM t)::int AS by_table`)
    expect(row?.by_index).toBe(row?.by_table)
  }
  const clean = async () => {
    await bury()
    await run(database, config)
    const second = await run(database, config)
    expect(second.task.run?.outcome).toBe('succeeded')
    expect(await invalidOids()).toEqual(foreign)
    expect(await database.query('SELECT 1 FROM scheduler.reindex_rebuild WHERE ended_at IS NULL')).toEqual([])
    await serves()
  }
  const phase = async () => {
    const [row] = await database.query<{ phase: string }>(
      `SELECT phase FROM pg_stat_progress_create_index WHERE datname = current_database()`,
    )
    return row?.phase
  }
  const noted = async () => {
    const [row] = await database.query<{ noted: boolean }>(
      `SELECT new_index_oid IS NOT NULL AS noted FROM scheduler.reindex_rebuild WHERE ended_at IS NULL`,
    )
    return row?.noted
  }

  /** A rebuild that waits for a writer has its copy for as long as it takes to be seen. */
  const withWriter = (work: () => Promise<void>) =>
    others.transaction({ statementTimeoutMs: 60_000 }, async ({ db }) => {
      await sql`UPDATE t SET label = label WHERE id = 1`.execute(db)
      await work()
    })

  it.each<[string, string, 'before' | 'after', number]>([
    ['before it is written down', 'note-rebuild', 'before', 1],
    ['written down, and not begun', 'note-rebuild', 'after', 1],
    ['while its copy exists, and is not noted', 'note-rebuild', 'before', 2],
    ['rebuilt, and not closed', 'rebuild-index', 'after', 1],
    ['closed, and not learned', 'close-rebuild', 'after', 1],
  ])('%s', { timeout: 120_000 }, async (_step, kind, when, occurrence) => {
    await makeDue('t_label_idx')
    const { child, go } = prepareChild()
    const dies = async () => {
      await go({
        databaseUrl: database.url,
        config: { ...childConfig, lockTimeout: '1m' },
        dieAt: { kind, when, occurrence },
      })
      expect(await endOf(child)).toBe('SIGKILL')
    }
    await (occurrence === 2 ? withWriter(dies) : dies())
    await serves()
    await clean()
  })

  it.each([
    ['waiting for writers before build', `UPDATE t SET label = label WHERE id = 1`, 'interrupted'],
    // After the names were swapped, the invalid one is the original.
    ['waiting for readers before marking dead', `SELECT 1 FROM t LIMIT 1`, 'rebuilt'],
  ])('while it is %s', { timeout: 120_000 }, async (where, statement, outcome) => {
    await makeDue('t_label_idx')
    await others.transaction({ statementTimeoutMs: 60_000 }, async ({ db }) => {
      await sql.raw(statement).execute(db)
      const { child, go } = prepareChild()
      const begins = async () => {
        await go({ databaseUrl: database.url, config: { ...childConfig, lockTimeout: '1m' } })
        await expect.poll(noted, { timeout: 30_000 }).toBe(true)
      }
      await (outcome === 'rebuilt' ? withWriter(begins) : begins())
      await expect.poll(phase, { timeout: 30_000 }).toBe(where)
      child.kill('SIGKILL')
      expect(await endOf(child)).toBe('SIGKILL')
      // The transaction is still there, so the leftover cannot be dropped: the next run says so, and begins nothing new.
      await bury()
      const blocked = await run(database, { ...config, lockTimeout: 200 })
      expect(blocked.task.run).toMatchObject({ outcome: 'partial', remaining: 1, findings: [{ key: 'leftover' }] })
      expect((await invalidOids()).length).toBe(foreign.length + 1)
      await serves()
    })
    await clean()
    const [first] = await database.query('SELECT outcome FROM scheduler.reindex_rebuild ORDER BY started_at LIMIT 1')
    expect(first).toEqual({ outcome })
  })

  it.each(['rename-leftover', 'drop-leftover'])('and again after its %s', { timeout: 120_000 }, async (kind) => {
    await makeDue('t_label_idx')
    await others.transaction({ statementTimeoutMs: 60_000 }, async ({ db }) => {
      await sql`UPDATE t SET label = label WHERE id = 1`.execute(db)
      const first = prepareChild()
      await first.go({ databaseUrl: database.url, config: { ...childConfig, lockTimeout: '1m' } })
      await expect.poll(phase, { timeout: 30_000 }).toBe('waiting for writers before build')
      first.child.kill('SIGKILL')
      await endOf(first.child)
      await bury()
    })
    expect((await invalidOids()).length).toBe(foreign.length + 1)
    const second = prepareChild()
    await second.go({ databaseUrl: database.url, config: childConfig, dieAt: { kind, when: 'after', occurrence: 1 } })
    expect(await endOf(second.child)).toBe('SIGKILL')
    expect((await invalidOids()).length).toBe(foreign.length + (kind === 'rename-leftover' ? 1 : 0))
    await clean()
  })

  it(`at ${kills} random instants`, { timeout: 60_000 + kills * 20_000 }, async () => {
    const outcomes: Record<string, number> = {}
    let leftovers = 0
    const span = async () => {
      await makeDue('t_label_idx')
      const { child, go } = prepareChild()
      await go({ databaseUrl: database.url, config: childConfig })
      const startedAt = performance.now()
      await endOf(child)
      return performance.now() - startedAt
    }
    const spanMs = await span()
    for (let kill = 0; kill < kills; kill += 1) {
      await makeDue('t_label_idx')
      const before = await database.query<{ id: string }>('SELECT id FROM scheduler.reindex_rebuild')
      const { child, go } = prepareChild()
      await go({ databaseUrl: database.url, config: childConfig })
      // One instant in each of as many equal parts of a run.
      await wait(((kill + Math.random()) / kills) * spanMs)
      // Of three: one killed, and the server's session with it, as with its machine; one killed, and the server goes on for up to a second; one told to stop.
      const way = ways[kill % ways.length]!
      child.kill(way === 'SIGTERM' ? 'SIGTERM' : 'SIGKILL')
      if (way === 'SIGKILL, and the session')
        await database.query(
          `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'battlescope-scheduler%'`,
        )
      await endOf(child)
      await serves()
      await bury()
      if ((await invalidOids()).length > foreign.length) leftovers += 1
      const [left] = await database.query<{ left: string }>(
        `SELECT CASE WHEN ended_at IS NOT NULL THEN 'over' WHEN new_index_oid IS NULL THEN 'copy not noted' ELSE 'copy noted' END AS left
         FROM scheduler.reindex_rebuild WHERE id <> ALL ($1::uuid[])`,
        [before.map(({ id }) => id)],
      )
      const what = `${way}: ${left?.left ?? 'not begun'}`
      outcomes[what] = (outcomes[what] ?? 0) + 1
      await clean()
    }
    print(
      `${kills} kills over ${Math.round(spanMs)} ms on PostgreSQL ${major}, ${leftovers} of them left an invalid index:`,
      outcomes,
    )
    expect(Object.values(outcomes).reduce((sum, count) => sum + count, 0)).toBe(kills)
  })
})
