/** What earlier runs began with partitions: looked at first in every run, by what the scheduler's own table says. */
import { catalogIn, markAllDeleted, selectBatchesWithObjects } from '@battlescope/archive'
import { parseRelationName } from '@battlescope/database'
import { codeOf, isStoreProblem } from './batch-errors.js'
import { discardBatch, reportStoreProblem } from './clean-up.js'
import { noContent } from './content-hash.js'
import { progressOf } from './cursor.js'
import { countUpTo } from './expiry-queries.js'
import { takeStore } from './ownership.js'
import type { ArchivedSoFar, PartitionRecord } from './partition-facts.js'
import {
  attachedAgainFinding,
  foreignPendingFinding,
  goneFinding,
  keptFinding,
  pendingFinding,
  refusedFinalizeFinding,
  unseenFinding,
  waitingFinding,
} from './partition-findings.js'
import { finalizeDetach } from './partition-queries.js'
import {
  deletePartitionRecord,
  selectPartitionRecords,
  updateArchived,
  updateAttachedAgain,
  updateDetached,
  updateDropped,
} from './partition-records.js'
import { keyOf, resolvePolicies } from './policy.js'
import { isOurs, judgeRecord } from './plan-partitions.js'
import { keepCommit } from './queries.js'
import { countLive, selectTarget } from './restore-queries.js'
import type { Slice } from './slice.js'

export const nothingArchived: ArchivedSoFar = {
  batchIds: [],
  rows: 0,
  hash: noContent,
  columns: undefined,
  last: undefined,
}

/** A lock, a statement's time, a deadlock: waiting helps. */
const passing = new Set(['55P03', '57014', '40P01'])

export function mayPass(error: unknown): boolean {
  return passing.has(codeOf(error))
}

export async function recoverPartitions(slice: Slice): Promise<void> {
  const { context } = slice
  const { stateSchema } = context
  if (stateSchema === undefined) return
  for (const record of await selectPartitionRecords(context.db, stateSchema)) await recover(slice, stateSchema, record)
}

/**
 * Detached partitions whose policy does not look at them in this run: nobody else would tell of them.
 * @param runnable names of policies that can run
 */
export async function reportWaiting(slice: Slice, runnable: readonly string[]): Promise<void> {
  const { context } = slice
  if (context.stateSchema === undefined) return
  for (const record of await selectPartitionRecords(context.db, context.stateSchema)) {
    if (record.place !== 'detached' || !isOurs(record)) continue
    if (!runnable.includes(record.policy)) {
      slice.report(waitingFinding(record, `the policy ${record.policy} does not run`))
    } else if (progressOf(slice.cursor, record.policy).finished) {
      slice.report(waitingFinding(record, `the policy ${record.policy} tries again in its next slot`))
    }
  }
}

async function recover(slice: Slice, stateSchema: string, record: PartitionRecord): Promise<void> {
  const { context } = slice
  const target = record.relation
  const reason = record.partition
  const decision = judgeRecord(record, slice.cursor.slotId)
  switch (decision.kind) {
    case 'sending':
    case 'drop':
      return
    case 'finalize':
      await finalize(slice, stateSchema, record)
      return
    case 'forget':
      await context.act({ kind: 'forget-partition', target, reason }, async ({ db }) => {
        await deletePartitionRecord(db, stateSchema, record)
      })
      return
    case 'attached-again':
      slice.report(attachedAgainFinding(record))
      if (!decision.isNew) return
      if (!(await giveUpCopies(slice, stateSchema, record))) return
      await context.act({ kind: 'note-partition', target, reason: `${reason} is attached again` }, async ({ db }) => {
        await updateAttachedAgain(db, stateSchema, record.id, slice.cursor.slotId)
      })
      return
    case 'restored':
      if (!(await giveUpCopies(slice, stateSchema, record))) return
      await context.act({ kind: 'forget-partition', target, reason }, async ({ db }) => {
        await deletePartitionRecord(db, stateSchema, record)
      })
      return
    case 'gone':
      slice.report(goneFinding(record))
      await context.act({ kind: 'note-partition', target, reason: `${reason} is gone` }, async ({ db }) => {
        // Their rows left the database by another hand. These copies are the only ones now, and must never be discarded.
        await markAllDeleted(catalogIn(db, stateSchema), record.archived.batchIds)
        await updateDropped(db, stateSchema, record.id)
      })
      return
    case 'leave':
      if (record.place === 'pending') {
        slice.report(foreignPendingFinding(parseRelationName(record.relation), parseRelationName(record.partition)))
      } else slice.report(waitingFinding(record, decision.why))
  }
}

/** Tries per run: each waits for `lockTimeout` for every transaction that is older than the detach. */
const mostTries = 3
const pauseMs = 200

/** @returns whether the partition is detached now */
export async function finalize(slice: Slice, stateSchema: string, record: PartitionRecord): Promise<boolean> {
  const { context } = slice
  const action = {
    kind: 'finalize-detach',
    target: record.relation,
    reason: record.partition,
    lockTimeoutMs: context.config.lockTimeout,
    via: 'direct' as const,
  }
  for (let tried = 1; ; tried += 1) {
    try {
      await context.act(action, ({ db }) =>
        finalizeDetach(db, parseRelationName(record.relation), parseRelationName(record.partition)),
      )
      await confirmDetached(slice, stateSchema, record)
      return true
    } catch (error) {
      if (context.signal.aborted) throw error
      if (mayPass(error) && tried < mostTries) await context.clock.sleep(pauseMs * tried)
      else if (mayPass(error)) {
        slice.report(pendingFinding(record, error))
        return false
      } else if (isRefusal(error)) {
        slice.report(refusedFinalizeFinding(record, error))
        return false
      } else throw error
    }
  }
}

