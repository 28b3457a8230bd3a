/**
 * The SQL that counts the rollups: what their rows of a range of days must be (`fresh`), how they differ from the stored ones, and the
 * statement that makes them equal. Everything happens in one statement per rollup, so that the sources, the stored rows and the archive's
 * manifest are seen in one snapshot: rows that retention has just deleted come with the manifest that freezes their day.
 */
import { sql, type RawBuilder } from 'kysely'
import type { Day, DayRange } from './days.js'
import type { Rollup } from './rollups.js'
import type { Db } from './tables.js'

/**
 * How rows of a range of days are found where no index begins with the time.
 * `plain`: by the condition alone; the planner takes an index on the time if there is one, and a scan if not.
 * `by-system`: system by system through the index on (system_id, time), jumping from one system to the next.
 */
export type Access = 'plain' | 'by-system'

export interface Counting {
  /** Schema of the scheduler's own tables. */
  readonly schema: string
  /** What of the sources is there. The part that needs an absent one keeps its stored rows. */
  readonly killmailsCountable: boolean
  readonly battlesCountable: boolean
  readonly killmailAccess: Access
  readonly battleAccess: Access
  /** Days before this one keep what they have once it was counted; undefined: none does. */
  readonly freezeBefore: Day | undefined
}

/** Rows of one rollup and day in which the stored ones differed from what they must be. */
export interface Difference {
  readonly day: Day
  readonly added: number
  readonly changed: number
  readonly removed: number
}

interface DifferenceRow {
  readonly day: string
  readonly added: string
  readonly changed: string
  readonly removed: string
}

const values = [
  'battles',
  'killmails',
  'isk_destroyed',
  'isk_lost',
  'participants',
  'biggest_battle_id',
  'biggest_battle_killmails',
]

/** Reads alone: which days differ. */
export async function selectDifferences(
  db: Db,
  rollup: Rollup,
  range: DayRange,
  counting: Counting,
): Promise<readonly Difference[]> {
  const { rows } = await sql<DifferenceRow>`
    WITH ${fresh(rollup, range, counting)}, stored AS (${storedRows(rollup, range, counting)})
    SELECT pg_catalog.to_char(coalesce(f.day, s.day), 'YYYY-MM-DD') AS day,
      count(*) FILTER (WHERE s.day IS NULL) AS added,
      count(*) FILTER (WHERE s.day IS NOT NULL AND f.day IS NOT NULL) AS changed,
      count(*) FILTER (WHERE f.day IS NULL) AS removed
    FROM fresh f FULL JOIN stored s ON s.day = f.day AND s.key = f.key
    WHERE s.day IS NULL OR f.day IS NULL OR ${differs('f', 's')}
    GROUP BY 1 ORDER BY 1`.execute(db)
  return rows.map(differenceOf)
}

/** Whether the rollup has any row in the range. */
export async function selectHasRows(db: Db, rollup: Rollup, range: DayRange, schema: string): Promise<boolean> {
  const { rows } = await sql<{ present: boolean }>`
    SELECT EXISTS (SELECT 1 FROM ${sql.id(schema, rollup.table)} r WHERE ${inRange(sql.id('r', 'day'), range)}) AS present`.execute(
    db,
  )
  return rows[0]?.present === true
}

/** Fills days of which the rollup has no row: one INSERT … SELECT, without looking for differences. */
export async function insertRows(
  db: Db,
  rollup: Rollup,
  range: DayRange,
  counting: Counting,
): Promise<readonly Difference[]> {
  const { rows } = await sql<DifferenceRow>`
    WITH ${fresh(rollup, range, counting)}, inserted AS (
      INSERT INTO ${sql.id(counting.schema, rollup.table)} (day, ${sql.id(rollup.key)}, ${columns()})
      SELECT day, key, ${columns()} FROM fresh RETURNING day
    )
    SELECT pg_catalog.to_char(day, 'YYYY-MM-DD') AS day, count(*) AS added, 0 AS changed, 0 AS removed FROM inserted
    GROUP BY 1 ORDER BY 1`.execute(db)
  return rows.map(differenceOf)
}

