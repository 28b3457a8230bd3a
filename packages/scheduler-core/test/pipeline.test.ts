import { randomUUID } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openConnections } from '@battlescope/database'
import { createTestDatabase } from '@battlescope/postgres-testing'
import type { ThirdPartyPackages } from '../src/third-party.js'
import type { Registry } from '../src/registry.js'
import { StateStore } from '../src/state/store.js'
import type { MetricBatch, MetricPoint } from '../src/metrics.js'
import { noTelemetry, type Telemetry } from '../src/telemetry.js'
import { createWorld, entry, notes, run, signalOf, writeNote, type World } from './support.js'

let world: World
beforeEach(async () => {
  world = await createWorld()
})
afterEach(() => world.close())

const hourly = { kind: 'interval', everyMs: 3_600_000 } as const
const one = <T>(rows: T[]): T | undefined => rows[0]

describe('a run', () => {
  it('runs what is due, records it, and finishes its slot', async () => {
    const task = entry({
      schedule: hourly,
      run: async (context) => {
        await writeNote(context, 'first')
        return { outcome: 'succeeded' }
      },
    })
    const report = await run(world, [task])
    expect(report.exitCode).toBe(0)
    expect(report.tasks[0]?.run).toMatchObject({ outcome: 'succeeded', attempts: 1, lostClaim: false })
    expect(await notes(world)).toEqual(['first'])
    const again = await run(world, [task])
    expect(again.tasks[0]).toMatchObject({ run: undefined, code: 'not-yet' })
    expect(await notes(world)).toEqual(['first'])
    expect(
      one(await world.database.query(`SELECT outcome, slot_id, action_count, error_code FROM scheduler.task_run`)),
    ).toMatchObject({
      outcome: 'succeeded',
      action_count: 1,
      error_code: null,
    })
    expect(one(await world.database.query(`SELECT kind, target, result, row_count FROM scheduler.action`))).toEqual({
      kind: 'write',
      target: 'public.effect',
      result: 'succeeded',
      row_count: '1',
    })
    // Node alone needs tens of MiB; the server they run on has less than a TiB.
    expect(
      await world.database.query(
        `SELECT peak_memory_bytes BETWEEN 10 * 1024 ^ 2 AND 1024 ^ 4 AS plausible FROM scheduler.task_run`,
      ),
    ).toEqual([{ plausible: true }])
    expect(await world.database.query(`SELECT exit_code FROM scheduler.run ORDER BY started_at`)).toEqual([
      { exit_code: 0 },
      { exit_code: 0 },
    ])
  })

  it('makes the schema at the first run, on a bare database', async () => {
    const database = await createTestDatabase()
    const connections = openConnections({ url: database.url, applicationName: 'battlescope-scheduler' })
    try {
      const report = await run({ database, connections, close: () => Promise.resolve() }, [
        entry({ run: () => Promise.resolve({ outcome: 'succeeded' }) }),
      ])
      expect(report.exitCode).toBe(0)
      expect(one(await database.query('SELECT outcome FROM scheduler.task_run'))).toEqual({ outcome: 'succeeded' })
    } finally {
      await connections.close()
      await database.drop()
    }
  })

  it('goes on with a partial slot in the next run, under the same slot id, with its checkpoint', async () => {
    const seen: unknown[] = []
    const task = entry({
      schedule: hourly,
      run: async (context) => {
        const cursor = (await context.checkpoint.load()) ?? { done: 0 }
        seen.push([context.slot.id, cursor.done])
        await context.act({ kind: 'write', target: 'public.effect' }, async ({ db, saveCheckpoint }) => {
          await db
            .insertInto('public.effect')
            .values({ note: `part ${cursor.done}` })
            .execute()
          await saveCheckpoint({ done: cursor.done + 1 })
        })
        return cursor.done < 1 ? { outcome: 'partial', remaining: 1 } : { outcome: 'succeeded' }
      },
    })
    expect((await run(world, [task])).tasks[0]?.run).toMatchObject({ outcome: 'partial', remaining: 1 })
    expect((await run(world, [task])).tasks[0]?.run).toMatchObject({ outcome: 'succeeded' })
    expect((await run(world, [task])).tasks[0]?.code).toBe('not-yet')
    const slot = (seen[0] as unknown[])[0]
    expect(seen).toEqual([
      [slot, 0],
      [slot, 1],
    ])
    expect(await notes(world)).toEqual(['part 0', 'part 1'])
  })

  it('rolls the checkpoint back together with the change', async () => {
    const task = entry({
      run: async (context) => {
        await context.act({ kind: 'write', target: 'public.effect' }, async ({ db, saveCheckpoint }) => {
          await saveCheckpoint({ done: 7 })
          await db.insertInto('public.effect').values({ note: 'gone' }).execute()
          throw new Error('after the write')
        })
        return { outcome: 'succeeded' }
      },
    })
    const report = await run(world, [task])
    expect(report.exitCode).toBe(1)
    expect(report.tasks[0]?.run).toMatchObject({ outcome: 'failed', reason: 'after the write' })
    expect(await notes(world)).toEqual([])
    expect(await world.database.query('SELECT * FROM scheduler.checkpoint')).toEqual([])
    expect(await world.database.query('SELECT result FROM scheduler.action')).toEqual([{ result: 'failed' }])
  })

  it('does not let one failing task stop the others, and goes on with it in the next run', async () => {
    let fails = true
    const bad = entry({
      name: 'bad',
      schedule: hourly,
      run: () => (fails ? Promise.reject(new Error('broken')) : Promise.resolve({ outcome: 'succeeded' })),
    })
    const good = entry({
      name: 'good',
      run: async (context) => {
        await writeNote(context, 'good')
        return { outcome: 'succeeded' }
      },
    })
    const report = await run(world, [bad, good])
    expect(report.exitCode).toBe(1)
    expect(await notes(world)).toEqual(['good'])
    fails = false
    const next = await run(world, [bad])
    expect(next.exitCode).toBe(0)
    expect(next.tasks[0]?.run?.outcome).toBe('succeeded')
  })

  it('backs off after the second failure in a row, up to an hour, and forgets it after a success', async () => {
    let fails = true
    const task = entry({
      run: () => (fails ? Promise.reject(new Error('broken')) : Promise.resolve({ outcome: 'succeeded' })),
    })
    await run(world, [task])
    expect((await run(world, [task])).tasks[0]?.run?.outcome).toBe('failed')
    const held = await run(world, [task])
    expect(held.tasks[0]).toMatchObject({ run: undefined, code: 'back-off' })
    expect(held.exitCode).toBe(0)
    const delays: number[] = []
    for (let failure = 3; failure <= 8; failure += 1) {
      await world.database.query(`UPDATE scheduler.task SET retry_at = now() - interval '1 second'`)
      await run(world, [task])
      const [row] = await world.database.query<{ seconds: number }>(
        `SELECT round(extract(epoch FROM retry_at - now()))::int AS seconds FROM scheduler.task`,
      )
      delays.push(Math.round((row?.seconds ?? 0) / 60))
    }
    expect(delays).toEqual([10, 20, 40, 60, 60, 60])
    await world.database.query(`UPDATE scheduler.task SET retry_at = now()`)
    fails = false
    await run(world, [task])
    expect(one(await world.database.query('SELECT consecutive_failures, retry_at FROM scheduler.task'))).toEqual({
      consecutive_failures: 0,
      retry_at: null,
    })
  })

  it('tries again inside the run what is transient by its SQLSTATE', async () => {
    let attempts = 0
    const task = entry({
      run: async (context) => {
        attempts += 1
        if (attempts < 3) throw Object.assign(new Error('x'), { code: '40P01' })
        await writeNote(context, `attempt ${attempts}`)
        return { outcome: 'succeeded' }
      },
    })
    expect((await run(world, [task])).tasks[0]?.run).toMatchObject({ outcome: 'succeeded', attempts: 3 })
    expect(await notes(world)).toEqual(['attempt 3'])
  })

  it('does not try again what is permanent', async () => {
    let attempts = 0
    const task = entry({
      run: () => {
        attempts += 1
        return Promise.reject(Object.assign(new Error('x'), { code: '23503' }))
      },
    })
    expect((await run(world, [task])).tasks[0]?.run).toMatchObject({
      outcome: 'failed',
      errorCode: '23503',
      attempts: 1,
    })
    expect(attempts).toBe(1)
  })

  it('times out a task that never returns, and starts the next', async () => {
    const hangs = entry({ name: 'hangs', timeoutMs: 100, run: () => new Promise(() => undefined) })
    const next = entry({
      name: 'next',
      run: async (context) => {
        await writeNote(context, 'next')
        return { outcome: 'succeeded' }
      },
    })
    const report = await run(world, [hangs, next], { abortGraceMs: 50 })
    expect(report.tasks[0]?.run).toMatchObject({ outcome: 'timed-out', abandoned: true })
    expect(await notes(world)).toEqual(['next'])
    expect(report.exitCode).toBe(1)
  })

  it('says of a task that is not due whether it is a third party, too', async () => {
    const task = entry({
      origin: { kind: 'package', specifier: '@acme/later' },
      schedule: { kind: 'cron', expression: '0 0 30 2 *' },
      run: () => Promise.resolve({ outcome: 'succeeded' }),
    })
    expect((await run(world, [task])).tasks).toMatchObject([{ code: 'not-yet', thirdParty: true }])
  })

  it('records a task that hangs inside its transactions, and starts the next', async () => {
    const hangs = entry({
      name: 'hangs',
      timeoutMs: 300,
      run: async (context) => {
        const hang = () =>
          context.act({ kind: 'write', target: 'public.effect' }, async ({ db }) => {
            await db.insertInto('public.effect').values({ note: 'hung' }).execute()
            await new Promise(() => undefined)
          })
        // As many as there are connections.
        await Promise.all([hang(), hang(), hang(), hang(), hang(), hang()])
        return { outcome: 'succeeded' }
      },
    })
    const next = entry({ name: 'next', run: () => Promise.resolve({ outcome: 'succeeded' }) })
    const report = await run(world, [hangs, next], { abortGraceMs: 50 })
    expect(report.tasks.map(({ run: taskRun }) => taskRun?.outcome)).toEqual(['timed-out', 'succeeded'])
    expect(await notes(world)).toEqual([])
    expect(await world.database.query(`SELECT outcome FROM scheduler.task_run WHERE task = 'hangs'`)).toEqual([
      { outcome: 'timed-out' },
    ])
  })

  it('stops what a task left behind unawaited, and records it at once', async () => {
    let left: Promise<unknown> = Promise.resolve()
    const task = entry({
      run: async (context) => {
        const begun = signalOf()
        left = context
          .act({ kind: 'write', target: 'public.effect' }, async ({ db }) => {
            await db.insertInto('public.effect').values({ note: 'left behind' }).execute()
            begun.reach()
            await db.selectNoFrom((e) => e.fn<string>('pg_sleep', [e.lit(30)]).as('slept')).execute()
          })
          .catch((error: unknown) => error)
        await begun.reached
        return { outcome: 'succeeded' }
      },
    })
    expect((await run(world, [task])).tasks[0]?.run?.outcome).toBe('succeeded')
    expect(await left).toMatchObject({ code: 'context-ended' })
    expect(await notes(world)).toEqual([])
  })

  it('cancels the statement of a timed-out task on the server', async () => {
    const task = entry({
      timeoutMs: 300,
      run: async (context) => {
        await context.act({ kind: 'wait', target: 'public.effect' }, async ({ db }) => {
          await db.selectNoFrom((e) => e.fn<string>('pg_sleep', [e.lit(30)]).as('slept')).execute()
        })
        return { outcome: 'succeeded' }
      },
    })
    expect((await run(world, [task])).tasks[0]?.run).toMatchObject({ outcome: 'timed-out', abandoned: false })
    expect(
      await world.database.query(
        `SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%pg_sleep%' AND state <> 'idle' AND pid <> pg_backend_pid()`,
      ),
    ).toEqual([])
  })

  it('lets nothing through a context whose run has ended', async () => {
    let late: (() => Promise<unknown>) | undefined
    const task = entry({
      run: (context) => {
        late = () => writeNote(context, 'late')
        return Promise.resolve({ outcome: 'succeeded' })
      },
    })
    await run(world, [task])
    await expect(late?.()).rejects.toMatchObject({ code: 'context-ended' })
    expect(await notes(world)).toEqual([])
  })

  it('refuses results that are none', async () => {
    for (const result of [
      undefined,
      {},
      { outcome: 'done' },
      { outcome: 'skipped' },
      { outcome: 'partial', remaining: -1 },
      { outcome: 'succeeded', findings: [{}] },
    ]) {
      const task = entry({ name: 'odd', run: () => Promise.resolve(result as never) })
      expect((await run(world, [task], { force: true })).tasks[0]?.run).toMatchObject({
        outcome: 'failed',
        errorCode: 'invalid-result',
      })
      await new StateStore(world.connections, 'scheduler').resume('odd')
    }
  })
})

