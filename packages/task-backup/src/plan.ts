/** Pure: whether to take a backup now, under which name, and how long it will take. */
import type { Change, Finding } from '@battlescope/scheduler-core'
import type { BackupConfig } from './config.js'
import { backupName } from './names.js'
import { isOpen, type BackupRecord } from './tables.js'

export interface Occasion {
  readonly slotId: string
  /** Database time. */
  readonly now: Date
}

export type BackupPlan =
  /** Nothing is to be started, and why. */
  | { readonly kind: 'off' | 'fresh' | 'taken' | 'given-up'; readonly reason: string }
  /** One is under way: it is looked after, and no other is begun. */
  | { readonly kind: 'open'; readonly reason: string }
  | { readonly kind: 'start'; readonly name: string; readonly attempt: number; readonly reason: string }

export function planBackup(backups: readonly BackupRecord[], occasion: Occasion, config: BackupConfig): BackupPlan {
  if (config.driver === 'none')
    return { kind: 'off', reason: 'no driver is configured: only WAL archiving is looked at' }
  // One that is overdue is no longer waited for.
  const open = backups.find((backup) => isOpen(backup) && backup.state !== 'overdue')
  if (open !== undefined) return { kind: 'open', reason: `${open.name} is ${open.state}` }
  const ofSlot = backups.filter(({ slotId }) => slotId === occasion.slotId)
  const taken = ofSlot.find(({ state }) => state === 'succeeded' || state === 'unconfirmed' || state === 'overdue')
  if (taken !== undefined) return { kind: 'taken', reason: `${taken.name} of this slot is ${taken.state}` }
  const newest = newestGood(backups)
  if (newest !== undefined && occasion.now.getTime() - takenAt(newest).getTime() < config.minAge) {
    return { kind: 'fresh', reason: `${newest.name} is younger than backup.minAge` }
  }
  const attempt = Math.max(0, ...ofSlot.map((backup) => backup.attempt)) + 1
  if (attempt > config.attempts) return { kind: 'given-up', reason: `${config.attempts} attempts failed in this slot` }
  const reason =
    newest === undefined ? 'there is no good backup' : `the newest good one is of ${takenAt(newest).toISOString()}`
  const name = backupName({
    slotId: occasion.slotId,
    attempt,
    prefix: config.driver === 'kubernetes' ? config.namePrefix : undefined,
  })
  return { kind: 'start', name, attempt, reason }
}

/** What is in a backup is what was in the database when it began. */
export function takenAt({ startedAt, announcedAt }: Pick<BackupRecord, 'startedAt' | 'announcedAt'>): Date {
  return startedAt ?? announcedAt
}

/** Good ones, the newest first: by what was recorded, never by name. */
export function goodBackups(backups: readonly BackupRecord[]): readonly BackupRecord[] {
  return backups
    .filter(({ state }) => state === 'succeeded')
    .sort((a, b) => takenAt(b).getTime() - takenAt(a).getTime())
}

export function newestGood(backups: readonly BackupRecord[]): BackupRecord | undefined {
  return goodBackups(backups)[0]
}

/** The good backup of a slot, for the time line. One that was recent enough without the slot's help is none of its changes. */
export function changesOf(backups: readonly BackupRecord[], slotId: string): readonly Change[] {
  const backup = goodBackups(backups).find((each) => each.slotId === slotId)
  if (backup === undefined) return []
  const { name, driver, startedAt, finishedAt, sizeBytes } = backup
  return [
    {
      key: 'completed',
      summary: `Backup ${name} was taken`,
      details: {
        name,
        driver,
        ...(sizeBytes === undefined ? {} : { sizeBytes }),
        ...(startedAt === undefined ? {} : { startedAt: startedAt.toISOString() }),
        ...(finishedAt === undefined ? {} : { finishedAt: finishedAt.toISOString() }),
      },
    },
  ]
}

/** The newest good one, when it is suspiciously small beside the one before of the same driver. */
export function tooSmall(
  backups: readonly BackupRecord[],
  minSizeRatio: number,
): { readonly newest: BackupRecord; readonly before: BackupRecord; readonly ratio: number } | undefined {
  const [newest, ...older] = goodBackups(backups)
  const before = older.find(({ driver, sizeBytes }) => driver === newest?.driver && (sizeBytes ?? 0) > 0)
  if (newest?.sizeBytes === undefined || before?.sizeBytes === undefined) return undefined
  const ratio = newest.sizeBytes / before.sizeBytes
  return ratio < minSizeRatio ? { newest, before, ratio } : undefined
}

