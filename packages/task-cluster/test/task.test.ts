import { openConnections } from '@battlescope/database'
import { battlescopeDdl } from '@battlescope/database/battlescope-ddl'
import {
  createTestDatabase,
  createTestRole,
  startPostgres,
  type RunOneTaskOptions,
  type TestDatabase,
  type TestServer,
} from '@battlescope/scheduler-testing'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { cluster } from '../src/index.js'
import { insertKillmails, jobTable, listen } from './database.js'
import { metricsOf, run } from './run.js'
import { Service, status } from './service.js'

const template = { name: 'battlescope', build: battlescopeDdl }

let service: Service
beforeAll(async () => {
  service = await Service.start()
})
afterAll(() => service.stop())

describe.each([15, 17] as const)('cluster on PostgreSQL %i', (major) => {
  let server: TestServer
  let database: TestDatabase
  beforeAll(async () => {
    server = await startPostgres({ major })
  })
  afterAll(() => server.stop())
  beforeEach(async () => {
    service.answers(status(202))
    database = await createTestDatabase({ server, template })
  })
  afterEach(() => database.drop())

  const http = (given: object = {}) => ({ trigger: 'http', url: service.url, retryPause: 1, ...given })

  describe('the backlog', () => {
    it('is published, and nothing is triggered while there is none', async () => {
      await insertKillmails(database, 1, 90)
      expect(await run(database, http())).toMatchObject({ outcome: 'succeeded', findings: [], actions: [] })
      expect(service.seen).toEqual([])
      expect(await metricsOf(database)).toEqual({
        backlog: 0,
        backlog_late: 0,
        oldest_age_seconds: 0,
        lag_seconds: 0,
        lag_p95_seconds: 0,
        'triggers.accepted': 0,
        'triggers.running': 0,
        'triggers.not-offered': 0,
        'triggers.no-answer': 0,
        'triggers.refused': 0,
        'triggers.stopped': 0,
      })
    })

    it('is published with its age, and triggers', async () => {
      await insertKillmails(database, 1, 100)
      await run(database, http())
      const metrics = await metricsOf(database)
      expect(metrics).toMatchObject({ backlog: 10, backlog_late: 5, 'triggers.accepted': 1, 'triggers.refused': 0 })
      expect(Math.round(metrics['oldest_age_seconds']! / 60 - 0.1)).toBe(99)
      expect(Math.round(metrics['lag_seconds']! / 60 - 0.1)).toBe(9)
    })

    it('is only measured by default', async () => {
      await insertKillmails(database, 91, 100)
      expect(await run(database, {})).toMatchObject({
        outcome: 'skipped',
        reason: 'no trigger is configured, the backlog is only measured',
        actions: [],
      })
      expect(await metricsOf(database)).toMatchObject({ backlog: 10 })
    })

    it('that grows although triggers are accepted is reported, until the service is back', async () => {
      await insertKillmails(database, 91, 100)
      const keys = async () => (await run(database, http())).findings.map(({ key }) => key)
      const later = async () => {
        await database.query(
          `UPDATE killmail_events SET occurred_at = occurred_at - interval '5 minutes', fetched_at = fetched_at - interval '5 minutes'`,
        )
        await insertKillmails(database, 91, 95)
      }
      expect(await keys()).toEqual([])
      await later()
      expect(await keys()).toEqual([])
      await later()
      // Twenty killmails, and most of them late: the share that the service level speaks of is missed, too.
      expect(await keys()).toEqual(['backlog-grows', 'service-level'])
      await database.query("UPDATE killmail_events SET processed_at = fetched_at + interval '91 minutes'")
      expect(await keys()).toEqual([])
      expect(await database.query('SELECT * FROM scheduler.checkpoint')).toEqual([])
      expect(service.seen).toHaveLength(3)
    })

    it('is not looked for where the relation, or a column of it, is missing', async () => {
      await database.query('ALTER TABLE killmail_events DROP COLUMN processed_at')
      expect(await run(database, http())).toMatchObject({
        outcome: 'skipped',
        reason: 'public.killmail_events has no column processed_at',
      })
      expect(await run(database, http({ relation: 'absent.killmails' }))).toMatchObject({
        outcome: 'skipped',
        reason: 'there is no relation absent.killmails',
      })
      expect(service.seen).toEqual([])
    })

    it('is measured in another relation, and without fetched_at', async () => {
      await database.query(`CREATE SCHEMA "Other.One"; CREATE TABLE "Other.One"."Kill""mails" AS
        SELECT now() - interval '2 hours' AS occurred_at, NULL::timestamptz AS processed_at`)
      await run(database, http({ relation: '"Other.One"."Kill""mails"' }))
      expect(await metricsOf(database)).toMatchObject({ backlog: 1, backlog_late: 1 })
      expect(service.seen).toHaveLength(1)
    })

    it('needs SELECT on the relation, and nothing else', async () => {
      const role = await createTestRole(database, {
        grants: 'CREATE SCHEMA scheduler AUTHORIZATION $role; GRANT SELECT ON killmail_events TO $role',
      })
      await insertKillmails(database, 91, 100)
      expect(await run(database, http(), { databaseUrl: role.url })).toMatchObject({ outcome: 'succeeded' })
      await database.query(`REVOKE SELECT ON killmail_events FROM ${role.name}`)
      const refused = await run(database, http(), { databaseUrl: role.url })
      expect(refused).toMatchObject({ outcome: 'failed', errorCode: '42501' })
    })
  })

  describe('by NOTIFY', () => {
    it('reaches who listens, when something waits', async () => {
      const session = await listen(database, 'battlescope_clustering')
      try {
        await run(database, { trigger: 'notify' })
        expect(await session.heard()).toEqual([])
        await insertKillmails(database, 91, 100)
        expect(await run(database, { trigger: 'notify' }, { dryRun: true })).toMatchObject({
          actions: [{ target: 'channel battlescope_clustering', via: 'transaction' }],
        })
        expect(await session.heard()).toEqual([])
        await run(database, { trigger: 'notify', channel: 'other' })
        expect(await session.heard()).toEqual([])
        await run(database, { trigger: 'notify' })
        const heard = await session.heard()
        expect(heard.map(({ channel }) => channel)).toEqual(['battlescope_clustering'])
        const [newest] = await database.query<{ slot_id: string }>(
          'SELECT slot_id FROM scheduler.task_run ORDER BY id DESC',
        )
        expect(JSON.parse(heard[0]?.payload ?? '')).toMatchObject({ version: 1, slotId: newest?.slot_id, backlog: 10 })
        expect(await metricsOf(database)).toMatchObject({ 'triggers.accepted': 2 })
      } finally {
        await session.stop()
      }
    })
  })

  describe('by a table of jobs', () => {
    const config = { trigger: 'job-table' }
    const jobs = () =>
      database.query<{ slot_id: string; payload: object }>(
        'SELECT slot_id, payload FROM clustering_jobs ORDER BY requested_at',
      )

    it('leaves one row for its slot, and none on top of one that is open', async () => {
      await database.query(jobTable)
      await insertKillmails(database, 91, 100)
      await run(database, config)
      const [recorded] = await database.query<{ slot_id: string }>('SELECT slot_id FROM scheduler.task_run')
      expect(await jobs()).toMatchObject([
        { slot_id: recorded?.slot_id, payload: { slotId: recorded?.slot_id, backlog: 10 } },
      ])
      expect(await run(database, config)).toMatchObject({ outcome: 'succeeded', actions: [] })
      expect(await jobs()).toHaveLength(1)
      await database.query('UPDATE clustering_jobs SET finished_at = now()')
      await run(database, config)
      expect(await jobs()).toHaveLength(2)
      // Its worker is gone.
      await database.query(`UPDATE clustering_jobs SET requested_at = requested_at - interval '16 minutes'`)
      await run(database, config)
      expect(await jobs()).toHaveLength(3)
    })

    // Due until its slot is finished, so that a second process takes the same slot.
    const hourly: typeof cluster = { ...cluster, schedule: { kind: 'interval', everyMs: 3_600_000 } }
    /** The process ends right after the commit of its action. */
    const killedAfterCommit = () => {
      const kill = new AbortController()
      const change: Partial<RunOneTaskOptions> = {
        task: hourly,
        hardStop: kill.signal,
        around: (connections) => ({
          reader: (unit) => connections.reader(unit),
          snapshot: (unit, read) => connections.snapshot(unit, read),
          direct: (unit, work) => connections.direct(unit, work),
          transaction: async (unit, work) => {
            const result = await connections.transaction(unit, work)
            // Only a task's own unit of work carries the signal of its run.
            if (unit.signal !== undefined) kill.abort('killed')
            return result
          },
        }),
      }
      return change
    }

    it.each([
      ['is open', ''],
      ['was finished meanwhile', 'UPDATE clustering_jobs SET finished_at = now()'],
      ['looks abandoned', `UPDATE clustering_jobs SET requested_at = now() - interval '1 hour'`],
    ])('leaves one row for its slot when it is killed after the insert, and the row %s', async (_name, meanwhile) => {
      await database.query(jobTable)
      await insertKillmails(database, 91, 100)
      expect(await run(database, config, killedAfterCommit())).toMatchObject({ outcome: 'cancelled' })
      const [job] = await jobs()
      await database.query(meanwhile)
      expect(await run(database, config, { task: hourly })).toMatchObject({ outcome: 'succeeded' })
      const slots = await database.query<{ slot_id: string }>('SELECT DISTINCT slot_id FROM scheduler.task_run')
      expect(slots).toEqual([{ slot_id: job?.slot_id }])
      expect(await jobs()).toEqual([job])
    })

    it('leaves one row when the answer to the commit is lost', async () => {
      await database.query(jobTable)
      await insertKillmails(database, 91, 100)
      let lost = false
      const ended = await run(database, config, {
        around: (connections) => ({
          reader: (unit) => connections.reader(unit),
          snapshot: (unit, read) => connections.snapshot(unit, read),
          direct: (unit, work) => connections.direct(unit, work),
          transaction: async (unit, work) => {
            const result = await connections.transaction(unit, work)
            if (unit.signal === undefined || lost) return result
            lost = true
            throw Object.assign(new Error('the connection went'), { code: 'commit-unknown' })
          },
        }),
      })
      expect(ended).toMatchObject({ outcome: 'succeeded', attempts: 2 })
      expect(await jobs()).toHaveLength(1)
    })

    it('fails where the table is missing, or another one, also before anything waits', async () => {
      const missing = await run(database, config)
      expect(missing).toMatchObject({ outcome: 'failed', errorCode: 'job-table-unfit' })
      expect(missing.reason).toMatch(/^there is no relation public.clustering_jobs; /)
      await database.query('CREATE TABLE clustering_jobs (slot_id text PRIMARY KEY)')
      expect((await run(database, config, { force: true })).reason).toMatch(
        /has no column requested_at, payload, finished_at; /,
      )
    })

    it('needs SELECT and INSERT on the table, and nothing else', async () => {
      await database.query(jobTable)
      await insertKillmails(database, 91, 100)
      const role = await createTestRole(database, {
        grants: `CREATE SCHEMA scheduler AUTHORIZATION $role; GRANT SELECT ON killmail_events TO $role;
          GRANT SELECT, INSERT ON clustering_jobs TO $role`,
      })
      expect(await run(database, config, { databaseUrl: role.url })).toMatchObject({ outcome: 'succeeded' })
      expect(await jobs()).toHaveLength(1)
    })
  })

  describe('in every way', () => {
    it.each(['http', 'notify', 'job-table'])(
      '%s: comes to a border before it triggers when the budget is gone',
      async (trigger) => {
        await database.query(jobTable)
        await insertKillmails(database, 91, 100)
        const stop = new AbortController()
        const stopping: typeof cluster = {
          ...cluster,
          run: (context) => {
            stop.abort('SIGTERM')
            return cluster.run(context)
          },
        }
        const ended = await run(database, http({ trigger }), { task: stopping, stop: stop.signal })
        expect(ended).toMatchObject({ outcome: 'partial', remaining: 10, actions: [] })
        expect(service.seen).toEqual([])
      },
    )

    it('waits for no lock on the killmails', async () => {
      await insertKillmails(database, 91, 100)
      const other = openConnections({ url: database.url, applicationName: 'other' })
      try {
        // Row locks of the service, as it clusters.
        await other.transaction({ statementTimeoutMs: 30_000 }, async ({ db }) => {
          await db.updateTable('public.killmail_events').set({ processed_at: new Date() }).execute()
          expect(await run(database, { trigger: 'notify' })).toMatchObject({ outcome: 'succeeded' })
        })
      } finally {
        await other.close()
      }
    })
  })
})
