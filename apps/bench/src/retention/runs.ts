/** One retention by the built program, until nothing is left, and what its own records say of it. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { program } from '../world.js'
import { costOf } from './cost.js'
import type { Copy } from './databases.js'

export interface RetentionRun {
  /** Of the task, all runs together: preflight, finding what expired, archiving, deleting, pauses. */
  readonly ms: number
  /** Of the process and the server together, start of the process included. */
  readonly cpuMs: number
  /** Of the transactions that delete, together, up to their commits: see statement-times.ts. */
  readonly deleteMs: number
  /** Rows that were deleted, children included. */
  readonly rows: number
  readonly archivedRows: number
  /** Bytes of the archive's objects. */
  readonly bytes: number
  /** Milliseconds of each transaction that deletes. */
  readonly transactionsMs: readonly number[]
  /** Of the process, at its highest. */
  readonly peakMib: number
  readonly runs: number
}

export interface RunOptions {
  readonly archive: boolean
  /** Of the store. */
  readonly folder: string
  /** Default: the task's own. */
  readonly pause?: string
  readonly keep?: string
  readonly nodeOptions?: string
}

const relation = (name: string, column: string, reference: string) => ({
  relation: `public.${name}`,
  columns: [column],
  references: [reference],
})

/** The default policies as a user would write them who keeps no archive. */
const withoutArchive = [
  {
    name: 'killmails',
    ...{ relation: 'public.killmail_events', timeColumn: 'occurred_at', archive: false },
    children: [
      relation('killmail_enrichments', 'killmail_id', 'killmail_id'),
      relation('pilot_ship_history', 'killmail_id', 'killmail_id'),
    ],
    keepWhile: [
      { column: 'processed_at', is: 'null' },
      { column: 'fetched_at', within: 'backfillGrace' },
    ],
    with: { policy: 'battles', columns: ['battle_id'], references: ['id'] },
  },
  {
    name: 'battles',
    ...{ relation: 'public.battles', timeColumn: 'end_time', archive: false },
    children: [relation('battle_killmails', 'battle_id', 'id'), relation('battle_participants', 'battle_id', 'id')],
    members: ['killmail_events', 'battle_killmails'].map((name) => ({
      ...relation(name, 'battle_id', 'id'),
      timeColumn: 'occurred_at',
    })),
  },
]

export async function runRetention(
  { client, url }: Pick<Copy, 'client' | 'url'>,
  options: RunOptions,
): Promise<RetentionRun> {
  const { archive, folder, pause, keep, nodeOptions } = options
  const environment = {
    DATABASE_URL: url,
    SCHEDULER_TASKS: 'retention',
    // One process does all of it: what grows has time to.
    SCHEDULER_RETENTION_TIMEOUT: '2h',
    SCHEDULER_RETENTION_MAX_ROWS_PER_RUN: '1000000000',
    ...(archive
      ? { SCHEDULER_COLD_STORAGE_URL: pathToFileURL(folder).href }
      : { SCHEDULER_RETENTION_POLICIES: JSON.stringify(withoutArchive) }),
    ...(pause === undefined ? {} : { SCHEDULER_RETENTION_PAUSE: pause }),
    ...(keep === undefined ? {} : { SCHEDULER_RETENTION_KEEP: keep }),
    ...(nodeOptions === undefined ? {} : { NODE_OPTIONS: nodeOptions }),
  }
  let runs = 0
  let cpuMs = 0
  for (let outcome = 'partial'; outcome === 'partial';) {
    cpuMs += (await costOf(client, () => runProgram(environment))).cpuMs
    runs += 1
    const { rows } = await client.query<{ outcome: string; findings: unknown }>(
      'SELECT outcome, findings FROM scheduler.task_run ORDER BY id DESC LIMIT 1',
    )
    outcome = rows[0]?.outcome ?? 'not run'
    if (!['succeeded', 'partial'].includes(outcome) || runs === 50)
      throw new Error(`retention: ${outcome} ${JSON.stringify(rows[0]?.findings)}`)
  }
  return readRecords({ client }, archive ? folder : undefined, { runs, cpuMs })
}

async function runProgram(environment: Readonly<Record<string, string>>): Promise<void> {
  const argv = ['run', '--task', 'retention', '--force', '--budget', '110m', '--json']
  const child = spawn(process.execPath, [program, ...argv], {
    env: { PATH: '/usr/local/bin:/usr/bin:/bin', ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => (output += text))
  const [code] = (await once(child, 'close')) as [number | null]
  if (code !== 0) throw new Error(`the program ended with ${String(code)}: ${output}`)
}

async function readRecords(
  { client }: Pick<Copy, 'client'>,
  folder: string | undefined,
  program: Pick<RetentionRun, 'runs' | 'cpuMs'>,
): Promise<RetentionRun> {
  const { rows: taskRuns } = await client.query<{ ms: string; peak: string }>(
    'SELECT sum(duration_ms) AS ms, max(peak_memory_bytes) AS peak FROM scheduler.task_run',
  )
  const { rows: actions } = await client.query<{ kind: string; ms: string; rows: string }>(
    `SELECT kind, duration_ms AS ms, row_count AS rows FROM scheduler.action
     WHERE kind IN ('delete-rows', 'archive') AND result = 'succeeded' ORDER BY id`,
  )
  const of = (kind: string, field: 'ms' | 'rows') =>
    actions.filter((action) => action.kind === kind).map((action) => Number(action[field]))
  const sum = (numbers: readonly number[]) => numbers.reduce((total, one) => total + one, 0)
  return {
    ms: Number(taskRuns[0]?.ms),
    peakMib: Number(taskRuns[0]?.peak) / 1024 / 1024,
    transactionsMs: of('delete-rows', 'ms'),
    deleteMs: sum(of('delete-rows', 'ms')),
    rows: sum(of('delete-rows', 'rows')),
    archivedRows: sum(of('archive', 'rows')),
    bytes: folder === undefined ? 0 : await sizeOf(join(folder, 'data')),
    ...program,
  }
}

async function sizeOf(folder: string): Promise<number> {
  const names = await readdir(folder, { recursive: true })
  const sizes = await Promise.all(names.map(async (name) => stat(join(folder, name))))
  return sizes.reduce((sum, one) => sum + (one.isFile() ? one.size : 0), 0)
}

/** A hash over all rows that are left, by relation. */
export async function hashRows({ client }: Pick<Copy, 'client'>): Promise<Readonly<Record<string, string>>> {
  const hashes: Record<string, string> = {}
  const tables = [
    'killmail_events',
    'killmail_enrichments',
    'pilot_ship_history',
    'battles',
    'battle_killmails',
    'battle_participants',
  ]
  for (const table of tables) {
    const { rows } = await client.query<{ hash: string }>(
      `SELECT count(*) || ' rows ' || coalesce(sum(hashtextextended(t::text, 0)::numeric), 0) AS hash FROM public.${table} t`,
    )
    hashes[table] = rows[0]?.hash ?? ''
  }
  return hashes
}