describe('a dry run', () => {
  it('lists what a run would do, and leaves no trace, not even a schema', async () => {
    const database = await createTestDatabase()
    const connections = openConnections({ url: database.url, applicationName: 'battlescope-scheduler' })
    try {
      const task = entry({
        run: async (context) => {
          await writeNote(context, 'never')
          expect(await context.checkpoint.load()).toBeUndefined()
          await context.checkpoint.save({ done: 1 })
          return { outcome: 'succeeded' }
        },
      })
      const report = await run({ database, connections, close: () => Promise.resolve() }, [task], { dryRun: true })
      expect(report.tasks[0]?.run?.actions).toEqual([
        { kind: 'write', target: 'public.effect', via: 'transaction', reason: 'never' },
      ])
      expect(await database.query(`SELECT nspname FROM pg_namespace WHERE nspname = 'scheduler'`)).toEqual([])
    } finally {
      await connections.close()
      await database.drop()
    }
  })

  it('refuses writing clients and statements that are no reads', async () => {
    const task = entry({
      requires: { clients: ['http'] },
      run: async (context) => {
        await context.db.insertInto('public.effect').values({ note: 'x' }).execute()
        return { outcome: 'succeeded' }
      },
    })
    const report = await run(world, [task], { dryRun: true })
    expect(report.tasks[0]?.run).toMatchObject({ outcome: 'failed', errorCode: 'not-a-read' })
    expect(await notes(world)).toEqual([])
  })
})

