/** A relation with a column of every kind goes out through retention, and comes back as it was. */
import { randomUUID } from 'node:crypto'
import { catalogIn, verifyArchive, type ArchiveFinding } from '@battlescope/archive'
import { openConnections } from '@battlescope/database'
import { afterEach, expect, it } from 'vitest'
import { createWorld, type World } from './world.js'

let world: World

afterEach(() => world.close())

const schema = `
  CREATE SCHEMA "Od.d";
  CREATE TYPE "Od.d"."Mood" AS ENUM ('sad', 'it''s "ok"', 'ä');
  CREATE DOMAIN "Od.d".short AS character(5);
  CREATE TYPE "Od.d".pair AS (a int, b text);
  CREATE TABLE "Od.d"."Every Type" (
    id bigint GENERATED ALWAYS AS IDENTITY, part text, at timestamptz NOT NULL, PRIMARY KEY (part, id),
    "bool" boolean, i2 smallint, i4 int, f4 real, f8 double precision, num numeric, num2 numeric(10, 2), cash money,
    t text, vc varchar(20), bc char(7), c "char", n name, b bytea, d date, ts timestamp(3), tm time, tmz timetz, iv interval,
    u uuid, js json, jb jsonb, x xml, net inet, ci cidr, mac macaddr, bits bit(5), vbits bit varying, pt point, bx box, pg polygon,
    tsv tsvector, tq tsquery, ir int4range, mr nummultirange, tr tstzrange, oi oid, rc regclass,
    mood "Od.d"."Mood", dom "Od.d".short, pair "Od.d".pair, path path, lsn pg_lsn,
    ia bigint[], ta text[], tza timestamptz[], moods "Od.d"."Mood"[], pairs "Od.d".pair[], matrix int[][], shifted int[], jba jsonb[], doms "Od.d".short[],
    twice int GENERATED ALWAYS AS (i4 * 2) STORED
  );
  CREATE INDEX ON "Od.d"."Every Type" (at)`

/** Of each column some odd values; NULL comes from the lists being of different length. */
const values: Readonly<Record<string, readonly string[]>> = {
  bool: ['true', 'false'],
  i2: ['-32768', '32767', '0'],
  i4: ['-1073741824', '1073741823', '7'],
  f4: [`'NaN'`, `'Infinity'`, `'-0'`, '3.4028235e38', '1e-45', '0.1'],
  f8: [`'NaN'`, `'-Infinity'`, `'-0'`, '1.7976931348623157e308', '5e-324', '0.1', '123456789.123456789'],
  num: [`'NaN'`, `'Infinity'`, '12345678901234567890123456789.123456789012345678901234567890', '1.10', '0.000'],
  num2: ['12345678.90', '-0.01'],
  cash: [`'-92233720368547758.08'`, '12.34'],
  t: [`''`, `'NULL'`, `'{"a",\\}'`, `E'tab\\t line\\nquote"''\\\\'`, `'𝄞€ä'`, `repeat('long ', 20000)`],
  vc: [`'  blanks  '`, `''`],
  bc: [`'ab'`, `''`],
  c: [`'x'`, `''`],
  n: [`'Some Name'`],
  b: [`'\\x00ff00'`, `''`],
  d: [`'infinity'`, `'-infinity'`, `'4713-01-01 BC'`, `'5874897-12-31'`, `'2020-02-29'`],
  ts: [`'infinity'`, `'0044-03-15 12:00:00.5 BC'`, `'294276-12-31 23:59:59.999'`],
  tm: [`'24:00'`, `'00:00:00.000001'`],
  tmz: [`'23:59:59.999999-15:59'`],
  iv: [`'-1 year 2 mons -3 days 04:05:06.000007'`, `'178000000 years'`, `'0'`],
  u: [`'ffffffff-ffff-ffff-ffff-ffffffffffff'`],
  js: [`'{"a":  1, "a": 2}'`, `'null'`],
  jb: [`'{"b": [1.50, null, "ä\\"\\\\"], "a": 1e400}'`, `'null'`, `'""'`],
  x: [`'<a>b</a>'`, `'no document'`],
  net: [`'::1/64'`, `'10.0.0.1'`],
  ci: [`'10.0.0.0/8'`],
  mac: [`'08:00:2b:01:02:03'`],
  bits: [`B'10101'`],
  vbits: [`B''`, `B'111000111'`],
  pt: [`'(1.5,-0)'`, `'(NaN,Infinity)'`],
  bx: [`'(1,2),(3,4)'`],
  pg: [`'((0,0),(1,1),(1,0))'`],
  tsv: [`'''a'':1A b:2'`],
  tq: [`'a & !b'`],
  ir: [`'[1,10)'`, `'empty'`, `'(,)'`],
  mr: [`'{[1,2),(3.5,4]}'`],
  tr: [`'[2020-01-01,infinity)'`],
  oi: ['4294967295'],
  rc: [`'public.battles'`, `'pg_class'`],
  mood: [`'it''s "ok"'`, `'ä'`],
  dom: [`'ab'`],
  pair: [`'(1,"a,""b")'`, `'(,)'`],
  path: [`'[(0,0),(1,1)]'`, `'((0,0),(1,1))'`],
  lsn: [`'16/B374D848'`],
  ia: [`'{}'`, `'{NULL,1,-9223372036854775808}'`],
  ta: [`'{NULL,"NULL","","a,\\"b\\\\c","{}"}'`],
  tza: [`'{infinity,2020-01-01 00:00:00.000001+05}'`, `'{2020-06-01 12:00:00+00,NULL}'`],
  moods: [`'{sad,NULL,"it''s \\"ok\\""}'`],
  pairs: [`ARRAY['(1,x)', NULL]::"Od.d".pair[]`],
  matrix: [`'{{1,2},{3,NULL}}'`],
  shifted: [`'[5:6]={1,2}'`],
  jba: [`ARRAY['{"a": "\\""}', NULL]::jsonb[]`],
  doms: [`ARRAY['ab', NULL]::"Od.d".short[]`],
}

