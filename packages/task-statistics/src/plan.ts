/** Which days to count now, in which slices, and what was found; afterwards, where the next run goes on. Pure. */
import type { Finding } from '@battlescope/scheduler-core'
import type { StatisticsConfig } from './config.js'
import type { Cursor, Sweep } from './cursor.js'
import { addDays, dayOf, endOfDays, firstDay, formatRange, type Day, type DayRange } from './days.js'
import type { SourceFacts, DayCount } from './queries.js'
import type { Access, Counting } from './fresh-rows.js'
import type { Difference } from './recount.js'
import { rollups, sourceNames, type Rollup, type SourceName } from './rollups.js'

export interface Facts {
  readonly now: Date
  readonly sources: Readonly<Record<SourceName, SourceFacts>>
  /** What counting each day costs, by a sample; ascending, days without any left out. */
  readonly density: readonly DayCount[]
  /** The first day that any rollup has: with an archive, long before the first one that has rows to count. */
  readonly oldestCounted: Day | undefined
  /** Days that triggers noted, ascending. */
  readonly noted: readonly Day[]
  /** Identifies the triggers of all sources; undefined unless every one is there and enabled. */
  readonly triggers: string | undefined
}

/** A slice of days to be counted in one transaction. */
export interface Slice {
  readonly kind: 'noted' | 'trailing' | 'recheck' | 'first-count'
  readonly range: DayRange
  readonly rollups: readonly Rollup[]
  /** Look for differences first, and write only days that have some. */
  readonly compare: boolean
  readonly reason: string
  /** The checkpoint when it is done; undefined: as before. */
  readonly cursorAfter: Cursor | undefined
}

export interface StatisticsPlan {
  readonly slices: readonly Slice[]
  /** Slices that are left for later slots on purpose are not among them. */
  readonly findings: readonly Finding[]
  /** Absent relations without which nothing can be counted. */
  readonly nothingToCount: boolean
  /** The checkpoint to save when there is nothing to do but to remember, as when a sweep begins. */
  readonly cursor: Cursor
}

/**
 * A sweep takes this share of `recheckWithin`: the next one reaches a day again after as long, and what is left is for slots that came
 * late, did not fit their budget, or failed.
 */
const sweepShare = 0.75
/** Noted days that lie no further apart are counted together: a statement costs more than a quiet day. */
const mergeDays = 3
/** Below this share of all rows going system by system reads less than a scan. */
const bySystemShare = 0.2
/** Bytes below which a scan costs about as much as thousands of descents into an index: 0.7 million killmails. */
const smallBytes = 256 * 1024 * 1024

export function planStatistics(facts: Facts, config: StatisticsConfig, before: Cursor): StatisticsPlan {
  const wanted = rollups.filter(({ name }) => config.rollups.includes(name))
  const countable = wanted.filter((rollup) => isCountable(rollup, facts.sources))
  const findings = findingsOf(facts, config, before)
  if (countable.length === 0) return { slices: [], findings, nothingToCount: true, cursor: before }

  const borders = sliceBorders(facts, sliceRowsOf(config, before))
  const cursor = withSweep(facts, config, before, countable)
  const exact = isExact(facts, config, cursor)
  const noted = mergeNoted(facts.noted).flatMap((range) => cut(range, borders))
  const slices: Slice[] = noted.reverse().map((range) => ({
    kind: 'noted',
    range,
    rollups: countable,
    compare: false,
    reason: 'noted as changed',
    cursorAfter: undefined,
  }))
  const trailing: DayRange = { from: addDays(dayOf(facts.now), 1 - config.trailingDays), to: endOfDays }
  // A first count that has not yet come past these days counts them anyway.
  const coveredBySweep = cursor.sweep?.full === true && cursor.sweep.before > trailing.from
  if (!exact && !coveredBySweep) {
    const reason = config.trailingDays === 1 ? 'today' : `the last ${config.trailingDays} days`
    slices.push(
      ...cut(trailing, borders)
        .reverse()
        .map((range): Slice => ({
          kind: 'trailing',
          range,
          rollups: countable,
          compare: true,
          reason,
          cursorAfter: undefined,
        })),
    )
  }
  slices.push(...sweepSlices(facts, config, cursor, countable, borders))
  return { slices, findings, nothingToCount: false, cursor }
}

