/**
 * The scheduler's own schema, as the list of steps that made it. A step that landed is never edited: append the next one, in a file of its own.
 * `{schema}` stands for the quoted schema name. Each step runs in the transaction that records it.
 */
import { tasksAndHistory } from './migrations/0001-tasks-and-history.js'
import { pausesAndRunTotals } from './migrations/0002-pauses-and-run-totals.js'
import { archive } from './migrations/0003-archive.js'
import { statistics } from './migrations/0004-statistics.js'
import { retentionPartitions } from './migrations/0005-retention-partitions.js'
import { alerts } from './migrations/0006-alerts.js'
import { health } from './migrations/0007-health.js'
import { reindex } from './migrations/0008-reindex.js'
import { backup } from './migrations/0009-backup.js'
import { changes } from './migrations/0010-changes.js'
import { retentionDetach } from './migrations/0011-retention-detach.js'
import { runSpan } from './migrations/0012-run-span.js'
import { backupDatabase } from './migrations/0013-backup-database.js'

export const migrations: readonly string[] = [
  tasksAndHistory,
  pausesAndRunTotals,
  archive,
  statistics,
  retentionPartitions,
  alerts,
  health,
  reindex,
  backup,
  changes,
  retentionDetach,
  runSpan,
  backupDatabase,
]
