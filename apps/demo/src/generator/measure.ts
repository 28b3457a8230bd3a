/** The figures of `measured.ts`, taken from any killmails. */
import { clustererDefaults, groupKillmails } from '../clusterer.js'
import { capsuleTypeId, isPlayer, type Killmail } from '../killmails/killmail.js'
import { values } from './measured.js'
import { payloadOf } from './payload.js'

/** Percent where not said otherwise. */
export interface Shape {
  readonly attackers: {
    readonly mean: number
    readonly p50: number
    readonly p75: number
    readonly p90: number
    readonly p95: number
    readonly p99: number
    readonly max: number
    /** Percent of killmails with 1, 2, 3, 4, 5 attackers. */
    readonly of: readonly number[]
    readonly over10: number
  }
  readonly onePlayer: number
  readonly npcOnly: number
  readonly pods: number
  readonly victimInAlliance: number
  readonly attackersInAlliance: number
  readonly hours: readonly number[]
  /** From Sunday on. */
  readonly weekdays: readonly number[]
  readonly systems: {
    readonly slope: number
    readonly top1: number
    readonly top10: number
    readonly top50: number
    readonly top100: number
  }
  readonly clusters: {
    readonly inBattles: number
    readonly inBattlesOf3: number
    readonly inBattlesOf5: number
    readonly ofSize2: number
    readonly ofSize3: number
    readonly ofSize4: number
    readonly p95: number
    readonly p99: number
  }
  readonly value: { readonly cheap: number; readonly mu: number; readonly sigma: number }
  readonly payloadBytes: { readonly p50: number }
}

const sum = (numbers: readonly number[]): number => numbers.reduce((total, one) => total + one, 0)
const mean = (numbers: readonly number[]): number => sum(numbers) / numbers.length
const ascending = (numbers: Iterable<number>): number[] => [...numbers].sort((a, b) => a - b)
const quantile = (sorted: readonly number[], q: number): number => sorted[Math.floor(q * (sorted.length - 1))] ?? 0

export function measureShape(killmails: readonly Killmail[]): Shape {
  const percentOf = (count: number, total = killmails.length): number => (100 * count) / total
  const percent = (predicate: (killmail: Killmail) => boolean): number => percentOf(killmails.filter(predicate).length)
  const counts = ascending(killmails.map(({ attackers }) => attackers.length))
  const players = (killmail: Killmail): number => killmail.attackers.filter(isPlayer).length
  const everyPlayer = killmails.flatMap(({ attackers }) => attackers.filter(isPlayer))
  const systems = ascending(tally(killmails.map(({ systemId }) => systemId)).values()).reverse()
  const top = (count: number): number => percentOf(sum(systems.slice(0, count)))
  const sizes = ascending(groupKillmails(killmails).map((group) => group.length)).filter(
    (size) => size >= clustererDefaults.minKills,
  )
  const inBattles = (least: number): number => percentOf(sum(sizes.filter((size) => size >= least)))
  const ofSize = (size: number): number => percentOf(sizes.filter((one) => one === size).length, sizes.length)
  const known = killmails.flatMap(({ valueIsk }) => (valueIsk === undefined ? [] : [valueIsk]))
  const logs = known.filter((value) => value > values.cheapIsk).map(Math.log)
  const byHour = tally(killmails.map(({ occurredAtMs }) => new Date(occurredAtMs).getUTCHours()))
  const byWeekday = tally(killmails.map(({ occurredAtMs }) => new Date(occurredAtMs).getUTCDay()))
  return {
    attackers: {
      mean: mean(counts),
      p50: quantile(counts, 0.5),
      p75: quantile(counts, 0.75),
      p90: quantile(counts, 0.9),
      p95: quantile(counts, 0.95),
      p99: quantile(counts, 0.99),
      max: counts.at(-1) ?? 0,
      of: [1, 2, 3, 4, 5].map((count) => percent(({ attackers }) => attackers.length === count)),
      over10: percent(({ attackers }) => attackers.length > 10),
    },
    onePlayer: percent((killmail) => players(killmail) === 1),
    npcOnly: percent((killmail) => players(killmail) === 0),
    pods: percent(({ victim }) => victim.shipTypeId === capsuleTypeId),
    victimInAlliance: percent(({ victim }) => victim.allianceId !== undefined),
    attackersInAlliance: percentOf(
      everyPlayer.filter(({ allianceId }) => allianceId !== undefined).length,
      everyPlayer.length,
    ),
    hours: Array.from({ length: 24 }, (_, hour) => percentOf(byHour.get(hour) ?? 0)),
    weekdays: Array.from({ length: 7 }, (_, weekday) => percentOf(byWeekday.get(weekday) ?? 0)),
    systems: {
      slope: zipfSlope(systems.slice(0, 100)),
      top1: top(1),
      top10: top(10),
      top50: top(50),
      top100: top(100),
    },
    clusters: {
      inBattles: inBattles(2),
      inBattlesOf3: inBattles(3),
      inBattlesOf5: inBattles(5),
      ofSize2: ofSize(2),
      ofSize3: ofSize(3),
      ofSize4: ofSize(4),
      p95: quantile(sizes, 0.95),
      p99: quantile(sizes, 0.99),
    },
    value: {
      cheap: percentOf(known.length - logs.length, known.length),
      mu: mean(logs),
      sigma: deviation(logs),
    },
    payloadBytes: {
      p50: quantile(ascending(killmails.map((killmail) => JSON.stringify(payloadOf(killmail)).length)), 0.5),
    },
  }
}

function tally(items: Iterable<number>): Map<number, number> {
  const counts = new Map<number, number>()
  for (const item of items) counts.set(item, (counts.get(item) ?? 0) + 1)
  return counts
}

/** The slope of log(count) over log(rank), by least squares. */
function zipfSlope(descending: readonly number[]): number {
  const points = descending.map((count, index) => ({ x: Math.log(index + 1), y: Math.log(count) }))
  const x = mean(points.map((point) => point.x))
  const y = mean(points.map((point) => point.y))
  return -sum(points.map((point) => (point.x - x) * (point.y - y))) / sum(points.map((point) => (point.x - x) ** 2))
}

function deviation(numbers: readonly number[]): number {
  const middle = mean(numbers)
  return Math.sqrt(mean(numbers.map((one) => (one - middle) ** 2)))
}
