/** What became of a plan: the result of the run, and what a human should know. Pure. */
import type { Finding, TaskResult } from '@battlescope/scheduler-core'
import { adviceFor, longRunFor } from './advice.js'
import { keyOf } from './chosen-relations.js'
import type { VacuumConfig } from './config.js'
import { holderInWords, releaseOf } from './horizon.js'
import type { LeftOut, PlannedVacuum, VacuumPlan } from './plan.js'
import type { Holder, Settings } from './situation-queries.js'

/** What became of one planned relation. */
export type Attempt =
  | {
      readonly planned: PlannedVacuum
      readonly result: 'vacuumed'
      readonly deadRowsRemoved: number
      /** Dead rows that had to stay, and who held them back, where that makes it due again. */
      readonly left?: { readonly deadRows: number; readonly holder: Holder }
    }
  | {
      readonly planned: PlannedVacuum
      /**
       * `not-now`: locked, gone, or not ours, which is no fault of the task. `later`: goes on in the next run. `never`: too large for a run.
       * `no-connection`: no session to do it in.
       */
      readonly result: 'not-now' | 'failed' | 'later' | 'never' | 'no-connection'
      readonly reason: string
      /** What a VACUUM of it takes, as far as is known now. */
      readonly predictedMs?: number
    }

type NotDone = Exclude<Attempt, { readonly result: 'vacuumed' }>

export function resultOf(
  plan: VacuumPlan,
  attempts: readonly Attempt[],
  settings: Settings,
  config: VacuumConfig,
): TaskResult {
  const findings = findingsOf(plan, attempts, settings, config)
  if (plan.emergency !== undefined) {
    return plan.actions.length > 0
      ? { outcome: 'partial', remaining: plan.actions.length, findings }
      : { outcome: 'skipped', reason: plan.emergency, findings }
  }
  const noConnection = notDone(attempts, 'no-connection')[0]
  if (noConnection !== undefined) return { outcome: 'skipped', reason: noConnection.reason, findings }
  const remaining = plan.actions.length - attempts.filter(({ result }) => result !== 'later').length
  if (remaining > 0) return { outcome: 'partial', remaining, findings }
  const leftOut = [
    ...notDone(attempts, 'not-now', 'failed', 'never').map(({ planned, reason }) => worded(planned, reason)),
    ...[...plan.occupied, ...plan.leftToAutovacuum].map((relation) => worded(relation, relation.reason)),
    ...plan.heldBack.map(({ planned, holder }) => worded(planned, `held back by ${holderInWords(holder)}`)),
  ]
  if (leftOut.length > 0 && !attempts.some(({ result }) => result === 'vacuumed'))
    return { outcome: 'skipped', reason: `nothing could be vacuumed: ${leftOut.join(', ')}`, findings }
  if (leftOut.length + attempts.length + plan.quiet.length > 0) return { outcome: 'succeeded', findings }
  const reason =
    plan.notPermitted.length > 0 ? 'no relation may be vacuumed by this role' : 'none of the relations exists'
  return { outcome: 'skipped', reason, findings }
}

/** Why the run as a whole failed: nothing was vacuumed, and at least one relation had an error of its own. Undefined when it did not. */
export function failureOf(attempts: readonly Attempt[]): string | undefined {
  const faults = notDone(attempts, 'failed')
  const tolerable = attempts.some(({ result }) => result === 'vacuumed' || result === 'later')
  if (faults.length === 0 || tolerable) return undefined
  return `nothing was vacuumed: ${faults.map(({ planned, reason }) => worded(planned, reason)).join(', ')}`
}

function notDone(attempts: readonly Attempt[], ...results: readonly NotDone['result'][]): readonly NotDone[] {
  return attempts.filter((attempt): attempt is NotDone => (results as readonly string[]).includes(attempt.result))
}

function worded({ candidate }: Pick<LeftOut, 'candidate'>, reason: string): string {
  return `${keyOf(candidate)} (${reason})`
}

function findingsOf(
  plan: VacuumPlan,
  attempts: readonly Attempt[],
  settings: Settings,
  config: VacuumConfig,
): readonly Finding[] {
  return [
    ...emergency(plan),
    ...noConnection(attempts),
    ...notPermitted(plan),
    ...missing(plan, config),
    ...heldBack(plan, attempts),
    ...tooLarge(attempts, settings, config),
    ...failed(attempts),
    ...notVacuumed(attempts),
    ...occupied(plan),
  ]
}

function emergency({ emergency: summary }: VacuumPlan): readonly Finding[] {
  if (summary === undefined) return []
  return [{ key: 'wraparound', severity: 'warning', summary: `vacuum stands aside: ${summary}` }]
}

