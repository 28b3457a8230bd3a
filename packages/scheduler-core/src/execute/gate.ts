/**
 * The one gate for writes. In a real run an action is performed under the fence and recorded with its effect; in a dry run it is only
 * listed. Nothing else in the scheduler decides whether a write may happen.
 */
import type { Kysely } from 'kysely'
import type { ClientKind } from '../clients.js'
import type { Connections } from '../connections.js'
import { codeOf, SchedulerError } from '../errors.js'
import type { ClaimIdentity } from '../state/claims.js'
import type { ActionRecord } from '../state/records.js'
import type { StateStore } from '../state/store.js'
import type { Action, ActionEffect, Direct, Fenced, TaskContext } from '../task.js'
import type { Clients } from './clients.js'
import type { Timer } from './clock.js'
import type { SafeText } from './safe-text.js'

/** An action as `plan` lists it. */
export interface PlannedAction {
  readonly kind: string
  readonly target: string
  readonly via: string
  readonly reason: string | undefined
}

export interface Gate {
  readonly act: TaskContext['act']
  /** Actions so far: performed, or listed in a dry run. */
  readonly actions: readonly PlannedAction[]
}

type AnyAction = Action & { readonly via?: string }
type AnyPerform = (target: unknown) => Promise<ActionEffect | undefined>

/** The gate of a dry run: lists, and never performs. */
export function listingGate(check: () => void, safe: SafeText): Gate {
  const actions: PlannedAction[] = []
  const act = (action: AnyAction): Promise<undefined> => {
    check()
    actions.push(planned(action, safe))
    return Promise.resolve(undefined)
  }
  return { actions, act: act }
}

export interface PerformingGateOptions {
  readonly connections: Connections
  readonly store: StateStore
  readonly clients: Clients
  readonly identity: ClaimIdentity
  /** Whether the task declared that it needs or uses the direct connection. */
  readonly mayUseDirect: boolean
  readonly safe: SafeText
  readonly signal: AbortSignal
  readonly timer: Timer
  /** Milliseconds until the hard stop: no statement may outlive it. */
  readonly remainingMs: () => number
  /** Throws when the run is over. */
  readonly check: () => void
}

export function performingGate(options: PerformingGateOptions): Gate {
  const actions: PlannedAction[] = []
  const act = async (action: AnyAction, perform: AnyPerform): Promise<ActionEffect | undefined> => {
    options.check()
    options.signal.throwIfAborted()
    const via = action.via ?? 'transaction'
    if (via === 'direct' && !options.mayUseDirect) {
      // The next claimer looks for statements that outlived their process only where they were declared.
      throw new SchedulerError(
        'client-unavailable',
        `task '${options.identity.task}' uses the direct connection without declaring it`,
        { hint: 'let its requires() return direct: true' },
      )
    }
    const said = planned(action, options.safe)
    actions.push(said)
    const startedAt = options.timer.monotonicMs()
    const record = (result: ActionRecord['result'], more: Partial<ActionRecord>): ActionRecord => ({
      ...said,
      result,
      ...more,
      ...(result === 'started' ? {} : { durationMs: options.timer.monotonicMs() - startedAt }),
    })
    try {
      return via === 'transaction'
        ? await performInTransaction(options, action, perform, record)
        : await performOutside(options, action, via, perform, record)
    } catch (error) {
      await recordFailure(options, record('failed', { errorCode: options.safe.text(codeOf(error) ?? 'error') }), error)
      throw error
    }
  }
  return { actions, act: act as TaskContext['act'] }
}

type MakeRecord = (result: ActionRecord['result'], more: Partial<ActionRecord>) => ActionRecord

/** The change and its audit row commit together or not at all. */
async function performInTransaction(
  options: PerformingGateOptions,
  action: AnyAction,
  perform: AnyPerform,
  record: MakeRecord,
) {
  const { connections, store, identity } = options
  return connections.transaction(unitOf(options, action), async (session) => {
    const db = session.db as Kysely<unknown>
    await store.lockFence(db, identity)
    const fenced: Fenced<unknown> = {
      db,
      notices: session.notices,
      saveCheckpoint: (cursor) => store.upsertCheckpoint(db, identity, cursor),
      copyFrom: (statement, source) => session.copyFrom(statement, source),
    }
    const effect = await perform(fenced)
    await store.insertAction(db, identity, record('succeeded', effectOf(effect, options.safe)))
    return effect
  })
}

/** What cannot be in a transaction is announced under the fence before, and recorded after; done twice it must be harmless. */
async function performOutside(
  options: PerformingGateOptions,
  action: AnyAction,
  via: string,
  perform: AnyPerform,
  record: MakeRecord,
) {
  const { connections, store, clients, identity } = options
  // Asked for before the announcement: a client that is not configured leaves no trace of an action that never began.
  const client = via === 'direct' ? undefined : await clients.writer(via as ClientKind)
  await store.fenced(identity, (db) => store.insertAction(db, identity, record('started', {})))
  const effect =
    via === 'direct'
      ? await connections.direct({ ...unitOf(options, action), ticket: identity.ticket }, (session) => {
          const direct: Direct<unknown> = {
            db: session.db as Kysely<unknown>,
            notices: session.notices,
            backendPid: session.backendPid,
          }
          return perform(direct)
        })
      : await perform(client)
  await store.fenced(identity, (db) =>
    store.insertAction(db, identity, record('succeeded', effectOf(effect, options.safe))),
  )
  return effect
}

/** Best effort: the failure itself is what the caller must see, and a lost claim may write nothing. */
async function recordFailure(options: PerformingGateOptions, record: ActionRecord, error: unknown): Promise<void> {
  if (options.signal.aborted || codeOf(error) === 'lost-claim') return
  try {
    await options.store.fenced(options.identity, (db) => options.store.insertAction(db, options.identity, record))
  } catch {
    // The database is what failed, or the claim went meanwhile; the run's own record tells of it.
  }
}

function unitOf(options: PerformingGateOptions, action: AnyAction) {
  return {
    signal: options.signal,
    statementTimeoutMs: Math.max(1, Math.ceil(Math.min(options.remainingMs(), action.statementTimeoutMs ?? Infinity))),
    lockTimeoutMs: action.lockTimeoutMs ?? 2000,
  }
}

function planned(action: AnyAction, safe: SafeText): PlannedAction {
  return {
    kind: safe.text(action.kind),
    target: safe.text(action.target),
    via: action.via ?? 'transaction',
    reason: action.reason === undefined ? undefined : safe.text(action.reason),
  }
}

/** What a task says of its effect is not ours: numbers that are none are left out rather than lose the record. */
function effectOf(effect: ActionEffect | undefined, safe: SafeText): Partial<ActionRecord> {
  const { rows, bytes, details } = effect ?? {}
  const count = (value: number | undefined) => (Number.isSafeInteger(value) ? value : undefined)
  return { rows: count(rows), bytes: count(bytes), details: details === undefined ? undefined : safe.json(details) }
}
