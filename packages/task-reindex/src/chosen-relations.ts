/** Which relations the options choose. Pure. */
import { matchesRelation, parseRelationPattern, type RelationName } from '@battlescope/database'

export interface Choice {
  readonly relations: readonly string[]
  readonly exclude: readonly string[]
}

export function chosenRelations<Relation extends RelationName>(
  relations: readonly Relation[],
  choice: Choice,
): readonly Relation[] {
  const wanted = choice.relations.map(parseRelationPattern)
  return relations.filter(
    (relation) => wanted.some((pattern) => matchesRelation(pattern, relation)) && !isAmong(relation, choice.exclude),
  )
}

export function isAmong(relation: RelationName, patterns: readonly string[]): boolean {
  return patterns.some((text) => matchesRelation(parseRelationPattern(text), relation))
}
