/**
 * Errors that nobody awaits. By default they end the process, and with it the tasks that come after the careless one.
 */
import { codeOf, exitCodes, messageOf, type TaskLogger } from '@battlescope/scheduler-core'
import { endProcess } from './third-party/guard.js'

export interface StrayErrors {
  /** Says what runs now: stray errors are told under its name. */
  watching(what: string): void
  /** Says whose code lies in a folder. */
  own(folder: string, specifier: string): void
}

/** From now on, until the process ends: code that was given up may still be running. */
export function catchStrayErrors(logger: TaskLogger, appFolder: string): StrayErrors {
  const folders = new Map<string, string>()
  let current: string | undefined
  const tell = (error: unknown, what: 'exception' | 'rejection'): void => {
    const stack = error instanceof Error ? (error.stack ?? '') : ''
    const culprit = [...folders].find(([folder]) => stack.includes(folder))?.[1]
    logger.error(
      {
        event: 'stray-error',
        task: current,
        package: culprit,
        what,
        error: messageOf(error),
        errorCode: codeOf(error),
      },
      'an error that nobody awaits',
    )
    // An exception from our own code is a bug of ours, and going on after it would hide it. A rejection may be of a promise that a task
    // got from us and did not await.
    if (what === 'exception' && culprit === undefined && stack.includes(appFolder)) endProcess(exitCodes.internal.code)
  }
  process.on('uncaughtException', (error) => {
    tell(error, 'exception')
  })
  process.on('unhandledRejection', (error) => {
    tell(error, 'rejection')
  })
  return {
    watching: (what) => {
      current = what
    },
    own: (folder, specifier) => {
      folders.set(folder, specifier)
    },
  }
}
