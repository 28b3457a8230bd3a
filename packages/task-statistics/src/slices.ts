/** Counts a slice of days: compares where the plan says so, and makes the rollups equal in one fenced transaction. */
import { formatDuration, type Fenced, type TaskContext } from '@battlescope/scheduler-core'
import type { z } from 'zod'
import type { StatisticsConfig } from './config.js'
import { addDays, formatRange, type DayRange } from './days.js'
import type { Cursor } from './cursor.js'
import {
  countingOf,
  countRows,
  describeDifferences,
  differingRange,
  rowsByRollup,
  type Facts,
  type Slice,
} from './plan.js'
import { deleteNotes } from './queries.js'
import { selectDifferences, selectWithRows, writeRows, type Difference } from './recount.js'
import type { requestSchema } from './request.js'
import type { Rollup } from './rollups.js'

export type Request = z.output<typeof requestSchema>
export type Context = TaskContext<StatisticsConfig, unknown, Cursor, Request>

/** Milliseconds that one slice should take at most; one that took longer makes the next ones smaller. */
const sliceLimitMs = 4000
/** Milliseconds for its one large statement; a single day, which cannot be cut, may take until the hard stop. */
const statementLimitMs = 5000

/** What a run knows of the database while it counts. */
export interface Counter {
  readonly context: Context
  readonly facts: Facts
  /** Undefined in a dry run before the scheduler's tables were made: nothing is counted yet. */
  readonly schema: string | undefined
}

export interface Counted {
  /** Rows of the rollups that were written. */
  readonly rows: number
  /** It took so long that the next ones should be smaller. */
  readonly slow: boolean
}

/** @throws SliceTooLarge when a statement was cancelled for taking too long */
export async function countSlice(counter: Counter, slice: Slice): Promise<Counted> {
  let rows = 0
  const pace = await timed(counter.context, slice.range, async () => {
    rows = slice.compare
      ? await compareAndWrite(counter, slice)
      : await writeRange(counter, slice.range, slice.rollups, slice.reason, slice.cursorAfter)
  })
  if (pace === 'too-large') throw new SliceTooLarge(slice.range)
  return { rows, slow: pace === 'slow' }
}

/** How a slice went: `slow` is done, but the next ones should be smaller; `too-large` was cancelled, and is not done. */
export type Pace = 'fast' | 'slow' | 'too-large'

/** @throws whatever `work` throws, except that a slice of several days was cancelled for taking too long */
export async function timed(context: Context, range: DayRange, work: () => Promise<void>): Promise<Pace> {
  const startedAt = context.clock.monotonicMs()
  try {
    await work()
  } catch (error) {
    if ((error as { code?: string }).code !== '57014' || context.signal.aborted || !isDivisible(range)) throw error
    return 'too-large'
  }
  return context.clock.monotonicMs() - startedAt > sliceLimitMs && isDivisible(range) ? 'slow' : 'fast'
}

/** Not an error of the run: the next one takes smaller slices. */
export class SliceTooLarge extends Error {
  override readonly name = 'SliceTooLarge'
  readonly code = 'slice-too-large'
  constructor(range: DayRange) {
    super(`${formatRange(range)} did not fit ${formatDuration(statementLimitMs)}`)
  }
}

/** A slice that is as it should be is no action: a run with nothing new does nothing. */
async function compareAndWrite(counter: Counter, slice: Slice): Promise<number> {
  const found = await findDifferences(counter, slice.range, slice.rollups)
  const range = differingRange(found)
  let rows = 0
  if (range !== undefined) {
    const differing = slice.rollups.filter(({ name }) => found.some(({ rollup }) => rollup === name))
    rows = await writeRange(
      counter,
      range,
      differing,
      `${slice.reason}: ${describeDifferences(found)} differ`,
      undefined,
    )
  }
  if (slice.cursorAfter !== undefined) await counter.context.checkpoint.save(slice.cursorAfter)
  return rows
}

/** Reads alone. Before the scheduler's tables were made there is nothing to compare with. */
export async function findDifferences(
  { context, facts, schema }: Counter,
  range: DayRange,
  rollups: readonly Rollup[],
): Promise<readonly Difference[]> {
  if (schema === undefined) return []
  const db = context.reader(isDivisible(range) ? { statementTimeoutMs: statementLimitMs } : {})
  return selectDifferences(db, rollups, range, countingOf(facts, context.config, schema, range))
}

async function writeRange(
  counter: Counter,
  range: DayRange,
  rollups: readonly Rollup[],
  reason: string,
  cursorAfter: Cursor | undefined,
): Promise<number> {
  const effect = await counter.context.act(countAction(range, reason), async (fenced) => {
    const found = await countWithin(counter, fenced, range, rollups)
    if (cursorAfter !== undefined) await fenced.saveCheckpoint(cursorAfter)
    return { rows: countRows(found), details: rowsByRollup(found) }
  })
  return effect?.rows ?? 0
}

export function countAction(range: DayRange, reason: string) {
  return {
    kind: 'count-days',
    target: formatRange(range),
    reason,
    ...(isDivisible(range) ? { statementTimeoutMs: statementLimitMs } : {}),
  }
}

/**
 * Inside a transaction. Notes go first: READ COMMITTED gives every statement a snapshot of its own, so what is counted afterwards includes
 * all that the deleted notes told of. Nobody else writes the rollups while we hold the fence, so days without rows stay without.
 */
export async function countWithin(
  { context, facts, schema }: Counter,
  fenced: Fenced<unknown, Cursor>,
  range: DayRange,
  rollups: readonly Rollup[],
): Promise<readonly Difference[]> {
  if (schema === undefined) return []
  const { db } = fenced
  await deleteNotes(db, schema, facts.sources.battles.present, range)
  const filled = await selectWithRows(db, rollups, range, schema)
  return writeRows(db, rollups, range, countingOf(facts, context.config, schema, range), filled)
}

function isDivisible({ from, to }: DayRange): boolean {
  return addDays(from, 1) < to
}
