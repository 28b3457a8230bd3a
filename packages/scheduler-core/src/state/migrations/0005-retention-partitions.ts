export const retentionPartitions = `
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
`
