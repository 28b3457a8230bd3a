import {
  createTestDatabase,
  findPgBouncer,
  leakCheck,
  sharedServer,
  startPgBouncer,
  type PgBouncer,
  type TestDatabase,
} from '@battlescope/postgres-testing'
import { sql } from 'kysely'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openConnections, type DatabaseConnections } from '../src/index.js'

const installed = (await findPgBouncer()) !== undefined
const unit = { statementTimeoutMs: 10_000 }

describe.skipIf(!installed)(
  'through PgBouncer in transaction mode (skipped without it: apt-get install pgbouncer)',
  () => {
    let bouncer: PgBouncer
    let database: TestDatabase
    let url: string
    let connections: DatabaseConnections

    beforeAll(async () => {
      bouncer = await startPgBouncer((await sharedServer()).url, { poolSize: 1 })
      database = await createTestDatabase()
      await database.query('create table public.notes (id int primary key)')
      url = bouncer.through(database.url)
      connections = openConnections({ url, applicationName: 'pooled-test' })
    })

    afterAll(async () => {
      await connections.close()
      await bouncer.stop()
      await leakCheck(database.url)
      await database.drop()
    })

    it('knows that the connection is pooled', async () => {
      expect(connections.hasDirect).toBe(true)
      expect(await connections.probe()).toMatchObject({ direct: false, database: database.name })
      expect(connections.hasDirect).toBe(false)
    })

    it('refuses direct work without a direct connection, and does it with one', async () => {
      const work = { ...unit, ticket: '0f0e0d0c-0b0a-4909-8807-060504030201' }
      await expect(connections.direct(work, async () => undefined)).rejects.toMatchObject({
        code: 'no-direct-connection',
        hint: expect.stringContaining('DATABASE_DIRECT_URL') as string,
      })
      const alsoPooled = openConnections({ url, directUrl: url, applicationName: 'pooled-test' })
      await expect(alsoPooled.direct(work, async () => undefined)).rejects.toThrow(
        /^DATABASE_DIRECT_URL leads through a pooler/,
      )
      await alsoPooled.close()
      const both = openConnections({ url, directUrl: database.url, applicationName: 'pooled-test' })
      await both.direct(work, ({ db }) => sql`vacuum public.notes`.execute(db))
      await both.close()
    })

    it('leaves no limits behind for the next client of the same server connection', async () => {
      const other = openConnections({ url, applicationName: 'other-client' })
      const seen = async (db: Parameters<typeof settings>[0]): Promise<unknown> => (await settings(db)).rows[0]
      const settings = (db: Parameters<ReturnType<typeof sql>['execute']>[0]) =>
        sql`
      select pg_backend_pid() as pid, current_setting('statement_timeout') as statement, current_setting('lock_timeout') as lock`.execute(
          db,
        )
      const first = (await seen(connections.reader({ statementTimeoutMs: 1111, lockTimeoutMs: 222 }))) as {
        pid: number
      }
      expect(first).toMatchObject({ statement: '1111ms', lock: '222ms' })
      await connections.transaction({ statementTimeoutMs: 3333 }, ({ db }) =>
        sql`insert into public.notes values (1)`.execute(db),
      )
      const second = await seen(other.reader(unit))
      expect(second).toEqual({ pid: first.pid, statement: '10s', lock: '2s' })
      const plain = await database.query<{ statement: string }>(
        `select 1 where exists (select from pg_stat_activity where pid = ${first.pid} and state = 'idle')`,
      )
      expect(plain).toHaveLength(1)
      // A client of another kind, without limits of its own, on the same server connection.
      const bare = await import('pg').then(({ default: pg }) => new pg.Client({ connectionString: url }))
      await bare.connect()
      const { rows } = await bare.query(
        `select pg_backend_pid() as pid, current_setting('statement_timeout') as statement, current_setting('client_min_messages') as messages`,
      )
      expect(rows).toEqual([{ pid: first.pid, statement: '0', messages: 'notice' }])
      await bare.end()
      await other.close()
    })

    it('cancels its own statement, and never the one of a client that came after it', async () => {
      const other = openConnections({ url, applicationName: 'innocent' })
      for (let round = 0; round < 10; round++) {
        const stop = new AbortController()
        const sleeping = sql`select pg_sleep(100), 'pooled abort'`.execute(
          connections.reader({ ...unit, signal: stop.signal }),
        )
        const outcome = expect(sleeping).rejects.toThrow('stop it')
        for (;;) {
          const rows = await database.query(
            `select from pg_stat_activity where query like '%pooled abort%' and state = 'active' and pid <> pg_backend_pid()`,
          )
          if (rows.length > 0) break
        }
        stop.abort(new Error('stop it'))
        // With one server connection, this one starts the moment the cancelled one has ended.
        const innocent = sql`select pg_sleep(0.01), ${round}::int as round`.execute(other.reader(unit))
        await outcome
        expect((await innocent).rows).toMatchObject([{ round }])
      }
      await other.close()
    })

    it('commits, copies and takes snapshots', async () => {
      await connections.transaction(unit, async ({ copyFrom, db, notices }) => {
        await sql`delete from public.notes`.execute(db)
        await copyFrom('copy public.notes from stdin', [
          Buffer.from('1\n2\n3\n'),
        ] as unknown as AsyncIterable<Uint8Array>)
        await sql`analyze public.notes`.execute(db)
        expect(notices).toEqual([])
      })
      const chunks: Uint8Array[] = []
      await connections.snapshot(unit, async ({ copyTo }) => {
        for await (const chunk of copyTo('copy public.notes to stdout')) chunks.push(chunk)
      })
      expect(Buffer.concat(chunks).toString()).toBe('1\n2\n3\n')
    })

    it('goes on after the server connection was ended', async () => {
      const sleeping = sql`select pg_sleep(100), 'pooled death'`.execute(connections.reader(unit))
      const outcome = expect(sleeping).rejects.toHaveProperty('code')
      for (;;) {
        const rows = await database.query(
          `select pg_terminate_backend(pid) from pg_stat_activity where query like '%pooled death%' and state = 'active' and pid <> pg_backend_pid()`,
        )
        if (rows.length > 0) break
      }
      await outcome
      expect((await sql`select 1 as one`.execute(connections.reader(unit))).rows).toEqual([{ one: 1 }])
    })

    it('reports a wrong password in words', async () => {
      const wrong = new URL(url)
      wrong.password = 'wrong'
      const failing = openConnections({ url: wrong.href, applicationName: 'wrong' })
      const { connectionProblem } = await import('../src/index.js')
      const error: unknown = await failing.probe().catch((caught: unknown) => caught)
      expect(['authentication', 'protocol']).toContain(connectionProblem(error).kind)
      expect(connectionProblem(error).message).not.toContain('wrong@')
      await failing.close()
    })
  },
)
