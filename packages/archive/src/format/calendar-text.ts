/** Days and microseconds since 1970 as PostgreSQL reads them back, in the proleptic Gregorian calendar, without JavaScript's Date. */

const dayMicros = 86_400_000_000
const secondMicros = 1_000_000
/** 400 years; the calendar repeats after them. */
const cycleDays = 146_097
/** From 0000-03-01, where a cycle begins, to 1970-01-01. */
const epochFromCycle = 719_468

const twoDigits = Array.from({ length: 100 }, (_, value) => String(value).padStart(2, '0'))
const two = (value: number): string => twoDigits[value] ?? ''

interface CalendarDate {
  /** `YYYY-MM-DD`, with more digits for the year where it has them. */
  readonly text: string
  /** There is no year 0: the year before 1 is 1 BC. */
  readonly era: '' | ' BC'
}

/** Years are taken to begin in March, so that the leap day comes last. */
function calendarDate(days: number): CalendarDate {
  const shifted = days + epochFromCycle
  const cycle = Math.floor(shifted / cycleDays)
  const dayOfCycle = shifted - cycle * cycleDays
  const yearOfCycle = Math.floor(
    (dayOfCycle - Math.floor(dayOfCycle / 1_460) + Math.floor(dayOfCycle / 36_524) - Math.floor(dayOfCycle / 146_096)) /
      365,
  )
  const dayOfYear = dayOfCycle - (365 * yearOfCycle + Math.floor(yearOfCycle / 4) - Math.floor(yearOfCycle / 100))
  const monthFromMarch = Math.floor((5 * dayOfYear + 2) / 153)
  const day = dayOfYear - Math.floor((153 * monthFromMarch + 2) / 5) + 1
  const month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
  const year = cycle * 400 + yearOfCycle + (month <= 2 ? 1 : 0)
  const shown = year > 0 ? year : 1 - year
  return { text: `${String(shown).padStart(4, '0')}-${two(month)}-${two(day)}`, era: year > 0 ? '' : ' BC' }
}

export function dateText(days: number): string {
  const { text, era } = calendarDate(days)
  return text + era
}

/** @param zone `+00` for an instant, nothing for a local time */
export function timestampText(days: number, microsOfDay: number, zone: '+00' | ''): string {
  const { text, era } = calendarDate(days)
  const seconds = Math.floor(microsOfDay / secondMicros)
  const micros = microsOfDay - seconds * secondMicros
  const time = `${two(Math.floor(seconds / 3_600))}:${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`
  const fraction = micros === 0 ? '' : `.${String(micros).padStart(6, '0')}`
  return `${text} ${time}${fraction}${zone}${era}`
}

/** Splits microseconds into days and what is left of the last one. */
export function splitMicros(view: DataView, at: number): { readonly days: number; readonly microsOfDay: number } {
  const micros = view.getInt32(at + 4, true) * 4_294_967_296 + view.getUint32(at, true)
  if (Number.isSafeInteger(micros)) {
    const days = Math.floor(micros / dayMicros)
    return { days, microsOfDay: micros - days * dayMicros }
  }
  const exact = view.getBigInt64(at, true)
  const size = BigInt(dayMicros)
  const rest = exact % size
  const microsOfDay = rest < 0n ? rest + size : rest
  return { days: Number((exact - microsOfDay) / size), microsOfDay: Number(microsOfDay) }
}