describe('stopping', () => {
  it('starts nothing new after the first signal, and lets the running task come to its border', async () => {
    const stop = new AbortController()
    const first = entry({
      name: 'a',
      run: (context) => {
        stop.abort('SIGTERM')
        return Promise.resolve(context.budget.exhausted() ? { outcome: 'partial' } : { outcome: 'succeeded' })
      },
    })
    const second = entry({ name: 'b', run: () => Promise.resolve({ outcome: 'succeeded' }) })
    const report = await run(world, [first, second], { stop: stop.signal })
    expect(report.tasks[0]?.run?.outcome).toBe('partial')
    expect(report.tasks[1]).toMatchObject({ run: undefined, code: 'stopped' })
    expect(report).toMatchObject({ exitCode: 143, stoppedBy: 'SIGTERM' })
  })

  it('aborts at the second signal, commits nothing of the open transaction, and frees the claim', async () => {
    const hardStop = new AbortController()
    const task = entry({
      schedule: hourly,
      run: async (context) => {
        await context.act({ kind: 'write', target: 'public.effect' }, async ({ db }) => {
          await db.insertInto('public.effect').values({ note: 'half' }).execute()
          hardStop.abort()
          await db.selectNoFrom((e) => e.fn<string>('pg_sleep', [e.lit(30)]).as('slept')).execute()
        })
        return { outcome: 'succeeded' }
      },
    })
    const report = await run(world, [task], { hardStop: hardStop.signal })
    expect(report.tasks[0]?.run?.outcome).toBe('cancelled')
    expect(await notes(world)).toEqual([])
    expect(
      one(await world.database.query('SELECT ticket, consecutive_failures, last_slot_at FROM scheduler.task')),
    ).toEqual({
      ticket: null,
      consecutive_failures: 0,
      last_slot_at: null,
    })
  })

  it('leaves alone what does not fit into the budget', async () => {
    const report = await run(world, [entry({ run: () => Promise.resolve({ outcome: 'succeeded' }) })], {
      budgetMs: 100,
    })
    expect(report.tasks[0]).toMatchObject({ run: undefined, code: 'no-budget' })
    expect(report.exitCode).toBe(0)
  })
})

