/**
 * Trims the finished jobs of a BullMQ queue by BullMQ's own scripts: they know what belongs to a job (logs, children's results, its
 * deduplication) and in which order it goes. They are taken from the package as text, so that neither its client nor its queue is loaded.
 */
import type { RedisMasterReader, RedisMasterWriter, SortedSetMember } from '@battlescope/redis'
import { cleanJobsInSet } from 'bullmq/dist/esm/scripts/cleanJobsInSet-3.js'
import { removeJob } from 'bullmq/dist/esm/scripts/removeJob-2.js'
import type { Context } from './delete-rows.js'
import { labelOf, type KeepJobs, type QueueNamespace } from './namespaces.js'
import type { Pace } from './pace.js'
import { planTrim } from './plan.js'
import { writerOf, type Server } from './servers.js'

/** The scripts' own version: a newer major may keep its jobs in another way. */
const knownMajor = 6
/** Jobs that one call of the script removes: it blocks the server for well under a millisecond. */
const jobsPerCall = 25
/** What removing one job costs the server, in simple commands. */
const commandsPerJob = 20

export interface TrimOutcome {
  /** Why jobs stay that should go. */
  readonly problem?: string
  readonly finished: boolean
}

export async function trimQueue(
  context: Context,
  server: Server,
  queue: QueueNamespace,
  pace: Pace,
): Promise<TrimOutcome> {
  const { master } = server
  if (queue.completed === undefined && queue.failed === undefined) return { finished: true }
  const [version] = await master.hgetEach([`${queue.keyPrefix}meta`], 'version')
  const major = Number(/(\d+)\./.exec(version ?? '')?.[1] ?? knownMajor)
  if (major > knownMajor)
    return { finished: true, problem: `written by ${version ?? ''}, which this version does not know` }
  let waitedFor = 0
  let finished = true
  for (const state of ['completed', 'failed'] as const) {
    const keep = queue[state]
    if (keep === undefined) continue
    const outcome = await trimState(context, server, queue, state, keep, pace)
    waitedFor += outcome.waitedFor
    finished &&= outcome.finished
  }
  if (waitedFor === 0) return { finished }
  return { finished, problem: `${waitedFor} failed jobs have a parent that waits for them` }
}

type State = 'completed' | 'failed'

async function trimState(
  context: Context,
  server: Server,
  queue: QueueNamespace,
  state: State,
  keep: KeepJobs,
  pace: Pace,
): Promise<{ readonly finished: boolean; readonly waitedFor: number }> {
  const { master } = server
  const set = `${queue.keyPrefix}${state}`
  const nowMs = context.clock.now().getTime()
  const total = (await master.length(set, 'zset')) ?? 0
  const beyondAge = keep.ageMs === undefined ? 0 : await master.zcount(set, '-inf', nowMs - keep.ageMs)
  let left = planTrim({ total, beyondAge }, keep)
  const progress = { waitedFor: 0 }
  while (left > progress.waitedFor) {
    if (context.budget.exhausted()) return { finished: false, ...progress }
    const jobs = Math.min(left, context.config.keyBatchSize + progress.waitedFor)
    const effect = await context.act(
      {
        kind: `trim-${state}-jobs`,
        target: labelOf(server.name, queue),
        reason: `${context.dryRun ? left : jobs} jobs beyond age or count`,
        via: 'redis',
      },
      async (client) => {
        const writer = await writerOf(client, server, context.signal)
        return trimBatch(writer.master, queue, state, jobs, progress, pace)
      },
    )
    const removed = effect?.rows ?? 0
    context.metrics.count('jobs_removed', removed, { redis: server.name, queue: queue.queue, state })
    if (removed === 0) break
    left -= removed
  }
  return { finished: true, ...progress }
}

/** Removes of the oldest `jobs` jobs those that may go. Those whose parent waits stay at the front; `progress` counts them. */
async function trimBatch(
  master: RedisMasterWriter,
  queue: QueueNamespace,
  state: State,
  jobs: number,
  progress: { waitedFor: number },
  pace: Pace,
): Promise<{ readonly rows: number }> {
  const { keyPrefix } = queue
  const set = `${keyPrefix}${state}`
  let rows = 0
  progress.waitedFor = 0
  while (rows + progress.waitedFor < jobs) {
    const first = progress.waitedFor
    const oldest = await master.zrange(set, first, first + Math.min(jobsPerCall, jobs - rows - first) - 1)
    if (oldest.length === 0) break
    const waitedFor = await selectWaitedFor(master, keyPrefix, oldest)
    const removed = await pace.step(
      master,
      () =>
        waitedFor.size === 0 && first === 0
          ? cleanOldest(master, keyPrefix, state, oldest)
          : removeOneByOne(
              master,
              keyPrefix,
              oldest.filter(({ member }) => !waitedFor.has(member)),
            ),
      (count) => count * commandsPerJob,
    )
    rows += removed
    // What did not go (a job that was retried meanwhile is gone by itself) is passed over, so that this ends.
    progress.waitedFor += waitedFor.size
    if (removed === 0 && waitedFor.size === 0) break
  }
  return { rows }
}

/** All of them: the oldest, up to the time of the last. Jobs that finish meanwhile are newer. */
async function cleanOldest(
  master: RedisMasterWriter,
  keyPrefix: string,
  state: State,
  oldest: readonly SortedSetMember[],
): Promise<number> {
  const keys = [`${keyPrefix}${state}`, `${keyPrefix}events`, `${keyPrefix}repeat`]
  const args = [keyPrefix, String(oldest.at(-1)?.score ?? 0), String(oldest.length), state]
  return ((await master.evaluate(cleanJobsInSet.content, keys, args)) as readonly unknown[]).length
}

/** The other script takes a job out of whatever state it is in: so it must not have been retried since we looked. */
async function removeOneByOne(
  master: RedisMasterWriter,
  keyPrefix: string,
  jobs: readonly SortedSetMember[],
): Promise<number> {
  let removed = 0
  for (const { member: id } of jobs) {
    const jobKey = `${keyPrefix}${id}`
    const changed = await master.changeUnlessTouched([jobKey], async () => {
      const [finishedOn] = await master.hgetEach([jobKey], 'finishedOn')
      if (finishedOn === undefined) return []
      const keys = [jobKey, `${keyPrefix}repeat`]
      return [{ kind: 'evaluate', script: removeJob.content, keys, args: [id, '0', keyPrefix] }]
    })
    removed += changed ?? 0
  }
  return removed
}

/**
 * Jobs that a parent still waits for, as it does for a failed child. BullMQ would remove the parent with the last of them, or let it run:
 * that is no trimming of finished jobs.
 */
async function selectWaitedFor(
  master: RedisMasterReader,
  keyPrefix: string,
  jobs: readonly SortedSetMember[],
): Promise<ReadonlySet<string>> {
  const jobKeys = jobs.map(({ member }) => `${keyPrefix}${member}`)
  const parents = await master.hgetEach(jobKeys, 'parentKey')
  const found = new Set<string>()
  for (const [index, parentKey] of parents.entries()) {
    const jobKey = jobKeys[index]
    const id = jobs[index]?.member
    if (!parentKey || jobKey === undefined || id === undefined) continue
    if (await master.sismember(`${parentKey}:dependencies`, jobKey)) found.add(id)
  }
  return found
}
