/** What this task reads of the catalog and of its own tables, and what it writes there; how rollups are counted is in recount.ts. */
import { sql, type RawBuilder } from 'kysely'
import type { Day, DayRange } from './days.js'
import type { Difference } from './recount.js'
import { rollups, sourceColumns, sourceNames, type RollupName, type SourceName } from './rollups.js'
import { ownTables, type Db } from './tables.js'

// ── reads ────────────────────────────────────────────────────────────────────────────────────────────────────────

export interface SourceFacts {
  /** It exists, with all columns that are read. */
  readonly present: boolean
  /** A valid index begins with the column that says when. */
  readonly timeIndex: boolean
  /** A valid b-tree begins with (system_id, the column that says when), and no system is NULL. */
  readonly systemIndex: boolean
  /** Heap alone; of a partitioned table all partitions. */
  readonly sizeBytes: number
}

interface SourceRow {
  readonly name: SourceName
  readonly present: boolean
  readonly time_index: boolean
  readonly system_index: boolean
  readonly size_bytes: string
}

const timeColumns: Partial<Record<SourceName, string>> = {
  killmail_events: 'occurred_at',
  pilot_ship_history: 'occurred_at',
  battles: 'start_time',
}

export async function selectSources(db: Db): Promise<Readonly<Record<SourceName, SourceFacts>>> {
  const wanted = sql.join(
    sourceNames.map(
      (name) => sql`(${name}::text, ${textArray(sourceColumns[name])}, ${timeColumns[name] ?? null}::text)`,
    ),
  )
  const { rows } = await sql<SourceRow>`
    SELECT w.name, c.oid IS NOT NULL AND NOT EXISTS (
        SELECT 1 FROM pg_catalog.unnest(w.columns) AS needed WHERE NOT EXISTS (
          SELECT 1 FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attname = needed AND NOT a.attisdropped)) AS present,
      EXISTS (
        SELECT 1 FROM pg_catalog.pg_index i JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
        WHERE i.indrelid = c.oid AND i.indisvalid AND i.indpred IS NULL AND a.attname = w.time_column) AS time_index,
      EXISTS (
        SELECT 1 FROM pg_catalog.pg_index i
          JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid JOIN pg_catalog.pg_am m ON m.oid = x.relam AND m.amname = 'btree'
          JOIN pg_catalog.pg_attribute s ON s.attrelid = i.indrelid AND s.attnum = i.indkey[0]
          JOIN pg_catalog.pg_attribute t ON t.attrelid = i.indrelid AND t.attnum = i.indkey[1]
        WHERE i.indrelid = c.oid AND i.indisvalid AND i.indpred IS NULL AND i.indnkeyatts >= 2
          AND s.attname = 'system_id' AND s.attnotnull AND t.attname = w.time_column) AS system_index,
      coalesce((SELECT sum(pg_catalog.pg_relation_size(p.relid)) FROM pg_catalog.pg_partition_tree(c.oid) p), 0) AS size_bytes
    FROM (VALUES ${wanted}) AS w (name, columns, time_column)
      LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = 'public'
      LEFT JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = w.name AND c.relkind IN ('r', 'p')`.execute(
    db,
  )
  const facts = rows.map((row): readonly [SourceName, SourceFacts] => [
    row.name,
    {
      present: row.present,
      timeIndex: row.time_index,
      systemIndex: row.system_index,
      sizeBytes: Number(row.size_bytes),
    },
  ])
  return Object.fromEntries(facts) as Record<SourceName, SourceFacts>
}

export interface DayCount {
  readonly day: Day
  /** What counting the day costs, in killmails. */
  readonly rows: number
}

/** Pages that the sample of a table reads, about: 16 MiB. */
const samplePages = 2048
const pageBytes = 8192
/** A battle with its participants costs about as much as this many killmails. */
const battleWeight = 5

/**
 * Killmails and battles per day, by a sample of each table's pages: whole up to 16 MiB, and never a scan of a large one. The same pages as
 * long as the table has the same size, so that a plan and the run after it cut the same slices.
 */
export async function selectDensity(
  db: Db,
  { killmail_events: events, battles }: Readonly<Record<SourceName, SourceFacts>>,
): Promise<readonly DayCount[]> {
  const samples = [
    ...(events.present ? [sampledDays('public.killmail_events', 'occurred_at', events.sizeBytes, 1)] : []),
    ...(battles.present ? [sampledDays('public.battles', 'start_time', battles.sizeBytes, battleWeight)] : []),
  ]
  if (samples.length === 0) return []
  const { rows } = await sql<{ day: string; rows: string }>`
    SELECT pg_catalog.to_char(d.day, 'YYYY-MM-DD') AS day, sum(d.rows) AS rows
    FROM (${sql.join(samples, sql` UNION ALL `)}) d GROUP BY d.day ORDER BY d.day`.execute(db)
  return rows.map((row) => ({ day: row.day, rows: Number(row.rows) }))
}