describe('claims', () => {
  it('let exactly one of two runs have the task', async () => {
    const inside = signalOf()
    const leave = signalOf()
    const task = entry({
      schedule: hourly,
      run: async () => {
        inside.reach()
        await leave.reached
        return { outcome: 'succeeded' }
      },
    })
    const first = run(world, [task])
    await inside.reached
    const second = await run(world, [task])
    expect(second.tasks[0]).toMatchObject({ run: undefined, code: 'claimed' })
    expect(second.exitCode).toBe(0)
    expect((await run(world, [task], { only: ['work'] })).exitCode).toBe(75)
    leave.reach()
    expect((await first).tasks[0]?.run?.outcome).toBe('succeeded')
  })

  it('that were lost let nothing more be committed, and leave the record to whoever took over', async () => {
    const taken = signalOf()
    const goOn = signalOf()
    const paused = entry({
      schedule: hourly,
      run: async (context) => {
        await writeNote(context, 'before')
        taken.reach()
        await goOn.reached
        await writeNote(context, 'after')
        return { outcome: 'succeeded' }
      },
    })
    const first = run(world, [paused])
    await taken.reached
    await world.database.query(`UPDATE scheduler.claim SET expires_at = now() - interval '1 second'`)
    const second = await run(world, [
      entry({
        schedule: hourly,
        run: async (context) => {
          await writeNote(context, 'other')
          return { outcome: 'succeeded' }
        },
      }),
    ])
    expect(second.tasks[0]?.run?.outcome).toBe('succeeded')
    goOn.reach()
    const lost = await first
    expect(lost.tasks[0]?.run).toMatchObject({ outcome: 'failed', lostClaim: true, errorCode: 'lost-claim' })
    expect(lost.exitCode).toBe(1)
    expect(await notes(world)).toEqual(['before', 'other'])
    expect(await world.database.query('SELECT outcome, error_code FROM scheduler.task_run ORDER BY id')).toEqual([
      { outcome: 'failed', error_code: 'claim-expired' },
      { outcome: 'succeeded', error_code: null },
    ])
  })

  it('cannot be taken over while a transaction of their holder is open', async () => {
    const inside = signalOf()
    const goOn = signalOf()
    const task = entry({
      schedule: hourly,
      run: async (context) => {
        await context.act({ kind: 'write', target: 'public.effect' }, async ({ db }) => {
          await db.insertInto('public.effect').values({ note: 'first' }).execute()
          inside.reach()
          await goOn.reached
        })
        return { outcome: 'succeeded' }
      },
    })
    const first = run(world, [task])
    await inside.reached
    await world.database.query(`UPDATE scheduler.claim SET expires_at = now() - interval '1 second'`)
    const second = await run(world, [task])
    expect(second.tasks[0]?.run).toBeUndefined()
    goOn.reach()
    expect((await first).tasks[0]?.run?.outcome).toBe('succeeded')
    expect(await notes(world)).toEqual(['first'])
  })

  it('that expired count as failures, and pause a third-party task after five in a row', async () => {
    const store = new StateStore(world.connections, 'scheduler')
    const plugin = entry({
      name: 'plugin',
      origin: { kind: 'package', specifier: '@acme/plugin' },
      run: () => Promise.resolve({ outcome: 'succeeded' }),
    })
    await store.registerTasks([{ name: 'plugin', thirdParty: true }])
    for (let expiry = 1; expiry <= 5; expiry += 1) {
      const state = await store.readState()
      const claimed = await store.claim({
        task: 'plugin',
        revision: state.tasks.get('plugin')?.revision ?? '',
        ticket: `00000000-0000-4000-8000-00000000000${expiry}`,
        runId: '00000000-0000-4000-8000-000000000000',
        slotId: `plugin@${expiry}`,
        scheduledAt: state.now,
        holder: 'test',
        usesDirect: false,
        durationMs: 1,
      })
      expect(claimed).toBeInstanceOf(Date)
      await world.database.query(`UPDATE scheduler.claim SET expires_at = now() - interval '1 second'`)
      expect(await store.freeExpiredClaims()).toHaveLength(1)
      expect(await store.freeExpiredClaims()).toHaveLength(0)
    }
    const report = await run(world, [plugin])
    expect(report.tasks[0]).toMatchObject({ run: undefined, code: 'paused' })
    expect(report.tasks[0]?.reason).toContain('expired 5 times in a row')
    await store.resume('plugin')
    expect((await run(world, [plugin])).tasks[0]?.run?.outcome).toBe('succeeded')
  })

  it('are renewed while a task runs longer than a third of them', async () => {
    const renewed = signalOf()
    const task = entry({
      timeoutMs: 900,
      run: async () => {
        await renewed.reached
        return { outcome: 'succeeded' }
      },
    })
    const running = run(world, [task], { graceMs: 0 })
    for (let seen = false; !seen;) {
      const [row] = await world.database.query<{ renewed: boolean }>(
        'SELECT bool_or(renewed_at > claimed_at) AS renewed FROM scheduler.claim',
      )
      seen = row?.renewed === true
    }
    renewed.reach()
    expect((await running).tasks[0]?.run?.outcome).toBe('succeeded')
  })
})

