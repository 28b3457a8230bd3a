/** Runs that a command asked for: recalculating a range of days, and installing or removing the triggers of mode exact. */
import type { TaskResult } from '@battlescope/scheduler-core'
import { addDays, daysBetween, formatRange, type Day, type DayRange } from './days.js'
import { mostHalvings, type Cursor } from './cursor.js'
import {
  countRows,
  cut,
  describeDifferences,
  differenceFinding,
  rowsByRollup,
  sliceBorders,
  sliceRowsOf,
} from './plan.js'
import {
  insertDifferences,
  insertRecalculation,
  selectFoundDifferences,
  selectRecalculation,
  updateRecalculation,
} from './queries.js'
import { countFrozenDays, type Difference } from './recount.js'
import { rollups } from './rollups.js'
import { countAction, countWithin, findDifferences, timed, type Counter, type Request } from './slices.js'
import { createTriggers, deleteAllNotes, dropTriggers, existingSources } from './triggers.js'

export function performRequest(counter: Counter, request: Request, cursor: Cursor): Promise<TaskResult> {
  switch (request.do) {
    case 'recalculate':
      return recalculate(counter, { from: request.from, to: addDays(request.to, 1) }, cursor)
    case 'install-triggers':
      return installTriggers(counter)
    case 'remove-triggers':
      return removeTriggers(counter)
  }
}

/**
 * Counts the days anew, in slices, each of them with its differences and how far it has come in one transaction. A run that did not
 * finish is partial; asked again for the same days, the next one goes on. A dry run compares and lists. A slice that takes too long, or is
 * cancelled for it, makes those after it smaller at once: nobody waits here for a next slot that would take smaller ones.
 */
async function recalculate(counter: Counter, range: DayRange, cursor: Cursor): Promise<TaskResult> {
  const { context, facts, schema } = counter
  const wanted = rollups.filter(({ name }) => context.config.rollups.includes(name))
  const lastDay = addDays(range.to, -1)
  const begun = schema === undefined ? undefined : await selectRecalculation(context.db, schema, range.from, lastDay)
  const todo = { from: begun?.nextDay ?? range.from, to: range.to }
  const found: Difference[] = []
  let id = begun?.id
  let { halvings } = cursor
  const countOne = async (slice: DayRange): Promise<void> => {
    const expected = context.dryRun ? await findDifferences(counter, slice, wanted) : []
    const differences = describeDifferences(expected)
    const reason = `recalculation of ${formatRange(range)}${differences === '' ? '' : `: ${differences} differ`}`
    let made: string | undefined
    await context.act(countAction(slice, reason), async (fenced) => {
      if (schema === undefined) return {}
      const differing = await countWithin(counter, fenced, slice, wanted)
      const recalculation = id ?? (made = await insertRecalculation(fenced.db, schema, range.from, lastDay))
      await insertDifferences(fenced.db, schema, recalculation, differing)
      await updateRecalculation(fenced.db, schema, recalculation, slice.to, slice.to === range.to)
      return { rows: countRows(differing), details: rowsByRollup(differing) }
    })
    id ??= made
    found.push(...expected)
  }
  let next = todo.from
  while (next < range.to) {
    if (context.budget.exhausted()) break
    const borders = sliceBorders(facts, sliceRowsOf(context.config, { halvings }))
    const [slice] = cut({ from: next, to: range.to }, borders)
    if (slice === undefined) break
    const done = daysBetween(range.from, slice.from)
    context.progress({ done, total: daysBetween(range.from, range.to), unit: 'days', current: formatRange(slice) })
    const pace = await timed(context, slice, () => countOne(slice))
    if (pace !== 'fast') halvings = Math.min(halvings + 1, mostHalvings)
    if (pace !== 'too-large') next = slice.to
  }
  return ended(counter, range, id, found, next)
}

/** What was found: in a dry run by this one, else by all runs of the recalculation. */
async function ended(
  { context, schema }: Counter,
  range: DayRange,
  id: string | undefined,
  compared: readonly Difference[],
  nextDay: Day,
): Promise<TaskResult> {
  const found =
    context.dryRun || schema === undefined || id === undefined
      ? compared
      : await selectFoundDifferences(context.db, schema, id)
  if (schema !== undefined) {
    const killmails = await countFrozenDays(context.db, 'killmails', range, schema)
    const battles = await countFrozenDays(context.db, 'battles', range, schema)
    context.logger.info(
      { event: 'recalculated', days: formatRange(range), frozenDays: { killmails, battles } },
      'recalculated',
    )
  }
  const findings = differenceFinding(found, range)
  const remaining = daysBetween(nextDay, range.to)
  return remaining > 0 ? { outcome: 'partial', remaining, findings } : { outcome: 'succeeded', findings }
}

/** One table after another, each in a transaction of its own: no lock is held while another one is waited for. */
async function installTriggers({ context, facts, schema }: Counter): Promise<TaskResult> {
  const sources = existingSources(facts.sources)
  if (sources.length === 0) return { outcome: 'skipped', reason: 'none of the relations exists' }
  for (const source of sources) {
    const reason = 'notes changed days, for mode exact'
    await context.act({ kind: 'install-triggers', target: `public.${source}`, reason }, async (fenced) => {
      if (schema !== undefined) await createTriggers(fenced.db, schema, source)
    })
  }
  return { outcome: 'succeeded' }
}

async function removeTriggers({ context, facts, schema }: Counter): Promise<TaskResult> {
  if (schema === undefined) return { outcome: 'skipped', reason: 'no triggers were ever installed' }
  for (const source of existingSources(facts.sources)) {
    await context.act({ kind: 'remove-triggers', target: `public.${source}` }, async (fenced) => {
      await dropTriggers(fenced.db, schema, source)
    })
  }
  await context.act({ kind: 'delete-notes', target: `${schema}.changed_days` }, async (fenced) => ({
    rows: await deleteAllNotes(fenced.db, schema),
  }))
  return { outcome: 'succeeded' }
}
