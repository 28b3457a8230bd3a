import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { assignToParents, changedKeys, digestOf, joinGuards, rowsOf } from '../src/guards.js'

const guards = [
  ['1', '1', '2', '3'],
  ['a', 'b', 'c', 'd'],
  ['700', '700', '701', '702'],
]

describe('digestOf', () => {
  it('depends on every field, on the order, and on where fields and rows end', () => {
    const hash = (columns: readonly (readonly string[])[]) => digestOf(columns, [...(columns[0] ?? []).keys()]).hash
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
    expect(digestOf(guards, [])).toEqual({
      rows: 0,
      hash: 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
    })
  })
})

describe('assignToParents', () => {
  it('gives each parent its rows in the order of the copy', () => {
    const owners = assignToParents([guards[0] ?? []], [['1', '2', '3', '4']])
    expect(owners).toEqual({ byParent: [[0, 1], [2], [3], []], unassigned: 0 })
    expect(rowsOf(owners, 0, 2)).toEqual([0, 1, 2])
    expect(rowsOf(owners, 3, 4)).toEqual([])
  })

  it('keeps the order of the copy where parents are in another one', () => {
    const owners = assignToParents([guards[0] ?? []], [['3', '1', '2']])
    expect(rowsOf(owners, 0, 2)).toEqual([0, 1, 3])
  })

  it('tells of rows that look as if they belonged to none', () => {
    expect(assignToParents([['1.0']], [['1']]).unassigned).toBe(1)
  })

  it('assigns every row exactly once, with keys of several columns', () => {
    const values = fc.array(fc.tuple(fc.nat(3), fc.nat(3)), { maxLength: 30 })
    fc.assert(
      fc.property(values, (rows) => {
        const parents = [...new Set(rows.map(([a, b]) => `${a} ${b}`))].map((text) => text.split(' '))
        const column = (index: 0 | 1) => rows.map((row) => String(row[index]))
        const { byParent, unassigned } = assignToParents(
          [column(0), column(1)],
          [parents.map(([a]) => a ?? ''), parents.map(([, b]) => b ?? '')],
        )
        expect(unassigned).toBe(0)
        expect(byParent.flat().sort((a, b) => a - b)).toEqual([...rows.keys()])
      }),
    )
  })
})

it('joinGuards puts parts one behind the other', () => {
  expect(joinGuards([])).toEqual([])
  expect(
    joinGuards([
      [['1'], ['a']],
      [
        ['2', '3'],
        ['b', 'c'],
      ],
    ]),
  ).toEqual([
    ['1', '2', '3'],
    ['a', 'b', 'c'],
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
