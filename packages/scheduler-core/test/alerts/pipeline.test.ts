/** Alerts in whole runs: real PostgreSQL, real HTTP, and a process that dies at each instant. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { z } from 'zod'
import type { Connections } from '../../src/connections.js'
import { exitCodes } from '../../src/errors.js'
import type { RunInput } from '../../src/pipeline.js'
import { PostgresAlertStore } from '../../src/state/alert-store.js'
import { registerTask } from '../../src/registry.js'
import type { AnyTask, Change, Finding, TaskResult } from '../../src/task.js'
import { createWorld, entry, run, type World } from '../support.js'
import { finding } from './rows.js'
import { Webhook } from './webhook.js'

let world: World
let provider: Webhook
beforeEach(async () => {
  world = await createWorld()
  provider = new Webhook()
  await provider.start()
  changes = []
})
afterEach(async () => {
  await provider.stop()
  await world.close()
})

let findings: readonly Finding[] = []
let changes: readonly Change[] = []
const health = (change: { readonly onRun?: () => void } = {}) =>
  entry({
    name: 'health',
    run: () => {
      change.onRun?.()
      return Promise.resolve({ outcome: 'succeeded', findings, changes })
    },
  })
const go = (change: Partial<RunInput> = {}, tasks = [health()]) =>
  run(world, tasks, { alerts: provider.input(), ...change })
/** As if the last run had been five minutes ago. */
const later = () =>
  world.database.query(`
    UPDATE scheduler.alert SET last_good_at = last_good_at - interval '5 minutes';
    UPDATE scheduler.alert_message SET next_attempt_at = now(), leased_until = NULL;
    UPDATE scheduler.alert_channel SET hold_until = NULL`)
const states = () =>
  world.database.query<{ name: string; state: string }>('SELECT name, state FROM scheduler.alert ORDER BY name')