function sampledDays(relation: string, time: string, sizeBytes: number, weight: number): RawBuilder<unknown> {
  const percent = Math.min(100, (100 * samplePages) / Math.max(1, sizeBytes / pageBytes))
  const at = sql.id('t', time)
  return sql`
    SELECT (${at} AT TIME ZONE 'UTC')::date AS day, count(*) * ${sql.lit((weight * 100) / percent)} AS rows
    FROM ${sql.table(relation)} t TABLESAMPLE SYSTEM (${sql.lit(percent)}) REPEATABLE (1)
    WHERE ${at} >= '0001-01-01T00:00:00Z' AND ${at} < '9999-12-31T00:00:00Z' GROUP BY 1`
}

/** The first day that any rollup has; undefined when they are empty. */
export async function selectOldestCounted(db: Db, schema: string): Promise<Day | undefined> {
  const { rows } = await sql<{ day: string | null }>`
    SELECT pg_catalog.to_char(least(${sql.join(
      rollups.map(({ table }) => sql`(SELECT min(r.day) FROM ${sql.id(schema, table)} r)`),
    )}), 'YYYY-MM-DD') AS day`.execute(db)
  return rows[0]?.day ?? undefined
}

export interface Notes {
  /** Ascending. */
  readonly days: readonly Day[]
  /** Of battles that are gone: their own end was noted by day. */
  readonly obsolete: number
}

/** What triggers noted and nobody has counted yet. Battles are looked up now: a day may have changed since the note. */
export async function selectNotes(db: Db, schema: string, battlesPresent: boolean): Promise<Notes> {
  const { rows } = await sql<{ day: string | null; notes: string }>`
    SELECT pg_catalog.to_char(n.day, 'YYYY-MM-DD') AS day, count(*) AS notes
    FROM (${notesWithDay(schema, battlesPresent)}) n GROUP BY 1 ORDER BY 1`.execute(db)
  return {
    days: rows.flatMap(({ day }) => (day === null ? [] : [day])),
    obsolete: rows.reduce((sum, { day, notes }) => (day === null ? sum + Number(notes) : sum), 0),
  }
}

export interface SizedRelation {
  readonly schema: string
  readonly name: string
  readonly oid: string
}

/** Every relation with rows of its own outside the system schemas, of which the day has no size yet. */
export async function selectUnmeasured(
  db: Db,
  schema: string | undefined,
  day: Day,
): Promise<readonly SizedRelation[]> {
  const measured =
    schema === undefined
      ? sql`false`
      : sql`EXISTS (SELECT 1 FROM ${sql.id(schema, 'statistics_table_growth')} g
          WHERE g.day = ${day}::date AND g.relation = ${relationText()})`
  const { rows } = await sql<SizedRelation>`
    SELECT n.nspname AS schema, c.relname AS name, c.oid::text AS oid
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'm') AND c.relpersistence <> 't'
      AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND NOT ${measured}
    ORDER BY 1, 2`.execute(db)
  return rows
}

export interface Recalculation {
  readonly id: string
  readonly nextDay: Day
}

/** The one of these days (the last included) that was begun and has not ended. */
export async function selectRecalculation(
  db: Db,
  schema: string,
  fromDay: Day,
  toDay: Day,
): Promise<Recalculation | undefined> {
  return ownTables(db, schema)
    .selectFrom('statistics_recalculation')
    .select(['id', sql<string>`pg_catalog.to_char(next_day, 'YYYY-MM-DD')`.as('nextDay')])
    .where('from_day', '=', sql<Day>`${fromDay}::date`)
    .where('to_day', '=', sql<Day>`${toDay}::date`)
    .where('finished_at', 'is', null)
    .executeTakeFirst()
}

export async function selectFoundDifferences(
  db: Db,
  schema: string,
  recalculation: string,
): Promise<readonly Difference[]> {
  const rows = await ownTables(db, schema)
    .selectFrom('statistics_difference')
    .select(['rollup', sql<string>`pg_catalog.to_char(day, 'YYYY-MM-DD')`.as('day'), 'added', 'changed', 'removed'])
    .where('recalculation_id', '=', recalculation)
    .orderBy('statistics_difference.day')
    .orderBy('rollup')
    .execute()
  return rows.map((row) => ({
    rollup: row.rollup as RollupName,
    day: row.day,
    added: Number(row.added),
    changed: Number(row.changed),
    removed: Number(row.removed),
  }))
}

