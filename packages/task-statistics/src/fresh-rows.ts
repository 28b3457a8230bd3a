/**
 * What the rows of the rollups must be for a range of days, as common table expressions of one statement. The sources are read once for all
 * rollups: the killmails of the days, the battles that began on them, and who took part in those.
 */
import { sql, type RawBuilder } from 'kysely'
import type { Day, DayRange } from './days.js'
import type { Policy, Rollup, RollupName } from './rollups.js'

/**
 * How rows of a range of days are found where no index begins with the time.
 * `plain`: by the condition alone; the planner takes an index on the time if there is one, and a scan if not.
 * `by-system`: system by system through the index on (system_id, time), jumping from one system to the next.
 */
export type Access = 'plain' | 'by-system'

export interface Counting {
  /** Schema of the scheduler's own tables. */
  readonly schema: string
  /** Rollups whose killmails can be counted. The others keep that part of their stored rows, as they do with battles. */
  readonly killmails: readonly RollupName[]
  /** Whether battles can be counted. */
  readonly battles: boolean
  readonly killmailAccess: Access
  readonly battleAccess: Access
  /** Days before this one keep what they have once it was counted; undefined: none does. */
  readonly freezeBefore: Day | undefined
}

/** The columns of every rollup beside `day` and its key. */
const values = [
  'battles',
  'killmails',
  'isk_destroyed',
  'isk_lost',
  'participants',
  'biggest_battle_id',
  'biggest_battle_killmails',
]

type Sql = RawBuilder<unknown>

/** The name of a rollup's own common table expression. */
export function cte(part: 'fresh' | 'frozen' | 'changes' | 'written' | 'removed', rollup: Rollup): Sql {
  return named(part, rollup)
}

function named(part: string, { table }: Rollup): Sql {
  return sql.id(`${part}_${table.slice('statistics_'.length)}`)
}

/**
 * Common table expressions, up to `fresh_by_…` of each rollup: `day, key`, and its columns. Days that are frozen altogether are in
 * `frozen_by_…`, and not in it.
 */
export function freshRows(rollups: readonly Rollup[], range: DayRange, counting: Counting): Sql {
  const shared = [...killmailSource(rollups, range, counting), ...battleSource(range, counting)]
  return sql.join([...shared, ...rollups.map((rollup) => ofRollup(rollup, range, counting))])
}

function ofRollup(rollup: Rollup, range: DayRange, counting: Counting): Sql {
  const frozenKillmails = named('frozen_killmails', rollup)
  const frozenBattles = named('frozen_battles', rollup)
  const countsKillmails = counting.killmails.includes(rollup.name)
  return sql`
    ${frozenKillmails} AS MATERIALIZED (${frozenDays(rollup, rollup.killmailPolicy, 'killmails', range, counting)}),
    ${frozenBattles} AS MATERIALIZED (${frozenDays(rollup, 'battles', 'battles', range, counting)}),
    ${cte('frozen', rollup)} AS MATERIALIZED (SELECT day FROM ${frozenKillmails} INTERSECT SELECT day FROM ${frozenBattles}),
    ${named('killmails', rollup)} AS (
      ${countsKillmails ? sql`SELECT * FROM (${countedKillmails(rollup, range)}) c WHERE ${notIn('c', frozenKillmails)} UNION ALL` : sql``}
      SELECT r.day, r.${sql.id(rollup.key)} AS key, r.killmails, r.isk_destroyed, r.isk_lost
      FROM ${storedIn(rollup, range, counting)} r WHERE r.killmails > 0
        ${countsKillmails ? sql`AND r.day IN (SELECT day FROM ${frozenKillmails})` : sql``}
    ),
    ${named('battles', rollup)} AS (
      ${counting.battles ? sql`SELECT * FROM (${countedBattles(rollup)}) c WHERE ${notIn('c', frozenBattles)} UNION ALL` : sql``}
      SELECT r.day, r.${sql.id(rollup.key)} AS key, r.battles, r.participants, r.biggest_battle_id, r.biggest_battle_killmails
      FROM ${storedIn(rollup, range, counting)} r WHERE r.battles > 0
        ${counting.battles ? sql`AND r.day IN (SELECT day FROM ${frozenBattles})` : sql``}
    ),
    ${cte('fresh', rollup)} AS (
      SELECT day, key, coalesce(b.battles, 0) AS battles, coalesce(k.killmails, 0) AS killmails,
        coalesce(k.isk_destroyed, 0) AS isk_destroyed, coalesce(k.isk_lost, 0) AS isk_lost,
        coalesce(b.participants, 0) AS participants, b.biggest_battle_id, b.biggest_battle_killmails
      FROM ${named('killmails', rollup)} k FULL JOIN ${named('battles', rollup)} b USING (day, key)
    )`
}

