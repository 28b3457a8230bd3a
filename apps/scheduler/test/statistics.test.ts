/** `statistics`, as an operator types it. */
import { battlescopeDdl } from '@battlescope/database/battlescope-ddl'
import { createTestDatabase, type TestDatabase } from '@battlescope/postgres-testing'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { battlescope } from './support.js'

let database: TestDatabase
let environment: Record<string, string>
beforeAll(async () => {
  database = await createTestDatabase({ template: { name: 'battlescope', build: battlescopeDdl } })
  environment = { DATABASE_URL: database.url, SCHEDULER_TASKS: 'analyze,statistics' }
  await database.query(`
    INSERT INTO killmail_events (killmail_id, system_id, occurred_at, isk_value, zkb_url)
    SELECT i, 30000142 + i % 3, '2026-01-01T00:00Z'::timestamptz + i * interval '1 hour', 1000, 'https://zkillboard.com/kill/' || i
    FROM generate_series(1, 24 * 20) AS i`)
})
afterAll(async () => {
  await database.drop()
})

const killmails = async () =>
  (
    await database.query<{ killmails: string }>(
      `SELECT coalesce(sum(killmails), 0)::text AS killmails FROM scheduler.statistics_by_system`,
    )
  )[0]?.killmails

const range = ['--from', '2026-01-01', '--to', '2026-01-31']

describe('statistics recalculate', () => {
  it('lists in a dry run what differs, and changes nothing', async () => {
    await battlescope(['migrate'], environment)
    const { exitCode, stdout, stderr } = await battlescope(
      ['statistics', 'recalculate', ...range, '--dry-run'],
      environment,
    )
    expect(exitCode, stderr).toBe(0)
    expect(stdout).toContain('nothing was changed')
    expect(stdout).toMatch(/differ/)
    expect(await killmails()).toBe('0')
    expect(await database.query('SELECT 1 FROM scheduler.task_run')).toEqual([])
  })

  it('counts the days, and says what was different', async () => {
    const { exitCode, stdout, stderr } = await battlescope(
      ['statistics', 'recalculate', ...range, '--json'],
      environment,
    )
    expect(exitCode, stderr).toBe(0)
    const answer = JSON.parse(stdout) as { outcome: string; findings: { summary: string }[]; actions: unknown[] }
    expect(answer).toMatchObject({ outcome: 'succeeded', runs: 1 })
    expect(answer.actions.length).toBeGreaterThan(0)
    expect(await killmails()).toBe(String(24 * 20))
    // It is in the history like any run, and finished no slot.
    expect(await database.query(`SELECT last_slot_at FROM scheduler.task WHERE name = 'statistics'`)).toEqual([
      { last_slot_at: null },
    ])
  })

  it('finds nothing the second time', async () => {
    const { stdout } = await battlescope(['statistics', 'recalculate', ...range, '--json'], environment)
    expect((JSON.parse(stdout) as { findings: unknown[] }).findings).toEqual([])
  })

  it('goes on in further runs where one budget does not suffice', async () => {
    await database.query(`
      DELETE FROM scheduler.statistics_by_system;
      INSERT INTO killmail_events (killmail_id, system_id, occurred_at, isk_value, zkb_url)
      SELECT 1000 + i, 30000142, '2026-01-01T00:00Z'::timestamptz + i * interval '1 minute', 1, 'https://zkillboard.com/kill/' || i
      FROM generate_series(1, 40000) AS i`)
    const { exitCode, stdout, stderr } = await battlescope(['statistics', 'recalculate', ...range, '--json'], {
      ...environment,
      SCHEDULER_STATISTICS_SLICE_ROWS: '1000',
      SCHEDULER_BUDGET: '2s',
    })
    expect(exitCode, stderr).toBe(0)
    expect(JSON.parse(stdout)).toMatchObject({ outcome: 'succeeded' })
    expect(await killmails()).toBe(String(24 * 20 + 40_000))
  })

  it('tells that the task is paused', async () => {
    await battlescope(['pause', 'statistics'], environment)
    const { exitCode, stderr } = await battlescope(['statistics', 'recalculate', ...range], environment)
    await battlescope(['resume', 'statistics'], environment)
    expect(exitCode).toBe(75)
    expect(stderr).toContain("the task 'statistics' is paused")
  })

  it.each([
    [['--from', 'yesterday', '--to', '2026-01-02'], 'a day such as'],
    [['--from', '2026-02-01', '--to', '2026-01-02'], 'from must not be after to'],
    [['--from', '2026-02-01'], 'to'],
  ])('refuses %j', async (flags, said) => {
    const { exitCode, stderr } = await battlescope(['statistics', 'recalculate', ...flags], environment)
    expect(exitCode).toBe(64)
    expect(stderr).toContain(said)
  })

  it('works although the task is not among those that run by themselves', async () => {
    const { exitCode, stderr } = await battlescope(['statistics', 'recalculate', ...range], {
      ...environment,
      SCHEDULER_TASKS: 'analyze',
    })
    expect(exitCode, stderr).toBe(0)
  })

  it('gives way to whoever has claimed the task', async () => {
    await database.query(`
      WITH t AS (UPDATE scheduler.task SET ticket = gen_random_uuid(), revision = revision + 1 WHERE name = 'statistics' RETURNING ticket)
      INSERT INTO scheduler.claim (ticket, task, run_id, slot_id, slot_at, holder, uses_direct, expires_at)
      SELECT ticket, 'statistics', gen_random_uuid(), 'x', now(), 'somebody', false, now() + interval '1 hour' FROM t`)
    const { exitCode } = await battlescope(['statistics', 'recalculate', ...range], environment)
    expect(exitCode).toBe(75)
    await battlescope(['release', 'statistics'], environment)
  })
})

describe('statistics triggers', () => {
  const triggers = () =>
    database.query(`SELECT 1 FROM pg_trigger WHERE NOT tgisinternal AND tgrelid = 'public.killmail_events'::regclass`)

  it('are installed and removed', async () => {
    expect((await battlescope(['statistics', 'triggers', 'install'], environment)).exitCode).toBe(0)
    expect((await triggers()).length).toBeGreaterThan(0)
    expect((await battlescope(['statistics', 'triggers', 'remove'], environment)).exitCode).toBe(0)
    expect(await triggers()).toEqual([])
  })
})
