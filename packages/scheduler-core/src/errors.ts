/**
 * Every error that the scheduler raises by itself: one table, from which exit codes, classes and documentation follow.
 * Exit codes 64 to 78 are those of BSD's sysexits.h.
 */

export interface ExitCode {
  readonly code: number
  readonly name: string
  readonly meaning: string
}

export const exitCodes = {
  ok: { code: 0, name: 'ok', meaning: 'all fine: every task succeeded, was partial, was skipped or was not due' },
  taskFailed: {
    code: 1,
    name: 'task failed',
    meaning: 'at least one task failed, timed out, lost its claim, or is disabled',
  },
  usage: { code: 64, name: 'usage', meaning: 'the command line is wrong' },
  unavailable: {
    code: 69,
    name: 'database unavailable',
    meaning: 'PostgreSQL could not be reached, refused us, or is a standby',
  },
  internal: { code: 70, name: 'internal error', meaning: 'a bug of the scheduler itself' },
  claimedElsewhere: {
    code: 75,
    name: 'claimed elsewhere',
    meaning: 'a task asked for by name is claimed by another process',
  },
  configuration: { code: 78, name: 'configuration', meaning: 'configuration, grants or versions need a human' },
  findings: {
    code: 80,
    name: 'findings',
    meaning: 'a finding at or above --fail-on; of `archive` commands any finding',
  },
  interrupted: { code: 130, name: 'interrupted', meaning: 'stopped by SIGINT' },
  terminated: { code: 143, name: 'terminated', meaning: 'stopped by SIGTERM' },
} as const satisfies Record<string, ExitCode>

export type ExitCodeName = keyof typeof exitCodes

/** Error code → exit code and meaning. A both-way test holds it against the code. */
export const errorTable = {
  usage: { exit: 'usage', meaning: 'a command, option or argument that does not exist or does not fit' },
  configuration: { exit: 'configuration', meaning: 'one or more options are wrong; all problems are listed at once' },
  'database-unavailable': {
    exit: 'unavailable',
    meaning: 'no connection: unreachable, refused, wrong password, timed out',
  },
  'database-standby': { exit: 'unavailable', meaning: 'the server is in recovery: a standby cannot be kept by us' },
  'database-too-old': { exit: 'configuration', meaning: 'the server is older than PostgreSQL 15' },
  'database-permission': { exit: 'configuration', meaning: "the role may not use or make the scheduler's own schema" },
  'schema-newer': { exit: 'configuration', meaning: "the scheduler's schema was made by a newer version" },
  'unknown-task': { exit: 'usage', meaning: 'a task that is not enabled' },
  'task-disabled': { exit: 'taskFailed', meaning: 'a third-party package is absent, broken or clashing' },
  'lost-claim': { exit: 'taskFailed', meaning: 'another process took the task over; nothing more was committed' },
  'claim-in-use': {
    exit: 'claimedElsewhere',
    meaning: 'a claim cannot be taken away while its holder is in a transaction',
  },
  'timed-out': { exit: 'taskFailed', meaning: "the task's timeout or the run's deadline passed" },
  'context-ended': { exit: 'taskFailed', meaning: 'a task went on using its context after its run had ended' },
  'client-unavailable': {
    exit: 'taskFailed',
    meaning: 'a client that is not declared in `requires`, or not configured',
  },
  'not-in-dry-run': { exit: 'taskFailed', meaning: 'something that a dry run never does' },
  stopped: { exit: 'terminated', meaning: 'a signal stopped the run' },
} as const satisfies Record<string, { exit: ExitCodeName; meaning: string }>

export type ErrorCode = keyof typeof errorTable

/** An error that the scheduler raises by itself: what happened and where, and in `hint` what to do about it. */
export class SchedulerError extends Error {
  override readonly name: string = 'SchedulerError'
  readonly code: ErrorCode
  readonly hint: string | undefined

  constructor(code: ErrorCode, message: string, options: { readonly hint?: string; readonly cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.hint = options.hint
  }

  get exitCode(): number {
    return exitCodes[errorTable[this.code].exit].code
  }
}

/** The claim was taken over by another process. Nothing may be committed any more. */
export class LostClaimError extends SchedulerError {
  override readonly name = 'LostClaimError'
  constructor(task: string) {
    super('lost-claim', `the claim of task '${task}' was taken over by another process`, {
      hint: 'the process was paused beyond its claim, or somebody ran `release`; the next run goes on',
    })
  }
}

/** What kind of failure an unknown error is, judged by SQLSTATE and error code alone. */
export type FailureKind = 'transient' | 'permission' | 'cancelled' | 'lost-claim' | 'permanent'

// https://www.postgresql.org/docs/current/errcodes-appendix.html
const transientSqlStates = new Set([
  '40001', // serialization_failure
  '40P01', // deadlock_detected
  '55P03', // lock_not_available
  '53300', // too_many_connections
  '57P01', // admin_shutdown
  '57P02', // crash_shutdown
  '57P03', // cannot_connect_now
  '25P03', // idle_in_transaction_session_timeout
])
const transientCodes = new Set([
  'ECONNRESET',
  'ECONNREFUSED',
  'EPIPE',
  'ETIMEDOUT',
  'EAI_AGAIN',
  'connection-lost',
  'connect-timeout',
  'commit-unknown',
])

/** The `code` of whatever was thrown: SQLSTATE, errno name or our own; undefined without one. */
export function codeOf(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null | undefined)?.code
  return typeof code === 'string' ? code : undefined
}

/** What to do about it, where whoever threw it said so: the scheduler, a task, PostgreSQL. */
export function hintOf(error: unknown): string | undefined {
  const hint = (error as { hint?: unknown } | null | undefined)?.hint
  return typeof hint === 'string' && hint !== '' ? hint : undefined
}

export function classifyFailure(error: unknown): FailureKind {
  const code = codeOf(error)
  if (code === undefined) return 'permanent'
  if (code === 'lost-claim') return 'lost-claim'
  if (code === '57014' || code === 'stopped' || code === 'timed-out') return 'cancelled'
  if (code === '42501') return 'permission'
  if (/^08...$/.test(code) || transientSqlStates.has(code) || transientCodes.has(code)) return 'transient'
  return 'permanent'
}

/** One line for logs and history: the message without what an error may carry beside it, cut to `maxLength` characters. */
export function messageOf(error: unknown, maxLength = 500): string {
  const text = error instanceof Error ? error.message : String(error)
  const line = text.replace(/\s+/g, ' ').trim() || 'no message'
  return line.length > maxLength ? `${line.slice(0, maxLength - 1)}…` : line
}
