import { describe, expect, it } from 'vitest'
import { bytes, change, count, duration, fromNow, partInstant, percent, roundFigure } from '../../src/report/figures.js'
import { forecastOf } from '../../src/report/forecast.js'
import { roundUp, roundUpBytes, roundUpMs } from '../../src/report/plots/scale.js'

describe('figures', () => {
  it.each([
    [0, '0 B'],
    [1023, '1.00 KiB'],
    [512, '512 B'],
    [1536, '1.50 KiB'],
    [12.34 * 2 ** 30, '12.3 GiB'],
    [-5 * 2 ** 20, '−5.00 MiB'],
    [1023.9 * 2 ** 20, '1.00 GiB'],
  ])('%d bytes are %s', (value, text) => {
    expect(bytes(value)).toBe(text)
  })

  it.each([
    [0, '0 ms'],
    [999.6, '1.00 s'],
    [13_340, '13.3 s'],
    [59_949, '59.9 s'],
    [60_000, '1 min'],
    [250_000, '4 min 10 s'],
    [3_599_700, '1 h'],
    [7_260_000, '2 h 1 min'],
    [76 * 3_600_000, '3 d 4 h'],
    [90 * 86_400_000, '90 d'],
  ])('%d ms are %s', (ms, text) => {
    expect(duration(ms)).toBe(text)
  })

  it('never say all or none when it is not', () => {
    expect([
      percent(0, 0),
      percent(0, 9),
      percent(9, 9),
      percent(1, 100_000),
      percent(99_999, 100_000),
      percent(1, 3),
    ]).toEqual(['–', '0 %', '100 %', '0.1 %', '99.9 %', '33.3 %'])
  })

  it('have a sign, an age and round ends of axes', () => {
    const now = new Date('2026-11-25T18:07:00Z')
    expect([change(5, count), change(-1e6, bytes), change(0, count)]).toEqual(['+5', '−977 KiB', '0'])
    expect([
      fromNow(new Date('2026-11-25T18:02:51Z'), now),
      fromNow(new Date('2026-11-25T20:17:00Z'), now),
      fromNow(now, now),
    ]).toEqual(['4 min ago', 'in 2 h 10 min', 'now'])
    expect(['10.0 s', '2.50 GiB', '2.00 MiB', '100 ms', '1,000'].map(roundFigure)).toEqual([
      '10 s',
      '2.5 GiB',
      '2 MiB',
      '100 ms',
      '1,000',
    ])
    expect([partInstant(now, 3_600_000), partInstant(now, 86_400_000)]).toEqual(['25 Nov 18:07', '25 Nov'])
  })
})

describe('axes', () => {
  it('hold every value, and are not much too long', () => {
    // Every power of ten and of two, and what lies around them.
    for (let power = 0; power < 50; power += 1)
      for (const value of [
        2 ** power,
        1.0001 * 2 ** power,
        10 ** (power / 3),
        9.99 * 10 ** (power / 4),
        1.9 ** power,
      ]) {
        for (const round of [roundUp, roundUpBytes]) {
          expect(round(value)).toBeGreaterThanOrEqual(value * (1 - 1e-9))
          expect(round(value)).toBeLessThanOrEqual(value * 2.6)
        }
        expect(roundUpMs(value)).toBeGreaterThanOrEqual(value * (1 - 1e-9))
      }
  })
})

describe('the forecast', () => {
  const day = (index: number) => new Date(Date.UTC(2026, 9, 1 + index)).toISOString().slice(0, 10)
  const points = (count: number, size: (index: number) => number) =>
    Array.from({ length: count }, (_, index) => ({ day: day(index), bytes: size(index) }))

  it('follows a line exactly, with no doubt left', () => {
    const forecast = forecastOf(points(31, (index) => 1000 + 10 * index))
    expect(forecast?.perDayBytes).toBeCloseTo(10)
    expect(forecast).toMatchObject({ aheadDays: 30 })
    for (const value of [forecast?.bytes, forecast?.lowBytes, forecast?.highBytes]) expect(value).toBeCloseTo(1600)
  })

  it('looks no further ahead than back', () => {
    expect(forecastOf(points(11, (index) => index))?.aheadDays).toBe(10)
  })

  it('has a range as wide as the days differ', () => {
    const noisy = forecastOf(points(30, (index) => 1000 + (index % 2) * 200))
    expect((noisy?.highBytes ?? 0) - (noisy?.lowBytes ?? 0)).toBeGreaterThan(400)
    expect(noisy?.lowBytes).toBeGreaterThan(0)
  })

  it('is not made of a few days, and never below zero', () => {
    expect(forecastOf([])).toBeUndefined()
    expect(forecastOf(points(7, (index) => index))).toBeUndefined()
    expect(forecastOf([points(1, () => 5)[0]!, { day: day(60), bytes: 9 }])).toBeUndefined()
    expect(forecastOf(points(20, (index) => 1000 - 50 * index))).toMatchObject({ bytes: 0, lowBytes: 0 })
  })
})
