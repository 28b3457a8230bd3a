/** What a run must survive: odd values, clients that hang, tables of another version, sessions that outlived their process. */
import { openConnections, type DatabaseConnections } from '@battlescope/database'
import { createTestDatabase, createTestRole } from '@battlescope/postgres-testing'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { z } from 'zod'
import type { AnyTask } from '../src/task.js'
import { registerTask } from '../src/registry.js'
import { migrate, schemaVersion } from '../src/state/migrate.js'
import { migrations } from '../src/state/migrations.js'
import { StateStore } from '../src/state/store.js'
import { createWorld, entry, notes, run, signalOf, writeNote, type World } from './support.js'

let world: World
beforeEach(async () => {
  world = await createWorld()
})
afterEach(async () => {
  await world.close()
})

const succeeds = () => Promise.resolve({ outcome: 'succeeded' } as const)

describe('odd values from a task', () => {
  it.each([
    ['a fraction of a backlog', { outcome: 'partial', remaining: 0.5 } as const],
    ['a backlog beyond what numbers count', { outcome: 'partial', remaining: 1e300 } as const],
  ])('%s fails that task alone', async (_, result) => {
    const report = await run(world, [
      entry({ name: 'odd', run: () => Promise.resolve(result) }),
      entry({ name: 'other', run: succeeds }),
    ])
    expect(report.tasks.map(({ name, run: ran }) => [name, ran?.outcome, ran?.errorCode])).toEqual([
      ['odd', 'failed', 'invalid-result'],
      ['other', 'succeeded', undefined],
    ])
  })

  it('are stored in a form that PostgreSQL accepts', async () => {
    const half = '\ud83d'
    const task = entry({
      run: async (context) => {
        await context.act({ kind: 'write', target: `t\0${half}`, reason: `r\0${half}` }, async () => ({
          rows: 1.5,
          details: { [`k\0`]: [`v${half}`, { deep: '\0' }] },
        }))
        context.metrics.count('odd', 1, { label: `l\0${half}` })
        return {
          outcome: 'skipped',
          reason: `why\0${half}`,
          findings: [{ key: `f\0`, severity: 'info', summary: `${'x'.repeat(498)}😀😀`, details: { text: half } }],
        }
      },
    })
    const report = await run(world, [task])
    expect(report.exitCode).toBe(0)
    const [row] = await world.database.query<{ reason: string; findings: { summary: string }[] }>(
      'SELECT reason, findings FROM scheduler.task_run',
    )
    expect(row?.reason).toBe('why\ufffd\ufffd')
    // 500 characters end in the middle of an emoji.
    expect(row?.findings[0]?.summary).not.toMatch(
      /[\ud800-\udfff](?![\udc00-\udfff])(?<![\ud800-\udbff][\udc00-\udfff])/,
    )
    expect(await world.database.query('SELECT target, row_count, details FROM scheduler.action')).toEqual([
      { target: 't\ufffd\ufffd', row_count: null, details: { 'k\ufffd': ['v\ufffd', { deep: '\ufffd' }] } },
    ])
  })

  it('keep an error with such a message from ending the run', async () => {
    const report = await run(world, [
      entry({ name: 'odd', run: () => Promise.reject(new Error('a\0b')) }),
      entry({ name: 'other', run: succeeds }),
    ])
    expect(report.tasks.map(({ run: ran }) => ran?.reason)).toEqual(['a\ufffdb', undefined])
    expect(await world.database.query('SELECT 1 FROM scheduler.run')).toHaveLength(1)
  })

  it('that the server refuses all the same leave a short record', async () => {
    await world.database.query(`ALTER TABLE scheduler.task_run ADD CHECK (reason IS DISTINCT FROM 'refuse me')`)
    const report = await run(world, [
      entry({ name: 'odd', run: () => Promise.resolve({ outcome: 'skipped', reason: 'refuse me' }) }),
      entry({ name: 'other', run: succeeds }),
    ])
    expect(report.tasks.map(({ run: ran }) => ran?.outcome)).toEqual(['failed', 'succeeded'])
    expect(await world.database.query(`SELECT error_code FROM scheduler.task_run WHERE task = 'odd'`)).toEqual([
      { error_code: 'invalid-result' },
    ])
    expect(await world.database.query('SELECT 1 FROM scheduler.claim')).toEqual([])
  })

  it('lose their secrets before they are recorded', async () => {
    const task = entry({
      run: async (context) => {
        await context.act({ kind: 'write', target: 't', reason: 'with hunter2' }, () => Promise.resolve())
        throw new Error('refused: hunter2')
      },
    })
    await run(world, [task], { scrub: (text) => text.replaceAll('hunter2', '***') })
    const rows = await world.database.query<{ text: string }>(
      `SELECT t::text AS text FROM scheduler.task_run t UNION ALL SELECT a::text FROM scheduler.action a`,
    )
    expect(rows).toHaveLength(2)
    for (const { text } of rows) {
      expect(text).not.toContain('hunter2')
      expect(text).toContain('***')
    }
  })
})

