/** Which indexes to rebuild, worst first, and why the others not. Pure. */
import { formatSize } from '@battlescope/scheduler-core'
import { estimateBtreeBytes, type SizeEstimate } from './btree-estimate.js'
import { isAmongRelations } from './chosen-relations.js'
import type { ReindexConfig } from './config.js'
import {
  indexNameOf,
  relationOf,
  type IndexFacts,
  type LearnedIndex,
  type MeasuredIndex,
  type Rebuild,
} from './facts.js'
import { isCounted, learnedOf } from './learn.js'

const pageBytes = 8192
/**
 * The others have no size of their own that a rebuild restores: a hash index grows by doubling, a BRIN index is a few pages.
 */
const rebuiltMethods = new Set(['btree', 'gin', 'gist', 'spgist'])
const dayMs = 86_400_000

export interface Candidate {
  readonly index: IndexFacts
  /** One line for the audit trail. */
  readonly reason: string
  /** Bytes that a rebuild is expected to give back. */
  readonly wasteBytes: number
  readonly expectedBytes: number
}

/** Too large by the estimate, with its error taken off, but not known to have grown. */
export interface Suspect {
  readonly index: IndexFacts
  readonly estimate: SizeEstimate
}

export interface ReindexPlan {
  readonly candidates: readonly Candidate[]
  readonly suspects: readonly Suspect[]
  /** Would be rebuilt, if they were ours. */
  readonly notOwned: readonly Candidate[]
  /** Would be rebuilt, but were, or were tried to be, a short while ago. */
  readonly resting: readonly Candidate[]
}

export interface PlanInput {
  readonly indexes: readonly IndexFacts[]
  readonly learned: readonly LearnedIndex[]
  readonly rebuilds: readonly Rebuild[]
  readonly config: ReindexConfig
  readonly now: Date
}

export function planReindex({ indexes, learned, rebuilds, config, now }: PlanInput): ReindexPlan {
  const rebuildable = indexes.filter((index) => canBeRebuilt(index) && !isAmongRelations(index, config.excludeIndexes))
  const judged = rebuildable.map((index) => judge(index, learned, config))
  const candidates = judged
    .filter((verdict) => verdict !== undefined && 'reason' in verdict)
    .sort((a, b) => b.wasteBytes - a.wasteBytes || (indexNameOf(a.index) < indexNameOf(b.index) ? -1 : 1))
  const owned = candidates.filter(({ index }) => index.owned)
  const isResting = ({ index }: Candidate) => restsUntil(index, rebuilds, config) > now.getTime()
  return {
    candidates: owned.filter((candidate) => !isResting(candidate)),
    suspects: judged.filter((verdict) => verdict !== undefined && 'estimate' in verdict),
    notOwned: candidates.filter(({ index }) => !index.owned),
    resting: owned.filter(isResting),
  }
}

/**
 * REINDEX CONCURRENTLY refuses exclusion constraints, and checks at once in the copy what a deferrable constraint checks later: others' transactions would fail; an invalid index is somebody's unfinished work; and without its definition nobody could tell
 * afterwards what a rebuild left.
 */
function canBeRebuilt({ exclusion, deferrable, valid, accessMethod, definition }: IndexFacts): boolean {
  return valid && !exclusion && !deferrable && definition !== '' && rebuiltMethods.has(accessMethod)
}

function judge(
  index: IndexFacts,
  learned: readonly LearnedIndex[],
  { when, growthRatio, minWaste }: ReindexConfig,
): Candidate | Suspect | undefined {
  const { sizeBytes } = index
  if (sizeBytes < minWaste || !isCounted(index)) return undefined
  const isTooLarge = (expected: number) => sizeBytes >= growthRatio * expected && sizeBytes - expected >= minWaste
  const best = learnedOf(index, learned)?.bestBytesPerTuple
  if (best !== undefined) {
    const expectedBytes = Math.max(2 * pageBytes, best * (index.tuples ?? 0))
    if (isTooLarge(expectedBytes)) return candidate(index, expectedBytes, 'for as many tuples it was once')
  }
  const estimate = estimateOf(index)
  if (estimate === undefined || !isTooLarge(estimate.highBytes)) return undefined
  if (when === 'grown') return { index, estimate }
  return candidate(
    index,
    estimate.bytes,
    `by estimate (${formatBytes(estimate.lowBytes)} to ${formatBytes(estimate.highBytes)}) it needs`,
  )
}

function candidate(index: IndexFacts, expectedBytes: number, saying: string): Candidate {
  const wasteBytes = index.sizeBytes - expectedBytes
  return {
    index,
    expectedBytes,
    wasteBytes,
    reason: `${formatBytes(index.sizeBytes)}; ${saying} ${formatBytes(expectedBytes)}`,
  }
}

/** Undefined for what is no B-tree, and without statistics. */
export function estimateOf(index: IndexFacts): SizeEstimate | undefined {
  if (index.accessMethod !== 'btree' || index.tuples === undefined) return undefined
  return estimateBtreeBytes({ ...index, tuples: index.tuples })
}