/** The sweep that is going on, or the one that is due. */
function withSweep(facts: Facts, config: StatisticsConfig, before: Cursor, countable: readonly Rollup[]): Cursor {
  const names = countable.map(({ name }) => name)
  const triggers = facts.triggers ?? null
  const firstCount = names.some((name) => !before.counted.includes(name))
  const installed = config.mode === 'exact' && triggers !== null && before.exactSince !== triggers
  const { sweep } = before
  const begin = (full: boolean): Cursor => ({
    ...before,
    sweep: { startedAt: facts.now.toISOString(), before: endOfDays, full, rollups: names, triggers },
  })
  if (firstCount || installed) {
    const goesOn =
      sweep?.full === true &&
      names.every((name) => sweep.rollups.includes(name)) &&
      (config.mode === 'trailing' || sweep.triggers === triggers)
    return goesOn ? before : begin(true)
  }
  if (isExact(facts, config, before)) return { ...before, sweep: null }
  if (sweep !== null) return before
  const nextAt = Date.parse(before.sweptAt ?? '') + config.recheckWithin * sweepShare
  return nextAt > facts.now.getTime() ? before : begin(false)
}

function isExact(facts: Facts, config: StatisticsConfig, cursor: Cursor): boolean {
  return config.mode === 'exact' && facts.triggers !== undefined && cursor.exactSince === facts.triggers
}

/** What of the sweep is due: all of a first count, of a re-check so much that it ends in time. */
function sweepSlices(
  facts: Facts,
  config: StatisticsConfig,
  cursor: Cursor,
  countable: readonly Rollup[],
  borders: readonly Day[],
): readonly Slice[] {
  const { sweep } = cursor
  if (sweep === null) return []
  const elapsedMs = facts.now.getTime() - Date.parse(sweep.startedAt)
  const dueShare = sweep.full ? Infinity : elapsedMs / (config.recheckWithin * sweepShare)
  const slices: Slice[] = []
  const lowest = sweep.full || config.freezeAfter === undefined ? firstDay : freezeBefore(facts.now, config.freezeAfter)
  for (const range of cut({ from: lowest, to: sweep.before }, borders).reverse()) {
    if (shareFrom(facts.density, range.to) >= dueShare) break
    slices.push({
      kind: sweep.full ? 'first-count' : 'recheck',
      range,
      rollups: countable,
      compare: !sweep.full,
      reason: sweep.full ? 'counted from end to end' : `re-check of all days within ${daysText(config.recheckWithin)}`,
      cursorAfter: afterSlice(cursor, sweep, range.from, lowest),
    })
  }
  return slices
}

function afterSlice(cursor: Cursor, sweep: Sweep, before: Day, lowest: Day): Cursor {
  if (before > lowest) return { ...cursor, sweep: { ...sweep, before } }
  return {
    counted: sweep.full ? sweep.rollups : cursor.counted,
    sweep: null,
    sweptAt: sweep.startedAt,
    exactSince: sweep.full ? sweep.triggers : cursor.exactSince,
    // Slices may grow again: what made one slow may be over.
    halvings: Math.max(0, cursor.halvings - 1),
  }
}

// ── slices ───────────────────────────────────────────────────────────────────────────────────────────────────────

export function sliceRowsOf(config: StatisticsConfig, { halvings }: Pick<Cursor, 'halvings'>): number {
  return Math.max(1, Math.round(config.sliceRows / 2 ** halvings))
}

/** Days of a slice where there is nothing left to count and only rollups are kept. */
const keptDays = 31

