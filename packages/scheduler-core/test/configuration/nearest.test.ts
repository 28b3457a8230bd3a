import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { didYouMean, editDistance, nearest } from '../../src/configuration/nearest.js'

const tasks = ['analyze', 'vacuum', 'reindex', 'retention', 'cache', 'statistics', 'cluster', 'backup', 'health']

describe('nearest', () => {
  it.each([
    ['anaylze', ['analyze']],
    ['analyse', ['analyze']],
    ['VACUUM', ['vacuum']],
    ['vacum', ['vacuum']],
    ['stat', ['statistics']],
    ['stats', []],
    ['retension', ['retention']],
    ['loot', []],
    ['', []],
    ['x'.repeat(5000), []],
  ])('%s', (name, expected) => expect(nearest(name, tasks)).toEqual(expected))

  it('gives the best first, at most the limit, each once', () => {
    expect(nearest('rat', ['rats', 'rat', 'rot', 'rat', 'cot'], 2)).toEqual(['rat', 'rats'])
  })

  it('asks a question, or nothing', () => {
    expect(didYouMean('rot', ['rat', 'rut'])).toBe("did you mean 'rat' or 'rut'?")
    expect(didYouMean('loot', tasks)).toBeUndefined()
  })
})

describe('edit distance', () => {
  it.each([
    ['', '', 0],
    ['', 'abc', 3],
    ['abc', 'abc', 0],
    ['abc', 'acb', 1],
    ['abc', 'axc', 1],
    ['abc', 'ac', 1],
    ['abc', 'xabc', 1],
    ['kitten', 'sitting', 3],
    ['ca', 'abc', 3],
  ])('%s → %s', (from, to, distance) => expect(editDistance(from, to)).toBe(distance))

  it('is symmetric, zero for the same alone, and never more than the longer text', () => {
    const text = fc.string({ maxLength: 12 })
    fc.assert(
      fc.property(text, text, (a, b) => {
        const distance = editDistance(a, b)
        expect(distance).toBe(editDistance(b, a))
        expect(distance === 0).toBe(a === b)
        expect(distance).toBeLessThanOrEqual(Math.max([...a].length, [...b].length))
      }),
    )
  })
})
