import { openConnections } from '@battlescope/database'
import { defineTask, type AnyTask, type Task } from '@battlescope/scheduler-core'
import { sql } from 'kysely'
import pg from 'pg'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { describeTaskContract, taskContract, type TaskContractOptions, type TestDatabase } from '../src/index.js'

interface Loot {
  'public.loot': { id: number; taken: boolean }
}

const configSchema = z.object({ batchSize: z.number().int().positive().default(2).describe('rows per statement') })
type LootTask = Task<typeof configSchema, Loot>

/** A task as it should be: marks loot as taken, batch by batch. */
const take: LootTask = defineTask({
  apiVersion: 1,
  name: 'take',
  description: 'takes what lies around',
  schedule: { kind: 'every-run' },
  timeoutMs: 10_000,
  configSchema,
  requires: () => ({ relations: [{ relation: 'public.loot', privileges: ['select', 'update'] }] }),
  run: async (context) => {
    const present = await sql<{ present: boolean }>`SELECT to_regclass('public.loot') IS NOT NULL AS present`.execute(
      context.db,
    )
    if (present.rows[0]?.present !== true) return { outcome: 'skipped', reason: 'there is no relation public.loot' }
    const rows = await context.db
      .selectFrom('public.loot')
      .select('id')
      .where('taken', '=', false)
      .orderBy('id')
      .execute()
    for (const { id } of rows) {
      if (context.budget.exhausted()) return { outcome: 'partial' }
      await context.act({ kind: 'take', target: `loot ${id}` }, async ({ db }) => {
        const result = await db.updateTable('public.loot').set({ taken: true }).where('id', '=', id).executeTakeFirst()
        return { rows: Number(result.numUpdatedRows) }
      })
    }
    return { outcome: 'succeeded' }
  },
})

const options: TaskContractOptions = {
  packageFolder: false,
  unseeded: async (database) => {
    await database.query('CREATE TABLE loot (id int PRIMARY KEY, taken boolean NOT NULL)')
  },
  seed: async (database) => {
    await database.query('INSERT INTO loot SELECT i, false FROM generate_series(1, 3) AS i')
  },
}

describeTaskContract(take, options)

/** The names of the checks that a task violates. */
async function violations(task: AnyTask, change: Partial<TaskContractOptions> = {}): Promise<readonly string[]> {
  const violated: string[] = []
  for (const check of taskContract(task, { ...options, ...change })) {
    await check.run().catch((error: unknown) => violated.push(`${check.name}: ${(error as Error).message}`))
  }
  return violated
}

/** The good task with another `run`; the database's URL reaches it as a real offender's would: through a variable of its module. */
function planted(run: (context: Parameters<LootTask['run']>[0], databaseUrl: string) => ReturnType<LootTask['run']>) {
  let databaseUrl = ''
  const remember =
    (prepare: ((database: TestDatabase) => Promise<void>) | undefined) => async (database: TestDatabase) => {
      databaseUrl = database.url
      await prepare?.(database)
    }
  return violations({ ...take, run: (context) => run(context, databaseUrl) } as LootTask, {
    unseeded: remember(options.unseeded),
    seed: options.seed,
  })
}

/** A task that changes nothing in the database: it asks a service for what is left, and tells it to take one after another. */
function ask(run?: (context: Parameters<LootTask['run']>[0]) => ReturnType<LootTask['run']>) {
  let left: string[] = []
  const post = async ({ body }: { readonly body: string }) => {
    left = left.filter((each) => each !== body)
    return { status: 200, headers: {}, body: '' }
  }
  const get = async () => ({ status: 200, headers: {}, body: left.join(' ') })
  const task: LootTask = {
    ...take,
    name: 'ask',
    requires: () => ({ clients: ['http'] }),
    run:
      run ??
      (async (context) => {
        const { body } = await (await context.client('http')).get({ url: 'http://loot/', timeoutMs: 1000 })
        for (const one of body.split(' ').filter((each) => each !== '')) {
          if (context.budget.exhausted()) return { outcome: 'partial' }
          await context.act({ kind: 'ask', target: one, via: 'http' }, async (client) => {
            await client.post({ url: 'http://loot/', timeoutMs: 1000, body: one })
          })
        }
        return { outcome: 'succeeded' }
      }),
  }
  return violations(task, {
    unseeded: () => {
      left = []
      return Promise.resolve()
    },
    seed: () => {
      left = ['a', 'b', 'c']
      return Promise.resolve()
    },
    clients: {
      http: () =>
        Promise.resolve({ read: { get }, write: { get, post, send: post as never }, close: () => Promise.resolve() }),
    },
  })
}

