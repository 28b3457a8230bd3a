/** What a run of statistics does. */
import type { Finding, TaskResult } from '@battlescope/scheduler-core'
import { matchesRelation, parseRelationPattern } from '@battlescope/database'
import { dayOf, firstDay, formatRange } from './days.js'
import { emptyCursor, mostHalvings, type Cursor } from './cursor.js'
import { planStatistics, type Facts, type StatisticsPlan } from './plan.js'
import {
  deleteNotes,
  insertSizes,
  selectDensity,
  selectNotes,
  selectOldestCounted,
  selectSources,
  selectUnmeasured,
} from './queries.js'
import { performRequest } from './perform-request.js'
import { countSlice, SliceTooLarge, type Context, type Counter, type Request } from './slices.js'
import { existingSources, selectTriggers } from './triggers.js'

export async function runStatistics(context: Context & { readonly request: Request | undefined }): Promise<TaskResult> {
  const cursor = (await context.checkpoint.load()) ?? emptyCursor
  const { facts, obsoleteNotes } = await readFacts(context)
  const counter: Counter = { context, facts, schema: context.stateSchema }
  if (context.request !== undefined) return performRequest(counter, context.request, cursor)
  const sizes = await measureSizes(context)
  const plan = planStatistics(facts, context.config, cursor)
  if (obsoleteNotes > 0 && facts.noted.length === 0) await forgetObsoleteNotes(counter, obsoleteNotes)
  const findings = [...plan.findings, ...sizes.findings]
  context.metrics.gauge('days_noted', facts.noted.length)
  if (plan.nothingToCount && sizes.measured === 0)
    return { outcome: 'skipped', reason: 'none of the relations exists', findings }
  return countAll(counter, plan, cursor, findings)
}

async function readFacts(context: Context): Promise<{ readonly facts: Facts; readonly obsoleteNotes: number }> {
  const { db, stateSchema } = context
  const sources = await selectSources(db)
  const density = await selectDensity(db, sources)
  const oldestCounted = stateSchema === undefined ? undefined : await selectOldestCounted(db, stateSchema)
  const notes =
    stateSchema === undefined ? { days: [], obsolete: 0 } : await selectNotes(db, stateSchema, sources.battles.present)
  const triggers =
    stateSchema === undefined ? undefined : await selectTriggers(db, stateSchema, existingSources(sources))
  return {
    facts: { now: context.clock.now(), sources, density, oldestCounted, noted: notes.days, triggers },
    obsoleteNotes: notes.obsolete,
  }
}

/** One slice after another, as long as the budget lasts. */
async function countAll(
  counter: Counter,
  plan: StatisticsPlan,
  before: Cursor,
  findings: readonly Finding[],
): Promise<TaskResult> {
  const { context } = counter
  const total = plan.slices.length
  let cursor = plan.cursor
  let saved = before
  let slow = false
  let rows = 0
  const withPace = (next: Cursor): Cursor =>
    slow ? { ...next, halvings: Math.min(next.halvings + 1, mostHalvings) } : next
  const ended = async (done: number): Promise<TaskResult> => {
    const last = withPace(cursor)
    if (JSON.stringify(last) !== JSON.stringify(saved)) await context.checkpoint.save(last)
    context.metrics.count('rows_corrected', rows)
    return done < total ? { outcome: 'partial', remaining: total - done, findings } : { outcome: 'succeeded', findings }
  }
  for (const [index, slice] of plan.slices.entries()) {
    if (context.budget.exhausted()) return ended(index)
    context.progress({ done: index, total, unit: 'slices', current: formatRange(slice.range) })
    const cursorAfter = slice.cursorAfter && withPace(slice.cursorAfter)
    try {
      const counted = await countSlice(counter, { ...slice, cursorAfter })
      rows += counted.rows
      slow ||= counted.slow
    } catch (error) {
      if (!(error instanceof SliceTooLarge)) throw error
      context.logger.info({ event: 'slice-too-large', days: formatRange(slice.range) }, 'smaller slices from now on')
      slow = true
      return ended(index)
    }
    cursor = slice.cursorAfter ?? cursor
    saved = cursorAfter ?? saved
  }
  return ended(total)
}

/** Once a day per relation, by the first run that sees it. */
async function measureSizes(
  context: Context,
): Promise<{ readonly measured: number; readonly findings: readonly Finding[] }> {
  const { config, db, stateSchema } = context
  const patterns = config.growthRelations.map(parseRelationPattern)
  const today = dayOf(context.clock.now())
  const unmeasured = (await selectUnmeasured(db, stateSchema, today)).filter((relation) =>
    patterns.some((pattern) => matchesRelation(pattern, relation)),
  )
  if (unmeasured.length === 0) return { measured: 0, findings: [] }
  const reason = `sizes of ${unmeasured.length} relations on ${today}`
  try {
    await context.act(
      { kind: 'measure-sizes', target: `${stateSchema ?? 'scheduler'}.statistics_table_growth`, reason },
      async (fenced) => ({
        rows: await insertSizes(
          fenced.db,
          stateSchema ?? '',
          today,
          unmeasured.map(({ oid }) => oid),
        ),
      }),
    )
  } catch (error) {
    // Asking for a size takes ACCESS SHARE, and waits behind ACCESS EXCLUSIVE. The next slot asks again.
    if ((error as { code?: string }).code !== '55P03') throw error
    const summary = 'sizes were not measured: a relation is locked by another session'
    return { measured: 0, findings: [{ key: 'sizes-not-measured', severity: 'info', summary }] }
  }
  return { measured: unmeasured.length, findings: [] }
}

async function forgetObsoleteNotes({ context, facts, schema }: Counter, notes: number): Promise<void> {
  if (schema === undefined) return
  const noDay = { from: firstDay, to: firstDay }
  await context.act(
    { kind: 'delete-notes', target: `${schema}.changed_days`, reason: `${notes} notes of battles that are gone` },
    async (fenced) => ({ rows: await deleteNotes(fenced.db, schema, facts.sources.battles.present, noDay) }),
  )
}
