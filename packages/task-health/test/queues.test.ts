/** What waits in PostgreSQL, on real rows. */
import { battlescopeDdl } from '@battlescope/database/battlescope-ddl'
import { createTestDatabase, type TestDatabase } from '@battlescope/scheduler-testing'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { queueChecks } from '../src/queues/index.js'
import { gauges, lines, runHealth } from './run.js'

let database: TestDatabase
const checks = queueChecks.filter(({ needs }) => needs?.({} as never, {} as never).clients === undefined)
beforeAll(async () => {
  database = await createTestDatabase({ template: { name: 'battlescope', build: battlescopeDdl } })
})
afterAll(() => database.drop())
beforeEach(() =>
  database.query('DROP SCHEMA IF EXISTS scheduler CASCADE; TRUNCATE killmail_events, killmail_enrichments CASCADE'),
)

/** One killmail a minute, the newest `from` minutes ago; processed, unless it is younger than the processing delay. */
const killmails = (count: number, from = 0, more = '') =>
  database.query(
    `INSERT INTO killmail_events (killmail_id, system_id, occurred_at, fetched_at, zkb_url, processed_at)
     SELECT 100000 - i, 30000142, t, t + interval '3 seconds', '', CASE WHEN t < now() - interval '90 minutes' THEN now() END
     FROM generate_series(0, $1::int - 1) AS i, LATERAL (SELECT now() - make_interval(mins => i + $2::int) - interval '10 seconds' AS t) AS at ${more}`,
    [count, from],
  )
const enrichments = (count: number, status: string, age: string) =>
  database.query(
    `INSERT INTO killmail_enrichments (killmail_id, status, created_at, updated_at)
     SELECT coalesce((SELECT max(killmail_id) FROM killmail_enrichments), 0) + i, $2, now() - $3::interval, now() - $3::interval
     FROM generate_series(1, $1::int) AS i`,
    [count, status, age],
  )
/** No downtime, so that the time at which a test runs changes nothing. */
const always = { ingestionStalled: { downtimeLength: '0s' } }
const run = (options: object = {}) => runHealth(database, { checks, options: { ...always, ...options } })
const enrichAll = () =>
  database.query(
    `INSERT INTO killmail_enrichments (killmail_id, status) SELECT killmail_id, 'succeeded' FROM killmail_events`,
  )

describe('where all is well', () => {
  it('finds nothing, and publishes what waits', async () => {
    await killmails(200)
    await enrichAll()
    const { outcome, findings } = await run()
    expect({ outcome, findings }).toEqual({ outcome: 'succeeded', findings: [] })
    const published = await gauges(database)
    expect(published).toMatchObject({
      'checks.ok': checks.length,
      enrichments_pending: 0,
      enrichments_stuck: 0,
      enrichments_failed_ratio: 0,
    })
    expect(published['ingestion_lag_p95_seconds']).toBeCloseTo(3)
  })

  it('does not apply to an empty database', async () => {
    expect((await run()).findings).toEqual([])
  })
})

describe('enrichments', () => {
  it('finds those that are pending, stuck, failed and missing', async () => {
    await enrichments(70, 'succeeded', '1 minute')
    await enrichments(30, 'failed', '1 minute')
    await enrichments(1000, 'pending', '10 minutes')
    await enrichments(3, 'processing', '3 hours')
    await killmails(20, 20)
    const found = lines(await run({ enrichmentFailures: { sample: 2000 } }))
    expect(found).toEqual([
      'warning enrichment-backlog: 1000 enrichments are pending, the threshold is 1000',
      'warning enrichment-stuck: 3 enrichments have been pending or processing for longer than 1h, the oldest for 3 h',
      'warning enrichment-failures: 30 of the newest 100 finished enrichments failed (30 %), the threshold is 5 %',
      'warning enrichment-missing: 20 of the newest 1000 killmails have no enrichment 15m after their arrival, the oldest for 39 min',
      'error ingestion-stalled: no killmail has come in for 20 min, the threshold is 10m',
    ])
    expect(await gauges(database)).toMatchObject({
      enrichments_pending: 1000,
      enrichments_stuck: 3,
      enrichments_failed_ratio: 0.3,
    })
  })

  it('looks at 10000 waiting rows at most', async () => {
    await enrichments(10_050, 'pending', '10 minutes')
    expect(lines(await run())).toEqual([
      'warning enrichment-backlog: 10000 or more enrichments are pending, the threshold is 1000',
    ])
  })
})

describe('clustering', () => {
  it('counts those alone whose processing delay is over', async () => {
    await killmails(100)
    await enrichAll()
    expect(lines(await run())).toEqual([])
    expect(lines(await run({ processingDelay: '60m' }))).toEqual([
      'error clustering-lag: 30 killmails wait for clustering, up to 29 min beyond the processing delay, the threshold is 5m',
    ])
  })
})

describe('ingestion', () => {
  it('finds old arrivals', async () => {
    await killmails(60)
    await enrichAll()
    await database.query(
      `UPDATE killmail_events SET occurred_at = fetched_at - interval '5 minutes' WHERE killmail_id % 5 = 0`,
    )
    expect(lines(await run())).toEqual([
      'info ingestion-lag: 5 % of the killmails of the last 1h were older than 5 min when they came in, the threshold is 10s',
    ])
  })
})

describe('on a large relation', () => {
  /** What a run reads of the relations as a whole. */
  const scanned = async () => {
    await database.query('VACUUM (ANALYZE) killmail_events')
    await database.query('VACUUM (ANALYZE) killmail_enrichments')
    // What this session has counted and not yet handed in would count after the reset.
    await database.query('SELECT pg_stat_force_next_flush()')
    await database.query('SELECT pg_stat_reset()')
    const { findings } = await run()
    await database.query(`SELECT pg_stat_clear_snapshot()`)
    const relations = await database.query<{ relation: string; scans: string; rows: string }>(
      `SELECT relname AS relation, seq_scan AS scans, (idx_tup_fetch + coalesce(seq_tup_read, 0)) AS rows
       FROM pg_stat_user_tables WHERE schemaname = 'public' AND seq_scan > 0`,
    )
    return { relations, keys: findings.map(({ key }) => key) }
  }

  it('reads none as a whole, and none of its indexes', async () => {
    await killmails(30_000)
    await enrichAll()
    await database.query(`UPDATE killmail_enrichments SET payload = jsonb_build_object('p', repeat('x', 100))`)
    expect((await scanned()).relations).toEqual([])
  })

  it('reads none as a whole when much of it waits: a limit alone would have PostgreSQL look for those rows from the start', async () => {
    await killmails(60_000)
    await enrichAll()
    await database.query(`UPDATE killmail_enrichments SET payload = jsonb_build_object('p', repeat('x', 400))`)
    await database.query(
      `UPDATE killmail_enrichments SET status = 'pending', payload = NULL, updated_at = now() - interval '1 day' WHERE killmail_id > 70000`,
    )
    await database.query('UPDATE killmail_events SET processed_at = NULL WHERE killmail_id > 70000')
    const { relations, keys } = await scanned()
    expect({ relations, keys }).toEqual({
      relations: [],
      keys: ['enrichment-backlog', 'enrichment-stuck', 'clustering-lag'],
    })
  })
})