/** The first days of slices of about `sliceRows` killmails each, ascending. A day is never cut, so one may be larger. */
export function sliceBorders(
  { density, oldestCounted }: Pick<Facts, 'density' | 'oldestCounted'>,
  sliceRows: number,
): readonly Day[] {
  const first = density[0]?.day
  const borders: Day[] = []
  if (first !== undefined && oldestCounted !== undefined)
    for (let day = oldestCounted; day < first; day = addDays(day, keptDays)) borders.push(day)
  if (borders.length > 0 && first !== undefined) borders.push(first)
  let sum = 0
  for (const { day, rows } of density) {
    if (sum > 0 && sum + rows > sliceRows) {
      borders.push(day)
      sum = 0
    }
    sum += rows
  }
  return borders
}

/** The range in slices, ascending: what lies before the first border and after the last belongs to the outer ones. */
export function cut({ from, to }: DayRange, borders: readonly Day[]): DayRange[] {
  if (from >= to) return []
  const inside = borders.filter((border) => border > from && border < to)
  const starts = [from, ...inside]
  return starts.map((start, index) => ({ from: start, to: starts[index + 1] ?? to }))
}

/** Days as ranges; near ones become one. */
export function mergeNoted(days: readonly Day[]): readonly DayRange[] {
  const ranges: { from: Day; to: Day }[] = []
  for (const day of [...days].sort()) {
    const last = ranges.at(-1)
    if (last !== undefined && day <= addDays(last.to, mergeDays)) last.to = addDays(day, 1)
    else ranges.push({ from: day, to: addDays(day, 1) })
  }
  return ranges
}

/** What share of all there is to count lies on that day or later. */
function shareFrom(density: readonly DayCount[], from: Day): number {
  const total = density.reduce((sum, { rows }) => sum + rows, 0)
  if (total === 0) return 0
  return density.reduce((sum, { day, rows }) => (day >= from ? sum + rows : sum), 0) / total
}

// ── how to count ─────────────────────────────────────────────────────────────────────────────────────────────────

function isCountable(rollup: Rollup, sources: Facts['sources']): boolean {
  return killmailsCountable(rollup, sources) || battlesCountable(sources)
}

function battlesCountable(sources: Facts['sources']): boolean {
  return sources.battles.present && sources.battle_participants.present
}

function killmailsCountable({ killmailSource }: Rollup, sources: Facts['sources']): boolean {
  // Killmails of a security type are those of its battles.
  return sources[killmailSource].present && (killmailSource !== 'battle_killmails' || battlesCountable(sources))
}

export function countingOf(
  facts: Pick<Facts, 'now' | 'sources' | 'density'>,
  config: Pick<StatisticsConfig, 'freezeAfter'>,
  schema: string,
  range: DayRange,
): Counting {
  const { sources, density, now } = facts
  const share = shareFrom(density, range.from) - shareFrom(density, range.to)
  return {
    schema,
    killmails: rollups.filter((rollup) => killmailsCountable(rollup, sources)).map(({ name }) => name),
    battles: battlesCountable(sources),
    killmailAccess: accessOf(sources.killmail_events, share),
    battleAccess: accessOf(sources.battles, share),
    freezeBefore: config.freezeAfter === undefined ? undefined : freezeBefore(now, config.freezeAfter),
  }
}

function accessOf({ timeIndex, systemIndex, sizeBytes }: SourceFacts, share: number): Access {
  if (timeIndex || !systemIndex || sizeBytes < smallBytes) return 'plain'
  return share < bySystemShare ? 'by-system' : 'plain'
}

function freezeBefore(now: Date, { months, days }: { readonly months: number; readonly days: number }): Day {
  const month = new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() - months, 1))
  // The 31st of a month that has 30 days is its last one.
  const lastOfMonth = new Date(Date.UTC(month.getUTCFullYear(), month.getUTCMonth() + 1, 0)).getUTCDate()
  month.setUTCDate(Math.min(now.getUTCDate(), lastOfMonth))
  return addDays(dayOf(month), -days)
}

