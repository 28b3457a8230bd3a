export const reindex = `
-- How small each index has been, per tuple: what its growth is measured by. A number may be used again for another index, so the definition
-- (without the name) has to fit as well.
CREATE TABLE {schema}.reindex_index (
  index_oid oid PRIMARY KEY,
  relation text NOT NULL,
  index_name text NOT NULL,
  definition text NOT NULL,
  -- NULL while it has too few tuples, or statistics too old, to tell.
  best_bytes_per_tuple double precision,
  first_seen_at timestamptz NOT NULL DEFAULT now(),
  learned_at timestamptz NOT NULL DEFAULT now()
);

-- Every rebuild, written down before it begins: what a killed process leaves behind is found by these numbers, never by a name.
CREATE TABLE {schema}.reindex_rebuild (
  id uuid PRIMARY KEY,
  relation text NOT NULL,
  index_name text NOT NULL,
  definition text NOT NULL,
  table_oid oid NOT NULL,
  index_oid oid NOT NULL,
  -- Seen while it is being built; NULL until then.
  new_index_oid oid,
  -- What was invalid on this table before, and so is not ours.
  invalid_before oid[] NOT NULL,
  -- Ends with the ticket: whether the server is still at it.
  session_name text NOT NULL,
  size_before_bytes bigint NOT NULL,
  -- What the prediction and the rate go by: the table is read, the index is written.
  work_bytes bigint NOT NULL,
  predicted_ms bigint NOT NULL,
  started_at timestamptz NOT NULL DEFAULT now(),
  -- The invalid index that is being dropped.
  leftover_oid oid,
  ended_at timestamptz,
  outcome text CHECK (outcome IN ('rebuilt', 'interrupted', 'gone')),
  error_code text,
  -- NULL when nobody was there at the end of the statement.
  duration_ms bigint,
  size_after_bytes bigint,
  CHECK ((ended_at IS NULL) = (outcome IS NULL))
);
CREATE INDEX reindex_rebuild_unfinished_idx ON {schema}.reindex_rebuild (started_at) WHERE ended_at IS NULL;
CREATE INDEX reindex_rebuild_index_idx ON {schema}.reindex_rebuild (relation, index_name, started_at);
`
