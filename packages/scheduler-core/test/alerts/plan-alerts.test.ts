import { describe, expect, it } from 'vitest'
import { planAlerts, type AlertRow } from '../../src/alerts/plan-alerts.js'
import { after, at, finding, hour, looked, minute, policy, question } from './rows.js'

const states = (history: readonly (readonly AlertRow[])[], name = 'health/queue') =>
  history.map((rows) => rows.find((row) => row.name === name)?.state)

describe('an alert', () => {
  it('fires at once when its severity has no hold-down, and is over after two good runs', () => {
    const history = after([looked(0, [finding()]), looked(5, []), looked(10, [])])
    expect(states(history)).toEqual(['firing', 'firing', 'resolved'])
    expect(history[2]?.[0]).toMatchObject({ openedAt: at(0), resolvedAt: at(10), key: 'test:health/queue' })
  })

  it('is held down: pending until it lasted, and forgotten when it did not', () => {
    const warning = finding({ severity: 'warning' })
    expect(states(after([looked(0, [warning]), looked(5, [warning])]))).toEqual(['pending', 'firing'])
    expect(states(after([looked(0, [warning]), looked(5, []), looked(10, [warning])]))).toEqual([
      'pending',
      undefined,
      'pending',
    ])
  })

  it('fires in time although runs are some seconds early or late', () => {
    const warning = finding({ severity: 'warning' })
    expect(states(after([looked(0.2, [warning]), looked(5, [warning])]))).toEqual(['pending', 'firing'])
    expect(states(after([looked(0, [warning]), looked(4, [warning])]))).toEqual(['pending', 'pending'])
  })

  it('takes the hold-down that the finding asks for', () => {
    const slow = finding({ holdDownMs: 10 * minute })
    expect(states(after([looked(0, [slow]), looked(5, [slow]), looked(10, [slow])]))).toEqual([
      'pending',
      'pending',
      'firing',
    ])
    const quick = finding({ severity: 'info', holdDownMs: 0 })
    expect(states(after([looked(0, [quick])]))).toEqual(['firing'])
  })

  it('of a task that looks once a day fires at its first look and is over at the first good one', () => {
    const daily = { rare: true }
    const history = after([looked(0, [finding({ severity: 'warning' })], daily), looked(1440, [], daily)])
    expect(states(history)).toEqual(['firing', 'resolved'])
  })

  it('begins to count anew when it is there again', () => {
    const history = after([
      looked(0, [finding()]),
      looked(5, []),
      looked(10, [finding()]),
      looked(15, []),
      looked(20, []),
    ])
    expect(states(history)).toEqual(['firing', 'firing', 'firing', 'firing', 'resolved'])
    expect(history[4]?.[0]?.openedAt).toEqual(at(0))
  })

  it('counts two looks of one run as one', () => {
    const history = after([looked(0, [finding()]), looked(5, []), looked(5.2, []), looked(10, [])])
    expect(states(history)).toEqual(['firing', 'firing', 'firing', 'resolved'])
  })

  it('is untouched by a run that did not come to its end', () => {
    const unfinished = { complete: false }
    const history = after([
      looked(0, [finding()]),
      looked(5, []),
      looked(10, [], unfinished),
      looked(15, [], unfinished),
      looked(20, []),
    ])
    expect(states(history)).toEqual(['firing', 'firing', 'firing', 'firing', 'resolved'])
    expect(history[3]).toEqual(history[1])
  })

  it('is kept alive by what an unfinished run found', () => {
    const history = after([
      looked(0, [finding()]),
      looked(5, []),
      looked(10, [finding()], { complete: false }),
      looked(15, []),
    ])
    expect(states(history)).toEqual(['firing', 'firing', 'firing', 'firing'])
  })

  it('is untouched by other tasks, and by looks that could not see it', () => {
    const history = after([
      looked(0, [finding()]),
      looked(5, [], { task: 'backup' }),
      looked(10, [], { silentOn: (key) => key === 'queue' }),
    ])
    expect(history[2]).toEqual(history[0])
  })

  it('is updated in place: summary, severity, details, and the same incident', () => {
    const history = after([
      looked(0, [finding()]),
      looked(5, [finding({ severity: 'critical', summary: 'longer', details: { waiting: 9 } })]),
    ])
    expect(history[1]).toEqual([
      { ...history[0]?.[0], severity: 'critical', summary: 'longer', details: { waiting: 9 }, lastSeenAt: at(5) },
    ])
  })

  it('is the worse of two findings with one key', () => {
    const twice = [finding({ severity: 'critical', summary: 'bad' }), finding({ severity: 'info', summary: 'meh' })]
    expect(after([looked(0, twice)])[0]).toMatchObject([{ severity: 'critical', summary: 'bad' }])
  })

  it('is resolved with a reason when its task is no longer enabled, and only when all tasks are known', () => {
    const rows = after([looked(0, [finding()])])[0] ?? []
    const resolved = planAlerts(question({ now: at(5), rows, enabled: new Set(['backup']) }))
    expect(resolved.rows).toMatchObject([
      { state: 'resolved', resolvedAt: at(5), resolution: 'the task health is no longer enabled' },
    ])
    expect(resolved.transitions).toMatchObject([{ name: 'health/queue', to: 'resolved' }])
    expect(planAlerts(question({ now: at(5), rows })).rows).toEqual(rows)
    expect(planAlerts(question({ now: at(5), rows, enabled: new Set(['health']) })).changed).toEqual([])
  })

  it('keeps its key for the whole incident, and gets another with the next', () => {
    const first = after([looked(0, [finding()])])[0] ?? []
    const renamed = after([looked(5, [finding()]), looked(10, []), looked(15, []), looked(20, [finding()])], {
      rows: first,
      installation: 'other',
    })
    expect(renamed[0]?.[0]?.key).toBe('test:health/queue')
    expect(renamed[3]?.[0]?.key).toBe('other:health/queue')
  })

  it('is forgotten a week after it was resolved', () => {
    const rows = after([looked(0, [finding()]), looked(5, []), looked(10, [])])[2] ?? []
    expect(planAlerts(question({ now: at(7 * 24 * 60), rows })).forgotten).toEqual([])
    expect(planAlerts(question({ now: at(7 * 24 * 60 + 10), rows })).forgotten).toEqual(['health/queue'])
  })
})

