/** Values as PostgreSQL's input functions take them: for restores. */
import { dateText, splitMicros, timestampText } from './calendar-text.js'
import type { ColumnValues } from './column-values.js'
import { definitionMask, flatLevels, layouts, listLevels, repetitionShift } from './layout.js'
import type { ColumnEncoding } from './types.js'

/** @param at where the value begins, @param length of it in bytes */
type ValueReader = (bytes: Buffer, view: DataView, at: number, length: number) => string

const readers: Readonly<Record<ColumnEncoding, ValueReader>> = {
  boolean: (bytes, _view, at) => (bytes[at] === 0 ? 'f' : 't'),
  int16: (_bytes, view, at) => String(view.getInt32(at, true)),
  int32: (_bytes, view, at) => String(view.getInt32(at, true)),
  int64: (_bytes, view, at) => int64Text(view, at),
  float32: (_bytes, view, at) => float32Text(view.getFloat32(at, true)),
  float64: (_bytes, view, at) => float64Text(view.getFloat64(at, true)),
  date: (_bytes, view, at) => dateText(view.getInt32(at, true)),
  timestamp: (_bytes, view, at) => {
    const { days, microsOfDay } = splitMicros(view, at)
    return timestampText(days, microsOfDay, '')
  },
  timestamptz: (_bytes, view, at) => {
    const { days, microsOfDay } = splitMicros(view, at)
    return timestampText(days, microsOfDay, '+00')
  },
  uuid: (bytes, _view, at) => {
    const hex = bytes.toString('hex', at, at + 16)
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
  },
  json: (bytes, _view, at, length) => bytes.toString('utf8', at, at + length),
  bytes: (bytes, _view, at, length) => `\\x${bytes.toString('hex', at, at + length)}`,
  text: (bytes, _view, at, length) => bytes.toString('utf8', at, at + length),
}

function int64Text(view: DataView, at: number): string {
  const value = view.getInt32(at + 4, true) * 4_294_967_296 + view.getUint32(at, true)
  return Number.isSafeInteger(value) ? String(value) : view.getBigInt64(at, true).toString()
}

/** JavaScript writes the shortest digits that give the number back, as PostgreSQL does; only the sign of zero is missing. */
const float64Text = (value: number): string => (Object.is(value, -0) ? '-0' : String(value))

/** Well inside of what rounds to the same float: half a unit in the last place is at least twice of it. */
const float32Tolerance = 2 ** -26

function float32Text(value: number): string {
  if (!Number.isFinite(value) || value === 0) return float64Text(value)
  for (let digits = 6; digits < 9; digits++) {
    const shorter = Number(value.toPrecision(digits))
    if (Math.abs(shorter - value) <= Math.abs(value) * float32Tolerance) return String(shorter)
  }
  return String(Number(value.toPrecision(9)))
}

/** Elements with characters that mean something in an array. Quotes would do no harm to the others. */
const quoted: ReadonlySet<ColumnEncoding> = new Set(['date', 'timestamp', 'timestamptz', 'json', 'bytes', 'text'])

const quoteElement = (text: string): string => `"${text.replace(/["\\]/g, '\\$&')}"`

/** One text per row, null for NULL. */
export function columnTexts({ column, levels, values }: ColumnValues): (string | null)[] {
  const { encoding, list } = column
  const bytes = Buffer.from(values.buffer, values.byteOffset, values.byteLength)
  const view = new DataView(values.buffer, values.byteOffset, values.byteLength)
  const { width } = layouts[encoding]
  const read = readers[encoding]
  let at = 0
  const next = (): string => {
    const length = width === 0 ? view.getUint32(at, true) : width
    const start = width === 0 ? at + 4 : at
    at = start + length
    return read(bytes, view, start, length)
  }
  if (!list) return Array.from(levels, (level) => (level === flatLevels.null ? null : next()))

  const element = quoted.has(encoding) ? (): string => quoteElement(next()) : next
  const rows: (string | null)[] = []
  let elements: string[] = []
  const endList = (): void => {
    if (elements.length > 0) rows.push(`{${elements.join(',')}}`)
    elements = []
  }
  for (const level of levels) {
    if (level >>> repetitionShift === 0) endList()
    const definition = level & definitionMask
    if (definition === listLevels.nullList) rows.push(null)
    else if (definition === listLevels.emptyList) rows.push('{}')
    else elements.push(definition === listLevels.nullElement ? 'NULL' : element())
  }
  endList()
  return rows
}
