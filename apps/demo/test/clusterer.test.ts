import { describe, expect, it } from 'vitest'
import { groupKillmails } from '../src/clusterer.js'

const at = (minutes: number, systemId = 30000001, id = minutes + 1) => ({
  id,
  occurredAtMs: Date.UTC(2026, 0, 1) + minutes * 60_000,
  systemId,
  victim: {},
  attackers: [{}],
})
const minutesOf = (...killmails: ReturnType<typeof at>[]) =>
  groupKillmails(killmails).map((group) => group.map(({ id }) => id - 1))

describe("the clusterer's rule", () => {
  it('joins killmails at most 15 minutes apart', () => {
    expect(minutesOf(at(0), at(15), at(31))).toEqual([[0, 15], [31]])
  })

  it('ends a group 30 minutes after its first killmail', () => {
    expect(minutesOf(at(0), at(10), at(20), at(30), at(31), at(40))).toEqual([
      [0, 10, 20, 30],
      [31, 40],
    ])
  })

  it('keeps systems apart, and needs no order', () => {
    expect(minutesOf(at(5), at(3, 30000002), at(0))).toEqual([[0, 5], [3]])
  })

  it('counts time to the millisecond', () => {
    const late = { ...at(15), occurredAtMs: at(15).occurredAtMs + 1 }
    expect(groupKillmails([at(0), late])).toHaveLength(2)
  })
})