const policy = { name: 'every-type', relation: '"Od.d"."Every Type"', timeColumn: 'at' }

it('brings every type back', async () => {
  world = await createWorld()
  await world.database.query(schema)
  const most = Math.max(...Object.values(values).map((list) => list.length))
  for (let row = 0; row < most + 1; row++) {
    const used = Object.entries(values).filter(([, list]) => list[row] !== undefined)
    const names = ['part', 'at', ...used.map(([name]) => `"${name}"`)].join(', ')
    const list = [
      `'p'`,
      `'2020-03-01 00:00:00.000001+00'::timestamptz + ${row} * interval '1 day'`,
      ...used.map(([, own]) => own[row]),
    ]
    await world.database.query(`INSERT INTO "Od.d"."Every Type" (${names}) VALUES (${list.join(', ')})`)
  }
  // The newest stays.
  await world.database.query(`INSERT INTO "Od.d"."Every Type" (part, at) VALUES ('young', now());
    CREATE SCHEMA original; CREATE TABLE original.every AS TABLE "Od.d"."Every Type"; ANALYZE`)
  const config = { policies: [policy] }
  const ran = await world.runToEnd({ config })
  expect(ran.at(-1)?.task.run).toMatchObject({ outcome: 'succeeded' })
  expect(await world.count('"Od.d"."Every Type"')).toBe(1)
  expect(await world.names('data/')).toHaveLength(1)
  expect(await verify()).toEqual([])

  const request = { do: 'restore', id: randomUUID(), from: '2020-03', to: '2020-03' }
  const restored = await world.run({ config, request })
  expect(restored.task.run).toMatchObject({ outcome: 'succeeded', findings: [] })
  for (const [one, other] of [
    ['original.every', '"Od.d"."Every Type"'],
    ['"Od.d"."Every Type"', 'original.every'],
  ]) {
    expect(
      await world.database.query(`SELECT t::text FROM ${one} t EXCEPT ALL SELECT t::text FROM ${other} t`),
    ).toEqual([])
  }
  expect(await verify()).toEqual([])
})

async function verify(): Promise<readonly ArchiveFinding[]> {
  const connections = openConnections({ url: world.database.url, applicationName: 'verify' })
  const found: ArchiveFinding[] = []
  try {
    const db = catalogIn(connections.reader({ statementTimeoutMs: 10_000 }), 'scheduler')
    const catalog = { db, now: new Date(0) }
    await verifyArchive({ store: await world.store(), catalog, depth: 'deep', report: (each) => found.push(each) })
  } finally {
    await connections.close()
  }
  return found
}
