import { openConnections, type DatabaseConnections } from '@battlescope/database'
import { createTestDatabase, sharedServer, type TestDatabase } from '@battlescope/postgres-testing'
import { sql } from 'kysely'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { archiveSelect, pinTextOutput, selectColumns, selectUnpinnedSettings } from '../../src/index.js'
import { unit } from './archived-table.js'
import { planned } from './planned.js'

describe('archiveSelect', () => {
  it('puts guards first, as text, and quotes names', () => {
    const columns = [
      planned('killmail_id', 'int64', 'bigint'),
      { ...planned('value', 'text', 'numeric'), selectAs: 'cast' as const },
      { ...planned('odd "name', 'text', 'public.pair'), selectAs: 'output' as const },
    ]
    expect(archiveSelect({ columns, alias: 't', guards: ['t.killmail_id', 't.xmin'] })).toBe(
      [
        '(t.killmail_id)::pg_catalog.text',
        '(t.xmin)::pg_catalog.text',
        '"t"."killmail_id"',
        '"t"."value"::pg_catalog.text',
        `CASE WHEN pg_catalog.num_nulls("t"."odd ""name") = 0 THEN pg_catalog.format('%s', "t"."odd ""name") END`,
      ].join(', '),
    )
  })
})

describe.each([15, 17] as const)('on PostgreSQL %i', (major) => {
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

  it('reads columns with names for casts that need no search_path', async () => {
    await database.query(`
      create schema other;
      create type other.security as enum ('highsec');
      create domain public.positive as bigint;
      create table other."a table" (
        id bigint not null, dropped int, price numeric(10,2), tags text[], label other.security, labels other.security[],
        amount public.positive, code char(3), padded bpchar, doubled bigint generated always as (id * 2) stored, vector int2vector);
      alter table other."a table" drop column dropped`)
    const columns = await selectColumns(connections.reader(unit), 'other', 'a table')
    expect(columns.map(({ name, typeName }) => [name, typeName])).toEqual([
      ['id', 'bigint'],
      ['price', 'numeric(10,2)'],
      ['tags', 'text[]'],
      ['label', 'other.security'],
      ['labels', 'other.security[]'],
      ['amount', 'public.positive'],
      ['code', 'character(3)'],
      ['padded', 'bpchar'],
      ['doubled', 'bigint'],
      ['vector', 'int2vector'],
    ])
    expect(columns.find(({ name }) => name === 'id')).toMatchObject({ notNull: true, typeOid: 20, generated: false })
    expect(columns.find(({ name }) => name === 'doubled')).toMatchObject({ generated: true })
    expect(columns.find(({ name }) => name === 'labels')).toMatchObject({ elementKind: 'e' })
    expect(columns.find(({ name }) => name === 'amount')).toMatchObject({ typeKind: 'd', elementOid: 0 })
    expect(columns.find(({ name }) => name === 'vector')).toMatchObject({ elementOid: 0, elementKind: '' })
    expect(await selectColumns(connections.reader(unit), 'other', 'nothing')).toEqual([])
  })

  it('pins the settings that text depends on, and tells which are not', async () => {
    await database.query(`alter database ${database.name} set intervalstyle = 'iso_8601'`)
    const fresh = openConnections({ url: database.url, applicationName: 'archive-test' })
    const before = await selectUnpinnedSettings(fresh.reader(unit))
    // A unit of work pins the others by itself, whatever the database has set.
    expect(before.map(({ name }) => name)).toEqual(['search_path'])
    await fresh.transaction(unit, async ({ db }) => {
      for (const statement of pinTextOutput) await sql.raw(statement).execute(db)
      expect(await selectUnpinnedSettings(db)).toEqual([])
    })
    await fresh.close()
  })
})
