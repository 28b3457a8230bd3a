import { describe, expect, it } from 'vitest'
import {
  isRare,
  ownFindings,
  silentOnOwn,
  taskOfOwnFinding,
  type OwnFacts,
  type OwnTaskFacts,
} from '../../src/alerts/own-findings.js'
import { at, hour, minute } from './rows.js'

const day = 24 * hour
const task = (change: Partial<OwnTaskFacts> = {}): OwnTaskFacts => ({
  name: 'analyze',
  periodMs: 5 * minute,
  consecutiveFailures: 0,
  consecutiveExpiries: 0,
  lastReason: undefined,
  stuck: false,
  paused: false,
  firstSeenAt: at(-10_000),
  lastClaimedAt: at(-1),
  lastSuccessAt: at(-1),
  ...change,
})
const keys = (change: Partial<OwnFacts>) =>
  ownFindings({
    now: at(0),
    expectedIntervalMs: 5 * minute,
    budgetMs: 40_000,
    tasks: [],
    disabled: [],
    runDurationsMs: [],
    channels: [],
    ...change,
  }).map(({ key, severity }) => `${key} ${severity}`)
const ofTask = (change: Partial<OwnTaskFacts>) => keys({ tasks: [task(change)] })

describe('the scheduler finds of itself', () => {
  it('nothing when all is well', () => {
    expect(ofTask({})).toEqual([])
  })

  it('a frequent task that failed three times in a row, a rare one that failed once', () => {
    expect(ofTask({ consecutiveFailures: 2 })).toEqual([])
    expect(ofTask({ consecutiveFailures: 3 })).toEqual(['task-failing/analyze error'])
    expect(ofTask({ consecutiveFailures: 1, periodMs: day })).toEqual(['task-failing/analyze error'])
    expect([isRare(hour), isRare(hour - 1)]).toEqual([true, false])
  })

  it('why a task fails, in words that do not change with every run', () => {
    const of = (consecutiveFailures: number) =>
      ownFindings({
        now: at(0),
        expectedIntervalMs: 1,
        budgetMs: 1,
        tasks: [task({ consecutiveFailures, lastReason: 'no space left' })],
        disabled: [],
        runDurationsMs: [],
        channels: [],
      })[0]
    expect(of(3)?.summary).toBe('The task analyze fails: no space left')
    expect(of(4)?.summary).toBe(of(3)?.summary)
  })

  it('a task that has not succeeded for twice its period, six intervals at least', () => {
    expect(ofTask({ periodMs: day, lastSuccessAt: at(-2 * 24 * 60) })).toEqual([])
    expect(ofTask({ periodMs: day, lastSuccessAt: at(-2 * 24 * 60 - 1) })).toEqual(['task-stale/analyze warning'])
    expect(ofTask({ lastSuccessAt: at(-30) })).toEqual([])
    expect(ofTask({ lastSuccessAt: at(-31) })).toEqual(['task-stale/analyze warning'])
    expect(ofTask({ lastSuccessAt: undefined, firstSeenAt: at(-31) })).toEqual(['task-stale/analyze warning'])
    expect(ofTask({ lastSuccessAt: undefined, firstSeenAt: at(-29) })).toEqual([])
    expect(ofTask({ lastSuccessAt: at(-31), paused: true })).toEqual([])
  })

  it('a task that ran within a week, not within a day, and is no longer enabled', () => {
    const gone = { periodMs: undefined }
    expect(ofTask({ ...gone, lastClaimedAt: at(-26 * 60) })).toEqual([])
    expect(ofTask({ ...gone, lastClaimedAt: at(-26 * 60 - 1) })).toEqual(['task-not-enabled/analyze warning'])
    expect(ofTask({ ...gone, lastClaimedAt: at(-7 * 24 * 60) })).toEqual(['task-not-enabled/analyze warning'])
    expect(ofTask({ ...gone, lastClaimedAt: at(-7 * 24 * 60 - 1) })).toEqual([])
    expect(ofTask({ ...gone, lastClaimedAt: undefined })).toEqual([])
    expect(ofTask({ ...gone, name: 'package:@acme/loot', lastClaimedAt: at(-2000) })).toEqual([])
  })

  it('a run that ended without a word, and a claim that cannot be freed', () => {
    expect(ofTask({ consecutiveExpiries: 1, consecutiveFailures: 1 })).toEqual(['claim-expired/analyze warning'])
    expect(ofTask({ stuck: true })).toEqual(['claim-stuck/analyze error'])
  })

  it('packages that could not be loaded', () => {
    expect(keys({ disabled: [{ name: '@acme/loot', reason: 'not found' }] })).toEqual([
      'package-disabled/@acme/loot error',
    ])
  })

  it('three runs in a row over their budget', () => {
    expect(keys({ runDurationsMs: [41_000, 42_000, 40_001] })).toEqual(['runs-over-budget warning'])
    expect(keys({ runDurationsMs: [41_000, 42_000, 40_000] })).toEqual([])
    expect(keys({ runDurationsMs: [41_000, 42_000] })).toEqual([])
  })

  it('channels that lost alerts within a day, or that alerts have been waiting for', () => {
    const channel = {
      name: 'pager',
      newestDeadAt: undefined,
      deadLetters: 0,
      lastReason: 'status 400',
      oldestWaitingAt: undefined,
    }
    const of = (change: object) => keys({ channels: [{ ...channel, ...change }] })
    expect(of({})).toEqual([])
    expect(of({ newestDeadAt: at(-60), deadLetters: 1 })).toEqual(['alerts-undelivered/pager error'])
    expect(of({ newestDeadAt: at(-24 * 60), deadLetters: 1 })).toEqual([])
    expect(of({ oldestWaitingAt: at(-31) })).toEqual(['alerts-undelivered/pager error'])
    expect(of({ oldestWaitingAt: at(-30) })).toEqual([])
  })
})

describe('of which keys silence says nothing', () => {
  const about = ['task-failing', 'task-stale', 'claim-expired', 'claim-stuck']
  const silent = (complete: boolean, change: Partial<OwnTaskFacts>) => {
    const on = silentOnOwn({ tasks: [task(change)], complete, now: at(0) })
    return about.filter((kind) => on(`${kind}/analyze`))
  }
  const elsewhere = { periodMs: undefined, lastClaimedAt: at(-60) }
  const gone = { periodMs: undefined, lastClaimedAt: at(-27 * 60) }

  it('those about a task that another job runs, or that may not be loaded yet', () => {
    expect(silent(true, elsewhere)).toEqual(about)
    expect(silent(false, elsewhere)).toEqual(about)
    expect(silent(false, gone)).toEqual(about)
  })

  it('not those about a task that is enabled here, or runs nowhere any more', () => {
    expect(silent(true, {})).toEqual([])
    expect(silent(false, {})).toEqual([])
    expect(silent(true, gone)).toEqual([])
  })

  it('those that need every task, while not all are known', () => {
    const on = (complete: boolean) => silentOnOwn({ tasks: [], complete, now: at(0) })
    for (const key of ['task-not-enabled/analyze', 'package-disabled/@acme/loot']) {
      expect([on(false)(key), on(true)(key)]).toEqual([true, false])
    }
    expect(on(false)('runs-over-budget')).toBe(false)
  })

  it('a key is about the task after its first stroke, whatever that is called', () => {
    expect(taskOfOwnFinding('task-failing/@acme/loot')).toBe('@acme/loot')
    expect(taskOfOwnFinding('alerts-undelivered/pager')).toBeUndefined()
  })
})
