import { describe, expect, it } from 'vitest'
import { masking, secretsOfUrl } from '../src/secrets.js'
import { cut, fitDetails, jsonBytes, keyWithin, oneLine, wellFormed } from '../src/text-limits.js'
import { nasty } from './messages.js'

describe('texts', () => {
  it('are cut between characters', () => {
    expect(cut('abc', 3)).toBe('abc')
    expect(cut('abcd', 3)).toBe('ab…')
    expect(cut('a😀b', 3)).toBe('a…')
    for (let max = 0; max < 40; max += 1) {
      const text = cut('😀'.repeat(30), max)
      expect(text.length).toBeLessThanOrEqual(Math.max(max, 1))
      expect(text).not.toMatch(/\p{Surrogate}/u)
    }
  })

  it('have no halves of characters and no line breaks', () => {
    expect(wellFormed('a\ud800b\udc00😀')).toBe('a\ufffdb\ufffd😀')
    expect(oneLine(' a\r\n\tb\u0000c\u2028d ')).toBe('a b c d')
  })

  it('of keys stay different when they are cut', () => {
    const long = 'k'.repeat(300)
    expect(keyWithin('short', 255)).toBe('short')
    expect(keyWithin(long, 255)).toHaveLength(255)
    expect(keyWithin(`${long}1`, 255)).not.toBe(keyWithin(`${long}2`, 255))
    expect(keyWithin(`${long}1`, 255)).toBe(keyWithin(`${long}1`, 255))
  })
})

describe('details', () => {
  const large = {
    query: nasty.repeat(100),
    rows: Array.from({ length: 500 }, (_, index) => ({ index, nasty })),
    table: 'killmails',
  }

  it.each([100, 500, 5000, 50_000, 500_000])('fit in %i bytes', (maxBytes) => {
    expect(jsonBytes(fitDetails(large, maxBytes))).toBeLessThanOrEqual(maxBytes)
  })

  it('stay whole when they fit, and keep their names when they do not', () => {
    expect(fitDetails({ a: 1, b: ['x'] }, 100)).toEqual({ a: 1, b: ['x'] })
    expect(fitDetails(large, 50_000)).toMatchObject({ table: 'killmails', truncated: true })
  })
})

describe('secrets', () => {
  it('are masked as they are, in JSON, and in URLs', () => {
    const mask = masking(['pass"word/ä', 'short'])
    expect(mask('pass"word/ä pass\\"word/ä pass%22word%2F%C3%A4 short')).toBe('*** *** *** short')
  })

  it('of a URL are its path and the values of its query', () => {
    const mask = masking(
      secretsOfUrl('https://hooks.slack.com/services/T00000000/B00000000/abcdefghijkl?token=0123456789'),
    )
    expect(mask('POST /services/T00000000/B00000000/abcdefghijkl?token=0123456789')).toBe('POST ***')
    expect(mask('abcdefghijkl 0123456789 hooks.slack.com')).toBe('*** *** hooks.slack.com')
  })
})
