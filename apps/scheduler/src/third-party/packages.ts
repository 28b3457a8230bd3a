/** Third-party packages of one run: loaded behind the guard and under the watchdog, then configured. */
import type { Registry, ThirdPartyPackages } from '@battlescope/scheduler-core'
import { builtInTaskNames } from '../built-in-tasks.js'
import type { Configuration, LoadedTask } from '../configuration/load.js'
import type { Host } from '../host.js'
import type { StrayErrors } from '../stray-errors.js'
import { guardProcess } from './guard.js'
import { loadPackage } from './load.js'
import { startWatchdog, type Watchdog, type WatchdogOptions } from './watchdog.js'

/**
 * Milliseconds for one import, and its share of the budget that is left. A package whose modules take longer costs every run too much; but
 * at 50m CPU, half a second's worth of modules (a kysely and a zod of its own) takes ten.
 */
const longestImportMs = 15_000
const importShare = 0.5

/** Monotonic milliseconds, from the start of the process. */
export interface PackageLimits {
  /** Imports share what is left until then. */
  readonly importsEndAtMs: number
  /** The watchdog ends the process. */
  readonly processEndsAtMs: number
  readonly lastWords: WatchdogOptions['lastWords']
}

export interface GuardedPackages extends ThirdPartyPackages {
  /** Says what runs now, for errors that nobody awaits and for the watchdog's last words. */
  watching(task: string): void
  /** Gives the rest of the process another deadline, in milliseconds from now. */
  extend(deadlineMs: number): void
}

function importTimeoutMs(budgetLeftMs: number): number {
  return Math.round(Math.min(longestImportMs, importShare * Math.max(0, budgetLeftMs)))
}

/** @returns undefined when no package is enabled: then nothing of this costs anything. */
export function thirdPartyPackages(
  host: Host,
  configuration: Configuration,
  strayErrors: StrayErrors,
  limits: PackageLimits,
): GuardedPackages | undefined {
  const { thirdParty: specifiers, program } = configuration
  if (specifiers.length === 0) return undefined
  const loaded: LoadedTask[] = []
  const takenNames = new Map(builtInTaskNames.map((name) => [name, 'the scheduler']))
  let watchdog: Watchdog | undefined

  const watching = (what: string) => {
    strayErrors.watching(what)
    watchdog?.watching(what)
  }
  const begin = (what: string) => {
    const deadlineMs = Math.max(0, limits.processEndsAtMs - performance.now())
    watchdog = startWatchdog({ deadlineMs, what, lastWords: limits.lastWords })
    guardProcess()
  }

  return {
    specifiers,
    watching,
    extend: (deadlineMs) => {
      watchdog?.extend(deadlineMs)
    },
    load: async (specifier): Promise<Registry> => {
      const what = `import of ${specifier}`
      watching(what)
      if (watchdog === undefined) begin(what)
      const found = await loadPackage(specifier, {
        from: program.pluginDir ?? host.appFolder,
        importModule: (url) => host.importModule(url),
        takenNames,
        importTimeoutMs: importTimeoutMs(limits.importsEndAtMs - performance.now()),
      })
      if (found.folder !== undefined) strayErrors.own(found.folder, specifier)
      for (const { name } of found.tasks) takenNames.set(name, specifier)
      const own = found.tasks.map((task) => ({ specifier, task }))
      loaded.push(...own)
      const registry = configuration.registerThirdParty(own)
      return { tasks: registry.tasks, disabled: [...found.disabled, ...registry.disabled] }
    },
    unclaimedOptions: () => configuration.unclaimedOptions(loaded),
  }
}
