import { describe, expect, it } from 'vitest'
import { generateKillmails, selectSpanMs } from '../../src/generator/generate.js'
import { measureShape } from '../../src/generator/measure.js'
import { clusters, hours, kinds, systems, values, weekdays } from '../../src/generator/measured.js'
import { isPlayer } from '../../src/killmails/killmail.js'

const endsAtMs = Date.UTC(2026, 10, 23, 20, 10)
const options = { count: 20_000, seed: 1, endsAtMs }
const killmails = generateKillmails(options)
const shape = measureShape(killmails)

/** `expect(…)` with a tolerance in the figure's own unit: percentage points mostly. */
const expectNear = (actual: number, wanted: number, tolerance: number, what: string) => {
  expect(Math.abs(actual - wanted), `${what}: ${actual}, measured ${wanted}`).toBeLessThanOrEqual(tolerance)
}
const percentages = (counts: readonly number[]) => {
  const total = counts.reduce((sum, count) => sum + count, 0)
  return counts.map((count) => (100 * count) / total)
}

describe('the shape of 20 000 generated killmails', () => {
  it('has as many attackers, within 1.5 points or one', () => {
    const { attackers } = shape
    expectNear(attackers.mean, 3.3, 0.15, 'mean')
    expect([attackers.p50, attackers.p75, attackers.p90]).toEqual([2, 4, 7])
    expectNear(attackers.p95, 12, 1, 'p95')
    expectNear(attackers.p99, 20, 2, 'p99')
    expect(attackers.max).toBeLessThanOrEqual(37)
    expect(attackers.max).toBeGreaterThan(30)
    for (const [index, wanted] of [42, 19, 13, 7, 5].entries())
      expectNear(attackers.of[index] ?? 0, wanted, 1.5, `${index + 1} attackers`)
    expectNear(attackers.over10, 5.6, 1, 'over 10')
  })

  it('has the same kinds, within 2 points', () => {
    expectNear(shape.onePlayer, kinds.onePlayer, 2, 'one player only')
    expectNear(shape.npcOnly, kinds.npcOnly, 0.3, 'NPCs only')
    expectNear(shape.pods, kinds.pods, 2, 'pods')
    expectNear(shape.victimInAlliance, kinds.victimInAlliance, 2, 'victims in an alliance')
    expectNear(shape.attackersInAlliance, kinds.attackersInAlliance, 2, 'attackers in an alliance')
    const withNpcs = killmails.filter(({ attackers }) => !attackers.every(isPlayer)).length
    expectNear((100 * withNpcs) / killmails.length, kinds.anyNpc, 1.5, 'any NPC')
  })

  it('happens at the same hours and weekdays, within 1 and 2.5 points', () => {
    for (const [hour, wanted] of percentages(hours).entries())
      expectNear(shape.hours[hour] ?? 0, wanted, 1, `${hour} h`)
    for (const [day, wanted] of percentages(weekdays).entries())
      expectNear(shape.weekdays[day] ?? 0, wanted, 2.5, `weekday ${day}`)
    expect(Math.min(...shape.hours), 'the daily downtime is the quietest hour').toBe(shape.hours[11])
  })

  it('is spread over systems by the same law, within 5 points', () => {
    expectNear(shape.systems.slope, systems.slope, 0.06, 'slope')
    expectNear(shape.systems.top1, systems.top1, 2, 'top 1')
    expectNear(shape.systems.top10, systems.top10, 5, 'top 10')
    expectNear(shape.systems.top50, systems.top50, 5, 'top 50')
    expectNear(shape.systems.top100, systems.top100, 4, 'top 100')
  })

  it('forms the same battles, within 3 points or two', () => {
    const actual = shape.clusters
    expectNear(actual.inBattles, clusters.inBattles, 3, 'in battles')
    expectNear(actual.inBattlesOf3, clusters.inBattlesOf3, 3, 'in battles of 3 and more')
    expectNear(actual.inBattlesOf5, clusters.inBattlesOf5, 3, 'in battles of 5 and more')
    expectNear(actual.ofSize2, clusters.ofSize2, 3, 'battles of 2')
    expectNear(actual.ofSize3, clusters.ofSize3, 2, 'battles of 3')
    expectNear(actual.ofSize4, clusters.ofSize4, 2, 'battles of 4')
    expectNear(actual.p95, clusters.p95, 1, 'p95')
    expectNear(actual.p99, clusters.p99, 3, 'p99')
  })

  it('is worth the same, within 1.5 points', () => {
    expectNear(shape.value.cheap, values.cheap, 1.5, 'cheap')
    expectNear(shape.value.mu, values.mu, 0.05, 'mu')
    expectNear(shape.value.sigma, values.sigma, 0.05, 'sigma')
  })

  it('is as long in JSON, within a sixth', () => {
    expectNear(shape.payloadBytes.p50, 600, 100, 'p50')
  })
})

describe('generated killmails', () => {
  it('are the same for the same seed, and others for another', () => {
    const small = { ...options, count: 300 }
    expect(generateKillmails(small)).toEqual(generateKillmails(small))
    expect(generateKillmails({ ...small, seed: 2 })).not.toEqual(generateKillmails(small))
  })

  it('come in order of time within the span, with ids that rise and are free', () => {
    const takenIds = new Set(killmails.slice(0, 100).map(({ id }) => id))
    const others = generateKillmails({ ...options, count: 500, takenIds })
    for (const list of [killmails, others]) {
      expect(list.every(({ id }, at) => at === 0 || id > (list[at - 1]?.id ?? 0))).toBe(true)
      expect(list.every((one, at) => at === 0 || one.occurredAtMs >= (list[at - 1]?.occurredAtMs ?? 0))).toBe(true)
      expect(list.at(-1)?.occurredAtMs).toBeLessThanOrEqual(endsAtMs)
      expect(list[0]?.occurredAtMs).toBeGreaterThanOrEqual(endsAtMs - selectSpanMs(list.length))
    }
    expect(others.some(({ id }) => takenIds.has(id))).toBe(false)
  })

  it('have ids in the ranges that EVE uses, no attacker twice, and at least one attacker', () => {
    for (const { systemId, victim, attackers } of killmails) {
      expect(systemId > 30_000_000 && systemId < 31_003_000).toBe(true)
      expect(victim.characterId).toBeGreaterThan(2_112_000_000)
      expect(attackers.length).toBeGreaterThan(0)
      const players = attackers.flatMap(({ characterId }) => characterId ?? [])
      expect(new Set(players).size).toBe(players.length)
    }
  })

  it.each([1, 2, 3, 50])('are as many as wanted: %i', (count) => {
    expect(generateKillmails({ ...options, count })).toHaveLength(count)
  })

  it('fit into an hour and a half too, whatever the time of day', () => {
    for (let hour = 0; hour < 24; hour++) {
      const endsMs = Date.UTC(2026, 10, 22, hour, 5)
      const list = generateKillmails({ count: 200, seed: 3, endsAtMs: endsMs, spanMs: 80 * 60_000 })
      expect(list).toHaveLength(200)
      expect(Math.min(...list.map(({ occurredAtMs }) => occurredAtMs))).toBeGreaterThanOrEqual(endsMs - 80 * 60_000)
    }
  })
})
