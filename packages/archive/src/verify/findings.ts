/** What a verification can find. */

/**
 * - `manifest-missing`: the catalog has a batch whose manifest is not in the store.
 * - `manifest-invalid`: it cannot be read.
 * - `manifest-differs`: it says something else than the catalog.
 * - `manifest-behind`: it does not say yet what the catalog knows; the next run of retention or restore writes it again.
 * - `manifest-ahead`: it says that rows were deleted, and the catalog does not: another database did it, or this one is a copy.
 * - `manifest-unknown`: the catalog has no such batch.
 * - `object-missing`, `object-differs`: the object is not there, or is not what was archived.
 * - `object-unreadable`: the store fails whenever it is asked for it.
 * - `object-stray`: it belongs to no batch whose rows left the database, so nobody's rows are in it alone.
 * - `object-left`: its rows were restored, and it is still among those that were not.
 * - `batch-unfinished`: somebody began it more than a day ago; the next run of retention discards it.
 * - `upload-unfinished`: the same of uploads to the store, which cost space and are no objects.
 */
export type ArchiveFindingKind =
  | 'manifest-missing'
  | 'manifest-invalid'
  | 'manifest-differs'
  | 'manifest-behind'
  | 'manifest-ahead'
  | 'manifest-unknown'
  | 'object-missing'
  | 'object-differs'
  | 'object-unreadable'
  | 'object-stray'
  | 'object-left'
  | 'batch-unfinished'
  | 'upload-unfinished'

export interface ArchiveFinding {
  readonly kind: ArchiveFindingKind
  /** `error`: rows may be lost. `warning`: nothing is lost, and something should not be so. */
  readonly severity: 'error' | 'warning'
  /** Of the object or manifest in the store; of an unfinished batch its id, of unfinished uploads their prefix. */
  readonly name: string
  /** One line. */
  readonly summary: string
}

const lossless: ReadonlySet<ArchiveFindingKind> = new Set([
  'manifest-behind',
  'object-stray',
  'object-left',
  'batch-unfinished',
  'upload-unfinished',
])

export function finding(kind: ArchiveFindingKind, name: string, summary: string): ArchiveFinding {
  return { kind, severity: lossless.has(kind) ? 'warning' : 'error', name, summary }
}
