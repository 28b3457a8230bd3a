/** Rebuilds whose end nobody saw: what they left is dropped, and they are closed. */
import { codeOf, messageOf } from '@battlescope/scheduler-core'
import type { Rebuild, SiblingIndex } from './facts.js'
import { nameOf } from './facts.js'
import type { Doubt } from './findings.js'
import { aftermathOf, leftoverName } from './leftovers.js'
import { dropLeftover, renameLeftover, selectSiblings, selectStillAtWork } from './queries.js'
import { isAboutOneIndex, type Context } from './rebuild.js'
import { closeRebuild, noteLeftover } from './records.js'

export interface Recovery {
  /** Why it could not be brought to its end now; absent when it is closed. */
  readonly pending?: string
  /** What the statement came to, also while what it left is still there. */
  readonly outcome?: Rebuild['outcome']
  readonly doubt?: Doubt
}

/**
 * Brings one unfinished rebuild to its end. Every step may be the last one, and is found done by the next run: the leftover is renamed and noted in one
 * transaction, dropped by that name, and only then is the rebuild closed.
 * @param durationMs how long the statement took, when this process saw its end: then the server is not at it any more
 */
export async function recover(context: Context, rebuild: Rebuild, durationMs?: number): Promise<Recovery> {
  const { indexName, sessionName, tableOid } = rebuild
  if (durationMs === undefined && (await selectStillAtWork(context.db, sessionName, tableOid)))
    return { pending: 'its previous statement is still running, or its table is being vacuumed' }
  const siblings = await selectSiblings(context.db, tableOid)
  if (!areKnown(siblings)) return { pending: locked }
  const aftermath = aftermathOf(rebuild, siblings)
  if (aftermath.kind === 'close') {
    await close(context, rebuild, aftermath.outcome, aftermath.index, durationMs)
    const { outcome, doubt } = aftermath
    return doubt === undefined ? { outcome } : { outcome, doubt: { index: indexName, reason: doubt } }
  }
  const { outcome } = aftermath
  try {
    if (!(await drop(context, rebuild, aftermath.leftover)))
      return { outcome, pending: 'what it left changed meanwhile' }
  } catch (error) {
    if (context.signal.aborted || !isAboutOneIndex(error)) throw error
    return {
      outcome,
      pending: `what it left could not be dropped yet (${messageOf(error, 200)}, ${codeOf(error) ?? ''})`,
    }
  }
  if (context.dryRun) return { outcome }
  // Look again, rather than believe: whatever is there now decides.
  const left = await selectSiblings(context.db, tableOid)
  if (!areKnown(left)) return { outcome, pending: locked }
  const after = aftermathOf(rebuild, left)
  if (after.kind === 'drop') return { outcome, pending: 'what it left is still there' }
  await close(context, rebuild, outcome, after.index, durationMs)
  return { outcome }
}

const locked = 'somebody holds its table in ACCESS EXCLUSIVE, or drops an index of it'

/** Nothing is concluded from an index that could not be read. */
function areKnown(siblings: readonly SiblingIndex[]): boolean {
  return siblings.every(({ definition }) => definition !== '')
}

async function drop(context: Context, rebuild: Rebuild, leftover: SiblingIndex): Promise<boolean> {
  const { stateSchema } = context
  const name = leftoverName(leftover)
  const target = nameOf(leftover.schema, leftover.name)
  const reason = `left by a rebuild of ${rebuild.indexName} that did not end`
  let renamed = false
  try {
    await context.act(
      { kind: 'rename-leftover', target, reason, lockTimeoutMs: context.config.lockTimeout },
      async (fenced) => {
        if (stateSchema === undefined) return
        await noteLeftover(fenced.db, stateSchema, rebuild.id, leftover.oid)
        renamed = await renameLeftover(fenced.db, { ...leftover, tableOid: rebuild.tableOid }, name)
        // Rolls the new name back.
        if (!renamed) throw new LeftoverChanged()
      },
    )
  } catch (error) {
    if (error instanceof LeftoverChanged) return false
    throw error
  }
  await context.act(
    { kind: 'drop-leftover', target, reason, via: 'direct', lockTimeoutMs: context.config.lockTimeout },
    async ({ db }) => {
      await dropLeftover(db, leftover.schema, name)
      return { bytes: leftover.sizeBytes }
    },
  )
  return true
}

async function close(
  context: Context,
  rebuild: Rebuild,
  outcome: NonNullable<Rebuild['outcome']>,
  serving: SiblingIndex | undefined,
  durationMs: number | undefined,
): Promise<void> {
  const { stateSchema } = context
  if (stateSchema === undefined) return
  await context.act({ kind: 'close-rebuild', target: rebuild.indexName, reason: outcome }, async (fenced) => {
    // A quick rebuild may be over before the number of its copy was seen.
    const copy = outcome === 'rebuilt' ? serving : undefined
    await closeRebuild(fenced.db, stateSchema, rebuild.id, {
      outcome,
      durationMs,
      sizeAfterBytes: copy === undefined ? undefined : Math.round(copy.sizeBytes),
      newIndexOid: copy?.oid,
    })
  })
}

class LeftoverChanged extends Error {
  readonly code = 'leftover-changed'
}
