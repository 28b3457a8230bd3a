/**
 * Types for options that people write as text: `55s`, `64MiB`, `60 months`, `0 2 * * * Europe/Berlin window 2h`.
 *
 * Each is a zod type from text to the value that code works with, and each has a formatter back to text, so that effective
 * configuration is printed in the form it is written in. Defaults are given either way: `.prefault('5m')` as text, or
 * `.default(300_000)` as value.
 */
import { Cron } from 'croner'
import { z } from 'zod'
import { messageOf } from './errors.js'
import type { Schedule } from './schedule.js'

/** A zod type that reads text and yields `Output`. */
export type TextOption<Output> = z.ZodPipe<z.ZodString, z.ZodTransform<Output, string>>

export const optionTypes = ['duration', 'size', 'period', 'schedule'] as const
export type OptionType = (typeof optionTypes)[number]

/** A span of the calendar: months differ in length, so it cannot be milliseconds. Whole, never both zero. */
export interface Period {
  readonly months: number
  readonly days: number
}

interface TextFormat<Output> {
  readonly optionType: OptionType
  readonly expected: string
  readonly pattern: RegExp
  readonly examples: readonly string[]
  /** Returns the value, or says in `refuse` what is expected instead. */
  parse(text: string, refuse: (expected: string) => void): Output | undefined
}

function textOption<Output>(format: TextFormat<Output>): TextOption<Output> {
  // The examples belong to the text: zod leaves those of a transforming type out of the JSON Schema.
  return z
    .string({ error: format.expected })
    .regex(format.pattern, { error: format.expected })
    .meta({ optionType: format.optionType, allowed: format.expected, examples: [...format.examples] })
    .transform((text, context) => {
      const value = format.parse(text, (expected) => context.addIssue({ code: 'custom', message: expected }))
      return value === undefined ? z.NEVER : value
    })
}

interface Unit {
  readonly name: string
  readonly factor: number
}

/** Largest first: the formatter takes the first that divides the value. */
const durationUnits: readonly Unit[] = [
  { name: 'd', factor: 86_400_000 },
  { name: 'h', factor: 3_600_000 },
  { name: 'm', factor: 60_000 },
  { name: 's', factor: 1000 },
  { name: 'ms', factor: 1 },
]

const sizeUnits: readonly Unit[] = [
  { name: 'TiB', factor: 1024 ** 4 },
  { name: 'TB', factor: 1000 ** 4 },
  { name: 'GiB', factor: 1024 ** 3 },
  { name: 'GB', factor: 1000 ** 3 },
  { name: 'MiB', factor: 1024 ** 2 },
  { name: 'MB', factor: 1000 ** 2 },
  { name: 'KiB', factor: 1024 },
  { name: 'kB', factor: 1000 },
  { name: 'B', factor: 1 },
]

const durationPattern = /^\d{1,16}(\.\d{1,9})? ?(ms|s|m|h|d)$/
const sizePattern = /^\d{1,16}(\.\d{1,9})? ?(TiB|TB|GiB|GB|MiB|MB|KiB|kB|B)$/
const periodPattern = /^(?=\d)(\d{1,5} ?years?)? ?(\d{1,5} ?months?)? ?(\d{1,5} ?weeks?)? ?(\d{1,5} ?days?)?(?<! )$/
const schedulePattern = /^(every-run|every \S.*|\S+ \S+ \S+ \S+ \S+( \S+)?( window \S.*)?)$/

const durationExpected = 'a duration such as 500ms, 55s, 5m, 2h or 1d'
const sizeExpected = 'a size such as 512B, 10kB, 64MiB or 1GiB'
const periodExpected = 'a calendar period such as 7 days, 60 months or 2 years'
const scheduleExpected =
  "a schedule: 'every-run', an interval such as 'every 30m', or five cron fields such as '0 2 * * *', " +
  "with an optional timezone and window: '0 2 * * * Europe/Berlin window 2h'"

/** Undefined for what is no amount, or no whole, exactly representable number of base units. */
function parseAmount(text: string, pattern: RegExp, units: readonly Unit[]): number | undefined {
  if (!pattern.test(text)) return undefined
  const [, digits, unitName] = /^([\d.]+) ?(\w+)$/.exec(text) ?? []
  const unit = units.find(({ name }) => name === unitName)
  if (digits === undefined || unit === undefined) return undefined
  const exact = Number(digits) * unit.factor
  const whole = Math.round(exact)
  // 0.07d is 6048000 ms, but 6048000.000000001 in floating point.
  if (Math.abs(exact - whole) > 1e-6 * Math.max(1, whole * 1e-6) || !Number.isSafeInteger(whole)) return undefined
  return whole
}

