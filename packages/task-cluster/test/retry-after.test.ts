import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseRetryAfter } from '../src/retry-after.js'

const now = new Date('2026-11-23T02:00:00Z')

describe('parseRetryAfter', () => {
  it.each([
    ['0', 0],
    ['120', 120_000],
    [' 7 ', 7000],
    ['9'.repeat(400), Infinity],
    ['Mon, 23 Nov 2026 02:00:30 GMT', 30_000],
    ['Monday, 23-Nov-26 02:01:00 GMT', 60_000],
    ['Mon Nov 23 02:00:05 2026', 5000],
    ['Tue Dec  1 02:00:00 2026', 8 * 86_400_000],
    ['Wed, 31 Dec 2098 23:59:60 GMT', Date.UTC(2099, 0, 1) - now.getTime()],
    // The past is now.
    ['Sun, 06 Nov 1994 08:49:37 GMT', 0],
    ['Sunday, 06-Nov-94 08:49:37 GMT', 0],
    ['Sun Nov  6 08:49:37 1994', 0],
  ])('%j is %d ms', (text, expected) => {
    expect(parseRetryAfter(text, now)).toBe(expected)
  })

  it.each([
    undefined,
    '',
    '-1',
    '+1',
    '1.5',
    '1e3',
    '0x10',
    '5s',
    'soon',
    '2026-11-23T02:00:30Z',
    'Mon, 31 Feb 2026 02:00:30 GMT',
    'Mon, 23 Nov 2026 24:00:30 GMT',
    'Mon, 23 Nov 2026 02:00:30 +0100',
    'Mon, 23 Nov 2026 02:00:30',
  ])('%j says nothing', (text) => {
    expect(parseRetryAfter(text, now)).toBeUndefined()
  })

  it('reads every whole number of seconds', () => {
    fc.assert(fc.property(fc.nat(), (seconds) => parseRetryAfter(String(seconds), now) === seconds * 1000))
  })

  const date = fc.date({ min: new Date('1990-01-01'), max: new Date('2090-12-31'), noInvalidDate: true })

  it('reads every date that HTTP can write, and never goes back in time', () => {
    fc.assert(
      fc.property(date, date, (at, from) => {
        const whole = Math.floor(at.getTime() / 1000) * 1000
        const expected = Math.max(0, whole - from.getTime())
        // Mon, 23 Nov 2026 02:00:30 GMT
        const [weekday = '', day = '', month = '', year = '', time = ''] = at.toUTCString().replace(',', '').split(' ')
        const asctime = `${weekday} ${month} ${String(Number(day)).padStart(2)} ${time} ${year}`
        return [at.toUTCString(), asctime].every((text) => parseRetryAfter(text, from) === expected)
      }),
    )
  })

  it('takes any text, and answers with nothing or a time to wait', () => {
    const text = fc.oneof(
      fc.string(),
      fc.string({ unit: 'binary' }),
      fc.stringMatching(/^[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT$/),
    )
    fc.assert(
      fc.property(text, date, (given, from) => {
        const ms = parseRetryAfter(given, from)
        return ms === undefined || ms >= 0
      }),
    )
  })
})