function noConnection(attempts: readonly Attempt[]): readonly Finding[] {
  const [first] = notDone(attempts, 'no-connection')
  return first === undefined
    ? []
    : [{ key: 'no-direct-connection', severity: 'warning', summary: `nothing can be vacuumed: ${first.reason}` }]
}

function notPermitted(plan: VacuumPlan): readonly Finding[] {
  const relations = plan.notPermitted.map(keyOf)
  if (relations.length === 0) return []
  return [
    {
      key: 'not-permitted',
      severity: 'warning',
      summary: `not ours to vacuum: ${relations.join(', ')}`,
      details: {
        relations,
        hint: 'make the role owner (PostgreSQL 15, 16), or GRANT MAINTAIN (17 and later), and GRANT USAGE on the schema; `doctor` prints the SQL',
      },
    },
  ]
}

/** The default list names BattleScope's tables, which other databases rightly lack. */
function missing(plan: VacuumPlan, config: VacuumConfig): readonly Finding[] {
  if (plan.missing.length === 0 || plan.missing.length === config.relations.length) return []
  const summary = `do not exist: ${plan.missing.join(', ')}`
  return [{ key: 'missing', severity: 'info', summary, details: { relations: plan.missing } }]
}

function heldBack(plan: VacuumPlan, attempts: readonly Attempt[]): readonly Finding[] {
  const cases = [
    ...plan.heldBack.map(({ planned, holder }) => ({
      relation: keyOf(planned.candidate),
      holder,
      deadRows: planned.candidate.deadRows,
    })),
    ...attempts.flatMap((attempt) =>
      attempt.result === 'vacuumed' && attempt.left !== undefined
        ? [{ relation: keyOf(attempt.planned.candidate), ...attempt.left }]
        : [],
    ),
  ]
  const [first] = cases
  if (first === undefined) return []
  const holders = [...new Map(cases.map(({ holder }) => [`${holder.kind} ${holder.name}`, holder])).values()]
  return [
    {
      key: 'held-back',
      severity: 'warning',
      summary: `dead rows must stay: ${holders.map(holderInWords).join('; ')}`,
      details: {
        relations: cases.map(({ relation, deadRows }) => ({ relation, deadRows })),
        holders: holders.map((holder) => ({
          kind: holder.kind,
          name: holder.name,
          user: holder.user,
          application: holder.application,
          state: holder.state,
          since: holder.since?.toISOString(),
          ageTransactions: holder.ageTransactions,
          release: releaseOf(holder),
        })),
      },
    },
  ]
}

function tooLarge(attempts: readonly Attempt[], settings: Settings, config: VacuumConfig): readonly Finding[] {
  const cases = notDone(attempts, 'never')
  if (cases.length === 0) return []
  return [
    {
      key: 'too-large',
      severity: 'warning',
      summary: `left to autovacuum: ${cases.map(({ planned, reason }) => worded(planned, reason)).join(', ')}`,
      details: {
        hint: `give it a run of its own: ${longRunFor(Math.max(...cases.map(({ predictedMs = 0 }) => predictedMs)))} (component long-run-vacuum), or let autovacuum keep up with it by the SQL`,
        relations: cases.map(({ planned, reason }) => ({
          relation: keyOf(planned.candidate),
          need: planned.need.reason,
          reason,
          ...adviceFor(planned, settings, config),
        })),
      },
    },
  ]
}

/** Errors of its own: not for the next night to get right, as a lock is. */
function failed(attempts: readonly Attempt[]): readonly Finding[] {
  const cases = notDone(attempts, 'failed')
  if (cases.length === 0) return []
  return [
    {
      key: 'failed',
      severity: 'error',
      summary: `VACUUM fails: ${cases.map(({ planned, reason }) => worded(planned, reason)).join(', ')}`,
      details: { relations: cases.map(({ planned, reason }) => ({ relation: keyOf(planned.candidate), reason })) },
    },
  ]
}

function notVacuumed(attempts: readonly Attempt[]): readonly Finding[] {
  const cases = notDone(attempts, 'not-now')
  if (cases.length === 0) return []
  return [
    {
      key: 'not-vacuumed',
      severity: 'warning',
      summary: `not vacuumed: ${cases.map(({ planned, reason }) => worded(planned, reason)).join(', ')}`,
      details: { relations: cases.map(({ planned, reason }) => ({ relation: keyOf(planned.candidate), reason })) },
    },
  ]
}

function occupied(plan: VacuumPlan): readonly Finding[] {
  const cases = [...plan.leftToAutovacuum, ...plan.occupied]
  if (cases.length === 0) return []
  return [
    {
      key: 'occupied',
      severity: 'info',
      summary: `left alone: ${cases.map((relation) => worded(relation, relation.reason)).join(', ')}`,
      details: { relations: cases.map(({ candidate, reason }) => ({ relation: keyOf(candidate), reason })) },
    },
  ]
}
