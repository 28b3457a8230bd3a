import { openConnections, type DatabaseConnections } from '@battlescope/database'
import { createTestDatabase, type TestDatabase } from '@battlescope/postgres-testing'
import { DuckDBInstance, type DuckDBConnection } from '@duckdb/node-api'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { archiveTable } from './archived-table.js'

const rowCount = 20_000

describe('DuckDB over the files', () => {
  let database: TestDatabase
  let connections: DatabaseConnections
  let duckdb: DuckDBConnection
  let folder: string

  beforeAll(async () => {
    database = await createTestDatabase()
    await database.query(`
      create type public.security as enum ('highsec', 'lowsec', 'it''s');
      create table public.events (
        id bigint primary key, small smallint, medium int, price numeric, ratio float8, share float4, open boolean,
        day date, happened timestamptz, local timestamp, key uuid, payload jsonb, raw bytea, label public.security, word text,
        ids bigint[], words text[], moments timestamptz[]);
      insert into public.events select i, i % 30000, i * 100000 - 1000000000, (i * 7919)::numeric / 100, i / 7.0, i / 3.0::float4, i % 3 = 0,
        '2000-01-01'::date + (i % 40000 - 20000)::int, '2019-03-01 00:00:00.000001+00'::timestamptz + make_interval(secs => i * 61.000001),
        '1969-12-31 23:59:59.999999'::timestamp + make_interval(hours => i::int), md5((i % 300)::text)::uuid,
        jsonb_build_object('id', i, 'nested', jsonb_build_array(i % 7, null, 'ä"')), decode(lpad(to_hex(i), 8, '0'), 'hex'),
        (enum_range(null::public.security))[i % 3 + 1], case i % 5 when 0 then null when 1 then '' else 'word ' || i % 11 end,
        case i % 4 when 0 then null when 1 then '{}' when 2 then array[i, null, -i] else array_fill(i, array[(i % 6 + 1)::int]) end,
        case i % 3 when 0 then array['a', null, '', 'ä,"'] when 1 then '{}' end,
        array['2019-03-01 00:00:00.5+00'::timestamptz + make_interval(secs => i::int)]
      from generate_series(1::bigint, ${rowCount}) as i;
      insert into public.events (id) values (0), (9223372036854775807), (-9223372036854775808)`)
    connections = openConnections({ url: database.url, applicationName: 'archive-test' })
    folder = await mkdtemp(join(tmpdir(), 'archive-'))
    const { objects } = await archiveTable(connections, 'events', { maxObjectBytes: 2_000_000, rowGroupBytes: 500_000 })
    expect(objects.length).toBeGreaterThan(3)
    for (const [index, { bytes }] of objects.entries()) await writeFile(join(folder, `${index}.parquet`), bytes)
    duckdb = await (await DuckDBInstance.create()).connect()
    await duckdb.run(`set timezone = 'UTC'`)
    await duckdb.run(`create view events as select * from read_parquet('${folder}/*.parquet')`)
  })

  afterAll(async () => {
    duckdb?.closeSync()
    await rm(folder, { recursive: true, force: true })
    await connections?.close()
    await database?.drop()
  })

  const ask = async (sql: string): Promise<unknown> => (await duckdb.runAndReadAll(sql)).getRowObjectsJson()

  it('sees the columns with their types', async () => {
    const types = (await ask('select column_name, column_type from (describe events)')) as Record<string, string>[]
    expect(Object.fromEntries(types.map(({ column_name, column_type }) => [column_name, column_type]))).toEqual({
      id: 'BIGINT',
      small: 'SMALLINT',
      medium: 'INTEGER',
      price: 'VARCHAR',
      ratio: 'DOUBLE',
      share: 'FLOAT',
      open: 'BOOLEAN',
      day: 'DATE',
      happened: 'TIMESTAMP WITH TIME ZONE',
      local: 'TIMESTAMP',
      key: 'UUID',
      payload: 'JSON',
      raw: 'BLOB',
      label: 'VARCHAR',
      word: 'VARCHAR',
      ids: 'BIGINT[]',
      words: 'VARCHAR[]',
      moments: 'TIMESTAMP WITH TIME ZONE[]',
    })
  })

  // The same question in both dialects, every answer as text.
  it.each([
    ['rows and sums', `select count(*)::text a, sum(id)::text b, sum(small)::text c, sum(medium)::text d`],
    ['extremes', `select min(id)::text a, max(id)::text b, min(medium)::text c, max(day)::text d, min(day)::text e`],
    [
      'NULLs',
      `select count(small)::text a, count(word)::text b, count(ids)::text c, count(words)::text d, count(open)::text e`,
    ],
    [
      'texts and labels',
      `select count(distinct word)::text a, min(word) b, max(word) c, min(label) d, max(label) e, count(distinct key)::text f`,
    ],
    ['keys', `select min(key::text) a, max(key::text) b`],
    ['booleans', `select sum(case when open then 1 else 0 end)::text a`],
  ])('answers alike: %s', async (_what, select) => {
    expect(await ask(`${select} from events`)).toEqual(
      await database.query(
        `${select.replace('min(label)', 'min(label::text)').replace('max(label)', 'max(label::text)')} from public.events`,
      ),
    )
  })

  it.each([
    ['numbers', `sum(price::decimal(38,10))::text`, `sum(price)::numeric(38,10)::text`],
    [
      'floats',
      `max(ratio)::text || ' ' || (sum(ratio * 7) / 1000)::bigint`,
      `max(ratio)::text || ' ' || (sum(ratio * 7) / 1000)::bigint`,
    ],
    [
      'microseconds',
      `sum(epoch_us(happened))::text || ' ' || sum(epoch_us(local))::text`,
      `sum((extract(epoch from happened) * 1000000)::numeric(30,0))::text || ' ' || sum((extract(epoch from local) * 1000000)::numeric(30,0))::text`,
    ],
    [
      'bytes',
      `min(hex(raw)) || ' ' || max(hex(raw))`,
      `min(upper(encode(raw, 'hex'))) || ' ' || max(upper(encode(raw, 'hex')))`,
    ],
    [
      'JSON',
      `sum((payload->>'$.id')::bigint)::text || ' ' || max(payload->>'$.nested[2]')`,
      `sum((payload->>'id')::bigint)::text || ' ' || max(payload#>>'{nested,2}')`,
    ],
    [
      'JSON text',
      `md5(string_agg(payload::varchar, '' order by id))`,
      `md5(string_agg(payload::text, '' order by id))`,
    ],
    [
      'lists',
      `sum(len(ids))::text || ' ' || sum(list_sum(ids))::text || ' ' || sum(len(words))::text || ' ' || max(words[4])`,
      `sum(cardinality(ids))::text || ' ' || sum((select sum(x) from unnest(ids) x))::text || ' ' || sum(cardinality(words))::text || ' ' || max(words[4])`,
    ],
    [
      'empty lists',
      `sum(case when len(ids) = 0 then 1 else 0 end)::text`,
      `sum(case when ids = '{}' then 1 else 0 end)::text`,
    ],
    [
      'elements',
      `count(*) filter (ids[2] is null and len(ids) = 3)::text`,
      `(count(*) filter (where ids[2] is null and cardinality(ids) = 3))::text`,
    ],
    [
      'moments',
      `sum(epoch_us(moments[1]))::text`,
      `sum((extract(epoch from moments[1]) * 1000000)::numeric(30,0))::text`,
    ],
  ])('answers alike: %s', async (_what, duck, postgres) => {
    expect(await ask(`select ${duck} as answer from events`)).toEqual(
      await database.query(`select ${postgres} as answer from public.events`),
    )
  })

  it('finds rows by what the statistics allow it to skip', async () => {
    for (const [duck, postgres] of [
      ['id = 9223372036854775807', 'id = 9223372036854775807'],
      ['id between 17000 and 17010', 'id between 17000 and 17010'],
      [`happened >= '2019-03-14 00:00:00+00'`, `happened >= '2019-03-14 00:00:00+00'`],
      [`day < '1950-01-01'`, `day < '1950-01-01'`],
      ['medium > 999000000', 'medium > 999000000'],
    ])
      expect(await ask(`select count(*)::text as count from events where ${duck}`)).toEqual(
        await database.query(`select count(*)::text as count from public.events where ${postgres}`),
      )
  })

  it('says when something happened as PostgreSQL does', async () => {
    const select = (function_: string): string => `select id::text as id, ${function_} as moment from`
    const where = 'where id in (1, 77, 19999) order by id'
    expect(await ask(`${select("strftime(happened, '%Y-%m-%d %H:%M:%S.%f')")} events ${where}`)).toEqual(
      await database.query(
        `${select(`to_char(happened at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')`)} public.events ${where}`,
      ),
    )
  })
})
