/** One rebuild: written down, begun, watched, and closed. */
import { randomUUID } from 'node:crypto'
import { isSqlState } from '@battlescope/database'
import { codeOf, messageOf, type Direct, type TaskContext } from '@battlescope/scheduler-core'
import type { ReindexConfig } from './config.js'
import { indexNameOf, relationOf } from './facts.js'
import { gaveWay, workBytesOf, type Candidate } from './plan.js'
import { cancelBuild, selectQueue } from './queue.js'
import { rebuildIndex, selectBuildProgress, selectNewIndex, selectSession } from './queries.js'
import { announceRebuild, noteFailure, noteNewIndex, type Announcement } from './records.js'

export type Context = TaskContext<ReindexConfig>

/** Milliseconds between two looks for the number of the copy: the shorter, the less is left to guess after a kill. */
const lookEveryMs = 50
/** The same when it is known, for the progress and for those who wait. */
const watchEveryMs = 1000

export interface RebuildResult {
  /** Absent when nothing was begun. */
  readonly id?: string
  /** Absent when the statement came to its end. */
  readonly failure?: { readonly reason: string; readonly code: string }
}

/**
 * Rebuilds one index. Whatever happens after the announcement, the row that it wrote says what to look for; the caller then looks at what
 * is there, and closes it.
 * @throws what concerns more than this index: a lost connection, a lost claim, the hard stop
 */
export async function rebuild(context: Context, candidate: Candidate, predictedMs: number): Promise<RebuildResult> {
  const { index, reason } = candidate
  const id = randomUUID()
  let announced = false
  const watch: Watch = { id, candidate, queued: 0 }
  const startedAt = context.clock.monotonicMs()
  try {
    await context.act(
      {
        kind: 'rebuild-index',
        target: indexNameOf(index),
        reason,
        via: 'direct',
        lockTimeoutMs: context.config.lockTimeout,
        // It ends by itself at the soft limit: what is left until the hard one is for dropping what it leaves.
        statementTimeoutMs: Math.max(1, Math.floor(context.budget.remainingMs())),
      },
      async (direct) => {
        const session = await selectSession(direct.db)
        announced = await announce(context, candidate, { id, predictedMs, sessionName: session.name })
        if (!announced) throw new IndexChanged()
        const backend = { pid: direct.backendPid, startedAt: session.startedAt }
        await watched(context, watch, backend, rebuildIndex(direct.db, index.schema, index.name))
        return { bytes: index.sizeBytes }
      },
    )
    return context.dryRun ? {} : { id }
  } catch (error) {
    if (context.signal.aborted || !isAboutOneIndex(error)) throw error
    const code = watch.queued > 0 ? gaveWay : (codeOf(error) ?? 'error')
    if (!announced) return { failure: { code, reason: messageOf(error, 200) } }
    const durationMs = Math.round(context.clock.monotonicMs() - startedAt)
    await writeDown(context, candidate, (db, schema) => noteFailure(db, schema, id, code, durationMs))
    return { id, failure: { code, reason: reasonOf(error, code, watch) } }
  }
}

async function announce(
  context: Context,
  { index }: Candidate,
  told: Pick<Announcement, 'id' | 'predictedMs' | 'sessionName'>,
): Promise<boolean> {
  let announced = false
  await writeDown(context, { index }, async (db, schema) => {
    announced = await announceRebuild(db, schema, {
      ...told,
      relation: relationOf(index),
      indexName: indexNameOf(index),
      definition: index.definition,
      tableOid: index.tableOid,
      indexOid: index.oid,
      sizeBeforeBytes: Math.round(index.sizeBytes),
      workBytes: Math.round(workBytesOf(index)),
    })
  })
  return announced
}

/** A row of this task's own tables, under the fence. */
async function writeDown(
  context: Context,
  { index }: Pick<Candidate, 'index'>,
  write: (db: Direct<unknown>['db'], schema: string) => Promise<void>,
): Promise<void> {
  const { stateSchema } = context
  if (stateSchema === undefined) return
  await context.act({ kind: 'note-rebuild', target: indexNameOf(index) }, (fenced) => write(fenced.db, stateSchema))
}

interface Watch {
  readonly id: string
  readonly candidate: Candidate
  /** Sessions that waited for a lock of the rebuild when it was cancelled for them. */
  queued: number
}

