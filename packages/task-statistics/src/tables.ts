/** The tables of this task in the scheduler's schema, beside the checkpoint. Their DDL is a migration of scheduler-core. */
import type { GeneratedTimestamp, NullableTimestamp } from '@battlescope/database'
import type { ColumnType, Generated, Kysely } from 'kysely'

/** Goes in as `2026-11-23`. Never read without to_char: how a date comes out depends on the session's DateStyle. */
type DayColumn = ColumnType<unknown, string, string>

export interface StatisticsTables {
  statistics_table_growth: {
    day: DayColumn
    relation: string
    row_estimate: string | null
    heap_bytes: string
    toast_bytes: string
    index_bytes: string
    measured_at: GeneratedTimestamp
  }
  changed_days: {
    id: Generated<string>
    day: DayColumn | null
    battle_id: string | null
    noted_at: GeneratedTimestamp
  }
  statistics_recalculation: {
    id: Generated<string>
    from_day: DayColumn
    to_day: DayColumn
    next_day: DayColumn
    requested_at: GeneratedTimestamp
    finished_at: NullableTimestamp
  }
  statistics_difference: {
    recalculation_id: string
    rollup: string
    day: DayColumn
    added: string
    changed: string
    removed: string
  }
}

/** A handle on any schema: `withSchema` says which. */
export type Db = Kysely<unknown>

/** The handle for this task's own tables. */
export function ownTables(db: Db, schema: string): Kysely<StatisticsTables> {
  return db.withSchema(schema) as unknown as Kysely<StatisticsTables>
}
