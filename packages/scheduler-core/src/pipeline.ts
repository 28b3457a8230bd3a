/**
 * One run of the scheduler: registry → plan → execute → record → report, first for the built-in tasks, then for third-party ones.
 * The only file that knows all stages. Configuration happens before it, in the program.
 */
import { randomUUID } from 'node:crypto'
import { Alerting, type AlertInput } from './alerts/alerting.js'
import type { ClientFactories } from './clients.js'
import type { Connections } from './connections.js'
import { codeOf, exitCodes, SchedulerError } from './errors.js'
import { DatabaseClock, systemTimer, type Timer } from './execute/clock.js'
import { execute, type Execution, type TaskReport } from './execute/execute.js'
import { RunAborted } from './execute/outcome.js'
import { safeText, type SafeText } from './execute/safe-text.js'
import { planRun, type PlanOptions } from './plan.js'
import { parseRequests, type DisabledTask, type RegisteredTask, type Registry } from './registry.js'
import { exitCodeOf, type RunReport } from './report.js'
import { selectMetricBatch } from './select-metrics.js'
import { migrate, refuseNewer, schemaVersion } from './state/migrate.js'
import { PostgresAlertStore } from './state/alert-store.js'
import { StateStore } from './state/store.js'
import type { State } from './state/task-state.js'
import type { Severity, TaskLogger } from './task.js'
import { noTelemetry, type Span, type Telemetry } from './telemetry.js'
import { loadUnderClaim, packageOrder, packageRefusal, type ThirdPartyPackages } from './third-party.js'

/** Milliseconds between two prunings of the scheduler's own history. */
const pruneIntervalMs = 3_600_000
const defaultIntervalMs = 300_000

export interface RunInput {
  readonly connections: Connections
  /** Schema of the scheduler's own tables. Default: `scheduler`. */
  readonly schema?: string
  readonly builtIn: Registry
  /** Loaded and run one by one after every built-in task has been recorded. */
  readonly thirdParty?: ThirdPartyPackages
  readonly clients?: ClientFactories
  readonly logger: TaskLogger
  /** A logger bound to a task and this run. */
  readonly loggerFor: (fields: { readonly task: string; readonly runId: string }) => TaskLogger
  readonly telemetry?: Telemetry
  /** Takes secrets out of a text before it is recorded. Default: changes nothing. */
  readonly scrub?: (text: string) => string
  readonly version: string
  /** Who runs: host and process, for claims. */
  readonly holder: string
  readonly only?: readonly string[]
  readonly force?: boolean
  /** What a command asks of enabled built-in tasks, by task; {@link runScheduler} then limits itself to them. */
  readonly requests?: Readonly<Record<string, unknown>>
  /** Claims nothing, migrates nothing, records nothing; actions are listed. Default: false. */
  readonly dryRun?: boolean
  readonly failOn?: Severity
  /** Who is told of alerts, and how they behave. Their state is kept either way. */
  readonly alerts?: AlertInput
  /** Milliseconds between two runs, for metrics and alerts. Default: five minutes. */
  readonly expectedIntervalMs?: number
  /** Milliseconds; soft. */
  readonly budgetMs: number
  /** Milliseconds between the soft and the hard stop. */
  readonly graceMs: number
  /** Milliseconds that an aborted task gets to end. Default: 2000. */
  readonly abortGraceMs?: number
  /** Monotonic milliseconds at which the budget began: 0 for a process's own start. Default: now. */
  readonly startedAtMs?: number
  /** Aborted by the first signal, with its name as reason: no new work, tasks stop at the next border. */
  readonly stop?: AbortSignal
  /** Aborted by the second signal. */
  readonly hardStop?: AbortSignal
  /** Milliseconds that history and audit trail are kept. */
  readonly retention: { readonly historyMs: number; readonly actionsMs: number }
  readonly timer?: Timer
  readonly random?: () => number
}

/** @throws SchedulerError, or the driver's error, when the scheduler's own state cannot be read or written. */
export async function runScheduler(input: RunInput): Promise<RunReport> {
  const telemetry = input.telemetry ?? noTelemetry
  const runId = randomUUID()
  return telemetry.span('scheduler run', { 'scheduler.run_id': runId }, (span) =>
    runInSpan(input, telemetry, runId, span),
  )
}

