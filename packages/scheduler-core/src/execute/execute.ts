/** Stage 4: takes each due task in turn (claim → run → record) inside the run's budget. */
import { randomUUID } from 'node:crypto'
import type { ClientFactories } from '../clients.js'
import type { Connections } from '../connections.js'
import { codeOf } from '../errors.js'
import { decide, type Decision, type DueTask, type NotDueReason, type PlanOptions } from '../plan.js'
import { mayUseDirect } from '../registry.js'
import { recordTaskRun } from '../record.js'
import type { ClaimIdentity } from '../state/claims.js'
import type { StateStore } from '../state/store.js'
import type { TaskLogger } from '../task.js'
import type { Telemetry } from '../telemetry.js'
import type { DatabaseClock, Timer } from './clock.js'
import { RunAborted } from './outcome.js'
import { runTask, type TaskEnvironment, type TaskRunResult } from './run-task.js'
import type { SafeText } from './safe-text.js'

/** Milliseconds of budget below which nothing new is started. */
const leastBudgetMs = 500

export interface TaskReport {
  readonly name: string
  readonly slotId: string | undefined
  readonly thirdParty: boolean
  /** Absent when the task did not run. */
  readonly run: TaskRunResult | undefined
  /** Why it ran, or why it did not. */
  readonly reason: string
  /** Why it did not run. */
  readonly code: NotDueReason | 'no-budget' | 'stopped' | undefined
  readonly nextAt: Date | undefined
}

export interface Execution {
  readonly runId: string
  readonly holder: string
  readonly dryRun: boolean
  readonly connections: Connections
  readonly store: StateStore
  readonly clients: ClientFactories
  readonly loggerFor: (task: string) => TaskLogger
  readonly telemetry: Telemetry
  readonly clock: DatabaseClock
  /** Undefined in a dry run while the scheduler's own tables are not those of this version. */
  readonly stateSchema: string | undefined
  readonly timer: Timer
  readonly random: () => number
  readonly safe: SafeText
  /** What commands ask of tasks, by task. */
  readonly requests: Readonly<Record<string, unknown>>
  readonly planOptions: PlanOptions
  /** Milliseconds of the whole run's budget. */
  readonly budgetMs: number
  readonly budgetRemainingMs: () => number
  /** Milliseconds of grace: part of every claim. */
  readonly graceMs: number
  /** Milliseconds that an aborted task gets to end. */
  readonly abortGraceMs: number
  /** Soft: no new work. */
  readonly stop: AbortSignal
  /** Hard: abort what runs. */
  readonly hardStop: AbortSignal
}

export async function execute(execution: Execution, decisions: readonly Decision[]): Promise<readonly TaskReport[]> {
  const reports: TaskReport[] = []
  for (const decision of decisions) {
    reports.push(decision.due ? await executeDue(execution, decision) : notRun(decision))
  }
  return reports
}

async function executeDue(execution: Execution, planned: DueTask): Promise<TaskReport> {
  if (execution.stop.aborted) return notStarted(planned, 'stopped', 'the run is being stopped')
  if (execution.budgetRemainingMs() < leastBudgetMs) {
    return notStarted(
      planned,
      'no-budget',
      'no budget left in this run; in the next it comes before what ran in this one',
    )
  }
  const { loggerFor, telemetry, dryRun } = execution
  const logger = loggerFor(planned.name)
  return telemetry.span(
    `task ${planned.name}`,
    { 'scheduler.task': planned.name, 'scheduler.slot': planned.slotId },
    async (span) => {
      const claimed = dryRun
        ? { decision: planned, identity: undefined, claimedAt: execution.clock.now() }
        : await claim(execution, planned)
      if (!('decision' in claimed)) return claimed
      const { decision, identity, claimedAt } = claimed
      logger.info(
        { event: 'task-started', slot: decision.slotId, reason: decision.reason, lateByMs: decision.lateByMs },
        'task started',
      )
      const abort = new AbortController()
      const stopRenewing = identity === undefined ? () => undefined : keepClaim(execution, decision, identity, abort)
      const environment: TaskEnvironment = { ...execution, logger, graceMs: execution.abortGraceMs }
      const ended = await runTask(environment, {
        decision,
        identity,
        traceparent: span.traceparent,
        request: execution.requests[decision.name],
        abort,
      })
      let result = ended
      stopRenewing()
      span.set({ 'scheduler.outcome': result.outcome })
      if (identity !== undefined && !result.lostClaim) {
        const record = (of: TaskRunResult) =>
          recordTaskRun(execution.store, {
            decision,
            identity,
            result: of,
            claimedAt,
            traceId: span.reference?.traceId,
          })
        const recorded = await record(ended).catch((error: unknown) => {
          // The log is all that is left to tell of it.
          logEnd(logger, ended)
          if (!isRefusedData(error)) throw error
          result = unrecordable(ended, error)
          return record(result)
        })
        if (!recorded)
          result = {
            ...result,
            outcome: 'failed',
            errorCode: 'lost-claim',
            reason: 'the claim was taken over before the record',
            lostClaim: true,
          }
      }
      logEnd(logger, result)
      return {
        name: decision.name,
        slotId: decision.slotId,
        thirdParty: isThirdParty(decision),
        run: result,
        reason: decision.reason,
        code: undefined,
        nextAt: undefined,
      }
    },
  )
}