describe('the first run', () => {
  const grace = { firstSightOf: () => at(0) }

  it('opens only what is critical until the grace period is over', () => {
    const found = [finding(), finding({ key: 'disk', severity: 'critical' })]
    const history = after([looked(0, found), looked(10, found), looked(15, found)], grace)
    expect(states(history)).toEqual(['pending', 'pending', 'firing'])
    expect(states(history, 'health/disk')).toEqual(['firing', 'firing', 'firing'])
  })
})

describe('a flapping alert', () => {
  /** Ten minutes bad, fifteen minutes good, again and again. */
  const flaps = Array.from({ length: 6 }, (_, index) => index * 25).flatMap((from) => [
    looked(from, [finding()]),
    looked(from + 5, [finding()]),
    looked(from + 10, []),
    looked(from + 15, []),
    looked(from + 20, []),
  ])

  it('stays open from the fourth opening on, until it was quiet for an hour', () => {
    const history = after(flaps)
    const row = history.at(-1)?.[0]
    expect(row).toMatchObject({ state: 'firing', flapping: true, openedAt: at(75) })
    const quiet = Array.from({ length: 13 }, (_, index) => looked(150 + index * 5, []))
    const calm = after(quiet, { rows: history.at(-1) ?? [] })
    // Good since minute 135.
    expect(states(calm).indexOf('resolved')).toBe(9)
  })

  it('no longer flaps when the next opening comes much later', () => {
    const rows =
      after([...flaps, ...Array.from({ length: 13 }, (_, index) => looked(150 + index * 5, []))]).at(-1) ?? []
    const later = after([looked(150 + 7 * 60, [finding()])], { rows })
    expect(later[0]).toMatchObject([{ state: 'firing', flapping: false, openings: [at(150 + 7 * 60)] }])
  })
})

describe('silence', () => {
  const parent = finding({ key: 'replica', severity: 'critical' })
  const child = finding({ dependsOn: ['replica'] })
  const silenceOf = (rows: readonly AlertRow[] | undefined, name = 'health/queue') =>
    rows?.find((row) => row.name === name)?.silence

  it('lies over whatever follows from another alert, as long as that one lasts', () => {
    const history = after([looked(0, [child, parent]), looked(5, [child]), looked(10, [child])])
    expect(history.map((rows) => silenceOf(rows))).toEqual([
      'follows from health/replica',
      'follows from health/replica',
      undefined,
    ])
    expect(silenceOf(history[0], 'health/replica')).toBeUndefined()
  })

  it('names alerts of other tasks by their whole name', () => {
    const rows = planAlerts(
      question({
        evidence: [
          looked(0, [finding({ dependsOn: ['scheduler/task-failing/cluster'] })]),
          looked(0, [finding({ key: 'task-failing/cluster' })], { task: undefined }),
        ],
      }),
    ).rows
    expect(silenceOf(rows)).toBe('follows from scheduler/task-failing/cluster')
  })

  it('begins with a parent that is only pending: it would come later than its consequence', () => {
    const slow = finding({ key: 'replica', holdDownMs: hour })
    expect(silenceOf(after([looked(0, [child, slow])])[0])).toBe('follows from health/replica')
  })

  it('is not had by two that name each other, nor by one that names itself', () => {
    const mutual = [finding({ dependsOn: ['replica'] }), finding({ key: 'replica', dependsOn: ['queue'] })]
    const rows = after([looked(0, mutual)])[0]
    expect([silenceOf(rows), silenceOf(rows, 'health/replica')]).toEqual([undefined, undefined])
    expect(silenceOf(after([looked(0, [finding({ dependsOn: ['queue'] })])])[0])).toBeUndefined()
  })

  it('is what a mute says, by pattern, until its date', () => {
    const mutes = [{ pattern: 'health/*', until: at(10), reason: 'new disks', mutedAt: at(-1) }]
    const history = after([looked(0, [finding()]), looked(10, [finding()])], { mutes })
    expect(history.map((rows) => silenceOf(rows))).toEqual([
      'muted until 2026-11-23T12:10:00.000Z: new disks',
      undefined,
    ])
    expect(
      silenceOf(after([looked(0, [finding()])], { mutes: [{ ...mutes[0]!, pattern: 'backup/*' }] })[0]),
    ).toBeUndefined()
  })
})

it('says what happened, for the log, and changes no row for nothing', () => {
  const opened = planAlerts(question({ evidence: [looked(0, [finding()])] }))
  expect(opened.transitions).toMatchObject([{ name: 'health/queue', to: 'fires' }])
  const idle = planAlerts(question({ now: at(5), rows: opened.rows }))
  expect(idle).toMatchObject({ changed: [], forgotten: [], transitions: [] })
  expect(policy.resolveAfter).toBe(2)
})