/** Rows of days that are not frozen altogether, as a source for FROM. */
export function storedIn(rollup: Rollup, range: DayRange, { schema }: Counting): Sql {
  return sql`(SELECT * FROM ${sql.id(schema, rollup.table)} s
    WHERE ${inRange(sql.id('s', 'day'), range)} AND ${notIn('s', cte('frozen', rollup))})`
}

// ── what is frozen ───────────────────────────────────────────────────────────────────────────────────────────────

/** A part of a row is frozen by the archive of its own source, or by age once it was counted; then its stored values stand. */
function frozenDays(
  rollup: Rollup,
  policy: Policy,
  counted: 'killmails' | 'battles',
  range: DayRange,
  { schema, freezeBefore }: Counting,
): Sql {
  const archived = archivedDays(policy, range, schema)
  if (freezeBefore === undefined) return archived
  return sql`${archived} UNION SELECT r.day FROM ${sql.id(schema, rollup.table)} r
    WHERE ${inRange(sql.id('r', 'day'), range)} AND r.day < ${freezeBefore}::date AND r.${sql.id(counted)} > 0`
}

/** Days of the range that an archive's manifest freezes. */
export function archivedDays(policy: Policy, range: DayRange, schema: string): Sql {
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

// ── killmails ────────────────────────────────────────────────────────────────────────────────────────────────────

/** `killmails`: read once, for systems, alliances and corporations. */
function killmailSource(rollups: readonly Rollup[], range: DayRange, counting: Counting): readonly Sql[] {
  const needed = rollups.some(
    ({ name, killmailSource: source }) => source === 'killmail_events' && counting.killmails.includes(name),
  )
  if (!needed) return []
  const columns = [
    'system_id',
    'occurred_at',
    'isk_value',
    'victim_alliance_id',
    'victim_corp_id',
    'attacker_alliance_ids',
    'attacker_corp_ids',
  ]
  const rows = rowsOf('public.killmail_events', 'occurred_at', range, counting.killmailAccess, columns)
  return [sql`killmails AS MATERIALIZED (SELECT ${dayOfTime(sql.id('k', 'occurred_at'))} AS day, k.* FROM ${rows} k)`]
}

/** `day, key, killmails, isk_destroyed, isk_lost`. */
function countedKillmails(rollup: Rollup, range: DayRange): Sql {
  switch (rollup.name) {
    case 'system':
      return sql`
        SELECT k.day, k.system_id AS key, count(*) AS killmails,
          coalesce(sum(k.isk_value), 0) AS isk_destroyed, coalesce(sum(k.isk_value), 0) AS isk_lost
        FROM killmails k GROUP BY 1, 2`
    case 'alliance':
      return countedSides('victim_alliance_id', 'attacker_alliance_ids')
    case 'corporation':
      return countedSides('victim_corp_id', 'attacker_corp_ids')
    case 'ship-type':
      // One row per killmail and ship type first: a killmail counts once, however many flew that ship.
      return sql`
        SELECT h.day, h.ship_type_id AS key, count(*) AS killmails,
          coalesce(sum(h.value) FILTER (WHERE h.attacked), 0)::numeric AS isk_destroyed,
          coalesce(sum(h.value) FILTER (WHERE h.lost), 0)::numeric AS isk_lost
        FROM (
          SELECT ${dayOfTime(sql.id('p', 'occurred_at'))} AS day, p.ship_type_id, p.killmail_id, max(p.killmail_value) AS value,
            bool_or(p.is_loss) AS lost, bool_or(NOT p.is_loss) AS attacked
          FROM public.pilot_ship_history p WHERE ${inTimeRange(sql.id('p', 'occurred_at'), range)} GROUP BY 1, 2, 3
        ) h GROUP BY 1, 2`
    case 'security-type':
      return sql`
        SELECT b.day, b.security_type AS key, count(*) AS killmails,
          coalesce(sum(k.isk_value), 0) AS isk_destroyed, coalesce(sum(k.isk_value), 0) AS isk_lost
        FROM ranked b JOIN public.battle_killmails k ON k.battle_id = b.id GROUP BY 1, 2`
  }
}

/** A killmail counts once for each id on it; its value is destroyed for those among the attackers, lost for the victim's. */
function countedSides(victim: string, attackers: string): Sql {
  return sql`
    SELECT k.day, p.key, count(*) AS killmails,
      coalesce(sum(k.isk_value) FILTER (WHERE p.key = ANY (k.${sql.id(attackers)})), 0) AS isk_destroyed,
      coalesce(sum(k.isk_value) FILTER (WHERE p.key = k.${sql.id(victim)}), 0) AS isk_lost
    FROM killmails k,
      LATERAL (SELECT pg_catalog.unnest(k.${sql.id(attackers)}) AS key UNION SELECT k.${sql.id(victim)}) p
    WHERE p.key IS NOT NULL GROUP BY 1, 2`
}

// ── battles ──────────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * `ranked`: the battles that began in the range, in order of size, so that "the biggest" is the greatest of one number wherever they are
 * grouped. `members`: a row for each participant, or one for a battle without any.
 */
function battleSource(range: DayRange, counting: Counting): readonly Sql[] {
  if (!counting.battles) return []
  const columns = ['id', 'system_id', 'start_time', 'total_kills', 'total_isk_destroyed', 'security_type']
  const rows = rowsOf('public.battles', 'start_time', range, counting.battleAccess, columns)
  return [
    sql`ranked AS MATERIALIZED (
      SELECT b.id, ${dayOfTime(sql.id('b', 'start_time'))} AS day, b.system_id, coalesce(b.security_type::text, 'unknown') AS security_type,
        b.total_kills, pg_catalog.row_number() OVER (ORDER BY b.total_kills, b.total_isk_destroyed, b.id DESC) AS rank
      FROM ${rows} b)`,
    sql`members AS MATERIALIZED (
      SELECT b.id, b.day, b.rank, b.system_id, b.security_type, p.character_id, p.alliance_id, p.corp_id, p.ship_type_id
      FROM ranked b LEFT JOIN public.battle_participants p ON p.battle_id = b.id)`,
  ]
}

const memberKeys: Readonly<Record<RollupName, string>> = {
  system: 'system_id',
  alliance: 'alliance_id',
  corporation: 'corp_id',
  'ship-type': 'ship_type_id',
  'security-type': 'security_type',
}

/** `day, key, battles, participants, biggest_battle_id, biggest_battle_killmails`. */
function countedBattles(rollup: Rollup): Sql {
  const key = sql.id('m', memberKeys[rollup.name])
  return sql`
    SELECT g.day, g.key, g.battles, g.participants, r.id AS biggest_battle_id, r.total_kills AS biggest_battle_killmails
    FROM (
      SELECT m.day, ${key} AS key, count(DISTINCT m.id) AS battles, count(DISTINCT m.character_id) AS participants, max(m.rank) AS rank
      FROM members m WHERE ${key} IS NOT NULL GROUP BY 1, 2
    ) g JOIN ranked r USING (rank)`
}

// ── where the rows are ───────────────────────────────────────────────────────────────────────────────────────────

function rowsOf(relation: string, time: string, range: DayRange, access: Access, columns: readonly string[]): Sql {
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

/** The columns beside `day` and the key, as a list. */
export function columns(alias?: string): Sql {
  return sql.join(values.map((column) => (alias === undefined ? sql.id(column) : sql.id(alias, column))))
}

function notIn(alias: string, days: Sql): RawBuilder<boolean> {
  return sql<boolean>`NOT EXISTS (SELECT 1 FROM ${days} z WHERE z.day = ${sql.id(alias, 'day')})`
}

export function inRange(day: Sql, { from, to }: DayRange): RawBuilder<boolean> {
  return sql<boolean>`${day} >= ${from}::date AND ${day} < ${to}::date`
}

function inTimeRange(time: Sql, { from, to }: DayRange): RawBuilder<boolean> {
  return sql<boolean>`${time} >= ${`${from}T00:00:00Z`}::timestamptz AND ${time} < ${`${to}T00:00:00Z`}::timestamptz`
}

/** Whatever the session's timezone. */
function dayOfTime(time: Sql): Sql {
  return sql`(${time} AT TIME ZONE 'UTC')::date`
}
