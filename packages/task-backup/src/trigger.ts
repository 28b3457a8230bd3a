/** Backups that somebody else takes: asked for in one run, looked at in the next ones. And what runs left behind that were ended. */
import { codeOf, messageOf, type Finding } from '@battlescope/scheduler-core'
import type { DriverName } from './config.js'
import { NotSeen, NotStarted, type BackupContext, type Sighting, type TriggerDriver } from './driver.js'
import { recoverDump } from './dump.js'
import { hookDriver } from './hook.js'
import { kubernetesDriver } from './kubernetes.js'
import { believedStart, judgeRunning } from './plan.js'
import { announce, announced, record } from './record.js'
import type { BackupRecord } from './tables.js'

type TriggerName = Extract<DriverName, 'kubernetes' | 'http'>

const drivers: Readonly<Record<TriggerName, TriggerDriver>> = { kubernetes: kubernetesDriver, http: hookDriver }

export interface StartRequest {
  readonly name: string
  readonly attempt: number
  readonly reason: string
  readonly driver: TriggerName
}

/** @returns whether it goes on @throws NotStarted */
export async function startBackup(context: BackupContext, request: StartRequest): Promise<boolean> {
  const { name, attempt, driver, reason } = request
  const row = { name, slotId: context.slot.id, attempt, driver, state: 'announced' as const }
  await announce(context, row, reason)
  if (context.budget.exhausted() && !context.dryRun) return true
  return ask(context, announced(row, context.clock.now()))
}

async function ask(context: BackupContext, backup: BackupRecord): Promise<boolean> {
  const sighting = await drivers[backup.driver as TriggerName].start(context, backup)
  await recordSighting(context, backup, sighting ?? { state: 'running' })
  return (sighting?.state ?? 'running') === 'running'
}

async function recordSighting(context: BackupContext, backup: BackupRecord, sighting: Sighting): Promise<void> {
  const now = context.clock.now()
  const { state, startedAt: saidToBegin, ...known } = sighting
  const startedAt = believedStart(saidToBegin, now)
  await record(context, backup.name, {
    ...known,
    state,
    startedAt: startedAt ?? backup.startedAt ?? (state === 'running' ? now : undefined),
    ...(state === 'running' ? {} : { finishedAt: sighting.finishedAt ?? now }),
  })
}

/** Looks how one goes that is open: whatever changed is in the table afterwards. @returns what kept it from looking */
export async function lookAfter(context: BackupContext, backup: BackupRecord): Promise<readonly Finding[]> {
  const { config, clock } = context
  const failed = (message: string) =>
    record(context, backup.name, { state: 'failed', finishedAt: clock.now(), message })
  if (config.driver !== backup.driver) {
    await failed(
      `backup.driver was ${backup.driver} when it was begun, and is ${config.driver} now: nobody looks at it any more`,
    )
    return []
  }
  switch (backup.driver) {
    case 'pg-dump':
      await recoverDump(context, backup)
      return []
    case 'command':
      // Its process ends with the run; whether it was through, nobody knows.
      await failed('the run that took it ended before it did')
      return []
    case 'http':
    case 'kubernetes':
      return lookAtTriggered(context, backup, drivers[backup.driver])
  }
}

async function lookAtTriggered(
  context: BackupContext,
  backup: BackupRecord,
  driver: TriggerDriver,
): Promise<readonly Finding[]> {
  const verdict = judgeRunning(backup, context.clock.now(), context.config)
  if (backup.state === 'announced') {
    if (verdict === 'running') {
      if (!context.budget.exhausted()) await ask(context, backup)
      return []
    }
    const message = 'it could not be asked for in time'
    await record(context, backup.name, { state: 'failed', finishedAt: context.clock.now(), message })
    return []
  }
  const findings: Finding[] = []
  let seen: Sighting | undefined
  try {
    seen = await driver.look(context, backup)
  } catch (error) {
    if (!(error instanceof NotSeen || error instanceof NotStarted)) throw error
    const details = { name: backup.name, code: codeOf(error) }
    findings.push({
      key: 'not-seen',
      severity: 'warning',
      summary: `how ${backup.name} goes is not known: ${messageOf(error)}`,
      details,
    })
  }
  const startedAt = believedStart(seen?.startedAt, context.clock.now())
  if (seen !== undefined && seen.state !== 'running') {
    await recordSighting(context, backup, seen)
  } else if (verdict === 'given-up') {
    const message = seen?.message ?? 'it was in progress for a week beyond backup.stuckAfter, and is given up'
    await record(context, backup.name, { state: 'failed', finishedAt: context.clock.now(), message })
  } else if (verdict === 'overdue' && backup.state !== 'overdue') {
    await record(context, backup.name, { state: 'overdue', message: seen?.message })
  } else if (startedAt !== undefined && startedAt.getTime() !== backup.startedAt?.getTime()) {
    await record(context, backup.name, { startedAt })
  }
  return findings
}
