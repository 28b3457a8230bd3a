import {
  formatDuration,
  formatPeriod,
  formatSchedule,
  formatSize,
  type OptionType,
  type Period,
} from '../option-types.js'
import type { Schedule } from '../schedule.js'
import type { Option } from './options.js'
import { isPlainObject } from './raw-value.js'
import { core, defaultOf, definition, metaOf, type Schema } from './schema-reading.js'

export const mask = '********'

/** The value of an option as `config` prints it: JSON-safe, in the form that it is written in, secrets masked. */
export function displayValue(option: Option, value: unknown): unknown {
  if (value === undefined) return undefined
  if (option.secret === 'url') return maskedUrls(value)
  if (option.secret) return mask
  return jsonSafe(asText(option.schema, value))
}

/** The default of an option as documentation prints it; undefined when there is none. */
export function displayDefault(option: Option): unknown {
  if (option.override !== undefined) return displayValue(option, option.override)
  const found = defaultOf(option.schema)
  return found === undefined ? undefined : displayValue(option, found.value)
}

/** Turns milliseconds, bytes, periods and schedules, wherever they are in the value, back into the text they were read from. */
function asText(schema: Schema, value: unknown): unknown {
  const { optionType } = metaOf(schema)
  if (optionType !== undefined) return formatOption(optionType, value)
  const it = definition(core(schema))
  if (it.type === 'array' && Array.isArray(value) && it.element !== undefined) {
    const { element } = it
    return value.map((each) => asText(element, each))
  }
  if (it.type === 'union') {
    // False and null stand for "off" beside a real type, and read the same in every form.
    if (value === null || typeof value === 'boolean') return value
    for (const alternative of it.options ?? []) {
      const text = asText(alternative, value)
      if (text !== value) return text
    }
  }
  if ((it.type === 'object' || it.type === 'record') && isPlainObject(value)) {
    const of = (key: string) => (it.shape !== undefined && Object.hasOwn(it.shape, key) ? it.shape[key] : it.valueType)
    return Object.fromEntries(
      Object.entries(value).map(([key, each]) => {
        const inner = of(key)
        return [key, inner === undefined ? each : asText(inner, each)]
      }),
    )
  }
  return value
}

function formatOption(optionType: OptionType, value: unknown): unknown {
  const isAmount = Number.isSafeInteger(value) && (value as number) >= 0
  if (optionType === 'duration') return isAmount ? formatDuration(value as number) : value
  if (optionType === 'size') return isAmount ? formatSize(value as number) : value
  if (!isPlainObject(value)) return value
  if (optionType === 'period')
    return 'months' in value && 'days' in value ? formatPeriod(value as unknown as Period) : value
  return 'kind' in value ? formatSchedule(value as unknown as Schedule) : value
}

/** `postgres://user:********@host/db`. Wholly masked when it is no URL, or when it is unclear where its password ends. */
export function maskUrl(text: string): string {
  const [, scheme = '', authority = '', rest = ''] = /^([a-z][a-z0-9+.-]*:\/\/)([^/?#]*)(.*)$/is.exec(text) ?? []
  // An unescaped / ? or # in a password ends the authority early, and the rest of the password follows up to the @.
  if (scheme === '' || rest.includes('@') || !URL.canParse(text)) return mask
  const at = authority.lastIndexOf('@')
  const user = authority.slice(0, Math.max(0, at))
  const colon = user.indexOf(':')
  const shownUser = at < 0 ? '' : `${colon < 0 ? user : `${user.slice(0, colon)}:${mask}`}@`
  const shownRest = rest.replace(
    /([?&][^=&#]*(?:pass|secret|token|key|pwd|sig|credential)[^=&#]*=)[^&#]+/gi,
    `$1${mask}`,
  )
  return scheme + shownUser + authority.slice(at + 1) + shownRest
}

function maskedUrls(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(maskedUrls)
  return typeof value === 'string' ? maskUrl(value) : mask
}

/** Transformed values may be anything: what JSON cannot carry is named by its text. */
function jsonSafe(value: unknown, depth = 0): unknown {
  if (value === null || typeof value === 'string' || typeof value === 'boolean') return value
  if (typeof value === 'number') return Number.isFinite(value) ? value : String(value)
  if (depth > 20) return '…'
  if (Array.isArray(value)) return value.map((each) => jsonSafe(each, depth + 1) ?? null)
  if (isPlainObject(value)) {
    return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, jsonSafe(each, depth + 1)]))
  }
  if (value === undefined) return undefined
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? 'invalid date' : value.toISOString()
  if (value instanceof Set) return jsonSafe([...(value as Set<unknown>)], depth + 1)
  if (typeof value === 'bigint' || value instanceof RegExp || value instanceof URL) return String(value)
  return `(${typeof value})`
}
