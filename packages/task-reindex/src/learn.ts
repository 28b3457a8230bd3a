/** What is learned of each index from run to run: its best size per tuple, by which its growth is judged. Pure. */
import { indexNameOf, relationOf, type IndexFacts, type LearnedIndex } from './facts.js'
import type { Learning } from './records.js'

/** Below, a half-empty page decides, and not the shape of the index. */
const leastTuples = 1000
/** Share of the rows that may have changed since ANALYZE counted: beyond, the size per tuple is off by more than it tells. */
const mostChanged = 0.2
/** A smaller gain is noise, and no reason to write. */
const leastGain = 0.01

/** Whether the number of tuples is new enough to divide by. */
export function isCounted({ tuples, changedRows, tableRows }: IndexFacts): boolean {
  return tuples !== undefined && changedRows <= mostChanged * Math.max(tableRows, leastTuples)
}

/** Undefined where it says nothing: unusable, uncounted, or too small. */
function bytesPerTuple(index: IndexFacts): number | undefined {
  if (!index.valid || !isCounted(index) || (index.tuples ?? 0) < leastTuples) return undefined
  return index.sizeBytes / (index.tuples ?? 1)
}

/** The same index, and not another one that got its number. */
export function learnedOf(index: IndexFacts, learned: readonly LearnedIndex[]): LearnedIndex | undefined {
  return learned.find(({ oid, definition }) => oid === index.oid && definition === index.definition)
}

export function learn(indexes: readonly IndexFacts[], before: readonly LearnedIndex[], now: Date): Learning {
  const byOid = new Map(before.map((index) => [index.oid, index]))
  const byName = new Map(before.map((index) => [identityOf(index), index]))
  const present = new Set(indexes.map(({ oid }) => oid))
  const learned = indexes.flatMap((index): readonly LearnedIndex[] => {
    if (!index.valid || index.definition === '') return []
    const known = byOid.get(index.oid)
    const same = known?.definition === index.definition ? known : undefined
    const observed = bytesPerTuple(index)
    const best = lower(same?.bestBytesPerTuple, observed)
    const [relation, indexName] = [relationOf(index), indexNameOf(index)]
    const renamed = same !== undefined && (same.relation !== relation || same.indexName !== indexName)
    if (same !== undefined && best === same.bestBytesPerTuple && !renamed) return []
    // A rebuild gives an index a new number: it is as old as the one that it came for.
    const predecessor = byName.get(identityOf({ relation, indexName, definition: index.definition }))
    const firstSeenAt =
      same?.firstSeenAt ?? (predecessor !== undefined && !present.has(predecessor.oid) ? predecessor.firstSeenAt : now)
    return [{ oid: index.oid, relation, indexName, definition: index.definition, bestBytesPerTuple: best, firstSeenAt }]
  })
  return { learned, forgotten: before.filter(({ oid }) => !present.has(oid)).map(({ oid }) => oid) }
}

function lower(best: number | undefined, observed: number | undefined): number | undefined {
  if (best === undefined || observed === undefined) return best ?? observed
  return observed < best * (1 - leastGain) ? observed : best
}

function identityOf({
  relation,
  indexName,
  definition,
}: Pick<LearnedIndex, 'relation' | 'indexName' | 'definition'>): string {
  return JSON.stringify([relation, indexName, definition])
}
