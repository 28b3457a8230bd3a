export const backup = `
-- One attempt at a backup. The row is there before the attempt begins, so that a run which was killed leaves something to go on from.
CREATE TABLE {schema}.backup (
  -- Name of the object, the key or the file: made of the slot and the attempt, so that asking twice is asking for the same.
  name text PRIMARY KEY,
  slot_id text NOT NULL,
  attempt int NOT NULL,
  driver text NOT NULL,
  -- announced: asked for, or about to be. running: taken up. overdue: runs for longer than allowed, still looked at. succeeded: told by
  -- whoever took it, or verified by us. failed, vanished (nobody knows of it any more), unconfirmed (nobody ever says how it ended): ended.
  -- pruning, pruned: succeeded once, being removed or removed.
  state text NOT NULL,
  announced_at timestamptz NOT NULL DEFAULT now(),
  started_at timestamptz,
  finished_at timestamptz,
  -- Of the backup as it is stored, and of the database when it was taken; null where nobody says.
  size_bytes bigint,
  database_bytes bigint,
  checksum text,
  location text,
  -- Where it is, in the store of kind pg-dump.
  object_name text,
  message text,
  log_tail text,
  pruned_at timestamptz
);
CREATE INDEX backup_announced_at_idx ON {schema}.backup (announced_at DESC);
CREATE INDEX backup_open_idx ON {schema}.backup (state) WHERE state IN ('announced', 'running', 'overdue', 'pruning');
`
