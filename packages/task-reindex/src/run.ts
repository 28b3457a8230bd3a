/** What a run of reindex does. */
import { messageOf, type TaskResult } from '@battlescope/scheduler-core'
import { adviceOn } from './advice.js'
import { chosenRelations } from './chosen-relations.js'
import type { IndexFacts } from './facts.js'
import { doubtsFound, findingsOf, type Doubt } from './findings.js'
import { learn } from './learn.js'
import { planReindex, type Candidate, type ReindexPlan } from './plan.js'
import { selectForeignKeys, selectIndexes, selectPreflight, selectStatisticsReset } from './queries.js'
import { isNoDirect, type Context } from './rebuild.js'
import { saveLearning, selectLearned, selectRebuilds } from './records.js'
import { recover } from './recover.js'
import { rebuildAll, type Work } from './work.js'

export async function runReindex(context: Context): Promise<TaskResult> {
  const recovered = await recoverAll(context)
  if (recovered.pending.length > 0) return waiting(recovered)
  return rebuildAndAdvise(context, recovered.doubts)
}

interface Recovered {
  /** What an earlier rebuild left cannot be cleared away now: then nothing new is begun. */
  readonly pending: readonly Doubt[]
  readonly doubts: readonly Doubt[]
}

async function recoverAll(context: Context): Promise<Recovered> {
  const unfinished = (await selectRebuilds(context.db, context.stateSchema)).filter(
    ({ endedAt }) => endedAt === undefined,
  )
  const pending: Doubt[] = []
  const doubts: Doubt[] = []
  for (const one of unfinished) {
    const recovery = await recover(context, one).catch((error: unknown) => {
      // What is left stays until there is a session again, and is told of meanwhile.
      if (!isNoDirect(error)) throw error
      return { pending: messageOf(error), doubt: undefined }
    })
    if (recovery.pending !== undefined) pending.push({ index: one.indexName, reason: recovery.pending })
    if (recovery.doubt !== undefined) doubts.push(recovery.doubt)
  }
  return { pending, doubts }
}

function waiting({ pending, doubts }: Recovered): TaskResult {
  const summary = `an earlier rebuild is not cleared away yet: ${pending.map(({ index, reason }) => `${index} (${reason})`).join(', ')}`
  return {
    outcome: 'partial',
    remaining: pending.length,
    findings: [
      { key: 'leftover', severity: 'warning', summary, details: { indexes: pending } },
      ...doubtsFound(doubts),
    ],
  }
}

async function rebuildAndAdvise(context: Context, doubts: readonly Doubt[]): Promise<TaskResult> {
  const { config, stateSchema } = context
  const indexes = await selectChosen(context)
  const learned = await selectLearned(context.db, stateSchema)
  const rebuilds = await selectRebuilds(context.db, stateSchema)
  const plan = planReindex({ indexes, learned, rebuilds, config, now: context.clock.now() })
  const work = await rebuildAll(context, plan, rebuilds)

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
  // Nothing could be rebuilt. What somebody should look at is there all the same, and its alerts must not resolve.
  if (work.noDirect !== undefined) return { outcome: 'skipped', reason: work.noDirect, findings }
  return work.remaining > 0
    ? { outcome: 'partial', remaining: work.remaining, findings }
    : { outcome: 'succeeded', findings }
}

async function selectChosen(context: Context): Promise<readonly IndexFacts[]> {
  const all = (await selectIndexes(context.db)).map((index) => ({ index, schema: index.schema, name: index.table }))
  return chosenRelations(all, context.config).map(({ index }) => index)
}

async function foreignKeys(context: Context) {
  return (await selectForeignKeys(context.db)).map((key) => ({ ...key, constraint: key.name, name: key.table }))
}

function measure({ metrics }: Context, plan: ReindexPlan, { attempts }: Work): void {
  const rebuilt = attempts.filter(({ result }) => result === 'rebuilt')
  const wasteOf = (candidates: readonly Candidate[]) =>
    candidates.reduce((sum, { wasteBytes }) => sum + Math.round(wasteBytes), 0)
  metrics.gauge('indexes_bloated', plan.candidates.length + plan.resting.length + plan.notOwned.length - rebuilt.length)
  metrics.gauge(
    'index_waste_bytes',
    wasteOf([...plan.candidates, ...plan.resting, ...plan.notOwned]) -
      wasteOf(rebuilt.map(({ candidate }) => candidate)),
  )
  metrics.count('indexes_rebuilt', rebuilt.length)
}
