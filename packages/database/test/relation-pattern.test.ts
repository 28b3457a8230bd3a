import { createTestDatabase, sharedServer, createTestRole } from '@battlescope/postgres-testing'
import { sql, type Kysely } from 'kysely'
import { describe, expect, it } from 'vitest'
import {
  chosenRelations,
  isAmongRelations,
  matchesRelation,
  mayMaintain,
  openConnections,
  parseRelationPattern,
} from '../src/index.js'

const matches = (pattern: string, schema: string, name: string) =>
  matchesRelation(parseRelationPattern(pattern), { schema, name })

describe('a pattern of relations', () => {
  it.each([
    ['battles', 'public', 'battles', true],
    ['battles', 'other', 'battles', false],
    ['Public.Battles', 'public', 'battles', true],
    ['"Public".battles', 'public', 'battles', false],
    ['Killmail_*', 'public', 'killmail_events', true],
    ['public.*', 'public', 'Anything "at" all.\n', true],
    ['public.?', 'public', '💥', true],
    ['public.a+b*', 'public', 'a+bc', true],
    ['public.a+b*', 'public', 'aab', false],
    ['"odd*"', 'public', 'odd*', true],
    ['"odd*"', 'public', 'oddly', false],
    // What PostgreSQL does with letters beyond ASCII depends on the server's locale: they are left as they are.
    ['public.Ä*', 'public', 'Äb', true],
    ['public.Ä*', 'public', 'äb', false],
    ['Ä', 'public', 'Ä', true],
  ])('%s and %s.%s: %s', (pattern, schema, name, expected) => {
    expect(matches(pattern, schema, name)).toBe(expected)
  })

  it.each(['', 'a.b.c', 'a.b.*', '"open', 'x'.repeat(64)])('%j is refused', (text) => {
    expect(() => parseRelationPattern(text)).toThrow()
  })
})

describe('a choice of relations', () => {
  const [battles, killmails, old] = ['battles', 'killmails', 'killmails_2020'].map((name) => ({
    schema: 'public',
    name,
  }))
  const all = [battles!, killmails!, old!]

  it('has what is meant, without what is left out, in the order that it came in', () => {
    expect(chosenRelations(all, { relations: ['killmails*', 'battles'], exclude: ['*_2020'] })).toEqual([
      battles,
      killmails,
    ])
    expect(chosenRelations(all, { relations: [], exclude: [] })).toEqual([])
    expect(isAmongRelations(old!, ['battles', 'killmails_20??'])).toBe(true)
  })

  it('goes by all names of a relation', () => {
    const namesOf = (relation: { readonly schema: string; readonly name: string }) =>
      relation === old ? [relation, killmails!] : [relation]
    expect(chosenRelations(all, { relations: ['killmails'], exclude: [] }, namesOf)).toEqual([killmails, old])
    expect(chosenRelations(all, { relations: ['*'], exclude: ['killmails'] }, namesOf)).toEqual([battles])
  })
})

describe.each([15, 17] as const)('mayMaintain on PostgreSQL %i', (major) => {
  it('says what ANALYZE does', async () => {
    const database = await createTestDatabase({ server: await sharedServer(major) })
    const role = await createTestRole(database)
    const connections = openConnections({ url: role.url, applicationName: 'test' })
    const unit = { statementTimeoutMs: 5000 }
    const { versionNum } = await connections.probe()
    const claimed = async () => {
      const db = connections.reader(unit) as Kysely<unknown>
      const { rows } = await sql<{ may: boolean }>`SELECT ${mayMaintain(versionNum)} AS may FROM pg_catalog.pg_class c
        WHERE c.oid = 'public.t'::regclass`.execute(db)
      return rows[0]?.may
    }
    const done = () =>
      connections.transaction(unit, async ({ db, notices }) => {
        await sql`ANALYZE public.t`.execute(db)
        return notices.length === 0
      })
    try {
      await database.query('CREATE TABLE public.t (i int)')
      expect([await claimed(), await done()]).toEqual([false, false])
      await database.query(
        major >= 17 ? `GRANT MAINTAIN ON public.t TO ${role.name}` : `ALTER TABLE public.t OWNER TO ${role.name}`,
      )
      expect([await claimed(), await done()]).toEqual([true, true])
      await database.query(
        `DROP TABLE public.t; CREATE TABLE public.t (i int); ALTER DATABASE ${database.name} OWNER TO ${role.name}`,
      )
      expect([await claimed(), await done()]).toEqual([true, true])
    } finally {
      await connections.close()
      await database.query(`ALTER DATABASE ${database.name} OWNER TO CURRENT_USER`)
      await database.drop()
    }
  })
})
