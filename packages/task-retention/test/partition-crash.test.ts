/** A partition on its way out is neither lost nor doubled, wherever the run that takes it out ends. */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { openConnections } from '@battlescope/database'
import { sharedServer } from '@battlescope/scheduler-testing'
import { sql } from 'kysely'
import { afterEach, describe, expect, it } from 'vitest'
import { around, type PartitionChildInput } from './partition-crash-child.js'
import { addPartition, createPartitionWorld, events, type PartitionWorld } from './partition-world.js'

let world: PartitionWorld
afterEach(() => world.close())

const remaining = ['events_m60*', 'events_m59*', 'events_m1*']

const steps = {
  before: 'nothing announced',
  announced: 'announced, and attached',
  pending: 'pending',
  detached: 'detached, and nothing archived',
  partly: 'detached, and partly archived',
  archived: 'archived, and not dropped',
  dropped: 'dropped, and manifests do not say so',
  done: 'dropped, and manifests say so',
} as const
type Step = keyof typeof steps

/** Where it ended, by what the database says of the oldest partition. */
async function stepOf(partition: string): Promise<Step> {
  const [row] = await world.database.query<{ archived: number; dropped: boolean; behind: boolean }>(
    `SELECT row_count::int AS archived, dropped_at IS NOT NULL AS dropped, EXISTS (SELECT FROM scheduler.archive_batch b
       WHERE b.id = ANY (p.batch_ids) AND b.stored_state IS DISTINCT FROM 'deleted') AS behind
     FROM scheduler.retention_partition p WHERE partition = $1`,
    [`public.${partition}`],
  )
  if (row === undefined) return 'before'
  if (row.dropped) return row.behind ? 'dropped' : 'done'
  const table = (await world.tables()).find((name) => name.startsWith(partition))
  if (table?.endsWith('*') === true) return 'announced'
  if (table?.endsWith('!') === true) return 'pending'
  if (row.archived === 0) return 'detached'
  return row.archived < 100 ? 'partly' : 'archived'
}

/** What a killed process leaves is over: its claim, and, within a second, what the server still ran for it. */
async function bury(): Promise<void> {
  await expect
    .poll(
      async () => {
        const [row] = await world.database.query<{ count: number }>(
          `SELECT count(*)::int FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'battlescope-scheduler%'`,
        )
        return row?.count
      },
      { timeout: 30_000 },
    )
    .toBe(0)
  await world.database.query(`UPDATE scheduler.claim SET expires_at = now() - interval '1 second'`)
}

describe('a run that ends after any of its actions', () => {
  it('leaves what the next one completes', { timeout: 600_000 }, async () => {
    world = await createPartitionWorld()
    await world.goToEnd()
    const seen = new Map<Step, number>()
    let number = 64
    for (let last = 1; ; last += 1, number += 1) {
      await addPartition(world, number)
      let actions = 0
      const task = around({
        after: () => {
          actions += 1
          if (actions >= last) throw new Error('the process is gone')
        },
      })
      const run = await world.go({}, { task })
      if (run.task.run?.outcome === 'succeeded') break
      const step = await stepOf(`events_m${number}`)
      seen.set(step, (seen.get(step) ?? 0) + 1)
      expect(await world.count(events, `id / 1000 = ${number}`)).toBe(
        step === 'before' || step === 'announced' ? 100 : 0,
      )
      const after = await world.goToEnd()
      expect(after.at(-1)?.task.run).toMatchObject({ outcome: 'succeeded', findings: [] })
      expect(await world.tables()).toEqual(remaining)
      expect(await stepOf(`events_m${number}`)).toBe('done')
    }
    expect(await world.losses()).toEqual([])
    // Before: the first action is to make sure of the store. Pending is inside of one action: see below.
    expect([...seen.keys()].sort()).toEqual(
      (['announced', 'archived', 'before', 'detached', 'done', 'dropped', 'partly'] satisfies Step[]).sort(),
    )
  })
})

/** A process that has loaded everything and waits for the word. */
function prepareChild(input: PartitionChildInput): { readonly child: ChildProcess; readonly go: () => Promise<void> } {
  const module = new URL('partition-crash-child.ts', import.meta.url).href
  const code = `import { runPartitionChild } from ${JSON.stringify(module)}
    process.once('message', async (input) => { await runPartitionChild(input); process.exit(0) })
    process.send('ready')`
  const child = spawn(
    process.execPath,
    ['--conditions=@battlescope/source', '--import', 'tsx', '--input-type=module', '-e', code],
    { cwd: fileURLToPath(new URL('..', import.meta.url)), stdio: ['ignore', 'ignore', 'inherit', 'ipc'] },
  )
  const ready = once(child, 'message')
  return {
    child,
    go: async () => {
      await ready
      child.send(input)
    },
  }
}

async function signalOf(child: ChildProcess): Promise<string | null> {
  if (child.exitCode !== null || child.signalCode !== null) return child.signalCode
  const [, signal] = (await once(child, 'exit')) as [number | null, string | null]
  return signal
}

describe('a process killed with SIGKILL', () => {
  const inputOf = (more: Partial<PartitionChildInput> = {}): PartitionChildInput => ({
    databaseUrl: world.database.url,
    storeUrl: world.url,
    lockTimeout: '500ms',
    ...more,
  })

  const completed = async () => {
    await bury()
    const runs = await world.goToEnd()
    expect(runs.at(-1)?.task.run).toMatchObject({ outcome: 'succeeded', findings: [] })
    expect(await world.tables()).toEqual(remaining)
    expect(await stepOf('events_m63')).toBe('done')
    expect(await world.losses()).toEqual([])
  }

  it.each<[Step, string, 'before' | 'after']>([
    ['announced', 'detach-partition', 'before'],
    ['detached', 'detach-partition', 'after'],
    ['detached', 'archive', 'after'],
    ['partly', 'confirm-batch', 'after'],
    ['archived', 'drop-partition', 'before'],
    ['dropped', 'drop-partition', 'after'],
  ])('loses nothing where it is %s (%s, %s)', { timeout: 120_000 }, async (step, kind, time) => {
    world = await createPartitionWorld()
    await world.run({ config: { policies: [] } })
    const { child, go } = prepareChild(inputOf({ dieAt: { kind, when: time } }))
    await go()
    expect(await signalOf(child)).toBe('SIGKILL')
    await bury()
    expect(steps[await stepOf('events_m63')]).toBe(steps[step])
    await completed()
  })

  it.each([15, 17] as const)(
    'loses nothing where it is pending (PostgreSQL %i)',
    { timeout: 120_000 },
    async (major) => {
      world = await createPartitionWorld({ server: await sharedServer(major) })
      await world.run({ config: { policies: [] } })
      const { child, go } = prepareChild(inputOf({ lockTimeout: '30s' }))
      const reader = openConnections({ url: world.database.url, applicationName: 'reader' })
      try {
        await reader.transaction({ statementTimeoutMs: 60_000 }, async ({ db }) => {
          await sql.raw(`SELECT count(*) FROM ${events}`).execute(db)
          await go()
          await expect.poll(() => stepOf('events_m63'), { timeout: 60_000 }).toBe('pending')
          child.kill('SIGKILL')
          expect(await signalOf(child)).toBe('SIGKILL')
          await bury()
          expect(await stepOf('events_m63')).toBe('pending')
          expect(await world.losses()).toEqual([])
        })
      } finally {
        await reader.close()
      }
      await completed()
    },
  )
})
