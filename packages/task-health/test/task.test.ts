/** The framework: what a run does with checks, whatever they look at. */
import { createTestDatabase, type TestDatabase } from '@battlescope/scheduler-testing'
import { sql } from 'kysely'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { defineCheck, measured, type AnyCheck, type CheckContext } from '../src/check.js'
import { gauges, lines, runHealth } from './run.js'

let database: TestDatabase
beforeAll(async () => {
  database = await createTestDatabase()
  await database.query('CREATE TABLE public.numbers (n int)')
})
afterAll(() => database.drop())
beforeEach(() => database.query('DROP SCHEMA IF EXISTS scheduler CASCADE; TRUNCATE public.numbers'))

const base = {
  group: 'queues',
  description: 'For tests.',
  interval: 'every-run',
  severity: 'warning',
  holdDownMs: 0,
  options: {},
  hint: 'none',
} as const

/** Finds what `read` returns, when it is text. */
function checkOf(
  key: string,
  read: (context: CheckContext) => Promise<string | undefined>,
  change: Partial<AnyCheck> = {},
): AnyCheck {
  return {
    ...base,
    key,
    read: async (context: CheckContext) => measured(await read(context)),
    judge: (text: string | undefined) => (text === undefined ? [] : [{ summary: text }]),
    ...change,
  }
}
const fine = checkOf('fine', () => Promise.resolve(undefined))

describe('checks beside each other', () => {
  it('makes the others when one throws, one hangs and one is too slow for its statement', async () => {
    const checks = [
      checkOf('throws', () => Promise.reject(new Error('broken'))),
      checkOf('hangs', () => new Promise(() => undefined), { timeoutMs: 20 }),
      checkOf('slow', async ({ db }) => {
        await sql`SELECT pg_sleep(60)`.execute(db)
        return undefined
      }),
      checkOf('finds', () => Promise.resolve('three things')),
      fine,
    ]
    const run = await runHealth(database, { checks })
    expect(run.outcome).toBe('succeeded')
    expect(lines(run)).toEqual([
      'warning throws:unknown: throws is unknown: broken',
      'warning hangs:unknown: hangs is unknown: it took longer than 20 ms',
      'warning slow:unknown: slow is unknown: a statement took longer than one second and was cancelled',
      'warning finds: three things',
    ])
    expect(await gauges(database)).toMatchObject({ 'checks.ok': 1, 'checks.found': 1, 'checks.unknown': 3 })
  })

  it('is unknown, too, when its judgement throws', async () => {
    const judge = () => {
      throw new Error('our bug')
    }
    const run = await runHealth(database, { checks: [{ ...fine, judge } as AnyCheck] })
    expect(lines(run)).toEqual(['warning fine:unknown: fine is unknown: our bug'])
  })

  it('holds no more connections than it may: two for checks of the database', async () => {
    let open = 0
    let most = 0
    const busy = async ({ db }: CheckContext) => {
      open += 1
      most = Math.max(most, open)
      await sql`SELECT count(*) FROM pg_catalog.pg_class`.execute(db)
      open -= 1
      return undefined
    }
    const checks = Array.from({ length: 9 }, (_, index) => checkOf(`busy-${index}`, busy))
    await runHealth(database, { checks })
    expect(most).toBe(2)
    await runHealth(database, { checks, options: { checkConcurrency: 1 } })
    expect(most).toBe(2)
  })

  it('cannot write', async () => {
    const writes = checkOf('writes', async ({ db }) => {
      await sql`INSERT INTO public.numbers VALUES (1)`.execute(db)
      return undefined
    })
    const run = await runHealth(database, { checks: [writes] })
    expect(lines(run)[0]).toMatch(/^warning writes:unknown: /)
    expect(await database.query('SELECT * FROM public.numbers')).toEqual([])
  })
})

describe('what a check needs', () => {
  const needing = (relation: string, columns: readonly string[] = ['n']) =>
    checkOf('needs', () => Promise.resolve('read'), { needs: () => ({ relations: [{ relation, columns }] }) })

  it('is not applicable where the relation or a column is missing', async () => {
    expect((await runHealth(database, { checks: [needing('public.nothing')] })).findings).toEqual([])
    expect((await runHealth(database, { checks: [needing('public.numbers', ['x'])] })).findings).toEqual([])
    expect(await gauges(database)).toMatchObject({ 'checks.not-applicable': 1, 'checks.ok': 0 })
  })

  it('names the grant that is missing', async () => {
    // Such names are common, and must be quoted.
    const role = `poor-${database.name}`
    await database.query(
      `CREATE ROLE "${role}" LOGIN PASSWORD 'x'; GRANT CREATE ON DATABASE "${database.name}" TO "${role}"`,
    )
    const url = new URL(database.url)
    url.username = role
    url.password = 'x'
    await database.query('CREATE SCHEMA app; CREATE TABLE app.numbers (n int)')
    const checks = [
      needing('public.numbers'),
      checkOf('app', () => Promise.resolve('read'), {
        needs: () => ({ relations: [{ relation: 'app.numbers', columns: ['n'] }] }),
      }),
      checkOf('role', () => Promise.resolve('read'), { needs: () => ({ roles: ['pg_monitor'] }) }),
    ]
    try {
      const run = await runHealth(database, { checks, databaseUrl: url.href })
      expect(lines(run)).toEqual([
        `warning unknown:select-public.numbers: 1 check is unknown: the grant is missing: GRANT SELECT ON public.numbers TO "${role}"`,
        `warning unknown:select-app.numbers: 1 check is unknown: the grant is missing: GRANT USAGE ON SCHEMA app TO "${role}"; GRANT SELECT ON app.numbers TO "${role}"`,
        `warning unknown:grant-pg_monitor: 1 check is unknown: the grant is missing: GRANT pg_monitor TO "${role}"`,
      ])
      for (const line of lines(run)) await database.query(line.slice(line.indexOf('GRANT')))
      expect(lines(await runHealth(database, { checks, databaseUrl: url.href }))).toEqual([
        'warning needs: read',
        'warning app: read',
        'warning role: read',
      ])
    } finally {
      await database.query(`DROP SCHEMA scheduler CASCADE; DROP OWNED BY "${role}"; DROP ROLE "${role}"`)
    }
  })

  it('says which URL is missing, in a whisper', async () => {
    const check = checkOf('needs', () => Promise.resolve('read'), { needs: () => ({ clients: ['redis'] }) })
    expect(lines(await runHealth(database, { checks: [check] }))).toEqual([
      'info unknown:redis: 1 check is unknown: REDIS_URL is not set',
    ])
  })
})

