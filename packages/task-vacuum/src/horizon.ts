/** Whether somebody holds back what VACUUM would remove, and who. Pure. */
import type { Memory } from './admission.js'
import type { VacuumConfig } from './config.js'
import type { Need } from './needs.js'
import type { Candidate } from './queries.js'
import type { Holder, Settings } from './situation-queries.js'
import { freezeMaxAgeOf } from './thresholds.js'

export interface Horizon {
  /** Oldest first. */
  readonly holders: readonly Holder[]
  readonly now: Date
}

/**
 * Who makes a VACUUM useless now; undefined when nobody does.
 *
 * A relation that was vacuumed after the holder's transaction began (or its statement, see {@link Holder.since}) has lost all that may go:
 * whatever died since is younger than that. So is a relation whose last VACUUM of ours met the very same oldest transaction, which tells of slots and standbys, too, whose
 * begin nobody knows. One that was last vacuumed before may still have something to lose, and is vacuumed once.
 */
export function futileBecauseOf(
  need: Need,
  candidate: Candidate,
  { holders, now }: Horizon,
  memory: Memory | undefined,
  settings: Settings,
  config: VacuumConfig,
): Holder | undefined {
  if (need.kind === 'freeze') {
    // Nothing may be frozen that is younger than the oldest transaction.
    const due = config.freezeShare * freezeMaxAgeOf(candidate, settings)
    return holders.find(({ ageTransactions }) => ageTransactions >= due)
  }
  const [oldest] = holders
  if (oldest !== undefined && oldest.xmin === memory?.horizon) return oldest
  const { lastVacuumAt } = candidate
  if (lastVacuumAt === undefined) return undefined
  return holders.find(
    (holder) => holder.since !== undefined && holder.since <= lastVacuumAt && !passes(holder, now, config),
  )
}

/** The oldest that is no passing one: who is to be named where a VACUUM had to leave dead rows behind. */
export function lastingHolder({ holders, now }: Horizon, config: VacuumConfig): Holder | undefined {
  return holders.find((holder) => !passes(holder, now, config))
}

/** Of whom nobody knows since when it holds (slots, standbys), nobody knows that it passes. */
function passes({ since }: Holder, now: Date, { heldBackAfter }: VacuumConfig): boolean {
  return since !== undefined && now.getTime() - since.getTime() < heldBackAfter
}

/** `session 4711 of app (idle in transaction since 02:11:00Z, 35 transactions old)` */
export function holderInWords(holder: Holder): string {
  const { kind, name, user, application, state, since, ageTransactions } = holder
  const who = [
    `${kind} ${name}`,
    user === undefined ? '' : `of ${user}`,
    application === undefined || application === name ? '' : `(${application})`,
  ].filter((part) => part !== '')
  const what = [
    state ?? '',
    since === undefined ? '' : `since ${since.toISOString().replace(/\.\d+Z$/, 'Z')}`,
    `${ageTransactions} transactions old`,
  ].filter((part) => part !== '')
  return `${who.join(' ')}: ${what.join(', ')}`
}

/** What ends it, as SQL; for slots and standbys what to look at. */
export function releaseOf({ kind, name }: Holder): string {
  const literal = `'${name.replaceAll("'", "''")}'`
  if (kind === 'session') return `SELECT pg_terminate_backend(${name});`
  if (kind === 'prepared transaction') return `ROLLBACK PREPARED ${literal}; -- or COMMIT PREPARED`
  if (kind === 'replication slot')
    return `SELECT pg_drop_replication_slot(${literal}); -- when nobody needs it any more`
  return `-- hot_standby_feedback, and the queries on the standby ${name}`
}
