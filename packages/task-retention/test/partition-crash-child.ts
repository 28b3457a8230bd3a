/** Retention of partitions that dies at a chosen action, and what a process runs that is to be killed with SIGKILL. */
import { defineTask, type Action, type AnyTask, type TaskContext } from '@battlescope/scheduler-core'
import { runOneTask } from '@battlescope/scheduler-testing'
import { retentionConfig } from '../src/config.js'
import type { Cursor } from '../src/cursor.js'
import { retention } from '../src/index.js'
import { policy } from './partition-world.js'
import { storeClients } from './world.js'

type AnyAct = (action: Action, perform: unknown) => Promise<unknown>

/** Retention with something before and after each action. What these throw is thrown by `act`. */
export function around(hooks: {
  readonly before?: (kind: string) => unknown
  readonly after?: (kind: string) => void
}): AnyTask {
  return defineTask({
    ...retention,
    run: (context) => {
      const act: AnyAct = async (action, perform) => {
        await hooks.before?.(action.kind)
        const effect = await (context.act as AnyAct)(action, perform)
        hooks.after?.(action.kind)
        return effect
      }
      return retention.run(
        Object.create(context, { act: { value: act } }) as TaskContext<never, unknown, Cursor, never>,
      )
    },
  }) as AnyTask
}

export interface PartitionChildInput {
  readonly databaseUrl: string
  readonly storeUrl: string
  readonly lockTimeout: string
  /** Absent: somebody else kills it. */
  readonly dieAt?: { readonly kind: string; readonly when: 'before' | 'after' }
}

export async function runPartitionChild(input: PartitionChildInput): Promise<void> {
  const { databaseUrl, storeUrl, lockTimeout, dieAt } = input
  const dieIf = (when: 'before' | 'after') => (kind: string) => {
    if (dieAt?.kind === kind && dieAt.when === when) process.kill(process.pid, 'SIGKILL')
  }
  await runOneTask({
    task: around({ before: dieIf('before'), after: dieIf('after') }),
    databaseUrl,
    force: true,
    config: retentionConfig.parse({ policies: [policy], batchRows: 40, pause: '0s', lockTimeout }),
    clients: storeClients(storeUrl),
  })
}
