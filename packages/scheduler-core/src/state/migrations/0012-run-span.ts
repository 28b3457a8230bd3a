export const runSpan = `
-- With trace_id, what the next run's span links to.
ALTER TABLE {schema}.run ADD COLUMN span_id text;
`
