/** Rows with all that makes counting hard: days' borders, absent ids and values, members of both sides, ties, battles over midnight. */
import type { TestDatabase } from '@battlescope/scheduler-testing'

/** The newest are of now; a hundred killmails lie about two days apart. */
export async function generateRows(database: TestDatabase, killmails: number): Promise<void> {
  await database.query(`
    SELECT setseed(0.5);
    INSERT INTO battles (id, system_id, start_time, end_time, total_kills, total_isk_destroyed, zkill_related_url, security_type)
    SELECT md5(i::text)::uuid, 30000000 + floor(random() * 7), at, at + interval '20 minutes', 2 + floor(random() * 3), floor(random() * 3), '',
      (ARRAY['highsec', 'lowsec', 'nullsec', NULL])[1 + floor(random() * 4)]::security_type
    FROM (SELECT i, now() - i * interval '5 hours' * random() - interval '5 hours' * i AS at FROM generate_series(1, ${killmails} / 10) AS i) b;
    INSERT INTO killmail_events (killmail_id, system_id, occurred_at, victim_alliance_id, victim_corp_id, attacker_alliance_ids, attacker_corp_ids,
      isk_value, zkb_url, battle_id)
    SELECT i, 30000000 + floor(random() * 7), now() - i * interval '30 minutes',
      CASE WHEN random() < 0.8 THEN 99000000 + floor(random() * 9) END, CASE WHEN random() < 0.9 THEN 98000000 + floor(random() * 12) END,
      ARRAY(SELECT CASE WHEN random() < 0.9 THEN 99000000 + floor(random() * 9)::bigint END FROM generate_series(1, (i % 4)::int)),
      ARRAY(SELECT 98000000 + floor(random() * 12)::bigint FROM generate_series(1, (i % 5)::int)),
      CASE WHEN random() < 0.9 THEN round((random() * 1e12)::numeric, 2) END, '', CASE WHEN random() < 0.5 THEN md5((1 + i / 10)::text)::uuid END
    FROM generate_series(1, ${killmails} - 10) AS i;
    INSERT INTO battle_killmails (battle_id, killmail_id, zkb_url, occurred_at, isk_value, attacker_alliance_ids)
    SELECT battle_id, killmail_id, zkb_url, occurred_at, isk_value, attacker_alliance_ids FROM killmail_events WHERE battle_id IS NOT NULL;
    INSERT INTO battle_participants (battle_id, character_id, alliance_id, corp_id, ship_type_id)
    SELECT b.id, c, CASE WHEN random() < 0.8 THEN 99000000 + floor(random() * 9) END, CASE WHEN random() < 0.9 THEN 98000000 + floor(random() * 12) END,
      580 + floor(random() * 8)
    FROM battles b, generate_series(1, 12) AS c WHERE random() < 0.5;
    INSERT INTO pilot_ship_history (killmail_id, character_id, ship_type_id, system_id, is_loss, killmail_value, occurred_at, zkb_url)
    SELECT k.killmail_id, c, 580 + floor(random() * 8), k.system_id, c = 1, round(k.isk_value), k.occurred_at, ''
    FROM killmail_events k, generate_series(1, 4) AS c WHERE random() < 0.7`)
}
