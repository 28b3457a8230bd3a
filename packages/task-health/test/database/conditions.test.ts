/** Every condition really produced, on a server of its own: some of them belong to the whole server. */
import { startPostgres, createTestDatabase, type TestDatabase, type TestServer } from '@battlescope/scheduler-testing'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { clockSkew } from '../../src/database/clock-skew.js'
import { invalidIndexes, sequences, unloggedRelations } from '../../src/database/relations.js'
import { replicationSlots } from '../../src/database/replication.js'
import { cacheMisses, checkpoints, harmful } from '../../src/database/server.js'
import { blockedQueries, connections, idleTransactions, longTransactions } from '../../src/database/sessions.js'
import { deadRows, vacuumHorizon, wraparound } from '../../src/database/vacuuming.js'
import { diskForecast } from '../../src/database/disk.js'
import { look, openSession, type Client } from './look.js'

/** Anything is old. */
const atOnce = 1

describe.each([15, 17] as const)('on PostgreSQL %i', (major) => {
  let server: TestServer
  let database: TestDatabase
  const open: Client[] = []
  beforeAll(async () => {
    server = await startPostgres({
      major,
      settings: {
        max_prepared_transactions: '5',
        wal_level: 'logical',
        max_connections: '20',
        superuser_reserved_connections: '3',
        autovacuum_freeze_max_age: '100000',
        autovacuum_multixact_freeze_max_age: '10000',
      },
    })
  })
  afterAll(() => server.stop())
  beforeEach(async () => {
    database = await createTestDatabase({ server })
  })
  afterEach(async () => {
    for (const client of open.splice(0)) await client.end()
    await database.drop()
  })
  const session = async (application?: string) => {
    const client = await openSession(database.url, application)
    open.push(client)
    return client
  }
  const pidOf = async (client: Client) =>
    (await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')).rows[0]?.pid
  /** Until the server says so: what others do shows up when they have done it. */
  const until = async (sql: string) => {
    for (;;) if ((await database.query<{ so: boolean }>(`SELECT (${sql}) AS so`))[0]?.so === true) return
  }

  it('finds nothing where nothing is wrong', async () => {
    const { url } = database
    const all = [connections, longTransactions, idleTransactions, blockedQueries, replicationSlots, vacuumHorizon]
    for (const check of [...all, deadRows, invalidIndexes, sequences, unloggedRelations, wraparound]) {
      expect({ check: check.key, found: (await look(check, { url })).found }).toEqual({ check: check.key, found: [] })
    }
  })

  it('finds that connections run out, and who has them', async () => {
    for (let count = 0; count < 13; count += 1) await session('greedy pool')
    const { found, gauges } = await look(connections, { url: database.url })
    expect(found).toHaveLength(1)
    expect(found[0]?.summary).toMatch(/^1\d of 17 connections are in use, the threshold is 80 %$/)
    expect(found[0]?.details).toMatchObject({ limit: 17 })
    expect(JSON.stringify(found[0]?.details)).toContain('{"application":"greedy pool","connections":13}')
    expect(gauges['connections_limit']).toBe(17)
  })

  it('finds a long transaction, and one that is idle, without the values of its statement', async () => {
    const client = await session('forgetful')
    await client.query(`BEGIN; SELECT 'hunter2', 42`)
    const pid = await pidOf(client)
    const long = await look(longTransactions, { url: database.url, options: { age: atOnce } })
    expect(long.found[0]?.summary).toContain(`a transaction of pid ${pid} (postgres, forgetful, idle in transaction)`)
    const idle = await look(idleTransactions, { url: database.url, options: { age: atOnce } })
    expect(idle.found[0]?.summary).toContain(`pid ${pid} (postgres, forgetful, idle in transaction) has been idle`)
    expect(JSON.stringify([long.found, idle.found])).not.toContain('hunter2')
  })

  it.each(['pg_dump', 'battlescope-scheduler backup'])('leaves dumps out of long transactions: %s', async (name) => {
    const client = await session(name)
    await client.query('BEGIN; SELECT 1')
    expect((await look(longTransactions, { url: database.url, options: { age: atOnce } })).found).toEqual([])
  })

  it('finds blocked statements, and the one at the root of a queue', async () => {
    await database.query('CREATE TABLE public.t (id int)')
    const [root, second, third] = [await session('the root'), await session('second'), await session('third')]
    await root.query('BEGIN; LOCK TABLE public.t IN ACCESS EXCLUSIVE MODE')
    const waiting = [second.query('BEGIN; LOCK TABLE public.t; COMMIT'), third.query('SELECT * FROM public.t')]
    await until(`(SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock') = 2`)
    const { found } = await look(blockedQueries, { url: database.url, options: { wait: atOnce } })
    const pid = await pidOf(root)
    expect(found).toHaveLength(1)
    expect(found[0]?.summary).toContain('2 statements wait for a lock')
    expect(found[0]?.summary).toContain(`blocked by pid ${pid} (postgres, the root, idle in transaction);`)
    await root.query('ROLLBACK')
    await Promise.all(waiting)
  })

  it('finds a statement that a prepared transaction blocks', async () => {
    await database.query('CREATE TABLE public.t (id int)')
    const client = await session()
    await client.query('BEGIN; LOCK TABLE public.t IN ACCESS EXCLUSIVE MODE')
    await client.query(`PREPARE TRANSACTION 'lost'`)
    const waiting = (await session()).query('SELECT * FROM public.t')
    await until(`(SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock') = 1`)
    const { found } = await look(blockedQueries, { url: database.url, options: { wait: atOnce } })
    expect(found[0]?.summary).toContain('blocked by a prepared transaction')
    await client.query(`ROLLBACK PREPARED 'lost'`)
    await waiting
  })

  it('finds a slot that nobody uses', async () => {
    await database.query(`SELECT pg_create_physical_replication_slot('nobody', true)`)
    try {
      const { found } = await look(replicationSlots, { url: database.url })
      expect(found).toMatchObject([{ subject: 'nobody' }])
      expect(found[0]?.summary).toContain('the physical slot nobody is not in use')
      expect(found[0]).not.toHaveProperty('severity')
      await database.query(`SELECT pg_logical_emit_message(false, 'x', repeat('x', 2000000)), pg_switch_wal()`)
      const worse = await look(replicationSlots, { url: database.url, options: { wal: 1_000_000 } })
      expect(worse.found).toMatchObject([{ subject: 'nobody', severity: 'error' }])
    } finally {
      await database.query(`SELECT pg_drop_replication_slot('nobody')`)
    }
  })

  describe('names what holds the horizon of VACUUM', () => {
    const held = { held: atOnce, age: 1 }

    it('a session', async () => {
      const client = await session('reader')
      await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1')
      await database.query('CREATE TABLE public.t (id int)')
      const { found } = await look(vacuumHorizon, { url: database.url, options: held })
      expect(found[0]?.summary).toContain(
        `the session pid ${await pidOf(client)} (postgres, reader, idle in transaction)`,
      )
    })

    it('a prepared transaction', async () => {
      const client = await session()
      await client.query(`BEGIN; CREATE TABLE public.t (id int)`)
      await client.query(`PREPARE TRANSACTION 'lost'`)
      const { found } = await look(vacuumHorizon, { url: database.url, options: held })
      expect(found[0]?.summary).toContain('the prepared transaction lost (postgres)')
      await client.query(`ROLLBACK PREPARED 'lost'`)
    })

    it('a slot', async () => {
      await database.query(`SELECT pg_create_logical_replication_slot('decoder', 'pgoutput')`)
      try {
        await database.query('CREATE TABLE public.t (id int)')
        const { found } = await look(vacuumHorizon, { url: database.url, options: held })
        expect(found[0]?.summary).toContain(
          'the replication slot decoder still sees it; the threshold is 1 transactions',
        )
      } finally {
        await database.query(`SELECT pg_drop_replication_slot('decoder')`)
      }
    })

    it('and says so of the dead rows that it keeps', async () => {
      await database.query('CREATE TABLE public.t AS SELECT g AS id FROM generate_series(1, 2000) g')
      const client = await session('reader')
      await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM public.t')
      await database.query('UPDATE public.t SET id = id + 1')
      await database.query('VACUUM public.t')
      await until(`(SELECT n_dead_tup FROM pg_stat_user_tables WHERE relid = 'public.t'::regclass) >= 2000`)
      const { found } = await look(deadRows, { url: database.url, options: { rows: 1000 } })
      expect(found).toMatchObject([{ subject: 'public.t' }])
      expect(found[0]?.summary).toContain(
        `VACUUM is held back by the session pid ${await pidOf(client)} (postgres, reader`,
      )
    })

    it('and blames nobody who came later, nor a slot that keeps rows of the catalogs alone', async () => {
      await database.query(`SELECT pg_create_logical_replication_slot('decoder', 'pgoutput')`)
      try {
        await database.query('CREATE TABLE public.t AS SELECT g AS id FROM generate_series(1, 2000) g')
        await database.query('UPDATE public.t SET id = id + 1')
        await until(`(SELECT n_dead_tup FROM pg_stat_user_tables WHERE relid = 'public.t'::regclass) >= 2000`)
        const client = await session('reader')
        await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM public.t')
        const { found } = await look(deadRows, { url: database.url, options: { rows: 1000 } })
        expect(found[0]?.summary).toContain('nothing holds VACUUM back')
        await client.query('COMMIT')
        const horizon = await look(vacuumHorizon, { url: database.url, options: held })
        expect(horizon.found[0]?.summary).toMatch(/^VACUUM removes nothing from the system catalogs that died/)
        await database.query('VACUUM public.t')
        expect((await look(deadRows, { url: database.url, options: { rows: 1000 } })).found).toEqual([])
      } finally {
        await database.query(`SELECT pg_drop_replication_slot('decoder')`)
      }
    })

    it('and says that nothing does, where autovacuum is just off', async () => {
      await database.query('CREATE TABLE public.t AS SELECT g AS id FROM generate_series(1, 2000) g')
      await database.query('UPDATE public.t SET id = id + 1')
      await until(`(SELECT n_dead_tup FROM pg_stat_user_tables WHERE relid = 'public.t'::regclass) >= 2000`)
      const { found } = await look(deadRows, { url: database.url, options: { rows: 1000 } })
      expect(found[0]?.summary).toContain('nothing holds VACUUM back')
    })
  })

  it('finds an index that a failed build left, and none that is being built', async () => {
    await database.query('CREATE TABLE public.t (id int); INSERT INTO public.t VALUES (1), (1)')
    await expect(database.query('CREATE UNIQUE INDEX CONCURRENTLY broken ON public.t (id)')).rejects.toThrow()
    const { found } = await look(invalidIndexes, { url: database.url })
    expect(found).toMatchObject([{ subject: 'public.broken', details: { relation: 'public.t' } }])
    await database.query('DROP INDEX public.broken')

    const writer = await session()
    await writer.query('BEGIN; INSERT INTO public.t VALUES (2)')
    const building = (await session()).query('CREATE INDEX CONCURRENTLY fine ON public.t (id)')
    await until(`EXISTS (SELECT FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE c.relname = 'fine')`)
    expect((await look(invalidIndexes, { url: database.url })).found).toEqual([])
    await writer.query('COMMIT')
    await building
  })

  it('finds sequences near their end, by the type of their column where that ends first', async () => {
    await database.query(`CREATE TABLE public.a (id smallint GENERATED ALWAYS AS IDENTITY);
      CREATE TABLE public.b (id serial); ALTER SEQUENCE public.b_id_seq AS bigint;
      CREATE TABLE public.c (id bigserial);
      CREATE SEQUENCE public.down INCREMENT -1 MINVALUE -100 MAXVALUE -1; CREATE SEQUENCE public.round MAXVALUE 10 CYCLE;
      SELECT setval('public.a_id_seq', 32000), setval('public.b_id_seq', 2000000000), setval('public.c_id_seq', 2000000000),
        setval('public.down', -90), setval('public.round', 10)`)
    const { found, gauges } = await look(sequences, { url: database.url })
    expect(found.map(({ subject, severity }) => [subject, severity])).toEqual([
      ['public.a_id_seq', 'critical'],
      ['public.b_id_seq', undefined],
      ['public.down', undefined],
    ])
    expect(found[1]?.summary).toContain('has used 93 % of its values (2000000000 of 2147483647)')
    expect(gauges['sequence_used_ratio']).toBeGreaterThan(0.97)
  })

  it('says which sequences a role may not read, instead of taking them for fine', async () => {
    await database.query('CREATE SEQUENCE public.hidden; CREATE SEQUENCE public."Hid.den"')
    const { name, url } = await database.createRole()
    const { found } = await look(sequences, { url })
    expect(found).toMatchObject([{ subject: 'unreadable', severity: 'info' }])
    const [grant = ''] = /GRANT .*/.exec(found[0]?.summary ?? '') ?? []
    for (const part of ['GRANT SELECT ON SEQUENCE ', 'public.hidden', 'public."Hid.den"', ` TO ${name}`])
      expect(grant).toContain(part)
    await database.query(grant)
    expect((await look(sequences, { url })).found).toEqual([])
  })

  it('finds unlogged tables, but those that are meant to be', async () => {
    await database.query('CREATE UNLOGGED TABLE public.fast (id int); CREATE UNLOGGED TABLE public.meant (id int)')
    const { found } = await look(unloggedRelations, { url: database.url, options: { expected: ['public.meant'] } })
    expect(found.map(({ subject }) => subject)).toEqual(['public.fast'])
  })

  it('finds settings that hurt, by what holds for others and not for itself', async () => {
    const { found } = await look(harmful, { url: database.url })
    expect(found.map(({ subject, severity }) => [subject, severity])).toEqual([
      ['fsync', 'critical'],
      ['full_page_writes', 'critical'],
      ['autovacuum', 'error'],
      ['idle_in_transaction_session_timeout', 'info'],
    ])
    const accepted = { accepted: found.map(({ subject }) => subject) }
    expect((await look(harmful, { url: database.url, options: accepted })).found).toEqual([])
  })

  it('finds that the clocks are apart, on either side, and nothing where they are not', async () => {
    const minuteMs = 60_000
    const at = (hostAheadMs: number) => look(clockSkew, { url: database.url, hostAheadMs })
    expect((await at(0)).found).toEqual([])
    const behind = await at(minuteMs)
    expect(behind.found).toMatchObject([{ summary: expect.stringMatching(/^the clock .* ms behind this/) as string }])
    expect(behind.gauges['clock_skew_seconds']).toBeCloseTo(-60, 0)
    expect((await at(-minuteMs)).found).toMatchObject([
      { summary: expect.stringMatching(/^the clock .* ms ahead of this/) as string },
    ])
  })

  it('finds that checkpoints are requested too often', async () => {
    const first = await look(checkpoints, { url: database.url, now: new Date(0) })
    expect(first.found).toEqual([])
    for (let count = 0; count < 7; count += 1) {
      await database.query(`SELECT pg_logical_emit_message(false, 'x', 'x')`)
      await database.query('CHECKPOINT')
    }
    const later = { url: database.url, now: new Date(3_600_000), memory: first.memory }
    const { found } = await look(checkpoints, later)
    expect(found[0]?.summary).toBe('7 checkpoints were requested in the last 60 min, the threshold is 6 an hour')
  })

  it('finds a jump of what is read from outside of shared buffers', async () => {
    await database.query(`CREATE TABLE public.wide AS SELECT repeat('x', 2000) AS x FROM generate_series(1, 40000)`)
    const first = await look(cacheMisses, { url: database.url, now: new Date(0) })
    const quiet = await look(cacheMisses, { url: database.url, now: new Date(86_400_000), memory: first.memory })
    expect(quiet.found).toEqual([])
    // Larger than shared buffers (64 MB): no part of it stays from one scan to the next.
    const reader = await session()
    for (let count = 0; count < 2; count += 1) await reader.query('SELECT count(*) FROM public.wide')
    await reader.end()
    open.pop()
    await until(`(SELECT blks_read FROM pg_stat_database WHERE datname = current_database()) > 10000`)
    const options = { floor: 1024, warmUp: 1 }
    const second = { url: database.url, now: new Date(86_460_000), memory: quiet.memory, options }
    const { found, gauges } = await look(cacheMisses, second)
    expect(found).toHaveLength(1)
    expect(gauges['cache_read_bytes_per_second']).toBeGreaterThan(1_000_000)
  })

  it('forecasts when the disk is full, from what the databases take', async () => {
    const day = 86_400_000
    const samples = [1, 2, 3, 4, 5].map((ago) => ({ day: 100 - ago, bytes: 1000 }))
    const { gauges } = await look(diskForecast, { url: database.url, now: new Date(100 * day), memory: { samples } })
    const bytes = gauges['databases_bytes'] ?? 0
    const growing = [1, 2, 3, 4, 5].map((ago) => ({ day: 100 - ago, bytes: bytes - ago * 10_000_000 }))
    const at = { url: database.url, now: new Date(100 * day), memory: { samples: growing } }
    // Ten megabytes a day: 100 MB are gone in ten days.
    const options = { capacity: bytes + 100_000_000, ratio: 1 }
    expect((await look(diskForecast, { ...at, options })).found).toMatchObject([
      { subject: 'forecast', severity: 'warning' },
    ])
    expect(
      (await look(diskForecast, { ...at, options: { ...options, capacity: bytes + 1_000_000_000 } })).found,
    ).toEqual([])
    expect((await look(diskForecast, { ...at, options: { capacity: bytes + 1 } })).found).toMatchObject([
      { subject: 'used' },
    ])
    expect((await look(diskForecast, at)).found).toMatchObject([{ subject: 'capacity', severity: 'info' }])
  })

  it('finds identifiers that are not frozen any more, and who keeps them', async () => {
    await database.query(`CREATE TABLE public.t AS SELECT g AS id FROM generate_series(1, 12000) g;
      CREATE PROCEDURE public.burn(transactions int) LANGUAGE plpgsql AS $$
        BEGIN FOR i IN 1..transactions LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$;
      CREATE PROCEDURE public.lock_each() LANGUAGE plpgsql AS $$ DECLARE r int; BEGIN
        FOR r IN SELECT id FROM public.t LOOP
          BEGIN PERFORM 1 FROM public.t WHERE id = r FOR KEY SHARE; EXCEPTION WHEN division_by_zero THEN NULL; END;
        END LOOP; END $$;
      CREATE INDEX ON public.t (id)`)
    const holder = await session('holder')
    await holder.query(
      'BEGIN; SELECT pg_current_xact_id(); SELECT count(*) FROM (SELECT 1 FROM public.t FOR KEY SHARE) s',
    )
    // Each subtransaction beside the holder is a multixact of its own.
    const other = await session('other')
    await other.query('BEGIN; CALL public.lock_each()')
    await database.query('CALL public.burn(130000)')
    const options = { factor: 1, critical: 0.95 }
    const { found } = await look(wraparound, { url: database.url, options })
    expect(found.map(({ subject }) => subject)).toEqual(['xid', 'multixact'])
    expect(found[0]?.details).toMatchObject({ freezeMaxAge: 100_000, heldBy: { kind: 'session' } })
    expect(JSON.stringify(found[0]?.details)).toContain('holder')
  })
})
