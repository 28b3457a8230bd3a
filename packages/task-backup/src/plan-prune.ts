/** Pure: which dumps are removed. By when they were taken, as recorded; names and the store's times say nothing. */
import type { BackupConfig } from './config.js'
import { goodBackups, takenAt, tooSmall } from './plan.js'
import type { BackupRecord } from './tables.js'

export type PruneRules = Pick<
  BackupConfig,
  'prune' | 'keepLast' | 'keepDaily' | 'keepWeekly' | 'keepMonthly' | 'minSizeRatio'
>

export interface PrunePlan {
  /** The oldest first. */
  readonly remove: readonly BackupRecord[]
  /** Why nothing is removed, although it might. */
  readonly heldBack: string | undefined
}

const dayMs = 86_400_000
/** 1970-01-05 was a Monday. */
const firstMonday = 4

const day = (at: Date) => Math.floor(at.getTime() / dayMs)
const week = (at: Date) => Math.floor((day(at) - firstMonday) / 7)
const month = (at: Date) => at.getUTCFullYear() * 12 + at.getUTCMonth()

/**
 * Removes only what is older than a newer good dump, never one that is under way, and never below `keepLast`.
 * @param location of the store: dumps that lie elsewhere are out of reach and stay
 */
export function planPrune(backups: readonly BackupRecord[], location: string, rules: PruneRules): PrunePlan {
  const begun = backups.filter(
    ({ state, driver, location: at }) => state === 'pruning' && driver === 'pg-dump' && at === location,
  )
  if (!rules.prune) return { remove: begun, heldBack: undefined }
  const dumps = goodBackups(backups).filter(({ driver, location: at }) => driver === 'pg-dump' && at === location)
  const kept = new Set(dumps.slice(0, rules.keepLast))
  keepNewestOf(dumps, day, rules.keepDaily, kept)
  if (rules.keepWeekly !== undefined) keepNewestOf(dumps, week, rules.keepWeekly, kept)
  keepNewestOf(dumps, month, rules.keepMonthly, kept)
  const surplus = dumps.filter((dump) => !kept.has(dump)).reverse()
  if (surplus.length === 0) return { remove: begun, heldBack: undefined }
  const small = tooSmall(dumps, rules.minSizeRatio)
  if (small !== undefined) {
    return { remove: begun, heldBack: `${small.newest.name} is much smaller than ${small.before.name}` }
  }
  return { remove: [...begun, ...surplus], heldBack: undefined }
}

/** The newest of each of the newest `count` spans that have one. */
function keepNewestOf(
  newestFirst: readonly BackupRecord[],
  spanOf: (at: Date) => number,
  count: number,
  kept: Set<BackupRecord>,
): void {
  const spans = new Set<number>()
  for (const dump of newestFirst) {
    const span = spanOf(takenAt(dump))
    if (spans.has(span)) continue
    if (spans.size === count) return
    spans.add(span)
    kept.add(dump)
  }
}