describe('clients', () => {
  it('that never open cost the task its timeout, and the run nothing more', async () => {
    const report = await run(
      world,
      [
        entry({
          name: 'hangs',
          timeoutMs: 200,
          requires: { clients: ['http'] },
          run: async (context) => {
            await context.client('http')
            return { outcome: 'succeeded' }
          },
        }),
        entry({ name: 'other', run: succeeds }),
      ],
      { clients: { http: () => new Promise(() => undefined) }, abortGraceMs: 50 },
    )
    expect(report.tasks.map(({ run: ran }) => ran?.outcome)).toEqual(['timed-out', 'succeeded'])
  })

  it('hear of the task and of its stop', async () => {
    const heard: unknown[] = []
    const task = entry({
      timeoutMs: 100,
      requires: { clients: ['http'] },
      run: async (context) => {
        expect(context.hasClient('http')).toBe(true)
        await context.client('http')
        return { outcome: 'succeeded' }
      },
    })
    await run(world, [task], {
      clients: {
        http: ({ task: name, signal }) =>
          new Promise((_, reject) => {
            signal.addEventListener('abort', () => {
              heard.push(name)
              reject(signal.reason as Error)
            })
          }),
      },
    })
    expect(heard).toEqual(['work'])
  })

  it('are not there for a task that did not declare them', async () => {
    let has: boolean | undefined
    const task = entry({
      run: (context) => {
        has = context.hasClient('http')
        return succeeds()
      },
    })
    await run(world, [task], { clients: { http: () => Promise.reject(new Error('not asked for')) } })
    expect(has).toBe(false)
  })
})

describe('the direct connection', () => {
  it('is refused to a task that did not declare it', async () => {
    const task = entry({
      run: async (context) => {
        await context.act({ kind: 'vacuum', target: 't', via: 'direct' }, () => Promise.resolve())
        return { outcome: 'succeeded' }
      },
    })
    const report = await run(world, [task])
    expect(report.tasks[0]?.run).toMatchObject({
      outcome: 'failed',
      errorCode: 'client-unavailable',
      hint: 'let its requires() return direct: true',
    })
    expect(await world.database.query('SELECT 1 FROM scheduler.action')).toEqual([])
  })

  it('of a process that is frozen does not keep the claim for ever', async () => {
    const ticket = '11111111-2222-4333-8444-555555555555'
    await run(world, [entry({ run: succeeds })])
    const frozen = await idleSession(ticket)
    await expiredClaim(ticket, true)
    // The first run ends the session; whether it is gone in time for the same run is the server's affair.
    await run(world, [entry({ run: succeeds })])
    await gone(ticket)
    const report = await run(world, [entry({ run: succeeds })])
    expect(report.tasks[0]?.run?.outcome).toBe('succeeded')
    await frozen.close()
  })

  it('of another role keeps its claim, and the run goes on', async () => {
    const ticket = '11111111-2222-4333-8444-666666666666'
    const weak = await createTestRole(world.database)
    await run(world, [entry({ run: succeeds })])
    await expiredClaim(ticket, true)
    await world.database.query(
      `GRANT USAGE ON SCHEMA scheduler TO ${weak.name}; GRANT ALL ON ALL TABLES IN SCHEMA scheduler TO ${weak.name}; GRANT ALL ON ALL SEQUENCES IN SCHEMA scheduler TO ${weak.name}`,
    )
    const owner = await idleSession(ticket)
    const connections = openConnections({ url: weak.url, applicationName: 'battlescope-scheduler', maxConnections: 4 })
    try {
      const report = await run({ ...world, connections }, [
        entry({ run: succeeds }),
        entry({ name: 'other', run: succeeds }),
      ])
      expect(report.tasks.map(({ code, run: ran }) => ran?.outcome ?? code).sort()).toEqual(['claimed', 'succeeded'])
    } finally {
      await connections.close()
      await owner.close()
    }
  })

  async function idleSession(ticket: string): Promise<DatabaseConnections> {
    const session = openConnections({ url: world.database.url, applicationName: `x:${ticket}` })
    await session.probe()
    return session
  }

  async function gone(ticket: string): Promise<void> {
    for (;;) {
      const rows = await world.database.query(
        `SELECT 1 FROM pg_stat_activity WHERE right(application_name, 36) = '${ticket}'`,
      )
      if (rows.length === 0) return
    }
  }
})

