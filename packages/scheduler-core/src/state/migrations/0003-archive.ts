export const archive = `
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
`
