/** Finds and counts expired rows. */

/** One expired row. */
export interface ExpiredKey {
  /** Values of the primary key as text, in the order of its columns. */
  readonly key: readonly string[]
  /** The time column as text, UTC, with microseconds: `2020-03-01 17:04:05.123456+00`. */
  readonly time: string
  /** Its month in UTC: `2020-03`. */
  readonly month: string
}

export interface ExpiredKeysOptions {
  readonly limit: number
  /** Go on behind this row: the last one of an earlier answer. */
  readonly after?: Pick<ExpiredKey, 'key' | 'time'>
}

/** What a policy will delete, as far as can be told now: members of groups that expire in the same slot count as gone. */
export interface ExpiredCount {
  readonly rows: number
  /** As in {@link ExpiredKey.time}; undefined: no rows. */
  readonly oldest: string | undefined
  readonly newest: string | undefined
  /** Rows of each child relation, by {@link keyOf}. */
  readonly children: ReadonlyMap<string, number>
}
