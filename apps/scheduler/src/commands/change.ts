/** Commands that change the scheduler's own state: `migrate`, `pause`, `resume`, `release`. */
import { didYouMean, migrate as migrateSchema, SchedulerError, StateStore } from '@battlescope/scheduler-core'
import type { DatabaseConnections } from '@battlescope/database'
import { loadConfiguration, type Configuration, type Flags } from '../configuration/load.js'
import { withDatabase } from '../connect.js'
import type { Host } from '../host.js'
import { Output } from '../output.js'
import { loadRegistry } from '../third-party/look.js'

export async function migrate(host: Host, flags: Flags): Promise<number> {
  return withStore(host, flags, async (_store, output, { program }, connections) => {
    const { from, to } = await migrateSchema(connections, program.schema, { signal: host.stop })
    output.line(
      from === to
        ? `the schema '${program.schema}' has version ${to} already`
        : `the schema '${program.schema}' has version ${to} now${from === undefined ? '' : `, was ${from}`}`,
    )
  })
}

export async function pause(
  host: Host,
  flags: Flags,
  task: string,
  until: Date | number | undefined,
  reason: string,
): Promise<number> {
  host.endAtSignal()
  return withStore(host, flags, async (store, output, configuration, connections) => {
    await mustKnow(host, store, configuration, task, connections)
    const { now } = await store.readState()
    const at = typeof until === 'number' ? new Date(now.getTime() + until) : until
    await store.pause(task, at, reason)
    output.line(`${task} is paused${at === undefined ? '' : ` until ${at.toISOString()}`}; \`resume ${task}\` ends it`)
  })
}

export async function resume(host: Host, flags: Flags, task: string): Promise<number> {
  host.endAtSignal()
  return withStore(host, flags, async (store, output, configuration, connections) => {
    await mustKnow(host, store, configuration, task, connections)
    await store.resume(task)
    output.line(`${task} runs again when it is due; failures and back-off are forgotten`)
  })
}

export async function release(host: Host, flags: Flags, task: string): Promise<number> {
  host.endAtSignal()
  return withStore(host, flags, async (store, output, configuration, connections) => {
    await mustKnow(host, store, configuration, task, connections)
    const claim = await store.release(task)
    output.line(
      claim === undefined
        ? `${task} is not claimed`
        : `${task} is free; it was claimed by ${claim.holder} since ${claim.claimedAt.toISOString()}. If that process still runs, it can commit nothing more`,
    )
  })
}

async function withStore(
  host: Host,
  flags: Flags,
  work: (
    store: StateStore,
    output: Output,
    configuration: Configuration,
    connections: DatabaseConnections,
  ) => Promise<void>,
): Promise<number> {
  const configuration = await loadConfiguration(host, flags)
  const { program } = configuration
  await withDatabase(
    program,
    ({ connections }) =>
      work(new StateStore(connections, program.schema), new Output(host), configuration, connections),
    { signal: host.stop },
  )
  return 0
}

/** A task that has never run gets its row here, so that it can be paused before its first run. */
async function mustKnow(
  host: Host,
  store: StateStore,
  configuration: Configuration,
  task: string,
  connections: DatabaseConnections,
): Promise<void> {
  const state = await store.readState()
  if (state.tasks.has(task)) return
  // No package is loaded for the name of a built-in task, or of a package's own row.
  const isNoPackages = task.includes(':') || configuration.builtIn.tasks.some(({ name }) => name === task)
  const registry = isNoPackages ? configuration.builtIn : await loadRegistry(host, configuration, state)
  const entry = registry.tasks.find(({ name }) => name === task)
  if (entry === undefined) {
    const known = [...new Set([...registry.tasks.map(({ name }) => name), ...state.tasks.keys()])]
    throw new SchedulerError('unknown-task', `there is no task '${task}'`, {
      hint: didYouMean(task, known) ?? `known: ${known.join(', ')}`,
    })
  }
  if (state.schemaVersion === undefined) await migrateSchema(connections, store.schema)
  await store.registerTasks([{ name: task, thirdParty: entry.origin.kind === 'package' }])
}
