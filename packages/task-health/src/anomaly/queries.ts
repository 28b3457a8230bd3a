/** Reads and writes of anomalies: reads first, then writes. */
import { parseRelationName } from '@battlescope/database'
import { sql, type Kysely, type RawBuilder } from 'kysely'
import type { z } from 'zod'
import { slotMs, type Baseline } from './baseline.js'
import type { Advance, DetectorState, Slot } from './detector.js'

/** Killmails that are looked at, at most: those of an hour four times as busy as any usual one (1 200). */
const newestKillmails = 5000
/** Killmails clustered within an hour, at most: clustering may catch up on a backlog. */
const clusteredKillmails = 20_000
const runsLookedAt = 12

export interface Stored {
  readonly state: DetectorState | undefined
  readonly baseline: Baseline
}

/** A state that does not fit (an older version's) reads as absent; the baseline stays. */
export async function selectStored(
  db: Kysely<unknown>,
  stateSchema: string,
  metric: string,
  schema: z.ZodType<DetectorState>,
): Promise<Stored> {
  const { rows } = await sql<{ state: unknown; hours: readonly (readonly [number, number[]])[] | null }>`
    SELECT (SELECT m.state FROM ${sql.id(stateSchema, 'health_metric')} m WHERE m.metric = ${metric}) AS state,
      (SELECT json_agg(json_build_array(b.hour_of_week, b.values))
        FROM ${sql.id(stateSchema, 'health_baseline')} b WHERE b.metric = ${metric}) AS hours`.execute(db)
  const [row] = rows
  const state = schema.safeParse(row?.state)
  return { state: state.success ? state.data : undefined, baseline: new Map(row?.hours ?? []) }
}

interface SlotRow {
  readonly slot: string
  readonly count: string
}

/** Of the completed slots in that span, those about which the rows that were read say everything: also that there was nothing. */
function perHour(rows: readonly SlotRow[], fromMs: number, untilMs: number, completeFromMs: number): readonly Slot[] {
  const counts = new Map(rows.map(({ slot, count }) => [Number(slot) * slotMs, Number(count)]))
  const slots: Slot[] = []
  for (let startMs = fromMs; startMs + slotMs <= untilMs; startMs += slotMs) {
    if (startMs >= completeFromMs) slots.push({ startMs, value: (counts.get(startMs) ?? 0) * (3_600_000 / slotMs) })
  }
  return slots
}

const slotOf = (column: RawBuilder<unknown>) => sql`floor(extract(epoch FROM ${column}) * 1000 / ${slotMs}::bigint)`

/** Killmails per hour by when they came in. By the primary key: no index knows when they came, but their numbers grow with time. */
export async function selectArrivalSlots(
  db: Kysely<unknown>,
  killmails: string,
  fromMs: number,
  untilMs: number,
): Promise<readonly Slot[]> {
  const { rows } = await sql<SlotRow & { oldest: Date | null; rows: string }>`
    WITH newest AS MATERIALIZED (
      SELECT k.killmail_id, k.fetched_at FROM ${tableOf(killmails)} k ORDER BY k.killmail_id DESC LIMIT ${newestKillmails}),
    edge AS (SELECT (SELECT n.fetched_at FROM newest n ORDER BY n.killmail_id LIMIT 1) AS oldest, count(*) AS rows FROM newest)
    SELECT ${slotOf(sql`n.fetched_at`)}::text AS slot, count(n.killmail_id) AS count, e.oldest, e.rows
    FROM edge e LEFT JOIN newest n ON n.fetched_at >= ${new Date(fromMs)} AND n.fetched_at < ${new Date(untilMs)}
    GROUP BY 1, 3, 4`.execute(db)
  const [edge] = rows
  const isWhole = Number(edge?.rows ?? 0) < newestKillmails
  const completeFromMs = isWhole ? -Infinity : (edge?.oldest?.getTime() ?? Infinity)
  return perHour(rows, fromMs, untilMs, completeFromMs)
}

/**
 * Battles per hour that clustering made or added to. By the index on `processed_at`: that of `battles` begins with the system, and a
 * battle's own times are of the fight, not of the work.
 */