describe('pause, resume and release', () => {
  it('stop a task, let it go on, and free a stuck claim', async () => {
    const store = new StateStore(world.connections, 'scheduler')
    const task = entry({ run: () => Promise.resolve({ outcome: 'succeeded' }) })
    await run(world, [task])
    await store.pause('work', undefined, 'by hand')
    expect((await run(world, [task], { force: true })).tasks[0]).toMatchObject({ code: 'paused' })
    await store.resume('work')
    expect((await run(world, [task])).tasks[0]?.run?.outcome).toBe('succeeded')
    expect(await store.release('work')).toBeUndefined()
  })

  it('end a pause at its date', async () => {
    const store = new StateStore(world.connections, 'scheduler')
    const task = entry({ run: () => Promise.resolve({ outcome: 'succeeded' }) })
    await run(world, [task])
    await store.pause('work', new Date(Date.UTC(2020, 1, 1)), 'long ago')
    expect((await run(world, [task])).tasks[0]?.run?.outcome).toBe('succeeded')
  })
})

function packages(load: Record<string, () => Promise<Registry>>): ThirdPartyPackages {
  return {
    specifiers: Object.keys(load),
    load: (specifier) => load[specifier]?.() ?? Promise.reject(new Error(specifier)),
    unclaimedOptions: () => [],
  }
}

