/** Pure: what a human should know about the backups, whoever took them. Failed, vanished, too old, too small and never are different things. */
import type { Finding } from '@battlescope/scheduler-core'
import type { BackupConfig } from './config.js'
import { newestGood, takenAt, tooSmall } from './plan.js'
import type { ArchiverFacts } from './queries.js'
import { isOpen, type BackupRecord } from './tables.js'

export interface Assurance {
  readonly backups: readonly BackupRecord[]
  readonly now: Date
  readonly archiver: ArchiverFacts
  /** `failed_count` of `pg_stat_archiver` when the slot before began; undefined when nobody looked. */
  readonly failedCountBefore: number | undefined
}

type Rules = Pick<BackupConfig, 'driver' | 'maxAge' | 'minSizeRatio' | 'walArchiving' | 'stuckAfter'>

export function judgeBackups(facts: Assurance, rules: Rules): readonly Finding[] {
  return [...(rules.driver === 'none' ? [] : backupFindings(facts, rules)), ...archivingFindings(facts, rules)]
}

function backupFindings({ backups, now }: Assurance, rules: Rules): readonly Finding[] {
  return [...ageFindings(backups, now, rules), ...attemptFindings(backups, now), ...sizeFindings(backups, rules)]
}

function ageFindings(backups: readonly BackupRecord[], now: Date, { maxAge }: Rules): readonly Finding[] {
  const newest = newestGood(backups)
  if (newest === undefined) {
    // The very first one may take its time.
    const first = backups.length > 0 && backups.every(({ state }) => state === 'announced' || state === 'running')
    if (first) return []
    // Only a dump that was good is ever looked for; what others lost, nobody knows to have been good.
    const gone = backups.find(({ state, driver }) => state === 'vanished' && driver === 'pg-dump')
    const summary =
      gone === undefined
        ? 'there is no good backup, and there never was one'
        : `there is no good backup any more: ${gone.name} is gone`
    return [{ key: 'never-succeeded', severity: 'error', summary }]
  }
  const ageMs = now.getTime() - takenAt(newest).getTime()
  if (ageMs <= maxAge) return []
  return [
    {
      key: 'too-old',
      severity: 'error',
      summary: `the newest good backup, ${newest.name}, is ${hours(ageMs)} old; backup.maxAge is ${hours(maxAge)}`,
      details: { name: newest.name, takenAt: takenAt(newest).toISOString(), ageHours: Math.round(ageMs / 3_600_000) },
    },
  ]
}

/** What became of the newest attempt that ended. A success after it settles it. */
function attemptFindings(backups: readonly BackupRecord[], now: Date): readonly Finding[] {
  const findings: Finding[] = backups
    .filter(({ state }) => state === 'overdue')
    .slice(0, 1)
    .map((backup) => ({
      key: 'in-progress-too-long',
      severity: 'error',
      summary: `${backup.name} has been in progress for ${hours(now.getTime() - takenAt(backup).getTime())}`,
      details: { name: backup.name, driver: backup.driver },
    }))
  const newestFirst = [...backups].sort((a, b) => b.announcedAt.getTime() - a.announcedAt.getTime())
  const ended = newestFirst.find((backup) => !isOpen(backup))
  const tried = newestFirst.some((backup) => isOpen(backup) && backup.state !== 'overdue')
  const severity = tried ? 'warning' : 'error'
  const details = { name: ended?.name, driver: ended?.driver, message: ended?.message }
  const why = ended?.message === undefined ? '' : `: ${ended.message}`
  if (ended?.state === 'failed') {
    findings.push({ key: 'failed', severity, summary: `the backup ${ended.name} failed${why}`, details })
  } else if (ended?.state === 'vanished') {
    const summary = `the backup ${ended.name} was begun, and nobody knows of it any more${why}`
    findings.push({ key: 'vanished', severity, summary, details })
  } else if (ended?.state === 'unconfirmed') {
    const summary = `the backup ${ended.name} was asked for, and nothing says how it ended: set backup.statusUrl`
    findings.push({ key: 'unconfirmed', severity: 'warning', summary, details })
  }
  return findings
}

function sizeFindings(backups: readonly BackupRecord[], { minSizeRatio }: Rules): readonly Finding[] {
  const small = tooSmall(backups, minSizeRatio)
  if (small === undefined) return []
  const { newest, before, ratio } = small
  return [
    {
      key: 'too-small',
      severity: 'error',
      summary: `${newest.name} has ${Math.round(ratio * 100)} % of the size of ${before.name}: is something missing?`,
      details: {
        name: newest.name,
        sizeBytes: newest.sizeBytes,
        before: before.name,
        sizeBytesBefore: before.sizeBytes,
      },
    },
  ]
}

function archivingFindings({ archiver, failedCountBefore }: Assurance, { walArchiving }: Rules): readonly Finding[] {
  if (walArchiving === 'ignored') return []
  if (archiver.mode === 'off') {
    if (walArchiving !== 'expected') return []
    const summary = 'WAL is not archived (archive_mode is off), although backup.walArchiving expects it'
    return [{ key: 'wal-archiving-off', severity: 'error', summary }]
  }
  if (!archiver.isConfigured) {
    const summary = `WAL archiving fails: archive_mode is on, and neither archive_command nor archive_library is set. Nothing is archived, and pg_wal grows`
    return [{ key: 'wal-archiving-fails', severity: 'error', summary }]
  }
  const { failedCount, lastFailedAt, lastArchivedAt, lastFailedWal, countedSince } = archiver
  const details = {
    failedCount,
    lastFailedWal,
    lastFailedAt: lastFailedAt?.toISOString(),
    lastArchivedAt: lastArchivedAt?.toISOString(),
  }
  if (lastFailedAt !== undefined && (lastArchivedAt === undefined || lastFailedAt > lastArchivedAt)) {
    const since = lastArchivedAt ?? countedSince
    const summary = `WAL archiving fails: nothing was archived ${since === undefined ? 'ever' : `since ${since.toISOString()}`}, ${lastFailedWal ?? 'a segment'} is refused. Without it there is no point-in-time recovery, and pg_wal grows`
    return [{ key: 'wal-archiving-fails', severity: 'error', summary, details }]
  }
  // Since the statistics were reset the count is smaller: nothing can be said then.
  const grown = failedCountBefore === undefined ? 0 : failedCount - failedCountBefore
  if (grown <= 0) return []
  const summary = `WAL archiving failed ${grown} times since the last slot, and went on each time`
  return [{ key: 'wal-archiving-unsteady', severity: 'warning', summary, details }]
}

function hours(ms: number): string {
  const minutes = Math.round(ms / 60_000)
  return minutes < 120 ? `${minutes} min` : `${Math.round(minutes / 6) / 10} h`
}
