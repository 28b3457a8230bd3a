/** Kysely types of the tables that know what was archived; the scheduler's own migrations make them, in its own schema. */
import type { ColumnType, Generated, GeneratedAlways, Kysely } from 'kysely'
import type { ArchivedColumn } from '../format/types.js'

type Timestamp = ColumnType<Date, Date | string, Date | string>
type NullableTimestamp = ColumnType<Date | null, Date | string | null | undefined, Date | string | null>
type NullableBigInteger = ColumnType<string | null, number | string | null | undefined, number | string | null>

export const batchStates = ['writing', 'verified', 'deleted', 'discarded'] as const
/**
 * `writing`: its objects may be in the store, whole, in part or not at all. `verified`: they were read back and are what was read from the
 * database. `deleted`: its rows left the database. `discarded`: its rows stayed, and its objects are no copies of anything.
 */
export type BatchState = (typeof batchStates)[number]

/** A column of an object, with the checksum over its values. */
export interface ObjectColumn extends ArchivedColumn {
  readonly checksum: string
}

export interface CatalogDatabase {
  archive_owner: {
    singleton: Generated<boolean>
    owner_id: string
    location: string
    generation: ColumnType<string, number | string, number | string>
    nonce: string
    pending_nonce: ColumnType<string | null, string | null | undefined, string | null>
    system_identifier: string
    host: string
    database: string
    updated_at: Generated<Date>
  }
  archive_batch: {
    id: string
    policy: string
    relation: string
    /** First day of the month, as `YYYY-MM-DD`: a `date` read as `Date` would move with the time zone of the process. */
    month: ColumnType<Date, string, string>
    horizon: Timestamp
    slot_id: string
    ticket: string
    state: BatchState
    stored_state: ColumnType<BatchState | null, BatchState | null | undefined, BatchState | null>
    first_at: NullableTimestamp
    last_at: NullableTimestamp
    created_at: Generated<Date>
    verified_at: NullableTimestamp
    deleted_at: NullableTimestamp
    discarded_at: NullableTimestamp
  }
  archive_object: {
    batch_id: string
    relation: string
    part: number
    name: string
    row_count: NullableBigInteger
    size_bytes: NullableBigInteger
    sha256: ColumnType<string | null, string | null | undefined, string | null>
    columns: ColumnType<readonly ObjectColumn[] | null, string | null | undefined, string | null>
    first_key: ColumnType<string | null, string | null | undefined, string | null>
    last_key: ColumnType<string | null, string | null | undefined, string | null>
    restored_at: NullableTimestamp
  }
  archive_hold: {
    id: GeneratedAlways<string>
    policy: string
    from_at: Timestamp
    to_at: Timestamp
    until: Timestamp
    reason: string
    created_at: Generated<Date>
  }
  /** The scheduler's own, of which the ticket alone is read: whose batch it is. */
  task: { name: string; ticket: string | null }
}

/** A handle whose names are those of the scheduler's schema. Made by {@link catalogIn}. */
export type CatalogDb = Kysely<CatalogDatabase>

/** @param schema `context.stateSchema`, or the option of the same name */
export function catalogIn(db: Kysely<unknown>, schema: string): CatalogDb {
  return (db as CatalogDb).withSchema(schema)
}
