import { describe, expect, it } from 'vitest'
import { awakeMs } from '../src/queues/downtime.js'

const minute = 60_000
const eve = { startMs: 11 * 60 * minute, lengthMs: 30 * minute }
const awake = (from: string, until: string, downtime = eve) =>
  awakeMs(new Date(`2026-11-${from}Z`), new Date(`2026-11-${until}Z`), downtime) / minute

describe('time outside of the downtime', () => {
  it.each([
    ['before it', '25T10:00', '25T10:40', 40],
    ['within it', '25T11:05', '25T11:25', 0],
    ['from before into it', '25T10:55', '25T11:20', 5],
    ['over it', '25T10:55', '25T11:35', 10],
    ['out of it', '25T11:10', '25T11:45', 15],
    ['over two of them', '25T10:00', '26T12:00', 26 * 60 - 60],
    ['none at all, when the clock stands or runs back', '25T12:00', '25T11:59', 0],
  ])('%s', (_, from, until, minutes) => {
    expect(awake(from, until)).toBe(minutes)
  })

  it('knows one that reaches over midnight', () => {
    const late = { startMs: 23.5 * 60 * minute, lengthMs: 60 * minute }
    expect(awake('25T23:00', '26T01:00', late)).toBe(60)
    expect(awake('26T00:10', '26T00:40', late)).toBe(10)
  })

  it('leaves nothing out where there is none', () => {
    expect(awake('25T10:00', '26T10:00', { startMs: 0, lengthMs: 0 })).toBe(1440)
  })
})