describe('a finding', () => {
  it('is told in the run that found it, once, and taken back after two good runs', async () => {
    findings = [finding()]
    await go()
    expect(provider.at('pager')).toEqual(['opened health/queue'])
    await later()
    await go()
    expect(provider.at('pager')).toHaveLength(1)
    findings = []
    await later()
    await go()
    expect(await states()).toEqual([{ name: 'health/queue', state: 'firing' }])
    await later()
    await go()
    expect(await states()).toEqual([{ name: 'health/queue', state: 'resolved' }])
    expect(provider.at('pager')).toEqual(['opened health/queue', 'resolved health/queue'])
    expect(await world.database.query('SELECT FROM scheduler.alert_message')).toHaveLength(0)
    expect(await world.database.query('SELECT FROM scheduler.alert_told')).toHaveLength(0)
    expect(await world.database.query('SELECT FROM scheduler.task_run WHERE NOT evaluated')).toHaveLength(0)
  })

  it('that could not be told is told before the tasks of the next run', async () => {
    findings = [finding()]
    provider.answer = { status: 503 }
    await go()
    expect(provider.received).toEqual([])
    expect(await world.database.query('SELECT state, attempts, reason FROM scheduler.alert_message')).toEqual([
      { state: 'waiting', attempts: 1, reason: 'status 503' },
    ])
    provider.answer = { status: 200 }
    await later()
    let arrivedBefore = -1
    const task = health({ onRun: () => (arrivedBefore = provider.at('pager').length) })
    await go({}, [task])
    expect(arrivedBefore).toBe(1)
  })

  it('is not told again before Retry-After', async () => {
    findings = [finding()]
    provider.answer = { status: 429, retryAfter: '3600' }
    await go()
    provider.answer = { status: 200 }
    await go()
    expect(provider.at('pager')).toEqual([])
    expect(
      await world.database.query(
        `SELECT hold_until > now() + interval '50 minutes' AS held FROM scheduler.alert_channel WHERE channel = 'pager'`,
      ),
    ).toEqual([{ held: true }])
  })

  it('that one provider refuses becomes a dead letter, of which the other hears', async () => {
    findings = [finding()]
    const refuses = provider.channel('refuses')
    const channels = [
      { ...refuses, send: () => Promise.resolve({ outcome: 'refused', reason: 'status 400' } as const) },
      provider.channel('pager'),
    ]
    await go({ alerts: provider.input({}, channels) })
    await later()
    await go({ alerts: provider.input({}, channels) })
    expect(provider.at('pager')).toEqual(['opened health/queue', 'opened scheduler/alerts-undelivered/refuses'])
    const store = new PostgresAlertStore(world.connections, 'scheduler')
    expect(await store.selectDeadLetters(10)).toMatchObject([
      { channel: 'refuses', name: 'health/queue', transition: 'opened', reason: 'status 400', attempts: 1 },
    ])
  })

  it('is kept where nobody is told, and told once somebody is', async () => {
    findings = [finding({ severity: 'critical' })]
    await run(world, [health()])
    expect(await states()).toEqual([{ name: 'health/queue', state: 'firing' }])
    await go()
    expect(provider.at('pager')).toEqual(['opened health/queue'])
  })

  it('is told by nobody while it is muted', async () => {
    findings = [finding()]
    const store = new PostgresAlertStore(world.connections, 'scheduler')
    await store.mute('health/*', new Date(Date.now() + 3_600_000), 'new disks')
    await go()
    expect(provider.at('pager')).toEqual([])
    expect((await store.read()).rows).toMatchObject([
      { state: 'firing', silence: expect.stringContaining('new disks') as string },
    ])
    expect(await store.unmute('health/*')).toBe(true)
    expect(await store.unmute('health/*')).toBe(false)
    await go()
    expect(provider.at('pager')).toEqual(['opened health/queue'])
  })

  it('of a task that is no longer enabled is taken back a day later, with the reason, and not by a run of one task', async () => {
    findings = [finding()]
    await go()
    const other = [entry({ name: 'other', run: () => Promise.resolve({ outcome: 'succeeded' }) })]
    // As if a job of its own ran it.
    await go({}, other)
    await world.database.query(
      `UPDATE scheduler.task SET last_claimed_at = now() - interval '27 hours' WHERE name = 'health'`,
    )
    await go({ only: ['other'] }, other)
    expect(provider.at('pager')).toEqual(['opened health/queue'])
    await go({}, other)
    expect(provider.at('pager')).toEqual([
      'opened health/queue',
      'resolved health/queue',
      'opened scheduler/task-not-enabled/health',
    ])
    expect(await world.database.query(`SELECT resolution FROM scheduler.alert WHERE task = 'health'`)).toEqual([
      { resolution: 'the task health is no longer enabled' },
    ])
  })

  it('that a package cannot be loaded is stored and sent without the secrets in its words', async () => {
    findings = []
    const report = await go({
      scrub: (text) => text.replaceAll('hunter2', '[secret]'),
      thirdParty: {
        specifiers: ['@acme/loot'],
        load: () =>
          Promise.resolve({
            tasks: [],
            disabled: [{ name: '@acme/loot', reason: 'cannot connect to postgres://u:hunter2@db', hint: 'hunter2?' }],
          }),
        unclaimedOptions: () => [],
      },
    })
    const safe = { reason: 'cannot connect to postgres://u:[secret]@db', hint: '[secret]?' }
    expect(report.disabled).toEqual([{ name: '@acme/loot', ...safe }])
    expect(provider.received.filter(({ path }) => path === '/pager')).toMatchObject([
      { transition: 'opened', summary: '@acme/loot is disabled: cannot connect to postgres://u:[secret]@db' },
    ])
    const stored = await world.database.query(`SELECT a.details, r.decisions FROM scheduler.alert a, scheduler.run r`)
    expect(stored).toMatchObject([
      { details: { hint: safe.hint }, decisions: [{ task: 'health' }, { reason: safe.reason }] },
    ])
    expect(JSON.stringify(stored)).not.toContain('hunter2')
  })

  it('of a daily task is not taken back by what a command asked of the task', async () => {
    findings = [finding()]
    const daily = entry({
      name: 'health',
      schedule: { kind: 'interval', everyMs: 86_400_000 },
      run: () => Promise.resolve({ outcome: 'succeeded', findings }),
    })
    const asked = { ...daily.task, requestSchema: z.object({}) } as AnyTask
    const tasks = [registerTask(asked, { kind: 'built-in' }, { config: {} })]
    await go({}, tasks)
    findings = []
    expect((await go({ requests: { health: {} } }, tasks)).tasks[0]?.run?.outcome).toBe('succeeded')
    await later()
    await go({}, tasks)
    expect(await states()).toEqual([{ name: 'health/queue', state: 'firing' }])
    expect(await world.database.query('SELECT FROM scheduler.task_run WHERE NOT evaluated')).toHaveLength(0)
    await go({ force: true }, tasks)
    expect(await states()).toEqual([{ name: 'health/queue', state: 'resolved' }])
  })

  it('is told before the first third-party package is loaded', async () => {
    findings = [finding()]
    let toldBefore: readonly string[] = []
    await go({
      thirdParty: {
        specifiers: ['@acme/loot'],
        load: () => {
          toldBefore = provider.at('pager')
          return Promise.resolve({ tasks: [], disabled: [{ name: '@acme/loot', reason: 'not found' }] })
        },
        unclaimedOptions: () => [],
      },
    })
    expect(toldBefore).toEqual(['opened health/queue'])
    // It could not be loaded, so nobody knows whose alerts are over.
    expect(provider.at('pager')).toEqual(['opened health/queue', 'opened scheduler/package-disabled/@acme/loot'])
  })
})

