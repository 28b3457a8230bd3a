/** Rows of the table and options, as tests of pure functions want them. */
import { backupConfig, type BackupConfig } from '../src/config.js'
import type { BackupRecord } from '../src/tables.js'

export const now = new Date('2026-11-23T03:00:00Z')
export const hourMs = 3_600_000
export const dayMs = 24 * hourMs

export const before = (ms: number) => new Date(now.getTime() - ms)

export function config(change: Readonly<Record<string, unknown>> = {}): BackupConfig {
  return backupConfig.parse({ driver: 'pg-dump', ...change })
}

let made = 0

/** A good dump of yesterday, unless said otherwise. */
export function row(change: Partial<BackupRecord> = {}): BackupRecord {
  made += 1
  const startedAt = 'startedAt' in change ? change.startedAt : before(dayMs)
  return {
    name: `backup-${made}`,
    slotId: `backup@${made}`,
    attempt: 1,
    driver: 'pg-dump',
    state: 'succeeded',
    announcedAt: startedAt ?? before(dayMs),
    finishedAt: startedAt === undefined ? undefined : new Date(startedAt.getTime() + 60_000),
    sizeBytes: 1_000_000,
    databaseBytes: 10_000_000,
    database: undefined,
    checksum: undefined,
    location: 'file:///store',
    objectName: `backups/data/backup-${made}.00000000.dump`,
    message: undefined,
    ...change,
    startedAt,
  }
}
