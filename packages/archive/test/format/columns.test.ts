import { describe, expect, it } from 'vitest'
import { planColumns, type SourceColumn } from '../../src/index.js'

const source = (typeName: string, typeOid: number, other: Partial<SourceColumn> = {}): SourceColumn => ({
  name: 'v',
  typeName,
  typeOid,
  typeKind: 'b',
  elementOid: 0,
  elementKind: '',
  notNull: false,
  generated: false,
  ...other,
})

describe('planColumns', () => {
  it.each([
    ['boolean', 16, 'boolean'],
    ['smallint', 21, 'int16'],
    ['integer', 23, 'int32'],
    ['bigint', 20, 'int64'],
    ['real', 700, 'float32'],
    ['double precision', 701, 'float64'],
    ['date', 1082, 'date'],
    ['timestamp without time zone', 1114, 'timestamp'],
    ['timestamp with time zone', 1184, 'timestamptz'],
    ['uuid', 2950, 'uuid'],
    ['json', 114, 'json'],
    ['jsonb', 3802, 'json'],
    ['bytea', 17, 'bytes'],
    ['text', 25, 'text'],
    ['character(5)', 1042, 'text'],
  ] as const)('reads %s in its binary form', (typeName, oid, encoding) => {
    expect(planColumns([source(typeName, oid)])).toEqual([
      { name: 'v', typeName, encoding, list: false, notNull: false, generated: false, selectAs: 'value' },
    ])
    expect(planColumns([source(`${typeName}[]`, 1, { elementOid: oid, elementKind: 'b' })])).toMatchObject([
      { encoding, list: true, selectAs: 'value' },
    ])
  })

  it.each([
    ['numeric', 1700],
    ['interval', 1186],
    ['inet', 869],
    ['money', 790],
    ['time with time zone', 1266],
    ['int2vector', 22],
  ])('casts %s to text', (typeName, oid) => {
    expect(planColumns([source(typeName, oid)])).toMatchObject([{ encoding: 'text', list: false, selectAs: 'cast' }])
  })

  it('takes the label of an enum, alone and in an array', () => {
    expect(planColumns([source('public.security_type', 16_400, { typeKind: 'e' })])).toMatchObject([
      { encoding: 'text', list: false, selectAs: 'value' },
    ])
    expect(
      planColumns([source('public.security_type[]', 16_399, { elementOid: 16_400, elementKind: 'e' })]),
    ).toMatchObject([{ encoding: 'text', list: true, selectAs: 'value' }])
  })

  it.each([
    ['a domain', { typeKind: 'd' }],
    ['a composite type', { typeKind: 'c' }],
    ['a range', { typeKind: 'r' }],
    ['an array of domains', { elementOid: 16_400, elementKind: 'd' }],
    ['a base type from an extension', {}],
  ])('asks the output function of %s', (_what, other) => {
    expect(planColumns([source('public.t', 16_401, other)])).toMatchObject([
      { encoding: 'text', list: false, selectAs: 'output' },
    ])
  })

  it('makes text of a column that turned out not to fit', () => {
    const columns = [source('date', 1082), source('bigint[]', 1016, { name: 'w', elementOid: 20, elementKind: 'b' })]
    expect(planColumns(columns, new Set(['w']))).toMatchObject([
      { name: 'v', encoding: 'date' },
      { name: 'w', encoding: 'text', list: false, typeName: 'bigint[]', selectAs: 'cast' },
    ])
  })
})
