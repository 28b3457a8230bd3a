/**
 * What was measured on real killmails: 2 000 of one region (January and February 2014), the kills of one hour in all systems, and 200
 * values (2019). The generator draws from these; the tests hold its killmails against them.
 */

/** Percent of killmails by number of attackers. Two ranges stand for the thin tail: p99 is 20, the maximum 37. */
export const attackerCounts: readonly { readonly from: number; readonly to: number; readonly percent: number }[] = [
  { from: 1, to: 1, percent: 42 },
  { from: 2, to: 2, percent: 19 },
  { from: 3, to: 3, percent: 13 },
  { from: 4, to: 4, percent: 7 },
  { from: 5, to: 5, percent: 4.6 },
  { from: 6, to: 6, percent: 3.2 },
  { from: 7, to: 7, percent: 1.9 },
  { from: 8, to: 8, percent: 1.5 },
  { from: 9, to: 9, percent: 1.2 },
  { from: 10, to: 10, percent: 1.0 },
  { from: 11, to: 11, percent: 0.4 },
  { from: 12, to: 12, percent: 0.8 },
  { from: 13, to: 20, percent: 3.6 },
  { from: 21, to: 37, percent: 0.8 },
]

/** Percent of killmails. */
export const kinds = {
  pods: 31,
  onePlayer: 44.6,
  npcOnly: 0.7,
  anyNpc: 9,
  victimInAlliance: 47,
  attackersInAlliance: 83,
}

/** Killmails by hour of day, UTC, of 2 000: the evening peak, and the daily downtime at 11 h. */
export const hours: readonly number[] = [
  93, 64, 29, 58, 58, 41, 67, 40, 46, 41, 37, 17, 88, 75, 85, 77, 103, 107, 160, 164, 160, 131, 140, 119,
]

/** Killmails per day, from Sunday on as `getUTCDay` counts. */
export const weekdays: readonly number[] = [103, 68, 91, 74, 98, 86, 112]

/** Weight of the system of rank r is r^-slope; the shares are percent of killmails in the busiest systems, within one hour. */
export const systems = { slope: 0.85, top1: 8.6, top10: 24, top50: 46, top100: 59 }

/** By the clusterer's rule: percent of killmails in battles of at least that size, and percent of battles by size. */
export const clusters = {
  inBattles: 81,
  inBattlesOf3: 45,
  inBattlesOf5: 27,
  ofSize2: 67,
  ofSize3: 10,
  ofSize4: 10,
  p95: 7,
  p99: 16,
}

/** Percent of what the rule finds, single killmails included. */
export const groupSizes: readonly { readonly from: number; readonly to: number; readonly percent: number }[] = [
  { from: 1, to: 1, percent: 41.5 },
  { from: 2, to: 2, percent: 39.3 },
  { from: 3, to: 3, percent: 6.0 },
  { from: 4, to: 4, percent: 5.7 },
  { from: 5, to: 5, percent: 2.6 },
  { from: 6, to: 6, percent: 1.3 },
  { from: 7, to: 7, percent: 0.9 },
  { from: 8, to: 10, percent: 1.8 },
  { from: 11, to: 15, percent: 0.2 },
  { from: 16, to: 30, percent: 0.6 },
]

/** The value of a lost capsule without implants, and the log-normal rest. */
export const values = { capsuleIsk: 10_000, cheapIsk: 20_000, cheap: 28, mu: 17.5, sigma: 1.6 }

/** As JSON in ESI's form, without the victim's items. */

/** Everywhere, on 1 August 2019. */
export const killmailsPerDay = 11_608