describe('third-party tasks', () => {
  it('are loaded after the built-in ones were recorded', async () => {
    const order: string[] = []
    const builtIn = entry({
      name: 'built-in',
      run: () => {
        order.push('built-in')
        return Promise.resolve({ outcome: 'succeeded' })
      },
    })
    const plugin = entry({
      name: 'plugin',
      origin: { kind: 'package', specifier: 'p' },
      run: () => {
        order.push('plugin')
        return Promise.resolve({ outcome: 'succeeded' })
      },
    })
    const report = await run(world, [builtIn], {
      thirdParty: packages({
        p: async () => {
          order.push(`load, ${(await world.database.query('SELECT 1 FROM scheduler.task_run')).length} recorded`)
          return { tasks: [plugin], disabled: [] }
        },
        '@acme/absent': () =>
          Promise.resolve({ tasks: [], disabled: [{ name: '@acme/absent', reason: 'is not installed' }] }),
      }),
    })
    expect(order).toEqual(['built-in', 'load, 1 recorded', 'plugin'])
    expect(report.exitCode).toBe(1)
    expect(report.disabled).toHaveLength(1)
    expect(await world.database.query('SELECT 1 FROM scheduler.claim')).toEqual([])
  })

  it('whose import ends the process come last in the next run, rest, and are paused after five in a row', async () => {
    const order: string[] = []
    const none = { tasks: [], disabled: [] }
    const thirdParty = packages({
      broken: () => {
        order.push('broken')
        return Promise.resolve(none)
      },
      good: () => {
        order.push('good')
        return Promise.resolve(none)
      },
    })
    const endsTheProcess = async () => {
      const store = new StateStore(world.connections, 'scheduler')
      await world.database.query(`UPDATE scheduler.task SET retry_at = NULL WHERE name = 'npm:broken'`)
      await store.claimPackage({ row: 'npm:broken', runId: randomUUID(), holder: 'gone', durationMs: 0 })
      await store.freeExpiredClaims()
    }
    await endsTheProcess()
    expect((await run(world, [], { thirdParty })).disabled).toEqual([])
    expect(order).toEqual(['good', 'broken'])

    for (let ended = 0; ended < 2; ended += 1) await endsTheProcess()
    const resting = await run(world, [], { thirdParty })
    expect(resting.disabled).toMatchObject([{ name: 'broken', reason: expect.stringContaining('2 imports in a row') }])
    for (let ended = 0; ended < 3; ended += 1) await endsTheProcess()
    const paused = await run(world, [], { thirdParty })
    expect(paused.disabled).toMatchObject([{ name: 'broken', hint: expect.stringContaining('resume npm:broken') }])
    expect(paused.exitCode).toBe(1)
    expect(order).toEqual(['good', 'broken', 'good', 'good'])
  })

  it('that are asked for by a name that no package has are refused', async () => {
    const thirdParty = packages({ p: () => Promise.resolve({ tasks: [], disabled: [] }) })
    await expect(run(world, [], { thirdParty, only: ['nobody'] })).rejects.toMatchObject({ code: 'unknown-task' })
  })
})

