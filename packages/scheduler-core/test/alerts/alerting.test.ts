/** What a whole evaluation makes of what is known, without a database. */
import { describe, expect, it } from 'vitest'
import { Alerting, type AlertInput, type KnownTasks } from '../../src/alerts/alerting.js'
import { safeText } from '../../src/execute/safe-text.js'
import type { TaskLogger } from '../../src/task.js'
import type { AlertReading } from '../../src/state/alert-rows.js'
import { entry } from '../support.js'
import { MemoryAlertStore } from './memory-store.js'
import { at, minute } from './rows.js'

const silent: TaskLogger = { trace() {}, debug() {}, info() {}, warn() {}, error() {} }
const task = (name: string) => entry({ name, run: () => Promise.resolve({ outcome: 'succeeded' }) })

/** A scheduler at a time that the test moves. */
class Scheduler {
  minutes = 0
  readonly store = new MemoryAlertStore(() => at(this.minutes), at(-100_000))

  async evaluate(known: Partial<KnownTasks>, input?: AlertInput): Promise<void> {
    await new Alerting({
      input,
      store: this.store,
      expectedIntervalMs: 5 * minute,
      budgetMs: 40_000,
      now: () => at(this.minutes),
      remainingMs: () => 10_000,
      timer: { monotonicMs: () => 0, after: () => () => undefined },
      signal: new AbortController().signal,
      random: () => 0,
      safe: safeText(),
      logger: silent,
    }).evaluate({ entries: [], disabled: [], complete: true, ...known })
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
