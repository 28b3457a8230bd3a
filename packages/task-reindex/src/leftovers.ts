/**
 * What became of a rebuild that its process did not see the end of, and which index, if any, it left to be dropped. Pure.
 *
 * REINDEX CONCURRENTLY builds a copy under another name (`…_ccnew`), swaps the two names, and drops the original, which by then is called `…_ccold`.
 * Ended in between it leaves an invalid index: before the swap the copy, after it the original. Only what is provably ours may be dropped:
 * an index whose number was written down, with the definition that was written down.
 */
import type { Rebuild, SiblingIndex } from './facts.js'

export type Aftermath =
  /** Drop it; afterwards the rebuild ended so. */
  | { readonly kind: 'drop'; readonly leftover: SiblingIndex; readonly outcome: 'rebuilt' | 'interrupted' }
  /** Nothing of ours is left. `index` is what serves now. */
  | {
      readonly kind: 'close'
      readonly outcome: 'rebuilt' | 'interrupted' | 'gone'
      readonly index?: SiblingIndex
      readonly doubt?: string
    }

/** @param siblings every index of the table now; empty when the table is gone */
export function aftermathOf(rebuild: Rebuild, siblings: readonly SiblingIndex[]): Aftermath {
  const fits = (index: SiblingIndex) => index.definition === rebuild.definition
  const original = siblings.find(({ oid }) => oid === rebuild.indexOid)
  const copy = siblings.find(({ oid }) => oid === rebuild.newIndexOid)
  if (copy !== undefined && fits(copy)) return ofKnownCopy(rebuild, original, copy)
  if (original === undefined) return ofMissingOriginal(rebuild, siblings.filter(fits))
  // It was valid when the rebuild was written down.
  if (!original.valid) return ofInvalidOriginal(rebuild, original, siblings.filter(fits))
  if (rebuild.newIndexOid !== undefined) return { kind: 'close', outcome: 'interrupted', index: original }
  return ofUnknownCopy(rebuild, original, siblings.filter(fits))
}

function ofKnownCopy(rebuild: Rebuild, original: SiblingIndex | undefined, copy: SiblingIndex): Aftermath {
  if (!copy.valid) {
    // Both invalid cannot come of one rebuild: then nothing is certain, and an index that might be needed is not dropped.
    return original === undefined || original.valid
      ? { kind: 'drop', leftover: copy, outcome: 'interrupted' }
      : { kind: 'close', outcome: 'interrupted', doubt: 'both the index and its copy are invalid' }
  }
  if (original === undefined) return { kind: 'close', outcome: 'rebuilt', index: copy }
  if (!original.valid && original.definition === rebuild.definition)
    return { kind: 'drop', leftover: original, outcome: 'rebuilt' }
  return { kind: 'close', outcome: 'rebuilt', index: copy, doubt: 'the index and its copy are both there, and valid' }
}

/** The server went on to the end after its client was gone, or somebody dropped it. */
function ofMissingOriginal(rebuild: Rebuild, alike: readonly SiblingIndex[]): Aftermath {
  const successor = alike.find((index) => index.valid && nameEquals(index, rebuild))
  return successor === undefined
    ? { kind: 'close', outcome: 'gone' }
    : { kind: 'close', outcome: 'rebuilt', index: successor }
}

/** Ended after the swap, before the number of the copy was written down: the valid index that took its name is the copy. */
function ofInvalidOriginal(rebuild: Rebuild, original: SiblingIndex, alike: readonly SiblingIndex[]): Aftermath {
  const successor = alike.find((index) => index.valid && index.oid !== original.oid && nameEquals(index, rebuild))
  const swappedByUs = rebuild.newIndexOid === undefined || rebuild.newIndexOid === successor?.oid
  if (successor !== undefined && swappedByUs && original.definition === rebuild.definition)
    return { kind: 'drop', leftover: original, outcome: 'rebuilt' }
  return { kind: 'close', outcome: 'interrupted', doubt: 'the index is invalid, and not by a swap of ours' }
}

/** Ended between the copy's creation and the note of its number. It is ours when it is the only one that came since, and looks as ours would. */
function ofUnknownCopy(rebuild: Rebuild, original: SiblingIndex, alike: readonly SiblingIndex[]): Aftermath {
  const since = alike.filter(({ oid, valid }) => !valid && oid !== original.oid && !rebuild.invalidBefore.includes(oid))
  const [only] = since.filter(({ name }) => copyName.test(name))
  if (only === undefined) return { kind: 'close', outcome: 'interrupted', index: original }
  if (since.length === 1) return { kind: 'drop', leftover: only, outcome: 'interrupted' }
  return {
    kind: 'close',
    outcome: 'interrupted',
    index: original,
    doubt: `${since.length} invalid indexes came since, and one at most is ours`,
  }
}

/** As PostgreSQL names a copy; a number makes it unique. Alone it proves nothing. */
const copyName = /_ccnew\d*$/

function nameEquals(index: SiblingIndex, { indexName }: Rebuild): boolean {
  const [, name] = splitName(indexName)
  return index.name === name
}

/** The parts of a name as `nameOf` writes it. */
function splitName(name: string): readonly [string, string] {
  const parts = [...name.matchAll(/"((?:[^"]|"")*)"|([^."]+)/g)].map(
    ([, quoted, plain]) => quoted?.replaceAll('""', '"') ?? plain ?? '',
  )
  return [parts[0] ?? '', parts[1] ?? '']
}

/** What a leftover is called from the moment on that it is to be dropped: its number is in it, and nobody else gives such a name. */
export function leftoverName({ oid }: Pick<SiblingIndex, 'oid'>): string {
  return `battlescope_scheduler_leftover_${oid}`
}