/** From the first day that differs to the last; undefined when none does. */
export function differingRange(differences: readonly Difference[]): DayRange | undefined {
  const days = differences.map(({ day }) => day).sort()
  const [first] = days
  const last = days.at(-1)
  return first === undefined || last === undefined ? undefined : { from: first, to: addDays(last, 1) }
}

/** `3 of alliance, 1 of system`: rows by rollup. */
export function describeDifferences(differences: readonly Difference[]): string {
  return Object.entries(rowsByRollup(differences))
    .map(([rollup, rows]) => `${rows} of ${rollup}`)
    .join(', ')
}

export function rowsByRollup(differences: readonly Difference[]): Readonly<Record<string, number>> {
  const differing = rollups.map(({ name }): readonly [string, number] => [
    name,
    countRows(differences.filter(({ rollup }) => rollup === name)),
  ])
  return Object.fromEntries(differing.filter(([, rows]) => rows > 0))
}

export function countRows(differences: readonly Difference[]): number {
  return differences.reduce((sum, { added, changed, removed }) => sum + added + changed + removed, 0)
}

// ── findings ─────────────────────────────────────────────────────────────────────────────────────────────────────

function findingsOf(facts: Facts, config: StatisticsConfig, cursor: Cursor): readonly Finding[] {
  const findings: Finding[] = []
  const missing = sourceNames.filter((name) => !facts.sources[name].present)
  if (missing.length > 0 && missing.length < sourceNames.length && config.rollups.length > 0) {
    findings.push({
      key: 'missing',
      severity: 'info',
      summary: `absent, or without columns that are read: ${missing.map((name) => `public.${name}`).join(', ')}`,
      details: { relations: missing.map((name) => `public.${name}`), hint: 'what is counted from them keeps its rows' },
    })
  }
  if (config.mode === 'exact' && facts.triggers === undefined) {
    findings.push({
      key: 'triggers-missing',
      severity: 'warning',
      summary:
        'mode is exact, but the triggers that note changed days are not all there and enabled: counted as in mode trailing',
      details: { hint: 'install them: statistics triggers install' },
    })
  }
  const { sweep } = cursor
  if (sweep?.full === false && facts.now.getTime() - Date.parse(sweep.startedAt) > config.recheckWithin) {
    findings.push({
      key: 'recheck-late',
      severity: 'warning',
      summary: `the re-check of all days takes longer than recheckWithin (${daysText(config.recheckWithin)})`,
      details: {
        startedAt: sweep.startedAt,
        before: sweep.before,
        hint: 'raise recheckWithin, or give the scheduler a larger budget',
      },
    })
  }
  const events = facts.sources.killmail_events
  if (events.present && !events.timeIndex && !events.systemIndex && events.sizeBytes >= smallBytes) {
    findings.push({
      key: 'no-time-index',
      severity: 'info',
      summary: 'every slice scans public.killmail_events: no index leads to the killmails of a day',
      details: { hint: 'CREATE INDEX CONCURRENTLY ON public.killmail_events (occurred_at)' },
    })
  }
  return findings
}

function daysText(ms: number): string {
  const days = Math.round((ms / 86_400_000) * 10) / 10
  return `${days} day${days === 1 ? '' : 's'}`
}

/** A recalculation's findings: what it has found so far. At most `most` days are listed. */
export function differenceFinding(differences: readonly Difference[], range: DayRange, most = 500): readonly Finding[] {
  if (differences.length === 0) return []
  const rows = countRows(differences)
  return [
    {
      key: 'differences',
      severity: 'info',
      summary: `${rows} rows of the rollups were not what they should be, between ${formatRange(range).replace('..', ' and ')}`,
      details: { rows, days: differences.length, differences: differences.slice(0, most) },
    },
  ]
}
