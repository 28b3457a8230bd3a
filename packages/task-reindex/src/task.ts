import { chosenRelations } from './chosen-relations.js'
import { codeOf, defineTask, messageOf, type Task, type TaskResult } from '@battlescope/scheduler-core'
import { adviceOn } from './advice.js'
import { reindexConfig } from './config.js'
import { relationOf, type IndexFacts, type PreflightFacts, type Rebuild } from './facts.js'
import { findingsOf, type Attempt, type Doubt } from './findings.js'
import { learn } from './learn.js'
import { contradicts, planReindex, predictMs, type Candidate, type ReindexPlan } from './plan.js'
import { objection } from './preflight.js'
import {
  measureIndex,
  selectForeignKeys,
  selectIndexes,
  selectMeasureSchema,
  selectPreflight,
  selectStatisticsReset,
} from './queries.js'
import { rebuild, type Context } from './rebuild.js'
import { saveLearning, selectLearned, selectRebuilds } from './records.js'
import { recover } from './recover.js'

/** Rebuilds indexes that grew out of their shape, one after another, and reports indexes that somebody should look at. */
export const reindex: Task<typeof reindexConfig> = defineTask({
  apiVersion: 1,
  name: 'reindex',
  description: 'rebuilds bloated indexes without blocking, and reports invalid, duplicate, unused and missing ones',
  // Sunday morning, two hours.
  schedule: { kind: 'cron', expression: '0 5 * * 0', windowMs: 7_200_000 },
  timeoutMs: 48_000,
  heavy: true,
  configSchema: reindexConfig,
  requires: ({ relations, exclude }) => ({
    direct: true,
    relations: relations.map((relation) => ({ relation, except: exclude, privileges: ['owner'] })),
  }),
  run: async (context) => {
    const recovered = await recoverAll(context)
    if (recovered.noDirect !== undefined) return { outcome: 'skipped', reason: recovered.noDirect }
    if (recovered.pending.length > 0) return waiting(recovered.pending)
    return rebuildAndAdvise(context, recovered.doubts)
  },
})

interface Recovered {
  /** What an earlier rebuild left cannot be cleared away now: then nothing new is begun. */
  readonly pending: readonly Doubt[]
  readonly doubts: readonly Doubt[]
  readonly noDirect?: string
}

async function recoverAll(context: Context): Promise<Recovered> {
  const unfinished = (await selectRebuilds(context.db, context.stateSchema)).filter(({ endedAt }) => endedAt === undefined)
  const pending: Doubt[] = []
  const doubts: Doubt[] = []
  try {
    for (const one of unfinished) {
      const recovery = await recover(context, one)
      if (recovery.pending !== undefined) pending.push({ index: one.indexName, reason: recovery.pending })
      if (recovery.doubt !== undefined) doubts.push(recovery.doubt)
    }
  } catch (error) {
    if (!isNoDirect(error)) throw error
    return { pending, doubts, noDirect: messageOf(error) }
  }
  return { pending, doubts }
}

function waiting(pending: readonly Doubt[]): TaskResult {
  const summary = `an earlier rebuild is not cleared away yet: ${pending.map(({ index, reason }) => `${index} (${reason})`).join(', ')}`
  return {
    outcome: 'partial',
    remaining: pending.length,
    findings: [{ key: 'leftover', severity: 'warning', summary, details: { indexes: pending } }],
  }
}

async function rebuildAndAdvise(context: Context, doubts: readonly Doubt[]): Promise<TaskResult> {
  const { config, stateSchema } = context
  const indexes = await selectChosen(context)
  const learned = await selectLearned(context.db, stateSchema)
  const rebuilds = await selectRebuilds(context.db, stateSchema)
  const plan = planReindex({ indexes, learned, rebuilds, config, now: context.clock.now() })
  const work = await rebuildAll(context, plan, rebuilds)
  if (work.noDirect !== undefined) return { outcome: 'skipped', reason: work.noDirect }

  const after = work.begun ? await selectChosen(context) : indexes
  const learning = learn(after, learned, context.clock.now())
  if (learning.learned.length + learning.forgotten.length > 0) {
    const rows = learning.learned.length + learning.forgotten.length
    const reason = `${learning.learned.length} sizes to learn, ${learning.forgotten.length} to forget`
    await context.act({ kind: 'learn-sizes', target: 'reindex_index', reason }, async (fenced) => {
      if (stateSchema !== undefined) await saveLearning(fenced.db, stateSchema, learning)
      return { rows }
    })
  }
  const advice = adviceOn(
    {
      indexes: after.filter((index) => !work.ours.has(index.oid)),
      foreignKeys: chosenRelations(await foreignKeys(context), config),
      learned,
      statisticsResetAt: await selectStatisticsReset(context.db),
      replicas: (await selectPreflight(context.db, 0)).replicas.map(({ name }) => name),
      now: context.clock.now(),
    },
    config,
  )
  measure(context, plan, work)
  const findings = [...findingsOf(plan, work.attempts, [...doubts, ...work.doubts]), ...advice]
  return work.remaining > 0 ? { outcome: 'partial', remaining: work.remaining, findings } : { outcome: 'succeeded', findings }
}

async function selectChosen(context: Context): Promise<readonly IndexFacts[]> {
  const all = (await selectIndexes(context.db)).map((index) => ({ index, schema: index.schema, name: index.table }))
  return chosenRelations(all, context.config).map(({ index }) => index)
}

