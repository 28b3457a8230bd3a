/**
 * Text and JSON within a provider's limits. Providers say "characters" and mean UTF-16 units, code points or bytes. Lengths here are UTF-16 units, never
 * fewer than code points: what fits, fits in both. Pairs of surrogates stay whole, and single ones, which no UTF-8 can hold, are replaced.
 */
import { createHash } from 'node:crypto'

export type JsonObject = Readonly<Record<string, unknown>>

const ellipsis = '…'

/** Without halves of surrogate pairs. */
export function wellFormed(text: string): string {
  return text.replace(/\p{Surrogate}/gu, '\uFFFD')
}

/** At most `max` UTF-16 units, with an ellipsis for what is missing. */
export function cut(text: string, max: number): string {
  const whole = wellFormed(text)
  if (whole.length <= max) return whole
  const end = Math.max(0, max - ellipsis.length)
  const kept = whole.slice(0, end)
  return (/[\uD800-\uDBFF]$/.test(kept) ? kept.slice(0, -1) : kept) + ellipsis
}

/** Line breaks, tabs and control characters as single spaces. */
export function oneLine(text: string): string {
  return text.replace(/[\p{Cc}\s]+/gu, ' ').trim()
}

/** The key itself, or, too long for a provider, its beginning and a hash: still the same for the same alert. */
export function keyWithin(key: string, max: number): string {
  if (key.length <= max) return key
  const hash = createHash('sha256').update(key).digest('hex').slice(0, 32)
  return `${key.slice(0, max - hash.length - 1)}-${hash}`
}

export function jsonBytes(value: unknown): number {
  return Buffer.byteLength(JSON.stringify(value))
}

interface Shrinking {
  readonly characters: number
  readonly entries: number
}

/** Long texts go first, then long lists: a person can live without the end of a query sooner than without the name of its table. */
const shrinkings: readonly Shrinking[] = [
  { characters: 10_000, entries: 1000 },
  { characters: 1000, entries: 200 },
  { characters: 200, entries: 50 },
  { characters: 100, entries: 20 },
]

/** The details, cut down until their JSON has at most `maxBytes` bytes. */
export function fitDetails(details: JsonObject, maxBytes: number): JsonObject {
  const whole = shrink(details, { characters: Infinity, entries: Infinity }) as JsonObject
  if (jsonBytes(whole) <= maxBytes) return whole
  for (const shrinking of shrinkings) {
    const smaller = { ...(shrink(details, shrinking) as JsonObject), truncated: true }
    if (jsonBytes(smaller) <= maxBytes) return smaller
  }
  return { truncated: cutToBytes(JSON.stringify(whole), maxBytes - jsonBytes({ truncated: '' })) }
}

function shrink(value: unknown, shrinking: Shrinking): unknown {
  const { characters, entries } = shrinking
  if (typeof value === 'string') return characters === Infinity ? wellFormed(value) : cut(value, characters)
  if (Array.isArray(value)) {
    const kept = value.slice(0, entries).map((entry) => shrink(entry, shrinking))
    return kept.length < value.length ? [...kept, `${value.length - kept.length} more`] : kept
  }
  if (value === null || typeof value !== 'object') return value
  const kept = Object.entries(value).slice(0, entries)
  return Object.fromEntries(kept.map(([key, entry]) => [cut(key, Math.min(characters, 200)), shrink(entry, shrinking)]))
}

/** The longest beginning whose JSON text has at most `maxBytes` bytes, the quotes not counted. */
function cutToBytes(text: string, maxBytes: number): string {
  // No character is less than a byte: what lies beyond need not be looked at.
  const candidate = text.slice(0, Math.max(0, maxBytes) + 1)
  const fits = (length: number) => jsonBytes(cut(candidate, length)) - 2 <= maxBytes
  let low = 0
  let high = Math.min(text.length, Math.max(0, maxBytes))
  while (low < high) {
    const middle = Math.ceil((low + high) / 2)
    if (fits(middle)) low = middle
    else high = middle - 1
  }
  return low === 0 ? '' : cut(text, low)
}

/** `name: value` for each of the details, in their order: texts as they are, everything else as JSON. */
export function detailLines(details: JsonObject): string[] {
  return Object.entries(details).map(([name, value]) => `${oneLine(name)}: ${asText(value)}`)
}

export function asText(value: unknown): string {
  return typeof value === 'string' ? value : (JSON.stringify(value) ?? '')
}
