/** One run of one task: context → run → outcome, under its deadlines. Whether it may write is decided by the caller's gate. */
import { setMaxListeners } from 'node:events'
import type { ClientFactories } from '../clients.js'
import type { Connections } from '../connections.js'
import { classifyFailure } from '../errors.js'
import type { DueTask } from '../plan.js'
import { mayUseDirect } from '../registry.js'
import type { ClaimIdentity } from '../state/claims.js'
import type { MetricValue } from '../state/records.js'
import type { StateStore } from '../state/store.js'
import type { Budget, TaskLogger } from '../task.js'
import { Clients } from './clients.js'
import { sleep, type DatabaseClock, type Timer } from './clock.js'
import { buildContext, contextEnded } from './context.js'
import { listingGate, performingGate, type PlannedAction } from './gate.js'
import { outcomeOfError, outcomeOfResult, RunAborted, type RunOutcome } from './outcome.js'
import type { SafeText } from './safe-text.js'

/** Transient errors (a deadlock, a restart of the server) are tried again this often inside one run. */
const maxAttempts = 3
/** Milliseconds before the second attempt; doubled for the third, and jittered. */
const retryPauseMs = 250
/** The soft limit leaves this share of a task's timeout for coming to a border. */
const softShare = 0.8

export interface TaskEnvironment {
  readonly connections: Connections
  readonly store: StateStore
  readonly clients: ClientFactories
  readonly logger: TaskLogger
  readonly clock: DatabaseClock
  /** Undefined while the scheduler's own tables are not those of this version. */
  readonly stateSchema: string | undefined
  readonly timer: Timer
  /** Milliseconds of the whole run's budget. */
  readonly budgetMs: number
  /** Milliseconds left of it. */
  readonly budgetRemainingMs: () => number
  /** Aborted to stop every task at once. */
  readonly hardStop: AbortSignal
  /** Milliseconds that a task gets to end after its abort before it is given up. */
  readonly graceMs: number
  readonly safe: SafeText
  readonly random: () => number
}

export interface TaskRunResult extends RunOutcome {
  readonly attempts: number
  readonly durationMs: number
  /** The most memory that the process had resident, from its start to the end of this task. */
  readonly peakMemoryBytes: number
  readonly actions: readonly PlannedAction[]
  readonly metrics: readonly MetricValue[]
  /** The task did not end after its abort; its context is dead, but its code may still be running. */
  readonly abandoned: boolean
}

export interface TaskRunInput {
  readonly decision: DueTask
  /** Undefined in a dry run. */
  readonly identity: ClaimIdentity | undefined
  readonly traceparent: string | undefined
  /** What a command asks of this run. */
  readonly request: unknown
  /** Aborts this run alone. Its owner aborts it when the claim is lost. */
  readonly abort: AbortController
}

export async function runTask(environment: TaskEnvironment, input: TaskRunInput): Promise<TaskRunResult> {
  const { timer, hardStop } = environment
  const { decision, abort } = input
  const startedAt = timer.monotonicMs()
  const elapsedMs = () => timer.monotonicMs() - startedAt
  const { timeoutMs } = decision.entry

  const stopAll = () => {
    abort.abort(hardStop.reason)
  }
  if (hardStop.aborted) stopAll()
  hardStop.addEventListener('abort', stopAll, { once: true })
  const cancelTimeout = timer.after(timeoutMs, () => {
    abort.abort(new RunAborted('timed-out', `did not end within its timeout of ${timeoutMs} ms`))
  })
  const budget: Budget = {
    totalMs: Math.min(environment.budgetMs, timeoutMs * softShare),
    remainingMs: () => Math.max(0, Math.min(environment.budgetRemainingMs(), timeoutMs * softShare - elapsedMs())),
    exhausted: () => abort.signal.aborted || budget.remainingMs() <= 0,
  }

  try {
    const actions: PlannedAction[] = []
    const metrics: MetricValue[] = []
    for (let attempt = 1; ; attempt += 1) {
      const result = await attemptTask(environment, input, budget, () => timeoutMs - elapsedMs())
      // What an earlier attempt committed has happened, and counts.
      actions.push(...result.actions)
      metrics.push(...result.metrics)
      const done = {
        ...result,
        actions,
        metrics,
        attempts: attempt,
        durationMs: elapsedMs(),
        peakMemoryBytes: process.resourceUsage().maxRSS * 1024,
      }
      if (attempt === maxAttempts || !result.retryable || result.abandoned || budget.exhausted()) return done
      environment.logger.warn({ event: 'task-retry', attempt, error: result.reason }, 'transient failure, trying again')
      const pauseMs = retryPauseMs * 2 ** (attempt - 1) * (1 + environment.random())
      if (pauseMs >= budget.remainingMs()) return done
      try {
        await sleep(timer, pauseMs, abort.signal)
      } catch {
        return done
      }
    }
  } finally {
    cancelTimeout()
    hardStop.removeEventListener('abort', stopAll)
  }
}

