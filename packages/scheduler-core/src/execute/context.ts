/** Builds what a task may touch, and takes it away when the run is over. */
import type { Kysely } from 'kysely'
import type { Connections } from '../connections.js'
import { SchedulerError } from '../errors.js'
import type { DueTask } from '../plan.js'
import type { ClaimIdentity } from '../state/claims.js'
import type { MetricValue } from '../state/records.js'
import type { StateStore } from '../state/store.js'
import type { Budget, Checkpoint, ReadLimits, Slot, TaskContext, TaskLogger, TaskMetrics } from '../task.js'
import type { Clients } from './clients.js'
import type { DatabaseClock } from './clock.js'
import type { Gate } from './gate.js'
import type { SafeText } from './safe-text.js'

/** Milliseconds for one read of a task. */
const readTimeoutMs = 15_000

export interface ContextParts {
  readonly decision: DueTask
  readonly slot: Slot
  readonly connections: Connections
  readonly store: StateStore
  readonly clients: Clients
  readonly gate: Gate
  readonly safe: SafeText
  /** What a command asked of this run. */
  readonly request: unknown
  readonly logger: TaskLogger
  readonly clock: DatabaseClock
  readonly signal: AbortSignal
  readonly budget: Budget
  readonly traceparent: string | undefined
  /** Absent in a dry run: nothing may be saved. */
  readonly identity: ClaimIdentity | undefined
  /** Undefined while the scheduler's own tables are not those of this version. */
  readonly stateSchema: string | undefined
  readonly check: () => void
  readonly remainingMs: () => number
}

export interface BuiltContext {
  readonly context: TaskContext
  readonly metrics: readonly MetricValue[]
}

export function buildContext(parts: ContextParts): BuiltContext {
  const { connections, signal, check, logger } = parts
  const unit = ({ statementTimeoutMs = readTimeoutMs }: ReadLimits = {}) => ({
    signal,
    statementTimeoutMs: Math.max(1, Math.ceil(Math.min(statementTimeoutMs, parts.remainingMs()))),
  })
  const { metrics, values } = collectMetrics(parts.safe)
  const context: TaskContext = {
    config: parts.decision.entry.config,
    request: parts.request,
    get db() {
      check()
      return connections.reader(unit()) as Kysely<unknown>
    },
    reader: (limits) => {
      check()
      return connections.reader(unit(limits)) as Kysely<unknown>
    },
    snapshot: (read, limits) => {
      check()
      return connections.snapshot(unit(limits), (session) =>
        read({ db: session.db as Kysely<unknown>, copyTo: (statement) => session.copyTo(statement) }),
      )
    },
    stateSchema: parts.stateSchema,
    hasDirect: connections.hasDirect !== false,
    hasClient: (kind) => parts.clients.has(kind),
    client: async (kind) => {
      check()
      return parts.clients.reader(kind)
    },
    act: parts.gate.act,
    logger,
    clock: parts.clock.forRun(signal),
    slot: parts.slot,
    signal,
    budget: parts.budget,
    checkpoint: checkpointOf(parts),
    metrics,
    progress: (progress) => {
      logger.debug({ event: 'task-progress', progress }, 'task progress')
    },
    traceparent: parts.traceparent,
    dryRun: parts.identity === undefined,
  }
  return { context, metrics: values }
}

function checkpointOf({ store, decision, identity, check, logger }: ContextParts): Checkpoint<unknown> {
  const { checkpointSchema } = decision.entry.task
  return {
    load: async () => {
      check()
      const stored = await store.selectCheckpoint(decision.name)
      if (stored === undefined || checkpointSchema === undefined) return stored
      const parsed = checkpointSchema.safeParse(stored)
      if (parsed.success) return parsed.data as unknown
      logger.warn(
        { event: 'checkpoint-ignored' },
        'the stored checkpoint does not fit this version of the task and is ignored',
      )
      return undefined
    },
    save: async (cursor) => {
      check()
      if (identity !== undefined) await store.fenced(identity, (db) => store.upsertCheckpoint(db, identity, cursor))
    },
    clear: async () => {
      check()
      if (identity !== undefined) await store.deleteCheckpoint(identity)
    },
  }
}

function collectMetrics(safe: SafeText): { metrics: TaskMetrics; values: readonly MetricValue[] } {
  const byKey = new Map<string, MetricValue>()
  const values: MetricValue[] = []
  const put = (said: MetricValue, combine: (before: number) => number) => {
    if (!/^[a-z][a-z0-9_]{0,99}$/.test(said.name))
      throw new TypeError(`a metric's name is snake_case, not '${said.name}'`)
    if (!Number.isFinite(said.value)) return
    const metric = { ...said, attributes: attributesOf(said.attributes, safe) }
    const key = JSON.stringify([metric.kind, metric.name, Object.entries(metric.attributes).sort()])
    const before = byKey.get(key)
    const next = before === undefined ? metric : { ...metric, value: combine(before.value) }
    byKey.set(key, next)
    values.splice(0, values.length, ...byKey.values())
  }
  return {
    values,
    metrics: {
      gauge: (name, value, attributes = {}) => {
        put({ kind: 'gauge', name, value, attributes }, () => value)
      },
      count: (name, increment, attributes = {}) => {
        put({ kind: 'counter', name, value: increment, attributes }, (before) => before + increment)
      },
    },
  }
}

function attributesOf(said: MetricValue['attributes'], safe: SafeText): MetricValue['attributes'] {
  return Object.fromEntries(Object.entries(said).map(([name, value]) => [safe.text(name), safe.text(String(value))]))
}

/** A context that its task went on using after the end of the run. */
export function contextEnded(task: string): SchedulerError {
  return new SchedulerError('context-ended', `task '${task}' used its context after its run had ended`, {
    hint: 'await everything that the task starts before it returns',
  })
}