async function runInSpan(input: RunInput, telemetry: Telemetry, runId: string, span: Span): Promise<RunReport> {
  const timer = input.timer ?? systemTimer
  const dryRun = input.dryRun === true
  const stops = stopSignals(input, timer)
  try {
    const store = new StateStore(input.connections, input.schema ?? 'scheduler')
    const state = await readyState(input, store)
    if (state.lastSpan !== undefined) span.link(state.lastSpan)
    const clock = new DatabaseClock(state.now, timer)
    const runStartedAt = state.now
    const budgetEndsAt = stops.startedAtMs + input.budgetMs
    const requests = parseRequests(input.requests ?? {}, input.builtIn)
    const only = input.requests === undefined ? input.only : Object.keys(requests)
    const planOptions: PlanOptions = {
      runStartedAt,
      requested: Object.keys(requests),
      ...(only === undefined ? {} : { only }),
      ...(input.force === undefined ? {} : { force: input.force }),
    }
    const execution: Execution = {
      runId,
      holder: input.holder,
      dryRun,
      connections: input.connections,
      store,
      clients: input.clients ?? {},
      loggerFor: (task) => input.loggerFor({ task, runId }),
      telemetry,
      clock,
      stateSchema: state.schemaVersion === schemaVersion ? store.schema : undefined,
      timer,
      random: input.random ?? Math.random,
      safe: safeText(input.scrub),
      requests,
      planOptions,
      budgetMs: input.budgetMs,
      budgetRemainingMs: () => (stops.soft.aborted ? 0 : Math.max(0, budgetEndsAt - timer.monotonicMs())),
      graceMs: input.graceMs,
      abortGraceMs: input.abortGraceMs ?? 2000,
      stop: stops.soft,
      hardStop: stops.hard,
    }
    const alerting = alertingOf(execution, input, stops.startedAtMs + input.budgetMs + input.graceMs)
    await alerting?.begin()
    const builtIn = await runGroup(execution, input.builtIn, state)
    // Whoever hangs the process from here on must not keep what is known so far.
    if (input.thirdParty !== undefined) {
      const disabled = withSafeText(execution.safe, input.builtIn.disabled)
      await alerting?.evaluate({ entries: input.builtIn.tasks, disabled, complete: false })
      await sendMetrics(execution, input, input.builtIn.tasks)
    }
    const thirdParty = await runThirdParty(execution, input, builtIn)
    const tasks = [...builtIn, ...thirdParty.tasks]
    const disabled = withSafeText(execution.safe, [...input.builtIn.disabled, ...thirdParty.disabled])
    for (const { name, reason, hint } of disabled)
      input.logger.error({ event: 'task-disabled', task: name, reason, hint }, 'task disabled')
    const stoppedBy = stops.soft.aborted ? signalName(stops.soft.reason) : undefined
    const report: RunReport = {
      runId,
      dryRun,
      startedAt: runStartedAt,
      durationMs: timer.monotonicMs() - stops.startedAtMs,
      tasks,
      disabled,
      stoppedBy,
      exitCode: exitCodeOf({ tasks, disabled, stoppedBy, only, failOn: input.failOn }),
    }
    if (!dryRun) await recordRun(store, input, report, state, span)
    // Before what may take the rest of the time: a slow provider must not look like a run that did not do its work.
    if (only === undefined && didItsWork(report)) await alerting?.workDone()
    const entries = [...input.builtIn.tasks, ...thirdParty.entries]
    // Whoever limits a run, as a job of its own for one task does, may have limited the list of tasks, too.
    const complete = only === undefined && thirdParty.complete && input.builtIn.disabled.length === 0
    await alerting?.evaluate({ entries, disabled, complete })
    await sendMetrics(execution, input, entries)
    await alerting?.end()
    return report
  } finally {
    stops.end()
  }
}

/** Dry runs write and send nothing. Whoever asks one task for something leaves the alerts to the next run, which knows everything. */
function alertingOf(execution: Execution, input: RunInput, endsAtMs: number): Alerting | undefined {
  if (execution.dryRun || input.requests !== undefined) return undefined
  const { clock, timer, random, safe, store } = execution
  return new Alerting({
    input: input.alerts,
    store: new PostgresAlertStore(input.connections, store.schema),
    expectedIntervalMs: input.expectedIntervalMs ?? defaultIntervalMs,
    budgetMs: input.budgetMs,
    now: () => clock.now(),
    remainingMs: () => Math.max(0, endsAtMs - timer.monotonicMs()),
    timer,
    signal: execution.hardStop,
    random,
    safe,
    logger: input.logger,
  })
}