export async function confirmDetached(slice: Slice, stateSchema: string, record: PartitionRecord): Promise<void> {
  const { context } = slice
  await context.act({ kind: 'confirm-detach', target: record.relation, reason: record.partition }, async ({ db }) => {
    await keepCommit(db)
    await updateDetached(db, stateSchema, record.id)
  })
}

/** What no waiting mends: no session, no right, not that kind of object, something depends on it, a trigger objects. The connection itself is in order. */
export function isRefusal(error: unknown): boolean {
  const code = codeOf(error)
  return code === 'no-direct-connection' || code === 'client-unavailable' || /^(23|42|55|0A|2B|P0)...$/.test(code)
}

/**
 * What was archived of a partition is no copy of it any more. First the record, so that whoever cleans up may discard the batches. Nothing at
 * all where the store is not ours: in a copy of the database these batches are what the other one lives by.
 * @returns whether it is forgotten
 */
export async function forgetArchived(
  slice: Slice,
  stateSchema: string,
  record: PartitionRecord,
  why: string,
): Promise<boolean> {
  const { context } = slice
  const { batchIds } = record.archived
  if (batchIds.length > 0 && !(await isStoreOurs(slice))) return false
  await context.act(
    { kind: 'reset-partition', target: record.relation, reason: `${record.partition}: ${why}` },
    async ({ db }) => {
      await keepCommit(db)
      await updateArchived(db, stateSchema, record.id, nothingArchived)
    },
  )
  if (context.dryRun) return true
  for (const id of batchIds) await discardBatch(slice, id, record.relation, why)
  return true
}

/**
 * What was archived of a partition that is attached again, or was made anew under its name. Only rows that are really there have a second copy:
 * where some are not, somebody removed them, and the batches are kept as those of a partition that was dropped by hand.
 * @returns whether that is settled
 */
async function giveUpCopies(slice: Slice, stateSchema: string, record: PartitionRecord): Promise<boolean> {
  const { context } = slice
  const { batchIds } = record.archived
  let areLive: boolean | undefined
  try {
    areLive = batchIds.length === 0 || (await areArchivedLive(slice, stateSchema, record))
  } catch (error) {
    // Of one table, and in every run: everything else goes on, and nothing is given up.
    if (context.signal.aborted || !(mayPass(error) || isRefusal(error) || /^22...$/.test(codeOf(error)))) throw error
    slice.report(unseenFinding(record, (error as Error).message))
    return false
  }
  if (areLive === undefined) {
    slice.report(unseenFinding(record, 'no policy, or no key, says in which order they were archived'))
    return false
  }
  if (areLive) return forgetArchived(slice, stateSchema, record, 'its rows are live again')
  slice.report(keptFinding(record))
  const reason = `${record.partition}: some of its rows are not live`
  await context.act({ kind: 'keep-archived', target: record.relation, reason }, async ({ db }) => {
    await keepCommit(db)
    await markAllDeleted(catalogIn(db, stateSchema), batchIds)
    await updateArchived(db, stateSchema, record.id, nothingArchived)
  })
  return true
}

/** By the keys at both ends of each object, and by the number of rows up to the last one that was archived: nothing is read from the store. */
export async function areArchivedLive(
  slice: Slice,
  stateSchema: string,
  record: PartitionRecord,
): Promise<boolean | undefined> {
  const { context } = slice
  const db = context.reader({ statementTimeoutMs: context.config.countLimit })
  const target = await selectTarget(db, record.partition)
  if (target === undefined) return undefined
  const { primaryKey } = target
  const batches = await selectBatchesWithObjects(catalogIn(context.db, stateSchema), { ids: record.archived.batchIds })
  const ends = new Set(
    batches.flatMap(({ objects }) => objects.flatMap(({ firstKey, lastKey }) => [firstKey ?? '[]', lastKey ?? '[]'])),
  )
  const keys = [...ends].map((text) => JSON.parse(text) as readonly string[])
  if (primaryKey.length === 0 || keys.some((key) => key.length !== primaryKey.length)) return undefined
  const values = primaryKey.map((_, column) => keys.map((key) => key[column] ?? ''))
  if ((await countLive(db, target, primaryKey, values)) < keys.length) return false
  const policies = resolvePolicies(context.config)
  const policy =
    policies.find(({ name }) => name === record.policy) ??
    policies.find(({ relation }) => keyOf(relation) === record.relation)
  const { last, rows } = record.archived
  if (policy === undefined || last === undefined) return undefined
  const keyColumns = primaryKey.map((name) => ({
    name,
    type: target.columns.find((column) => column.name === name)?.typeName ?? 'text',
  }))
  const source = { relation: parseRelationName(record.partition), timeColumn: policy.timeColumn, keyColumns }
  // It may be archived only in part, in this order.
  return (await countUpTo(db, source, last)) >= rows
}

/** Whether something may be written to the store, and it can be; a finding says why not. */
export async function isStoreOurs(slice: Slice): Promise<boolean> {
  const { context } = slice
  if (!context.hasClient('store')) return false
  try {
    return (await takeStore(slice)).kind !== 'refused'
  } catch (error) {
    if (!isStoreProblem(error) || context.signal.aborted) throw error
    reportStoreProblem(slice, error)
    return false
  }
}
