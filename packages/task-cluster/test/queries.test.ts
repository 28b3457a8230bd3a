import { openConnections, type DatabaseConnections } from '@battlescope/database'
import { battlescopeDdl } from '@battlescope/database/battlescope-ddl'
import { createTestDatabase, startPostgres, type TestDatabase, type TestServer } from '@battlescope/scheduler-testing'
import { sql, type Kysely } from 'kysely'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import {
  backlogQuery,
  insertJob,
  selectBacklog,
  selectColumns,
  selectOpenJob,
  type BacklogRequest,
  type ClusterTables,
} from '../src/queries.js'
import { insertKillmails, jobTable } from './database.js'

const minute = 60_000
const template = { name: 'battlescope', build: battlescopeDdl }

describe.each([15, 17] as const)('on PostgreSQL %i', (major) => {
  let server: TestServer
  let database: TestDatabase
  let connections: DatabaseConnections
  let request: BacklogRequest
  beforeAll(async () => {
    server = await startPostgres({ major })
  })
  afterAll(() => server.stop())
  beforeEach(async () => {
    database = await createTestDatabase({ server, template })
    connections = openConnections({ url: database.url, applicationName: 'test' })
  })
  afterEach(async () => {
    await connections.close()
    await database.drop()
  })

  const reader = () => connections.reader({ statementTimeoutMs: 15_000 }) as Kysely<ClusterTables>
  const events = { schema: 'public', name: 'killmail_events' }
  const jobs = { schema: 'public', name: 'clustering_jobs' }

  /** One instant for what is inserted and what is asked: `now` of the database. */
  async function readBacklog(change: Partial<BacklogRequest> = {}) {
    const [row] = await database.query<{ now: Date }>('SELECT now()')
    request = {
      relation: events,
      now: row!.now,
      processingDelayMs: 90 * minute,
      serviceLevelMs: 5 * minute,
      windowMs: 60 * minute,
      countLimit: 100_000,
      hasFetchedAt: true,
      ...change,
    }
    return selectBacklog(reader(), request)
  }
  const minutesAgo = (date: Date | undefined) =>
    date === undefined ? undefined : Math.round((request.now.getTime() - date.getTime()) / minute)

  describe('selectBacklog', () => {
    it('counts nothing in an empty relation', async () => {
      expect(await readBacklog()).toEqual({
        waiting: 0,
        late: 0,
        oldestAt: undefined,
        readySince: undefined,
        recent: { killmails: 0, p95LagMs: 0 },
      })
    })

    it('leaves out what waits on purpose, and what is clustered', async () => {
      await insertKillmails(database, 1, 89)
      await insertKillmails(database, 91, 100)
      await database.query(
        `UPDATE killmail_events SET processed_at = now() WHERE occurred_at < now() - interval '99 minutes'`,
      )
      const backlog = await readBacklog()
      expect(backlog).toMatchObject({ waiting: 9, late: 4 })
      expect([backlog.oldestAt, backlog.readySince].map(minutesAgo)).toEqual([99, 9])
    })

    it('lets the delay be configured', async () => {
      await insertKillmails(database, 1, 89)
      expect(await readBacklog({ processingDelayMs: 0 })).toMatchObject({ waiting: 89, late: 84 })
    })

    it('takes no killmail for late before it was fetched', async () => {
      await insertKillmails(database, 1000, 1000)
      await database.query(`UPDATE killmail_events SET fetched_at = now() - interval '2 minutes'`)
      const backlog = await readBacklog()
      expect(backlog).toMatchObject({ waiting: 1, late: 0, recent: { killmails: 1 } })
      expect([backlog.oldestAt, backlog.readySince].map(minutesAgo)).toEqual([1000, 2])
      expect(await readBacklog({ hasFetchedAt: false })).toMatchObject({ waiting: 1, late: 1 })
    })

    it('counts up to its limit', async () => {
      await insertKillmails(database, 100, 300)
      expect(await readBacklog({ countLimit: 50 })).toMatchObject({ waiting: 50 })
    })

    it('measures how long 95 % of the recent ones had to wait, so far', async () => {
      // One a minute became ready: each was clustered after two minutes, but for the last three.
      await insertKillmails(database, 91, 150)
      await database.query(
        `UPDATE killmail_events SET processed_at = occurred_at + interval '92 minutes' WHERE occurred_at < now() - interval '93 minutes'`,
      )
      const { recent } = await readBacklog()
      expect(recent.killmails).toBe(60)
      expect(Math.round(recent.p95LagMs / 1000)).toBe(120)
      // Now nothing has been clustered for twenty minutes.
      await database.query(
        `UPDATE killmail_events SET processed_at = NULL WHERE occurred_at > now() - interval '110 minutes'`,
      )
      expect(Math.round((await readBacklog()).recent.p95LagMs / minute)).toBeGreaterThanOrEqual(16)
    })

    it('leaves the service level alone when old killmails are clustered again', async () => {
      await insertKillmails(database, 10_000, 10_500)
      await database.query('UPDATE killmail_events SET processed_at = now() WHERE killmail_id % 2 = 0')
      expect((await readBacklog()).recent.killmails).toBe(0)
    })

    it('reads a small part of a large relation, by the index that is there', async () => {
      await database.query(`
        INSERT INTO killmail_events (killmail_id, system_id, occurred_at, fetched_at, zkb_url, processed_at)
        SELECT i, 30000000 + i % 500, now() - i * interval '6 seconds', now() - i * interval '6 seconds',
          'https://zkillboard.com/kill/' || i, CASE WHEN i > 1200 THEN now() - (i - 900) * interval '6 seconds' END
        FROM generate_series(1, 100000) AS i;
        ANALYZE killmail_events`)
      // 90 minutes are 900 killmails; of the 1200 that are not clustered, 300 could be.
      expect((await readBacklog()).waiting).toBeGreaterThanOrEqual(299)
      const explained = await backlogQuery(reader(), request).explain('json', sql`analyze, buffers`)
      const [{ 'QUERY PLAN': plans }] = explained as [{ 'QUERY PLAN': [{ Plan: PlanNode }] }]
      const nodes = nodesOf(plans[0].Plan)
      const onRelation = nodes.filter((node) => node['Relation Name'] === 'killmail_events')
      expect(onRelation.length).toBeGreaterThan(0)
      expect(onRelation.map((node) => node['Node Type'])).not.toContain('Seq Scan')
      const indexes = new Set(nodes.flatMap((node) => node['Index Name'] ?? []))
      expect([...indexes]).toEqual(['killmail_events_processed_idx'])
      const [{ pages }] = (await database.query<{ pages: number }>(
        `SELECT relpages AS pages FROM pg_class WHERE relname = 'killmail_events'`,
      )) as [{ pages: number }]
      const read = plans[0].Plan['Shared Hit Blocks'] + plans[0].Plan['Shared Read Blocks']
      expect(read).toBeLessThan(pages / 10)
    })
  })

  describe('selectColumns', () => {
    it('knows tables, views and partitioned tables from what is not there', async () => {
      await database.query(
        'CREATE VIEW v AS SELECT 1 AS a, 2 AS "B"; CREATE TABLE "Odd.One" (x int, y int); ALTER TABLE "Odd.One" DROP y',
      )
      const columnsOf = async (schema: string, name: string) => {
        const columns = await selectColumns(reader(), { schema, name })
        return columns === undefined ? undefined : [...columns].sort()
      }
      expect(await columnsOf('public', 'v')).toEqual(['B', 'a'])
      expect(await columnsOf('public', 'Odd.One')).toEqual(['x'])
      expect(await columnsOf('public', 'absent')).toBeUndefined()
      expect(await columnsOf('absent', 'killmail_events')).toBeUndefined()
      expect(await columnsOf('public', 'killmail_events_processed_idx')).toBeUndefined()
    })
  })

  describe('jobs', () => {
    const insert = (slotId: string, requestedAt: Date) =>
      connections.transaction({ statementTimeoutMs: 5000 }, ({ db }) =>
        insertJob(db as Kysely<ClusterTables>, jobs, { slotId, requestedAt, payload: '{"version":1}' }),
      )

    it('are inserted once for each slot, and found until they are finished', async () => {
      await database.query(jobTable)
      expect(await selectOpenJob(reader(), jobs)).toBeUndefined()
      const at = new Date('2026-11-23T02:00:00Z')
      expect(await insert('a', at)).toBe(1)
      expect(await insert('a', new Date('2027-01-01'))).toBe(0)
      expect(await insert('b', new Date('2026-11-23T01:00:00Z'))).toBe(1)
      expect(await selectOpenJob(reader(), jobs)).toEqual({ slotId: 'a', requestedAt: at })
      await database.query(`UPDATE clustering_jobs SET finished_at = now() WHERE slot_id = 'a'`)
      expect(await selectOpenJob(reader(), jobs)).toMatchObject({ slotId: 'b' })
      expect(await insert('a', at)).toBe(0)
      expect(await database.query('SELECT slot_id, payload FROM clustering_jobs ORDER BY 1')).toEqual([
        { slot_id: 'a', payload: { version: 1 } },
        { slot_id: 'b', payload: { version: 1 } },
      ])
    })
  })
})

interface PlanNode {
  readonly 'Node Type': string
  readonly 'Relation Name'?: string
  readonly 'Index Name'?: string
  readonly 'Shared Hit Blocks': number
  readonly 'Shared Read Blocks': number
  readonly Plans?: readonly PlanNode[]
}

function nodesOf(node: PlanNode): readonly PlanNode[] {
  return [node, ...(node.Plans ?? []).flatMap(nodesOf)]
}
