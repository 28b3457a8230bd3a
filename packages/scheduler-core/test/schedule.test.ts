import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { dueSlot, finishedSlot, firstSlotAfter, latestSlot, scheduleProblem, type Schedule } from '../src/schedule.js'

const at = (text: string) => new Date(text)
const every = (everyMs: number) => ({ kind: 'interval', everyMs }) as const
const cron = (expression: string, timezone = 'UTC', windowMs?: number) =>
  ({ kind: 'cron', expression, timezone, ...(windowMs === undefined ? {} : { windowMs }) }) as const
const hourMs = 3_600_000

/** Every slot in a span, found the way the scheduler finds them: one after the other. */
function slots(schedule: Exclude<Schedule, { kind: 'every-run' }>, from: string, to: string): string[] {
  const found: string[] = []
  for (
    let slot = firstSlotAfter(schedule, at(from));
    slot !== undefined && slot < at(to);
    slot = firstSlotAfter(schedule, slot)
  ) {
    found.push(slot.toISOString())
  }
  return found
}

describe('slots', () => {
  it('of an interval are multiples since 1970, so they cannot drift', () => {
    expect(latestSlot(every(hourMs), at('2026-11-24T02:59:59.999Z'))).toEqual(at('2026-11-24T02:00:00Z'))
    expect(firstSlotAfter(every(hourMs), at('2026-11-24T02:00:00Z'))).toEqual(at('2026-11-24T03:00:00Z'))
  })

  it('of a cron expression without a timezone are in UTC, whatever the machine says', () => {
    const before = process.env['TZ']
    process.env['TZ'] = 'Asia/Tokyo'
    try {
      const schedule: Schedule = { kind: 'cron', expression: '0 2 * * *' }
      expect(firstSlotAfter(schedule, at('2026-11-24T00:00Z'))).toEqual(at('2026-11-24T02:00Z'))
    } finally {
      if (before === undefined) delete process.env['TZ']
      else process.env['TZ'] = before
    }
  })

  it('include an instant that is itself a slot', () => {
    expect(latestSlot(cron('0 2 * * *'), at('2026-11-24T02:00:00Z'))).toEqual(at('2026-11-24T02:00:00Z'))
    expect(latestSlot(every(1000), at('2026-11-24T02:00:00Z'))).toEqual(at('2026-11-24T02:00:00Z'))
  })

  it.each([
    [
      'in the night that has no 02:30',
      '2026-03-28T12:00:00Z',
      '2026-03-30T12:00:00Z',
      ['2026-03-29T01:00:00.000Z', '2026-03-30T00:30:00.000Z'],
    ],
    [
      'in the night that has 02:30 twice',
      '2026-10-24T12:00:00Z',
      '2026-10-26T12:00:00Z',
      ['2026-10-25T00:30:00.000Z', '2026-10-26T01:30:00.000Z'],
    ],
  ])('of a local time happen once %s', (_name, from, to, expected) => {
    expect(slots(cron('30 2 * * *', 'Europe/Berlin'), from, to)).toEqual(expected)
  })

  it.each([
    [
      'the 31st only where a month has one',
      '0 3 31 * *',
      '2026-01-31T04:00:00Z',
      '2026-08-01T00:00:00Z',
      ['2026-03-31T03:00:00.000Z', '2026-05-31T03:00:00.000Z', '2026-07-31T03:00:00.000Z'],
    ],
    [
      '29 February in leap years',
      '0 0 29 2 *',
      '2024-03-01T00:00:00Z',
      '2029-01-01T00:00:00Z',
      ['2028-02-29T00:00:00.000Z'],
    ],
    [
      'over the end of a year',
      '0 0 * * *',
      '2026-12-30T12:00:00Z',
      '2027-01-02T00:00:00Z',
      ['2026-12-31T00:00:00.000Z', '2027-01-01T00:00:00.000Z'],
    ],
  ])('%s', (_name, expression, from, to, expected) => {
    expect(slots(cron(expression), from, to)).toEqual(expected)
  })

  it('latest and first-after enclose every instant', () => {
    const schedules = [
      every(60_000),
      every(7 * 60_000),
      cron('*/5 * * * *'),
      cron('30 2 * * *', 'Europe/Berlin'),
      cron('0 5 * * 0'),
    ]
    fc.assert(
      fc.property(
        fc.constantFrom(...schedules),
        fc.date({ min: at('2026-01-01T00:00:00Z'), max: at('2027-12-31T00:00:00Z'), noInvalidDate: true }),
        (schedule, instant) => {
          const latest = latestSlot(schedule, instant)
          const next = firstSlotAfter(schedule, instant)
          if (latest === undefined || next === undefined) return false
          return latest <= instant && next > instant && firstSlotAfter(schedule, latest)?.getTime() === next.getTime()
        },
      ),
      { numRuns: 300 },
    )
  })
})

