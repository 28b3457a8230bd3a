/** The watch ends with its run, and with nothing else. */
import type { TaskContext } from '@battlescope/scheduler-core'
import { describe, expect, it } from 'vitest'
import { VacuumWatch } from '../src/watch.js'

/** A run whose clock stands still until it is told, and whose database is gone. */
function lostDatabase() {
  const abort = new AbortController()
  const warnings: object[] = []
  const nothing = () => undefined
  let looks = 0
  let sleepers: { wake: () => void; fail: (reason: unknown) => void }[] = []
  let slept: () => void = nothing
  abort.signal.addEventListener('abort', () => {
    for (const { fail } of sleepers) fail(abort.signal.reason)
  })
  const context = {
    signal: abort.signal,
    clock: {
      sleep: () =>
        new Promise<void>((wake, fail) => {
          sleepers.push({ wake, fail })
          slept()
        }),
    },
    // The first thing that a query asks of it.
    db: {
      getExecutor: () => {
        looks += 1
        throw Object.assign(new Error(`gone, look ${looks}`), { code: '08006' })
      },
    },
    logger: { debug: nothing, warn: (fields: object) => warnings.push(fields) },
  }
  return {
    watch: new VacuumWatch(context as unknown as TaskContext),
    abort,
    warnings,
    looks: () => looks,
    asleep: () => sleepers.length > 0,
    wake: () => {
      const [sleeper] = sleepers
      sleepers = []
      sleeper?.wake()
    },
    untilAsleep: () =>
      new Promise<void>((resolve) => {
        if (sleepers.length > 0) resolve()
        else slept = resolve
      }),
  }
}

/** All that follows at once: nothing here waits for anything outside. */
const settled = () => new Promise((resolve) => setImmediate(resolve))
const watched = { relation: 'public.a', backendPid: 1, backendStart: 'then' }

describe('the watch', () => {
  it('goes on after looks that failed, and ends when the run is aborted', async () => {
    const { watch, abort, warnings, looks, asleep, wake, untilAsleep } = lostDatabase()
    await watch.during(watched, async () => {
      watch.start()
      for (let n = 1; n <= 3; n += 1) {
        await untilAsleep()
        wake()
        await settled()
        expect(looks()).toBe(n)
      }
      abort.abort(new Error('timed out'))
      wake()
      await settled()
    })
    expect(looks()).toBe(3)
    expect(asleep()).toBe(false)
    expect(warnings).toEqual([{ event: 'watch-failed', relation: 'public.a', error: 'gone, look 1', code: '08006' }])
  })

  it('ends when the run has ended, and says nothing of a look that the end cut off', async () => {
    const { watch, warnings, looks, asleep, wake, untilAsleep } = lostDatabase()
    await watch.during(watched, async () => {
      watch.start()
      await untilAsleep()
      // Its look begins, and fails, after the end.
      watch.end()
      wake()
      await settled()
    })
    expect(looks()).toBe(1)
    expect(asleep()).toBe(false)
    expect(warnings).toEqual([])
  })
})
