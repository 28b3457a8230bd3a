/**
 * BattleScope's tables with generated rows over 66 months, made in SQL alone, in the proportions of the real system: 51 000 battles, 0.7 million
 * participants, 1.8 million rows of ship history and enrichments of 1 KB for a million killmails. Retention keeps 60 months, so that
 * every eleventh killmail has expired.
 */
import { battlescopeDdl } from '@battlescope/database/battlescope-ddl'
import type pg from 'pg'

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

/** With nothing within a week of the horizon: whoever deletes a little later, or asks in another way, deletes the same rows. */
const notNearHorizon = (time: string) =>
  `${time} NOT BETWEEN now() - interval '60 months 1 day' AND now() - interval '60 months' + interval '6 days'`

export async function fillDatabase(client: pg.Client, killmails: number): Promise<void> {
  await client.query(battlescopeDdl)
  for (const statement of statements(killmails)) await client.query(statement)
}

function statements(killmails: number): readonly string[] {
  const battles = Math.round(killmails * 0.051)
  const from = `(now() - interval '66 months')`
  const span = `(now() - interval '1 hour' - ${from})`
  return [
    'SELECT setseed(0.25)',
    `INSERT INTO public.battles (id, system_id, start_time, end_time, total_kills, total_isk_destroyed, zkill_related_url, created_at, security_type)
     SELECT md5('battle ' || i)::uuid, system_id, start_time, start_time + interval '25 minutes', 0, 0,
       'https://zkillboard.com/related/' || system_id || '/' || to_char(start_time, 'YYYYMMDDHH24MI') || '/', start_time + interval '2 hours',
       (ARRAY['highsec', 'lowsec', 'lowsec', 'nullsec', 'nullsec', 'nullsec', 'wormhole', 'pochven', NULL])[1 + system_id % 9]::public.security_type
     FROM (SELECT i, ${system} AS system_id, ${from} + ${span} * (i::float8 / ${battles}) AS start_time
           FROM generate_series(1, ${battles}) AS i) b WHERE ${notNearHorizon('start_time')}`,
    // Of a battle 2 to 30 killmails, six in the middle; the rest of them stand alone. Ids grow with time.
    `INSERT INTO public.killmail_events (killmail_id, system_id, occurred_at, victim_alliance_id, victim_corp_id, victim_character_id,
       attacker_character_ids, attacker_alliance_ids, attacker_corp_ids, isk_value, zkb_url, fetched_at, processed_at, battle_id)
     SELECT 70000000 + i, system_id, occurred_at, CASE WHEN random() < 0.8 THEN ${alliance} END, ${corporation}, ${character},
       ${several(character, 9)}, ${several(alliance, 3)}, ${several(corporation, 5)},
       round((1000000 * exp(3 * random() * random() * 2))::numeric, 2), 'https://zkillboard.com/kill/' || (70000000 + i) || '/',
       occurred_at + interval '1 minute', occurred_at + interval '90 minutes', battle_id
     FROM (SELECT row_number() OVER (ORDER BY occurred_at) AS i, * FROM (
       SELECT b.system_id, date_trunc('second', b.start_time + random() * interval '25 minutes') AS occurred_at, b.id AS battle_id
       FROM public.battles b, generate_series(1, 2 + floor(28 * power((hashtext(b.id::text) & 1023) / 1023.0, 5))::int)
       UNION ALL
       SELECT ${system}, date_trunc('second', ${from} + ${span} * (i::float8 / ${killmails})), NULL
       FROM generate_series(1, ${Math.round(killmails * 0.66)}) AS j, LATERAL (SELECT (j / 0.66)::bigint AS i) n
     ) k WHERE ${notNearHorizon('occurred_at')}) k`,
    // As ESI gives them: ids, numbers and the keys between them, of about a kilobyte.
    `INSERT INTO public.killmail_enrichments (killmail_id, status, payload, fetched_at, updated_at, created_at)
     SELECT killmail_id, 'succeeded', jsonb_build_object('killmail_id', killmail_id, 'killmail_time', occurred_at, 'solar_system_id', system_id,
         'victim', jsonb_build_object('character_id', victim_character_id, 'corporation_id', victim_corp_id, 'alliance_id', victim_alliance_id,
           'ship_type_id', ${shipType}, 'damage_taken', floor(exp(6 + 4 * random())),
           'position', jsonb_build_object('x', random() * 1e12, 'y', random() * 1e11, 'z', random() * 1e12)),
         'attackers', (SELECT jsonb_agg(jsonb_build_object('character_id', ${character}, 'corporation_id', ${corporation}, 'alliance_id', ${alliance},
           'ship_type_id', ${shipType}, 'weapon_type_id', ${shipType} + 2000, 'damage_done', floor(exp(5 + 4 * random())), 'final_blow', a = 1,
           'security_status', round((random() * 10 - 5)::numeric, 1))) FROM generate_series(1, 2 + (killmail_id % 3)::int) AS a),
         'zkb', jsonb_build_object('hash', md5(killmail_id::text) || 'abcdef01', 'totalValue', isk_value, 'points', killmail_id % 40, 'npc', false)),
       fetched_at, fetched_at + interval '30 seconds', fetched_at
     FROM public.killmail_events`,
    `INSERT INTO public.battle_killmails (battle_id, killmail_id, zkb_url, occurred_at, victim_alliance_id, isk_value, attacker_alliance_ids)
     SELECT battle_id, killmail_id, zkb_url, occurred_at, victim_alliance_id, isk_value, attacker_alliance_ids
     FROM public.killmail_events WHERE battle_id IS NOT NULL`,
    `UPDATE public.battles b SET total_kills = k.kills, total_isk_destroyed = k.isk
     FROM (SELECT battle_id, count(*) AS kills, sum(isk_value) AS isk FROM public.battle_killmails GROUP BY 1) k WHERE k.battle_id = b.id`,
    `INSERT INTO public.battle_participants (battle_id, character_id, alliance_id, corp_id, ship_type_id, is_victim)
     SELECT id, ${character}, CASE WHEN random() < 0.85 THEN ${alliance} END, ${corporation}, ${shipType}, random() < 0.3
     FROM public.battles, generate_series(1, (4 + total_kills * 1.6)::int) AS i ON CONFLICT DO NOTHING`,
    `INSERT INTO public.pilot_ship_history (killmail_id, character_id, ship_type_id, alliance_id, corp_id, system_id, is_loss, ship_value,
       killmail_value, occurred_at, zkb_url, created_at)
     SELECT killmail_id, victim_character_id, ${shipType}, victim_alliance_id, victim_corp_id, system_id, true, round(isk_value)::bigint,
       round(isk_value)::bigint, occurred_at, zkb_url, fetched_at
     FROM public.killmail_events`,
    `INSERT INTO public.pilot_ship_history (killmail_id, character_id, ship_type_id, alliance_id, corp_id, system_id, is_loss, ship_value,
       killmail_value, occurred_at, zkb_url, created_at)
     SELECT killmail_id, attacker_character_ids[1], ${shipType}, attacker_alliance_ids[1], attacker_corp_ids[1], system_id, false, NULL,
       round(isk_value)::bigint, occurred_at, zkb_url, fetched_at
     FROM public.killmail_events WHERE killmail_id % 5 > 0 ON CONFLICT DO NOTHING`,
    `CREATE INDEX killmail_events_battle_id_idx ON public.killmail_events (battle_id) WHERE battle_id IS NOT NULL`,
    'VACUUM ANALYZE',
  ]
}
