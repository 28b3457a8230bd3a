export const health = `
-- What a metric usually is in each hour of the week (UTC, 0 = Sunday 00:00): what that hour came to in the last few weeks, oldest first.
-- At most 168 short rows a metric, whatever its age.
CREATE TABLE {schema}.health_baseline (
  metric text NOT NULL,
  hour_of_week smallint NOT NULL CHECK (hour_of_week BETWEEN 0 AND 167),
  values double precision[] NOT NULL,
  PRIMARY KEY (metric, hour_of_week)
);

-- How far a metric was judged, and what the next slot is judged with. Its version is last_slot_at: who writes says which one it read.
CREATE TABLE {schema}.health_metric (
  metric text PRIMARY KEY,
  last_slot_at timestamptz NOT NULL,
  state jsonb NOT NULL
) WITH (fillfactor = 50);
`
