/** Runs of the scheduler and of its tasks, added up by the server: as many rows as there are parts and tasks, however many runs there were. */
import { sql, type RawBuilder } from 'kysely'
import type { Outcome, StateDb } from '../tables.js'
import type { ReportPeriod } from './period.js'

/** More tasks than a page can show, failing ones first. */
export const mostTasks = 40
const mostExitCodes = 20
const mostProblems = 20

export interface Durations {
  readonly medianMs: number
  /** 95 of 100 runs took at most this. */
  readonly p95Ms: number
  readonly longestMs: number
}

export interface RunPart {
  readonly at: Date
  readonly runs: number
  /** Those with another exit code than 0. */
  readonly failed: number
}

export interface RunTotals {
  readonly durations: Durations | undefined
  readonly byExitCode: readonly { readonly exitCode: number; readonly runs: number }[]
  /** Of all runs on record, not only of this period. */
  readonly oldestAt: Date | undefined
  readonly newestAt: Date | undefined
}

export type OutcomeCounts = Readonly<Record<Outcome, number>>

export interface TaskTotals {
  readonly task: string
  readonly counts: OutcomeCounts
  readonly durations: Durations
}

export interface TaskPart {
  readonly task: string
  readonly at: Date
  readonly counts: OutcomeCounts
  readonly longestMs: number
}

export interface RunProblem {
  readonly task: string
  readonly at: Date
  readonly outcome: Outcome
  readonly reason: string | undefined
  readonly errorCode: string | undefined
  readonly durationMs: number
}

export async function selectRunParts(db: StateDb, period: ReportPeriod): Promise<readonly RunPart[]> {
  const rows = await db
    .selectFrom('run')
    .select([
      partOf(period, sql.ref('started_at')).as('at'),
      sql<string>`count(*)`.as('runs'),
      sql<string>`count(*) FILTER (WHERE exit_code <> 0)`.as('failed'),
    ])
    .where('started_at', '>=', period.from)
    .groupBy(sql`1`)
    .orderBy(sql`1`)
    .execute()
  return rows.map(({ at, runs, failed }) => ({ at, runs: Number(runs), failed: Number(failed) }))
}

export async function selectRunTotals(db: StateDb, period: ReportPeriod): Promise<RunTotals> {
  const byExitCode = await db
    .selectFrom('run')
    .select(['exit_code', sql<string>`count(*)`.as('runs')])
    .where('started_at', '>=', period.from)
    .groupBy('exit_code')
    .orderBy('runs', 'desc')
    .limit(mostExitCodes)
    .execute()
  const took = sql`extract(epoch FROM finished_at - started_at)::float8 * 1000`
  const totals = await db
    .selectFrom('run')
    .select(durationsOf(took))
    .where('started_at', '>=', period.from)
    .executeTakeFirstOrThrow()
  const end = (direction: 'asc' | 'desc') =>
    db
      .selectFrom('run')
      .select(['started_at', 'finished_at'])
      .orderBy('started_at', direction)
      .limit(1)
      .executeTakeFirst()
  const [oldest, newest] = [await end('asc'), await end('desc')]
  return {
    durations: readDurations(totals),
    byExitCode: byExitCode.map(({ exit_code, runs }) => ({ exitCode: exit_code, runs: Number(runs) })),
    oldestAt: oldest?.started_at,
    newestAt: newest?.finished_at,
  }
}

/** Those that failed most come first; the rest by name. One more than are shown, if there are more. */
export async function selectTaskTotals(db: StateDb, period: ReportPeriod): Promise<readonly TaskTotals[]> {
  const rows = await db
    .selectFrom('task_run')
    .select(['task', ...countsOf(), ...durationsOf(sql`duration_ms::float8`)])
    .where('finished_at', '>=', period.from)
    .groupBy('task')
    .orderBy(sql`count(*) FILTER (WHERE outcome IN ('failed', 'timed-out'))`, 'desc')
    .orderBy('task')
    .limit(mostTasks + 1)
    .execute()
  return rows.flatMap(({ task, ...row }) => {
    const durations = readDurations(row)
    return durations === undefined ? [] : [{ task, counts: readCounts(row), durations }]
  })
}