type Attempt = Omit<TaskRunResult, 'attempts' | 'durationMs' | 'peakMemoryBytes'> & { readonly retryable: boolean }

async function attemptTask(
  environment: TaskEnvironment,
  { decision, identity, traceparent, request, abort }: TaskRunInput,
  budget: Budget,
  remainingMs: () => number,
): Promise<Attempt> {
  const { connections, store, timer, logger, safe } = environment
  // Aborted when the task has returned, too: what it left behind unawaited must not hold the fence, or write beside the record.
  const over = new AbortController()
  const signal = AbortSignal.any([abort.signal, over.signal])
  // One listener for each unit of work that is open: as many as the task likes.
  setMaxListeners(0, signal)
  const check = () => {
    if (over.signal.aborted) throw contextEnded(decision.name)
  }
  const clients = new Clients(
    { task: decision.name, signal, logger },
    decision.entry.requires,
    environment.clients,
    identity === undefined,
  )
  const gate =
    identity === undefined
      ? listingGate(check, safe)
      : performingGate({
          connections,
          store,
          clients,
          identity,
          mayUseDirect: mayUseDirect(decision.entry),
          safe,
          signal,
          timer,
          remainingMs,
          check,
        })
  const { context, metrics } = buildContext({
    decision,
    slot: { id: decision.slotId, scheduledAt: decision.scheduledAt, lateByMs: decision.lateByMs },
    connections,
    store,
    clients,
    gate,
    safe,
    request,
    logger,
    clock: environment.clock,
    signal,
    budget,
    traceparent,
    identity,
    stateSchema: environment.stateSchema,
    check,
    remainingMs,
  })
  const settled = await settle(async () => decision.entry.task.run(context), environment, abort.signal)
  over.abort(contextEnded(decision.name))
  await settledWithin(clients.close(), timer, environment.graceMs)
  const rest = { actions: [...gate.actions], metrics: [...metrics] }
  if (settled.kind === 'returned' && !abort.signal.aborted) {
    return { ...outcomeOfResult(settled.value, safe), ...rest, abandoned: false, retryable: false }
  }
  if (settled.kind === 'returned') {
    // It came to a border although it was being aborted. A claim that went, or a timeout, is still what happened.
    const outcome = outcomeOfError(undefined, abort.signal.reason, safe)
    return { ...outcome, ...rest, abandoned: false, retryable: false }
  }
  const error = settled.kind === 'threw' ? settled.error : undefined
  if (settled.kind === 'threw')
    logger.debug({ event: 'task-error', stack: (error as Error | undefined)?.stack }, 'task threw')
  const outcome = outcomeOfError(error, abort.signal.reason, safe)
  const retryable = settled.kind === 'threw' && !abort.signal.aborted && classifyFailure(error) === 'transient'
  return { ...outcome, ...rest, abandoned: settled.kind === 'abandoned', retryable }
}

type Settled =
  | { readonly kind: 'returned'; readonly value: unknown }
  | { readonly kind: 'threw'; readonly error: unknown }
  | { readonly kind: 'abandoned' }

/** Waits, and then goes on: what hangs here ends with the process. */
function settledWithin(promise: Promise<unknown>, timer: Timer, ms: number): Promise<void> {
  return new Promise((resolve) => {
    const cancel = timer.after(ms, resolve)
    void promise.finally(() => {
      cancel()
      resolve()
    })
  })
}

/** Waits for the task, and after its abort for the grace period at most. */
function settle(run: () => Promise<unknown>, environment: TaskEnvironment, signal: AbortSignal): Promise<Settled> {
  const { timer, graceMs, logger } = environment
  return new Promise((resolve) => {
    let cancelGrace: () => void = () => undefined
    const end = (settled: Settled) => {
      cancelGrace()
      signal.removeEventListener('abort', startGrace)
      resolve(settled)
    }
    const startGrace = () => {
      cancelGrace = timer.after(graceMs, () => {
        logger.error({ event: 'task-abandoned' }, 'task did not end after its abort and is given up')
        end({ kind: 'abandoned' })
      })
    }
    if (signal.aborted) startGrace()
    else signal.addEventListener('abort', startGrace, { once: true })
    run().then(
      (value) => {
        end({ kind: 'returned', value })
      },
      (error: unknown) => {
        end({ kind: 'threw', error })
      },
    )
  })
}
