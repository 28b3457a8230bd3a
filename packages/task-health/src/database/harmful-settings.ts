/** Settings that hurt whoever keeps data. Few, and each by what the documentation of PostgreSQL itself says of it. */
import type { Severity } from '@battlescope/scheduler-core'

export interface HarmfulSetting {
  readonly name: string
  /** As pg_settings has it. */
  readonly harmful: string
  readonly severity: Severity
  readonly effect: string
  readonly source: string
}

const documentation = 'https://www.postgresql.org/docs/current/'

export const harmfulSettings: readonly HarmfulSetting[] = [
  {
    name: 'fsync',
    harmful: 'off',
    severity: 'critical',
    effect: 'a crash of the machine can corrupt everything beyond repair',
    source: `${documentation}runtime-config-wal.html#GUC-FSYNC`,
  },
  {
    name: 'full_page_writes',
    harmful: 'off',
    severity: 'critical',
    effect: 'a crash of the machine can leave half-written pages that nothing repairs',
    source: `${documentation}runtime-config-wal.html#GUC-FULL-PAGE-WRITES`,
  },
  {
    name: 'zero_damaged_pages',
    harmful: 'on',
    severity: 'critical',
    effect: 'damaged pages are emptied in memory instead of reported, and their rows are gone',
    source: `${documentation}runtime-config-developer.html#GUC-ZERO-DAMAGED-PAGES`,
  },
  {
    name: 'autovacuum',
    harmful: 'off',
    severity: 'error',
    effect: 'dead rows stay, statistics age, and only wraparound forces a vacuum',
    source: `${documentation}routine-vacuuming.html#AUTOVACUUM`,
  },
  {
    name: 'track_counts',
    harmful: 'off',
    severity: 'error',
    effect: 'autovacuum does not know where there is work, and does none',
    source: `${documentation}runtime-config-statistics.html#GUC-TRACK-COUNTS`,
  },
  {
    name: 'idle_in_transaction_session_timeout',
    harmful: '0',
    severity: 'info',
    effect: 'a session that is forgotten inside a transaction holds its locks, and VACUUM back, for ever',
    source: `${documentation}runtime-config-client.html#GUC-IDLE-IN-TRANSACTION-SESSION-TIMEOUT`,
  },
]