export async function selectTaskParts(
  db: StateDb,
  period: ReportPeriod,
  tasks: readonly string[],
): Promise<readonly TaskPart[]> {
  const rows = await db
    .selectFrom('task_run')
    .select([
      'task',
      partOf(period, sql.ref('finished_at')).as('at'),
      ...countsOf(),
      sql<number>`max(duration_ms)::float8`.as('longest_ms'),
    ])
    .where('finished_at', '>=', period.from)
    .where('task', '=', sql<string>`ANY (${[...tasks]}::text[])`)
    .groupBy(['task', sql`2`])
    .orderBy('task')
    .orderBy(sql`2`)
    .execute()
  return rows.map(({ task, at, longest_ms, ...row }) => ({ task, at, counts: readCounts(row), longestMs: longest_ms }))
}

/** The newest runs that did not end well, newest first; one more than are shown, if there are more. */
export async function selectProblems(db: StateDb, period: ReportPeriod): Promise<readonly RunProblem[]> {
  const rows = await db
    .selectFrom('task_run')
    .select(['task', 'finished_at', 'outcome', 'reason', 'error_code', 'duration_ms'])
    .where('finished_at', '>=', period.from)
    .where('outcome', 'in', ['failed', 'timed-out', 'cancelled'])
    .orderBy('finished_at', 'desc')
    .orderBy('id', 'desc')
    .limit(mostProblems + 1)
    .execute()
  return rows.map((row) => ({
    task: row.task,
    at: row.finished_at,
    outcome: row.outcome,
    reason: row.reason ?? undefined,
    errorCode: row.error_code ?? undefined,
    durationMs: Number(row.duration_ms),
  }))
}

/** The beginning of the part in which an instant lies. Grouped by position, for parameters are numbered anew each time. */
export function partOf({ from, partMs }: ReportPeriod, instant: RawBuilder<unknown>): RawBuilder<Date> {
  return sql<Date>`date_bin(${partMs}::float8 * interval '1 millisecond', ${instant}, ${from}::timestamptz)`
}

type CountName = 'succeeded' | 'partial' | 'skipped' | 'failed' | 'timed_out' | 'cancelled'

type CountColumns = Readonly<Record<CountName, string>>

function countsOf() {
  const count = <Name extends CountName>(outcome: Outcome, name: Name) =>
    sql<string>`count(*) FILTER (WHERE outcome = ${outcome})`.as(name)
  return [
    count('succeeded', 'succeeded'),
    count('partial', 'partial'),
    count('skipped', 'skipped'),
    count('failed', 'failed'),
    count('timed-out', 'timed_out'),
    count('cancelled', 'cancelled'),
  ] as const
}

function readCounts(row: CountColumns): OutcomeCounts {
  return {
    succeeded: Number(row.succeeded),
    partial: Number(row.partial),
    skipped: Number(row.skipped),
    failed: Number(row.failed),
    'timed-out': Number(row.timed_out),
    cancelled: Number(row.cancelled),
  }
}

function durationsOf(tookMs: RawBuilder<unknown>) {
  return [
    sql<number | null>`percentile_disc(0.5) WITHIN GROUP (ORDER BY ${tookMs})`.as('median_ms'),
    sql<number | null>`percentile_disc(0.95) WITHIN GROUP (ORDER BY ${tookMs})`.as('p95_ms'),
    sql<number | null>`max(${tookMs})`.as('longest_of_all_ms'),
  ] as const
}

function readDurations(row: {
  readonly median_ms: number | null
  readonly p95_ms: number | null
  readonly longest_of_all_ms: number | null
}): Durations | undefined {
  const { median_ms, p95_ms, longest_of_all_ms } = row
  if (median_ms === null || p95_ms === null || longest_of_all_ms === null) return undefined
  return { medianMs: median_ms, p95Ms: p95_ms, longestMs: longest_of_all_ms }
}
