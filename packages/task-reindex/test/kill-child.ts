/** What a process runs that is to be killed with SIGKILL: by itself at a chosen action, or by somebody else. */
import { defineTask, type Action, type AnyTask, type TaskContext } from '@battlescope/scheduler-core'
import { runOneTask } from '@battlescope/scheduler-testing'
import { reindexConfig } from '../src/config.js'
import { reindex } from '../src/index.js'

export interface ChildInput {
  readonly databaseUrl: string
  readonly config: Readonly<Record<string, unknown>>
  /** Before or after the so manieth action of this kind. Absent: somebody else kills it. */
  readonly dieAt?: { readonly kind: string; readonly when: 'before' | 'after'; readonly occurrence: number }
}

type AnyAct = (action: Action, perform: unknown) => Promise<unknown>

/** Milliseconds that a run gets to come to a border after SIGTERM, as SCHEDULER_GRACE has it: then its statements are cancelled. */
const graceMs = 100

export async function runChild({ databaseUrl, config, dieAt }: ChildInput): Promise<void> {
  let seen = 0
  const [stop, hardStop] = [new AbortController(), new AbortController()]
  process.once('SIGTERM', () => {
    stop.abort('SIGTERM')
    setTimeout(() => {
      hardStop.abort('SIGTERM')
    }, graceMs).unref()
  })
  const task = defineTask({
    ...reindex,
    run: (context) => {
      const act: AnyAct = async (action, perform) => {
        const isIt = action.kind === dieAt?.kind && (seen += 1) === dieAt.occurrence
        if (isIt && dieAt.when === 'before') process.kill(process.pid, 'SIGKILL')
        const effect = await (context.act as AnyAct)(action, perform)
        if (isIt && dieAt.when === 'after') process.kill(process.pid, 'SIGKILL')
        return effect
      }
      return reindex.run(Object.create(context, { act: { value: act } }) as TaskContext<never>)
    },
  }) as AnyTask
  await runOneTask({
    ...{ task, databaseUrl, force: true, config: reindexConfig.parse(config) },
    ...{ stop: stop.signal, hardStop: hardStop.signal },
  })
}
