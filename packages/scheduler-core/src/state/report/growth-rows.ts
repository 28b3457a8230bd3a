/** How relations grew, from what task-statistics measured once a day. */
import { sql } from 'kysely'
import type { StateDb } from '../tables.js'
import type { ReportPeriod } from './period.js'

const dayMs = 86_400_000
/** Relations of which the course is shown, the largest first. */
const mostRelations = 20
/** Points of one course: for longer periods each is the newest of several days. */
const mostPoints = 72

export interface SizePoint {
  /** A UTC day, such as `2026-11-25`. */
  readonly day: string
  readonly bytes: number
}

export interface RelationGrowth {
  readonly relation: string
  /** Of the newest measurement: NULL, that is undefined, before the first ANALYZE. */
  readonly rowEstimate: number | undefined
  readonly heapBytes: number
  readonly toastBytes: number
  readonly indexBytes: number
  /** Oldest first. Bytes are heap, TOAST and indexes together. */
  readonly points: readonly SizePoint[]
}

export interface Growth {
  /** How many relations the newest day has. */
  readonly relationCount: number
  /** All relations together. */
  readonly total: readonly SizePoint[]
  readonly relations: readonly RelationGrowth[]
}

export async function selectGrowth(db: StateDb, schema: string, period: ReportPeriod): Promise<Growth> {
  const table = sql.id(schema, 'statistics_table_growth')
  const fromDay = sql`(${period.from}::timestamptz AT TIME ZONE 'UTC')::date`
  const days = Math.ceil((period.to.getTime() - period.from.getTime()) / dayMs)
  // Named in an inner SELECT, for the server cannot see that two parameters are one.
  const bin = sql`(day - date '2000-01-03') / ${Math.max(1, Math.ceil(days / mostPoints))}::integer`
  const total = await sql<{ day: string; bytes: string; relations: string }>`
    SELECT to_char(day, 'YYYY-MM-DD') AS day, bytes, relations FROM (
      SELECT DISTINCT ON (bin) day, bytes, relations FROM (
        SELECT ${bin} AS bin, day, sum(heap_bytes + toast_bytes + index_bytes) AS bytes, count(*) AS relations
        FROM ${table} WHERE day >= ${fromDay} GROUP BY day
      ) AS by_day ORDER BY bin, day DESC
    ) AS binned ORDER BY day LIMIT ${mostPoints + 2}`.execute(db)
  const largest = await sql<{
    relation: string
    row_estimate: string | null
    heap_bytes: string
    toast_bytes: string
    index_bytes: string
  }>`
    SELECT relation, row_estimate, heap_bytes, toast_bytes, index_bytes FROM ${table}
    WHERE day = (SELECT max(day) FROM ${table} WHERE day >= ${fromDay})
    ORDER BY heap_bytes + toast_bytes + index_bytes DESC, relation LIMIT ${mostRelations}`.execute(db)
  const names = largest.rows.map(({ relation }) => relation)
  const points = await sql<{ relation: string; day: string; bytes: string }>`
    SELECT relation, to_char(day, 'YYYY-MM-DD') AS day, bytes FROM (
      SELECT DISTINCT ON (relation, bin) relation, day, bytes FROM (
        SELECT relation, ${bin} AS bin, day, heap_bytes + toast_bytes + index_bytes AS bytes
        FROM ${table} WHERE day >= ${fromDay} AND relation = ANY (${names}::text[])
      ) AS by_day ORDER BY relation, bin, day DESC
    ) AS binned ORDER BY relation, day LIMIT ${mostRelations * (mostPoints + 2)}`.execute(db)
  return {
    relationCount: Number(total.rows.at(-1)?.relations ?? 0),
    total: total.rows.map(({ day, bytes }) => ({ day, bytes: Number(bytes) })),
    relations: largest.rows.map((row) => ({
      relation: row.relation,
      rowEstimate: row.row_estimate === null ? undefined : Number(row.row_estimate),
      heapBytes: Number(row.heap_bytes),
      toastBytes: Number(row.toast_bytes),
      indexBytes: Number(row.index_bytes),
      points: points.rows
        .filter(({ relation }) => relation === row.relation)
        .map(({ day, bytes }) => ({ day, bytes: Number(bytes) })),
    })),
  }
}
