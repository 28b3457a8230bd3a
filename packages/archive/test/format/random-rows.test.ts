import { openConnections, type DatabaseConnections } from '@battlescope/database'
import { createTestDatabase, sharedServer, type TestDatabase } from '@battlescope/postgres-testing'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { archiveTable, restoreTable } from './archived-table.js'

const unicode = fc
  .string({ unit: 'binary', maxLength: 40 })
  .map((text) => text.replaceAll('\0', '').replace(/\p{Surrogate}/gu, ''))
const nullable = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | null> => fc.option(arbitrary, { nil: null })
const arrayOf = (arbitrary: fc.Arbitrary<string>): fc.Arbitrary<string> =>
  fc
    .array(nullable(arbitrary), { maxLength: 6 })
    .map(
      (elements) =>
        `{${elements.map((text) => (text === null ? 'NULL' : `"${text.replace(/["\\]/g, '\\$&')}"`)).join(',')}}`,
    )

const integer = fc
  .oneof(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), fc.bigInt({ min: -5n, max: 5n }))
  .map(String)
const numeric = fc
  .tuple(fc.constantFrom('', '-'), fc.bigInt({ min: 0n, max: 10n ** 60n }), fc.bigInt({ min: 0n, max: 10n ** 40n }))
  .map(([sign, whole, fraction]) => `${sign}${whole}.${fraction}`)
const float = fc.double().map((value) => (Object.is(value, -0) ? '-0' : String(value)))
const single = fc.float().map((value) => (Object.is(value, -0) ? '-0' : String(value)))
const two = (value: number): string => String(value).padStart(2, '0')
/** From 4000 BC to the year 290000, to the microsecond; the days that a month lacks are left out. */
const timestamp = fc
  .tuple(
    fc
      .oneof(fc.integer({ min: -4_000, max: 290_000 }), fc.integer({ min: 1_890, max: 2_110 }))
      .filter((year) => year !== 0),
    fc.integer({ min: 1, max: 12 }),
    fc.integer({ min: 1, max: 28 }),
    fc.integer({ min: 0, max: 86_399_999_999 }),
  )
  .map(([year, month, day, micros]) => {
    const seconds = Math.floor(micros / 1_000_000)
    const time = `${two(Math.floor(seconds / 3600))}:${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}.${String(micros % 1_000_000).padStart(6, '0')}`
    return `${String(Math.abs(year)).padStart(4, '0')}-${two(month)}-${two(day)} ${time}${year < 0 ? ' BC' : ''}`
  })
const json = fc
  .json({ maxDepth: 3 })
  .filter((text) => !text.includes('\\u0000') && !/\\ud[89a-f]/i.test(text) && !/\p{Surrogate}/u.test(text))
const bytes = fc.uint8Array({ maxLength: 60 }).map((value) => `\\x${Buffer.from(value).toString('hex')}`)

const columns: Readonly<Record<string, readonly [type: string, values: fc.Arbitrary<string>]>> = {
  a: ['bigint', integer],
  b: ['text', unicode],
  c: ['numeric', numeric],
  d: ['double precision', float],
  e: ['real', single],
  f: ['timestamptz', timestamp.map((text) => text.replace(/( BC)?$/, '+00$1'))],
  g: ['timestamp', timestamp],
  h: ['jsonb', json],
  i: ['bytea', bytes],
  j: ['bigint[]', arrayOf(integer)],
  k: ['text[]', arrayOf(unicode)],
  l: ['timestamptz[]', arrayOf(timestamp.map((text) => text.replace(/( BC)?$/, '+00$1')))],
  m: ['jsonb[]', arrayOf(json)],
  n: ['double precision[]', arrayOf(float)],
  o: ['date', timestamp.map((text) => text.replace(/ \S+( BC)?$/, '$1'))],
  p: ['bytea[]', arrayOf(bytes)],
  q: ['json', json],
}

describe.each([15, 17] as const)('random rows on PostgreSQL %i', (major) => {
  let database: TestDatabase
  let connections: DatabaseConnections

  beforeAll(async () => {
    database = await createTestDatabase({ server: await sharedServer(major) })
    connections = openConnections({ url: database.url, applicationName: 'archive-test' })
  })

  afterAll(async () => {
    await connections.close()
    await database.drop()
  })

  it('come back as they were', { timeout: 240_000 }, async () => {
    const definitions = Object.entries(columns).map(([name, [type]]) => `${name} ${type}`)
    await database.query(
      `create table public.t (id serial primary key, ${definitions.join(', ')}); create table public.back (like public.t)`,
    )
    const names = Object.keys(columns)
    const row = fc.tuple(...Object.values(columns).map(([, values]) => nullable(values)))
    await fc.assert(
      fc.asyncProperty(
        fc.array(row, { minLength: 1, maxLength: 50 }),
        fc.integer({ min: 500, max: 20_000 }),
        async (rows, rowGroupBytes) => {
          await database.query('truncate public.t, public.back')
          const selected = names.map((name) => `${name}::${columns[name]?.[0] ?? ''}`)
          await database.query(
            `insert into public.t (${names.join(', ')}) select ${selected.join(', ')}
            from unnest(${names.map((_, index) => `$${index + 1}::text[]`).join(', ')}) as u(${names.join(', ')})`,
            names.map((_, column) => rows.map((values) => values[column] ?? null)),
          )
          const archived = await archiveTable(connections, 't', { rowGroupBytes })
          expect(await restoreTable(connections, archived, 'back')).toBe(rows.length)
          const different = names.map((name) => `t.${name}::text is distinct from b.${name}::text`)
          expect(
            await database.query(
              `select * from public.t t full join public.back b using (id) where ${different.join(' or ')}`,
            ),
          ).toEqual([])
        },
      ),
      { numRuns: 40 },
    )
  })
})
