/** Stage 6: what a run was, and its exit code. Pure; nothing after it touches the database. */
import { exitCodes } from './errors.js'
import type { TaskReport } from './execute/execute.js'
import type { DisabledTask } from './registry.js'
import { severities, type Severity } from './task.js'

export interface RunReport {
  readonly runId: string
  readonly dryRun: boolean
  readonly startedAt: Date
  readonly durationMs: number
  readonly tasks: readonly TaskReport[]
  readonly disabled: readonly DisabledTask[]
  /** The signal that stopped the run. */
  readonly stoppedBy: 'SIGINT' | 'SIGTERM' | undefined
  readonly exitCode: number
}

export interface ExitQuestion {
  readonly tasks: readonly TaskReport[]
  readonly disabled: readonly DisabledTask[]
  readonly stoppedBy: RunReport['stoppedBy']
  /** Tasks asked for by name. */
  readonly only: readonly string[] | undefined
  readonly failOn: Severity | undefined
}

/** The worst that happened decides: a signal, a failure, a claim elsewhere, then findings. */
export function exitCodeOf({ tasks, disabled, stoppedBy, only, failOn }: ExitQuestion): number {
  if (stoppedBy !== undefined) return (stoppedBy === 'SIGINT' ? exitCodes.interrupted : exitCodes.terminated).code
  const failed = tasks.some(
    ({ run }) => run?.outcome === 'failed' || run?.outcome === 'timed-out' || run?.outcome === 'cancelled',
  )
  if (failed || disabled.length > 0) return exitCodes.taskFailed.code
  if (only !== undefined && tasks.some(({ name, code }) => code === 'claimed' && only.includes(name))) {
    return exitCodes.claimedElsewhere.code
  }
  if (
    failOn !== undefined &&
    tasks.some(({ run }) => run?.findings.some(({ severity }) => atLeast(severity, failOn)))
  ) {
    return exitCodes.findings.code
  }
  return exitCodes.ok.code
}

function atLeast(severity: Severity, threshold: Severity): boolean {
  return severities.indexOf(severity) >= severities.indexOf(threshold)
}
