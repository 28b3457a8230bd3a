export const tasksAndHistory = `
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
`
