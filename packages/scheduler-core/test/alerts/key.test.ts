import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { alertName, dedupKey, matchesPattern, uuidOf } from '../../src/alerts/key.js'

describe('a key', () => {
  it('reads as what it is where that fits', () => {
    expect(dedupKey('production', alertName('health', 'queue/enrichment'))).toBe('production:health/queue/enrichment')
    expect(alertName(undefined, 'task-failing/analyze')).toBe('scheduler/task-failing/analyze')
  })

  it('is printable ASCII of at most 255 characters, whatever it is made of', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 300 }), (name) => {
        expect(dedupKey('p', name)).toMatch(/^[\x21-\x7e]{1,255}$/)
        expect(dedupKey('p', name)).toBe(dedupKey('p', name))
      }),
    )
  })

  it('differs wherever the names do, past the cut and beyond ASCII too', () => {
    const long = 'x'.repeat(300)
    const names = ['queue', `${long}a`, `${long}b`, 'ä', 'ö', 'a b', 'a_b']
    expect(new Set(names.map((name) => dedupKey('p', name))).size).toBe(names.length)
    expect(dedupKey('p', 'ä')).not.toBe(dedupKey('q', 'ä'))
  })
})

describe('a pattern', () => {
  it.each([
    ['health/queue', 'health/queue', true],
    ['health/queue', 'health/queues', false],
    ['health/*', 'health/queue/a', true],
    ['*', '', true],
    ['*queue', 'health/queue', true],
    ['a*b*c', 'a-b-b-c', true],
    ['a*b*c', 'a-c', false],
    ['ab*ba', 'aba', false],
    ['health/[q]*', 'health/queue', false],
  ])('%s of %s: %s', (pattern, name, matches) => {
    expect(matchesPattern(pattern, name)).toBe(matches)
  })

  it('with many stars is decided at once', () => {
    expect(matchesPattern(`${'*a'.repeat(2000)}b`, 'a'.repeat(20_000))).toBe(false)
  })
})

it('makes the same UUID of the same text', () => {
  expect(uuidOf('a')).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}$/)
  expect(uuidOf('a')).toBe(uuidOf('a'))
  expect(uuidOf('a')).not.toBe(uuidOf('b'))
})