// ── how long it takes, and whether there is time ─────────────────────────────────────────────────────────────────

/** What a rebuild takes however small the index is: its steps wait for each other's transactions. */
const fixedMs = 1000
/** A shorter rebuild tells of waiting, and not of the rate. */
const leastTellingMs = 1000
/** The slowest of so many rebuilds is the rate. */
const rememberedRates = 5
const safety = 1.5
/** Beyond this, doubling says nothing more. */
const mostDoublings = 6

/** Bytes read and written: the table is read to build, and once more to add what came meanwhile. */
export function workBytesOf({ tableBytes, sizeBytes }: IndexFacts): number {
  return 2 * tableBytes + sizeBytes
}

/** Written down as the error of a rebuild that was cancelled for others: it says nothing of the time that one takes. */
export const gaveWay = 'gave-way'

/** Milliseconds. Rather too many than too few: widened by every rebuild of this index that did not end. */
export function predictMs(index: IndexFacts, rebuilds: readonly Rebuild[], { assumedRate }: ReindexConfig): number {
  const telling = rebuilds.filter(
    ({ outcome, durationMs = 0 }) => outcome === 'rebuilt' && durationMs >= leastTellingMs,
  )
  const own = telling.filter((rebuild) => isOf(rebuild, index))
  const rates = (own.length > 0 ? own : telling)
    .slice(0, rememberedRates)
    .map(({ workBytes, durationMs = 1 }) => workBytes / durationMs)
  const bytesPerMs = rates.length === 0 ? assumedRate / 1000 : Math.min(...rates)
  const predicted = fixedMs + (safety * workBytesOf(index)) / bytesPerMs
  const unfinished = unfinishedInARow(index, rebuilds).filter(({ errorCode }) => errorCode !== gaveWay)
  // What was cut off took longer than it was given.
  const cutOff = Math.max(0, ...unfinished.map(({ durationMs = 0 }) => 2 * durationMs))
  return Math.round(Math.max(predicted * 2 ** Math.min(unfinished.length, mostDoublings), cutOff))
}

/** Tasks of every run come before this one, and a run reads before it begins: only so much of what it has at most is ever left. */
const usableShare = 0.9

export type Admission = 'now' | 'no-time-now' | 'too-large'

/** `remainingMs` is what is left in this run, `totalMs` what any run could give: others may have used this one's up before. */
export function admit(
  predictedMs: number,
  { remainingMs, totalMs }: { readonly remainingMs: number; readonly totalMs: number },
): Admission {
  if (predictedMs <= remainingMs) return 'now'
  return predictedMs > usableShare * totalMs ? 'too-large' : 'no-time-now'
}

/** The instant until which an index is left alone, in milliseconds since 1970; 0 when it never was rebuilt. */
export function restsUntil(index: IndexFacts, rebuilds: readonly Rebuild[], { minInterval }: ReindexConfig): number {
  const [last] = rebuilds.filter((rebuild) => isOf(rebuild, index) && rebuild.endedAt !== undefined)
  if (last?.endedAt === undefined) return 0
  const unfinished = unfinishedInARow(index, rebuilds).length
  const pauseMs = unfinished === 0 ? minInterval : Math.min(minInterval, dayMs * 2 ** (unfinished - 1))
  return last.endedAt.getTime() + pauseMs
}

/** Newest first. */
function unfinishedInARow(index: IndexFacts, rebuilds: readonly Rebuild[]): readonly Rebuild[] {
  const own = rebuilds.filter((rebuild) => isOf(rebuild, index) && rebuild.endedAt !== undefined)
  const lastDone = own.findIndex(({ outcome }) => outcome !== 'interrupted')
  return lastDone === -1 ? own : own.slice(0, lastDone)
}

/** By name, because a rebuild changes the number. */
function isOf(rebuild: Rebuild, index: IndexFacts): boolean {
  return rebuild.indexName === indexNameOf(index) && rebuild.relation === relationOf(index)
}

// ── what pgstattuple says ────────────────────────────────────────────────────────────────────────────────────────

/** Bytes that a rebuild would give back by what was read; it must be half of what was expected, or the expectation was wrong. */
export function contradicts(measured: MeasuredIndex, { index, wasteBytes }: Candidate): string | undefined {
  const pages = measured.leafPages + measured.otherPages
  if (pages === 0) return undefined
  const needed = (measured.leafPages * measured.leafDensity) / index.fillFactor
  const measuredWaste = Math.max(0, 1 - needed / pages) * index.sizeBytes
  if (measuredWaste >= wasteBytes / 2) return undefined
  return `pgstattuple finds ${formatBytes(measuredWaste)} to win, not ${formatBytes(wasteBytes)}`
}

/** For people: three digits. */
export function formatBytes(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const
  const power = Math.min(units.length - 1, Math.floor(Math.log2(Math.max(1, bytes)) / 10))
  if (power === 0) return formatSize(Math.round(Math.max(0, bytes)))
  return `${Number((bytes / 1024 ** power).toPrecision(3))} ${units[power] ?? ''}`
}
