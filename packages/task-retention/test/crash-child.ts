/** What the crash test kills: retention until it is done, in a process of its own; and what retention would be if it were wrong. */
import { catalogIn, manifestName, markDeleted, serializeManifest, type RecordedOwner } from '@battlescope/archive'
import { defineTask, type AnyTask } from '@battlescope/scheduler-core'
import { runOneTask, type RunOneTaskOptions } from '@battlescope/scheduler-testing'
import { schemaOf, writeBatch } from '../src/archive-batch.js'
import { mustLock, referencesOf, shapeOf } from '../src/batch-shape.js'
import { cleanUp } from '../src/clean-up.js'
import { retentionConfig } from '../src/config.js'
import { beginSlot, horizonsIn } from '../src/cursor.js'
import { deleteUnarchived } from '../src/delete-batch.js'
import { selectExpiredKeys } from '../src/expiry-queries.js'
import { expiryOf, stillExpired } from '../src/expiry.js'
import { retention } from '../src/index.js'
import { KeyQueue } from '../src/key-queue.js'
import { takeStore } from '../src/ownership.js'
import { planPolicies } from '../src/plan.js'
import { resolvePolicies } from '../src/policy.js'
import { selectPreflightFacts } from '../src/preflight-queries.js'
import { judgePreflight } from '../src/preflight.js'
import { readBatch, type BatchPlan, type ReadBatch } from '../src/read-batch.js'
import { Slice, type Context } from '../src/slice.js'
import { storeClients } from './world.js'

export interface ChildInput {
  readonly databaseUrl: string
  readonly storeUrl: string
  readonly variant: Variant
  /** What a command asks of it, such as a restore. */
  readonly request?: object
  /** Kills itself there, for the steps that are too short for an instant drawn at random. */
  readonly dieAt?: 'delete-begins' | 'delete-is-done'
}

/** Small batches: many steps in a short time. */
const statementLimitMs = 4_321
const config = { batchRows: 40, pause: '0s', statementLimit: `${statementLimitMs}ms` }

/** The transaction that deletes is known by its time limit. */
function dyingAt(point: ChildInput['dieAt']): NonNullable<RunOneTaskOptions['around']> {
  const die = () => process.kill(process.pid, 'SIGKILL')
  return (connections) => ({
    reader: (unit) => connections.reader(unit),
    snapshot: (unit, read) => connections.snapshot(unit, read),
    direct: (unit, work) => connections.direct(unit, work),
    transaction: async (unit, work) => {
      const deletes = unit.statementTimeoutMs === statementLimitMs
      if (deletes && point === 'delete-begins') die()
      const result = await connections.transaction(unit, work)
      if (deletes && point === 'delete-is-done') die()
      return result
    },
  })
}

/** Runs until nothing is left, as a CronJob would; then the process ends. */
export async function runChild({ databaseUrl, storeUrl, variant, request, dieAt }: ChildInput): Promise<void> {
  for (;;) {
    const { task } = await runOneTask({
      task: variants[variant],
      databaseUrl,
      force: true,
      config: retentionConfig.parse(config),
      clients: storeClients(storeUrl),
      ...(request === undefined ? {} : { request }),
      ...(dieAt === undefined ? {} : { around: dyingAt(dieAt) }),
    })
    // Not run: the claim of the one before is still in somebody's hands.
    if (task.run?.outcome === 'succeeded') return
  }
}

/** The order of the last steps of a batch, in ways that lose or double rows when the process ends in between. */
type LastSteps = (slice: Slice, plan: BatchPlan, batch: ReadBatch, owner: RecordedOwner) => Promise<void>

const deletedBeforeMarked: LastSteps = async (slice, plan, batch, owner) => {
  const { context } = slice
  const { manifest } = await writeBatch(slice, batch, owner)
  await deleteUnarchived(slice, plan, batch.keys, true)
  await context.act({ kind: 'write-manifest', target: plan.shape.parent.name, via: 'store' }, async (store) => {
    const deleted = { ...manifest, state: 'deleted' as const, deletedAt: context.clock.now() }
    await store.put(manifestName(manifest.month, manifest.batchId), serializeManifest(deleted))
  })
  await context.act({ kind: 'mark-deleted', target: plan.shape.parent.name }, async ({ db }) => {
    await markDeleted(catalogIn(db, schemaOf(slice)), batch.id)
  })
}

const deletedBeforeVerified: LastSteps = async (slice, plan, batch, owner) => {
  await deleteUnarchived(slice, plan, batch.keys, true)
  const { manifest } = await writeBatch(slice, batch, owner)
  await slice.context.act({ kind: 'mark-deleted', target: plan.shape.parent.name }, async ({ db }) => {
    await markDeleted(catalogIn(db, schemaOf(slice)), manifest.batchId)
  })
}

function wrong(steps: LastSteps): AnyTask {
  return defineTask({
    ...retention,
    run: async (context) => {
      await runWrongly(context, steps)
      return { outcome: 'succeeded' }
    },
  })
}

async function runWrongly(context: Context, steps: LastSteps): Promise<void> {
  const policies = resolvePolicies(context.config)
  const slice = new Slice(context, beginSlot(await context.checkpoint.load(), context.slot, policies))
  await cleanUp(slice)
  const facts = await selectPreflightFacts(context.db, policies)
  const report = judgePreflight(facts, policies, context.config)
  const horizons = horizonsIn(slice.cursor)
  for (const { policy } of planPolicies(report, true).runnable) {
    const expiry = expiryOf(report, policy.name, horizons, context.stateSchema)
    const shape = shapeOf(policy, facts)
    const plan: BatchPlan = {
      shape,
      deletable: (alias, among) => stillExpired(expiry, alias, among),
      locks: mustLock(shape, facts),
      references: referencesOf(shape, facts.references),
      horizon: horizons.slotAt,
      asText: new Map(),
    }
    const queue = new KeyQueue()
    queue.add(await selectExpiredKeys(context.db, expiry, { limit: 10_000 }))
    while (queue.length > 0) {
      const access = await takeStore(slice)
      const batch = await readBatch(slice, plan, queue.take(context.config.batchRows))
      if (access.kind === 'ours' && batch !== undefined) await steps(slice, plan, batch, access.owner)
    }
  }
}

const variants = {
  right: retention as AnyTask,
  'deleted before marked': wrong(deletedBeforeMarked),
  'deleted before verified': wrong(deletedBeforeVerified),
}
export type Variant = keyof typeof variants