describe('the scheduler itself', () => {
  it('tells of a task that failed three times in a row, and that it succeeds again', async () => {
    let fails = true
    const task = entry({
      name: 'health',
      run: () => (fails ? Promise.reject(new Error('no space left')) : Promise.resolve({ outcome: 'succeeded' })),
    })
    for (let index = 0; index < 3; index += 1) {
      await go({ force: true }, [task])
      await later()
    }
    expect(provider.received).toMatchObject([
      { transition: 'opened', name: 'scheduler/task-failing/health', summary: 'The task health fails: no space left' },
    ])
    fails = false
    for (let index = 0; index < 2; index += 1) {
      await go({ force: true }, [task])
      await later()
    }
    expect(provider.at('pager')).toEqual([
      'opened scheduler/task-failing/health',
      'resolved scheduler/task-failing/health',
    ])
  })

  it('tells that the database is back when no run had begun for long, a command or not', async () => {
    findings = []
    await go()
    expect(provider.at('pager')).toEqual([])
    await world.database.query(
      `UPDATE scheduler.run SET started_at = started_at - interval '10 minutes', finished_at = finished_at - interval '6 minutes'`,
    )
    // A command in between, after the outage and before the next run.
    const other = { ...entry({ name: 'other', run: () => Promise.resolve({ outcome: 'succeeded' }) }).task }
    const asked = [
      registerTask({ ...other, requestSchema: z.object({}) } as AnyTask, { kind: 'built-in' }, { config: {} }),
    ]
    await go({ requests: { other: {} } }, asked)
    expect(provider.at('pager')).toEqual([])
    await go()
    expect(provider.at('pager')).toEqual(['resolved scheduler/database-unavailable'])
    await go()
    expect(provider.at('pager')).toHaveLength(1)
  })

  it('sends the heartbeat as soon as the run is recorded, before what takes time', async () => {
    findings = [finding()]
    await go()
    expect(provider.received.map(({ path }) => path)).toEqual(['/switch', '/pager'])
    expect(await world.database.query('SELECT FROM scheduler.run')).toHaveLength(1)
  })

  it('sends a heartbeat after runs that did their work, findings or not, and after no others', async () => {
    findings = [finding()]
    expect((await go({ failOn: 'error' })).exitCode).toBe(exitCodes.findings.code)
    expect(provider.at('switch')).toHaveLength(1)
    const failing = entry({ name: 'bad', run: () => Promise.reject(new Error('no')) })
    expect((await go({}, [failing])).exitCode).toBe(exitCodes.taskFailed.code)
    await go({ only: ['health'] })
    await go({ dryRun: true })
    expect(provider.at('switch')).toHaveLength(1)
    findings = []
    await go()
    expect(provider.at('switch')).toHaveLength(2)
  })
})

