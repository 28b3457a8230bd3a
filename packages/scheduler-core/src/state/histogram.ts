/** Histograms of durations, as Prometheus counts them: bounds in seconds, the last bucket without one. */
import { sql, type RawBuilder } from 'kysely'

/** Bounds in seconds. A change of them needs a migration that starts the totals anew. */
const durationBoundsSeconds = [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 45, 60] as const

/** What an empty histogram stores. */
export const emptyHistogram = {
  bucket_bounds: [...durationBoundsSeconds] as number[],
  bucket_counts: [...durationBoundsSeconds, Infinity].map(() => '0'),
}

/** `bucket_counts` with one more observation. A bound belongs to its own bucket, as `le` has it. */
export function countedBuckets(seconds: RawBuilder<unknown>): RawBuilder<string[]> {
  return sql<string[]>`(
    SELECT array_agg(CASE WHEN i = (SELECT count(*) + 1 FROM unnest(bucket_bounds) AS bound WHERE bound < ${seconds}) THEN n + 1 ELSE n END ORDER BY i)
    FROM unnest(bucket_counts) WITH ORDINALITY AS bucket (n, i))`
}