describe('the contract suite watches clients, too', { timeout: 120_000 }, () => {
  it('and finds nothing in a good task', async () => {
    expect(await ask()).toEqual([])
  })

  it('and catches a task that claims success with an exhausted budget', async () => {
    const violated = await ask(async (context) => {
      const { body } = await (await context.client('http')).get({ url: 'http://loot/', timeoutMs: 1000 })
      const [first] = body.split(' ').filter((each) => each !== '')
      for (const one of context.dryRun
        ? ['a', 'b', 'c'].filter((each) => body.includes(each))
        : first === undefined
          ? []
          : [first]) {
        await context.act({ kind: 'ask', target: one, via: 'http' }, async (client) => {
          await client.post({ url: 'http://loot/', timeoutMs: 1000, body: one })
        })
      }
      return { outcome: 'succeeded' }
    })
    expect(violated.join('\n')).toContain('with an exhausted budget, but left')
  })
})

describe('the contract suite catches', { timeout: 120_000 }, () => {
  it('nothing in a good task', async () => {
    expect(await violations(take)).toEqual([])
  })

  it('a task that writes outside act, by a connection of its own', async () => {
    const violated = await planted(async (context, url) => {
      if (url !== '') {
        const client = new pg.Client(url)
        await client.connect()
        await client.query('UPDATE loot SET taken = true').catch(() => undefined)
        await client.end()
      }
      return take.run(context)
    })
    expect(violated.join('\n')).toContain('something writes outside act()')
  })

  it('a task that writes through its reading handle', async () => {
    const violated = await planted(async (context) => {
      await context.db.updateTable('public.loot').set({ taken: true }).execute()
      return { outcome: 'succeeded' }
    })
    expect(violated.join('\n')).toContain('not-a-read')
  })

  it('a task that ignores its signal', async () => {
    const violated = await planted(async (context) => {
      await take.run(context).catch(() => undefined)
      if (context.signal.aborted) await new Promise(() => undefined)
      return { outcome: 'succeeded' }
    })
    expect(violated.join('\n')).toContain('did not end after its signal aborted')
  })

  it('a task that leaks a connection', async () => {
    const leaked: { close(): Promise<void> }[] = []
    const violated = await planted(async (context, url) => {
      if (url !== '') {
        const connections = openConnections({ url, applicationName: 'leak' })
        leaked.push(connections)
        await connections.transaction({ statementTimeoutMs: 1000 }, ({ db }) => sql`SELECT 1`.execute(db))
      }
      return take.run(context)
    })
    await Promise.all(leaked.map((connections) => connections.close()))
    expect(violated.join('\n')).toContain('left open')
  })

  it('a task that does the same again', async () => {
    const violated = await planted(async (context) => {
      await context.act({ kind: 'take', target: 'loot 1' }, () => Promise.resolve())
      return { outcome: 'succeeded' }
    })
    expect(violated.join('\n')).toContain('again')
  })

  it('a task that claims success with an exhausted budget', async () => {
    const violated = await planted(async (context) => {
      const rows = await context.db
        .selectFrom('public.loot')
        .select('id')
        .where('taken', '=', false)
        .orderBy('id')
        .execute()
        .catch(() => [])
      for (const { id } of rows) {
        if (context.budget.exhausted()) break
        await context.act({ kind: 'take', target: `loot ${id}` }, async ({ db }) => {
          await db.updateTable('public.loot').set({ taken: true }).where('id', '=', id).execute()
        })
      }
      return { outcome: 'succeeded' }
    })
    expect(violated.join('\n')).toContain('with an exhausted budget, but left')
  })

  it('a seed that gives no work', async () => {
    const violated = await violations(take, { seed: () => Promise.resolve() })
    expect(violated.join('\n')).toContain('plans nothing on the seeded database')
  })

  it('an option without description, and one without default', async () => {
    const bad = { ...take, configSchema: z.object({ a: z.number(), b: z.number().default(1) }) } as unknown as AnyTask
    const violated = await violations(bad)
    expect(violated.join('\n')).toContain("the option 'a' has no description")
  })

  it('a package of another name', async () => {
    const violated = await violations(take, { packageFolder: import.meta.dirname + '/..' })
    expect(violated.join('\n')).toContain("must end with 'task-take'")
  })

  it('a result that is none', async () => {
    const violated = await planted(() => Promise.resolve({ outcome: 'done' } as never))
    expect(violated.join('\n')).toContain('invalid-result')
  })
})
