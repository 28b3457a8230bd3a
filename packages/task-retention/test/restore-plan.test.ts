import type { ArchivedColumn, BatchWithObjects, StoredArchiveObject } from '@battlescope/archive'
import { describe, expect, it } from 'vitest'
import { retentionConfig } from '../src/config.js'
import { resolvePolicies } from '../src/policy.js'
import {
  addMonths,
  beginOfMonth,
  endOfHold,
  orderBatches,
  orderObjects,
  planRestoredColumns,
  type Target,
  type TargetColumn,
} from '../src/restore-plan.js'

const archived = (name: string, change: Partial<ArchivedColumn> = {}): ArchivedColumn => ({
  name,
  typeName: 'text',
  encoding: 'text',
  list: false,
  notNull: false,
  generated: false,
  ...change,
})
const column = (name: string, change: Partial<TargetColumn> = {}): TargetColumn => ({
  name,
  typeName: 'text',
  notNull: false,
  hasDefault: false,
  generated: false,
  ...change,
})
const target = (columns: readonly TargetColumn[], change: Partial<Target> = {}): Target => ({
  name: 'public.t',
  schema: 'public',
  relation: 't',
  columns,
  primaryKey: ['id'],
  foreignKeys: [],
  mayInsert: true,
  ...change,
})
const keep = { ignoreDroppedColumns: false }
const id = archived('id')

describe('columns of a restore', () => {
  it('go where they came from, with the type of today', () => {
    expect(
      planRestoredColumns(
        [id, archived('n', { typeName: 'integer' }), archived('g', { generated: true })],
        target([column('g', { generated: true }), column('n', { typeName: 'bigint' }), column('id')]),
        keep,
      ),
    ).toEqual({
      columns: [
        { name: 'id', typeName: 'text', archivedAs: undefined },
        { name: 'n', typeName: 'bigint', archivedAs: 'integer' },
      ],
      problems: [],
    })
  })

  it.each<[string, readonly ArchivedColumn[], Target, RegExp]>([
    ['a dropped column', [id, archived('old')], target([column('id')]), /no column old any more/],
    ['dropped columns', [id, archived('a'), archived('b')], target([column('id')]), /no columns a, b any more/],
    [
      'a column that must have a value',
      [id],
      target([column('id'), column('new', { notNull: true })]),
      /column new that must not be NULL/,
    ],
    ['no primary key', [id], target([column('id')], { primaryKey: [] }), /no primary key any more/],
    [
      'another primary key',
      [id],
      target([column('id'), column('k', { hasDefault: true })], { primaryKey: ['k'] }),
      /primary key of public\.t has column k/,
    ],
    ['no right to insert', [id], target([column('id')], { mayInsert: false }), /no right to insert/],
  ])('are refused with %s, and a hint', (_, columns, to, message) => {
    const { problems } = planRestoredColumns(columns, to, keep)
    expect(problems.map(({ summary }) => summary)).toEqual([expect.stringMatching(message)])
    expect(problems[0]?.hint).not.toBe('')
  })

  it.each<[string, readonly ArchivedColumn[], Target, boolean]>([
    [
      'new ones with a default',
      [id],
      target([column('id'), column('new', { notNull: true, hasDefault: true })]),
      false,
    ],
    ['new ones that may be NULL', [id], target([column('id'), column('new')]), false],
    ['a generated one that is gone', [id, archived('g', { generated: true })], target([column('id')]), false],
    ['dropped ones that may be left out', [id, archived('old')], target([column('id')]), true],
  ])('may be %s', (_, columns, to, ignoreDroppedColumns) => {
    expect(planRestoredColumns(columns, to, { ignoreDroppedColumns }).problems).toEqual([])
  })
})

describe('the order of a restore', () => {
  const policies = resolvePolicies(retentionConfig.parse({}))
  const batch = (name: string, relation: string, month: string, firstAt = 0) =>
    ({ id: name, relation, month, firstAt: new Date(firstAt) }) as BatchWithObjects

  it('has groups before their members, then months, then times; and unknown policies first', () => {
    const ordered = orderBatches(
      [
        batch('k2', 'public.killmail_events', '2020-04'),
        batch('k1b', 'public.killmail_events', '2020-03', 2),
        batch('k1a', 'public.killmail_events', '2020-03', 1),
        batch('b2', 'public.battles', '2020-04'),
        batch('b1', 'public.battles', '2020-03'),
        batch('far', 'public.battles', '12020-03'),
        batch('?', 'public.other', '2021-01'),
      ],
      policies,
    )
    expect(ordered.map((each) => each.id)).toEqual(['?', 'b1', 'b2', 'far', 'k1a', 'k1b', 'k2'])
  })

  it('has relations before those that point to them, parts in their order, and survives circles', () => {
    const key = (references: string) => ({
      name: 'fk',
      columns: ['x'],
      references,
      referencedSchema: 'public',
      referencedRelation: '',
      referencedColumns: ['x'],
    })
    const targets = new Map([
      ['a', target([], { foreignKeys: [key('b')] })],
      ['b', target([], { foreignKeys: [key('b'), key('elsewhere')] })],
      ['c', target([], { foreignKeys: [key('d')] })],
      ['d', target([], { foreignKeys: [key('c')] })],
    ])
    const objects = ['a0', 'a1', 'b0', 'c0', 'd0'].map(
      (name) => ({ name, relation: name[0] ?? '' }) as StoredArchiveObject,
    )
    expect(orderObjects(objects, targets).map(({ name }) => name)).toEqual(['b0', 'a0', 'a1', 'c0', 'd0'])
  })
})

describe('months and holds', () => {
  it.each([
    ['2020-12', 1, '2021-01'],
    ['2020-01', -1, '2019-12'],
    ['2020-06', 0, '2020-06'],
    ['0999-12', 1, '1000-01'],
    ['9999-12', 1, '10000-01'],
  ])('%s and %i', (month, count, expected) => {
    expect(addMonths(month, count)).toBe(expected)
  })

  it('a month begins in UTC, also long ago', () => {
    expect(beginOfMonth('2020-03').toISOString()).toBe('2020-03-01T00:00:00.000Z')
    expect(beginOfMonth('0044-03').toISOString()).toBe('0044-03-01T00:00:00.000Z')
  })

  it('a hold lasts as long as was asked for, else a calendar period', () => {
    const now = new Date('2026-01-31T12:00:00Z')
    expect(endOfHold(now, 3_600_000, { months: 1, days: 0 }).toISOString()).toBe('2026-01-31T13:00:00.000Z')
    expect(endOfHold(now, undefined, { months: 1, days: 0 }).toISOString()).toBe('2026-02-28T12:00:00.000Z')
    expect(endOfHold(now, undefined, { months: 0, days: 30 }).toISOString()).toBe('2026-03-02T12:00:00.000Z')
  })
})
