/** VACUUM of one relation: predicted, admitted, done, and compared with what was before. */
import { isSqlState } from '@battlescope/database'
import { codeOf, formatDuration, messageOf, type ActionEffect, type TaskContext } from '@battlescope/scheduler-core'
import { admit, measuredRate, predict, scanBytesOf, slowerRate, type Memory, type Prediction } from './admission.js'
import { keyOf } from './chosen-relations.js'
import type { VacuumConfig } from './config.js'
import { dueDeadRows } from './needs.js'
import { lastingHolder } from './horizon.js'
import type { Attempt } from './outcome.js'
import type { Cursor, PlannedVacuum } from './plan.js'
import {
  resetVacuumSettings,
  selectCondition,
  selectSizes,
  setVacuumSettings,
  vacuumRelation,
  type Condition,
} from './queries.js'
import { selectBackendStart, selectHolders, type Holder, type Settings } from './situation-queries.js'
import type { VacuumWatch } from './watch.js'

export type Context = TaskContext<VacuumConfig, unknown, Cursor>

export interface VacuumRun {
  readonly context: Context
  readonly settings: Settings
  readonly watch: VacuumWatch
  /** Milliseconds of the budget that are left for this relation. */
  readonly remainingMs: number
}

/** What became of it, and what to remember of it. */
export interface Outcome {
  readonly attempt: Attempt
  readonly learned: Memory
  /** What it took, or in a dry run what it would take. */
  readonly predictedMs: number
}

export async function vacuumOne(
  run: VacuumRun,
  planned: PlannedVacuum,
  memory: Memory | undefined,
  others: readonly Memory[],
): Promise<Outcome> {
  const { context, settings, remainingMs } = run
  const notDone = (
    result: 'not-now' | 'failed' | 'later' | 'never' | 'no-connection',
    reason: string,
    learned?: Memory,
    predictedMs?: number,
  ) => ({
    attempt: { planned, result, reason, ...(predictedMs === undefined ? {} : { predictedMs }) },
    learned: { ...memory, ...learned },
    predictedMs: 0,
  })
  let prediction: Prediction | undefined
  const limitMs = Math.max(1, Math.min(context.config.relationTimeout, remainingMs))
  const startedMs = context.clock.monotonicMs()
  try {
    const sizes = await selectSizes(context.db, planned.candidate.oid)
    if (sizes === undefined) return notDone('not-now', 'was dropped meanwhile')
    const everyPage = planned.freezeOlderThan !== undefined
    const scanBytes = scanBytesOf(planned.candidate, sizes, settings, { everyPage, analyze: planned.analyze })
    prediction = predict(scanBytes, memory, others, context.config)
    const deferrals = memory?.deferrals ?? 0
    const admission = admit(prediction, remainingMs, deferrals, context.config)
    if (admission.kind === 'later') return notDone('later', admission.reason, { deferrals: deferrals + 1 })
    if (admission.kind === 'never') return notDone('never', admission.reason, {}, prediction.durationMs)
    return await perform(run, planned, memory, prediction, limitMs)
  } catch (error) {
    const code = codeOf(error)
    if (context.signal.aborted) throw error
    if (code === 'no-direct-connection') return notDone('no-connection', messageOf(error, 300))
    if (code === '57014') {
      if (run.watch.gaveWay) return notDone('not-now', 'gave way to a session that waited for its lock')
      if (prediction === undefined || context.clock.monotonicMs() - startedMs < limitMs)
        return notDone('not-now', 'was cancelled by somebody')
      const cutOff = { bytesPerMs: slowerRate(prediction, limitMs), cutOff: true }
      return limitMs < context.config.relationTimeout
        ? notDone('later', 'the budget ended first', cutOff)
        : notDone('never', `did not end within ${formatDuration(limitMs)}`, cutOff, 2 * limitMs)
    }
    if (!isAboutOneRelation(error)) throw error
    const unavailable = unavailableBecause[code ?? '']
    if (unavailable !== undefined) return notDone('not-now', unavailable)
    return notDone('failed', error instanceof NotVacuumed ? error.message : `${messageOf(error, 200)}, ${code ?? ''}`)
  }
}