/** Makes the stored rows of the range what they must be; rows that are right already are not written. */
export async function replaceRows(
  db: Db,
  rollup: Rollup,
  range: DayRange,
  counting: Counting,
): Promise<readonly Difference[]> {
  const table = sql.id(counting.schema, rollup.table)
  const key = sql.id(rollup.key)
  const { rows } = await sql<DifferenceRow>`
    WITH ${fresh(rollup, range, counting)}, stored AS MATERIALIZED (${storedRows(rollup, range, counting)}), written AS (
      INSERT INTO ${table} AS r (day, ${key}, ${columns()})
      SELECT f.day, f.key, ${columns('f')} FROM fresh f LEFT JOIN stored s ON s.day = f.day AND s.key = f.key
      WHERE s.day IS NULL OR ${differs('f', 's')}
      ON CONFLICT (day, ${key}) DO UPDATE SET (${columns()}) = ROW(${columns('excluded')})
      RETURNING r.day, r.${key} AS key
    ), removed AS (
      DELETE FROM ${table} r WHERE ${inRange(sql.id('r', 'day'), range)} AND ${notIn('r', 'frozen')}
        AND NOT EXISTS (SELECT 1 FROM fresh f WHERE f.day = r.day AND f.key = r.${key})
      RETURNING r.day
    )
    SELECT pg_catalog.to_char(c.day, 'YYYY-MM-DD') AS day, sum(c.added) AS added, sum(c.changed) AS changed, sum(c.removed) AS removed
    FROM (
      SELECT w.day, count(*) FILTER (WHERE s.day IS NULL) AS added, count(s.day) AS changed, 0 AS removed
      FROM written w LEFT JOIN stored s ON s.day = w.day AND s.key = w.key GROUP BY w.day
      UNION ALL SELECT day, 0, 0, count(*) FROM removed GROUP BY day
    ) c GROUP BY 1 ORDER BY 1`.execute(db)
  return rows.map(differenceOf)
}

/** Days of the range that an archive's manifest freezes, for killmails or for battles. */
export async function countFrozenDays(
  db: Db,
  policy: 'killmails' | 'battles',
  range: DayRange,
  schema: string,
): Promise<number> {
  const { rows } = await sql<{ days: string }>`
    SELECT count(*) AS days FROM (${archivedDays(policy, range, schema)}) d`.execute(db)
  return Number(rows[0]?.days ?? 0)
}

// ── what the rows must be ────────────────────────────────────────────────────────────────────────────────────────

/** CTEs that end with `fresh (day, key, battles, killmails, …)`. Days that are frozen altogether are not even looked at. */
function fresh(rollup: Rollup, range: DayRange, counting: Counting): RawBuilder<unknown> {
  return sql`
    frozen_killmails AS MATERIALIZED (${frozenDays(rollup, rollup.killmailPolicy, 'killmails', range, counting)}),
    frozen_battles AS MATERIALIZED (${frozenDays(rollup, 'battles', 'battles', range, counting)}),
    frozen AS MATERIALIZED (SELECT day FROM frozen_killmails INTERSECT SELECT day FROM frozen_battles),
    ${battleParts(rollup, range, counting)},
    killmail_part AS (${killmailPart(rollup, range, counting)}),
    fresh AS (
      SELECT day, key, coalesce(b.battles, 0) AS battles, coalesce(k.killmails, 0) AS killmails,
        coalesce(k.isk_destroyed, 0) AS isk_destroyed, coalesce(k.isk_lost, 0) AS isk_lost,
        coalesce(b.participants, 0) AS participants, b.biggest_battle_id, b.biggest_battle_killmails
      FROM killmail_part k FULL JOIN battle_part b USING (day, key)
    )`
}

/** A part of a row is frozen by the archive of its own source, or by age once it was counted; then its stored values stand. */
function frozenDays(
  rollup: Rollup,
  policy: 'killmails' | 'battles',
  counted: 'killmails' | 'battles',
  range: DayRange,
  { schema, freezeBefore }: Counting,
): RawBuilder<unknown> {
  const archived = archivedDays(policy, range, schema)
  if (freezeBefore === undefined) return archived
  return sql`${archived} UNION SELECT r.day FROM ${sql.id(schema, rollup.table)} r
    WHERE ${inRange(sql.id('r', 'day'), range)} AND r.day < ${freezeBefore}::date AND r.${sql.id(counted)} > 0`
}

function archivedDays(policy: 'killmails' | 'battles', range: DayRange, schema: string): RawBuilder<unknown> {
  const relation = policy === 'killmails' ? 'public.killmail_events' : 'public.battles'
  // Retention goes by the end of a battle, and a battle that ended on an archived day may have begun the day before.
  const reach = policy === 'killmails' ? 0 : 1
  return sql`
    SELECT DISTINCT d::date AS day
    FROM ${sql.id(schema, 'archive_batch')} a, LATERAL pg_catalog.generate_series(
      greatest(${dayOfTime(sql.id('a', 'first_at'))} - ${reach}::int, ${range.from}::date)::timestamp,
      least(${dayOfTime(sql.id('a', 'last_at'))}, ${range.to}::date - 1)::timestamp, interval '1 day') AS d
    WHERE a.state = 'deleted' AND a.relation = ${relation}`
}

