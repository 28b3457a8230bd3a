import { openConnections, quoteIdentifier, type DatabaseConnections } from '@battlescope/database'
import { createTestDatabase, sharedServer, type TestDatabase } from '@battlescope/postgres-testing'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { textOutputSettings } from '../../src/index.js'
import { archiveTable, restoreTable } from './archived-table.js'
import { finite, samples, withoutInput } from './sample-values.js'

interface TypeRow {
  readonly name: string
  readonly array: string | null
}

const literal = (text: string): string => `'${text.replaceAll("'", "''")}'`

const arrayElement = (text: string): string => `"${text.replace(/["\\]/g, '\\$&')}"`

describe.each([15, 17] as const)('on PostgreSQL %i', (major) => {
  let database: TestDatabase
  let connections: DatabaseConnections

  beforeAll(async () => {
    database = await createTestDatabase({ server: await sharedServer(major) })
    for (const [name, value] of textOutputSettings)
      await database.query(
        `alter database ${database.name} set ${name} = ${name === 'search_path' ? value : literal(value)}`,
      )
    connections = openConnections({ url: database.url, applicationName: 'archive-test' })
  })

  afterAll(async () => {
    await connections.close()
    await database.drop()
  })

  type Columns = Readonly<Record<string, readonly [type: string, values: readonly string[]]>>

  /** One row per value of the longest column, and a last one of NULLs. */
  async function createTable(table: string, columns: Columns): Promise<void> {
    const entries = Object.entries(columns)
    const definitions = entries.map(([name, [type]]) => `${name} ${type}`)
    await database.query(`create table public.${table} (id int primary key, ${definitions.join(', ')})`)
    const count = Math.max(...entries.map(([, [, values]]) => values.length)) + 1
    const rows = Array.from({ length: count }, (_, row) => {
      const values = entries.map(([, [type, texts]]) => {
        const text = texts[row]
        return `${text === undefined ? 'null' : literal(text)}::${type}`
      })
      return `(${row}, ${values.join(', ')})`
    })
    await database.query(`insert into public.${table} values ${rows.join(', ')}`)
  }

  /** @returns the encodings that the columns ended up with */
  async function roundTrip(table: string): Promise<Record<string, string>> {
    const archived = await archiveTable(connections, table)
    await database.query(`create table public.${table}_back (like public.${table} including all)`)
    const restored = await restoreTable(connections, archived, `${table}_back`)
    const columns = archived.columns.filter(({ name }) => name !== 'id')
    const differences = columns.map(({ name }) => {
      const [a, b] = [`a.${quoteIdentifier(name)}`, `b.${quoteIdentifier(name)}`]
      return `select id, ${literal(name)} as name, ${a}::text as before, ${b}::text as after from both_tables
        where ${a}::text is distinct from ${b}::text or num_nulls(${a}) <> num_nulls(${b})`
    })
    const different = await database.query(
      differences
        .map((text) => text.replace('both_tables', `public.${table} a full join public.${table}_back b using (id)`))
        .join(' union all '),
    )
    expect(different, table).toEqual([])
    const [count] = await database.query<{ count: number }>(`select count(*)::int as count from public.${table}`)
    expect(restored).toBe(count?.count)
    await database.query(`drop table public.${table}, public.${table}_back`)
    return Object.fromEntries(columns.map(({ name, encoding, list }) => [name, list ? `${encoding}[]` : encoding]))
  }

  it('brings back every base type, range and multirange, and arrays of them', { timeout: 300_000 }, async () => {
    const types = await database.query<TypeRow>(`
      select typname as name, (select a.typname from pg_type a where a.oid = t.typarray) as array
      from pg_type t where typnamespace = 'pg_catalog'::regnamespace and typtype in ('b', 'e', 'd', 'r', 'm')
        and not exists (select from pg_type e where e.typarray = t.oid) order by oid`)
    expect(types.map(({ name }) => name).filter((name) => !(name in samples) && !withoutInput.has(name))).toEqual([])
    const encodings: Record<string, string> = {}
    for (const { name, array } of types) {
      if (withoutInput.has(name)) continue
      const values = samples[name] ?? []
      const type = `pg_catalog.${quoteIdentifier(name)}`
      const delimiter = name === 'box' ? ';' : ','
      const all = values.map(arrayElement).join(delimiter)
      const first = arrayElement(values[0] ?? '')
      const flat = ['{}', '{NULL}', `{${all}}`, `{NULL${delimiter}${all}${delimiter}NULL}`]
      const arrays: Columns = {
        list: [`${type}[]`, flat],
        nested: [`${type}[]`, [...flat, `{{${first}}${delimiter}{NULL}}`]],
        shifted: [`${type}[]`, [...flat, `[0:0]={${first}}`]],
      }
      await createTable('t', { value: [type, values], ...(array === null ? {} : arrays) })
      const { value = '', list, ...others } = await roundTrip('t')
      encodings[name] = value
      if (list !== undefined) encodings[`${name}[]`] = list
      expect(Object.values(others).filter((encoding) => encoding !== 'text')).toEqual([])
    }
    for (const [name, values] of Object.entries(finite)) {
      await createTable('t', {
        value: [name, values],
        list: [`${name}[]`, [`{${values.map(arrayElement).join(',')}}`, '{}']],
      })
      expect(await roundTrip('t')).toEqual({ value: name, list: `${name}[]` })
    }
    expect(Object.fromEntries(Object.entries(encodings).filter(([, encoding]) => encoding !== 'text'))).toEqual({
      bool: 'boolean',
      'bool[]': 'boolean[]',
      bytea: 'bytes',
      'bytea[]': 'bytes[]',
      'name[]': 'text[]',
      int8: 'int64',
      'int8[]': 'int64[]',
      int2: 'int16',
      'int2[]': 'int16[]',
      int4: 'int32',
      'int4[]': 'int32[]',
      'text[]': 'text[]',
      json: 'json',
      'json[]': 'json[]',
      float4: 'float32',
      'float4[]': 'float32[]',
      float8: 'float64',
      'float8[]': 'float64[]',
      'bpchar[]': 'text[]',
      'varchar[]': 'text[]',
      uuid: 'uuid',
      'uuid[]': 'uuid[]',
      jsonb: 'json',
      'jsonb[]': 'json[]',
    })
  })

  it('brings back rows of every catalog as values of a column', { timeout: 300_000 }, async () => {
    const catalogs = await database.query<{ name: string }>(`
      select c.relname as name from pg_class c where c.relnamespace = 'pg_catalog'::regnamespace and c.relkind in ('r', 'v')
        -- A column cannot hold a pseudo-type, nothing can be read into pg_node_tree and the like, and the name of an overloaded
        -- function is not read back as regproc, by pg_dump's means either.
        and not exists (select from pg_attribute a join pg_type t on t.oid = a.atttypid
          where a.attrelid = c.oid and a.attnum > 0
            and (t.typtype = 'p' or t.typname = 'regproc' or t.typname = any('{${[...withoutInput].join(',')}}')))
        order by 1`)
    expect(catalogs.length).toBeGreaterThan(80)
    const definitions = catalogs.map(({ name }) => `${name} pg_catalog.${name}`)
    await database.query(`create table public.c (id int primary key, ${definitions.join(', ')})`)
    const row = (offset: number): string =>
      catalogs.map(({ name }) => `(select x from pg_catalog.${name} x offset ${offset} limit 1)`).join(', ')
    await database.query(`insert into public.c values (0, ${row(0)}), (1, ${row(1)}), (2, ${row(1_000_000)})`)
    expect(new Set(Object.values(await roundTrip('c')))).toEqual(new Set(['text']))
  })

  it('brings back types of users', async () => {
    await database.query(`
      create extension hstore schema public;
      create extension citext schema public;
      create schema "odd ""schema";
      create type "odd ""schema"."odd, type[]" as enum ('a', 'with "quotes"', 'ä');
      create type public.pair as (left_value int, right_value text);
      create domain public.padded as char(5);
      create domain public.positive as bigint check (value > 0);
      create type public.weights as range (subtype = numeric);
      create type public.shout as (word text);
      create function public.shout_text(public.shout) returns text language sql return 'lost';
      create cast (public.shout as text) with function public.shout_text(public.shout)`)
    const cases: readonly (readonly [type: string, values: readonly string[], encoding: string])[] = [
      ['"odd ""schema"."odd, type[]"', ['a', 'with "quotes"', 'ä'], 'text'],
      ['"odd ""schema"."odd, type[]"[]', ['{}', '{a,NULL,"with \\"quotes\\""}'], 'text[]'],
      ['public.pair', ['(,)', '(1,"a,b")', '(,"")'], 'text'],
      ['public.pair[]', ['{}', '{"(,)",NULL,"(1,\\"x y\\")"}'], 'text'],
      ['public.padded', ['a', '  b'], 'text'],
      ['public.padded[]', ['{a,"  b"}'], 'text'],
      ['public.positive', ['1', '9223372036854775807'], 'text'],
      ['public.weights', ['[1.10,2.20)', 'empty'], 'text'],
      ['public.hstore', ['', '"a b"=>"c\\"d", e=>NULL'], 'text'],
      ['public.citext', ['Ab', 'NULL', ''], 'text'],
      ['public.citext[]', ['{Ab,NULL,"NULL"}'], 'text'],
      ['character(5)', ['a', '  b'], 'text'],
      ['character(5)[]', ['{a,"  b"}'], 'text[]'],
      ['numeric(10,2)', ['1.10', '-0.01'], 'text'],
      ['character varying(7)', ['seven 7'], 'text'],
      ['bit(3)', ['101'], 'text'],
      ['interval day to second(3)', ['1 day 00:00:01.234'], 'text'],
      ['timestamp(0) with time zone', ['2020-01-01 00:00:01+00'], 'timestamptz'],
    ]
    await createTable('u', Object.fromEntries(cases.map(([type, values], index) => [`v${index}`, [type, values]])))
    expect(Object.values(await roundTrip('u'))).toEqual(cases.map(([, , encoding]) => encoding))
    // Through the output function, whatever a cast to text would say. Compared by field: the cast would hide the difference.
    await createTable('u', { v: ['public.shout', ['(hello)', '()']] })
    const archived = await archiveTable(connections, 'u')
    await database.query('create table public.u_back (like public.u)')
    await restoreTable(connections, archived, 'u_back')
    expect(await database.query('select (v).word from public.u_back order by id')).toEqual([
      { word: 'hello' },
      { word: null },
      { word: null },
    ])
    // A composite value of NULLs is not NULL.
    expect(await database.query('select num_nulls(v) as nulls from public.u_back order by id')).toEqual([
      { nulls: 0 },
      { nulls: 0 },
      { nulls: 1 },
    ])
  })

  it('keeps values with a type of their own apart from the settings of the session', async () => {
    await database.query(`
      create table public.s (id int primary key, a float8, b float4, c date, d timestamptz, e timestamp, f bytea, g bigint[], h uuid, i jsonb);
      insert into public.s values (1, 0.1, 0.1, '2020-02-01', '2020-02-01 01:02:03.000004+00', '2020-02-01 01:02:03.4', '\\x00ff', '{1,2}',
        'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{"a": 0.10}')`)
    const [pinned] = (await archiveTable(connections, 's')).objects
    const hostile = await createHostileConnections()
    const [other] = (await archiveTable(hostile, 's')).objects
    expect(other?.checksums).toEqual(pinned?.checksums)
    await hostile.close()
  })

  async function createHostileConnections(): Promise<DatabaseConnections> {
    const role = await database.createRole({ attributes: 'superuser' })
    for (const setting of [
      "datestyle = 'SQL, DMY'",
      "intervalstyle = 'sql_standard'",
      "timezone = 'America/St_Johns'",
      'extra_float_digits = -15',
      "bytea_output = 'escape'",
      'search_path = public',
    ])
      await database.query(`alter role ${role.name} set ${setting}`)
    return openConnections({ url: role.url, applicationName: 'archive-test' })
  }
})
