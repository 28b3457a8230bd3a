/**
 * BattleScope's tables with generated rows, made in SQL alone: a million killmails over 60 months take about a minute. In the proportions
 * of the real system: 51 000 battles, 0.7 million participants and 1.8 million rows of history for a million killmails.
 */
import type { TestDatabase } from '@battlescope/scheduler-testing'

/** The last day that has rows. */
export const lastDay = '2026-11-24'
/** The first one: 60 months before. */
export const firstDay = '2021-11-25'

export async function fillGeneratedDatabase(database: TestDatabase, killmails: number): Promise<void> {
  for (const statement of statements(killmails)) await database.query(statement)
}

/** Ids are drawn with a power, so that a few systems, alliances and ships have most of the killmails, as in the real data. */
const skewed = (first: number, count: number, power: number) =>
  `(${first} + floor(${count} * power(random(), ${power})))::bigint`
const system = skewed(30_000_001, 3500, 3)
const alliance = skewed(99_000_001, 3000, 3)
const corporation = skewed(98_000_001, 12_000, 2.5)
const character = skewed(2_112_000_001, 60_000, 1.7)
const shipType = skewed(580, 420, 2.5)
/** An array of one to `most` ids. The reference to the outer row makes PostgreSQL compute it anew for each row. */
const several = (id: string, most: number) =>
  `ARRAY(SELECT DISTINCT ${id} FROM generate_series(1, (1 + floor(${most} * power(random(), 2)) + 0 * (i % 2))::int))`

function statements(killmails: number): readonly string[] {
  const battles = Math.round(killmails * 0.051)
  const span = `(timestamptz '${lastDay} 23:00Z' - timestamptz '${firstDay} 00:00Z')`
  return [
    'SELECT setseed(0.25)',
    `INSERT INTO public.battles (id, system_id, start_time, end_time, total_kills, total_isk_destroyed, zkill_related_url, security_type)
     SELECT md5('battle ' || i)::uuid, system_id, start_time, start_time + interval '25 minutes', 0, 0, 'https://zkillboard.com/related/',
       (ARRAY['highsec', 'lowsec', 'lowsec', 'nullsec', 'nullsec', 'nullsec', 'wormhole', 'pochven', NULL])[1 + system_id % 9]::public.security_type
     FROM (SELECT i, ${system} AS system_id, timestamptz '${firstDay} 00:00Z' + ${span} * (i::float8 / ${battles}) AS start_time
           FROM generate_series(1, ${battles}) AS i) b`,
    // Of a battle 2 to 30 killmails, six in the middle; the rest of them stand alone. Ids grow with time.
    `INSERT INTO public.killmail_events (killmail_id, system_id, occurred_at, victim_alliance_id, victim_corp_id, victim_character_id,
       attacker_character_ids, attacker_alliance_ids, attacker_corp_ids, isk_value, zkb_url, processed_at, battle_id)
     SELECT 70000000 + i, system_id, occurred_at, CASE WHEN random() < 0.8 THEN ${alliance} END, ${corporation}, ${character},
       ${several(character, 9)}, ${several(alliance, 3)}, ${several(corporation, 5)},
       round((1000000 * exp(3 * random() * random() * 2))::numeric, 2), 'https://zkillboard.com/kill/' || (70000000 + i) || '/', occurred_at, battle_id
     FROM (SELECT row_number() OVER (ORDER BY occurred_at) AS i, * FROM (
       SELECT b.system_id, b.start_time + random() * interval '25 minutes' AS occurred_at, b.id AS battle_id
       FROM public.battles b, generate_series(1, 2 + floor(28 * power((hashtext(b.id::text) & 1023) / 1023.0, 5))::int)
       UNION ALL
       SELECT ${system}, timestamptz '${firstDay} 00:00Z' + ${span} * (i::float8 / ${killmails}), NULL
       FROM generate_series(1, ${Math.round(killmails * 0.66)}) AS j, LATERAL (SELECT (j / 0.66)::bigint AS i) n
     ) k) k`,
    `INSERT INTO public.battle_killmails (battle_id, killmail_id, zkb_url, occurred_at, victim_alliance_id, isk_value, attacker_alliance_ids)
     SELECT battle_id, killmail_id, zkb_url, occurred_at, victim_alliance_id, isk_value, attacker_alliance_ids
     FROM public.killmail_events WHERE battle_id IS NOT NULL`,
    `UPDATE public.battles b SET total_kills = k.kills, total_isk_destroyed = k.isk
     FROM (SELECT battle_id, count(*) AS kills, sum(isk_value) AS isk FROM public.battle_killmails GROUP BY 1) k WHERE k.battle_id = b.id`,
    `INSERT INTO public.battle_participants (battle_id, character_id, alliance_id, corp_id, ship_type_id, is_victim)
     SELECT id, ${character}, CASE WHEN random() < 0.85 THEN ${alliance} END, ${corporation}, ${shipType}, random() < 0.3
     FROM public.battles, generate_series(1, (4 + total_kills * 1.6)::int) AS i ON CONFLICT DO NOTHING`,
    `INSERT INTO public.pilot_ship_history (killmail_id, character_id, ship_type_id, alliance_id, corp_id, system_id, is_loss, ship_value,
       killmail_value, occurred_at, zkb_url)
     SELECT killmail_id, victim_character_id, ${shipType}, victim_alliance_id, victim_corp_id, system_id, true, round(isk_value)::bigint,
       round(isk_value)::bigint, occurred_at, zkb_url
     FROM public.killmail_events`,
    `INSERT INTO public.pilot_ship_history (killmail_id, character_id, ship_type_id, alliance_id, corp_id, system_id, is_loss, ship_value,
       killmail_value, occurred_at, zkb_url)
     SELECT killmail_id, attacker_character_ids[1], ${shipType}, attacker_alliance_ids[1], attacker_corp_ids[1], system_id, false, NULL,
       round(isk_value)::bigint, occurred_at, zkb_url
     FROM public.killmail_events WHERE killmail_id % 5 > 0 ON CONFLICT DO NOTHING`,
    'VACUUM ANALYZE',
  ]
}