function killmailPart(rollup: Rollup, range: DayRange, counting: Counting): RawBuilder<unknown> {
  const kept = sql`
    SELECT r.day, r.${sql.id(rollup.key)} AS key, r.killmails, r.isk_destroyed, r.isk_lost
    FROM ${sql.id(counting.schema, rollup.table)} r
    WHERE ${inRange(sql.id('r', 'day'), range)} AND r.killmails > 0 AND ${notIn('r', 'frozen')}`
  if (!counting.killmailsCountable) return kept
  return sql`
    SELECT * FROM (${countedKillmails(rollup, range, counting)}) c WHERE ${notIn('c', 'frozen_killmails')}
    UNION ALL ${kept} AND r.day IN (SELECT day FROM frozen_killmails)`
}

/** `day, key, killmails, isk_destroyed, isk_lost`. */
function countedKillmails(rollup: Rollup, range: DayRange, counting: Counting): RawBuilder<unknown> {
  switch (rollup.name) {
    case 'system':
      return sql`
        SELECT ${dayOfTime(sql.id('k', 'occurred_at'))} AS day, k.system_id AS key, count(*) AS killmails,
          coalesce(sum(k.isk_value), 0) AS isk_destroyed, coalesce(sum(k.isk_value), 0) AS isk_lost
        FROM ${killmailsOf(range, counting, ['system_id', 'occurred_at', 'isk_value'])} k GROUP BY 1, 2`
    case 'alliance':
      return countedSides(range, counting, 'victim_alliance_id', 'attacker_alliance_ids')
    case 'corporation':
      return countedSides(range, counting, 'victim_corp_id', 'attacker_corp_ids')
    case 'ship-type':
      // One row per killmail and ship type first: a killmail counts once, however many flew that ship.
      return sql`
        SELECT day, ship_type_id AS key, count(*) AS killmails,
          coalesce(sum(value) FILTER (WHERE attacked), 0)::numeric AS isk_destroyed, coalesce(sum(value) FILTER (WHERE lost), 0)::numeric AS isk_lost
        FROM (
          SELECT ${dayOfTime(sql.id('h', 'occurred_at'))} AS day, h.ship_type_id, h.killmail_id, max(h.killmail_value) AS value,
            bool_or(h.is_loss) AS lost, bool_or(NOT h.is_loss) AS attacked
          FROM public.pilot_ship_history h WHERE ${inTimeRange(sql.id('h', 'occurred_at'), range)} GROUP BY 1, 2, 3
        ) h GROUP BY 1, 2`
    case 'security-type':
      return sql`
        SELECT b.day, b.security_type AS key, count(*) AS killmails,
          coalesce(sum(k.isk_value), 0) AS isk_destroyed, coalesce(sum(k.isk_value), 0) AS isk_lost
        FROM ranked b JOIN public.battle_killmails k ON k.battle_id = b.id GROUP BY 1, 2`
  }
}

/** A killmail counts once for each id on it; its value is destroyed for those among the attackers, lost for the victim's. */
function countedSides(range: DayRange, counting: Counting, victim: string, attackers: string): RawBuilder<unknown> {
  const columns = ['occurred_at', 'isk_value', victim, attackers]
  return sql`
    SELECT ${dayOfTime(sql.id('k', 'occurred_at'))} AS day, p.key, count(*) AS killmails,
      coalesce(sum(k.isk_value) FILTER (WHERE p.key = ANY (k.${sql.id(attackers)})), 0) AS isk_destroyed,
      coalesce(sum(k.isk_value) FILTER (WHERE p.key = k.${sql.id(victim)}), 0) AS isk_lost
    FROM ${killmailsOf(range, counting, columns)} k,
      LATERAL (SELECT pg_catalog.unnest(k.${sql.id(attackers)}) AS key UNION SELECT k.${sql.id(victim)}) p
    WHERE p.key IS NOT NULL GROUP BY 1, 2`
}

/** CTEs `ranked`, the battles that began in the range, and `battle_part`: `day, key, battles, participants, biggest_battle_…`. */
function battleParts(rollup: Rollup, range: DayRange, counting: Counting): RawBuilder<unknown> {
  const kept = sql`
    SELECT r.day, r.${sql.id(rollup.key)} AS key, r.battles, r.participants, r.biggest_battle_id, r.biggest_battle_killmails
    FROM ${sql.id(counting.schema, rollup.table)} r
    WHERE ${inRange(sql.id('r', 'day'), range)} AND r.battles > 0 AND ${notIn('r', 'frozen')}`
  if (!counting.battlesCountable) return sql`battle_part AS (${kept})`
  // Battles in order of size, so that "the biggest" is the greatest of one number wherever they are grouped.
  return sql`
    ranked AS MATERIALIZED (
      SELECT b.id, ${dayOfTime(sql.id('b', 'start_time'))} AS day, b.system_id, coalesce(b.security_type::text, 'unknown') AS security_type,
        b.total_kills, pg_catalog.row_number() OVER (ORDER BY b.total_kills, b.total_isk_destroyed, b.id DESC) AS rank
      FROM ${battlesOf(range, counting)} b
    ), grouped AS (
      SELECT b.day, ${battleKey(rollup)} AS key, count(DISTINCT b.id) AS battles, count(DISTINCT p.character_id) AS participants,
        max(b.rank) AS rank
      FROM ranked b LEFT JOIN public.battle_participants p ON p.battle_id = b.id
      WHERE ${battleKey(rollup)} IS NOT NULL AND ${notIn('b', 'frozen_battles')} GROUP BY 1, 2
    ), battle_part AS (
      SELECT g.day, g.key, g.battles, g.participants, r.id AS biggest_battle_id, r.total_kills AS biggest_battle_killmails
      FROM grouped g JOIN ranked r USING (rank)
      UNION ALL ${kept} AND r.day IN (SELECT day FROM frozen_battles)
    )`
}

