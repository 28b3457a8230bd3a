/** Reads single fields of parsed JSON, and says what is wrong with one that does not fit. */

/** Why an entry is no killmail. Constant texts where possible, so that equal reasons can be counted together. */
export class UnusableEntryError extends Error {
  override readonly name = 'UnusableEntryError'
}

export type Fields = Readonly<Record<string, unknown>>

export const isFields = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const maxShownCharacters = 40

const show = (value: unknown): string => {
  const text = JSON.stringify(value) ?? 'undefined'
  return text.length > maxShownCharacters ? `${text.slice(0, maxShownCharacters)}…` : text
}

const isAbsent = (value: unknown): boolean => value === undefined || value === null

export function readInteger(fields: Fields, name: string, path: string): number {
  const value = fields[name]
  if (isAbsent(value)) throw new UnusableEntryError(`${path} is missing`)
  if (!Number.isSafeInteger(value)) throw new UnusableEntryError(`${path} must be a whole number, not ${show(value)}`)
  return value as number
}

/** EVE's ids are positive; 0 stands for "none" in older exports. */
export function readOptionalId(fields: Fields, name: string, path: string): number | undefined {
  const value = fields[name]
  if (isAbsent(value) || value === 0) return undefined
  if (!Number.isSafeInteger(value) || (value as number) < 0)
    throw new UnusableEntryError(`${path} must be a positive whole number, not ${show(value)}`)
  return value as number
}

export function readFields(fields: Fields, name: string, path: string): Fields {
  const value = fields[name]
  if (isAbsent(value)) throw new UnusableEntryError(`${path} is missing`)
  if (!isFields(value)) throw new UnusableEntryError(`${path} must be an object, not ${show(value)}`)
  return value
}

export function readList(fields: Fields, name: string, path: string): readonly Fields[] {
  const value = fields[name]
  if (isAbsent(value)) throw new UnusableEntryError(`${path} is missing`)
  if (!Array.isArray(value)) throw new UnusableEntryError(`${path} must be a list, not ${show(value)}`)
  return value.map((item: unknown, index) => {
    if (!isFields(item)) throw new UnusableEntryError(`${path}[${index}] must be an object, not ${show(item)}`)
    return item
  })
}

const timePattern = /^(\d{4}-\d{2}-\d{2})[T ](\d{2}:\d{2})(:\d{2})?(?:\.\d+)?(?:Z|\+00:00)?$/

/** Times of killmails are UTC, also where the source leaves out the `Z`. */
export function readTimeMs(fields: Fields, name: string, path: string): number {
  const value = fields[name]
  if (isAbsent(value)) throw new UnusableEntryError(`${path} is missing`)
  const [, date, minute, second = ':00'] = (typeof value === 'string' && timePattern.exec(value)) || []
  const timeMs = date === undefined ? Number.NaN : Date.parse(`${date}T${minute}${second}Z`)
  // Date.parse turns 30 February into 2 March; the day that comes out must be the day that went in.
  if (Number.isNaN(timeMs) || new Date(timeMs).toISOString().slice(0, 10) !== date)
    throw new UnusableEntryError(`${path} must be a UTC time like 2014-02-16T19:40:00Z, not ${show(value)}`)
  return timeMs
}

export function readOptionalValueIsk(fields: Fields, name: string, path: string): number | undefined {
  const value = fields[name]
  if (isAbsent(value)) return undefined
  // Some columns hold whole ISK as bigint; all of EVE's wealth is far below.
  if (typeof value !== 'number' || !(value >= 0 && value <= Number.MAX_SAFE_INTEGER))
    throw new UnusableEntryError(`${path} must be a number of ISK, not ${show(value)}`)
  return value
}
