import { createTestDatabase, type TestDatabase } from '@battlescope/postgres-testing'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parseRelationName, quoteIdentifier, quoteRelation } from '../src/index.js'

let database: TestDatabase

beforeAll(async () => {
  database = await createTestDatabase()
})

afterAll(() => database.drop())

const awkward = fc.oneof(
  fc.constantFrom(
    'a',
    'B',
    '_',
    '$',
    '.',
    '"',
    "'",
    '\\',
    ' ',
    '\n',
    '\t',
    '%',
    '*',
    ';',
    '--',
    '/*',
    'é',
    'ß',
    '漢',
    '🚀',
    '9',
    '-',
  ),
  fc.string({ unit: 'grapheme', minLength: 1, maxLength: 3 }),
)
const identifier = fc
  .array(awkward, { minLength: 1, maxLength: 30 })
  .map((parts) => parts.join(''))
  .filter((name) => !name.includes('\0') && Buffer.byteLength(name) <= 63 && !/\p{Surrogate}/u.test(name))

describe('quoteIdentifier', () => {
  it('refuses what PostgreSQL could not keep', () => {
    expect(() => quoteIdentifier('')).toThrow(
      expect.objectContaining({ code: 'identifier', message: 'the name is empty' }),
    )
    expect(() => quoteIdentifier('a\0b')).toThrow('the name contains a NUL character')
    expect(() => quoteIdentifier('\ud800')).toThrow('half of a surrogate pair')
    expect(quoteIdentifier('x'.repeat(63))).toHaveLength(65)
    expect(() => quoteIdentifier('x'.repeat(64))).toThrow('64 bytes')
    expect(() => quoteIdentifier('é'.repeat(32))).toThrow('64 bytes')
  })

  it('names the very relation that was meant, in a real server', async () => {
    await fc.assert(
      fc.asyncProperty(identifier, identifier, async (schema, name) => {
        fc.pre(!schema.startsWith('pg_'))
        const relation = quoteRelation(schema, name)
        await database.query(`create schema if not exists ${quoteIdentifier(schema)}`)
        await database.query(`create table ${relation} ()`)
        const [row] = await database.query<{ schema: string; name: string }>(
          `select nspname::text as schema, relname::text as name from pg_class c join pg_namespace n on n.oid = relnamespace
           where c.oid = to_regclass($1)`,
          [relation],
        )
        expect(row).toEqual({ schema, name })
        expect(parseRelationName(relation)).toEqual({ schema, name })
        await database.query(`drop schema ${quoteIdentifier(schema)} cascade`)
      }),
      { numRuns: 60 },
    )
  })
})

describe('parseRelationName', () => {
  it('reads names as PostgreSQL does', async () => {
    const names = [
      'killmail_events',
      'Public.Killmail_Events',
      '"Odd.Name"."x""y"',
      '  a.b ',
      '_a$1',
      'public."a b"',
      'ÄB.c',
    ]
    expect(names.map((name) => parseRelationName(name))).toEqual([
      { schema: 'public', name: 'killmail_events' },
      { schema: 'public', name: 'killmail_events' },
      { schema: 'Odd.Name', name: 'x"y' },
      { schema: 'a', name: 'b' },
      { schema: 'public', name: '_a$1' },
      { schema: 'public', name: 'a b' },
      { schema: 'Äb', name: 'c' },
    ])
    for (const text of names) {
      const { schema, name } = parseRelationName(text)
      const parts = await database.query<{ parts: string[] }>('select parse_ident($1) as parts', [text.trim()])
      expect([schema, name].slice(-(parts[0]?.parts.length ?? 0))).toEqual(parts[0]?.parts)
    }
    expect(parseRelationName('a', 'other')).toEqual({ schema: 'other', name: 'a' })
  })

  it.each([
    ['', 'it is empty'],
    ['  ', 'it is empty'],
    ['.a', 'a part beside a dot is empty'],
    ['a.', 'a part beside a dot is empty'],
    ['a..b', 'a part beside a dot is empty'],
    ['a.b.c', 'it has 3 parts'],
    ['a b', 'a b needs quotes'],
    ['1a', '1a needs quotes'],
    ['public.*', '* needs quotes'],
    ['"a', 'a quotation mark has no counterpart'],
    ['"a"b', 'something follows a quoted part'],
    ['a"b"', 'something follows a quoted part'],
    ['""', 'the name in \'""\' is empty'],
    [`${'x'.repeat(64)}.a`, '64 bytes'],
    ['a."b\0"', 'NUL'],
  ])('refuses %j', (text, problem) => {
    expect(() => parseRelationName(text)).toThrow(
      expect.objectContaining({ code: 'identifier', message: expect.stringContaining(problem) }),
    )
  })

  it('reads or refuses any text', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        try {
          const { schema, name } = parseRelationName(text)
          expect(parseRelationName(quoteRelation(schema, name))).toEqual({ schema, name })
        } catch (error) {
          expect(error).toMatchObject({ code: 'identifier' })
        }
      }),
    )
  })
})
