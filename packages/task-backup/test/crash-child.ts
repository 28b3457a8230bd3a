/** What the crash test kills: one forced run after another, with a kill before a chosen step, or at whatever instant it comes. */
import type { Store } from '@battlescope/cold-storage'
import { runOneTask, type RunOneTaskOptions } from '@battlescope/scheduler-testing'
import { backupConfig } from '../src/config.js'
import { backup } from '../src/index.js'
import { clientsFor } from './world.js'

export interface ChildInput {
  readonly databaseUrl: string
  readonly storeUrl: string
  /** The number of the step, counted over units of work and calls of the store, before which it kills itself. */
  readonly dieBefore: number
}

/** Keeps one: the second backup prunes the first. */
export const config = { driver: 'pg-dump', minAge: '0s', keepLast: 1, keepDaily: 1, keepMonthly: 1, attempts: 10 }

export async function runChild({ databaseUrl, storeUrl, dieBefore }: ChildInput): Promise<void> {
  let steps = 0
  const step = () => {
    steps += 1
    if (steps === dieBefore) process.kill(process.pid, 'SIGKILL')
  }
  const wrap = (store: Store): Store =>
    new Proxy(store, {
      get: (target, name) => {
        const member: unknown = Reflect.get(target, name, target)
        if (typeof member !== 'function') return member
        return (...args: unknown[]) => {
          if (name === 'put' || name === 'delete' || name === 'get') step()
          return Reflect.apply(member, target, args) as unknown
        }
      },
    })
  const around: RunOneTaskOptions['around'] = (connections) => ({
    reader: (unit) => connections.reader(unit),
    snapshot: (unit, read) => connections.snapshot(unit, read),
    direct: (unit, work) => connections.direct(unit, work),
    transaction: async (unit, work) => {
      step()
      return connections.transaction(unit, work)
    },
  })
  await runOneTask({
    task: backup,
    databaseUrl,
    force: true,
    config: backupConfig.parse(config),
    clients: clientsFor({ databaseUrl, storeUrl, wrap }),
    ...(around === undefined ? {} : { around }),
  })
}