function formatAmount(value: number, units: readonly Unit[], zero: string): string {
  if (value === 0) return zero
  const unit = units.find(({ factor }) => value % factor === 0)
  if (unit === undefined) throw new RangeError(`not a whole number: ${value}`)
  return `${value / unit.factor}${unit.name}`
}

interface Bounds {
  readonly min?: string
  readonly max?: string
}

function amountOption(
  optionType: OptionType,
  shape: { pattern: RegExp; units: readonly Unit[]; expected: string; examples: readonly string[]; zero: string },
  bounds: Bounds,
): TextOption<number> {
  const read = (text: string) => {
    const value = parseAmount(text, shape.pattern, shape.units)
    if (value === undefined) throw new TypeError(`not ${shape.expected}: ${text}`)
    return value
  }
  const min = bounds.min === undefined ? 1 : read(bounds.min)
  const max = bounds.max === undefined ? Number.MAX_SAFE_INTEGER : read(bounds.max)
  const format = (value: number) => formatAmount(value, shape.units, shape.zero)
  const range = [
    bounds.min === undefined ? '' : `at least ${format(min)}`,
    bounds.max === undefined ? '' : `at most ${format(max)}`,
  ].filter((limit) => limit !== '')
  const expected = range.length === 0 ? shape.expected : `${shape.expected}, ${range.join(' and ')}`
  return textOption({
    optionType,
    expected,
    pattern: shape.pattern,
    examples: shape.examples,
    parse(text, refuse) {
      const value = parseAmount(text, shape.pattern, shape.units)
      if (value !== undefined && value >= min && value <= max) return value
      refuse(value === 0 && range.length === 0 ? `${shape.expected}, more than zero` : expected)
      return undefined
    },
  })
}

/**
 * Text such as `500ms`, `55s`, `5m`, `1.5h` or `1d`, read as whole milliseconds.
 * Zero is refused unless `min` is `0s`; a number without a unit is refused.
 */
export function duration(bounds: { readonly min?: string; readonly max?: string } = {}): TextOption<number> {
  const examples = ['500ms', '55s', '5m', '2h', '1d']
  const shape = { pattern: durationPattern, units: durationUnits, expected: durationExpected, examples, zero: '0s' }
  return amountOption('duration', shape, bounds)
}

/**
 * Text such as `512B`, `10kB`, `64MiB` or `1GiB`, read as bytes. `kB`, `MB`, … are powers of 1000, `KiB`, `MiB`, … of 1024.
 * Zero is refused unless `min` is `0B`; a number without a unit is refused.
 */
export function size(bounds: { readonly min?: string; readonly max?: string } = {}): TextOption<number> {
  const examples = ['512B', '10kB', '64MiB', '1GiB']
  const shape = { pattern: sizePattern, units: sizeUnits, expected: sizeExpected, examples, zero: '0B' }
  return amountOption('size', shape, bounds)
}

/** Text such as `7 days`, `60 months`, `2 years` or `1 year 6 months`. Never empty: "off" is `false` or an absent option. */
export function period(): TextOption<Period> {
  return textOption({
    optionType: 'period',
    expected: periodExpected,
    pattern: periodPattern,
    examples: ['7 days', '60 months', '2 years'],
    parse(text, refuse) {
      const value = parsePeriod(text)
      if (value.months > 0 || value.days > 0) return value
      refuse(`${periodExpected}, more than zero`)
      return undefined
    },
  })
}

function parsePeriod(text: string): Period {
  const count = (unit: string) => Number(new RegExp(`(\\d+) ?${unit}`).exec(text)?.[1] ?? 0)
  return { months: count('year') * 12 + count('month'), days: count('week') * 7 + count('day') }
}

/**
 * Text for when a task is due: `every-run`; `every 30m`; or five cron fields, `0 2 * * *`, then optionally a timezone
 * (`Europe/Berlin`, default UTC) and a window (`window 2h`: how long after its slot a run may still start).
 */
export function schedule(): TextOption<Schedule> {
  return textOption({
    optionType: 'schedule',
    expected: scheduleExpected,
    pattern: schedulePattern,
    examples: ['every-run', 'every 30m', '0 2 * * *', '0 2 * * * Europe/Berlin', '0 4 * * * window 2h'],
    parse: parseSchedule,
  })
}

