import { z } from 'zod'
import { core, definition, layers, metaOf, type Schema } from './schema-reading.js'

/** What text from a flag or the environment stands for, before the schema checks it; or why it cannot stand for anything. */
export type TextValue = { readonly value: unknown } | { readonly expected: string; readonly hint?: string }

/**
 * Reads text as the type of an option: numbers, `true` and `false`, lists separated by commas (or as JSON), objects as JSON.
 * Text that does not fit stays text, so that the schema says what it expects. Nothing is ever evaluated.
 * @param isEntry the text is an entry of a list: commas cannot separate lists within lists, these need JSON.
 */
export function readText(schema: Schema, text: string, isEntry = false): TextValue {
  if (layers(schema).some((layer) => definition(layer).type === 'nullable') && text.trim() === 'null')
    return { value: null }
  const inner = core(schema)
  const it = definition(inner)
  const trimmed = text.trim()
  switch (it.type) {
    case 'number':
    case 'int':
      return { value: /^[+-]?\d+(\.\d+)?([eE][+-]?\d{1,3})?$/.test(trimmed) ? Number(trimmed) : text }
    case 'bigint':
      return { value: /^[+-]?\d{1,40}$/.test(trimmed) ? BigInt(trimmed) : text }
    case 'boolean':
      return { value: trimmed === 'true' ? true : trimmed === 'false' ? false : text }
    case 'enum':
      return { value: trimmed }
    case 'literal':
      return { value: it.values?.find((each) => String(each) === trimmed) ?? text }
    case 'string':
      return { value: metaOf(schema).optionType === undefined ? text : trimmed }
    case 'array':
    case 'tuple':
      return isEntry ? { value: text } : readList(inner, trimmed)
    case 'object':
    case 'record':
      return readJson(trimmed, 'a mapping as JSON, such as {"name":"value"}')
    case 'union':
      return readAlternative(it.options ?? [], text, isEntry)
    default:
      return { value: text }
  }
}

function readList(schema: Schema, text: string): TextValue {
  if (text.startsWith('[')) return readJson(text, 'a list separated by commas, or as JSON, such as ["a","b"]')
  const { element, items, rest } = definition(schema)
  const values: unknown[] = []
  const parts = text.split(',').map((part) => part.trim())
  for (const [index, part] of parts.filter((each) => each !== '').entries()) {
    const of = element ?? items?.[index] ?? rest ?? undefined
    const read = of === undefined ? { value: part } : readText(of, part, true)
    if (!('value' in read)) return read
    values.push(read.value)
  }
  return { value: values }
}

function readJson(text: string, expected: string): TextValue {
  try {
    return { value: JSON.parse(text) as unknown }
  } catch {
    return { expected, hint: 'what was given is not JSON: JSON has double quotes and no comma at the end' }
  }
}

/** The first alternative that accepts the text as its own type. */
function readAlternative(alternatives: readonly Schema[], text: string, isEntry: boolean): TextValue {
  let first: TextValue | undefined
  for (const alternative of alternatives) {
    const read = readText(alternative, text, isEntry)
    first ??= read
    if ('value' in read && accepts(alternative, read.value)) return read
  }
  return first !== undefined && 'value' in first ? first : { value: text }
}

function accepts(schema: Schema, value: unknown): boolean {
  try {
    return z.safeParse(schema, value).success
  } catch {
    // What a schema throws is reported when the whole section is checked.
    return false
  }
}
