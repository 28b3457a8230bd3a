/** A database, the fixture tasks, and the built program, directly or through PgBouncer. */
import { spawn, type ChildProcess } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { createTestDatabase, startPgBouncer } from '@battlescope/postgres-testing'

/** The built entry of the program. */
export const program = join(
  dirname(createRequire(import.meta.url).resolve('@battlescope/scheduler/package.json')),
  'bin/battlescope-scheduler.js',
)

export interface World {
  /** Straight to PostgreSQL, whatever the program uses. */
  query<Row extends object = Record<string, unknown>>(sql: string): Promise<Row[]>
  start(tasks: readonly string[], options?: Readonly<Record<string, string>>): RunningProgram
  close(): Promise<void>
}

export interface Ended {
  /** Undefined when a signal ended it. */
  readonly exitCode: number | undefined
  readonly log: readonly Readonly<Record<string, unknown>>[]
  /** What is no JSON, and stderr. */
  readonly rest: string
}

export interface RunningProgram {
  readonly child: ChildProcess
  readonly ended: Promise<Ended>
  /** Resolves when a line with this event was written. @throws when the process ends without it */
  until(event: string): Promise<void>
}

export type Path = 'direct' | 'pooled'

export async function createWorld(path: Path): Promise<World> {
  const database = await createTestDatabase()
  // As many server connections as processes: what is measured is the claim, not the queue in front of it.
  const pool = path === 'pooled' ? await startPgBouncer(database.url, { poolSize: 30 }) : undefined
  const plugins = mkdtempSync(join(tmpdir(), 'stress-plugins-'))
  mkdirSync(join(plugins, 'node_modules'))
  symlinkSync(
    fileURLToPath(new URL('../fixture-tasks', import.meta.url)),
    join(plugins, 'node_modules/stress-tasks'),
    'dir',
  )
  await database.query(
    `CREATE TABLE public.effect (
      id bigint GENERATED ALWAYS AS IDENTITY, task text NOT NULL, slot text NOT NULL, ticket uuid NOT NULL,
      from_at timestamptz NOT NULL, to_at timestamptz)`,
  )
  const environment = {
    DATABASE_URL: pool?.url ?? database.url,
    SCHEDULER_TASKS: 'npm:stress-tasks',
    SCHEDULER_PLUGIN_DIR: plugins,
  }
  return {
    query: (sql) => database.query(sql),
    start: (tasks, options = {}) => {
      const argv = ['run', ...tasks.flatMap((task) => ['--task', task])]
      return follow(spawn(process.execPath, [program, ...argv], { env: { ...environment, ...options } }))
    },
    close: async () => {
      await pool?.stop()
      await database.drop()
      rmSync(plugins, { recursive: true, force: true })
    },
  }
}

function follow(child: ChildProcess): RunningProgram {
  let stdout = ''
  let stderr = ''
  const waiting = new Set<() => void>()
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    stdout += text
    for (const look of waiting) look()
  })
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
  })
  const ended = new Promise<Ended>((resolve) => {
    child.once('close', (code) => {
      const lines = stdout.split('\n').filter((line) => line !== '')
      const log = lines.flatMap((line) => {
        try {
          return [JSON.parse(line) as Record<string, unknown>]
        } catch {
          return []
        }
      })
      resolve({ exitCode: code ?? undefined, log, rest: stderr })
    })
  })
  return {
    child,
    ended,
    until: (event) =>
      new Promise((resolve, reject) => {
        const look = () => {
          if (!stdout.includes(`"event":"${event}"`)) return
          waiting.delete(look)
          resolve()
        }
        waiting.add(look)
        look()
        void ended.then(({ rest }) => {
          reject(new Error(`ended without ${event}: ${stdout}${rest}`))
        })
      }),
  }
}

/** Tasks that have slots. */
export const slotted = ['stress-interval', 'stress-cron'] as const

/**
 * Gives the tasks with slots a new, unfinished one, whose identity nobody has used before: the last finished one is moved to hour `round`
 * of a year long ago, so that the next hour's is the oldest unfinished slot.
 */
export async function openSlots(world: World, round: number): Promise<void> {
  await world.query(
    `UPDATE scheduler.task SET last_slot_at = '2020-01-01T00:00Z'::timestamptz + ${round} * interval '1 hour', revision = revision + 1
     WHERE name IN (${[...slotted, 'stress-steps'].map((name) => `'${name}'`).join(', ')})`,
  )
}

export function slotOf(task: string, round: number): string {
  const at = new Date(Date.UTC(2020, 0, 1) + (round + 1) * 3_600_000)
  return `${task}@${at.toISOString().replace('.000Z', 'Z')}`
}

/** As if every claim's time had passed. */
export async function expireClaims(world: World): Promise<void> {
  await world.query(`UPDATE scheduler.claim SET expires_at = now() - interval '1 second'`)
}

/** Pairs of committed effects of one task that were there at the same time. */
export async function selectOverlaps(world: World): Promise<readonly string[]> {
  const rows = await world.query<{ task: string; a: string; b: string }>(
    `SELECT a.task, a.slot AS a, b.slot AS b FROM public.effect a JOIN public.effect b ON b.task = a.task AND b.id > a.id
     AND tstzrange(a.from_at, a.to_at) && tstzrange(b.from_at, b.to_at)`,
  )
  return rows.map(({ task, a, b }) => `${task}: the effects of ${a} and ${b} overlap`)
}

/** Slots with more than one run that ended well. */
export async function selectRepeated(world: World): Promise<readonly string[]> {
  const rows = await world.query<{ slot_id: string; count: string }>(
    `SELECT slot_id, count(*) FROM scheduler.task_run WHERE outcome IN ('succeeded', 'skipped') GROUP BY 1 HAVING count(*) > 1`,
  )
  return rows.map(({ slot_id, count }) => `${slot_id} succeeded ${count} times`)
}
