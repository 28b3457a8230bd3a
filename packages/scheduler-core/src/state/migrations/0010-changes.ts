export const changes = `
-- What tasks reported as done, from their record until the next evaluation of the alerts made messages of it: a process that dies in between
-- leaves it to the next one.
CREATE TABLE {schema}.change (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  task text NOT NULL,
  slot_id text NOT NULL,
  key text NOT NULL,
  summary text NOT NULL,
  details jsonb NOT NULL,
  links jsonb NOT NULL,
  at timestamptz NOT NULL DEFAULT now()
);
`
