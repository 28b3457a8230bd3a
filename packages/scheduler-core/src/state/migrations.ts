/**
 * The scheduler's own schema, as the list of steps that made it. A step that landed is never edited: append the next one.
 * `{schema}` stands for the quoted schema name. Each step runs in the transaction that records it.
 */
export const migrations: readonly string[] = [
  `
  CREATE TABLE {schema}.meta (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    schema_version integer NOT NULL,
    instance_id uuid NOT NULL DEFAULT gen_random_uuid(),
    created_at timestamptz NOT NULL DEFAULT now(),
    -- The scheduler's own history is pruned about once an hour, by whichever run comes first.
    history_pruned_at timestamptz NOT NULL DEFAULT now()
  );
  INSERT INTO {schema}.meta (schema_version) VALUES (0);

  -- One row per task. The row is also the fence: every writing transaction of a run begins by locking it FOR SHARE by name and
  -- ticket, so nobody can change the ticket while such a transaction is open. What changes during a run lives in other tables.
  CREATE TABLE {schema}.task (
    name text PRIMARY KEY,
    revision bigint NOT NULL DEFAULT 0,
    third_party boolean NOT NULL DEFAULT false,
    first_seen_at timestamptz NOT NULL DEFAULT now(),
    last_slot_at timestamptz,
    last_claimed_at timestamptz,
    ticket uuid,
    consecutive_failures integer NOT NULL DEFAULT 0,
    consecutive_expiries integer NOT NULL DEFAULT 0,
    retry_at timestamptz,
    paused_at timestamptz,
    paused_until timestamptz,
    pause_reason text
  );

  -- The lease of a ticket: renewed while the fence row is locked, therefore a row of its own.
  CREATE TABLE {schema}.claim (
    ticket uuid PRIMARY KEY,
    task text NOT NULL,
    run_id uuid NOT NULL,
    slot_id text NOT NULL,
    slot_at timestamptz NOT NULL,
    holder text NOT NULL,
    uses_direct boolean NOT NULL,
    claimed_at timestamptz NOT NULL DEFAULT now(),
    renewed_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
  );

  CREATE TABLE {schema}.checkpoint (
    task text PRIMARY KEY,
    data jsonb NOT NULL,
    ticket uuid NOT NULL,
    saved_at timestamptz NOT NULL DEFAULT now()
  );

  CREATE TABLE {schema}.run (
    id uuid PRIMARY KEY,
    started_at timestamptz NOT NULL,
    finished_at timestamptz NOT NULL,
    exit_code integer NOT NULL,
    version text NOT NULL,
    holder text NOT NULL,
    decisions jsonb NOT NULL,
    trace_id text
  );
  CREATE INDEX run_started_at_idx ON {schema}.run (started_at);

  CREATE TABLE {schema}.task_run (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id uuid NOT NULL,
    task text NOT NULL,
    ticket uuid NOT NULL UNIQUE,
    slot_id text NOT NULL,
    slot_at timestamptz NOT NULL,
    late_by_ms bigint NOT NULL,
    outcome text NOT NULL CHECK (outcome IN ('succeeded', 'partial', 'skipped', 'failed', 'timed-out', 'cancelled')),
    reason text,
    error_code text,
    attempts integer NOT NULL,
    started_at timestamptz NOT NULL,
    finished_at timestamptz NOT NULL DEFAULT now(),
    duration_ms bigint NOT NULL,
    -- High-water mark of the process when the task had ended.
    peak_memory_bytes bigint,
    remaining bigint,
    action_count integer NOT NULL,
    findings jsonb NOT NULL DEFAULT '[]',
    trace_id text
  );
  CREATE INDEX task_run_task_idx ON {schema}.task_run (task, finished_at DESC);
  CREATE INDEX task_run_finished_at_idx ON {schema}.task_run (finished_at);
  -- The last line of defence: a slot cannot be finished twice.
  CREATE UNIQUE INDEX task_run_slot_finished_idx ON {schema}.task_run (slot_id) WHERE outcome IN ('succeeded', 'skipped');

  CREATE TABLE {schema}.action (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id uuid NOT NULL,
    task text NOT NULL,
    ticket uuid NOT NULL,
    slot_id text NOT NULL,
    kind text NOT NULL,
    target text NOT NULL,
    via text NOT NULL,
    reason text,
    result text NOT NULL CHECK (result IN ('started', 'succeeded', 'failed')),
    error_code text,
    row_count bigint,
    byte_count bigint,
    details jsonb,
    duration_ms bigint,
    at timestamptz NOT NULL DEFAULT clock_timestamp()
  );
  CREATE INDEX action_task_idx ON {schema}.action (task, at DESC);
  CREATE INDEX action_at_idx ON {schema}.action (at);

  -- Lifetime totals: what metrics are made of. Histogram bounds in seconds are stored with the counts they belong to.
  CREATE TABLE {schema}.task_total (
    task text NOT NULL,
    outcome text NOT NULL,
    run_count bigint NOT NULL DEFAULT 0,
    duration_ms_sum bigint NOT NULL DEFAULT 0,
    bucket_bounds double precision[] NOT NULL,
    bucket_counts bigint[] NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (task, outcome)
  );

  CREATE TABLE {schema}.task_metric (
    task text NOT NULL,
    name text NOT NULL,
    attributes jsonb NOT NULL DEFAULT '{}',
    kind text NOT NULL CHECK (kind IN ('gauge', 'counter')),
    value double precision NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (task, name, attributes)
  );
  `,
  `
  -- Apart from the task's row, which transactions of a run lock: a task can be paused while it runs.
  CREATE TABLE {schema}.pause (
    task text PRIMARY KEY,
    paused_at timestamptz NOT NULL DEFAULT now(),
    until timestamptz,
    reason text
  );
  INSERT INTO {schema}.pause (task, paused_at, until, reason)
    SELECT name, paused_at, paused_until, pause_reason FROM {schema}.task WHERE paused_at IS NOT NULL;
  ALTER TABLE {schema}.task DROP COLUMN paused_at, DROP COLUMN paused_until, DROP COLUMN pause_reason;

  -- Lifetime totals of whole runs, as task_total has them for tasks: \`run\` itself is pruned.
  CREATE TABLE {schema}.run_total (
    exit_code integer PRIMARY KEY,
    run_count bigint NOT NULL DEFAULT 0,
    duration_ms_sum bigint NOT NULL DEFAULT 0,
    bucket_bounds double precision[] NOT NULL,
    bucket_counts bigint[] NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
  );
  `,
  `
  -- Which prefix of the cold storage is this database's. A copy of the database carries a copy of this row, and no database can know
  -- that it is a copy: each slot advances the generation here and, by a conditional write, in the store; the slower of two loses.
  CREATE TABLE {schema}.archive_owner (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    owner_id uuid NOT NULL,
    location text NOT NULL,
    generation bigint NOT NULL,
    nonce uuid NOT NULL,
    -- Announced before the store is changed, so that a kill in between differs from a foreign hand.
    pending_nonce uuid,
    -- What else tells databases apart.
    system_identifier text NOT NULL,
    host text NOT NULL,
    database text NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
  );

  -- Rows that were archived together and leave the database in one transaction.
  CREATE TABLE {schema}.archive_batch (
    id uuid PRIMARY KEY,
    policy text NOT NULL,
    relation text NOT NULL,
    month date NOT NULL,
    horizon timestamptz NOT NULL,
    slot_id text NOT NULL,
    ticket uuid NOT NULL,
    state text NOT NULL CHECK (state IN ('writing', 'verified', 'deleted', 'discarded')),
    -- What the store's own manifest says: it follows.
    stored_state text,
    first_at timestamptz,
    last_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    verified_at timestamptz,
    deleted_at timestamptz,
    discarded_at timestamptz
  );
  CREATE INDEX archive_batch_month_idx ON {schema}.archive_batch (policy, month);
  CREATE INDEX archive_batch_unfinished_idx ON {schema}.archive_batch (state) WHERE state IN ('writing', 'verified', 'discarded');

  CREATE TABLE {schema}.archive_object (
    batch_id uuid NOT NULL REFERENCES {schema}.archive_batch (id) ON DELETE CASCADE,
    relation text NOT NULL,
    part integer NOT NULL,
    name text NOT NULL UNIQUE,
    row_count bigint,
    size_bytes bigint,
    sha256 text,
    -- As the encoder planned them, with a checksum per column.
    columns jsonb,
    first_key text,
    last_key text,
    restored_at timestamptz,
    PRIMARY KEY (batch_id, relation, part)
  );

  -- Restored rows are not deleted again before this ends.
  CREATE TABLE {schema}.archive_hold (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    policy text NOT NULL,
    from_at timestamptz NOT NULL,
    to_at timestamptz NOT NULL,
    until timestamptz NOT NULL,
    reason text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
  );
  CREATE INDEX archive_hold_policy_idx ON {schema}.archive_hold (policy, until);
  `,
  `
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
  `,
  `
  -- Partitions that retention takes as a whole. The row is there before DETACH begins: nothing in the catalog says whose a pending detach
  -- is, or that a table was a partition once. It stays when the partition is gone, so that a restore can tell how to create it again.
  CREATE TABLE {schema}.retention_partition (
    id uuid PRIMARY KEY,
    policy text NOT NULL,
    relation text NOT NULL,
    -- Both have to fit: a copy made by pg_dump has the same names with other numbers.
    partition text NOT NULL,
    partition_oid oid NOT NULL,
    -- FOR VALUES …, as ATTACH PARTITION wants it.
    bounds text NOT NULL,
    announced_at timestamptz NOT NULL DEFAULT now(),
    detached_at timestamptz,
    dropped_at timestamptz,
    -- The slot in which it was found attached by somebody else.
    attached_again_slot text,
    -- What of it is archived and verified so far: batches, rows, the sum of their hashes in two halves, and where the last one ended.
    batch_ids uuid[] NOT NULL DEFAULT '{}',
    row_count bigint NOT NULL DEFAULT 0,
    hash_high numeric NOT NULL DEFAULT 0,
    hash_low numeric NOT NULL DEFAULT 0,
    columns text,
    last_time text,
    last_key text[]
  );
  CREATE UNIQUE INDEX retention_partition_oid_idx ON {schema}.retention_partition (partition_oid) WHERE dropped_at IS NULL;
  CREATE INDEX retention_partition_batches_idx ON {schema}.retention_partition USING gin (batch_ids);
  `,
]
