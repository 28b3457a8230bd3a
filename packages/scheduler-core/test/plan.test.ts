import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { planRun, slotToFinish, type PlanOptions } from '../src/plan.js'
import { registerTask, type RegisteredTask } from '../src/registry.js'
import type { Schedule } from '../src/schedule.js'
import type { State, TaskState } from '../src/state/task-state.js'
import { defineTask } from '../src/task.js'

const now = new Date('2026-11-24T02:05:00Z')
const minutesAgo = (minutes: number) => new Date(now.getTime() - minutes * 60_000)

function entry(name: string, schedule: Schedule, heavy = false): RegisteredTask {
  const task = defineTask({
    apiVersion: 1,
    name,
    description: name,
    schedule,
    timeoutMs: 1000,
    heavy,
    configSchema: z.object({}),
    requires: () => ({}),
    run: () => Promise.resolve({ outcome: 'succeeded' }),
  })
  return registerTask(task, { kind: 'built-in' }, { config: {} })
}

function taskState(name: string, change: Partial<TaskState> = {}): TaskState {
  return {
    name,
    revision: '7',
    firstSeenAt: new Date('2026-01-01T00:00:00Z'),
    lastSlotAt: undefined,
    lastClaimedAt: undefined,
    claim: undefined,
    consecutiveFailures: 0,
    retryAt: undefined,
    paused: undefined,
    ...change,
  }
}

function plan(tasks: RegisteredTask[], states: TaskState[], options: Partial<PlanOptions> = {}) {
  const state: State = {
    schemaVersion: 1,
    instanceId: undefined,
    historyPrunedAt: undefined,
    lastSpan: undefined,
    now,
    tasks: new Map(states.map((one) => [one.name, one])),
  }
  return planRun({ tasks, disabled: [] }, state, { runStartedAt: now, ...options }).decisions
}

const everyRun: Schedule = { kind: 'every-run' }
const hourly: Schedule = { kind: 'interval', everyMs: 3_600_000 }
const nightly: Schedule = { kind: 'cron', expression: '0 2 * * *', timezone: 'UTC', windowMs: 7_200_000 }