async function expiredClaim(ticket: string, usesDirect: boolean): Promise<void> {
  await world.database.query(`UPDATE scheduler.task SET ticket = '${ticket}' WHERE name = 'work'`)
  await world.database.query(
    `INSERT INTO scheduler.claim (ticket, task, run_id, slot_id, slot_at, holder, uses_direct, claimed_at, expires_at)
     VALUES ('${ticket}', 'work', gen_random_uuid(), 'work@x', now() - interval '1 min', 'gone', ${usesDirect},
       now() - interval '1 min', now() - interval '1 s')`,
  )
}

describe('totals', () => {
  it('count a claim that expired in the histogram, too, and every run', async () => {
    await run(world, [entry({ run: succeeds })])
    await expiredClaim('11111111-2222-4333-8444-777777777777', false)
    await run(world, [entry({ run: succeeds })])
    const totals = await world.database.query<{ outcome: string; runs: string; counted: string }>(
      `SELECT outcome, run_count::text AS runs, (SELECT sum(n) FROM unnest(bucket_counts) n)::text AS counted
       FROM scheduler.task_total WHERE run_count > 0 ORDER BY outcome`,
    )
    expect(totals).toEqual([
      { outcome: 'failed', runs: '1', counted: '1' },
      { outcome: 'succeeded', runs: '2', counted: '2' },
    ])
    expect(
      await world.database.query(
        `SELECT exit_code, run_count::int AS runs, (SELECT sum(n)::int FROM unnest(bucket_counts) n) AS counted FROM scheduler.run_total WHERE run_count > 0`,
      ),
    ).toEqual([{ exit_code: 0, runs: 2, counted: 2 }])
  })

  it('keep what an attempt committed before it was tried again', async () => {
    let attempts = 0
    const task = entry({
      run: async (context) => {
        attempts += 1
        await writeNote(context, `attempt ${attempts}`)
        context.metrics.count('notes', 10)
        if (attempts === 1) throw Object.assign(new Error('deadlock detected'), { code: '40P01' })
        return { outcome: 'succeeded' }
      },
    })
    const report = await run(world, [task])
    expect(await notes(world)).toEqual(['attempt 1', 'attempt 2'])
    expect(report.tasks[0]?.run?.actions).toHaveLength(2)
    expect(await world.database.query('SELECT action_count FROM scheduler.task_run')).toEqual([{ action_count: 2 }])
    expect(await world.database.query('SELECT value FROM scheduler.task_metric')).toEqual([{ value: 20 }])
  })
})