describe('dueSlot', () => {
  const never = { lastSlotAt: undefined, firstSeenAt: undefined }

  it('has an interval due at first sight, at its latest slot', () => {
    expect(dueSlot(every(hourMs), never, at('2026-11-24T02:20:00Z'))).toMatchObject({
      due: true,
      scheduledAt: at('2026-11-24T02:00:00Z'),
    })
  })

  it('lets cron wait for its next slot at first sight, and then has it due', () => {
    const firstSeenAt = at('2026-11-24T02:20:00Z')
    expect(dueSlot(cron('0 2 * * *'), never, firstSeenAt)).toMatchObject({
      due: false,
      reason: 'not-yet',
      nextAt: at('2026-11-25T02:00:00Z'),
    })
    expect(
      dueSlot(cron('0 2 * * *'), { lastSlotAt: undefined, firstSeenAt }, at('2026-11-25T02:03:00Z')),
    ).toMatchObject({
      due: true,
      scheduledAt: at('2026-11-25T02:00:00Z'),
    })
  })

  it.each([
    ['9 hours', '2026-11-24T11:05:00Z'],
    ['3 days', '2026-11-27T02:05:00Z'],
  ])('catches up once after an outage of %s', (_name, now) => {
    const lastSlotAt = at('2026-11-24T02:00:00Z')
    const occasion = dueSlot(every(hourMs), { lastSlotAt, firstSeenAt: lastSlotAt }, at(now))
    expect(occasion).toMatchObject({ due: true, scheduledAt: at('2026-11-24T03:00:00Z') })
    const finished = finishedSlot(every(hourMs), at('2026-11-24T03:00:00Z'), at(now))
    expect(dueSlot(every(hourMs), { lastSlotAt: finished, firstSeenAt: lastSlotAt }, at(now)).due).toBe(false)
  })

  it('keeps the slot over a partial run that lasts beyond the next slot', () => {
    const history = { lastSlotAt: at('2026-11-23T02:00:00Z'), firstSeenAt: at('2026-01-01T00:00:00Z') }
    for (const now of ['2026-11-24T02:00:00Z', '2026-11-24T23:00:00Z', '2026-11-25T02:10:00Z']) {
      expect(dueSlot(cron('0 2 * * *'), history, at(now))).toMatchObject({ scheduledAt: at('2026-11-24T02:00:00Z') })
    }
  })

  it('does not count a slot that began after the finishing run was claimed', () => {
    const finished = finishedSlot(every(hourMs), at('2026-11-24T01:00:00Z'), at('2026-11-24T01:59:58Z'))
    expect(
      dueSlot(every(hourMs), { lastSlotAt: finished, firstSeenAt: finished }, at('2026-11-24T02:00:03Z')),
    ).toMatchObject({
      due: true,
      scheduledAt: at('2026-11-24T02:00:00Z'),
    })
  })

  it('never goes back when the clock does', () => {
    const history = { lastSlotAt: at('2026-11-24T02:00:00Z'), firstSeenAt: at('2026-01-01T00:00:00Z') }
    expect(dueSlot(every(hourMs), history, at('2026-11-24T00:30:00Z')).due).toBe(false)
    expect(dueSlot(cron('0 2 * * *'), history, at('2026-11-23T01:00:00Z')).due).toBe(false)
  })

  it('drops a slot whose window has passed', () => {
    const nightly = cron('0 4 * * *', 'UTC', 2 * hourMs)
    const history = { lastSlotAt: at('2026-11-22T04:00:00Z'), firstSeenAt: at('2026-01-01T00:00:00Z') }
    expect(dueSlot(nightly, history, at('2026-11-24T05:59:59Z'))).toMatchObject({
      due: true,
      scheduledAt: at('2026-11-24T04:00:00Z'),
    })
    expect(dueSlot(nightly, history, at('2026-11-24T06:00:00Z'))).toMatchObject({
      due: false,
      reason: 'outside-window',
      nextAt: at('2026-11-25T04:00:00Z'),
    })
  })

  it('after finishing, nothing is due until a slot begins that the finishing run could not know', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(every(60_000), every(hourMs), cron('*/5 * * * *'), cron('0 2 * * *', 'America/New_York')),
        fc.integer({ min: 0, max: 400 * 24 * 60 }),
        fc.integer({ min: 0, max: 10 * 24 * 60 }),
        (schedule, startMinute, laterMinutes) => {
          const base = at('2026-01-01T00:00:00Z').getTime()
          const lastSlotAt = latestSlot(schedule, new Date(base + startMinute * 60_000))
          if (lastSlotAt === undefined) return
          const now = new Date(lastSlotAt.getTime() + laterMinutes * 60_000)
          const occasion = dueSlot(schedule, { lastSlotAt, firstSeenAt: lastSlotAt }, now)
          if (!occasion.due) return
          const finished = finishedSlot(schedule, occasion.scheduledAt, now)
          expect(finished.getTime()).toBeGreaterThanOrEqual(occasion.scheduledAt.getTime())
          expect(finished <= now).toBe(true)
          expect(dueSlot(schedule, { lastSlotAt: finished, firstSeenAt: lastSlotAt }, now).due).toBe(false)
        },
      ),
      { numRuns: 200 },
    )
  })
})

describe('scheduleProblem', () => {
  it.each([
    [every(10), 'at least 1000'],
    [every(Number.NaN), 'at least 1000'],
    [cron('0 2 * *'), 'five fields'],
    [cron('61 2 * * *'), '61 2 * * *'],
    [cron('0 2 * * *', 'Middle-earth/Shire'), 'Middle-earth/Shire'],
    [{ ...every(hourMs), windowMs: 0 }, 'window'],
  ])('names what is wrong with %j', (schedule, expected) => {
    expect(scheduleProblem(schedule)).toContain(expected)
  })

  it('accepts what is right', () => {
    expect(scheduleProblem({ kind: 'every-run' })).toBeUndefined()
    expect(scheduleProblem(cron('*/5 * * * 1-5', 'Europe/Berlin', hourMs))).toBeUndefined()
  })
})
