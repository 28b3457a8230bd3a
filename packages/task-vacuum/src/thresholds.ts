/** When autovacuum would act on a heap: the server's settings, and over them its own storage parameters. Pure. */
import type { Candidate, Heap } from './queries.js'
import type { Settings } from './situation-queries.js'

export interface Thresholds {
  /** Whether autovacuum looks after it at all. To prevent wraparound it does so even when switched off. */
  readonly autovacuum: boolean
  readonly deadRows: number
  /** Undefined: inserts alone never count (a threshold of -1). */
  readonly insertedRows: number | undefined
  readonly changedRows: number
}

/** What PostgreSQL reads as false: storage parameters are kept as somebody wrote them, and may be cut short. */
const isOff = /^(f(a(l(se?)?)?)?|off?|no?|0)$/i

/** https://www.postgresql.org/docs/current/routine-vacuuming.html#AUTOVACUUM */
export function thresholdsOf(heap: Heap, { values }: Settings): Thresholds {
  const own = heap.parameters
  const number = (name: string) => Number(own[name] ?? values[name] ?? NaN)
  const rows = heap.rows ?? 0
  const over = (base: string, scale: string) => number(base) + number(scale) * rows
  // From PostgreSQL 18 on; -1 is no limit.
  const most = number('autovacuum_vacuum_max_threshold')
  const dead = over('autovacuum_vacuum_threshold', 'autovacuum_vacuum_scale_factor')
  return {
    autovacuum: values['autovacuum'] === 'on' && !isOff.test(own['autovacuum_enabled'] ?? 'true'),
    deadRows: most >= 0 ? Math.min(dead, most) : dead,
    insertedRows:
      number('autovacuum_vacuum_insert_threshold') < 0
        ? undefined
        : over('autovacuum_vacuum_insert_threshold', 'autovacuum_vacuum_insert_scale_factor'),
    changedRows: over('autovacuum_analyze_threshold', 'autovacuum_analyze_scale_factor'),
  }
}

/** The storage parameters that count for a TOAST table: its own, or where it has none at all, those of its relation. */
export function toastOf(candidate: Candidate): Heap | undefined {
  const { toast, parameters } = candidate
  return toast && (Object.keys(toast.parameters).length > 0 ? toast : { ...toast, parameters })
}

/** How much of what autovacuum_freeze_max_age allows is used up, by transactions or by multixacts: at 1 autovacuum begins by itself. */
export function frozenShareOf(candidate: Candidate, settings: Settings): number {
  return Math.max(
    candidate.frozenAge / freezeMaxAgeOf(candidate, settings),
    candidate.multixactAge / multixactFreezeMaxAgeOf(candidate, settings),
  )
}

/**
 * Whether autovacuum takes it to prevent wraparound. Where it is switched off, the server still starts it, but only when a database is past the
 * server's own limit: that of a storage parameter may have been passed long before.
 */
export function autovacuumMustFreeze(candidate: Candidate, settings: Settings): boolean {
  const by = settings.values['autovacuum'] === 'on' ? candidate : { ...candidate, parameters: {} }
  return frozenShareOf(by, settings) >= 1
}

export function freezeMaxAgeOf(candidate: Candidate, settings: Settings): number {
  return limitOf('autovacuum_freeze_max_age', candidate, settings)
}

export function multixactFreezeMaxAgeOf(candidate: Candidate, settings: Settings): number {
  return limitOf('autovacuum_multixact_freeze_max_age', candidate, settings)
}

/** A storage parameter can only make it sooner. */
function limitOf(name: string, { parameters }: Candidate, { values }: Settings): number {
  return Math.min(Number(values[name]), Number(parameters[name] ?? Infinity))
}
