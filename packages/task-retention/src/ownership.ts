/**
 * The right to write under the prefix of the store, taken by each run that is about to write there. A copy of this database carries a copy
 * of everything that this database remembers, also of a slot that is half done: so it is not enough to take it once per slot.
 */
import { randomUUID } from 'node:crypto'
import {
  catalogIn,
  decideOwnership,
  nextOwner,
  readOwner,
  selectIdentity,
  selectOwner,
  upsertOwner,
  writeOwner,
  type ReadOwner,
  type RecordedOwner,
} from '@battlescope/archive'
import type { Finding } from '@battlescope/scheduler-core'
import { codeOf } from './batch-errors.js'
import { keepCommit } from './queries.js'
import type { Context, Slice, StoreAccess } from './slice.js'

/**
 * @returns also in a dry run whether it would be refused
 * @throws StoreError when the store cannot say
 */
export async function takeStore(slice: Slice): Promise<StoreAccess> {
  slice.storeAccess ??= await decide(slice.context)
  if (slice.storeAccess.kind === 'refused') slice.report(slice.storeAccess.finding)
  return slice.storeAccess
}

async function decide(context: Context): Promise<StoreAccess> {
  const store = await context.client('store')
  const { location } = store
  const { stateSchema, signal } = context
  const identity = await selectIdentity(context.db)
  let recorded = stateSchema === undefined ? undefined : await selectOwner(catalogIn(context.db, stateSchema))
  const before = await readOwner(store, signal)
  const decision = decideOwnership({ stored: before?.owner, recorded, identity, location })
  if (decision.kind === 'foreign') return { kind: 'refused', finding: foreign(decision.reason, location) }
  if (decision.kind === 'finish' && recorded !== undefined) {
    const { generation, nonce } = decision.stored
    recorded = { ...recorded, generation, nonce, pendingNonce: undefined }
  }
  return advance(context, recorded ?? newOwner(location, identity), before)
}

/** Generation 0: the store does not know of it yet. */
function newOwner(location: string, identity: RecordedOwner['identity']): RecordedOwner {
  return { ownerId: randomUUID(), location, generation: 0, nonce: randomUUID(), pendingNonce: undefined, identity }
}

/** Announced here, written there by a write that only succeeds if nobody else did, and confirmed here. */
export async function advance(
  context: Context,
  from: RecordedOwner,
  before: ReadOwner | undefined,
): Promise<StoreAccess> {
  const store = await context.client('store')
  const { location } = store
  const nonce = randomUUID()
  const target = location
  await recordOwner(context, 'announce-owner', { ...from, location, pendingNonce: nonce })
  const next = nextOwner(from.ownerId, from.generation + 1, nonce, from.identity)
  const write = (over: ReadOwner | undefined) =>
    context.act({ kind: 'advance-owner', target, via: 'store' }, (writable) =>
      writeOwner(writable, next, over, context.signal),
    )
  try {
    await write(before)
    // One that was damaged on its way would look like a foreign hand to the next run.
    const written = context.dryRun ? undefined : await readOwner(store, context.signal)
    if (written !== undefined && isDamaged(written)) await write(written)
  } catch (error) {
    if (codeOf(error) !== 'store-conflict' && codeOf(error) !== 'store-unavailable') throw error
    // Either way the write may have happened: the answer can get lost, and a repeated request then meets its own effect.
    const now = await readOwner(store, context.signal)
    if (now?.owner.nonce !== nonce) {
      if (codeOf(error) !== 'store-conflict') throw error
      return { kind: 'refused', finding: foreign('another process advanced the prefix at the same time', location) }
    }
  }
  const owner = { ...from, location, generation: next.generation, nonce, pendingNonce: undefined }
  await recordOwner(context, 'confirm-owner', owner)
  return { kind: 'ours', owner }
}

/** What is no owner object at all: that of somebody else can be read. */
function isDamaged({ owner }: ReadOwner): boolean {
  return owner.generation < 0
}

async function recordOwner(context: Context, kind: string, owner: RecordedOwner): Promise<void> {
  await context.act({ kind, target: owner.location }, async ({ db }) => {
    // Lost in a crash of the server, the nonce in the store would look like a foreign hand.
    await keepCommit(db)
    if (context.stateSchema !== undefined) await upsertOwner(catalogIn(db, context.stateSchema), owner)
  })
}

function foreign(reason: string, location: string): Finding {
  return {
    key: 'archive-not-ours',
    severity: 'critical',
    summary: `nothing is archived or deleted: ${reason}`,
    details: {
      location,
      hint: 'if this database is the one that shall write there, run `archive adopt`; a copy needs another SCHEDULER_COLD_STORAGE_URL',
    },
  }
}
