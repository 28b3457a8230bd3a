/** Which rows of a batch are not as they were archived: they are set aside, and the others archived again without them. */
import type { ReadBatch, ReadRelation } from './read-batch.js'
import type { ChildShape, RelationShape } from './batch-shape.js'
import { changedKeys, fieldSeparator } from './guards.js'
import { guardColumns, selectGuards, type Values } from './queries.js'
import type { Slice } from './slice.js'

/** Keys of parents that changed, or whose children did, or that have other children now; as {@link keyText} writes them. */
export async function selectChangedParents(slice: Slice, batch: ReadBatch): Promise<ReadonlySet<string>> {
  const { shape } = batch.plan
  const { parent } = shape
  const own = await compare(slice, batch.parent, parent.keyColumns, batch.keys, keyNames(parent))
  const changed = new Set(own)
  const targetAt = new Map<string, string>()
  for (const [index, child] of shape.children.entries()) {
    const targets = child.references.map(
      (name) => batch.targets[parent.targetColumns.findIndex((column) => column.name === name)] ?? [],
    )
    targetAt.clear()
    for (const row of (batch.keys[0] ?? []).keys()) targetAt.set(textAt(targets, row), textAt(batch.keys, row))
    const read = batch.children[index]
    if (read === undefined) continue
    const links = child.linkColumns.map(({ name }) => name)
    for (const link of await compare(slice, read, child.linkColumns, targets, links)) {
      const key = targetAt.get(link)
      if (key !== undefined) changed.add(key)
    }
  }
  return changed
}

/** A key as one text. */
export function keyText(key: readonly string[]): string {
  return key.join(fieldSeparator)
}

/** Of one relation, the values of `by` whose rows differ. */
async function compare(
  slice: Slice,
  read: ReadRelation,
  compared: ChildShape['linkColumns'],
  values: Values,
  by: readonly string[],
): Promise<ReadonlySet<string>> {
  const names = guardColumns(read.relation)
  const places = by.map((name) => names.indexOf(name))
  const rows = await selectGuards(slice.context.db, read.relation, compared, values, names)
  const now = group(rows, places)
  const before = group(
    Array.from({ length: read.rows }, (_, row) => read.guards.map((column) => column.textAt(row))),
    places,
  )
  return changedKeys(before, now)
}

/** All rows of one value as one text, whatever their order. */
function group(rows: readonly (readonly string[])[], places: readonly number[]): ReadonlyMap<string, string> {
  const groups = new Map<string, string[]>()
  for (const row of rows) {
    const key = keyText(places.map((place) => row[place] ?? ''))
    const group = groups.get(key) ?? []
    group.push(row.join(fieldSeparator))
    groups.set(key, group)
  }
  return new Map([...groups].map(([key, texts]) => [key, texts.sort().join('\n')]))
}

function keyNames({ keyColumns }: RelationShape): readonly string[] {
  return keyColumns.map(({ name }) => name)
}

function textAt(values: Values, row: number): string {
  return keyText(values.map((list) => list[row] ?? ''))
}
