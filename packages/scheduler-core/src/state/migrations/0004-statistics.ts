export const statistics = `
-- Rollups of task-statistics, one row per UTC day and system, alliance, corporation, ship type or security type that had a killmail or
-- a battle on that day. Its README says what each column counts.
CREATE TABLE {schema}.statistics_by_system (
  day date NOT NULL,
  system_id bigint NOT NULL,
  battles bigint NOT NULL,
  killmails bigint NOT NULL,
  isk_destroyed numeric NOT NULL,
  isk_lost numeric NOT NULL,
  participants bigint NOT NULL,
  biggest_battle_id uuid,
  biggest_battle_killmails bigint,
  PRIMARY KEY (day, system_id)
);
CREATE INDEX statistics_by_system_series_idx ON {schema}.statistics_by_system (system_id, day);

CREATE TABLE {schema}.statistics_by_alliance (
  day date NOT NULL,
  alliance_id bigint NOT NULL,
  battles bigint NOT NULL,
  killmails bigint NOT NULL,
  isk_destroyed numeric NOT NULL,
  isk_lost numeric NOT NULL,
  participants bigint NOT NULL,
  biggest_battle_id uuid,
  biggest_battle_killmails bigint,
  PRIMARY KEY (day, alliance_id)
);
CREATE INDEX statistics_by_alliance_series_idx ON {schema}.statistics_by_alliance (alliance_id, day);

CREATE TABLE {schema}.statistics_by_corporation (
  day date NOT NULL,
  corporation_id bigint NOT NULL,
  battles bigint NOT NULL,
  killmails bigint NOT NULL,
  isk_destroyed numeric NOT NULL,
  isk_lost numeric NOT NULL,
  participants bigint NOT NULL,
  biggest_battle_id uuid,
  biggest_battle_killmails bigint,
  PRIMARY KEY (day, corporation_id)
);
CREATE INDEX statistics_by_corporation_series_idx ON {schema}.statistics_by_corporation (corporation_id, day);

CREATE TABLE {schema}.statistics_by_ship_type (
  day date NOT NULL,
  ship_type_id bigint NOT NULL,
  battles bigint NOT NULL,
  killmails bigint NOT NULL,
  isk_destroyed numeric NOT NULL,
  isk_lost numeric NOT NULL,
  participants bigint NOT NULL,
  biggest_battle_id uuid,
  biggest_battle_killmails bigint,
  PRIMARY KEY (day, ship_type_id)
);
CREATE INDEX statistics_by_ship_type_series_idx ON {schema}.statistics_by_ship_type (ship_type_id, day);

CREATE TABLE {schema}.statistics_by_security_type (
  day date NOT NULL,
  -- As text, so that the scheduler's schema does not hang on a type of BattleScope's; 'unknown' where the battle has none.
  security_type text NOT NULL,
  battles bigint NOT NULL,
  killmails bigint NOT NULL,
  isk_destroyed numeric NOT NULL,
  isk_lost numeric NOT NULL,
  participants bigint NOT NULL,
  biggest_battle_id uuid,
  biggest_battle_killmails bigint,
  PRIMARY KEY (day, security_type)
);
CREATE INDEX statistics_by_security_type_series_idx ON {schema}.statistics_by_security_type (security_type, day);

CREATE TABLE {schema}.statistics_table_growth (
  day date NOT NULL,
  relation text NOT NULL,
  -- NULL before the first ANALYZE.
  row_estimate bigint,
  heap_bytes bigint NOT NULL,
  toast_bytes bigint NOT NULL,
  index_bytes bigint NOT NULL,
  measured_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (day, relation)
);
CREATE INDEX statistics_table_growth_series_idx ON {schema}.statistics_table_growth (relation, day);

-- Days, or battles whose day is looked up later, that changed since they were last counted. Written by opt-in triggers, so without
-- any unique key: two writers must never wait for each other here, and a note that is already there may be taken away together with
-- what is still uncommitted.
CREATE TABLE {schema}.changed_days (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  day date,
  battle_id uuid,
  noted_at timestamptz NOT NULL DEFAULT now(),
  CHECK (num_nonnulls(day, battle_id) = 1)
);

-- How far a recalculation that somebody asked for has come, and what it found.
CREATE TABLE {schema}.statistics_recalculation (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  from_day date NOT NULL,
  -- Included.
  to_day date NOT NULL,
  -- The first day that is not done yet.
  next_day date NOT NULL,
  requested_at timestamptz NOT NULL DEFAULT now(),
  finished_at timestamptz
);
CREATE UNIQUE INDEX statistics_recalculation_unfinished_idx ON {schema}.statistics_recalculation (from_day, to_day)
  WHERE finished_at IS NULL;

CREATE TABLE {schema}.statistics_difference (
  recalculation_id bigint NOT NULL REFERENCES {schema}.statistics_recalculation (id) ON DELETE CASCADE,
  rollup text NOT NULL,
  day date NOT NULL,
  added bigint NOT NULL,
  changed bigint NOT NULL,
  removed bigint NOT NULL,
  PRIMARY KEY (recalculation_id, rollup, day)
);

CREATE VIEW {schema}.statistics_overview AS
SELECT s.day, s.battles, s.killmails, s.isk_destroyed, s.participants, s.systems,
  (SELECT count(*) FROM {schema}.statistics_by_alliance a WHERE a.day = s.day) AS alliances,
  (SELECT count(*) FROM {schema}.statistics_by_corporation c WHERE c.day = s.day) AS corporations,
  biggest.biggest_battle_id, biggest.biggest_battle_killmails, biggest.system_id AS biggest_battle_system_id,
  (SELECT b.system_id FROM {schema}.statistics_by_system b WHERE b.day = s.day
    ORDER BY b.killmails DESC, b.isk_destroyed DESC, b.system_id LIMIT 1) AS busiest_system_id,
  (SELECT a.alliance_id FROM {schema}.statistics_by_alliance a WHERE a.day = s.day
    ORDER BY a.isk_destroyed DESC, a.killmails DESC, a.alliance_id LIMIT 1) AS deadliest_alliance_id,
  (SELECT p.ship_type_id FROM {schema}.statistics_by_ship_type p WHERE p.day = s.day
    ORDER BY p.isk_lost DESC, p.killmails DESC, p.ship_type_id LIMIT 1) AS costliest_ship_type_id,
  (SELECT sum(g.heap_bytes + g.toast_bytes + g.index_bytes) FROM {schema}.statistics_table_growth g WHERE g.day = s.day)
    AS relation_bytes
FROM (
  SELECT day, sum(battles) AS battles, sum(killmails) AS killmails, sum(isk_destroyed) AS isk_destroyed,
    sum(participants) AS participants, count(*) AS systems
  FROM {schema}.statistics_by_system GROUP BY day
) s
LEFT JOIN LATERAL (
  SELECT b.biggest_battle_id, b.biggest_battle_killmails, b.system_id FROM {schema}.statistics_by_system b
  WHERE b.day = s.day AND b.biggest_battle_id IS NOT NULL
  ORDER BY b.biggest_battle_killmails DESC, b.biggest_battle_id LIMIT 1
) biggest ON true;
COMMENT ON VIEW {schema}.statistics_overview IS
  'One row per UTC day, from the rollups: participants are those of each system, added up.';
`
