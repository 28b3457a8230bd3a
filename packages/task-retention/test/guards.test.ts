import { createHash } from 'node:crypto'
import { GuardColumn } from '@battlescope/archive'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  assignToParents,
  changedKeys,
  digestOf,
  fieldSeparator,
  joinGuards,
  rowCountOf,
  rowRange,
  rowSeparator,
  rowsOf,
} from '../src/guards.js'

const columnsOf = (columns: readonly (readonly string[])[]) => columns.map((texts) => GuardColumn.of(texts))
const guards = columnsOf([
  ['1', '1', '2', '3'],
  ['a', 'b', 'c', 'd'],
  ['700', '700', '701', '702'],
])
const pointers = guards.slice(0, 1)

describe('digestOf', () => {
  it('depends on every field, on the order, and on where fields and rows end', () => {
    const hash = (columns: readonly (readonly string[])[]) =>
      digestOf(columnsOf(columns), rowRange(0, columns[0]?.length ?? 0)).hash
    const hashes = [
      hash([
        ['1', '2'],
        ['x', 'y'],
      ]),
      hash([
        ['2', '1'],
        ['y', 'x'],
      ]),
      hash([
        ['1', '2'],
        ['x', 'z'],
      ]),
      hash([
        ['1x', '2'],
        ['', 'y'],
      ]),
      hash([['1', '2']]),
      hash([['1']]),
      hash([[]]),
    ]
    expect(new Set(hashes).size).toBe(hashes.length)
  })

  it('is that of no text for no rows', () => {
    expect(digestOf(guards, rowRange(0, 0))).toEqual({
      rows: 0,
      hash: 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
    })
  })

  it('is the SHA-256 of the texts, however long they are', () => {
    const sizes = fc.constantFrom(0, 1, 47, 48, 300, 65_534, 65_535, 65_536, 70_000)
    const text = fc.tuple(fc.constantFrom('x', 'ä', '𝄞'), sizes).map(([character, size]) => character.repeat(size))
    fc.assert(
      fc.property(fc.array(fc.tuple(text, text), { maxLength: 8 }), (rows) => {
        const columns = columnsOf([rows.map(([a]) => a), rows.map(([, b]) => b)])
        const whole = rows.map((row) => row.join(fieldSeparator)).join(rowSeparator)
        expect(digestOf(columns, rowRange(0, rowCountOf(columns)))).toEqual({
          rows: rows.length,
          hash: createHash('sha256').update(whole).digest('hex'),
        })
      }),
    )
  })
})

describe('assignToParents', () => {
  it('gives each parent its rows in the order of the copy', () => {
    const owners = assignToParents(pointers, [['1', '2', '3', '4']])
    const own = [0, 1, 2, 3].map((parent) => [...rowsOf(owners, parent, parent + 1)])
    expect(own).toEqual([[0, 1], [2], [3], []])
    expect(owners.unassigned).toBe(0)
    expect([...rowsOf(owners, 0, 2)]).toEqual([0, 1, 2])
    expect([...rowsOf(owners, 0, 4)]).toEqual([0, 1, 2, 3])
  })

  it('keeps the order of the copy where parents are in another one', () => {
    const owners = assignToParents(pointers, [['3', '1', '2']])
    expect([...rowsOf(owners, 0, 2)]).toEqual([0, 1, 3])
  })

  it('tells of rows that look as if they belonged to none', () => {
    expect(assignToParents(columnsOf([['1.0']]), [['1']]).unassigned).toBe(1)
  })

  it('assigns every row exactly once, with keys of several columns', () => {
    const values = fc.array(fc.tuple(fc.nat(3), fc.nat(3)), { maxLength: 30 })
    fc.assert(
      fc.property(values, (rows) => {
        const parents = [...new Set(rows.map(([a, b]) => `${a} ${b}`))].map((text) => text.split(' '))
        const column = (index: 0 | 1) => rows.map((row) => String(row[index]))
        const owners = assignToParents(columnsOf([column(0), column(1)]), [
          parents.map(([a]) => a ?? ''),
          parents.map(([, b]) => b ?? ''),
        ])
        expect(owners.unassigned).toBe(0)
        expect([...rowsOf(owners, 0, parents.length)]).toEqual([...rows.keys()])
        for (const [parent, key] of parents.entries()) {
          const own = [...rows.keys()].filter((row) => rows[row]?.join(' ') === key.join(' '))
          expect([...rowsOf(owners, parent, parent + 1)]).toEqual(own)
        }
      }),
    )
  })
})

it('joinGuards puts parts one behind the other', () => {
  expect(joinGuards([])).toEqual([])
  const joined = joinGuards([
    columnsOf([['1'], ['ä']]),
    columnsOf([
      ['2', '3'],
      ['', 'c'],
    ]),
  ])
  expect(joined.map((column) => [...column])).toEqual([
    ['1', '2', '3'],
    ['ä', '', 'c'],
  ])
})

it('changedKeys finds what changed, went and came', () => {
  const before = new Map([
    ['same', '1'],
    ['changed', '1'],
    ['gone', '1'],
  ])
  const now = new Map([
    ['same', '1'],
    ['changed', '2'],
    ['new', '1'],
  ])
  expect([...changedKeys(before, now)].sort()).toEqual(['changed', 'gone', 'new'])
})
