/** The yardstick: each rollup of all days by one INSERT … SELECT … GROUP BY, as somebody would write it who needs it once. */
import type { RollupName } from '../src/rollups.js'

const day = (time: string) => `(${time} AT TIME ZONE 'UTC')::date`

const sides = (victim: string, attackers: string) => `
  SELECT ${day('k.occurred_at')} AS day, p.key, count(*) AS killmails,
    sum(k.isk_value) FILTER (WHERE p.key = ANY (k.${attackers})) AS destroyed, sum(k.isk_value) FILTER (WHERE p.key = k.${victim}) AS lost
  FROM public.killmail_events k, LATERAL (SELECT unnest(k.${attackers}) AS key UNION SELECT k.${victim}) p
  WHERE p.key IS NOT NULL GROUP BY 1, 2`

const killmails: Record<RollupName, string> = {
  system: `SELECT ${day('occurred_at')} AS day, system_id AS key, count(*) AS killmails, sum(isk_value) AS destroyed, sum(isk_value) AS lost
    FROM public.killmail_events GROUP BY 1, 2`,
  alliance: sides('victim_alliance_id', 'attacker_alliance_ids'),
  corporation: sides('victim_corp_id', 'attacker_corp_ids'),
  'ship-type': `SELECT day, ship_type_id AS key, count(*) AS killmails, sum(value) FILTER (WHERE attacked) AS destroyed, sum(value) FILTER (WHERE lost) AS lost
    FROM (SELECT ${day('occurred_at')} AS day, ship_type_id, killmail_id, max(killmail_value) AS value, bool_or(is_loss) AS lost, bool_or(NOT is_loss) AS attacked
      FROM public.pilot_ship_history GROUP BY 1, 2, 3) h GROUP BY 1, 2`,
  'security-type': `SELECT ${day('b.start_time')} AS day, coalesce(b.security_type::text, 'unknown') AS key, count(*) AS killmails,
    sum(k.isk_value) AS destroyed, sum(k.isk_value) AS lost FROM public.battles b JOIN public.battle_killmails k ON k.battle_id = b.id GROUP BY 1, 2`,
}

const battleKeys: Record<RollupName, string> = {
  system: 'b.system_id',
  alliance: 'p.alliance_id',
  corporation: 'p.corp_id',
  'ship-type': 'p.ship_type_id',
  'security-type': `coalesce(b.security_type::text, 'unknown')`,
}

export function singleStatement(name: RollupName, table: string): string {
  return `
    WITH ranked AS (SELECT *, row_number() OVER (ORDER BY total_kills, total_isk_destroyed, id DESC) AS rank FROM public.battles), b AS (
      SELECT ${day('b.start_time')} AS day, ${battleKeys[name]} AS key, count(DISTINCT b.id) AS battles, count(DISTINCT p.character_id) AS pilots, max(b.rank) AS rank
      FROM ranked b LEFT JOIN public.battle_participants p ON p.battle_id = b.id WHERE ${battleKeys[name]} IS NOT NULL GROUP BY 1, 2)
    INSERT INTO ${table}
    SELECT day, key, coalesce(battles, 0), coalesce(killmails, 0), coalesce(destroyed, 0), coalesce(lost, 0), coalesce(pilots, 0), id, total_kills
    FROM (${killmails[name]}) k FULL JOIN (
      SELECT b.*, r.id, r.total_kills FROM b JOIN ranked r USING (rank)
    ) b USING (day, key)`
}
