/**
 * Whether the rollups are right, by hand-written SQL of another shape than the task's: the task joins, ranks and groups in one pass over
 * arrays; here every killmail and battle is first written out as a list of facts, one per id and side, and the lists are then counted.
 */
import type pg from 'pg'

export interface RollupComparison {
  readonly rollup: string
  /** Rows that the rollup has. */
  readonly rows: number
  /** Rows that it has and should not have, or should have and has not; one that is different counts twice. */
  readonly differing: number
}

interface Facts {
  readonly table: string
  readonly key: string
  /** `day, key, killmail, value, side`: a killmail once for each id on each side of it. */
  readonly killmails: string
  /** `day, key, battle, pilot`: a battle once for each of its participants that belong to the id. */
  readonly battles: string
}

const dayOf = (time: string) => `to_char(${time} AT TIME ZONE 'UTC', 'YYYY-MM-DD')::date`

/** Two lists, one per side; UNION leaves one of those that an array names twice. */
const bySide = (victim: string, attackers: string) => `
  SELECT ${dayOf('occurred_at')} AS day, ${victim} AS key, killmail_id AS killmail, isk_value AS value, 'victim' AS side
  FROM public.killmail_events WHERE ${victim} IS NOT NULL
  UNION
  SELECT ${dayOf('occurred_at')}, attacker, killmail_id, isk_value, 'attacker'
  FROM public.killmail_events CROSS JOIN unnest(${attackers}) AS attacker WHERE attacker IS NOT NULL`

const onBothSides = (facts: string) => `
  SELECT f.*, side FROM (${facts}) f CROSS JOIN (VALUES ('victim'), ('attacker')) AS sides (side)`

const ofParticipants = (column: string) => `
  SELECT ${dayOf('start_time')} AS day, ${column} AS key, battle_id AS battle, character_id AS pilot
  FROM public.battle_participants JOIN public.battles ON id = battle_id WHERE ${column} IS NOT NULL`

const ofBattles = (key: string) => `
  SELECT ${dayOf('start_time')} AS day, ${key} AS key, id AS battle, character_id AS pilot
  FROM public.battles LEFT JOIN public.battle_participants ON battle_id = id`

const securityType = `coalesce(security_type::text, 'unknown')`

const rollups: readonly Facts[] = [
  {
    table: 'statistics_by_system',
    key: 'system_id',
    killmails: onBothSides(
      `SELECT ${dayOf('occurred_at')} AS day, system_id AS key, killmail_id AS killmail, isk_value AS value FROM public.killmail_events`,
    ),
    battles: ofBattles('system_id'),
  },
  {
    table: 'statistics_by_alliance',
    key: 'alliance_id',
    killmails: bySide('victim_alliance_id', 'attacker_alliance_ids'),
    battles: ofParticipants('alliance_id'),
  },
  {
    table: 'statistics_by_corporation',
    key: 'corporation_id',
    killmails: bySide('victim_corp_id', 'attacker_corp_ids'),
    battles: ofParticipants('corp_id'),
  },
  {
    table: 'statistics_by_ship_type',
    key: 'ship_type_id',
    killmails: `
      SELECT DISTINCT ${dayOf('occurred_at')} AS day, ship_type_id AS key, killmail_id AS killmail,
        max(killmail_value) OVER (PARTITION BY ${dayOf('occurred_at')}, ship_type_id, killmail_id)::numeric AS value,
        CASE WHEN is_loss THEN 'victim' ELSE 'attacker' END AS side
      FROM public.pilot_ship_history`,
    battles: ofParticipants('ship_type_id'),
  },
  {
    table: 'statistics_by_security_type',
    key: 'security_type',
    killmails: onBothSides(
      `SELECT ${dayOf('start_time')} AS day, ${securityType} AS key, killmail_id AS killmail, isk_value AS value
       FROM public.battle_killmails JOIN public.battles ON id = battle_id`,
    ),
    battles: ofBattles(securityType),
  },
]

/** Counts every rollup anew and compares all of its rows and columns. Only where nothing was archived, and nothing is being written. */
export async function compareRollups(database: pg.Client): Promise<readonly RollupComparison[]> {
  const comparisons: RollupComparison[] = []
  for (const facts of rollups) {
    const { rows } = await database.query<{ rows: string; differing: string }>(comparison(facts))
    comparisons.push({
      rollup: facts.table,
      rows: Number(rows[0]?.rows),
      differing: Number(rows[0]?.differing),
    })
  }
  return comparisons
}

function comparison({ table, key, killmails, battles }: Facts): string {
  return `
    WITH killmail_facts AS MATERIALIZED (${killmails}), battle_facts AS MATERIALIZED (${battles}),
    killmails AS (SELECT day, key, count(DISTINCT killmail) AS killmails FROM killmail_facts GROUP BY 1, 2),
    destroyed AS (SELECT day, key, sum(value) AS value FROM killmail_facts WHERE side = 'attacker' GROUP BY 1, 2),
    lost AS (SELECT day, key, sum(value) AS value FROM killmail_facts WHERE side = 'victim' GROUP BY 1, 2),
    battles AS (SELECT day, key, count(DISTINCT battle) AS battles, count(DISTINCT pilot) AS pilots FROM battle_facts GROUP BY 1, 2),
    biggest AS (
      SELECT DISTINCT ON (day, key) day, key, id, total_kills FROM battle_facts JOIN public.battles ON id = battle
      ORDER BY day, key, total_kills DESC, total_isk_destroyed DESC, id),
    expected AS (
      SELECT day, key, coalesce(battles, 0) AS battles, coalesce(killmails, 0) AS killmails, coalesce(destroyed.value, 0) AS destroyed,
        coalesce(lost.value, 0) AS lost, coalesce(pilots, 0) AS pilots, id, total_kills
      FROM (SELECT day, key FROM killmail_facts UNION SELECT day, key FROM battle_facts) keys
      LEFT JOIN killmails USING (day, key) LEFT JOIN destroyed USING (day, key) LEFT JOIN lost USING (day, key)
      LEFT JOIN battles USING (day, key) LEFT JOIN biggest USING (day, key)),
    stored AS (
      SELECT day, ${key} AS key, battles, killmails, isk_destroyed, isk_lost, participants, biggest_battle_id, biggest_battle_killmails
      FROM scheduler.${table})
    SELECT (SELECT count(*) FROM stored) AS rows,
      (SELECT count(*) FROM (SELECT * FROM expected EXCEPT ALL SELECT * FROM stored) missing)
        + (SELECT count(*) FROM (SELECT * FROM stored EXCEPT ALL SELECT * FROM expected) extra) AS differing`
}
