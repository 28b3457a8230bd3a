/** Which relations to vacuum, most urgent first, and why the others not. Pure. */
import type { Memory } from './admission.js'
import { chosenRelations, keyOf, missingNames } from './chosen-relations.js'
import type { VacuumConfig } from './config.js'
import { futileBecauseOf, type Horizon } from './horizon.js'
import { needOf, wantsAnalyze, type Need } from './needs.js'
import type { Candidate } from './queries.js'
import type { Holder, Occupied, Settings, Wraparound } from './situation-queries.js'
import { autovacuumMustFreeze, freezeMaxAgeOf, multixactFreezeMaxAgeOf } from './thresholds.js'

/** What one run leaves for the next, by relation as {@link keyOf} writes it. */
export interface Cursor {
  readonly relations: Readonly<Record<string, Memory>>
}

export interface Situation extends Horizon {
  readonly settings: Settings
  readonly occupied: readonly Occupied[]
  readonly wraparound: Wraparound
}

export interface PlannedVacuum {
  readonly candidate: Candidate
  readonly need: Need
  readonly analyze: boolean
  /** Freeze what is older than so many transactions; undefined when the need is another. */
  readonly freezeOlderThan: number | undefined
}

export interface LeftOut {
  readonly candidate: Candidate
  readonly reason: string
}

export interface VacuumPlan {
  readonly actions: readonly PlannedVacuum[]
  readonly heldBack: readonly { readonly planned: PlannedVacuum; readonly holder: Holder }[]
  /** Somebody else is at work on them. */
  readonly occupied: readonly LeftOut[]
  /** So old that autovacuum takes them by itself, at once. */
  readonly leftToAutovacuum: readonly LeftOut[]
  readonly quiet: readonly Candidate[]
  readonly notPermitted: readonly Candidate[]
  /** Configured names that mean no relation. */
  readonly missing: readonly string[]
  /** Why nothing at all is done in this run. */
  readonly emergency: string | undefined
}

export function planVacuum(
  candidates: readonly Candidate[],
  situation: Situation,
  config: VacuumConfig,
  cursor: Cursor,
): VacuumPlan {
  const chosen = chosenRelations(candidates, config)
  const { settings } = situation
  const actions: PlannedVacuum[] = []
  const heldBack: { planned: PlannedVacuum; holder: Holder }[] = []
  const occupied: LeftOut[] = []
  const leftToAutovacuum: LeftOut[] = []
  const quiet: Candidate[] = []
  for (const candidate of chosen.filter(({ permitted }) => permitted)) {
    const need = needOf(candidate, settings, config)
    if (need === undefined) {
      quiet.push(candidate)
      continue
    }
    const planned = plannedOf(candidate, need, settings, config)
    const by = occupantOf(candidate, situation.occupied)
    const holder = futileBecauseOf(need, candidate, situation, cursor.relations[keyOf(candidate)], settings, config)
    if (autovacuumMustFreeze(candidate, settings))
      leftToAutovacuum.push({ candidate, reason: 'autovacuum takes it by itself, to prevent wraparound' })
    else if (by !== undefined) occupied.push({ candidate, reason: occupiedBecause[by] })
    else if (holder !== undefined) heldBack.push({ planned, holder })
    else actions.push(planned)
  }
  return {
    actions: actions.sort(mostUrgentFirst),
    heldBack,
    occupied,
    leftToAutovacuum,
    quiet,
    notPermitted: chosen.filter(({ permitted }) => !permitted),
    missing: missingNames(config.relations, candidates),
    emergency: emergencyOf(situation),
  }
}

/** A VACUUM of ours would take I/O from the one that keeps the database from stopping. */
function emergencyOf({ wraparound, settings }: Situation): string | undefined {
  const [worker] = wraparound.workers
  if (worker !== undefined) return `${worker} is running`
  const failsafeAge = Number(settings.values['vacuum_failsafe_age'])
  if (wraparound.databaseAge >= failsafeAge)
    return `the database is ${wraparound.databaseAge} transactions old, and its failsafe begins at ${failsafeAge}`
  return undefined
}

function plannedOf(candidate: Candidate, need: Need, settings: Settings, config: VacuumConfig): PlannedVacuum {
  // Half of what made it due, or it would be due again at once where a storage parameter makes freezing more frequent than the server's own age.
  const limit = Math.min(freezeMaxAgeOf(candidate, settings), multixactFreezeMaxAgeOf(candidate, settings))
  const half = Math.floor((config.freezeShare * limit) / 2)
  const freezeOlderThan =
    need.kind === 'freeze' ? Math.min(half, Number(settings.values['vacuum_freeze_min_age'])) : undefined
  return { candidate, need, analyze: wantsAnalyze(candidate, settings, config), freezeOlderThan }
}

const occupiedBecause: Readonly<Record<Occupied['by'], string>> = {
  autovacuum: 'autovacuum is at work on it',
  vacuum: 'somebody else is vacuuming it',
  'another session': 'is locked by another session',
}

function occupantOf({ oid, toast }: Candidate, occupied: readonly Occupied[]): Occupied['by'] | undefined {
  return occupied.find((relation) => relation.oid === oid || relation.oid === toast?.oid)?.by
}

/** Freezing first: what waits too long there is done at a time that nobody chose. */
function mostUrgentFirst(a: PlannedVacuum, b: PlannedVacuum): number {
  const freezes = ({ need }: PlannedVacuum) => Number(need.kind === 'freeze')
  return (
    freezes(b) - freezes(a) || b.need.urgency - a.need.urgency || (keyOf(a.candidate) < keyOf(b.candidate) ? -1 : 1)
  )
}

/** The cursor with what was learned of one relation. What is known of relations that are gone is forgotten. */
export function remember(cursor: Cursor, key: string, learned: Memory, existing: ReadonlySet<string>): Cursor {
  const entries = Object.entries({ ...cursor.relations, [key]: learned }).filter(([name]) => existing.has(name))
  return { relations: Object.fromEntries(entries) }
}