/** What a dead man's switch may hear of: every task that was due succeeded, was partial or skipped, whatever they found. */
function didItsWork({ exitCode }: RunReport): boolean {
  return exitCode === exitCodes.ok.code || exitCode === exitCodes.findings.code
}

async function runGroup(execution: Execution, registry: Registry, state: State): Promise<readonly TaskReport[]> {
  if (!execution.dryRun) {
    const unseen = registry.tasks.filter(({ name }) => !state.tasks.has(name))
    await execution.store.registerTasks(
      unseen.map(({ name, origin }) => ({ name, thirdParty: origin.kind === 'package' })),
    )
  }
  return execute(execution, planRun(registry, state, execution.planOptions).decisions)
}

/** One package after another, in an order in which a package that hangs the process stops the others for one run at most. */
async function runThirdParty(
  execution: Execution,
  input: RunInput,
  builtIn: readonly TaskReport[],
): Promise<{
  readonly tasks: readonly TaskReport[]
  readonly entries: readonly RegisteredTask[]
  readonly disabled: readonly DisabledTask[]
  /** Every package was loaded. */
  readonly complete: boolean
}> {
  const { thirdParty } = input
  if (thirdParty === undefined) return { tasks: [], entries: [], disabled: [], complete: true }
  const before = await execution.store.readState()
  const tasks: TaskReport[] = []
  const entries: RegisteredTask[] = []
  const disabled: DisabledTask[] = []
  let everyOneLoaded = true
  for (const specifier of packageOrder(thirdParty.specifiers, before)) {
    if (execution.stop.aborted || execution.budgetRemainingMs() <= 0) {
      everyOneLoaded = false
      break
    }
    const refused = packageRefusal(specifier, before)
    if (refused !== undefined) {
      everyOneLoaded = false
      disabled.push(refused)
      continue
    }
    const registry = execution.dryRun
      ? await thirdParty.load(specifier)
      : await loadUnderClaim(execution.store, thirdParty, specifier, {
          runId: execution.runId,
          holder: execution.holder,
          durationMs: execution.budgetRemainingMs() + execution.graceMs,
        })
    disabled.push(...registry.disabled)
    entries.push(...registry.tasks)
    if (registry.disabled.length > 0) everyOneLoaded = false
    tasks.push(...(await runGroup(execution, registry, await execution.store.readState())))
  }
  if (everyOneLoaded) {
    disabled.push(...thirdParty.unclaimedOptions())
    refuseUnknownNames(input.only, [...builtIn, ...tasks, ...disabled])
  }
  return { tasks, entries, disabled, complete: everyOneLoaded }
}

/** Totals and gauges of everything that is recorded. What cannot be read is not sent, and costs no run: never zeros in place of a number. */
async function sendMetrics(execution: Execution, input: RunInput, entries: readonly RegisteredTask[]): Promise<void> {
  const { telemetry, store, dryRun } = execution
  if (dryRun || telemetry.sendMetrics === undefined) return
  try {
    const batch = await selectMetricBatch(store, entries, input.expectedIntervalMs)
    await telemetry.sendMetrics(batch)
  } catch (error) {
    input.logger.warn({ event: 'metrics-not-sent', errorCode: codeOf(error) }, 'metrics could not be read')
  }
}

/** What the code of a package says when it cannot be loaded is foreign text: it is stored, sent and printed. */
function withSafeText(safe: SafeText, disabled: readonly DisabledTask[]): readonly DisabledTask[] {
  return disabled.map(({ reason, hint, ...named }) => ({
    ...named,
    reason: safe.text(reason),
    ...(hint === undefined ? {} : { hint: safe.text(hint) }),
  }))
}

/** Which names exist is known for sure only when every package was loaded. */
function refuseUnknownNames(only: readonly string[] | undefined, known: readonly { readonly name: string }[]): void {
  const unknown = only?.find((name) => !known.some((task) => task.name === name))
  if (unknown === undefined) return
  throw new SchedulerError('unknown-task', `--task: '${unknown}' is not enabled`, {
    hint: `enabled: ${known.map(({ name }) => name).join(', ')}`,
  })
}