function battleKey(rollup: Rollup): RawBuilder<unknown> {
  const keys = {
    system: sql`b.system_id`,
    alliance: sql`p.alliance_id`,
    corporation: sql`p.corp_id`,
    'ship-type': sql`p.ship_type_id`,
    'security-type': sql`b.security_type`,
  }
  return keys[rollup.name]
}

// ── where the rows are ───────────────────────────────────────────────────────────────────────────────────────────

function killmailsOf(range: DayRange, { killmailAccess }: Counting, columns: readonly string[]): RawBuilder<unknown> {
  return rowsOf('public.killmail_events', 'occurred_at', range, killmailAccess, columns)
}

function battlesOf(range: DayRange, { battleAccess }: Counting): RawBuilder<unknown> {
  const columns = ['id', 'system_id', 'start_time', 'total_kills', 'total_isk_destroyed', 'security_type']
  return rowsOf('public.battles', 'start_time', range, battleAccess, columns)
}

function rowsOf(relation: string, time: string, range: DayRange, access: Access, columns: readonly string[]) {
  const table = sql.table(relation)
  const selected = sql.join(columns.map((column) => sql.id('t', column)))
  const condition = inTimeRange(sql.id('t', time), range)
  if (access === 'plain') return sql`(SELECT ${selected} FROM ${table} t WHERE ${condition})`
  // Each step of the recursion is one descent into the index, to the next greater system; there are some thousands of them.
  return sql`(
    WITH RECURSIVE systems AS (
      (SELECT t.system_id FROM ${table} t ORDER BY t.system_id LIMIT 1)
      UNION ALL
      SELECT (SELECT t.system_id FROM ${table} t WHERE t.system_id > s.system_id ORDER BY t.system_id LIMIT 1)
      FROM systems s WHERE s.system_id IS NOT NULL
    )
    SELECT ${selected} FROM systems s JOIN ${table} t ON t.system_id = s.system_id AND ${condition}
  )`
}

// ── small parts ──────────────────────────────────────────────────────────────────────────────────────────────────

function storedRows(rollup: Rollup, range: DayRange, { schema }: Counting): RawBuilder<unknown> {
  return sql`SELECT r.day, r.${sql.id(rollup.key)} AS key, ${columns('r')} FROM ${sql.id(schema, rollup.table)} r
    WHERE ${inRange(sql.id('r', 'day'), range)} AND ${notIn('r', 'frozen')}`
}

function columns(alias?: string): RawBuilder<unknown> {
  return sql.join(values.map((column) => (alias === undefined ? sql.id(column) : sql.id(alias, column))))
}

function differs(a: string, b: string): RawBuilder<boolean> {
  return sql<boolean>`ROW(${columns(a)}) IS DISTINCT FROM ROW(${columns(b)})`
}

function notIn(alias: string, frozen: string): RawBuilder<boolean> {
  return sql<boolean>`NOT EXISTS (SELECT 1 FROM ${sql.id(frozen)} z WHERE z.day = ${sql.id(alias, 'day')})`
}

function inRange(day: RawBuilder<unknown>, { from, to }: DayRange): RawBuilder<boolean> {
  return sql<boolean>`${day} >= ${from}::date AND ${day} < ${to}::date`
}

function inTimeRange(time: RawBuilder<unknown>, { from, to }: DayRange): RawBuilder<boolean> {
  return sql<boolean>`${time} >= ${`${from}T00:00:00Z`}::timestamptz AND ${time} < ${`${to}T00:00:00Z`}::timestamptz`
}

/** Whatever the session's timezone. */
function dayOfTime(time: RawBuilder<unknown>): RawBuilder<unknown> {
  return sql`(${time} AT TIME ZONE 'UTC')::date`
}

function differenceOf({ day, added, changed, removed }: DifferenceRow): Difference {
  return { day, added: Number(added), changed: Number(changed), removed: Number(removed) }
}
