/** What a backup is called: made of its slot, so that asking twice is asking for the same. Pure. */
import { createHash } from 'node:crypto'

/** Kubernetes cuts nothing: a longer name is refused. Pods of a Job get a suffix, and labels hold 63 characters. */
const longestName = 63

export interface NamedAttempt {
  readonly slotId: string
  /** From 1 on. */
  readonly attempt: number
  readonly prefix?: string | undefined
}

/** `backup@2026-11-23T03:00:00Z` → `backup-2026-11-23t03-00-00z`, the second attempt with `-2`: a DNS-1123 label. */
export function backupName({ slotId, attempt, prefix }: NamedAttempt): string {
  const whole = `${prefix === undefined ? '' : `${prefix}-`}${slotId}`
  const label = whole
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '')
  const suffix = attempt === 1 ? '' : `-${attempt}`
  if (label.length + suffix.length <= longestName) return label + suffix
  const hash = createHash('sha256').update(whole).digest('hex').slice(0, 10)
  return `${label.slice(0, longestName - suffix.length - 11).replace(/-+$/, '')}-${hash}${suffix}`
}

/** Where dumps lie in the store, relative to its prefix. */
export const dumpPrefix = 'backups/data/'
/** One per good dump, written last: what has none is no backup. */
export const manifestPrefix = 'backups/manifests/'
/** What commands wrote. */
export const logPrefix = 'backups/logs/'

/** `backups/data/backup-2026-11-23t03-00-00z.1f0c9a77.dump`: no attempt ever writes over another's object, not even a copied database's. */
export function dumpObjectName(name: string, id: string): string {
  return `${dumpPrefix}${name}.${id.replaceAll('-', '').slice(0, 8)}.dump`
}

/** @throws RangeError for what is no dump */
export function manifestObjectName(dumpObject: string): string {
  if (!dumpObject.startsWith(dumpPrefix) || !dumpObject.endsWith('.dump'))
    throw new RangeError(`no object of ${dumpPrefix}: ${dumpObject}`)
  return `${manifestPrefix}${dumpObject.slice(dumpPrefix.length, -'.dump'.length)}.json`
}
