/**
 * What must be true of the rows that are about to be deleted: they are the very row versions that were archived, no more and no fewer. Keys
 * and versions (xmin) came with the copy; PostgreSQL computes the same digest over what it locks or deletes. A key alone is not enough: the
 * row may have been updated since. Pure.
 */
import { createHash } from 'node:crypto'

/** Between the fields of a row and between rows: characters that separate in every encoding, and that no number or uuid has. */
export const fieldSeparator = '\u001f'
export const rowSeparator = '\u001e'

/** Count and hash of some rows. */
export interface Digest {
  readonly rows: number
  /** SHA-256, hexadecimal, over the guards of the rows in the order of the copy. */
  readonly hash: string
}

/** The guards of one relation of a batch, as they came with the copy: one array per column, the row version last. */
export type Guards = readonly (readonly string[])[]

/** The guards of a relation's parts as one. */
export function joinGuards(parts: readonly Guards[]): Guards {
  const [first] = parts
  if (first === undefined) return []
  return parts.length === 1 ? first : first.map((_, column) => parts.flatMap((part) => part[column] ?? []))
}

export function digestOf(guards: Guards, rows: readonly number[]): Digest {
  const text = rows.map((row) => guards.map((column) => column[row]).join(fieldSeparator)).join(rowSeparator)
  return { rows: rows.length, hash: createHash('sha256').update(text).digest('hex') }
}

/** Which rows of a relation go with each row that decided, in the order of the copy. */
export interface Owners {
  readonly byParent: readonly (readonly number[])[]
  /** Rows that point to none of them: what compares equal in PostgreSQL need not look the same (1.0 and 1). */
  readonly unassigned: number
}

/**
 * @param pointers of each row of the child, the values that point to the parent
 * @param targets of each parent, the values that are pointed to
 */
export function assignToParents(
  pointers: readonly (readonly string[])[],
  targets: readonly (readonly string[])[],
): Owners {
  const keyAt = (columns: readonly (readonly string[])[], row: number) =>
    columns.map((column) => column[row]).join(fieldSeparator)
  const parents = new Map<string, number[]>()
  const byParent = (targets[0] ?? []).map((_, parent) => {
    const rows: number[] = []
    parents.set(keyAt(targets, parent), rows)
    return rows
  })
  let unassigned = 0
  for (const row of (pointers[0] ?? []).keys()) {
    const rows = parents.get(keyAt(pointers, row))
    if (rows === undefined) unassigned += 1
    else rows.push(row)
  }
  return { byParent, unassigned }
}

/** The rows of the child that belong to the parents from `first` up to `end`, which is not one of them, in the order of the copy. */
export function rowsOf({ byParent }: Owners, first: number, end: number): readonly number[] {
  const rows = byParent.slice(first, end).flat()
  // Mostly they are in order already, because child and parent were read in the order of the same values.
  return rows.every((row, index) => index === 0 || (rows[index - 1] ?? 0) < row) ? rows : rows.sort((a, b) => a - b)
}

/** Keys whose rows are not what was archived: changed, gone, or new. Each as text, in `before` or `now`. */
export function changedKeys(
  before: ReadonlyMap<string, string>,
  now: ReadonlyMap<string, string>,
): ReadonlySet<string> {
  const changed = new Set<string>()
  for (const [key, version] of before) if (now.get(key) !== version) changed.add(key)
  for (const key of now.keys()) if (!before.has(key)) changed.add(key)
  return changed
}