/** Backups that a prediction is made of: the newest, because databases grow and machines change. */
const learnedFrom = 5
/** A prediction that is a little too long costs a wait; one that is too short costs a dump that is ended half-way. */
const predictionMargin = 1.25
/** Connecting, reading the catalog, the first and last requests to the store. */
const fixedCostMs = 2000

function learned(
  backups: readonly BackupRecord[],
  driver: BackupRecord['driver'],
): readonly (BackupRecord & {
  readonly durationMs: number
})[] {
  return goodBackups(backups)
    .filter((backup) => backup.driver === driver)
    .flatMap((backup) =>
      backup.startedAt === undefined || backup.finishedAt === undefined
        ? []
        : [{ ...backup, durationMs: backup.finishedAt.getTime() - backup.startedAt.getTime() }],
    )
    .slice(0, learnedFrom)
}

/** Milliseconds that dumping and reading back so many bytes of database will take, by the slowest of the last. */
export function predictDumpMs(
  backups: readonly BackupRecord[],
  databaseBytes: number,
  { assumedRate }: Pick<BackupConfig, 'assumedRate'>,
): number {
  const msPerByte = learned(backups, 'pg-dump').flatMap(({ databaseBytes: bytes, durationMs }) =>
    bytes === undefined || bytes === 0 ? [] : [Math.max(0, durationMs - fixedCostMs) / bytes],
  )
  const rate = msPerByte.length === 0 ? 1000 / assumedRate : Math.max(...msPerByte) * predictionMargin
  return Math.ceil(fixedCostMs + databaseBytes * rate)
}

/**
 * Milliseconds of a command: its deadline, until it has shown that it needs less. One that was seen to need more than this run's deadline
 * (a run with limits of its own waited for it) would be ended half-way here.
 */
export function predictCommandMs(
  backups: readonly BackupRecord[],
  { commandTimeout }: Pick<BackupConfig, 'commandTimeout'>,
): number {
  const durations = learned(backups, 'command').map(({ durationMs }) => durationMs)
  if (durations.length === 0) return commandTimeout
  const slowestMs = Math.max(...durations)
  const predictedMs = Math.ceil(fixedCostMs + slowestMs * predictionMargin)
  return slowestMs > commandTimeout ? predictedMs : Math.min(commandTimeout, predictedMs)
}

/** A CronJob of its own, which takes what does not fit into a minute, comes after the slot: until then all is well. */
const ownCronJobMs = 2 * 3_600_000

/** @returns what to tell of a backup that was not begun because it would not fit; undefined while somebody else may still take it */
export function doesNotFit({
  predictedMs,
  leftMs,
  lateByMs,
}: {
  readonly predictedMs: number
  readonly leftMs: number
  /** Between the slot and this run. */
  readonly lateByMs: number
}): Finding | undefined {
  if (lateByMs <= ownCronJobMs) return undefined
  const [needs, has] = [Math.ceil(predictedMs / 1000), Math.floor(leftMs / 1000)]
  return {
    key: 'does-not-fit',
    severity: 'error',
    summary: `the backup was not begun: it is expected to take ${needs} s, and this run has ${has} s left; give it a CronJob of its own (docs/backups.md)`,
    details: { predictedSeconds: needs, leftSeconds: has },
  }
}

/** Dates that mean none begin before: year 1 in Go, 1970 elsewhere. */
const firstDateMs = Date.UTC(2000, 0, 1)

/**
 * When somebody else says that a backup began, if that can be. One that is yet to begin would count as fresh until then, and one that began
 * two thousand years ago would be given up at once.
 */
export function believedStart(startedAt: Date | undefined, now: Date): Date | undefined {
  if (startedAt === undefined || startedAt.getTime() < firstDateMs || startedAt > now) return undefined
  return startedAt
}

/** How long one that is overdue is still looked at, beyond `stuckAfter`. */
const lookedAtMs = 7 * 86_400_000

/** Whether one that runs, as far as anybody knows, runs for too long. */
export function judgeRunning(
  backup: BackupRecord,
  now: Date,
  { stuckAfter }: Pick<BackupConfig, 'stuckAfter'>,
): 'running' | 'overdue' | 'given-up' {
  const runningMs = now.getTime() - takenAt(backup).getTime()
  if (runningMs > stuckAfter + lookedAtMs) return 'given-up'
  return runningMs > stuckAfter ? 'overdue' : 'running'
}
