/** What a whole evaluation makes of what is known, without a database. */
import { describe, expect, it } from 'vitest'
import type { Delivery, EachChannel, StateChannel } from '../../src/alerts/channel.js'
import { Alerting, type AlertInput, type KnownTasks } from '../../src/alerts/alerting.js'
import { safeText } from '../../src/execute/safe-text.js'
import type { TaskLogger } from '../../src/task.js'
import type { AlertReading } from '../../src/state/alert-rows.js'
import { entry } from '../support.js'
import { MemoryAlertStore } from './memory-store.js'
import { at, finding, minute, policy, routingOf } from './rows.js'

const silent: TaskLogger = { trace() {}, debug() {}, info() {}, warn() {}, error() {} }
const task = (name: string) => entry({ name, run: () => Promise.resolve({ outcome: 'succeeded' }) })

const unused = () => Promise.reject(new Error('nothing is sent'))
const noHttp = { get: unused, post: unused, send: unused }

/** A scheduler at a time that the test moves. */
class Scheduler {
  minutes = 0
  readonly store = new MemoryAlertStore(() => at(this.minutes), at(-100_000))

  async evaluate(known: Partial<KnownTasks>, input?: AlertInput): Promise<void> {
    await this.alerting(input).evaluate({ entries: [], disabled: [], complete: true, ...known })
  }

  alerting(input: AlertInput | undefined, budgetMs = 40_000): Alerting {
    return new Alerting({
      input,
      store: this.store,
      expectedIntervalMs: 5 * minute,
      budgetMs,
      now: () => at(this.minutes),
      remainingMs: () => 10_000,
      timer: { monotonicMs: () => 0, hostNow: () => new Date(0), after: () => () => undefined },
      signal: new AbortController().signal,
      random: () => 0,
      safe: safeText(),
      logger: silent,
    })
  }

  states(): Record<string, string> {
    return Object.fromEntries([...this.store.rows.values()].map(({ name, state }) => [name, state]))
  }

  failing(change: Partial<AlertReading['tasks'][number]> = {}): void {
    const row = {
      name: 'backup',
      firstSeenAt: at(-10_000),
      lastClaimedAt: at(this.minutes),
      consecutiveFailures: 3,
      consecutiveExpiries: 0,
      claimExpired: false,
      paused: false,
      lastSuccessAt: at(this.minutes),
      lastReason: 'no space left',
      ...change,
    }
    this.store.facts = { tasks: [row], runs: [] }
  }
}

describe('an alert about a task', () => {
  it('is not taken back by processes that know nothing of the task', async () => {
    const scheduler = new Scheduler()
    scheduler.failing()
    await scheduler.evaluate({ entries: [task('backup')] })
    expect(scheduler.states()).toEqual({ 'scheduler/task-failing/backup': 'firing' })
    for (const known of [
      // Another job, with another list of tasks.
      { entries: [task('analyze')] },
      // Before the package that brings it is loaded.
      { entries: [], complete: false },
    ]) {
      for (let look = 0; look < 3; look += 1) {
        scheduler.minutes += 5
        await scheduler.evaluate(known)
      }
    }
    expect(scheduler.states()).toEqual({ 'scheduler/task-failing/backup': 'firing' })
  })

  it('is taken back by those that do, when it succeeds again', async () => {
    const scheduler = new Scheduler()
    scheduler.failing()
    await scheduler.evaluate({ entries: [task('backup')] })
    for (let look = 0; look < 2; look += 1) {
      scheduler.minutes += 5
      scheduler.failing({ consecutiveFailures: 0 })
      await scheduler.evaluate({ entries: [task('backup')] })
    }
    expect(scheduler.states()).toEqual({ 'scheduler/task-failing/backup': 'resolved' })
  })
})

describe('a channel that wants everything in every run', () => {
  const undelivered = 'scheduler/alerts-undelivered/state'
  let answer: Delivery
  const state: StateChannel = { kind: 'state', name: 'state', send: () => Promise.resolve(answer) }
  const inputOf = (names: readonly string[] = ['state']): AlertInput => ({
    routing: routingOf([state].filter(({ name }) => names.includes(name))),
    policy,
    database: '',
    http: () => Promise.resolve({ client: noHttp, close: () => Promise.resolve() }),
  })
  const works = { outcome: 'delivered' } as const
  const fails = { outcome: 'retry', reason: 'status 503' } as const

  /** Runs every five minutes in which the task health finds this. */
  async function runs(scheduler: Scheduler, count: number, found: boolean, input = inputOf()): Promise<void> {
    for (let run = 0; run < count; run += 1) {
      scheduler.minutes += 5
      scheduler.store.evidence.push({
        id: String(scheduler.minutes),
        task: 'health',
        outcome: 'succeeded',
        finishedAt: at(scheduler.minutes),
        findings: found ? [finding()] : [],
      })
      await scheduler.evaluate({ entries: [task('health')] }, input)
    }
  }

  it('is late once it has not taken for half an hour what there was to tell, however long before it last worked', async () => {
    const scheduler = new Scheduler()
    answer = works
    await runs(scheduler, 1, true)
    await runs(scheduler, 300, false)
    answer = fails
    await runs(scheduler, 7, true)
    expect(scheduler.states()).not.toHaveProperty([undelivered])
    await runs(scheduler, 1, true)
    expect(scheduler.states()).toMatchObject({ [undelivered]: 'firing' })
  })

  it('is late even if it never worked', async () => {
    const scheduler = new Scheduler()
    answer = fails
    await runs(scheduler, 8, true)
    expect(scheduler.states()).toMatchObject({ [undelivered]: 'firing' })
  })

  it('is not late without anything to tell, nor once it is no longer configured', async () => {
    const scheduler = new Scheduler()
    answer = fails
    await runs(scheduler, 2, true)
    await runs(scheduler, 20, false)
    expect(scheduler.states()).not.toHaveProperty([undelivered])
    await runs(scheduler, 8, true)
    expect(scheduler.states()).toMatchObject({ [undelivered]: 'firing' })
    await runs(scheduler, 2, true, inputOf([]))
    expect(scheduler.states()).toMatchObject({ [undelivered]: 'resolved' })
  })
})

it('before the first task, deliveries take an eighth of the budget at most', async () => {
  const scheduler = new Scheduler()
  const caps: number[] = []
  const channel: EachChannel = {
    kind: 'each',
    name: 'pager',
    transitions: ['opened', 'resolved'],
    send: (_message, { timeoutMs }) => {
      caps.push(timeoutMs)
      return Promise.resolve({ outcome: 'retry', reason: 'status 503' })
    },
  }
  const input: AlertInput = {
    routing: routingOf([channel]),
    policy,
    database: '',
    http: () => Promise.resolve({ client: noHttp, close: () => Promise.resolve() }),
  }
  scheduler.failing()
  await scheduler.evaluate({ entries: [task('backup')] }, input)
  scheduler.minutes += 5
  await scheduler.alerting(input, 8000).begin()
  expect(caps).toEqual([5000, 1000])
})