describe('tables of another version', () => {
  const withSchema = async (steps: readonly string[], test: (bare: World) => Promise<void>) => {
    const database = await createTestDatabase()
    const connections = openConnections({ url: database.url, applicationName: 'battlescope-scheduler' })
    try {
      await migrate(connections, 'scheduler', { migrations: steps })
      await test({ database, connections, close: () => Promise.resolve() })
    } finally {
      await connections.close()
      await database.drop()
    }
  }

  it('are refused when they are newer, although a column that we read has gone', async () => {
    await withSchema(
      [...migrations, 'ALTER TABLE {schema}.task RENAME COLUMN consecutive_failures TO failures'],
      async (newer) => {
        await expect(run(newer, [entry({ run: succeeds })])).rejects.toMatchObject({ code: 'schema-newer' })
        await expect(run(newer, [entry({ run: succeeds })], { dryRun: true })).rejects.toMatchObject({
          code: 'schema-newer',
        })
      },
    )
  })

  it('are migrated when they are older, and what they held is kept', async () => {
    await withSchema(migrations.slice(0, 1), async (older) => {
      await older.database.query(
        `INSERT INTO scheduler.task (name, paused_at, pause_reason, consecutive_failures) VALUES ('work', now(), 'before', 3)`,
      )
      const plan = await run(older, [entry({ run: succeeds })], { dryRun: true })
      expect(plan.tasks).toHaveLength(1)
      expect(await older.database.query('SELECT schema_version FROM scheduler.meta')).toEqual([{ schema_version: 1 }])
      const report = await run(older, [entry({ run: succeeds })])
      expect(report.tasks[0]).toMatchObject({ code: 'paused', reason: 'paused: before' })
      expect(await older.database.query('SELECT schema_version FROM scheduler.meta')).toEqual([
        { schema_version: schemaVersion },
      ])
    })
  })
})

describe('commands on a task that is running', () => {
  it('pause it at once, and tell that a claim is in use', async () => {
    const store = new StateStore(world.connections, 'scheduler')
    const inside = signalOf()
    const leave = signalOf()
    const task = entry({
      run: async (context) => {
        await context.act({ kind: 'hold', target: 't' }, async () => {
          inside.reach()
          await leave.reached
        })
        return { outcome: 'succeeded' }
      },
    })
    const running = run(world, [task])
    await inside.reached
    await store.pause('work', undefined, 'by hand')
    await expect(store.release('work')).rejects.toMatchObject({ code: 'claim-in-use', exitCode: 75 })
    await store.resume('work')
    await store.pause('work', undefined, 'again')
    leave.reach()
    expect((await running).tasks[0]?.run?.outcome).toBe('succeeded')
    expect((await run(world, [task])).tasks[0]).toMatchObject({ code: 'paused', reason: 'paused: again' })
  })
})

describe('requests', () => {
  const asked: unknown[] = []
  const definition = {
    ...entry({ schedule: { kind: 'cron', expression: '0 2 * * *' }, run: succeeds }).task,
    requestSchema: z.object({ from: z.string(), days: z.number().default(1) }),
    run: (context: { request: unknown }) => {
      asked.push(context.request)
      return succeeds()
    },
  } as AnyTask
  const task = registerTask(definition, { kind: 'built-in' }, { config: {} })

  it('reach the task in a run of its own, beside the schedule, and finish no slot', async () => {
    const report = await run(world, [task, entry({ name: 'other', run: succeeds })], {
      requests: { work: { from: '2020-01' } },
    })
    expect(asked).toEqual([{ from: '2020-01', days: 1 }])
    expect(report.tasks.map(({ name, run: ran, code }) => [name, ran?.outcome ?? code])).toEqual([
      ['work', 'succeeded'],
      ['other', 'not-selected'],
    ])
    expect(await world.database.query(`SELECT last_slot_at FROM scheduler.task WHERE name = 'work'`)).toEqual([
      { last_slot_at: null },
    ])
  })

  it('are refused when they do not fit, or nobody takes them', async () => {
    await expect(run(world, [task], { requests: { work: { days: 'x' } } })).rejects.toMatchObject({ code: 'usage' })
    await expect(run(world, [task], { requests: { nobody: {} } })).rejects.toMatchObject({ code: 'unknown-task' })
    await expect(run(world, [entry({ run: succeeds })], { requests: { work: {} } })).rejects.toMatchObject({
      code: 'usage',
    })
  })
})
