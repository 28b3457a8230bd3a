/** How PostgreSQL's types come out of `pg`, and what may be put in. */
import type { ColumnType } from 'kysely'

/** `bigint` comes as text: numbers beyond 2^53 would lose their last digits. */
export type Int8 = ColumnType<string, string | number | bigint, string | number | bigint>
export type NullableInt8 = ColumnType<string | null, string | number | bigint | null, string | number | bigint | null>
export type GeneratedInt8 = ColumnType<string, string | number | bigint | undefined, string | number | bigint>

type Int8Array = readonly (string | number | bigint)[]
export type Int8List = ColumnType<string[], Int8Array, Int8Array>
export type GeneratedInt8List = ColumnType<string[], Int8Array | undefined, Int8Array>

/** `numeric` comes as text, exact. */
export type NullableNumeric = ColumnType<string | null, string | number | null, string | number | null>
export type GeneratedNumeric = ColumnType<string, string | number | undefined, string | number>

/** Milliseconds are all that a `Date` keeps of the microseconds of `timestamptz`: no value for comparing row versions. */
export type Timestamp = ColumnType<Date, Date | string, Date | string>
export type NullableTimestamp = ColumnType<Date | null, Date | string | null, Date | string | null>
export type GeneratedTimestamp = ColumnType<Date, Date | string | undefined, Date | string>

/** `jsonb` comes parsed and goes in as JSON text: `pg` would turn a JavaScript array into a PostgreSQL array. */
export type NullableJson = ColumnType<unknown, string | null, string | null>
export type GeneratedJson = ColumnType<unknown, string | undefined, string>
