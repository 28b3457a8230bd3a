/**
 * What must be true of the rows that are about to be deleted: they are the very row versions that were archived, no more and no fewer. Keys
 * and versions (xmin) came with the copy; PostgreSQL computes the same digest over what it locks or deletes. A key alone is not enough: the
 * row may have been updated since. Pure.
 */
import { createHash } from 'node:crypto'
import { GuardColumn } from '@battlescope/archive'

/** Between the fields of a row and between rows: characters that separate in every encoding, and that no number or uuid has. */
export const fieldSeparator = '\u001f'
export const rowSeparator = '\u001e'

/** Count and hash of some rows. */
export interface Digest {
  readonly rows: number
  /** SHA-256, hexadecimal, over the guards of the rows in the order of the copy. */
  readonly hash: string
}

/** The guards of one relation of a batch, as they came with the copy: one for each column, the row version last. */
export type Guards = readonly GuardColumn[]

/** The guards of a relation's parts as one. */
export function joinGuards(parts: readonly Guards[]): Guards {
  return (parts[0] ?? []).map((_, column) => GuardColumn.join(parts.map((part) => part[column] ?? GuardColumn.empty)))
}

export function rowCountOf(guards: Guards): number {
  return guards[0]?.length ?? 0
}

/** Numbers of rows, in the order of the copy. */
export type RowNumbers = Int32Array

/** The rows from `first` up to `end`, which is not one of them. */
export function rowRange(first: number, end: number): RowNumbers {
  return Int32Array.from({ length: end - first }, (_, index) => first + index)
}

const separators = { field: fieldSeparator.charCodeAt(0), row: rowSeparator.charCodeAt(0) }
/** Bytes that are put together before they are hashed: hashing a few at a time costs more than hashing them. */
const hashedAtOnce = 64 * 1024
/** Below this many bytes a loop is faster than a call. */
const loopedBytes = 48

export function digestOf(guards: Guards, rows: RowNumbers): Digest {
  const hash = createHash('sha256')
  const buffer = Buffer.allocUnsafe(hashedAtOnce)
  let used = 0
  const makeRoom = (bytes: number) => {
    if (used + bytes <= hashedAtOnce) return
    hash.update(buffer.subarray(0, used))
    used = 0
  }
  for (let index = 0; index < rows.length; index++) {
    const row = rows[index] ?? 0
    for (let column = 0; column < guards.length; column++) {
      const { bytes, ends } = guards[column] ?? GuardColumn.empty
      const start = row === 0 ? 0 : (ends[row - 1] ?? 0)
      const length = (ends[row] ?? 0) - start
      makeRoom(length + 1)
      if (column > 0) buffer[used++] = separators.field
      else if (index > 0) buffer[used++] = separators.row
      if (length >= hashedAtOnce) {
        makeRoom(hashedAtOnce)
        hash.update(bytes.subarray(start, start + length))
      } else if (length < loopedBytes) {
        for (let at = 0; at < length; at++) buffer[used++] = bytes[start + at] ?? 0
      } else used += bytes.copy(buffer, used, start, start + length)
    }
  }
  return { rows: rows.length, hash: hash.update(buffer.subarray(0, used)).digest('hex') }
}

/** Which rows of a relation go with each row that decided, in the order of the copy. */
export interface Owners {
  /** Grouped by parent. */
  readonly rows: RowNumbers
  /** Where in `rows` those of each parent begin; and, last, where they end. */
  readonly starts: Int32Array
  /** Rows that point to none of them: what compares equal in PostgreSQL need not look the same (1.0 and 1). */
  readonly unassigned: number
}

/**
 * @param pointers of each row of the child, the values that point to the parent
 * @param targets of each parent, the values that are pointed to
 */
export function assignToParents(pointers: readonly GuardColumn[], targets: readonly (readonly string[])[]): Owners {
  const parentCount = (targets[0] ?? []).length
  const parents = new Map<string, number>()
  for (let parent = 0; parent < parentCount; parent++) {
    parents.set(targets.map((column) => column[parent]).join(fieldSeparator), parent)
  }
  const rowCount = rowCountOf(pointers)
  const owners = new Int32Array(rowCount).fill(-1)
  const starts = new Int32Array(parentCount + 1)
  let unassigned = 0
  for (let row = 0; row < rowCount; row++) {
    const parent = parents.get(pointers.map((column) => column.textAt(row)).join(fieldSeparator))
    if (parent === undefined) unassigned++
    else {
      owners[row] = parent
      starts[parent + 1] = (starts[parent + 1] ?? 0) + 1
    }
  }
  for (let parent = 0; parent < parentCount; parent++)
    starts[parent + 1] = (starts[parent + 1] ?? 0) + (starts[parent] ?? 0)
  const rows = new Int32Array(rowCount - unassigned)
  const next = starts.slice()
  for (let row = 0; row < rowCount; row++) {
    const parent = owners[row] ?? -1
    if (parent < 0) continue
    const place = next[parent] ?? 0
    rows[place] = row
    next[parent] = place + 1
  }
  return { rows, starts, unassigned }
}

/** The rows of the child that belong to the parents from `first` up to `end`, which is not one of them, in the order of the copy. */
export function rowsOf({ rows, starts }: Owners, first: number, end: number): RowNumbers {
  const owned = rows.subarray(starts[first], starts[end])
  // Mostly they are in order already, because child and parent were read in the order of the same values.
  return owned.every((row, index) => index === 0 || (owned[index - 1] ?? 0) < row) ? owned : owned.slice().sort()
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
