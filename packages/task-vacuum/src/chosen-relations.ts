/** Which relations the options choose. Pure. */
import {
  chosenRelations as chosenByName,
  matchesRelation,
  parseRelationPattern,
  type RelationChoice,
  type RelationName,
} from '@battlescope/database'

/** A relation, and the partitioned ones that it is a partition of. */
export interface Chosen extends RelationName {
  readonly parents: readonly RelationName[]
}

/** Those that are chosen themselves, or by one of their parents; and so are those that are left out. */
export function chosenRelations<Relation extends Chosen>(
  relations: readonly Relation[],
  choice: RelationChoice,
): readonly Relation[] {
  return chosenByName(relations, choice, namesOf)
}

/** Names that mean no relation; patterns may match none. */
export function missingNames(texts: readonly string[], relations: readonly Chosen[]): readonly string[] {
  return texts.filter((text) => {
    const pattern = parseRelationPattern(text)
    if (pattern.kind !== 'name') return false
    return !relations.some((relation) => namesOf(relation).some((name) => matchesRelation(pattern, name)))
  })
}

function namesOf(relation: Chosen): readonly RelationName[] {
  return [relation, ...relation.parents]
}

/** The quoted, qualified name: one text per relation. */
export function keyOf({ schema, name }: RelationName): string {
  const quote = (identifier: string) =>
    /^[a-z_][a-z0-9_$]*$/.test(identifier) ? identifier : `"${identifier.replaceAll('"', '""')}"`
  return `${quote(schema)}.${quote(name)}`
}
