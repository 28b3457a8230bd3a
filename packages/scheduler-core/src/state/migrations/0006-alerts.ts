export const alerts = `
-- One row for each finding that fires, is about to, or did not long ago.
CREATE TABLE {schema}.alert (
  -- task/finding; scheduler/finding for the scheduler's own.
  name text PRIMARY KEY,
  task text,
  finding_key text NOT NULL,
  -- What providers know it by. Stays what it was when the incident began.
  dedup_key text NOT NULL,
  state text NOT NULL CHECK (state IN ('pending', 'firing', 'resolved')),
  severity text NOT NULL,
  summary text NOT NULL,
  details jsonb NOT NULL,
  depends_on jsonb NOT NULL,
  first_seen_at timestamptz NOT NULL,
  last_seen_at timestamptz NOT NULL,
  -- When it fired: names the incident.
  opened_at timestamptz,
  resolved_at timestamptz,
  resolution text,
  good_runs integer NOT NULL,
  good_since timestamptz,
  last_good_at timestamptz,
  openings jsonb NOT NULL,
  flapping boolean NOT NULL,
  -- Why nobody is told of it at present.
  silence text
);
CREATE INDEX alert_task_idx ON {schema}.alert (task) WHERE state <> 'resolved';

CREATE TABLE {schema}.alert_mute (
  -- Of alert names; * stands for anything.
  pattern text PRIMARY KEY,
  until timestamptz NOT NULL,
  reason text,
  muted_at timestamptz NOT NULL DEFAULT now()
);

-- What each channel was told of each incident, counting messages that wait.
CREATE TABLE {schema}.alert_told (
  channel text NOT NULL,
  name text NOT NULL,
  incident_at timestamptz NOT NULL,
  state text NOT NULL CHECK (state IN ('open', 'closing', 'refused')),
  content jsonb NOT NULL,
  called_severity text NOT NULL,
  told_at timestamptz NOT NULL,
  -- When the provider took the message that calls people.
  called_at timestamptz,
  target text,
  PRIMARY KEY (channel, name, incident_at)
);

-- Messages that are not delivered yet, and those that never will be. A delivered one is removed.
CREATE TABLE {schema}.alert_message (
  -- The order in which the messages of an alert are delivered to a channel.
  seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  -- The idempotency key.
  id uuid NOT NULL UNIQUE,
  channel text NOT NULL,
  name text NOT NULL,
  incident_at timestamptz NOT NULL,
  transition text NOT NULL,
  content jsonb NOT NULL,
  at timestamptz NOT NULL,
  state text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'accepted', 'dead')),
  attempts integer NOT NULL DEFAULT 0,
  next_attempt_at timestamptz NOT NULL,
  -- Whoever delivers it holds it until then.
  leased_until timestamptz,
  -- Messages that go to a digest channel as one.
  digest_id uuid,
  -- What the provider gave for asking later.
  receipt text,
  -- Of the last attempt, or of its death.
  reason text,
  dead_at timestamptz
);
CREATE INDEX alert_message_order_idx ON {schema}.alert_message (channel, name, seq) WHERE state <> 'dead';
CREATE INDEX alert_message_dead_idx ON {schema}.alert_message (dead_at) WHERE state = 'dead';

CREATE TABLE {schema}.alert_channel (
  channel text PRIMARY KEY,
  -- The provider asked to be left alone until then.
  hold_until timestamptz,
  last_success_at timestamptz,
  last_failure_at timestamptz,
  last_failure text
);

-- Whatever was there before begins with a grace period.
ALTER TABLE {schema}.meta ADD COLUMN alerts_since timestamptz NOT NULL DEFAULT now();

-- Runs of tasks whose findings the alerts have not taken up yet. What was recorded before counts as taken up.
ALTER TABLE {schema}.task_run ADD COLUMN evaluated boolean NOT NULL DEFAULT true;
CREATE INDEX task_run_unevaluated_idx ON {schema}.task_run (id) WHERE NOT evaluated;
`
