/**
 * What the rollups must be, by hand-written SQL of another shape: who was where as sets first, then each column by itself from them, where
 * the task joins, ranks and groups in one go. Slow, and easy to believe.
 */
import type { TestDatabase } from '@battlescope/scheduler-testing'
import type { RollupName } from '../src/rollups.js'

interface Shape {
  readonly table: string
  readonly key: string
  /** `day, key, killmail, value, attacking, losing`: one row per killmail and key. */
  readonly killmails: string
  /** `day, key, battle`: one row per battle and key. */
  readonly battles: string
  /** A pilot `p` of a battle counts for key `bt.key`. */
  readonly pilot: string
}

const day = (time: string) => `date_trunc('day', ${time} AT TIME ZONE 'UTC')::date`

const sides = (victim: string, attackers: string) => `
  SELECT ${day('e.occurred_at')} AS day, x.key, e.killmail_id AS killmail, coalesce(e.isk_value, 0) AS value,
    coalesce(x.key = ANY (array_remove(e.${attackers}, NULL)), false) AS attacking, coalesce(x.key = e.${victim}, false) AS losing
  FROM killmail_events e CROSS JOIN (
    SELECT DISTINCT u FROM killmail_events, unnest(${attackers}) u WHERE u IS NOT NULL
    UNION SELECT ${victim} FROM killmail_events WHERE ${victim} IS NOT NULL) x(key)
  WHERE x.key = e.${victim} OR x.key = ANY (array_remove(e.${attackers}, NULL))`

const members = (column: string) =>
  `SELECT DISTINCT ${day('b.start_time')} AS day, p.${column} AS key, b.id AS battle FROM battle_participants p
   JOIN battles b ON b.id = p.battle_id WHERE p.${column} IS NOT NULL`

const shapes: Record<RollupName, Shape> = {
  system: {
    table: 'statistics_by_system',
    key: 'system_id',
    killmails: `SELECT ${day('occurred_at')} AS day, system_id AS key, killmail_id AS killmail, coalesce(isk_value, 0) AS value,
      true AS attacking, true AS losing FROM killmail_events`,
    battles: `SELECT ${day('start_time')} AS day, system_id AS key, id AS battle FROM battles`,
    pilot: 'true',
  },
  alliance: {
    table: 'statistics_by_alliance',
    key: 'alliance_id',
    killmails: sides('victim_alliance_id', 'attacker_alliance_ids'),
    battles: members('alliance_id'),
    pilot: 'p.alliance_id = bt.key',
  },
  corporation: {
    table: 'statistics_by_corporation',
    key: 'corporation_id',
    killmails: sides('victim_corp_id', 'attacker_corp_ids'),
    battles: members('corp_id'),
    pilot: 'p.corp_id = bt.key',
  },
  'ship-type': {
    table: 'statistics_by_ship_type',
    key: 'ship_type_id',
    killmails: `SELECT DISTINCT ${day('h.occurred_at')} AS day, h.ship_type_id AS key, h.killmail_id AS killmail,
      coalesce((SELECT max(v.killmail_value) FROM pilot_ship_history v WHERE v.killmail_id = h.killmail_id AND v.ship_type_id = h.ship_type_id
        AND ${day('v.occurred_at')} = ${day('h.occurred_at')}), 0) AS value,
      EXISTS (SELECT FROM pilot_ship_history a WHERE a.killmail_id = h.killmail_id AND a.ship_type_id = h.ship_type_id
        AND ${day('a.occurred_at')} = ${day('h.occurred_at')} AND NOT a.is_loss) AS attacking,
      EXISTS (SELECT FROM pilot_ship_history a WHERE a.killmail_id = h.killmail_id AND a.ship_type_id = h.ship_type_id
        AND ${day('a.occurred_at')} = ${day('h.occurred_at')} AND a.is_loss) AS losing
      FROM pilot_ship_history h`,
    battles: members('ship_type_id'),
    pilot: 'p.ship_type_id = bt.key',
  },
  'security-type': {
    table: 'statistics_by_security_type',
    key: 'security_type',
    killmails: `SELECT ${day('b.start_time')} AS day, coalesce(b.security_type::text, 'unknown') AS key, row_number() OVER () AS killmail,
      coalesce(k.isk_value, 0) AS value, true AS attacking, true AS losing FROM battle_killmails k JOIN battles b ON b.id = k.battle_id`,
    battles: `SELECT ${day('start_time')} AS day, coalesce(security_type::text, 'unknown') AS key, id AS battle FROM battles`,
    pilot: 'true',
  },
}

