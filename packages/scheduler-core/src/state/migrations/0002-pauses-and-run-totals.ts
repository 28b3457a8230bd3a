export const pausesAndRunTotals = `
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
`
