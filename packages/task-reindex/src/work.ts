/** The rebuilds of one run: each admitted by time, preflight and pgstattuple, one after another. */
import { codeOf, messageOf } from '@battlescope/scheduler-core'
import { relationOf, type PreflightFacts, type Rebuild } from './facts.js'
import type { Attempt, Doubt } from './findings.js'
import { admit, contradicts, predictMs, type Candidate, type ReindexPlan } from './plan.js'
import { objection } from './preflight.js'
import { measureIndex, selectMeasureSchema, selectPreflight } from './queries.js'
import { isNoDirect, rebuild, type Context } from './rebuild.js'
import { selectRebuilds } from './records.js'
import { recover, type Recovery } from './recover.js'

export interface Work {
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
export async function rebuildAll(context: Context, plan: ReindexPlan, rebuilds: readonly Rebuild[]): Promise<Work> {
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
    const refusal = refusalOf(context, { candidate, predictedMs, facts })
    if (refusal !== undefined) {
      attempts.push(refusal.attempt)
      if (refusal.endsRun) {
        left = plan.candidates.length - at - 1
        break
      }
      continue
    }
    const measuringSince = context.clock.monotonicMs()
    const contradiction = await contradictionOf(context, measureSchema, candidate)
    if (contradiction !== undefined) {
      attempts.push({ candidate, result: 'contradicted', reason: contradiction })
      continue
    }
    // What was read took its time, of which the rebuild may need all.
    if (predictedMs > context.budget.remainingMs()) {
      const tookMs = Math.round(context.clock.monotonicMs() - measuringSince)
      const reason = `no time left in this run, ${tookMs} ms of which pgstattuple took`
      attempts.push({ candidate, result: 'not-now', reason })
      continue
    }
    context.progress({ done: at, total: plan.candidates.length, unit: 'indexes', current: candidate.index.name })
    begun += 1
    const startedAt = context.clock.monotonicMs()
    try {
      const { id, failure } = await rebuild(context, candidate, predictedMs)
      const durationMs = Math.round(context.clock.monotonicMs() - startedAt)
      if (id === undefined) {
        // Nothing was announced: in a dry run, or because the index is gone or another one.
        attempts.push(
          failure === undefined
            ? { candidate, result: 'rebuilt' }
            : { candidate, result: 'not-now', reason: failure.reason },
        )
        continue
      }
      const written = (await selectRebuilds(context.db, context.stateSchema)).find((one) => one.id === id)
      const { pending, doubt, outcome }: Recovery =
        written === undefined ? {} : await recover(context, written, durationMs)
      // The last wait is after the swap: a statement that fails there has done its work, and the new index serves.
      attempts.push(
        failure === undefined || outcome === 'rebuilt'
          ? { candidate, result: 'rebuilt' }
          : { candidate, result: 'not-ended', reason: failure.reason },
      )
      if (written === undefined) continue
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

/** Share of what is left of the budget that reading one index may take. */
const measureShare = 0.25
/** It took too long, somebody holds the index, it is gone, or pgstattuple did not understand it. */
const couldNotBeAsked = /^(57014|55P03|42P01|42704|XX)/

interface Applicant {
  readonly candidate: Candidate
  readonly predictedMs: number
  readonly facts: PreflightFacts
}

function refusalOf(
  context: Context,
  { candidate, predictedMs, facts }: Applicant,
): { readonly attempt: Attempt; readonly endsRun: boolean } | undefined {
  const remainingMs = context.budget.remainingMs()
  const { totalMs } = context.budget
  const admission = admit(predictedMs, { remainingMs, totalMs })
  context.logger.debug(
    {
      event: 'reindex-admission',
      index: candidate.index.name,
      relation: relationOf(candidate.index),
      predictedMs,
      remainingMs,
      totalMs,
      admission,
    },
    'admission of a rebuild',
  )
  if (admission === 'too-large') return { attempt: { candidate, result: 'too-large', predictedMs }, endsRun: false }
  if (admission === 'no-time-now') {
    const reason = `no time left in this run: it would take about ${inSeconds(predictedMs)}, and ${inSeconds(remainingMs)} are left`
    return { attempt: { candidate, result: 'not-now', reason }, endsRun: false }
  }
  const against = objection(facts, candidate, context.config)
  if (against === undefined) return undefined
  return { attempt: { candidate, result: 'not-now', reason: against.reason }, endsRun: against.concerns === 'server' }
}

function inSeconds(durationMs: number): string {
  return `${(durationMs / 1000).toFixed(1)} s`
}

async function contradictionOf(
  context: Context,
  measureSchema: string | undefined,
  candidate: Candidate,
): Promise<string | undefined> {
  const { index } = candidate
  if (measureSchema === undefined || index.accessMethod !== 'btree' || index.sizeBytes > context.config.confirmUpTo)
    return undefined
  const statementTimeoutMs = Math.floor(context.budget.remainingMs() * measureShare)
  if (statementTimeoutMs < 1) return undefined
  try {
    const measured = await measureIndex(context.reader({ statementTimeoutMs }), measureSchema, index.oid)
    return measured === undefined ? undefined : contradicts(measured, candidate)
  } catch (error) {
    if (context.signal.aborted || !couldNotBeAsked.test(codeOf(error) ?? '')) throw error
    // Then growth decides, as it does without pgstattuple.
    context.logger.warn(
      { event: 'index-not-measured', index: index.name, error: messageOf(error, 200) },
      'pgstattuple could not be asked',
    )
    return undefined
  }
}
