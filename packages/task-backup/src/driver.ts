/** What the drivers have in common that only start a backup: somebody else takes it, and is asked later how it went. */
import { codeOf, type HttpResponse, type TaskContext } from '@battlescope/scheduler-core'
import type { BackupConfig } from './config.js'
import type { BackupRecord } from './tables.js'

/** What one run leaves for the next: how often archiving had failed when the last slots began. */
export interface Cursor {
  readonly slotId: string
  readonly failedCount: number
  readonly failedCountBefore: number | null
}

export type BackupContext = TaskContext<BackupConfig, unknown, Cursor>

/** What is known of a backup that somebody else takes. */
export interface Sighting {
  readonly state: 'running' | 'succeeded' | 'failed' | 'vanished' | 'unconfirmed'
  readonly startedAt?: Date
  readonly finishedAt?: Date
  readonly sizeBytes?: number
  readonly checksum?: string
  readonly location?: string
  readonly message?: string
}

export interface TriggerDriver {
  /** Where it is asked for, without secrets: the target of the action. */
  target(context: BackupContext): string
  /**
   * Asks for it. Asking twice for the same name is harmless. Undefined in a dry run.
   * @throws NotStarted when it was refused, or nobody knows
   */
  start(context: BackupContext, backup: BackupRecord): Promise<Sighting | undefined>
  /** How it goes. @throws NotSeen when nobody could say: that is no news of the backup */
  look(context: BackupContext, backup: BackupRecord): Promise<Sighting>
}

class DriverError extends Error {
  readonly code: string
  readonly hint: string | undefined
  constructor(code: string, message: string, hint?: string) {
    // History keeps the message alone.
    super(hint === undefined ? message : `${message} (${hint})`)
    this.code = code
    this.hint = hint
  }
}

/** A backup could not be asked for: the task fails, and the next run asks again under the same name. */
export class NotStarted extends DriverError {
  override readonly name = 'NotStarted'
}

/** Whoever takes the backup could not be asked. */
export class NotSeen extends DriverError {
  override readonly name = 'NotSeen'
}

/** One exchange. An aborted run is the run's own end; everything else that brings no answer is raised. */
export async function answerOf(
  { signal }: Pick<BackupContext, 'signal'>,
  Raised: typeof NotStarted | typeof NotSeen,
  who: string,
  exchange: () => Promise<HttpResponse>,
  hint?: string,
): Promise<HttpResponse> {
  try {
    return await exchange()
  } catch (error) {
    signal.throwIfAborted()
    const code = codeOf(error) ?? 'http-failed'
    throw new Raised(code, `${who} gave no answer: ${code}`, hint)
  }
}

/** Milliseconds for one exchange: a run that is out of budget may still look, briefly. */
export function requestTimeoutMs({ budget, config }: Pick<BackupContext, 'budget' | 'config'>): number {
  return Math.max(1, Math.ceil(Math.min(config.requestTimeout, Math.max(budget.remainingMs(), 1000))))
}
