/** Days of the UTC calendar as text, `2026-11-23`: they compare as text, and no timezone of a session or machine touches them. Pure. */

export type Day = string

/** Where time begins and ends here: what lies outside (PostgreSQL knows infinity) belongs to no day. */
export const firstDay: Day = '0001-01-01'
export const endOfDays: Day = '9999-12-31'

const dayMs = 86_400_000

/** Days from `from` on, before `to`. */
export interface DayRange {
  readonly from: Day
  readonly to: Day
}

export function dayOf(instant: Date): Day {
  return instant.toISOString().slice(0, 10)
}

/** Not beyond {@link firstDay} and {@link endOfDays}. */
export function addDays(day: Day, days: number): Day {
  const ms = Date.parse(`${day}T00:00:00Z`) + days * dayMs
  if (ms <= Date.parse(`${firstDay}T00:00:00Z`)) return firstDay
  return ms >= Date.parse(`${endOfDays}T00:00:00Z`) ? endOfDays : dayOf(new Date(ms))
}

export function daysBetween(from: Day, to: Day): number {
  return Math.round((Date.parse(`${to}T00:00:00Z`) - Date.parse(`${from}T00:00:00Z`)) / dayMs)
}

/** Whether the text is a day that exists. */
export function isDay(text: string): boolean {
  return /^\d{4}-\d\d-\d\d$/.test(text) && text >= firstDay && text < endOfDays && isReal(text)
}

function isReal(text: string): boolean {
  const ms = Date.parse(`${text}T00:00:00Z`)
  return !Number.isNaN(ms) && dayOf(new Date(ms)) === text
}

/** `2026-11-23`, `2026-11-20..2026-11-23`, `..2026-11-23`, `2026-11-20..`: last day included. */
export function formatRange({ from, to }: DayRange): string {
  const first = from === firstDay ? '' : from
  const last = to === endOfDays ? '' : addDays(to, -1)
  return first === last && first !== '' ? first : `${first}..${last}`
}
