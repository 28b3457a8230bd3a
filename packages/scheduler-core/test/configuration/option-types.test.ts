import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import {
  duration,
  formatDuration,
  formatPeriod,
  formatSchedule,
  formatSize,
  period,
  schedule,
  secret,
  size,
} from '../../src/option-types.js'
import { scheduleProblem, type Schedule } from '../../src/schedule.js'

function refusal(schema: z.ZodType, value: unknown): string {
  const result = schema.safeParse(value)
  if (result.success) throw new Error(`accepted: ${JSON.stringify(value)}`)
  return result.error.issues.map(({ message }) => message).join('; ')
}

describe('duration', () => {
  it.each([
    ['500ms', 500],
    ['55s', 55_000],
    ['5m', 300_000],
    ['2h', 7_200_000],
    ['1d', 86_400_000],
    ['1.5h', 5_400_000],
    ['0.07d', 6_048_000],
    ['10 s', 10_000],
  ])('%s', (text, durationMs) => expect(duration().parse(text)).toBe(durationMs))

  it.each([
    300,
    '300',
    '5 min',
    '-5s',
    '5S',
    '',
    's',
    '1h30m',
    '1e3s',
    '0.5ms',
    '9999999999999999d',
    '5s\n',
    null,
    true,
  ])('refuses %j and names the unit forms', (value) =>
    expect(refusal(duration(), value)).toContain('500ms, 55s, 5m, 2h or 1d'),
  )

  it('refuses zero unless it is allowed', () => {
    expect(refusal(duration(), '0s')).toContain('more than zero')
    expect(duration({ min: '0s' }).parse('0m')).toBe(0)
  })

  it('says its limits', () => {
    const schema = duration({ min: '1s', max: '1h' })
    expect(schema.parse('1h')).toBe(3_600_000)
    expect(refusal(schema, '2h')).toContain('at least 1s and at most 1h')
    expect(refusal(schema, '999ms')).toContain('at least 1s and at most 1h')
  })

  it('refuses limits that are no durations', () => expect(() => duration({ min: '1' })).toThrow(TypeError))

  it('takes defaults as text and as value', () => {
    const schema = z.object({ a: duration().prefault('5m'), b: duration().default(300_000) })
    expect(schema.parse({})).toEqual({ a: 300_000, b: 300_000 })
  })
})

describe('size', () => {
  it.each([
    ['512B', 512],
    ['10kB', 10_000],
    ['1KiB', 1024],
    ['64MiB', 67_108_864],
    ['1GiB', 1_073_741_824],
    ['1.5GB', 1_500_000_000],
    ['2TiB', 2 * 1024 ** 4],
  ])('%s', (text, sizeBytes) => expect(size().parse(text)).toBe(sizeBytes))

  it.each([64, '64', '64M', '64Mi', '64mb', '64KB', '-1B', '0.5B', '0B', '9999999999TiB'])('refuses %j', (value) =>
    expect(refusal(size(), value)).toContain('512B, 10kB, 64MiB or 1GiB'),
  )
})

describe('period', () => {
  it.each([
    ['60 months', { months: 60, days: 0 }],
    ['1 month', { months: 1, days: 0 }],
    ['7 days', { months: 0, days: 7 }],
    ['2 weeks', { months: 0, days: 14 }],
    ['2 years', { months: 24, days: 0 }],
    ['1 year 6 months 3 days', { months: 18, days: 3 }],
  ])('%s', (text, value) => expect(period().parse(text)).toEqual(value))

  it.each([60, '60', '60d', '', ' ', '7 days ', '3 days 1 year', '1.5 years', '0 days', '-1 days', 'months'])(
    'refuses %j',
    (value) => expect(refusal(period(), value)).toContain('7 days, 60 months or 2 years'),
  )
})

describe('schedule', () => {
  it.each<[string, Schedule]>([
    ['every-run', { kind: 'every-run' }],
    ['every 30m', { kind: 'interval', everyMs: 1_800_000 }],
    ['every 1h window 10m', { kind: 'interval', everyMs: 3_600_000, windowMs: 600_000 }],
    ['0 2 * * *', { kind: 'cron', expression: '0 2 * * *', timezone: 'UTC' }],
    ['0 2 * * * Europe/Berlin', { kind: 'cron', expression: '0 2 * * *', timezone: 'Europe/Berlin' }],
    ['0 5 * * 0 window 2h', { kind: 'cron', expression: '0 5 * * 0', timezone: 'UTC', windowMs: 7_200_000 }],
    [
      '*/5 1-3 1,15 * MON UTC window 90s',
      { kind: 'cron', expression: '*/5 1-3 1,15 * MON', timezone: 'UTC', windowMs: 90_000 },
    ],
    ['0 0 29 2 *', { kind: 'cron', expression: '0 0 29 2 *', timezone: 'UTC' }],
  ])('%s', (text, value) => {
    const parsed = schedule().parse(text)
    expect(parsed).toEqual(value)
    expect(scheduleProblem(parsed)).toBeUndefined()
  })

  it.each([
    ['every-run window 1h', 'a schedule'],
    ['every 30', "after 'every', a duration"],
    ['every 10ms', 'at least 1s'],
    ['every', 'a schedule'],
    ['daily', 'a schedule'],
    ['@daily', 'a schedule'],
    ['0 2 * *', 'a schedule'],
    ['0 2 * * * *', 'timezone'],
    ['61 2 * * *', 'five cron fields'],
    ['0 0 30 2 *', 'come true on some date'],
    ['0 2 * * * Mars/Olympus', 'timezone of the IANA database'],
    ['0 2 * * * +02:00', 'timezone of the IANA database'],
    ['0 2 * * * window', 'after the five cron fields, a timezone'],
    ['0 2 * * * window 2', "after 'window', a duration"],
    ['0 2 * * * window 0s', "after 'window', a duration"],
    ['0 2 * * * window 2h Europe/Berlin', "after 'window', a duration"],
    ['0  2 * * *', 'a schedule'],
    [30, 'a schedule'],
  ])('refuses %j', (text, expected) => expect(refusal(schedule(), text)).toContain(expected))
})

