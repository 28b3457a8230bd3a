/** Names of relations as people write them in options and requirements, wildcards included. Pure. */
import { parseRelationName, type RelationName } from './relation-name.js'

export type RelationPattern =
  | { readonly kind: 'name'; readonly schema: string; readonly name: string }
  | { readonly kind: 'wildcard'; readonly schema: RegExp; readonly name: RegExp }

/**
 * Reads `name`, `schema.name`, or a pattern of them: `*` stands for any characters, `?` for one. A text with quotes is a name, so that a
 * name may hold these characters: `"odd*"."name?"`. Without a schema it is `public`.
 * @throws an error that says what is wrong with the text.
 */
export function parseRelationPattern(text: string): RelationPattern {
  if (text.includes('"') || !/[*?]/.test(text)) return { kind: 'name', ...parseRelationName(text) }
  const parts = text.trim().split('.')
  const [first = '', second] = parts
  if (parts.length > 2)
    throw new Error(`'${text}' has too many dots: write schema.name, and quote parts that contain a dot`)
  return second === undefined
    ? { kind: 'wildcard', schema: /^public$/, name: wildcard(first) }
    : { kind: 'wildcard', schema: wildcard(first), name: wildcard(second) }
}

export function matchesRelation(pattern: RelationPattern, { schema, name }: RelationName): boolean {
  if (pattern.kind === 'name') return pattern.schema === schema && pattern.name === name
  return pattern.schema.test(schema) && pattern.name.test(name)
}

/** What options say of relations: names and patterns of those that are meant, and of those that are left out all the same. */
export interface RelationChoice {
  readonly relations: readonly string[]
  readonly exclude: readonly string[]
}

/**
 * The relations that are chosen, in their order.
 * @param namesOf what a relation may be chosen, or left out, by; default: its own name
 */
export function chosenRelations<Relation extends RelationName>(
  relations: readonly Relation[],
  { relations: wanted, exclude }: RelationChoice,
  namesOf: (relation: Relation) => readonly RelationName[] = (relation) => [relation],
): readonly Relation[] {
  return relations.filter((relation) => {
    const names = namesOf(relation)
    return (
      names.some((name) => isAmongRelations(name, wanted)) && !names.some((name) => isAmongRelations(name, exclude))
    )
  })
}

/** Whether one of the names or patterns means the relation. */
export function isAmongRelations(relation: RelationName, patterns: readonly string[]): boolean {
  return patterns.some((text) => matchesRelation(parseRelationPattern(text), relation))
}

function wildcard(text: string): RegExp {
  const source = text
    // Unquoted, therefore folded, and only ASCII, as in parseRelationName.
    .replace(/[A-Z]/g, (letter) => letter.toLowerCase())
    .replace(/[\\^$.+()[\]{}|]/g, '\\$&')
    .replaceAll('*', '.*')
    .replaceAll('?', '.')
  return new RegExp(`^${source}$`, 'su')
}