describe('planRun', () => {
  it('lets a task that needs many slices for one slot take turns with the others', () => {
    const slicing = taskState('retention', {
      lastSlotAt: new Date('2026-11-20T02:00:00Z'),
      lastClaimedAt: minutesAgo(1),
    })
    const waiting = taskState('vacuum', { lastSlotAt: new Date('2026-11-23T02:00:00Z') })
    const decisions = plan([entry('retention', nightly, true), entry('vacuum', nightly, true)], [slicing, waiting])
    // Three slots behind, but it has just had its turn.
    expect(decisions.map(({ name }) => name)).toEqual(['vacuum', 'retention'])
  })

  it('runs what failed last time after everything else', () => {
    const decisions = plan(
      [entry('hangs', everyRun), entry('vacuum', nightly, true)],
      [
        taskState('hangs', { consecutiveFailures: 1, lastClaimedAt: minutesAgo(600) }),
        taskState('vacuum', { lastSlotAt: new Date('2026-11-23T02:00:00Z'), lastClaimedAt: minutesAgo(5) }),
      ],
    )
    expect(decisions.map(({ name }) => name)).toEqual(['vacuum', 'hangs'])
  })

  it('tells the true next slot where a clock once ran ahead', () => {
    const decisions = plan(
      [entry('cache', hourly)],
      [taskState('cache', { lastSlotAt: new Date('2026-12-01T00:00:00Z') })],
    )
    expect(decisions[0]).toMatchObject({ due: false, nextAt: new Date('2026-12-01T01:00:00Z') })
  })

  it('runs what a command asks for beside its schedule, but no paused task', () => {
    const paused = { at: minutesAgo(1), until: undefined, reason: undefined }
    const options = { requested: ['cache', 'vacuum'], only: ['cache', 'vacuum'] }
    const decisions = plan(
      [entry('cache', hourly), entry('vacuum', nightly)],
      [
        taskState('cache', { lastSlotAt: now, retryAt: minutesAgo(-30), consecutiveFailures: 3 }),
        taskState('vacuum', { paused }),
      ],
      options,
    )
    expect(decisions[0]).toMatchObject({ name: 'cache', due: true, reason: 'requested' })
    expect(decisions[0]?.due === true && slotToFinish(decisions[0], now)).toBeUndefined()
    expect(decisions[1]).toMatchObject({ name: 'vacuum', due: false, code: 'paused' })
  })

  it('runs the longest waiting first, and cheap tasks before heavy ones', () => {
    const decisions = plan(
      [entry('vacuum', nightly, true), entry('health', everyRun), entry('cache', hourly)],
      [
        taskState('vacuum', { lastSlotAt: new Date('2026-11-20T02:00:00Z') }),
        taskState('health', { lastClaimedAt: minutesAgo(5) }),
        taskState('cache', { lastSlotAt: new Date('2026-11-23T20:00:00Z') }),
      ],
    )
    expect(decisions.map(({ name }) => name)).toEqual(['cache', 'health', 'vacuum'])
    expect(decisions.every(({ due }) => due)).toBe(true)
  })

  it('names slots by their planned time', () => {
    const [decision] = plan(
      [entry('cache', hourly)],
      [taskState('cache', { lastSlotAt: new Date('2026-11-24T00:00:00Z') })],
    )
    expect(decision).toMatchObject({
      due: true,
      slotId: 'cache@2026-11-24T01:00:00Z',
      lateByMs: 65 * 60_000,
      revision: '7',
    })
  })

  it.each([
    ['not-yet', hourly, { lastSlotAt: new Date('2026-11-24T02:00:00Z') }, {}],
    ['paused', everyRun, { paused: { at: minutesAgo(3), until: undefined, reason: 'by hand' } }, {}],
    [
      'claimed',
      everyRun,
      {
        claim: {
          ticket: 't',
          runId: 'r',
          slotId: 's',
          holder: 'pod-1',
          claimedAt: minutesAgo(1),
          expiresAt: now,
          expired: false,
        },
      },
      {},
    ],
    ['back-off', hourly, { consecutiveFailures: 3, retryAt: new Date(now.getTime() + 1) }, {}],
    ['already-ran', everyRun, { lastClaimedAt: now }, {}],
    ['not-selected', everyRun, {}, { only: ['other'] }],
    ['outside-window', { ...hourly, windowMs: 60_000 }, { lastSlotAt: new Date('2026-11-24T00:00:00Z') }, {}],
  ] as const)('says %s, and why', (code, schedule, state, options) => {
    const [decision] = plan([entry('task', schedule)], [taskState('task', state)], options)
    expect(decision).toMatchObject({ due: false, code })
    expect(decision?.reason).not.toBe('')
  })

  it('lets --force ignore schedule, window and back-off, but neither pause nor claim', () => {
    const force = { force: true }
    const notYet = taskState('task', {
      lastSlotAt: new Date('2026-11-24T02:00:00Z'),
      retryAt: new Date(now.getTime() + 1),
    })
    expect(plan([entry('task', hourly)], [notYet], force)[0]).toMatchObject({ due: true, reason: 'forced' })
    const paused = taskState('task', { paused: { at: now, until: undefined, reason: undefined } })
    expect(plan([entry('task', hourly)], [paused], force)[0]).toMatchObject({ due: false, code: 'paused' })
    const claim = { ticket: 't', runId: 'r', slotId: 's', holder: 'h', claimedAt: now, expiresAt: now, expired: false }
    expect(plan([entry('task', hourly)], [taskState('task', { claim })], force)[0]).toMatchObject({
      due: false,
      code: 'claimed',
    })
  })

  it('finishes no slot with a forced run beside the schedule, and the due one with a forced run in it', () => {
    const [beside] = plan(
      [entry('task', hourly)],
      [taskState('task', { lastSlotAt: new Date('2026-11-24T02:00:00Z') })],
      { force: true },
    )
    if (beside?.due !== true) throw new Error('not due')
    expect(slotToFinish(beside, now)).toBeUndefined()
    const [within] = plan(
      [entry('task', hourly)],
      [taskState('task', { lastSlotAt: new Date('2026-11-24T01:00:00Z') })],
      { force: true },
    )
    if (within?.due !== true) throw new Error('not due')
    expect(slotToFinish(within, now)).toEqual(new Date('2026-11-24T02:00:00Z'))
  })

  it('treats an expired claim as none: the run that sees it frees it first', () => {
    const claim = {
      ticket: 't',
      runId: 'r',
      slotId: 's',
      holder: 'h',
      claimedAt: minutesAgo(9),
      expiresAt: minutesAgo(8),
      expired: true,
    }
    expect(plan([entry('task', everyRun)], [taskState('task', { claim })])[0]).toMatchObject({ due: true })
  })
})
