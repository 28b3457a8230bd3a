import { z } from 'zod'
import type { Schema } from './schema-reading.js'

/** JSON Schema as zod writes it, as far as it is put into words. */
interface JsonSchema {
  readonly type?: string
  readonly format?: string
  readonly pattern?: string
  readonly enum?: readonly unknown[]
  readonly const?: unknown
  readonly minimum?: number
  readonly maximum?: number
  readonly exclusiveMinimum?: number
  readonly exclusiveMaximum?: number
  readonly multipleOf?: number
  readonly minLength?: number
  readonly maxLength?: number
  readonly minItems?: number
  readonly maxItems?: number
  readonly items?: JsonSchema
  readonly anyOf?: readonly JsonSchema[]
  readonly oneOf?: readonly JsonSchema[]
  /** From `.meta({ allowed })`: what is accepted, in the words of whoever made the schema. */
  readonly allowed?: string
}

/** JSON Schema of what may be given; `{}` (anything) for what JSON Schema cannot say. */
export function inputJsonSchema(schema: Schema): Record<string, unknown> {
  try {
    const { $schema: _, ...json } = z.toJSONSchema(schema, {
      io: 'input',
      unrepresentable: 'any',
      cycles: 'ref',
      reused: 'inline',
    })
    // A part that refers to itself cannot be moved into another document.
    return JSON.stringify(json).includes('"$ref"') ? {} : json
  } catch {
    // Schemas of an older zod 4 do not know how to describe themselves to this one.
    return {}
  }
}

/** What an option accepts, in words: `a whole number, at least 1`, `one of 'changed', 'always'`. */
export function allowedValues(schema: Schema): string {
  return words(inputJsonSchema(schema))
}

const formatWords: Readonly<Record<string, string>> = {
  uri: 'a URL',
  email: 'an e-mail address',
  uuid: 'a UUID',
  date: 'a date such as 2026-11-23',
  'date-time': 'an instant such as 2026-11-23T02:00:00Z',
}

function words(json: JsonSchema): string {
  if (json.allowed !== undefined) return json.allowed
  const alternatives = json.anyOf ?? json.oneOf
  if (alternatives !== undefined) return [...new Set(alternatives.map(words))].join(', or ')
  if (json.const !== undefined) return quoted(json.const)
  if (json.enum !== undefined) {
    return json.enum.length === 1 ? quoted(json.enum[0]) : `one of ${json.enum.map(quoted).join(', ')}`
  }
  switch (json.type) {
    case 'boolean':
      return 'true or false'
    case 'null':
      return 'null'
    case 'integer':
    case 'number':
      return [json.type === 'integer' ? 'a whole number' : 'a number', ...numberLimits(json)].join(', ')
    case 'array': {
      const list =
        json.items === undefined || Object.keys(json.items).length === 0
          ? 'a list'
          : `a list, each ${words(json.items)}`
      return [list, ...countLimits(json.minItems, json.maxItems, 'entries')].join(', ')
    }
    case 'object':
      return 'a mapping'
    case 'string':
      return textWords(json)
    default:
      return 'another value'
  }
}

function textWords(json: JsonSchema): string {
  const format = json.format === undefined ? undefined : formatWords[json.format]
  if (format !== undefined) return format
  const pattern = json.pattern === undefined ? [] : [`matching ${json.pattern}`]
  const limits =
    json.minLength === 1 && json.maxLength === undefined
      ? ['not empty']
      : countLimits(json.minLength, json.maxLength, 'characters')
  return ['text', ...limits, ...pattern].join(', ')
}

function numberLimits(json: JsonSchema): string[] {
  // zod writes the limits of a safe integer into every whole number.
  const safe = (limit: number | undefined) => limit !== undefined && Math.abs(limit) < Number.MAX_SAFE_INTEGER
  return [
    ...(safe(json.minimum) ? [`at least ${json.minimum}`] : []),
    ...(safe(json.exclusiveMinimum) ? [`more than ${json.exclusiveMinimum}`] : []),
    ...(safe(json.maximum) ? [`at most ${json.maximum}`] : []),
    ...(safe(json.exclusiveMaximum) ? [`less than ${json.exclusiveMaximum}`] : []),
    ...(json.multipleOf === undefined ? [] : [`a multiple of ${json.multipleOf}`]),
  ]
}

function countLimits(min: number | undefined, max: number | undefined, unit: string): string[] {
  const counted = (count: number) => `${count} ${count === 1 ? unit.replace(/ies$/, 'y').replace(/s$/, '') : unit}`
  return [
    ...(min === undefined || min === 0 ? [] : [`at least ${counted(min)}`]),
    ...(max === undefined ? [] : [`at most ${counted(max)}`]),
  ]
}

function quoted(value: unknown): string {
  return typeof value === 'string' ? `'${value}'` : String(value)
}

/** What zod says by itself. Its own words are replaced by ours, those of a schema's author are kept. */
export function isStandardMessage(message: string): boolean {
  return /^(Invalid|Too (small|big)|Unrecognized|Required)\b/.test(message)
}
