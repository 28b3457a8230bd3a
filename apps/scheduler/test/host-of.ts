/** A host without a process of its own, for commands that are called directly. */
import { createScrubber } from '@battlescope/scheduler-core'
import type { Environment, Host } from '../src/host.js'

export function hostOf(environment: Environment): Host {
  return {
    environment,
    appFolder: '/nonexistent',
    importModule: () => Promise.reject(new Error('nothing is to be imported')),
    stop: new AbortController().signal,
    hardStop: new AbortController().signal,
    endAtSignal: () => undefined,
    withDefaultSignals: (work) => work(),
    holder: 'test',
    terminal: { stdoutIsTerminal: false, stderrIsTerminal: false, colour: false, columns: 80 },
    now: () => new Date('2026-11-23T03:00:00Z'),
    secrets: createScrubber(),
  }
}
