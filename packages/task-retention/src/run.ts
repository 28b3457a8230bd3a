/** What a run of retention does: one slice of its slot. */
import { codeOf } from './batch-errors.js'
import type { BatchPlan } from './read-batch.js'
import { mustLock, referencesOf, shapeOf } from './batch-shape.js'
import { cleanUp, followManifests } from './clean-up.js'
import { beginSlot, horizonsIn, progressOf, withSlotEnded } from './cursor.js'
import { expiryOf, stillExpired } from './expiry.js'
import { countExpired, selectExpiredKeys } from './expiry-queries.js'
import { buildMissingIndexes } from './missing-indexes.js'
import { reportWaiting, recoverPartitions } from './partition-recovery.js'
import { planPartitionWork, runPartitions } from './partition-run.js'
import { runOrphans } from './orphans.js'
import { takeStore } from './ownership.js'
import { forecast, planPolicies, resultOf, stuckFinding, type PolicyPlan } from './plan.js'
import { keyOf, resolvePolicies } from './policy.js'
import { runBatches, type PolicyEnd } from './policy-run.js'
import { judgePreflight } from './preflight.js'
import type { PreflightFacts } from './preflight-facts.js'
import type { PolicyReport, PreflightReport } from './preflight-report.js'
import { selectPreflightFacts } from './preflight-queries.js'
import { performRequest } from './perform-request.js'
import type { RetentionRequest } from './request.js'
import { Slice, type Context } from './slice.js'
import { Bystanders } from './stand-aside.js'

export async function runRetention(context: Context & { readonly request: RetentionRequest | undefined }) {
  const policies = resolvePolicies(context.config)
  const saved = await context.checkpoint.load()
  const slice = new Slice(context, beginSlot(saved, context.slot, policies))
  if (context.request !== undefined) return performRequest(slice, context.request)
  await cleanUp(slice)
  await recoverPartitions(slice)
  const facts = { ...(await selectPreflightFacts(context.db, policies)), hasSession: context.hasDirect }
  const report = judgePreflight(facts, policies, context.config)
  const plan = planPolicies(report, context.hasClient('store'))
  for (const finding of plan.findings) slice.report(finding)
  await reportWaiting(
    slice,
    plan.runnable.map(({ policy }) => policy.name),
  )
  await buildMissingIndexes(slice, plan.runnable)
  if (context.dryRun) return planSlice(slice, facts, report, plan)
  // The horizon is that of the slot's first run, whatever happens to the others.
  if (saved?.slotId !== slice.cursor.slotId) await context.checkpoint.save(slice.cursor)

  let remaining: number | undefined
  for (const own of plan.runnable) {
    const end = await runPolicy(slice, facts, report, own)
    const left = end.kind === 'stopped' ? end.remaining : end.setAside
    context.metrics.gauge('backlog_rows', left, { policy: own.policy.name })
    if (end.kind === 'stopped') remaining = (remaining ?? 0) + end.remaining
  }
  await followManifests(slice)
  await context.checkpoint.save(slice.cursor)
  if (plan.skipped !== undefined) return { outcome: 'skipped' as const, reason: plan.skipped, findings: slice.findings }
  return resultOf({ remaining, findings: slice.findings, cursor: slice.cursor })
}

async function runPolicy(
  slice: Slice,
  facts: PreflightFacts,
  report: PreflightReport,
  { policy }: PolicyReport,
): Promise<PolicyEnd> {
  const { context } = slice
  const { name } = policy
  if (progressOf(slice.cursor, name).finished) return { kind: 'finished', setAside: 0 }
  const horizons = horizonsIn(slice.cursor)
  const expiry = expiryOf(report, name, horizons, context.stateSchema)
  const shape = shapeOf(policy, facts)
  const plan: BatchPlan = {
    shape,
    deletable: (alias, among) => stillExpired(expiry, alias, among),
    locks: mustLock(shape, facts),
    references: referencesOf(shape, facts.references),
    horizon: horizons.byPolicy[name] ?? horizons.slotAt,
    asText: new Map(),
  }
  const partitions = await runPartitions(slice, facts, expiry, plan.horizon)
  const rows = { ...expiry, exceptPartitions: partitions.except }
  const db = context.reader({ statementTimeoutMs: context.config.countLimit })
  let end: PolicyEnd
  try {
    end = await runBatches(slice, plan, (limit, after) =>
      selectExpiredKeys(db, rows, { limit, ...(after === undefined ? {} : { after }) }),
    )
  } catch (error) {
    // A list that takes too long takes too long in every run: the other policies go on, and a human has to see it.
    if (codeOf(error) !== '57014' || context.signal.aborted) throw error
    slice.report({
      key: `not-found-${name}`,
      severity: 'error',
      summary: `finding the expired rows of ${keyOf(policy.relation)} takes longer than countLimit`,
      details: { hint: 'an index on the time column helps; see the findings of preflight' },
    })
    end = { kind: 'finished', setAside: 1 }
  }
  if (end.kind === 'finished' && policy.archive) {
    const orphans = await runOrphans(slice, plan, report)
    if (orphans.kind === 'stopped') return orphans
  }
  if (end.kind === 'stopped') return { ...end, remaining: end.remaining + partitions.left }
  if (partitions.left > 0) return { kind: 'stopped', remaining: partitions.left }
  end = { ...end, setAside: end.setAside + partitions.setAside }
  slice.cursor = withSlotEnded(slice.cursor, name, { expired: end.setAside > 0 })
  const stuck = stuckFinding(name, slice.cursor.stuck[name] ?? 0, context.config)
  if (stuck !== undefined) slice.report(stuck)
  return end
}

/** What a run would do, as far as can be told without doing it. */
async function planSlice(slice: Slice, facts: PreflightFacts, report: PreflightReport, plan: PolicyPlan) {
  const { context, cursor } = slice
  const db = context.reader({ statementTimeoutMs: context.config.countLimit })
  for (const own of plan.runnable) {
    const { policy } = own
    const horizons = horizonsIn(cursor)
    const whole = expiryOf(report, policy.name, horizons, context.stateSchema)
    const horizon = horizons.byPolicy[policy.name] ?? horizons.slotAt
    const expiry = { ...whole, exceptPartitions: await planPartitionWork(slice, facts, whole, horizon) }
    const count = await countExpired(db, expiry)
    const rate = cursor.rates[policy.name]
    const work = forecast({ report: own, count, facts, rate, config: context.config })
    if (work.length === 0) continue
    await new Bystanders(
      slice,
      [policy, ...policy.children].map(({ relation }) => relation),
    ).look()
    if (policy.archive && (await takeStore(slice)).kind === 'refused') continue
    for (const { kind, target, reason } of work) {
      await (kind === 'archive'
        ? context.act({ kind, target, reason, via: 'store' }, () => Promise.resolve())
        : context.act({ kind, target, reason }, () => Promise.resolve()))
    }
  }
  const { findings } = slice
  return plan.skipped === undefined
    ? { outcome: 'succeeded' as const, findings }
    : { outcome: 'skipped' as const, reason: plan.skipped, findings }
}
