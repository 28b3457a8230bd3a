import { displayDefault } from './display.js'
import { deriveOptions, type Option, type OptionGroup } from './options.js'
import type { Section } from './sections.js'
import { inputJsonSchema } from './wording.js'

/**
 * JSON Schema (draft 2020-12) of the configuration file. Nothing is required: every option may also come from elsewhere. A section that is
 * not known may belong to a third-party task, so it is allowed; what is no section must be an option.
 */
export function configurationJsonSchema(sections: readonly Section[]): Record<string, unknown> {
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: 'Configuration of the BattleScope scheduler',
    ...groupSchema(deriveOptions(sections).root),
    additionalProperties: { description: 'Options of a third-party task.', type: ['object', 'null'] },
  }
}

function groupSchema(group: OptionGroup): Record<string, unknown> {
  const properties: Record<string, unknown> = {}
  for (const [key, child] of group.children) {
    if (child.kind === 'group') properties[key] = groupSchema(child)
    else if (child.inFile) properties[key] = optionSchema(child)
  }
  const description = group.section?.name === group.path ? group.section.description : undefined
  return {
    ...(description === undefined ? {} : { description }),
    type: 'object',
    properties,
    additionalProperties: false,
  }
}

function optionSchema(option: Option): Record<string, unknown> {
  const preset = displayDefault(option)
  return {
    ...(option.description === undefined ? {} : { description: option.description }),
    ...standardKeywords(inputJsonSchema(option.schema)),
    ...(preset === undefined ? {} : { default: preset }),
    ...(option.secret === false ? {} : { writeOnly: true }),
  }
}

const ownKeywords = new Set(['optionType', 'allowed', 'env', 'secret', 'quotesNothing', 'file', 'default', 'id'])

/** Leaves out what only this program understands; validators in strict mode refuse keywords that they do not know. */
function standardKeywords(json: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(json)
      .filter(([key]) => !ownKeywords.has(key))
      .map(([key, value]) => [key, isSchemaKeyword(key) ? mapSchemas(key, value) : value]),
  )
}

const singleSchemas = new Set(['items', 'additionalProperties', 'propertyNames', 'not'])
const schemaLists = new Set(['anyOf', 'oneOf', 'allOf', 'prefixItems'])

function isSchemaKeyword(key: string): boolean {
  return key === 'properties' || singleSchemas.has(key) || schemaLists.has(key)
}

function mapSchemas(key: string, value: unknown): unknown {
  if (value === null || typeof value !== 'object') return value
  if (Array.isArray(value)) return value.map((each) => mapSchemas('items', each))
  if (key !== 'properties') return standardKeywords(value as Record<string, unknown>)
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, mapSchemas('items', each)]))
}
