/** The clusterer's rule: which killmails are one battle. */
import type { Killmail } from './killmails/killmail.js'

const minuteMs = 60_000

/** BattleScope's defaults: CLUSTER_GAP_MAX_MINUTES, CLUSTER_WINDOW_MINUTES, CLUSTER_MIN_KILLS, CLUSTER_PROCESSING_DELAY_MINUTES. */
export const clustererDefaults = {
  gapMs: 15 * minuteMs,
  windowMs: 30 * minuteMs,
  minKills: 2,
  processingDelayMs: 90 * minuteMs,
} as const

/**
 * Groups of killmails of one system, each at most a gap after the one before and at most a window after the first. Every killmail is in
 * exactly one group; groups of fewer than `minKills` are no battles. In order of system and time.
 */
export function groupKillmails(killmails: readonly Killmail[]): readonly (readonly Killmail[])[] {
  const { gapMs, windowMs } = clustererDefaults
  const sorted = [...killmails].sort(
    (a, b) => a.systemId - b.systemId || a.occurredAtMs - b.occurredAtMs || a.id - b.id,
  )
  const groups: Killmail[][] = []
  for (const killmail of sorted) {
    const group = groups.at(-1)
    const first = group?.[0]
    const last = group?.at(-1)
    const belongs =
      first !== undefined &&
      last !== undefined &&
      first.systemId === killmail.systemId &&
      killmail.occurredAtMs - last.occurredAtMs <= gapMs &&
      killmail.occurredAtMs - first.occurredAtMs <= windowMs
    if (belongs) group?.push(killmail)
    else groups.push([killmail])
  }
  return groups
}