async function perform(
  { context, settings, watch }: VacuumRun,
  planned: PlannedVacuum,
  memory: Memory | undefined,
  prediction: Prediction,
  limitMs: number,
): Promise<Outcome> {
  const { candidate, need, analyze, freezeOlderThan } = planned
  const { config } = context
  const relation = keyOf(candidate)
  const done = await context.act(
    {
      kind: 'vacuum',
      target: relation,
      reason: `${need.reason}${analyze ? ', and stale statistics' : ''}`,
      via: 'direct',
      lockTimeoutMs: config.lockTimeout,
      statementTimeoutMs: limitMs,
    },
    async (direct) => {
      const { db, notices, backendPid } = direct
      const backendStart = await selectBackendStart(db)
      const options = { ...config, analyze, freezeOlderThan }
      await setVacuumSettings(db, options)
      const before = await selectCondition(db, candidate.oid)
      if (before === undefined) throw new NotVacuumed('was dropped meanwhile', '42P01')
      const startedMs = context.clock.monotonicMs()
      await watch.during({ relation, backendPid, backendStart }, () => vacuumRelation(db, candidate, options))
      const durationMs = context.clock.monotonicMs() - startedMs
      await resetVacuumSettings(db)
      const after = await selectCondition(db, candidate.oid)
      if (after === undefined) throw new NotVacuumed('was dropped meanwhile', '42P01')
      if (!advanced(before.lastVacuumAt, after.lastVacuumAt)) {
        // Where it will not, PostgreSQL only warns: of a lock with 55P03, of a missing permission with 01000 and words of its own.
        const warning = notices.find(({ code, message }) => isWarning(code) && message.includes(candidate.name))
        throw warning === undefined
          ? new NotVacuumed('VACUUM ended without an error, and yet it was not vacuumed', 'not-vacuumed')
          : new NotVacuumed(warning.message, warning.code === '55P03' ? '55P03' : 'not-vacuumed')
      }
      return effectOf(before, after, prediction, durationMs)
    },
  )
  const learnedNothing = { ...memory, deferrals: undefined }
  if (done === undefined) {
    const attempt = { planned, result: 'vacuumed', deadRowsRemoved: 0 } as const
    return { attempt, learned: learnedNothing, predictedMs: prediction.durationMs }
  }
  const { rows: deadRowsRemoved, durationMs, deadRowsLeft } = done
  // The holders matter only where so many rows stay that the relation is due again.
  const stillDue = deadRowsLeft >= dueDeadRows(candidate, settings, config)
  const holders: readonly Holder[] = stillDue ? await selectHolders(context.db) : []
  const holder = lastingHolder({ holders, now: context.clock.now() }, config)
  const left = holder && { left: { deadRows: deadRowsLeft, holder } }
  return {
    attempt: { planned, result: 'vacuumed', deadRowsRemoved, ...left },
    learned: {
      bytesPerMs:
        measuredRate(prediction.scanBytes, durationMs) ?? (memory?.cutOff === true ? undefined : memory?.bytesPerMs),
      // Whoever it is: as long as it stays the oldest, another VACUUM would meet it again.
      horizon: holders[0]?.xmin,
    },
    predictedMs: 0,
  }
}

interface VacuumEffect extends ActionEffect {
  readonly rows: number
  readonly durationMs: number
  readonly deadRowsLeft: number
}

/** For the audit trail: what VACUUM VERBOSE says is translated and differs between versions, so this is from the statistics. */
function effectOf(before: Condition, after: Condition, prediction: Prediction, durationMs: number): VacuumEffect {
  const bytesOf = (sizes: Condition) =>
    sizes.heapBytes + sizes.indexBytes + sizes.toastHeapBytes + sizes.toastIndexBytes
  const deadRowsLeft = after.deadRows + after.toastDeadRows
  const rows = Math.max(0, before.deadRows + before.toastDeadRows - deadRowsLeft)
  const shown = ({ lastVacuumAt: _, ...condition }: Condition) => condition
  return {
    rows,
    bytes: Math.max(0, bytesOf(before) - bytesOf(after)),
    durationMs,
    deadRowsLeft,
    details: {
      before: shown(before),
      after: shown(after),
      scanBytes: prediction.scanBytes,
      predictedMs: prediction.durationMs,
      predictedBy: prediction.basis,
      vacuumMs: Math.round(durationMs),
    },
  }
}

function advanced(before: Date | undefined, after: Date | undefined): boolean {
  return after !== undefined && (before === undefined || after > before)
}

function isWarning(code: string): boolean {
  return code.startsWith('01') || code === '55P03'
}

/** Thrown inside the action, so that it is not recorded as done. */
class NotVacuumed extends Error {
  constructor(
    message: string,
    readonly code: string,
  ) {
    super(message)
  }
}

/** No fault of ours, by SQLSTATE. */
const unavailableBecause: Readonly<Record<string, string>> = {
  '55P03': 'is locked by another session',
  '42P01': 'was dropped meanwhile',
  '3F000': 'was dropped meanwhile',
  '42501': 'permission denied',
}

/**
 * What the server says of a statement concerns its relation: a damaged page, an index expression that divides by zero. Not so the classes of
 * connection (08), rollback (40), resources (53) and the operator's hand (57), and whatever has no SQLSTATE, such as a lost claim.
 */
function isAboutOneRelation(error: unknown): boolean {
  if (error instanceof NotVacuumed) return true
  const code = codeOf(error)
  return isSqlState(code) && !/^(08|40|53|57)/.test(code)
}
