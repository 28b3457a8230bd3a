/** What a run of backup does. */
import { SchedulerError, type Change, type Finding, type TaskResult } from '@battlescope/scheduler-core'
import { judgeBackups } from './assurance.js'
import { takeByCommand } from './command.js'
import type { BackupContext } from './driver.js'
import { missDump, pruneDumps, takeDump } from './dump.js'
import {
  changesOf,
  doesNotFit,
  goodBackups,
  newestGood,
  planBackup,
  predictCommandMs,
  predictDumpMs,
  takenAt,
  type BackupPlan,
} from './plan.js'
import { planPrune } from './plan-prune.js'
import { selectArchiver, selectBackups, selectDatabaseBytes } from './queries.js'
import { isOpen, tablesIn, type BackupRecord } from './tables.js'
import { lookAfter, startBackup } from './trigger.js'

/** Rows that are read: more than years of a daily backup. */
const mostRows = 2000

type Start = Extract<BackupPlan, { kind: 'start' }>

export async function runBackup(context: BackupContext): Promise<TaskResult> {
  const { config, clock, db } = context
  const archiver = await selectArchiver(db)
  const failedCountBefore = await rememberFailedCount(context, archiver.failedCount)
  const findings: Finding[] = []

  for (const open of (await readBackups(context)).filter(isOpen)) findings.push(...(await lookAfter(context, open)))
  await checkNewest(context)
  const plan = planBackup(await readBackups(context), { slotId: context.slot.id, now: clock.now() }, config)
  let waits = plan.kind === 'open'
  if (plan.kind === 'start') {
    // Out of budget: nothing is begun. The slot stays due.
    const started = context.budget.exhausted() ? { waits: true, findings: [] } : await begin(context, plan)
    waits = started.waits
    findings.push(...started.findings)
  }

  const left = config.driver === 'pg-dump' ? await prune(context, findings) : 0
  const backups = await readBackups(context)
  // An attempt that failed at once leaves one more, for the next run.
  const next = planBackup(backups, { slotId: context.slot.id, now: clock.now() }, config)
  waits ||= (next.kind === 'start' && !context.dryRun) || next.kind === 'open'
  findings.push(...judgeBackups({ backups, now: clock.now(), archiver, failedCountBefore }, config))
  publish(context, backups)
  return resultOf(plan, (waits ? 1 : 0) + left, findings, changesOf(backups, context.slot.id))
}

function resultOf(
  plan: BackupPlan,
  remaining: number,
  findings: readonly Finding[],
  changes: readonly Change[],
): TaskResult {
  if (plan.kind === 'off') return { outcome: 'skipped', reason: plan.reason, findings }
  return remaining > 0 ? { outcome: 'partial', remaining, findings } : { outcome: 'succeeded', findings, changes }
}

async function readBackups({ db, stateSchema }: BackupContext): Promise<readonly BackupRecord[]> {
  return stateSchema === undefined ? [] : selectBackups(tablesIn(db, stateSchema), mostRows)
}

/** How often archiving had failed when the slot before began: a slot goes over many runs. */
async function rememberFailedCount(context: BackupContext, failedCount: number): Promise<number | undefined> {
  const { checkpoint, slot } = context
  const before = await checkpoint.load()
  if (before?.slotId === slot.id) return before.failedCountBefore ?? undefined
  await checkpoint.save({ slotId: slot.id, failedCount, failedCountBefore: before?.failedCount ?? null })
  return before?.failedCount
}

/** The newest dump may have been removed by somebody else: better known today than on the day of the restore. */
async function checkNewest(context: BackupContext): Promise<void> {
  if (context.config.driver !== 'pg-dump' || !context.hasClient('store')) return
  const newest = newestGood(await readBackups(context))
  if (newest?.driver === 'pg-dump') await missDump(context, newest)
}

interface Begun {
  readonly waits: boolean
  readonly findings: readonly Finding[]
}

async function begin(context: BackupContext, plan: Start): Promise<Begun> {
  const { config, db } = context
  if (config.driver === 'kubernetes' || config.driver === 'http') {
    return { waits: await startBackup(context, { ...plan, driver: config.driver }), findings: [] }
  }
  const programs = config.driver === 'pg-dump' ? ['pg_dump', 'pg_restore'] : [config.command[0] ?? '']
  const versions = await mustHave(context, programs)
  const databaseBytes = await selectDatabaseBytes(db)
  const backups = await readBackups(context)
  const predictedMs =
    config.driver === 'pg-dump' ? predictDumpMs(backups, databaseBytes, config) : predictCommandMs(backups, config)
  const leftMs = context.budget.remainingMs()
  if (predictedMs > leftMs) {
    context.logger.info({ event: 'backup-does-not-fit', predictedMs, leftMs }, 'the backup would not fit into this run')
    const finding = doesNotFit({ predictedMs, leftMs, lateByMs: context.slot.lateByMs })
    return { waits: true, findings: finding === undefined ? [] : [finding] }
  }
  const request = { ...plan, databaseBytes }
  if (config.driver === 'pg-dump') await takeDump(context, { ...request, writtenBy: versions[0] ?? '' })
  else await takeByCommand(context, request)
  return { waits: false, findings: [] }
}

/** @returns versions of pg_dump and pg_restore; of a command nobody knows how to ask @throws SchedulerError `configuration` */
async function mustHave(context: BackupContext, programs: readonly string[]): Promise<readonly string[]> {
  const client = await context.client('program')
  for (const program of programs) {
    if (await client.has(program)) continue
    throw new SchedulerError(
      'configuration',
      `backup.driver is ${context.config.driver}, and there is no program ${program} here`,
      {
        hint: 'the stock image has neither pg_dump nor backup tools: the driver kubernetes or http, or an image that has the program, in a CronJob of its own (docker/backup.Dockerfile, docs/backups.md)',
      },
    )
  }
  if (context.config.driver === 'command') return []
  return Promise.all(programs.map((program) => client.version(program, { signal: context.signal })))
}

/** @returns how many are left for the next run */
async function prune(context: BackupContext, findings: Finding[]): Promise<number> {
  if (!context.hasClient('store')) return 0
  const { location } = await context.client('store')
  const backups = await readBackups(context)
  const pruned = await pruneDumps(context, planPrune(backups, location, context.config), backups)
  if (pruned.heldBack !== undefined) {
    const summary = `old dumps stay: ${pruned.heldBack}`
    findings.push({ key: 'not-pruned', severity: 'warning', summary })
  }
  return pruned.left
}

function publish({ config, metrics, clock }: BackupContext, backups: readonly BackupRecord[]): void {
  if (config.driver === 'none') return
  const [newest] = goodBackups(backups)
  // 0: never. A rule compares it with now, and a success that never was is older than any.
  metrics.gauge('last_success_timestamp_seconds', newest === undefined ? 0 : takenAt(newest).getTime() / 1000)
  metrics.gauge('last_size_bytes', newest?.sizeBytes ?? 0)
  const durationMs =
    newest?.startedAt === undefined || newest.finishedAt === undefined
      ? 0
      : newest.finishedAt.getTime() - newest.startedAt.getTime()
  metrics.gauge('last_duration_seconds', durationMs / 1000)
  const open = backups.find(isOpen)
  metrics.gauge(
    'in_progress_seconds',
    open === undefined ? 0 : (clock.now().getTime() - takenAt(open).getTime()) / 1000,
  )
}
