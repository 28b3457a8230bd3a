import { randomUUID } from 'node:crypto'
import { sql, type Kysely } from 'kysely'
import { createTestDatabase, leakCheck, sharedServer, type TestDatabase } from '@battlescope/postgres-testing'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openConnections, type DatabaseConnections } from '../src/index.js'

const unit = { statementTimeoutMs: 10_000 }

interface TestTables {
  'public.notes': { id: number; text: string; big: string; price: string; at: Date; tags: string[] }
}

const template = {
  name: 'notes',
  build: `create table public.notes (id int primary key, text text, big bigint, price numeric, at timestamptz, tags bigint[]);
    create table public.parents (id int primary key);
    create table public.children (parent_id int references public.parents deferrable initially deferred)`,
}

/** Resolves when another session sees what `condition` asks for. */
async function until(database: TestDatabase, condition: string): Promise<void> {
  for (;;) {
    const [row] = await database.query<{ met: boolean }>(`select (${condition}) as met`)
    if (row?.met) return
  }
}

const running = (text: string): string =>
  `exists (select from pg_stat_activity where state = 'active' and query like '%${text}%' and pid <> pg_backend_pid() and datname = current_database())`

describe.each([15, 17] as const)('on PostgreSQL %i', (major) => {
  let database: TestDatabase
  let connections: DatabaseConnections

  beforeAll(async () => {
    database = await createTestDatabase({ server: await sharedServer(major), template })
    connections = openConnections({ url: database.url, applicationName: 'database-test' })
  })

  afterAll(async () => {
    await connections.close()
    await leakCheck(database.url)
    await database.drop()
  })

  describe('probe', () => {
    it('tells what server this is', async () => {
      const facts = await connections.probe()
      expect(Math.floor(facts.versionNum / 10_000)).toBe(major)
      expect(facts).toMatchObject({
        direct: true,
        inRecovery: false,
        superuser: true,
        currentUser: 'postgres',
        database: database.name,
      })
      expect(facts.now).toBeInstanceOf(Date)
      // Server and test share a clock; the bound only catches a wrong sign or unit.
      expect(Math.abs(facts.clockSkewMs)).toBeLessThan(60_000)
    })
  })

  describe('reader', () => {
    it('reads with limits that do not outlive the statement', async () => {
      const db = connections.reader({ statementTimeoutMs: 1234, lockTimeoutMs: 567 })
      const { rows } = await sql<{ name: string; setting: string }>`
        select name, setting from pg_catalog.pg_settings
        where name in ('statement_timeout', 'lock_timeout', 'transaction_read_only', 'idle_in_transaction_session_timeout') order by name`.execute(
        db,
      )
      expect(rows).toEqual([
        { name: 'idle_in_transaction_session_timeout', setting: '10000' },
        { name: 'lock_timeout', setting: '567' },
        { name: 'statement_timeout', setting: '1234' },
        { name: 'transaction_read_only', setting: 'on' },
      ])
      // A probe runs outside a unit of work, on the same connection: what it shows is what was left behind.
      await connections.probe()
      const left = await database.query(
        `select state from pg_stat_activity where application_name = 'database-test' and datname = current_database()`,
      )
      expect(left).toEqual([{ state: 'idle' }])
    })

    it('refuses what is no read, before it is sent', async () => {
      const db = connections.reader(unit)
      for (const statement of [
        sql`delete from public.notes`,
        sql`analyze public.notes`,
        sql`select 1; select 2`,
        sql`select pg_catalog.pg_notify('a', 'b')`,
        sql`notify a`,
      ]) {
        await expect(statement.execute(db)).rejects.toMatchObject({ code: 'not-a-read' })
      }
    })

    it('lets the server refuse what only it can know', async () => {
      const db = connections.reader(unit)
      await expect(
        sql`with gone as (delete from public.notes returning 1) select * from gone`.execute(db),
      ).rejects.toMatchObject({ code: '25006' })
      await expect(sql`select * from public.notes for update`.execute(db)).rejects.toMatchObject({ code: '25006' })
      await expect(sql`select 1 into public.other`.execute(db)).rejects.toMatchObject({ code: '25006' })
    })

    it('makes several reads one transaction, read only, with the isolation that was asked for', async () => {
      const db = connections.reader(unit)
      const before = sql<{ iso: string; ro: string; now: Date }>`
        select current_setting('transaction_isolation') as iso, current_setting('transaction_read_only') as ro, now() as now`
      const [one, two] = await db
        .transaction()
        .setIsolationLevel('repeatable read')
        .execute(async (trx) => [(await before.execute(trx)).rows[0], (await before.execute(trx)).rows[0]] as const)
      expect(one).toMatchObject({ iso: 'repeatable read', ro: 'on' })
      expect(two).toEqual(one)
      await expect(
        db.transaction().execute((trx) => sql`update public.notes set id = 1`.execute(trx)),
      ).rejects.toMatchObject({ code: 'not-a-read' })
      await expect(
        db
          .transaction()
          .setAccessMode('read write')
          .execute(async () => undefined),
      ).rejects.toMatchObject({ code: 'not-a-read' })
      await expect(db.transaction().execute((trx) => sql`select 1 / 0`.execute(trx))).rejects.toMatchObject({
        code: '22012',
      })
      expect((await sql`select 1 as one`.execute(db)).rows).toEqual([{ one: 1 }])
    })

    it('ends a statement at its timeout, on the server', async () => {
      const db = connections.reader({ statementTimeoutMs: 50 })
      await expect(sql`select pg_sleep(60)`.execute(db)).rejects.toMatchObject({ code: '57014' })
    })

    it('hands out wide numbers as text and instants as dates', async () => {
      await database.query(
        `insert into public.notes values (1, 'a', 9007199254740993, 0.10, '2026-01-02T03:04:05Z', '{9007199254740993,2}')`,
      )
      const db = connections.reader(unit) as Kysely<TestTables>
      const row = await db
        .selectFrom('public.notes as n')
        .select(['n.big', 'n.price', 'n.at', 'n.tags'])
        .executeTakeFirstOrThrow()
      expect(row).toEqual({
        big: '9007199254740993',
        price: '0.10',
        at: new Date('2026-01-02T03:04:05Z'),
        tags: ['9007199254740993', '2'],
      })
      await database.query('delete from public.notes')
    })
  })

  describe('abort', () => {
    it('cancels the statement on the server and rejects with the reason', async () => {
      const stop = new AbortController()
      const db = connections.reader({ ...unit, signal: stop.signal })
      const sleeping = sql`select pg_sleep(100), 'abort me'`.execute(db)
      await until(database, running('abort me'))
      const reason = new Error('enough')
      stop.abort(reason)
      await expect(sleeping).rejects.toBe(reason)
      expect(await database.query(`select ${running('abort me')} as still`)).toEqual([{ still: false }])
    })

    it('never sends anything when aborted before', async () => {
      const reason = new Error('too late')
      const lazy = openConnections({ url: database.url, applicationName: 'never-seen' })
      const aborted = { ...unit, signal: AbortSignal.abort(reason) }
      await expect(sql`select 1`.execute(lazy.reader(aborted))).rejects.toBe(reason)
      await expect(lazy.transaction(aborted, async () => undefined)).rejects.toBe(reason)
      await expect(lazy.snapshot(aborted, async () => undefined)).rejects.toBe(reason)
      await expect(lazy.direct({ ...aborted, ticket: 't' }, async () => undefined)).rejects.toBe(reason)
      expect(await database.query(`select from pg_stat_activity where application_name like 'never-seen%'`)).toEqual([])
      await lazy.close()
    })

    it('rolls a transaction back that was aborted between statements', async () => {
      const stop = new AbortController()
      const reason = new Error('stop between')
      const aborted = connections.transaction({ ...unit, signal: stop.signal }, async ({ db }) => {
        await sql`insert into public.notes (id) values (7)`.execute(db)
        stop.abort(reason)
      })
      await expect(aborted).rejects.toBe(reason)
      expect(await database.query('select from public.notes')).toEqual([])
    })

    it('takes a connection back from a user who hangs, and ends its transaction', async () => {
      const small = openConnections({ url: database.url, applicationName: 'small', maxConnections: 1 })
      const stop = new AbortController()
      const db = await new Promise<Kysely<unknown>>((resolve) => {
        void small.transaction({ ...unit, signal: stop.signal }, async (session) => {
          await sql`lock table public.notes in access exclusive mode`.execute(session.db)
          resolve(session.db as Kysely<unknown>)
          await new Promise(() => undefined)
        })
      })
      stop.abort(new Error('no answer'))
      // The only connection is free again, and so is what it had locked.
      expect((await sql`select count(*) from public.notes`.execute(small.reader(unit))).rows).toHaveLength(1)
      await expect(sql`insert into public.notes (id) values (99)`.execute(db)).rejects.toThrow('no answer')
      await small.close()
    })

    it('stops waiting for a free connection', async () => {
      const small = openConnections({ url: database.url, applicationName: 'small', maxConnections: 1 })
      const stop = new AbortController()
      await small.transaction(unit, async ({ db }) => {
        await sql`select 1`.execute(db)
        const waiting = sql`select 2`.execute(small.reader({ ...unit, signal: stop.signal }))
        stop.abort(new Error('not waiting'))
        await expect(waiting).rejects.toThrow('not waiting')
      })
      expect((await sql`select 3 as three`.execute(small.reader(unit))).rows).toEqual([{ three: 3 }])
      await small.close()
    })

    it('never hits a later statement of the same connection', async () => {
      const one = openConnections({ url: database.url, applicationName: 'one', maxConnections: 1 })
      for (let round = 0; round < 30; round++) {
        const stop = new AbortController()
        const first = sql`select pg_sleep(${round % 3 === 0 ? 60 : 0})`.execute(
          one.reader({ ...unit, signal: stop.signal }),
        )
        const settled = first.then(
          () => 'done',
          () => 'stopped',
        )
        // From "before it was sent" to "already answered".
        if (round % 2 === 0) await new Promise(setImmediate)
        stop.abort(new Error('round'))
        await settled
        expect(
          (await sql`select pg_sleep(0.002), ${round}::int as round`.execute(one.reader(unit))).rows,
        ).toMatchObject([{ round }])
      }
      await one.close()
    })
  })

  describe('snapshot', () => {
    it('sees one instant, and copies out', async () => {
      await database.query(
        `insert into public.notes (id, text) select n, repeat('x', 100) from generate_series(1, 5000) n`,
      )
      await connections.snapshot(unit, async ({ db, copyTo }) => {
        await sql`select 1`.execute(db)
        await database.query('delete from public.notes where id > 4000')
        let bytes = 0
        let rows = 0
        for await (const chunk of copyTo('copy (select id, text from public.notes) to stdout')) {
          bytes += chunk.length
          for (const byte of chunk) if (byte === 10) rows++
        }
        expect(rows).toBe(5000)
        expect(bytes).toBeGreaterThan(500_000)
        expect((await sql`select count(*)::int as n from public.notes`.execute(db)).rows).toEqual([{ n: 5000 }])
        await expect(sql`delete from public.notes`.execute(db)).rejects.toMatchObject({ code: 'not-a-read' })
        await expect(db.transaction().execute(async () => undefined)).rejects.toMatchObject({
          code: 'not-in-transaction',
        })
      })
    })

    it('survives a COPY that is left early, fails, is aborted, or is none', async () => {
      const slow = `copy (select id, repeat('y', 1000) from public.notes, generate_series(1, 1000)) to stdout`
      await connections
        .snapshot(unit, async ({ copyTo }) => {
          for await (const chunk of copyTo(slow)) {
            expect(chunk.length).toBeGreaterThan(0)
            break
          }
        })
        // The transaction in which the COPY was cancelled has nothing left to commit.
        .then(
          () => expect.unreachable(),
          (error: unknown) => expect(error).toMatchObject({ code: 'transaction-aborted' }),
        )
      const copyAll = (statement: string, signal?: AbortSignal): Promise<void> =>
        connections.snapshot({ ...unit, ...(signal && { signal }) }, async ({ copyTo }) => {
          for await (const chunk of copyTo(statement)) void chunk
        })
      await expect(copyAll('copy (select 1 / 0) to stdout')).rejects.toMatchObject({ code: '22012' })
      await expect(
        copyAll('copy (select id / (id - 3000) from public.notes order by id) to stdout'),
      ).rejects.toMatchObject({ code: '22012' })
      await expect(copyAll('select 1')).rejects.toMatchObject({ code: 'not-a-copy' })
      await expect(copyAll(`copy public.notes to program 'cat'`)).rejects.toMatchObject({ code: 'not-a-copy' })
      const stop = new AbortController()
      const reason = new Error('stop the copy')
      const aborted = connections.snapshot({ ...unit, signal: stop.signal }, async ({ copyTo }) => {
        for await (const chunk of copyTo(slow)) {
          void chunk
          stop.abort(reason)
        }
      })
      await expect(aborted).rejects.toBe(reason)
      await until(database, `not ${running('to stdout')}`)
      await database.query('delete from public.notes')
    })
  })

  describe('transaction', () => {
    it('commits everything or nothing', async () => {
      const result = await connections.transaction(unit, async ({ db }) => {
        await sql`insert into public.notes (id) values (1)`.execute(db)
        const changed = await db.updateTable('public.notes').set({ text: 'b' }).executeTakeFirst()
        return changed.numUpdatedRows
      })
      expect(result).toBe(1n)
      const failing = connections.transaction(unit, async ({ db }) => {
        await sql`delete from public.notes`.execute(db)
        throw new Error('changed my mind')
      })
      await expect(failing).rejects.toThrow('changed my mind')
      expect(await database.query('select id from public.notes')).toEqual([{ id: 1 }])
      await database.query('delete from public.notes')
    })

    it('is no success when a failed statement was swallowed', async () => {
      const swallowed = connections.transaction(unit, async ({ db }) => {
        await sql`insert into public.notes (id) values (2)`.execute(db)
        await sql`select 1 / 0`.execute(db).catch(() => undefined)
      })
      await expect(swallowed).rejects.toMatchObject({ code: 'transaction-aborted' })
      expect(await database.query('select from public.notes')).toEqual([])
    })

    it('reports what COMMIT itself refuses', async () => {
      const orphan = connections.transaction(unit, ({ db }) => sql`insert into public.children values (1)`.execute(db))
      await expect(orphan).rejects.toMatchObject({ code: '23503' })
    })

    it('collects the notices of this transaction alone', async () => {
      const raise = (text: string) =>
        connections.transaction(unit, async ({ db, notices }) => {
          await sql
            .raw(`do $$ begin raise warning '${text}' using errcode = '01ABC'; raise notice 'and more'; end $$`)
            .execute(db)
          return notices
        })
      expect(await raise('first')).toEqual([
        { code: '01ABC', message: 'first' },
        { code: '00000', message: 'and more' },
      ])
      expect((await raise('second')).map(({ message }) => message)).toEqual(['second', 'and more'])
    })

    it('hears warnings although the role is set to be deaf', async () => {
      const role = await database.createRole({
        grants: `alter role $role set client_min_messages = 'error'; grant select on public.notes to $role`,
      })
      const restricted = openConnections({ url: role.url, applicationName: 'deaf' })
      const notices = await restricted.transaction(unit, async (session) => {
        await sql`analyze public.notes`.execute(session.db)
        return session.notices
      })
      expect(notices).toMatchObject([{ code: '01000' }])
      await restricted.close()
    })

    it('reads values as text that look the same to every role', async () => {
      const settings = {
        datestyle: 'German',
        intervalstyle: 'sql_standard',
        timezone: 'Asia/Tokyo',
        extra_float_digits: '-5',
        bytea_output: 'escape',
      }
      const role = await database.createRole({
        grants: Object.entries(settings)
          .map(([name, value]) => `alter role $role set ${name} = '${value}'`)
          .join('; '),
      })
      const odd = openConnections({ url: role.url, applicationName: 'odd' })
      const values = sql<Record<string, string>>`
        select (timestamptz '2026-11-25 01:02:03+00')::text as at, (interval '1 day -2 hours')::text as span,
          (0.1::float8 + 0.2::float8)::text as number, ('\\x00ff'::bytea)::text as bytes`
      const expected = [
        { at: '2026-11-25 01:02:03+00', span: '1 day -02:00:00', number: '0.30000000000000004', bytes: '\\x00ff' },
      ]
      expect((await values.execute(odd.reader(unit))).rows).toEqual(expected)
      expect((await odd.snapshot(unit, ({ db }) => values.execute(db))).rows).toEqual(expected)
      expect((await odd.transaction(unit, ({ db }) => values.execute(db))).rows).toEqual(expected)
      const direct = await odd.direct({ ...unit, ticket: randomUUID() }, ({ db }) => values.execute(db))
      expect(direct.rows).toEqual(expected)
      await odd.close()
    })

    it('refuses to nest, to be ended from inside, and to leave traces in the session', async () => {
      await connections.transaction(unit, async ({ db }) => {
        await expect(db.transaction().execute(async () => undefined)).rejects.toMatchObject({
          code: 'not-in-transaction',
        })
        for (const statement of [
          'commit',
          'rollback',
          'begin',
          'select 1; commit',
          `set work_mem = '1MB'`,
          'listen x',
          'select pg_advisory_lock(1)',
        ]) {
          await expect(sql.raw(statement).execute(db)).rejects.toMatchObject({ code: 'not-in-transaction' })
        }
        await sql`set local work_mem = '1MB'`.execute(db)
        await sql`savepoint here`.execute(db)
        await expect(sql`select 1 / 0`.execute(db)).rejects.toMatchObject({ code: '22012' })
        await sql`rollback to savepoint here`.execute(db)
      })
    })

    it('is over for whoever goes on using it', async () => {
      const kept: Kysely<unknown>[] = []
      await connections.transaction(unit, async ({ db }) => {
        kept.push(db)
      })
      await expect(sql`select 1`.execute(kept[0]!)).rejects.toMatchObject({ code: 'session-ended' })
    })

    it('copies in, and takes back what a broken source has sent', async () => {
      async function* lines(count: number, breakAfter = Infinity): AsyncGenerator<Uint8Array> {
        for (let n = 1; n <= count; n++) {
          if (n > breakAfter) throw new Error('the source broke')
          yield Buffer.from(`${n}\ttext ${n}\n`)
        }
      }
      const statement = 'copy public.notes (id, text) from stdin'
      await connections.transaction(unit, ({ copyFrom }) => copyFrom(statement, lines(3000)))
      expect(await database.query('select count(*)::int as n from public.notes')).toEqual([{ n: 3000 }])
      await database.query('delete from public.notes')
      await expect(
        connections.transaction(unit, ({ copyFrom }) => copyFrom(statement, lines(3000, 100))),
      ).rejects.toThrow('the source broke')
      await expect(
        connections.transaction(unit, ({ copyFrom }) => copyFrom('select 1', lines(1))),
      ).rejects.toMatchObject({ code: 'not-a-copy' })
      await expect(
        connections.transaction(unit, ({ copyFrom }) => copyFrom('copy public.nowhere from stdin', lines(10))),
      ).rejects.toMatchObject({ code: '42P01' })
      const stop = new AbortController()
      async function* endless(): AsyncGenerator<Uint8Array> {
        for (let n = 1; ; n++) {
          if (n === 500) stop.abort(new Error('stop the copy'))
          yield Buffer.from(`${n}\tx\n`)
          await new Promise(setImmediate)
        }
      }
      await expect(
        connections.transaction({ ...unit, signal: stop.signal }, ({ copyFrom }) => copyFrom(statement, endless())),
      ).rejects.toThrow('stop the copy')
      expect(await database.query('select from public.notes')).toEqual([])
      expect((await sql`select 1 as one`.execute(connections.reader(unit))).rows).toEqual([{ one: 1 }])
    })
  })

  describe('direct', () => {
    it('is a session with limits and a name that carries the ticket whole', async () => {
      const ticket = '0f0e0d0c-0b0a-4909-8807-060504030201'
      const long = openConnections({
        url: database.url,
        applicationName: 'a-name-that-is-much-too-long-for-postgresql-itself',
      })
      const seen = await long.direct(
        { ...unit, statementTimeoutMs: 4321, ticket },
        async ({ db, backendPid, notices }) => {
          await sql`vacuum public.notes`.execute(db)
          await sql`do $$ begin raise notice 'direct'; end $$`.execute(db)
          expect(notices).toMatchObject([{ message: 'direct' }])
          const [activity] = await database.query<{ name: string }>(
            'select application_name as name from pg_stat_activity where pid = $1',
            [backendPid],
          )
          const { rows } = await sql<{ name: string; setting: string }>`select name, setting from pg_settings
          where name in ('client_connection_check_interval', 'statement_timeout', 'idle_session_timeout',
            'idle_in_transaction_session_timeout') order by name`.execute(db)
          return { activity, rows }
        },
      )
      expect(seen.activity?.name).toHaveLength(63)
      expect(seen.activity?.name).toMatch(/^a-name-that-is-much-too-lo:0f0e0d0c-.*$/)
      expect(seen.activity?.name.slice(-36)).toBe(ticket)
      expect(seen.rows).toEqual([
        { name: 'client_connection_check_interval', setting: '1000' },
        { name: 'idle_in_transaction_session_timeout', setting: '10000' },
        { name: 'idle_session_timeout', setting: '14321' },
        { name: 'statement_timeout', setting: '4321' },
      ])
      await long.close()
      await leakCheckOf(database, 'a-name')
    })

    it(
      'is ended by the server when its process does nothing more, as when it is frozen',
      { timeout: 60_000 },
      async () => {
        const frozen = connections.direct({ statementTimeoutMs: 1, ticket: 'frozen' }, async ({ db }) => {
          await until(
            database,
            `not exists (select from pg_stat_activity where application_name like '%:frozen' and datname = current_database())`,
          )
          await sql`select 1`.execute(db)
        })
        await expect(frozen).rejects.toMatchObject({ code: '57P05' })
      },
    )

    it('is closed after a failure, and after an abort', async () => {
      await expect(
        connections.direct({ ...unit, ticket: 'failed' }, () => Promise.reject(new Error('no'))),
      ).rejects.toThrow('no')
      const stop = new AbortController()
      const aborted = connections.direct({ ...unit, ticket: 'aborted', signal: stop.signal }, ({ db }) =>
        sql`select pg_sleep(100), 'direct abort'`.execute(db),
      )
      await until(database, running('direct abort'))
      stop.abort(new Error('stop direct'))
      await expect(aborted).rejects.toThrow('stop direct')
      await leakCheckOf(database, 'database-test:')
    })
  })

  describe('a connection that dies', () => {
    const terminate = (text: string) =>
      database.query(
        `select pg_terminate_backend(pid) from pg_stat_activity where query like $1 and pid <> pg_backend_pid() and datname = current_database()`,
        [`%${text}%`],
      )

    it('rejects the statement and the next unit of work goes on', async () => {
      const sleeping = sql`select pg_sleep(100), 'terminate me'`.execute(connections.reader(unit))
      const outcome = expect(sleeping).rejects.toMatchObject({ code: '57P01' })
      await until(database, running('terminate me'))
      await terminate('terminate me')
      await outcome
      expect((await sql`select 1 as one`.execute(connections.reader(unit))).rows).toEqual([{ one: 1 }])
    })

    it('rejects a transaction that was idle meanwhile', async () => {
      const died = connections.transaction(unit, async ({ db }) => {
        await sql`select 'idle death'`.execute(db)
        await terminate('idle death')
        await until(
          database,
          `not exists (select from pg_stat_activity where query like '%idle death%' and pid <> pg_backend_pid())`,
        )
      })
      // The end may be known before COMMIT is sent, or be the answer to it: in both cases nothing was committed silently.
      await expect(died).rejects.toMatchObject({
        code: expect.stringMatching(/^(57P01|commit-unknown|connection-lost)$/) as string,
      })
    })

    it('leaves the pool when it dies idle', async () => {
      const idle = openConnections({ url: database.url, applicationName: 'dies-idle' })
      await sql`select 'dies idle'`.execute(idle.reader(unit))
      await database.query(
        `select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'dies-idle'`,
      )
      await until(database, `not exists (select from pg_stat_activity where application_name = 'dies-idle')`)
      await new Promise(setImmediate)
      expect((await sql`select 1 as one`.execute(idle.reader(unit))).rows).toEqual([{ one: 1 }])
      await idle.close()
    })

    it('ends COMMIT with "unknown" when the answer is lost', async () => {
      // A deferred trigger runs inside COMMIT, which gives the time to end the connection in its middle.
      await database.query(
        `create function public.slow() returns trigger language plpgsql as $$ begin perform pg_sleep(100); return null; end $$`,
      )
      await database.query(
        `create constraint trigger slow after insert on public.parents deferrable initially deferred for each row execute function public.slow()`,
      )
      const committing = connections.transaction(unit, ({ db }) =>
        sql`insert into public.parents values (99)`.execute(db),
      )
      const outcome = expect(committing).rejects.toMatchObject({ code: 'commit-unknown' })
      await until(database, `exists (select from pg_stat_activity where query = 'commit' and state = 'active')`)
      await database.query(`select pg_terminate_backend(pid) from pg_stat_activity where query = 'commit'`)
      await outcome
    })
  })

  it('closes although a statement is running, and ends it on the server', async () => {
    const paused = openConnections({ url: database.url, applicationName: 'closing' })
    const sleeping = paused.transaction(unit, async ({ db }) => {
      await sql`set local statement_timeout = 0`.execute(db)
      await sql`select pg_sleep(100), 'closing'`.execute(db)
    })
    const outcome = expect(sleeping).rejects.toMatchObject({ code: 'connections-closed' })
    await until(database, running('closing'))
    await paused.close()
    await outcome
    await until(database, `not ${running('closing')}`)
    await expect(paused.probe()).rejects.toMatchObject({ code: 'connections-closed' })
  })
})

async function leakCheckOf(database: TestDatabase, prefix: string): Promise<void> {
  await until(
    database,
    `not exists (select from pg_stat_activity where application_name like '${prefix}%' and datname = current_database())`,
  )
}