async function foreignKeys(context: Context) {
  return (await selectForeignKeys(context.db)).map((key) => ({ ...key, constraint: key.name, name: key.table }))
}

interface Work {
  readonly attempts: readonly Attempt[]
  readonly doubts: readonly Doubt[]
  /** Some index is another one now. */
  readonly begun: boolean
  /** Invalid indexes that are ours to drop. */
  readonly ours: ReadonlySet<number>
  /** What the next run of this slot goes on with. */
  readonly remaining: number
  readonly noDirect?: string
}

/** One after another, worst first, until the budget or the number is used up. */
async function rebuildAll(context: Context, plan: ReindexPlan, rebuilds: readonly Rebuild[]): Promise<Work> {
  const attempts: Attempt[] = []
  const doubts: Doubt[] = []
  const ours = new Set<number>()
  const measureSchema = plan.candidates.length === 0 ? undefined : await selectMeasureSchema(context.db)
  let begun = 0
  let left = 0
  for (const [at, candidate] of plan.candidates.entries()) {
    if (context.budget.exhausted() || begun >= context.config.indexesPerRun) {
      left = plan.candidates.length - at
      break
    }
    const predictedMs = predictMs(candidate.index, rebuilds, context.config)
    const facts = await selectPreflight(context.db, candidate.index.tableOid)
    const refusal = refusalOf(context, { candidate, predictedMs, facts, first: begun === 0 })
    if (refusal !== undefined) {
      attempts.push(refusal.attempt)
      if (refusal.endsRun) {
        left = plan.candidates.length - at - 1
        break
      }
      continue
    }
    const contradiction = await contradictionOf(context, measureSchema, candidate)
    if (contradiction !== undefined) {
      attempts.push({ candidate, result: 'contradicted', reason: contradiction })
      continue
    }
    context.progress({ done: at, total: plan.candidates.length, unit: 'indexes', current: candidate.index.name })
    begun += 1
    const startedAt = context.clock.monotonicMs()
    try {
      const { id, failure } = await rebuild(context, candidate, predictedMs)
      const durationMs = Math.round(context.clock.monotonicMs() - startedAt)
      attempts.push({ candidate, result: failure === undefined ? 'rebuilt' : 'not-ended', ...(failure === undefined ? {} : { reason: failure.reason }) })
      if (id === undefined) continue
      const written = (await selectRebuilds(context.db, context.stateSchema)).find((one) => one.id === id)
      if (written === undefined) continue
      const { pending, doubt } = await recover(context, written, durationMs)
      if (doubt !== undefined) doubts.push(doubt)
      if (pending === undefined) continue
      for (const oid of [written.indexOid, written.newIndexOid]) if (oid !== undefined) ours.add(oid)
      left = plan.candidates.length - at
      break
    } catch (error) {
      if (!isNoDirect(error)) throw error
      return { attempts, doubts, begun: false, ours, remaining: 0, noDirect: messageOf(error) }
    }
  }
  // What is waited for may be gone in the next run; what failed, or is too large, would be the same again.
  const notNow = attempts.filter(({ result }) => result === 'not-now').length
  return { attempts, doubts, begun: begun > 0, ours, remaining: left + notNow }
}

interface Admission {
  readonly candidate: Candidate
  readonly predictedMs: number
  readonly facts: PreflightFacts
  /** Nothing was begun in this run yet. */
  readonly first: boolean
}

function refusalOf(
  context: Context,
  { candidate, predictedMs, facts, first }: Admission,
): { readonly attempt: Attempt; readonly endsRun: boolean } | undefined {
  const remainingMs = context.budget.remainingMs()
  context.logger.debug(
    { event: 'reindex-admission', index: candidate.index.name, relation: relationOf(candidate.index), predictedMs, remainingMs },
    'admission of a rebuild',
  )
  if (predictedMs > remainingMs) {
    // What does not fit into a run that has done nothing yet fits into none.
    if (first) return { attempt: { candidate, result: 'too-large', predictedMs }, endsRun: false }
    return { attempt: { candidate, result: 'not-now', reason: 'no time left in this run' }, endsRun: false }
  }
  const against = objection(facts, candidate, context.config)
  if (against === undefined) return undefined
  return { attempt: { candidate, result: 'not-now', reason: against.reason }, endsRun: against.concerns === 'server' }
}

async function contradictionOf(
  context: Context,
  measureSchema: string | undefined,
  candidate: Candidate,
): Promise<string | undefined> {
  const { index } = candidate
  if (measureSchema === undefined || index.accessMethod !== 'btree' || index.sizeBytes > context.config.confirmUpTo) return undefined
  const measured = await measureIndex(context.db, measureSchema, index.oid)
  return measured === undefined ? undefined : contradicts(measured, candidate)
}

function measure({ metrics }: Context, plan: ReindexPlan, { attempts }: Work): void {
  const rebuilt = attempts.filter(({ result }) => result === 'rebuilt')
  const wasteOf = (candidates: readonly Candidate[]) => candidates.reduce((sum, { wasteBytes }) => sum + Math.round(wasteBytes), 0)
  metrics.gauge('indexes_bloated', plan.candidates.length + plan.resting.length + plan.notOwned.length - rebuilt.length)
  metrics.gauge('index_waste_bytes', wasteOf([...plan.candidates, ...plan.resting, ...plan.notOwned]) - wasteOf(rebuilt.map(({ candidate }) => candidate)))
  metrics.count('indexes_rebuilt', rebuilt.length)
}

function isNoDirect(error: unknown): boolean {
  return codeOf(error) === 'no-direct-connection'
}