/** Data exception, integrity constraint violation: the server is fine, and what the task said is not. */
function isRefusedData(error: unknown): boolean {
  return /^2[23]...$/.test(codeOf(error) ?? '')
}

/** What is left of a run whose record PostgreSQL refuses: one odd value of one task must not end the run of the others. */
function unrecordable(ended: TaskRunResult, error: unknown): TaskRunResult {
  return {
    ...ended,
    outcome: 'failed',
    errorCode: 'invalid-result',
    reason: `the record of this run was refused (${codeOf(error) ?? ''})`,
    remaining: undefined,
    findings: [],
    metrics: [],
  }
}

interface Claimed {
  readonly decision: DueTask
  readonly identity: ClaimIdentity
  readonly claimedAt: Date
}

/** Claims by compare-and-set. When the task's row changed since the plan, decides once more on the new row. */
async function claim(execution: Execution, planned: DueTask): Promise<Claimed | TaskReport> {
  let decision = planned
  for (let attempt = 1; ; attempt += 1) {
    const identity = { runId: execution.runId, task: decision.name, ticket: randomUUID(), slotId: decision.slotId }
    const claimedAt = await execution.store.claim({
      ...identity,
      revision: decision.revision,
      scheduledAt: decision.scheduledAt,
      holder: execution.holder,
      usesDirect: mayUseDirect(decision.entry),
      durationMs: claimDurationMs(execution, decision),
    })
    if (claimedAt !== undefined) return { decision, identity, claimedAt }
    const state = await execution.store.readState()
    const again = decide(decision.entry, state.tasks.get(decision.name), state.now, execution.planOptions)
    if (!again.due) return notRun(again)
    if (attempt === 2) return notStarted(decision, 'claimed', 'another process is taking it at this moment')
    decision = again
  }
}

function claimDurationMs(execution: Execution, decision: DueTask): number {
  return decision.entry.timeoutMs + execution.graceMs
}

/** Renews the claim every third of its length, and aborts the run when it is lost. */
function keepClaim(
  execution: Execution,
  decision: DueTask,
  identity: ClaimIdentity,
  abort: AbortController,
): () => void {
  const durationMs = claimDurationMs(execution, decision)
  let cancel: () => void = () => undefined
  let over = false
  const renew = async () => {
    try {
      if (await execution.store.renewClaim(identity.ticket, durationMs)) {
        schedule()
        return
      }
      abort.abort(
        new RunAborted('lost-claim', `the claim of task '${identity.task}' was taken over by another process`),
      )
    } catch {
      // Unreachable for the moment: the fence decides anyway, so try again rather than abort good work.
      schedule()
    }
  }
  const schedule = () => {
    if (!over) cancel = execution.timer.after(durationMs / 3, () => void renew())
  }
  schedule()
  return () => {
    over = true
    cancel()
  }
}

function logEnd(logger: TaskLogger, result: TaskRunResult): void {
  const fields = {
    event: 'task-ended',
    outcome: result.outcome,
    reason: result.reason,
    errorCode: result.errorCode,
    hint: result.hint,
    durationMs: Math.round(result.durationMs),
    peakMemoryBytes: result.peakMemoryBytes,
    actions: result.actions.length,
    remaining: result.remaining,
    findings: result.findings.length === 0 ? undefined : result.findings,
  }
  if (result.outcome === 'failed' || result.outcome === 'timed-out') logger.error(fields, 'task ended')
  else logger.info(fields, 'task ended')
}

function isThirdParty({ entry }: Decision): boolean {
  return entry.origin.kind === 'package'
}

function notRun(decision: Exclude<Decision, DueTask>): TaskReport {
  return {
    name: decision.name,
    slotId: undefined,
    thirdParty: isThirdParty(decision),
    run: undefined,
    reason: decision.reason,
    code: decision.code,
    nextAt: decision.nextAt,
  }
}

function notStarted(decision: DueTask, code: 'stopped' | 'no-budget' | 'claimed', reason: string): TaskReport {
  return {
    name: decision.name,
    slotId: decision.slotId,
    thirdParty: isThirdParty(decision),
    run: undefined,
    reason,
    code,
    nextAt: undefined,
  }
}
