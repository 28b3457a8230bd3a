/** The table of this task in the scheduler's schema. Its DDL is a migration of scheduler-core. */
import type { DatabaseIdentity } from '@battlescope/archive'
import type { GeneratedTimestamp, NullableTimestamp } from '@battlescope/database'
import type { ColumnType, Kysely } from 'kysely'
import type { DriverName } from './config.js'

export const openStates = ['announced', 'running', 'overdue'] as const
export const endedStates = ['succeeded', 'failed', 'vanished', 'unconfirmed', 'pruning', 'pruned'] as const
export type BackupState = (typeof openStates)[number] | (typeof endedStates)[number]

type NullableText = ColumnType<string | null, string | null | undefined, string | null>
type NullableSize = ColumnType<string | null, number | null | undefined, number | null>

export interface BackupTables {
  backup: {
    name: string
    slot_id: string
    attempt: number
    driver: DriverName
    state: BackupState
    announced_at: GeneratedTimestamp
    started_at: NullableTimestamp
    finished_at: NullableTimestamp
    size_bytes: NullableSize
    database_bytes: NullableSize
    checksum: NullableText
    location: NullableText
    object_name: NullableText
    message: NullableText
    log_tail: NullableText
    pruned_at: NullableTimestamp
    database: ColumnType<DatabaseIdentity | null, string | null | undefined, never>
  }
}

/** One attempt at a backup. */
export interface BackupRecord {
  readonly name: string
  readonly slotId: string
  readonly attempt: number
  readonly driver: DriverName
  readonly state: BackupState
  readonly announcedAt: Date
  readonly startedAt: Date | undefined
  readonly finishedAt: Date | undefined
  readonly sizeBytes: number | undefined
  readonly databaseBytes: number | undefined
  readonly checksum: string | undefined
  readonly location: string | undefined
  readonly objectName: string | undefined
  readonly message: string | undefined
  /** Which one announced it. */
  readonly database: DatabaseIdentity | undefined
}

/** Whether it may still become a backup. */
export function isOpen({ state }: Pick<BackupRecord, 'state'>): boolean {
  return (openStates as readonly string[]).includes(state)
}

/** A handle whose names are those of the scheduler's schema. */
export function tablesIn(db: Kysely<unknown>, schema: string): Kysely<BackupTables> {
  return db.withSchema(schema) as unknown as Kysely<BackupTables>
}