/** Rows `day, key, battles, killmails, isk_destroyed, isk_lost, participants, biggest_battle_id, biggest_battle_killmails`, as text. */
function expectedRows(name: RollupName): string {
  const { killmails, battles, pilot } = shapes[name]
  return `
    WITH km AS MATERIALIZED (${killmails}), bt AS MATERIALIZED (${battles})
    SELECT to_char(k.day, 'YYYY-MM-DD') AS day, k.key::text AS key, coalesce(b.battles, 0)::text AS battles, coalesce(n.killmails, 0)::text AS killmails,
      trim_scale(coalesce(a.value, 0)::numeric)::text AS isk_destroyed, trim_scale(coalesce(l.value, 0)::numeric)::text AS isk_lost,
      coalesce(p.participants, 0)::text AS participants, big.id::text AS biggest_battle_id, big.total_kills::text AS biggest_battle_killmails
    FROM (SELECT day, key FROM km UNION SELECT day, key FROM bt) k
    LEFT JOIN (SELECT day, key, count(*) AS battles FROM bt GROUP BY 1, 2) b USING (day, key)
    LEFT JOIN (SELECT day, key, count(DISTINCT killmail) AS killmails FROM km GROUP BY 1, 2) n USING (day, key)
    LEFT JOIN (SELECT day, key, sum(value) AS value FROM km WHERE attacking GROUP BY 1, 2) a USING (day, key)
    LEFT JOIN (SELECT day, key, sum(value) AS value FROM km WHERE losing GROUP BY 1, 2) l USING (day, key)
    LEFT JOIN (
      SELECT day, key, count(*) AS participants FROM (
        SELECT DISTINCT bt.day, bt.key, p.character_id FROM battle_participants p JOIN bt ON bt.battle = p.battle_id WHERE ${pilot}) c GROUP BY 1, 2
    ) p USING (day, key)
    LEFT JOIN (
      SELECT DISTINCT ON (bt.day, bt.key) bt.day, bt.key, b.id, b.total_kills FROM bt JOIN battles b ON b.id = bt.battle
      ORDER BY bt.day, bt.key, b.total_kills DESC, b.total_isk_destroyed DESC, b.id
    ) big USING (day, key)
    ORDER BY 1, 2`
}

function storedRows(name: RollupName): string {
  const { table, key } = shapes[name]
  return `
    SELECT to_char(day, 'YYYY-MM-DD') AS day, ${key}::text AS key, battles::text, killmails::text, trim_scale(isk_destroyed)::text AS isk_destroyed,
      trim_scale(isk_lost)::text AS isk_lost, participants::text, biggest_battle_id::text, biggest_battle_killmails::text
    FROM scheduler.${table} ORDER BY 1, 2`
}

export type RollupRow = Readonly<Record<string, string | null>>

/** Both as rows, by rollup, for a readable difference. */
export async function compareWithOracle(
  database: TestDatabase,
  names: readonly RollupName[] = Object.keys(shapes) as RollupName[],
): Promise<{ readonly stored: Record<string, RollupRow[]>; readonly expected: Record<string, RollupRow[]> }> {
  const stored: Record<string, RollupRow[]> = {}
  const expected: Record<string, RollupRow[]> = {}
  for (const name of names) {
    stored[name] = await database.query<RollupRow>(storedRows(name))
    expected[name] = await database.query<RollupRow>(expectedRows(name))
  }
  return { stored, expected }
}
