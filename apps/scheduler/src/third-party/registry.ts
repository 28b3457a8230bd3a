/** Third-party tasks of one run: loaded behind the guard and under the watchdog, then configured. */
import type { Registry, TaskLogger } from '@battlescope/scheduler-core'
import { builtInTasks } from '../built-in-tasks.js'
import type { Configuration } from '../configuration/load.js'
import type { Host } from '../host.js'
import { guardProcess } from './guard.js'
import { loadThirdPartyTasks } from './load.js'
import { startWatchdog } from './watchdog.js'

/** Milliseconds beyond budget and grace until the watchdog ends the process; the rest of the five seconds is for the flush. */
const watchdogMarginMs = 3000

export interface ThirdPartyLoader {
  readonly load: () => Promise<Registry>
  /** Says which task runs, for the watchdog's last words. */
  watching(task: string): void
  end(): void
}

/** @returns undefined when no package is enabled: then nothing of this costs anything. */
export function thirdPartyLoader(
  host: Host,
  configuration: Configuration,
  logger: TaskLogger,
): ThirdPartyLoader | undefined {
  const { thirdParty, program } = configuration
  if (thirdParty.length === 0) return undefined
  let task = 'loading third-party packages'
  const ends: (() => void)[] = []
  let watchdog: ReturnType<typeof startWatchdog> | undefined
  return {
    watching: (name) => {
      task = name
      watchdog?.watching(name)
    },
    load: async () => {
      const deadlineMs = Math.max(0, program.budget + program.grace + watchdogMarginMs - performance.now())
      task = 'loading third-party packages'
      watchdog = startWatchdog({ deadlineMs })
      watchdog.watching(task)
      ends.push(() => watchdog?.stop())
      const guard = guardProcess((error, what) => {
        logger.error(
          { event: 'stray-error', task, what, error: error instanceof Error ? error.message : String(error) },
          'a third-party task left an error behind',
        )
      })
      ends.push(() => {
        guard.release()
      })
      const { loaded, disabled } = await loadThirdPartyTasks(thirdParty, {
        ...(program.pluginDir === undefined ? {} : { pluginDir: program.pluginDir }),
        appDir: host.appFolder,
        reservedNames: builtInTasks.map(({ name }) => name),
        importModule: (url) => host.importModule(url),
      })
      const registry = configuration.registerThirdParty(loaded)
      return { tasks: registry.tasks, disabled: [...disabled, ...registry.disabled] }
    },
    end: () => {
      for (const end of ends.reverse()) end()
    },
  }
}