describe('from run to run', () => {
  it('reports what a check of six hours found in every run, and makes it once', async () => {
    let made = 0
    const rare = checkOf(
      'rare',
      () => {
        made += 1
        return Promise.resolve('wrong')
      },
      { interval: 6 * 3_600_000 },
    )
    for (let run = 0; run < 3; run += 1) {
      expect(lines(await runHealth(database, { checks: [rare, fine] }))).toEqual(['warning rare: wrong'])
    }
    expect(made).toBe(1)
    // Turned off, it is forgotten.
    expect(lines(await runHealth(database, { checks: [rare, fine], options: { rare: { enabled: false } } }))).toEqual(
      [],
    )
  })

  it('goes on reporting what was wrong while it cannot look', async () => {
    let answer: () => Promise<string | undefined> = () => Promise.resolve('wrong')
    const check = checkOf('blind', () => answer())
    await runHealth(database, { checks: [check] })
    answer = () => Promise.reject(new Error('no answer'))
    expect(lines(await runHealth(database, { checks: [check] }))).toEqual([
      'warning blind:unknown: blind is unknown: no answer',
      'warning blind: wrong',
    ])
    answer = () => Promise.resolve(undefined)
    expect(lines(await runHealth(database, { checks: [check] }))).toEqual([])
  })

  it('hands a check what it remembered', async () => {
    const counting = defineCheck<z.ZodRawShape, number, number>({
      ...base,
      key: 'counting',
      memory: z.number(),
      read: ({ memory }) => Promise.resolve(measured((memory?.value ?? 0) + 1, (memory?.value ?? 0) + 1)),
      judge: (count) => [{ summary: String(count) }],
    })
    await runHealth(database, { checks: [counting] })
    await runHealth(database, { checks: [counting] })
    expect(lines(await runHealth(database, { checks: [counting] }))).toEqual(['warning counting: 3'])
  })

  it('records baselines of all checks in one action, and none in a dry run', async () => {
    const recording = (key: string) =>
      checkOf(key, () => Promise.resolve(undefined), {
        record: async ({ db }) => {
          await sql`INSERT INTO public.numbers VALUES (1)`.execute(db)
        },
      })
    const checks = [recording('a'), recording('b'), fine]
    const rows = async () => (await database.query('SELECT * FROM public.numbers')).length
    const run = await runHealth(database, { checks })
    expect(run.actions).toMatchObject([{ kind: 'record-baselines', reason: '2 checks' }])
    expect(await rows()).toBe(2)
    await runHealth(database, { checks, dryRun: true })
    expect(await rows()).toBe(2)
  })

  it('reports what it found also when a baseline cannot be written, and that it cannot', async () => {
    const broken = checkOf('broken', () => Promise.resolve('wrong'), {
      record: async ({ db }) => {
        await sql`INSERT INTO public.no_such_relation VALUES (1)`.execute(db)
      },
    })
    const run = await runHealth(database, { checks: [broken] })
    expect(run.outcome).toBe('succeeded')
    expect(lines(run)).toEqual([
      'warning broken: wrong',
      'warning baselines: baselines could not be written (42P01): anomalies are not learnt from this run',
    ])
  })

  it('is partial when the budget is exhausted, and goes on in the same slot', async () => {
    const stop = new AbortController()
    const made: string[] = []
    const stopping = checkOf('stopping', () => {
      made.push('stopping')
      stop.abort('SIGTERM')
      return Promise.resolve('wrong')
    })
    const later = checkOf('later', () => {
      made.push('later')
      return Promise.resolve(undefined)
    })
    const options = { checkConcurrency: 1 }
    const first = await runHealth(database, { checks: [stopping, later], options, stop: stop.signal })
    expect(first).toMatchObject({ outcome: 'partial', remaining: 1 })
    expect(lines(first)).toEqual(['warning stopping: wrong'])
    const second = await runHealth(database, { checks: [stopping, later], options })
    expect(second.outcome).toBe('succeeded')
    expect(lines(second)).toEqual(['warning stopping: wrong'])
    expect(made.slice(0, 2)).toEqual(['stopping', 'later'])
  })
})
