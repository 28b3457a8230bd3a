/** What the texts mean that choose relations. Pure. */
import { matchesRelation, parseRelationPattern, type RelationName } from '@battlescope/database'

export { chosenRelations } from '@battlescope/database'

/** Names and patterns that match no relation. */
export function unmatched(texts: readonly string[], relations: readonly RelationName[]): readonly string[] {
  return texts.filter((text) => {
    const pattern = parseRelationPattern(text)
    return !relations.some((relation) => matchesRelation(pattern, relation))
  })
}

/** Whether a text means one relation, and is no pattern. */
export function isName(text: string): boolean {
  return parseRelationPattern(text).kind === 'name'
}