/** The session that rebuilds; the start tells it from a later one of the same pid. */
interface Backend {
  readonly pid: number
  readonly startedAt: string
}

/** Waits for the rebuild, and meanwhile looks after it from another connection. */
async function watched(context: Context, watch: Watch, backend: Backend, rebuilding: Promise<void>): Promise<void> {
  const over = new AbortController()
  const watching = watchBuild(context, watch, backend, over.signal).catch((error: unknown) => {
    // The rebuild goes on: without the number a later run has the difference to go by. A lost claim aborts it by itself.
    context.logger.warn(
      { event: 'rebuild-not-watched', error: messageOf(error, 200) },
      'the rebuild could not be watched',
    )
  })
  try {
    await rebuilding
  } finally {
    over.abort()
    await watching
  }
}

async function watchBuild(context: Context, watch: Watch, backend: Backend, over: AbortSignal): Promise<void> {
  const { id, candidate } = watch
  const { index } = candidate
  let noted = false
  let queueSeenAt = context.clock.monotonicMs()
  while (!over.aborted && !context.signal.aborted && watch.queued === 0) {
    const newOid = noted ? undefined : await selectNewIndex(context.db, backend.pid, index.tableOid, index.oid)
    if (newOid !== undefined) {
      await writeDown(context, candidate, (db, schema) => noteNewIndex(db, schema, id, newOid))
      noted = true
    }
    if (noted) {
      const progress = await selectBuildProgress(context.db, backend.pid)
      if (progress !== undefined)
        context.progress({ ...progress, unit: 'pages', current: `${indexNameOf(index)}: ${progress.phase}` })
    }
    if (context.clock.monotonicMs() - queueSeenAt >= watchEveryMs) {
      await giveWay(context, watch, backend)
      queueSeenAt = context.clock.monotonicMs()
    }
    await pause(context, noted ? watchEveryMs : lookEveryMs, over)
  }
}

/**
 * Somebody who waits for a lock that the rebuild holds (ALTER TABLE) keeps everybody behind him waiting, readers, too. What was built so
 * far is lost, and may be built again at any time; the users' time may not.
 */
async function giveWay(context: Context, watch: Watch, { pid, startedAt }: Backend): Promise<void> {
  const { index } = watch.candidate
  const queued = await selectQueue(context.db, pid, index.tableOid)
  if (queued === 0) return
  await context.act(
    {
      kind: 'cancel-rebuild',
      target: indexNameOf(index),
      reason: `${queued} session(s) wait for a lock on ${relationOf(index)}, and everybody behind them`,
    },
    async ({ db }) => {
      const rows = await cancelBuild(db, pid, startedAt)
      // Known even where this action fails afterwards: the signal is not taken back with it.
      if (rows > 0) watch.queued = queued
      return { rows }
    },
  )
}

/** Ends early when the rebuild does. */
function pause(context: Context, ms: number, over: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (over.aborted) resolve()
    over.addEventListener('abort', () => {
      resolve()
    })
    context.clock.sleep(ms).then(resolve, resolve)
  })
}

class IndexChanged extends Error {
  readonly code = 'index-changed'
  constructor() {
    super('it was dropped, rebuilt or made invalid meanwhile')
  }
}

function reasonOf(error: unknown, code: string, { queued }: Watch): string {
  if (code === gaveWay) return `gave way to ${queued} session(s) that waited for a lock on the table`
  if (code === '57014') return 'did not end within what was left of the budget'
  if (code === '55P03') return 'waited too long for an older transaction or a lock'
  if (code === '23505') return `is corrupt: the table holds what the unique index forbids (${messageOf(error, 200)})`
  return `${messageOf(error, 200)}, ${code}`
}

/**
 * What the server says of a statement concerns its index. Not so the classes of connection (08), rollback (40), resources (53) and the operator's hand
 * (57, but for a statement that took too long), and whatever has no SQLSTATE, such as a lost claim.
 */
export function isAboutOneIndex(error: unknown): boolean {
  if (error instanceof IndexChanged) return true
  const code = codeOf(error)
  return code === '57014' || (isSqlState(code) && !/^(08|40|53|57)/.test(code))
}

/** Only a pooler leads to the database: what this task does needs a session. */
export function isNoDirect(error: unknown): boolean {
  return codeOf(error) === 'no-direct-connection'
}