describe('a change', () => {
  const daily = { kind: 'interval', everyMs: 86_400_000 } as const
  const backup = (change: object = {}, result: object = {}) =>
    entry({
      name: 'backup',
      schedule: daily,
      run: () =>
        Promise.resolve({
          outcome: 'succeeded',
          changes: [{ key: 'completed', summary: 'Backup b1 was taken', ...change }],
          ...result,
        } as TaskResult),
    })
  const left = () => world.database.query('SELECT FROM scheduler.change')

  it('is told once, by the run that made it', async () => {
    await go({}, [backup()])
    expect(provider.at('pager')).toEqual(['completed backup/completed'])
    await go({}, [backup()])
    expect(provider.at('pager')).toHaveLength(1)
    expect(await left()).toEqual([])
    expect(await world.database.query('SELECT FROM scheduler.alert_message')).toEqual([])
  })

  it('waits for its provider, with the same id, and holds back no alert', async () => {
    provider.answer = { status: 429, retryAfter: '3600' }
    await go({}, [backup()])
    const [{ id } = { id: '' }] = await world.database.query<{ id: string }>('SELECT id FROM scheduler.alert_message')
    provider.answer = { status: 200 }
    findings = [finding()]
    await go({}, [backup(), health()])
    expect(provider.at('pager')).toEqual(['opened health/queue'])
    await later()
    await go({}, [backup(), health()])
    expect(provider.received.filter(({ transition }) => transition === 'completed')).toMatchObject([{ id }])
  })

  it.each([
    [400, 'status 400'],
    [503, 'too old; last: status 503'],
  ])('that is answered by %i until it is too old is a dead letter', async (status, reason) => {
    provider.answer = { status }
    await go({}, [backup()])
    await world.database.query(`UPDATE scheduler.alert_message SET at = at - interval '30 days'`)
    await later()
    await go({}, [backup()])
    const store = new PostgresAlertStore(world.connections, 'scheduler')
    expect(await store.selectDeadLetters(10)).toContainEqual(
      expect.objectContaining({ channel: 'pager', name: 'backup/completed', transition: 'completed', reason }),
    )
  })

  it('is told to nobody where it is muted, or where no channel has a time line', async () => {
    const store = new PostgresAlertStore(world.connections, 'scheduler')
    await run(world, [])
    await store.mute('backup/*', new Date(Date.now() + 3_600_000), undefined)
    await go({}, [backup()])
    await store.unmute('backup/*')
    const { sendChange: _, ...without } = provider.channel('pager')
    await go({ force: true, alerts: provider.input({}, [without]) }, [backup()])
    await go({}, [backup()])
    expect(provider.at('pager')).toEqual([])
    expect(await left()).toEqual([])
  })

  it('of a third-party task is checked like its findings', async () => {
    const outcomes = []
    for (const [change, result] of [
      [{ key: 1 }, {}],
      [{ links: [{ href: 'javascript:alert(1)' }] }, {}],
      [{ details: { size: 1n } }, {}],
      [{}, { outcome: 'partial', remaining: 1 }],
      [{ links: [{ href: 'https://example.com/b1', text: 'b1' }] }, {}],
    ]) {
      const { tasks } = await go({ force: true }, [backup(change, result)])
      outcomes.push(tasks[0]?.run?.errorCode ?? tasks[0]?.run?.outcome)
    }
    expect(outcomes).toEqual([...Array<string>(4).fill('invalid-result'), 'succeeded'])
    expect(provider.at('pager').filter((told) => told.startsWith('completed'))).toHaveLength(1)
  })
})

describe('the cost', () => {
  it('of a run that finds nothing is one reading statement, and no writing one', async () => {
    findings = []
    await run(world, [health()])
    const counts = { reads: 0, writes: 0 }
    const counting: Connections = {
      ...world.connections,
      reader: (unit) => {
        counts.reads += 1
        return world.connections.reader(unit)
      },
      transaction: (unit, work) => {
        counts.writes += 1
        return world.connections.transaction(unit, work)
      },
    }
    await run(world, [], { connections: counting })
    // To plan, and for the alerts; the record of the run.
    expect(counts).toEqual({ reads: 2, writes: 1 })
  })

  it('of a dry run is nothing at all', async () => {
    findings = [finding()]
    await go({ dryRun: true })
    expect(provider.received).toEqual([])
    expect(await states()).toEqual([])
  })
})

