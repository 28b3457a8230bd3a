/** Names of relations as people write them in options, wildcards included. Pure. */
import { parseRelationName } from '@battlescope/database'
import type { Candidate } from './queries.js'

export type RelationPattern =
  | { readonly kind: 'name'; readonly schema: string; readonly name: string }
  | { readonly kind: 'wildcard'; readonly schema: RegExp; readonly name: RegExp }

/** @throws an error that says what is wrong with the name. */
export function parsePattern(text: string): RelationPattern {
  if (text.includes('"') || !/[*?]/.test(text)) return { kind: 'name', ...parseRelationName(text) }
  const parts = text.split('.')
  const [first = '', second] = parts
  if (parts.length > 2)
    throw new Error(`'${text}' has too many dots: write schema.name, and quote parts that contain a dot`)
  return second === undefined
    ? { kind: 'wildcard', schema: /^public$/, name: wildcard(first) }
    : { kind: 'wildcard', schema: wildcard(first), name: wildcard(second) }
}

export function matches(pattern: RelationPattern, { schema, name }: Pick<Candidate, 'schema' | 'name'>): boolean {
  if (pattern.kind === 'name') return pattern.schema === schema && pattern.name === name
  return pattern.schema.test(schema) && pattern.name.test(name)
}

function wildcard(text: string): RegExp {
  // Unquoted, therefore folded, as in SQL.
  const source = text
    .toLowerCase()
    .replace(/[\\^$.+()[\]{}|]/g, '\\$&')
    .replaceAll('*', '.*')
    .replaceAll('?', '.')
  return new RegExp(`^${source}$`, 's')
}
