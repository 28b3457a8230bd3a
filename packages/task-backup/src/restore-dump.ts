/** Brings a dump into a database: first read to its end and compared, then restored in one transaction. */
import { selectIdentity, type DatabaseIdentity } from '@battlescope/archive'
import type { StoreReader } from '@battlescope/cold-storage'
import { sql, type Kysely } from 'kysely'
import { checkDump, DumpUnfit, Meter } from './check-dump.js'
import type { DumpManifest } from './manifest.js'
import type { ProgramRunner } from './programs.js'

export interface TargetFacts {
  readonly identity: DatabaseIdentity
  /** Relations that are neither PostgreSQL's nor an extension's. */
  readonly relations: number
}

export async function selectTarget(db: Kysely<unknown>): Promise<TargetFacts> {
  const { rows } = await sql<{ relations: string }>`
    SELECT count(*) AS relations FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
        WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')`.execute(db)
  return { identity: await selectIdentity(db), relations: Number(rows[0]?.relations ?? 0) }
}

export interface RestoreFlags {
  /** Into a database that has relations already. */
  readonly intoNonEmpty: boolean
  /** Into the very database that the dump is of. */
  readonly intoSource: boolean
}

/** Pure: what speaks against it. Empty: go. */
export function restoreProblems(
  { database }: Pick<DumpManifest, 'database'>,
  target: TargetFacts,
  flags: RestoreFlags,
): readonly string[] {
  const { identity, relations } = target
  const isSource = identity.systemIdentifier === database.systemIdentifier && identity.database === database.database
  return [
    ...(isSource && !flags.intoSource
      ? [
          `the target is the database that the dump is of (${database.database}, system ${database.systemIdentifier}): confirm with --into-source`,
        ]
      : []),
    ...(relations > 0 && !flags.intoNonEmpty
      ? [`the target has ${relations} relations already: make an empty database, or confirm with --into-non-empty`]
      : []),
  ]
}

/**
 * @param programs opened for the target
 * @throws DumpUnfit before anything was changed, when the dump is not what was written; ProgramError when pg_restore refused, and rolled back
 */
export async function restoreDump(
  store: StoreReader,
  programs: ProgramRunner,
  manifest: DumpManifest,
  options: { readonly noOwner?: boolean; readonly signal?: AbortSignal } = {},
): Promise<void> {
  const signal = options.signal === undefined ? {} : { signal: options.signal }
  // pg_restore commits at the end of what it was given: whether it was given the right bytes must be known before.
  await checkDump(store, programs, manifest.object, manifest, signal)
  const meter = new Meter()
  await programs.restore(meter.pass(store.get(manifest.object, signal)), {
    ...signal,
    noOwner: options.noOwner ?? false,
  })
  if (meter.measured().sha256 !== manifest.sha256)
    throw new DumpUnfit(`${manifest.object} changed while it was restored: restore it again, into an empty database`)
}