describe('a process that dies', () => {
  /** From its `nth` transaction on nothing reaches the database; that one is lost, or only its answer is. */
  function dying(
    nth: number,
    loses: 'transaction' | 'answer',
  ): { readonly connections: Connections; readonly died: () => boolean } {
    let count = 0
    const gone = () => Object.assign(new Error('the connection is gone'), { code: 'test-gone' })
    const connections: Connections = {
      ...world.connections,
      reader: (unit) => {
        if (count >= nth) throw gone()
        return world.connections.reader(unit)
      },
      transaction: async (unit, work) => {
        count += 1
        if (count < nth) return world.connections.transaction(unit, work)
        if (count === nth && loses === 'answer') await world.connections.transaction(unit, work)
        throw gone()
      },
    }
    return { connections, died: () => count >= nth }
  }

  it.each(['transaction', 'answer'] as const)(
    'at each of its transactions, losing the %s, leaves the alert to the next run: one message, perhaps twice',
    async (loses) => {
      for (let nth = 1; ; nth += 1) {
        await world.close()
        world = await createWorld()
        provider.received.length = 0
        findings = [finding()]
        changes = [{ key: 'completed', summary: 'done' }]
        const { connections, died } = dying(nth, loses)
        await go({ connections }).catch(() => undefined)
        const recorded = await world.database.query(`SELECT FROM scheduler.task_run`).catch(() => [])
        // From here on only what the dead process left is told.
        if (recorded.length > 0) changes = []
        if (!died()) {
          // It was never so short that this test tries nothing.
          expect(nth).toBeGreaterThan(6)
          return
        }
        await world.database.query(`
          UPDATE scheduler.task SET ticket = NULL; DELETE FROM scheduler.claim`)
        await later()
        await go()
        const done = provider.received.filter(({ transition }) => transition === 'completed')
        // The task is run again where its record was lost, so it has then done two things.
        expect(done.length, `transaction ${nth}`).toBeGreaterThanOrEqual(1)
        const told = provider.received.filter(({ path, name }) => path === '/pager' && name === 'health/queue')
        expect(new Set(told.map(({ id }) => id)).size, `transaction ${nth}`).toBe(1)
        expect(told.length, `transaction ${nth}`).toBeLessThanOrEqual(2)
        expect(told.map(({ transition }) => transition)).toEqual(told.map(() => 'opened'))
        findings = []
        for (let good = 0; good < 2; good += 1) {
          await later()
          await go()
        }
        await later()
        await go()
        const all = provider.received.filter(({ path, name }) => path === '/pager' && name === 'health/queue')
        expect(
          all.filter(({ transition }) => transition === 'resolved'),
          `transaction ${nth}`,
        ).toHaveLength(1)
      }
    },
  )

  it('between the record of a task and its alerts leaves them to the next run, whatever that one runs', async () => {
    findings = [finding()]
    await run(
      world,
      [
        entry({
          name: 'health',
          schedule: { kind: 'interval', everyMs: 86_400_000 },
          run: () => Promise.resolve({ outcome: 'succeeded', findings }),
        }),
      ],
      {
        connections: {
          ...world.connections,
          transaction: (unit, work) =>
            world.connections.transaction(unit, async (session) => {
              const result = await work(session)
              const { rows } = await session.db
                .withSchema('scheduler')
                .selectFrom('alert')
                .selectAll()
                .execute()
                .then((found) => ({ rows: found }))
              if (rows.length > 0) throw Object.assign(new Error('killed'), { code: 'test-gone' })
              return result
            }),
        },
      },
    )
    expect(await states()).toEqual([])
    findings = []
    await go({}, [
      entry({
        name: 'health',
        schedule: { kind: 'interval', everyMs: 86_400_000 },
        run: () => Promise.reject(new Error('must not run')),
      }),
    ])
    expect(provider.at('pager')).toEqual(['opened health/queue'])
  })
})