function parseSchedule(text: string, refuse: (expected: string) => void): Schedule | undefined {
  if (text === 'every-run') return { kind: 'every-run' }
  const [, when = text, windowText] = /^(.*?)(?: window (.*))?$/s.exec(text) ?? []
  const windowMs = windowText === undefined ? undefined : parseAmount(windowText, durationPattern, durationUnits)
  if (windowText !== undefined && !(windowMs !== undefined && windowMs > 0)) {
    refuse(`after 'window', ${durationExpected}`)
    return undefined
  }
  const window = windowMs === undefined ? {} : { windowMs }
  if (when.startsWith('every ')) {
    const everyMs = parseAmount(when.slice('every '.length), durationPattern, durationUnits)
    if (everyMs !== undefined && everyMs >= 1000) return { kind: 'interval', everyMs, ...window }
    refuse(`after 'every', ${durationExpected}, at least 1s`)
    return undefined
  }
  const fields = when.split(' ')
  const expression = fields.slice(0, 5).join(' ')
  const timezone = fields[5] ?? 'UTC'
  if (!isTimezone(timezone)) {
    refuse('after the five cron fields, a timezone of the IANA database, such as UTC or Europe/Berlin')
    return undefined
  }
  if (!hasSlots(expression)) {
    refuse("five cron fields (minute, hour, day, month, weekday) that come true on some date, such as '0 2 * * *'")
    return undefined
  }
  return { kind: 'cron', expression, timezone, ...window }
}

function isTimezone(timezone: string): boolean {
  // Loading the timezone data takes milliseconds that an idle run should not pay.
  if (timezone === 'UTC') return true
  // Offsets are no timezones: they know no daylight saving time, and not every part of the program reads them.
  if (!/^[A-Za-z]/.test(timezone)) return false
  try {
    new Intl.DateTimeFormat('en', { timeZone: timezone })
    return true
  } catch {
    return false
  }
}

/** False for what is no cron expression, and for one like `0 0 30 2 *`, whose date never comes. */
function hasSlots(expression: string): boolean {
  try {
    // An offset, not the timezone UTC: that would load the timezone data, 20 ms in every run.
    return new Cron(expression, { mode: '5-part', utcOffset: 0 }).nextRun(new Date(0)) !== null
  } catch {
    return false
  }
}

/** A string whose value is never shown. For a connection string use `z.string().meta({ secret: 'url' })`: its password alone is hidden. */
export function secret(): z.ZodString {
  return z.string().meta({ secret: true })
}

/**
 * Text that `parse` takes; what it throws is told, behind what is expected.
 * @param expected such as `the name of a relation`
 */
export function parsable(expected: string, parse: (text: string) => unknown): z.ZodString {
  return z.string().superRefine((text, context) => {
    try {
      parse(text)
    } catch (error) {
      context.addIssue({ code: 'custom', message: `${expected}: ${messageOf(error)}` })
    }
  })
}

/** Milliseconds as {@link duration} reads them: `330000` is `330s`. @throws RangeError for fractions. */
export function formatDuration(durationMs: number): string {
  return formatAmount(durationMs, durationUnits, '0s')
}

/** Bytes as {@link size} reads them, in the largest unit that loses nothing. @throws RangeError for fractions. */
export function formatSize(sizeBytes: number): string {
  return formatAmount(sizeBytes, sizeUnits, '0B')
}

/** A period as {@link period} reads it: `{ months: 18, days: 0 }` is `18 months`. */
export function formatPeriod({ months, days }: Period): string {
  const part = (count: number, unit: string) => (count === 0 ? [] : [`${count} ${unit}${count === 1 ? '' : 's'}`])
  const parts = [...part(months, 'month'), ...part(days, 'day')]
  return parts.length === 0 ? '0 days' : parts.join(' ')
}

/** A schedule as {@link schedule} reads it. The timezone is left out when it is UTC. */
export function formatSchedule(value: Schedule): string {
  if (value.kind === 'every-run') return 'every-run'
  const window = value.windowMs === undefined ? '' : ` window ${formatDuration(value.windowMs)}`
  if (value.kind === 'interval') return `every ${formatDuration(value.everyMs)}${window}`
  return `${value.expression}${value.timezone === undefined || value.timezone === 'UTC' ? '' : ` ${value.timezone}`}${window}`
}