describe('text and value', () => {
  it('formats in the largest unit that loses nothing', () => {
    expect([0, 999, 1000, 90_000, 3_600_000, 86_400_000].map(formatDuration)).toEqual([
      '0s',
      '999ms',
      '1s',
      '90s',
      '1h',
      '1d',
    ])
    expect([0, 1, 1000, 1024, 1_500_000, 67_108_864].map(formatSize)).toEqual([
      '0B',
      '1B',
      '1kB',
      '1KiB',
      '1500kB',
      '64MiB',
    ])
    expect(formatPeriod({ months: 60, days: 1 })).toBe('60 months 1 day')
    expect(() => formatDuration(0.5)).toThrow(RangeError)
  })

  const amount = fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER })

  it('durations come back', () =>
    fc.assert(
      fc.property(amount, (ms) => {
        expect(duration().parse(formatDuration(ms))).toBe(ms)
      }),
    ))
  it('sizes come back', () =>
    fc.assert(
      fc.property(amount, (bytes) => {
        expect(size().parse(formatSize(bytes))).toBe(bytes)
      }),
    ))

  it('periods come back', () => {
    const value = fc
      .record({ months: fc.nat(99_999), days: fc.nat(99_999) })
      .filter(({ months, days }) => months + days > 0)
    fc.assert(
      fc.property(value, (each) => {
        expect(period().parse(formatPeriod(each))).toEqual(each)
      }),
    )
  })

  it('schedules come back', () => {
    const windowMs = fc.option(amount, { nil: undefined })
    const withWindow = (value: Schedule, ms: number | undefined): Schedule =>
      ms === undefined ? value : { ...value, windowMs: ms }
    const interval = fc
      .tuple(fc.integer({ min: 1000, max: Number.MAX_SAFE_INTEGER }), windowMs)
      .map(([everyMs, ms]) => withWindow({ kind: 'interval', everyMs }, ms))
    const cron = fc
      .tuple(
        fc.nat(59),
        fc.nat(23),
        fc.integer({ min: 1, max: 28 }),
        fc.constantFrom('UTC', 'Europe/Berlin', 'America/New_York'),
        windowMs,
      )
      .map(([minute, hour, day, timezone, ms]) =>
        withWindow({ kind: 'cron', expression: `${minute} ${hour} ${day} * *`, timezone }, ms),
      )
    const value = fc.oneof(interval, cron, fc.constant<Schedule>({ kind: 'every-run' }))
    fc.assert(
      fc.property(value, (each) => {
        expect(schedule().parse(formatSchedule(each))).toEqual(each)
      }),
    )
  })

  it('no text makes a type throw anything but a refusal', () => {
    const types = [duration(), size(), period(), schedule()]
    const words = fc.constantFrom(
      'every',
      'window',
      '5m',
      '0',
      '*',
      'UTC',
      'every-run',
      '1 day',
      '*/0',
      'L',
      '#',
      ' ',
      '1e9',
      '٣',
      '.',
    )
    const text = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.array(words).map((each) => each.join(' ')),
    )
    fc.assert(
      fc.property(text, fc.constantFrom(...types), (each, type) => {
        expect(type.safeParse(each)).toHaveProperty('success')
      }),
    )
  })
})

describe('JSON Schema', () => {
  it.each([
    ['duration', duration()],
    ['size', size()],
    ['period', period()],
    ['schedule', schedule()],
  ])('of %s: text with a pattern that every example matches', (_, schema) => {
    const json = z.toJSONSchema(schema, { io: 'input' })
    expect(json.type).toBe('string')
    const pattern = new RegExp(String(json.pattern))
    expect(json.examples?.length).toBeGreaterThan(2)
    for (const example of json.examples ?? []) {
      expect(String(example)).toMatch(pattern)
      expect(schema.safeParse(example).success).toBe(true)
    }
  })

  it('keeps the mark of a secret through checks and wrappers', () => {
    expect(z.toJSONSchema(secret().min(8).optional(), { io: 'input' })).toMatchObject({ type: 'string', secret: true })
  })
})
