/** Which archived batches hold rows that others point to. */
import {
  catalogIn,
  decodeRows,
  isVerified,
  selectBatchesWithObjects,
  type ArchiveObject,
  type BatchWithObjects,
} from '@battlescope/archive'
import { addMonths, type TargetForeignKey } from './restore-plan.js'
import { readWhereverItLies } from './restored-objects.js'
import type { Slice } from './slice.js'

export interface MissingRows {
  readonly key: TargetForeignKey
  /** Values of the referenced columns as text. */
  readonly values: readonly (readonly string[])[]
}

/** A group and its members lie in time beside each other: a battle ends hours after its killmails, at worst in the next month. */
const monthsAround = 3

/** Batches, nearest month first, that have at least one of the missing rows, until every one was found. */
export async function* findHolders(
  slice: Slice,
  stateSchema: string,
  month: string,
  { key, values }: MissingRows,
): AsyncGenerator<BatchWithObjects, void, undefined> {
  const { context } = slice
  const store = await context.client('store')
  const left = new Set(values.map((row) => JSON.stringify(row)))
  for (const near of monthsNear(month)) {
    if (left.size === 0) return
    const batches = await selectBatchesWithObjects(catalogIn(context.db, stateSchema), {
      states: ['deleted'],
      fromMonth: near,
      toMonth: near,
    })
    // What was archived last first, as in `orderBatches`.
    const newest = [...batches].sort((a, b) => (b.verifiedAt?.getTime() ?? 0) - (a.verifiedAt?.getTime() ?? 0))
    for (const batch of newest) {
      let found = false
      for (const object of batch.objects.filter(isVerified)) {
        if (object.restoredAt !== undefined || object.relation !== key.references || !hasColumns(object, key)) continue
        const bytes = await readWhereverItLies(store, object, context.signal)
        for await (const rows of decodeRows(bytes, key.referencedColumns)) {
          for (let row = 0; row < rows.rowCount; row++) {
            const own = JSON.stringify(key.referencedColumns.map((name) => rows.values[name]?.[row]))
            if (left.delete(own)) found = true
          }
        }
      }
      if (found) yield batch
    }
  }
}

function hasColumns({ columns }: ArchiveObject, { referencedColumns }: TargetForeignKey): boolean {
  return referencedColumns.every((name) => columns.some((column) => column.name === name))
}

function monthsNear(month: string): readonly string[] {
  const months = [month]
  for (let distance = 1; distance <= monthsAround; distance++) {
    months.push(addMonths(month, distance), addMonths(month, -distance))
  }
  return months
}
