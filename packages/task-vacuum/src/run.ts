/** What a run of vacuum does. */
import type { TaskResult } from '@battlescope/scheduler-core'
import { keyOf } from './chosen-relations.js'
import { failureOf, resultOf, type Attempt } from './outcome.js'
import { planVacuum, remember, type Cursor, type Situation, type VacuumPlan } from './plan.js'
import { selectCandidates, type Candidate } from './queries.js'
import { selectHolders, selectOccupied, selectSettings, selectWraparound } from './situation-queries.js'
import { vacuumOne, type Context } from './vacuum-relation.js'
import { VacuumWatch } from './watch.js'

export async function runVacuum(context: Context): Promise<TaskResult> {
  const cursor = (await context.checkpoint.load()) ?? { relations: {} }
  const situation = await readSituation(context)
  const candidates = await selectCandidates(context.db, situation.settings.versionNum)
  const plan = planVacuum(candidates, situation, context.config, cursor)
  const attempts = plan.emergency === undefined ? await vacuumAll(context, plan, situation, candidates, cursor) : []
  publish(context, plan, attempts)
  const failure = failureOf(attempts)
  if (failure !== undefined) throw new NothingVacuumed(failure)
  return resultOf(plan, attempts, situation.settings, context.config)
}

async function readSituation({ db, clock }: Context): Promise<Situation> {
  return {
    settings: await selectSettings(db),
    occupied: await selectOccupied(db),
    wraparound: await selectWraparound(db),
    holders: await selectHolders(db),
    now: clock.now(),
  }
}

/** One relation at a time. What was learned of each is saved at once: a run that is killed later has not learned it in vain. */
async function vacuumAll(
  context: Context,
  plan: VacuumPlan,
  { settings }: Situation,
  candidates: readonly Candidate[],
  before: Cursor,
): Promise<readonly Attempt[]> {
  const existing = new Set(candidates.map(keyOf))
  const watch = new VacuumWatch(context)
  if (plan.actions.length > 0 && !context.dryRun) watch.start()
  const attempts: Attempt[] = []
  let cursor = before
  // Time passes in a run, and in a dry run as the predictions say.
  let plannedMs = 0
  try {
    for (const planned of plan.actions) {
      if (context.budget.exhausted()) break
      const key = keyOf(planned.candidate)
      const remainingMs = context.budget.remainingMs() - plannedMs
      const memory = cursor.relations[key]
      const outcome = await vacuumOne(
        { context, settings, watch, remainingMs },
        planned,
        memory,
        Object.values(cursor.relations),
      )
      attempts.push(outcome.attempt)
      if (outcome.attempt.result === 'no-connection') break
      plannedMs += outcome.predictedMs
      const next = remember(cursor, key, outcome.learned, existing)
      if (JSON.stringify(next) !== JSON.stringify(cursor)) await context.checkpoint.save(next)
      cursor = next
    }
  } finally {
    watch.end()
  }
  return attempts
}

function publish({ metrics }: Context, plan: VacuumPlan, attempts: readonly Attempt[]): void {
  const vacuumed = attempts.filter((attempt) => attempt.result === 'vacuumed')
  metrics.gauge('relations_due', plan.actions.length + plan.heldBack.length + plan.occupied.length - vacuumed.length)
  metrics.gauge('relations_held_back', plan.heldBack.length + vacuumed.filter(({ left }) => left !== undefined).length)
  metrics.gauge('relations_too_large', attempts.filter(({ result }) => result === 'never').length)
  metrics.count('relations_vacuumed', vacuumed.length)
  metrics.count(
    'dead_rows_removed',
    vacuumed.reduce((sum, { deadRowsRemoved }) => sum + deadRowsRemoved, 0),
  )
}

class NothingVacuumed extends Error {
  readonly code = 'not-vacuumed'
}
