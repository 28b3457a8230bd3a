/** Third-party packages for commands that only look: a package that hangs must not keep them from answering. */
import {
  StateStore,
  type AnyTask,
  type DisabledTask,
  type RegisteredTask,
  type Registry,
  type State,
} from '@battlescope/scheduler-core'
import type { Configuration } from '../configuration/load.js'
import { open } from '../connect.js'
import type { Host } from '../host.js'
import { createLogging } from '../logging/logging.js'
import { catchStrayErrors } from '../stray-errors.js'
import { thirdPartyPackages } from './packages.js'

/** Milliseconds for all imports together: who looks is waiting. */
const importsMs = 10_000
/** Milliseconds for what an awaiting import leaves undone, and then for the command itself, which shares its thread with what was loaded. */
const importMarginMs = 2_000
const commandMs = 60_000
/** Milliseconds to learn which packages are paused, in commands that answer without a database too. */
const peekMs = 3_000

/**
 * Every enabled task, those of packages loaded behind the guard. A package that a run would not load now is not loaded here either.
 * @param state of the schema; undefined where it is not known.
 */
export async function loadRegistry(
  host: Host,
  configuration: Configuration,
  state: State | undefined,
): Promise<Registry> {
  const { logger } = createLogging({
    level: 'warn',
    stream: 'stderr',
    terminal: host.terminal,
    scrub: (text) => host.secrets.scrub(text),
  })
  const startedAtMs = performance.now()
  const packages = thirdPartyPackages(host, configuration, catchStrayErrors(logger, host.appFolder), {
    importsEndAtMs: startedAtMs + importsMs,
    processEndsAtMs: startedAtMs + importsMs + importMarginMs,
    lastWords: 'text',
  })
  if (packages === undefined) return configuration.builtIn
  const tasks: RegisteredTask[] = []
  const disabled: DisabledTask[] = []
  await host.withDefaultSignals(async () => {
    for (const specifier of packages.specifiers) {
      const refused = state === undefined ? undefined : refusalOf(specifier, state)
      const registry = refused === undefined ? await packages.load(specifier) : { tasks: [], disabled: [refused] }
      tasks.push(...registry.tasks)
      disabled.push(...registry.disabled)
    }
  })
  packages.watching(`code of ${packages.specifiers.join(', ')}`)
  packages.extend(commandMs)
  return {
    tasks: [...configuration.builtIn.tasks, ...tasks],
    disabled: disabled.length > 0 ? disabled : packages.unclaimedOptions(),
  }
}

/** The state, for a command that can do without it. Undefined when nothing depends on it, or it cannot be had quickly. */
export async function peekState({ program, thirdParty }: Configuration): Promise<State | undefined> {
  if (thirdParty.length === 0 || program.databaseUrl === undefined) return undefined
  const connections = open(program)
  try {
    return await new StateStore(connections, program.schema, AbortSignal.timeout(peekMs)).readState()
  } catch {
    return undefined
  } finally {
    await connections.close()
  }
}

export function tasksOfPackages(registry: Registry): readonly AnyTask[] {
  return registry.tasks.filter(({ origin }) => origin.kind === 'package').map(({ task }) => task)
}

/** As a run decides it: a package that hung or ended the process before rests, or is paused. */
function refusalOf(specifier: string, state: State): DisabledTask | undefined {
  const row = state.tasks.get(`npm:${specifier}`)
  const hint = `mend the package, then: resume npm:${specifier}`
  if (row?.paused !== undefined) {
    const since = row.paused.at.toISOString()
    return { name: specifier, reason: `paused since ${since}: ${row.paused.reason ?? 'by hand'}`, hint }
  }
  if (row?.retryAt === undefined || row.retryAt <= state.now) return undefined
  const reason = `${row.consecutiveFailures} imports in a row ended the process; next try at ${row.retryAt.toISOString()}`
  return { name: specifier, reason, hint }
}