// ── writes ───────────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * Takes away the notes of these days, and obsolete ones. The statement sees what is committed: a note of a transaction that is still open
 * stays, and comes up in a later run. Whatever is counted after it in the same READ COMMITTED transaction sees at least what it saw.
 */
export async function deleteNotes(db: Db, schema: string, battlesPresent: boolean, range: DayRange): Promise<number> {
  const result = await sql`
    DELETE FROM ${sql.id(schema, 'changed_days')} WHERE id IN (
      SELECT n.id FROM (${notesWithDay(schema, battlesPresent)}) n
      WHERE n.day IS NULL OR (n.day >= ${range.from}::date AND n.day < ${range.to}::date))`.execute(db)
  return Number(result.numAffectedRows ?? 0)
}

/** Sizes as PostgreSQL knows them now: together they are pg_total_relation_size. A relation that is gone meanwhile is left out. */
export async function insertSizes(db: Db, schema: string, day: Day, oids: readonly string[]): Promise<number> {
  const result = await sql`
    INSERT INTO ${sql.id(schema, 'statistics_table_growth')} (day, relation, row_estimate, heap_bytes, toast_bytes, index_bytes)
    SELECT ${day}::date, s.relation, s.row_estimate, s.table_bytes - s.toast_bytes, s.toast_bytes, s.index_bytes
    FROM (
      SELECT ${relationText()} AS relation, CASE WHEN c.reltuples >= 0 THEN c.reltuples::bigint END AS row_estimate,
        pg_catalog.pg_table_size(c.oid) AS table_bytes, pg_catalog.pg_indexes_size(c.oid) AS index_bytes,
        CASE WHEN c.reltoastrelid = 0 THEN 0 ELSE pg_catalog.pg_total_relation_size(c.reltoastrelid) END AS toast_bytes
      FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      WHERE c.oid = ANY (${textArray(oids)}::oid[])
    ) s WHERE s.table_bytes IS NOT NULL AND s.toast_bytes IS NOT NULL AND s.index_bytes IS NOT NULL
    ON CONFLICT (day, relation) DO NOTHING`.execute(db)
  return Number(result.numAffectedRows ?? 0)
}

export async function insertRecalculation(db: Db, schema: string, fromDay: Day, toDay: Day): Promise<string> {
  const { id } = await ownTables(db, schema)
    .insertInto('statistics_recalculation')
    .values({ from_day: fromDay, to_day: toDay, next_day: fromDay })
    .returning('id')
    .executeTakeFirstOrThrow()
  return id
}

/** `finished`: that was the last of its days. */
export async function updateRecalculation(
  db: Db,
  schema: string,
  id: string,
  nextDay: Day,
  finished: boolean,
): Promise<void> {
  await ownTables(db, schema)
    .updateTable('statistics_recalculation')
    .set({ next_day: nextDay, ...(finished ? { finished_at: sql<Date>`now()` } : {}) })
    .where('id', '=', id)
    .execute()
}

export async function insertDifferences(
  db: Db,
  schema: string,
  recalculation: string,
  differences: readonly Difference[],
): Promise<void> {
  if (differences.length === 0) return
  const columns = sql`rollup text, day date, added bigint, changed bigint, removed bigint`
  await sql`
    INSERT INTO ${sql.id(schema, 'statistics_difference')} (recalculation_id, rollup, day, added, changed, removed)
    SELECT ${recalculation}::bigint, d.* FROM pg_catalog.jsonb_to_recordset(${JSON.stringify(differences)}::jsonb) AS d (${columns})`.execute(
    db,
  )
}

// ── small parts ──────────────────────────────────────────────────────────────────────────────────────────────────

/** `id, day`: the day that was noted, or that of the battle; NULL when the battle is gone. */
function notesWithDay(schema: string, battlesPresent: boolean): RawBuilder<unknown> {
  const notes = sql.id(schema, 'changed_days')
  if (!battlesPresent) return sql`SELECT c.id, c.day FROM ${notes} c`
  return sql`
    SELECT c.id, coalesce(c.day, (b.start_time AT TIME ZONE 'UTC')::date) AS day
    FROM ${notes} c LEFT JOIN public.battles b ON b.id = c.battle_id`
}

/** As people write it, and as it is asked for in options. */
function relationText(): RawBuilder<string> {
  return sql<string>`pg_catalog.format('%I.%I', n.nspname, c.relname)`
}

function textArray(texts: readonly string[]): RawBuilder<unknown> {
  return texts.length === 0 ? sql`ARRAY[]::text[]` : sql`ARRAY[${sql.join(texts)}]::text[]`
}