describe('totals and metrics', () => {
  it('grow over runs, bucket by bucket, and exist at zero before their first event', async () => {
    const task = entry({
      run: (context) => {
        context.metrics.count('things', 2)
        context.metrics.count('things', 3)
        context.metrics.gauge('backlog', 9, { kind: 'a' })
        return Promise.resolve({ outcome: 'succeeded' })
      },
    })
    await run(world, [task])
    await run(world, [task])
    const { taskTotals, taskMetrics, runs } = await new StateStore(world.connections, 'scheduler').selectMetricRows()
    expect(taskTotals).toHaveLength(6)
    const succeeded = taskTotals.find(({ outcome }) => outcome === 'succeeded')
    expect(succeeded?.runs).toBe(2)
    expect(succeeded?.counts.reduce((a, b) => a + b)).toBe(2)
    expect(taskTotals.find(({ outcome }) => outcome === 'failed')?.runs).toBe(0)
    expect(taskMetrics.map(({ name, value, attributes }) => [name, value, attributes])).toEqual([
      ['backlog', 9, { kind: 'a' }],
      ['things', 10, {}],
    ])
    expect(runs.map(({ exitCode, runs: count }) => [exitCode, count])).toEqual([
      [0, 2],
      [1, 0],
      [75, 0],
      [80, 0],
      [130, 0],
      [143, 0],
    ])
  })

  it('are sent at the end, and before the first package that could hang the process', async () => {
    const batches: MetricBatch[] = []
    const order: string[] = []
    const telemetry: Telemetry = {
      ...noTelemetry,
      sendMetrics: (batch) => {
        order.push('sent')
        batches.push(batch)
        return Promise.resolve()
      },
    }
    const task = (name: string) =>
      entry({
        name,
        schedule: { kind: 'interval', everyMs: 3_600_000 },
        run: () => {
          order.push(name)
          return Promise.resolve({ outcome: 'succeeded' })
        },
      })
    const thirdParty = packages({ p: () => Promise.resolve({ tasks: [task('theirs')], disabled: [] }) })
    await run(world, [task('ours')], { telemetry, thirdParty })
    expect(order).toEqual(['ours', 'sent', 'theirs', 'sent'])
    const [first, last] = batches
    expect(last?.instanceId).toBe(first?.instanceId)
    const values = (batch: MetricBatch | undefined, name: string) =>
      batch?.metrics
        .filter((metric) => metric.name === name)
        .flatMap(({ points }): readonly MetricPoint[] => points)
        .map((point) => [point.attributes['task'], 'value' in point ? point.value : point.count])
    expect(values(first, 'scheduler.task.duration')).toEqual([['ours', 1]])
    expect(values(last, 'scheduler.task.duration')).toEqual([
      ['ours', 1],
      ['theirs', 1],
    ])
    expect(values(last, 'scheduler.tasks.completed')).toEqual([[undefined, 2]])
    expect(values(last, 'scheduler.errors')).toEqual([
      ['ours', 0],
      ['theirs', 0],
    ])
    const due = values(last, 'scheduler.task.next_due_timestamp')
    expect(due?.map(([name]) => name)).toEqual(['ours', 'theirs'])
    for (const [, at] of due ?? []) expect(Number(at) * 1000).toBeGreaterThan(last?.at.getTime() ?? Infinity)
  })

  it('that nobody wants are not read, nor sent by a dry run', async () => {
    let sent = 0
    const telemetry: Telemetry = {
      ...noTelemetry,
      sendMetrics: () => {
        sent += 1
        return Promise.resolve()
      },
    }
    await run(world, [entry({ run: () => Promise.resolve({ outcome: 'succeeded' }) })], { telemetry, dryRun: true })
    expect(sent).toBe(0)
  })
})

describe('history', () => {
  it('is kept for its retention period, and each task keeps its newest run', async () => {
    const task = entry({
      run: async (context) => {
        await writeNote(context, 'x')
        return { outcome: 'succeeded' }
      },
    })
    await run(world, [task])
    await run(world, [task])
    await world.database.query(`UPDATE scheduler.task_run SET finished_at = now() - interval '100 days'; `)
    await world.database.query(`UPDATE scheduler.run SET started_at = now() - interval '100 days'`)
    await world.database.query(`UPDATE scheduler.action SET at = now() - interval '100 days'`)
    await world.database.query(`UPDATE scheduler.meta SET history_pruned_at = now() - interval '2 hours'`)
    await run(world, [])
    expect(await world.database.query('SELECT 1 FROM scheduler.task_run')).toHaveLength(1)
    expect(await world.database.query('SELECT 1 FROM scheduler.run')).toHaveLength(1)
    expect(await world.database.query('SELECT 1 FROM scheduler.action')).toHaveLength(2)
  })
})
