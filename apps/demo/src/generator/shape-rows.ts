/** Measured and generated figures side by side, as texts. */
import type { Shape } from './measure.js'
import { attackerCounts, clusters, hours, kinds, systems, values, weekdays } from './measured.js'

const percent = (value: number): string => `${value.toFixed(value < 10 ? 1 : 0)} %`
const share = (counts: readonly number[], at: number): number =>
  (100 * (counts[at] ?? 0)) / counts.reduce((sum, count) => sum + count, 0)
const list = (parts: readonly (readonly [string, string])[]): string =>
  parts.map(([name, text]) => `${name} ${text}`).join(', ')

const shownHours = [0, 2, 11, 18, 19, 20]
const weekdayNames = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat']

/** Head first: property, measured, generated. */
export function shapeRows(shape: Shape): readonly (readonly string[])[] {
  const { attackers: a, clusters: c, systems: s, value: v } = shape
  const attackerShares = (of: readonly number[], over10: number): string =>
    list([...of.map((value, index) => [`${index + 1}:`, percent(value)] as const), ['over 10:', percent(over10)]])
  const measuredOf = [1, 2, 3, 4, 5].map((count) => attackerCounts.find(({ from }) => from === count)?.percent ?? 0)
  return [
    ['property', 'measured', 'generated'],
    [
      'attackers per killmail',
      'mean 3.3, p50 2, p75 4, p90 7, p95 12, p99 20, max 37',
      `mean ${a.mean.toFixed(1)}, p50 ${a.p50}, p75 ${a.p75}, p90 ${a.p90}, p95 ${a.p95}, p99 ${a.p99}, max ${a.max}`,
    ],
    ['killmails by attackers', attackerShares(measuredOf, 5.6), attackerShares(a.of, a.over10)],
    ['one player only', percent(kinds.onePlayer), percent(shape.onePlayer)],
    ['NPCs only', percent(kinds.npcOnly), percent(shape.npcOnly)],
    ['pods', percent(kinds.pods), percent(shape.pods)],
    ['victims in an alliance', percent(kinds.victimInAlliance), percent(shape.victimInAlliance)],
    ['attackers in an alliance', percent(kinds.attackersInAlliance), percent(shape.attackersInAlliance)],
    [
      'hour of day, UTC',
      list(shownHours.map((hour) => [`${hour} h`, percent(share(hours, hour))])),
      list(shownHours.map((hour) => [`${hour} h`, percent(shape.hours[hour] ?? 0)])),
    ],
    [
      'weekday',
      list(weekdayNames.map((name, day) => [name, percent(share(weekdays, day))])),
      list(weekdayNames.map((name, day) => [name, percent(shape.weekdays[day] ?? 0)])),
    ],
    [
      'in the busiest 1, 10, 50, 100 systems',
      [systems.top1, systems.top10, systems.top50, systems.top100].map(percent).join(', '),
      [s.top1, s.top10, s.top50, s.top100].map(percent).join(', '),
    ],
    ['systems, Zipf slope', systems.slope.toFixed(2), s.slope.toFixed(2)],
    [
      'in battles of at least 2, 3, 5',
      [clusters.inBattles, clusters.inBattlesOf3, clusters.inBattlesOf5].map(percent).join(', '),
      [c.inBattles, c.inBattlesOf3, c.inBattlesOf5].map(percent).join(', '),
    ],
    [
      'battles of 2, 3, 4',
      [clusters.ofSize2, clusters.ofSize3, clusters.ofSize4].map(percent).join(', '),
      [c.ofSize2, c.ofSize3, c.ofSize4].map(percent).join(', '),
    ],
    ['size of a battle', `p95 ${clusters.p95}, p99 ${clusters.p99}`, `p95 ${c.p95}, p99 ${c.p99}`],
    ['value at most 20 000 ISK', percent(values.cheap), percent(v.cheap)],
    [
      'other values, log-normal',
      `mu ${values.mu}, sigma ${values.sigma}`,
      `mu ${v.mu.toFixed(1)}, sigma ${v.sigma.toFixed(1)}`,
    ],
    ['as JSON, without items, p50', '0.6 kB', `${(shape.payloadBytes.p50 / 1000).toFixed(1)} kB`],
  ]
}
