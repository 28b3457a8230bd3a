export const retentionDetach = `
-- What tells our detach from somebody else's, and what a partition was detached for.
ALTER TABLE {schema}.retention_partition
  -- The session that sends DETACH, written down by itself right before: NULL while nothing was sent. The default is what programs say that do
  -- not know the column, and detach all the same.
  ADD COLUMN session_name text DEFAULT '',
  -- xmin of the catalog's row of the first column: at the announcement, and again after the detach. Every attach and detach writes that row.
  ADD COLUMN column_version text,
  -- Whether rows go to the cold storage first, as the policy said at the announcement.
  ADD COLUMN archive boolean NOT NULL DEFAULT true,
  -- Batches that a later run read back before the drop, in as many runs as it takes, and since when.
  ADD COLUMN checked_ids uuid[] NOT NULL DEFAULT '{}',
  ADD COLUMN checked_since timestamptz;
`
