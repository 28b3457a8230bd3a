/** Commands that look at the tasks: `tasks`, `status`. */
import {
  decide,
  formatDuration,
  formatSchedule,
  PostgresAlertStore,
  StateStore,
  type RegisteredTask,
  type Registry,
  type State,
  type TaskState,
} from '@battlescope/scheduler-core'
import { loadConfiguration, type Flags } from '../configuration/load.js'
import { withDatabase } from '../connect.js'
import type { Host } from '../host.js'
import { Output, outcomeColour } from '../output.js'
import { loadRegistry, peekState, tasksOfPackages } from '../third-party/look.js'
import { alertStatus, presentAlerts } from './alert-status.js'

export interface InspectOptions {
  readonly json?: boolean
  readonly flags?: Flags
}

export async function tasks(host: Host, options: InspectOptions): Promise<number> {
  host.endAtSignal()
  const configuration = await loadConfiguration(host, options.flags, { database: false })
  const registry = await loadRegistry(host, configuration, await peekState(configuration))
  const output = new Output(host)
  const all = configuration.optionsWith(tasksOfPackages(registry))
  const rows = registry.tasks.map((entry) => ({
    name: entry.name,
    description: entry.task.description,
    origin: entry.origin.kind === 'built-in' ? 'built-in' : entry.origin.specifier,
    schedule: formatSchedule(entry.schedule),
    timeout: formatDuration(entry.timeoutMs),
    heavy: entry.task.heavy === true,
    requires: entry.requires,
    options: all.filter(({ section }) => section === entry.name),
  }))
  if (options.json === true) {
    output.json({ tasks: rows, disabled: registry.disabled })
    return registry.disabled.length > 0 ? 1 : 0
  }
  output.table(
    ['task', 'origin', 'schedule', 'timeout', 'what'],
    rows.map((row) => [row.name, row.origin, row.schedule, row.timeout, row.description]),
  )
  for (const row of rows) {
    output.line()
    output.line(output.paint(row.name, 'bold'))
    output.table(
      ['option', 'environment', 'value', 'source'],
      row.options.map((option) => [option.path, option.environment, showValue(option.value), option.source]),
    )
    for (const { relation, privileges } of row.requires.relations ?? [])
      output.line(`  touches ${relation}: ${privileges.join(', ')}`)
    if (row.requires.direct === true) output.line('  needs a direct connection')
    if (row.requires.direct === 'optional') output.line('  uses a direct connection where there is one')
    if (row.requires.clients !== undefined) output.line(`  uses ${row.requires.clients.join(', ')}`)
  }
  showDisabled(output, registry)
  return registry.disabled.length > 0 ? 1 : 0
}

function showDisabled(output: Output, { disabled }: Registry): void {
  for (const { name, reason, hint } of disabled)
    output.line(`${output.paint('disabled', 'red')} ${name}: ${reason}${hint === undefined ? '' : `; ${hint}`}`)
}

export function showValue(value: unknown): string {
  if (value === undefined) return '–'
  return typeof value === 'string' ? value : JSON.stringify(value)
}

export async function status(host: Host, options: InspectOptions): Promise<number> {
  host.endAtSignal()
  const configuration = await loadConfiguration(host, options.flags)
  const { schema } = configuration.program
  const { state, lastRuns, alerts } = await withDatabase(configuration.program, async ({ connections }) => {
    const store = new StateStore(connections, schema)
    const read = await store.readState()
    return {
      state: read,
      lastRuns: read.schemaVersion === undefined ? [] : await store.selectLastRuns(),
      // Undefined also where a run of this version has not made the tables yet.
      alerts:
        read.instanceId === undefined ? undefined : await alertStatus(new PostgresAlertStore(connections, schema)),
    }
  })
  const registry = await loadRegistry(host, configuration, state)
  const rows = registry.tasks.map((entry) =>
    statusOf(
      entry,
      state,
      lastRuns.find(({ task }) => task === entry.name),
    ),
  )
  const known = new Set(registry.tasks.map(({ name }) => name))
  const unused = [...state.tasks.keys()].filter((name) => !known.has(name) && !name.includes(':'))
  const output = new Output(host)
  if (options.json === true) {
    output.json({
      schemaVersion: state.schemaVersion ?? null,
      now: state.now,
      tasks: rows,
      disabled: registry.disabled,
      notEnabled: unused,
      alerts: alerts ?? null,
    })
    return 0
  }
  if (state.schemaVersion === undefined) output.line(`nothing has run here yet: the schema '${schema}' does not exist`)
  output.table(
    ['task', 'last outcome', 'when', 'took', 'next', 'failures', 'state'],
    rows.map((row) => [
      row.name,
      row.last === null ? '–' : output.paint(row.last.outcome, outcomeColour(row.last.outcome)),
      row.last === null ? '–' : row.last.finishedAt.toISOString(),
      row.last === null ? '–' : formatDuration(Math.max(1, row.last.durationMs)),
      row.next,
      String(row.consecutiveFailures),
      row.state === 'ready' ? 'ready' : output.paint(row.state, 'yellow'),
    ]),
  )
  for (const row of rows) {
    if (row.last?.reason) output.line(`${row.name}: ${row.last.reason}`)
    for (const finding of row.findings)
      output.line(`${output.paint(finding.severity, 'yellow')} ${row.name}: ${finding.summary}`)
  }
  showDisabled(output, registry)
  // The tasks of a package that was not loaded are among them.
  const why = registry.disabled.length > 0 ? 'not enabled or not loaded' : 'not enabled'
  if (unused.length > 0) output.line(output.paint(`known from earlier, ${why}: ${unused.join(', ')}`, 'dim'))
  if (alerts !== undefined) presentAlerts(output, alerts)
  return 0
}

type LastRun = Awaited<ReturnType<StateStore['selectLastRuns']>>[number]

function statusOf(entry: RegisteredTask, state: State, last: LastRun | undefined) {
  const row = state.tasks.get(entry.name)
  const decision = decide(entry, row, state.now, { runStartedAt: state.now })
  return {
    name: entry.name,
    last:
      last === undefined
        ? null
        : {
            outcome: last.outcome,
            reason: last.reason,
            errorCode: last.error_code,
            finishedAt: last.finished_at,
            durationMs: Number(last.duration_ms),
            slotId: last.slot_id,
            remaining: last.remaining,
          },
    next: decision.due ? 'now' : (decision.nextAt?.toISOString() ?? 'next run'),
    consecutiveFailures: row?.consecutiveFailures ?? 0,
    retryAt: row?.retryAt ?? null,
    claim: row?.claim ?? null,
    paused: row?.paused ?? null,
    state: stateOf(row, state.now),
    findings: last?.findings ?? [],
  }
}

function stateOf(row: TaskState | undefined, now: Date): string {
  if (row?.paused !== undefined) return `paused${row.paused.reason === undefined ? '' : `: ${row.paused.reason}`}`
  if (row?.claim?.expired === true) return `stuck: the claim of ${row.claim.holder} expired; the next run frees it`
  if (row?.claim !== undefined) return `claimed by ${row.claim.holder} until ${row.claim.expiresAt.toISOString()}`
  if (row?.retryAt !== undefined && row.retryAt > now) return `back-off until ${row.retryAt.toISOString()}`
  return 'ready'
}
