/** Commands that look: `tasks`, `status`, `history`, `config`. */
import {
  configurationJsonSchema,
  decide,
  formatDuration,
  formatSchedule,
  formatSize,
  StateStore,
  taskSection,
  type RegisteredTask,
  type Registry,
  type State,
  type TaskState,
} from '@battlescope/scheduler-core'
import { builtInTasks } from '../built-in-tasks.js'
import { loadConfiguration, type Configuration } from '../configuration/load.js'
import { programSection } from '../configuration/program-options.js'
import { connect } from '../connect.js'
import type { Host } from '../host.js'
import { createLogging } from '../logging/logging.js'
import { Output, outcomeColour } from '../output.js'
import { catchStrayErrors } from '../stray-errors.js'
import { loadAll, thirdPartyPackages } from '../third-party/packages.js'

export interface InspectOptions {
  readonly json?: boolean
  readonly flags?: Readonly<Record<string, string>>
}

/** Every enabled task, third-party ones loaded behind the guard. */
export async function loadRegistry(host: Host, configuration: Configuration): Promise<Registry> {
  const { logger } = createLogging({ level: 'warn', stream: 'stderr', terminal: host.terminal })
  const packages = thirdPartyPackages(host, configuration, catchStrayErrors(logger, host.appFolder))
  if (packages === undefined) return configuration.builtIn
  const thirdParty = await loadAll(packages)
  return { tasks: [...configuration.builtIn.tasks, ...thirdParty.tasks], disabled: thirdParty.disabled }
}

export async function tasks(host: Host, options: InspectOptions): Promise<number> {
  const configuration = await loadConfiguration(host.environment, options.flags)
  const registry = await loadRegistry(host, configuration)
  const output = new Output(host.terminal)
  const all = configuration.optionsWith(
    registry.tasks.filter(({ origin }) => origin.kind === 'package').map(({ task }) => task),
  )
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
    if (row.requires.clients !== undefined) output.line(`  uses ${row.requires.clients.join(', ')}`)
  }
  showDisabled(output, registry)
  return registry.disabled.length > 0 ? 1 : 0
}

function showDisabled(output: Output, { disabled }: Registry): void {
  for (const { name, reason, hint } of disabled)
    output.line(`${output.paint('disabled', 'red')} ${name}: ${reason}${hint === undefined ? '' : `; ${hint}`}`)
}

function showValue(value: unknown): string {
  if (value === undefined) return '–'
  return typeof value === 'string' ? value : JSON.stringify(value)
}

export async function status(host: Host, options: InspectOptions): Promise<number> {
  const configuration = await loadConfiguration(host.environment, options.flags)
  const registry = await loadRegistry(host, configuration)
  const output = new Output(host.terminal)
  const { connections } = await connect(configuration.program)
  try {
    const store = new StateStore(connections, configuration.program.schema)
    const state = await store.readState()
    const lastRuns = state.schemaVersion === undefined ? [] : await store.selectLastRuns()
    const rows = registry.tasks.map((entry) =>
      statusOf(
        entry,
        state,
        lastRuns.find(({ task }) => task === entry.name),
      ),
    )
    const known = new Set(registry.tasks.map(({ name }) => name))
    const unused = [...state.tasks.keys()].filter((name) => !known.has(name) && !name.includes(':'))
    if (options.json === true) {
      output.json({
        schemaVersion: state.schemaVersion ?? null,
        now: state.now,
        tasks: rows,
        disabled: registry.disabled,
        notEnabled: unused,
      })
      return 0
    }
    if (state.schemaVersion === undefined)
      output.line(`nothing has run here yet: the schema '${configuration.program.schema}' does not exist`)
    output.table(
      ['task', 'last outcome', 'when', 'took', 'next', 'failures', 'state'],
      rows.map((row) => [
        row.name,
        row.last === null ? '–' : paintOutcome(output, row.last.outcome),
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
    if (unused.length > 0) output.line(output.paint(`known from earlier, not enabled: ${unused.join(', ')}`, 'dim'))
    return 0
  } finally {
    await connections.close()
  }
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

function paintOutcome(output: Output, outcome: string): string {
  return output.paint(outcome, outcomeColour(outcome))
}

export interface HistoryOptions extends InspectOptions {
  readonly task?: string
  readonly sinceMs: number
  readonly actions?: boolean
}

/** Rows that one call shows at most. */
const historyLimit = 1000

export async function history(host: Host, options: HistoryOptions): Promise<number> {
  const { program } = await loadConfiguration(host.environment, options.flags)
  const output = new Output(host.terminal)
  const { connections } = await connect(program)
  try {
    const store = new StateStore(connections, program.schema)
    const filter = { task: options.task, sinceMs: options.sinceMs, limit: historyLimit }
    const migrated = (await store.readState()).schemaVersion !== undefined
    if (options.actions === true) {
      const actions = migrated ? await store.selectActions(filter) : []
      if (options.json === true) output.json(actions)
      else
        output.table(
          ['at', 'task', 'action', 'target', 'result', 'rows', 'took'],
          actions.map((row) => [
            row.at.toISOString(),
            row.task,
            row.kind,
            row.target,
            row.result,
            row.row_count ?? '–',
            row.duration_ms === null ? '–' : formatDuration(Math.max(1, Number(row.duration_ms))),
          ]),
        )
      return 0
    }
    const runs = migrated ? await store.selectHistory(filter) : []
    if (options.json === true) output.json(runs)
    else
      output.table(
        ['finished', 'task', 'outcome', 'slot', 'took', 'memory', 'actions', 'reason'],
        runs.map((row) => [
          row.finished_at.toISOString(),
          row.task,
          paintOutcome(output, row.outcome),
          row.slot_id,
          formatDuration(Math.max(1, Number(row.duration_ms))),
          row.peak_memory_bytes === null
            ? '–'
            : formatSize(Math.round(Number(row.peak_memory_bytes) / 2 ** 20) * 2 ** 20),
          String(row.action_count),
          row.reason ?? '',
        ]),
      )
    return 0
  } finally {
    await connections.close()
  }
}

export async function config(host: Host, options: InspectOptions): Promise<number> {
  const configuration = await loadConfiguration(host.environment, options.flags)
  const output = new Output(host.terminal)
  const enabled = new Set(configuration.builtIn.tasks.map(({ name }) => name))
  const shown = configuration.resolved.options.filter(({ section }) => section === undefined || enabled.has(section))
  if (options.json === true) {
    output.json({ options: shown, unclaimed: configuration.resolved.unclaimed })
    return 0
  }
  output.table(
    ['option', 'environment', 'value', 'source'],
    shown.map((option) => [option.path, option.environment, showValue(option.value), option.source]),
  )
  return 0
}

export function configSchema(host: Host): number {
  new Output(host.terminal).json(configurationJsonSchema([programSection, ...builtInTasks.map(taskSection)]))
  return 0
}