/** The state to plan from: schema made or migrated where that is our part, expired claims freed and counted. */
async function readyState(input: RunInput, store: StateStore): Promise<State> {
  const state = await store.readState()
  refuseNewer(state.schemaVersion, store.schema)
  if (input.dryRun === true) {
    if (state.schemaVersion !== undefined && state.schemaVersion !== schemaVersion) {
      const versions = { found: state.schemaVersion, needed: schemaVersion }
      input.logger.warn(
        { event: 'schema-outdated', ...versions },
        'the next run migrates the scheduler schema; this plan may know nothing of earlier runs',
      )
    }
    return state
  }
  if (state.schemaVersion !== schemaVersion) {
    const { from, to } = await migrate(input.connections, store.schema)
    input.logger.info({ event: 'schema-migrated', from, to }, 'schema migrated')
    return store.readState()
  }
  if (![...state.tasks.values()].some(({ claim }) => claim?.expired === true)) return state
  await store.endOrphanedSessions()
  for (const freed of await store.freeExpiredClaims()) {
    input.logger.warn({ event: 'claim-expired', ...freed }, 'a claim expired unreleased and counts as a failure')
  }
  return store.readState()
}

async function recordRun(
  store: StateStore,
  input: RunInput,
  report: RunReport,
  state: State,
  span: Span,
): Promise<void> {
  await store.insertRun({
    id: report.runId,
    startedAt: report.startedAt,
    durationMs: report.durationMs,
    exitCode: report.exitCode,
    version: input.version,
    holder: input.holder,
    span: span.reference,
    decisions: [
      ...report.tasks.map(({ name, slotId, run, reason, code }) => ({
        task: name,
        slot: slotId,
        outcome: run?.outcome ?? 'not-run',
        code,
        reason,
        // A command's run: it comes when somebody asks, and says nothing of when the next should have come.
        ...(input.requests === undefined ? {} : { requested: true }),
      })),
      ...report.disabled.map(({ name, reason }) => ({ task: name, outcome: 'disabled', reason })),
    ],
  })
  const prunedAt = state.historyPrunedAt ?? state.now
  if (state.now.getTime() - prunedAt.getTime() < pruneIntervalMs) return
  const removed = await store.deleteOldHistory(input.retention)
  if (removed > 0) input.logger.info({ event: 'history-pruned', removed }, 'old history removed')
}

/** The soft stop is the caller's; the hard one follows from the second signal, the grace period, or the end of budget and grace. */
function stopSignals(input: RunInput, timer: Timer) {
  const soft = input.stop ?? new AbortController().signal
  const hard = new AbortController()
  const startedAtMs = input.startedAtMs ?? timer.monotonicMs()
  const cancels: (() => void)[] = []
  const abortAfter = (ms: number, reason: () => RunAborted) => {
    cancels.push(
      timer.after(Math.max(0, ms), () => {
        hard.abort(reason())
      }),
    )
  }
  const outOfTime = () =>
    new RunAborted(
      'timed-out',
      `the run's budget of ${input.budgetMs} ms and its grace of ${input.graceMs} ms are over`,
    )
  const stopped = () => new RunAborted('stopped', `stopped by ${String(soft.reason)}`)
  const onSoft = () => {
    abortAfter(input.graceMs, stopped)
  }
  const onHard = () => {
    hard.abort(stopped())
  }
  abortAfter(startedAtMs + input.budgetMs + input.graceMs - timer.monotonicMs(), outOfTime)
  if (soft.aborted) onSoft()
  soft.addEventListener('abort', onSoft, { once: true })
  if (input.hardStop?.aborted === true) onHard()
  input.hardStop?.addEventListener('abort', onHard, { once: true })
  const end = () => {
    for (const cancel of cancels) cancel()
    soft.removeEventListener('abort', onSoft)
    input.hardStop?.removeEventListener('abort', onHard)
  }
  return { soft, hard: hard.signal, startedAtMs, end }
}

function signalName(reason: unknown): 'SIGINT' | 'SIGTERM' {
  return reason === 'SIGINT' ? 'SIGINT' : 'SIGTERM'
}