export async function selectBattleSlots(
  db: Kysely<unknown>,
  killmails: string,
  fromMs: number,
  untilMs: number,
): Promise<readonly Slot[]> {
  const { rows } = await sql<SlotRow & { oldest: Date | null; rows: string }>`
    WITH clustered AS MATERIALIZED (
      SELECT k.processed_at, k.battle_id FROM ${tableOf(killmails)} k
      WHERE k.processed_at >= ${new Date(fromMs)} AND k.processed_at < ${new Date(untilMs)}
      ORDER BY k.processed_at DESC LIMIT ${clusteredKillmails}),
    edge AS (SELECT min(c.processed_at) AS oldest, count(*) AS rows FROM clustered c)
    SELECT ${slotOf(sql`c.processed_at`)}::text AS slot, count(DISTINCT c.battle_id) AS count, e.oldest, e.rows
    FROM edge e LEFT JOIN clustered c ON true GROUP BY 1, 3, 4`.execute(db)
  const [edge] = rows
  const isWhole = Number(edge?.rows ?? 0) < clusteredKillmails
  return perHour(rows, fromMs, untilMs, isWhole ? -Infinity : (edge?.oldest?.getTime() ?? Infinity))
}

/** Seconds that the newest runs took, each in the slot in which it began, oldest first. By the index on `started_at`. */
export async function selectRunSlots(db: Kysely<unknown>, stateSchema: string): Promise<readonly Slot[]> {
  const { rows } = await sql<{ slot: string; seconds: number }>`
    SELECT ${slotOf(sql`r.started_at`)}::text AS slot,
      max(extract(epoch FROM r.finished_at - r.started_at))::float8 AS seconds
    FROM (SELECT r.started_at, r.finished_at FROM ${sql.id(stateSchema, 'run')} r
      ORDER BY r.started_at DESC LIMIT ${runsLookedAt}) r
    GROUP BY 1 ORDER BY min(r.started_at)`.execute(db)
  return rows.map(({ slot, seconds }) => ({ startMs: Number(slot) * slotMs, value: seconds }))
}

/** Of this database, indexes and TOAST included: a look at each of its files, and at none of their pages. */
export async function selectDatabaseBytes(db: Kysely<unknown>): Promise<number> {
  const { rows } = await sql<{ bytes: string }>`
    SELECT pg_catalog.pg_database_size(pg_catalog.current_database()) AS bytes`.execute(db)
  return Number(rows[0]?.bytes ?? 0)
}

/**
 * Writes what was learned, if nobody did since it was read: done twice it does nothing the second time. Resolves to whether it did.
 */
export async function recordAdvance(
  db: Kysely<unknown>,
  stateSchema: string,
  metric: string,
  before: DetectorState | undefined,
  { state, learned, rescaledBy }: Advance,
): Promise<boolean> {
  const baseline = sql.id(stateSchema, 'health_baseline')
  const readAt = before === undefined ? sql`'-infinity'::timestamptz` : sql`${new Date(before.lastSlotMs)}::timestamptz`
  const { rows } = await sql`
    INSERT INTO ${sql.id(stateSchema, 'health_metric')} AS m (metric, last_slot_at, state)
    VALUES (${metric}, ${new Date(state.lastSlotMs)}, ${JSON.stringify(state)}::jsonb)
    ON CONFLICT (metric) DO UPDATE SET last_slot_at = excluded.last_slot_at, state = excluded.state
      WHERE m.last_slot_at < excluded.last_slot_at AND (m.last_slot_at = ${readAt} OR ${before === undefined})
    RETURNING m.metric`.execute(db)
  if (rows.length === 0) return false
  if (rescaledBy !== undefined) {
    await sql`UPDATE ${baseline} AS b
      SET values = ARRAY(SELECT v * ${rescaledBy}::float8 FROM unnest(b.values) WITH ORDINALITY AS u (v, i) ORDER BY i)
      WHERE b.metric = ${metric}`.execute(db)
  }
  if (learned.size > 0) {
    const hours = JSON.stringify([...learned].map(([hour, values]) => ({ hour, values })))
    await sql`INSERT INTO ${baseline} (metric, hour_of_week, values)
      SELECT ${metric}, h.hour, ARRAY(SELECT json_array_elements_text(h.values)::float8)
      FROM json_to_recordset(${hours}::json) AS h (hour smallint, values json)
      ON CONFLICT (metric, hour_of_week) DO UPDATE SET values = excluded.values`.execute(db)
  }
  return true
}

function tableOf(name: string): RawBuilder<unknown> {
  const relation = parseRelationName(name)
  return sql`${sql.id(relation.schema, relation.name)}`
}
