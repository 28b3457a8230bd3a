/** The archive as commands look at it: the store, and the catalog where there is one. */
import { catalogIn, type CatalogDb } from '@battlescope/archive'
import { openStore, readOnly, type ColdStorageConfig, type StoreReader } from '@battlescope/cold-storage'
import { codeOf, SchedulerError, StateStore } from '@battlescope/scheduler-core'
import { loadConfiguration, type Configuration, type Flags } from '../../configuration/load.js'
import { withDatabase } from '../../connect.js'
import type { Host } from '../../host.js'

export interface OpenArchive {
  readonly store: StoreReader
  /** `now` is database time. */
  readonly catalog: { readonly db: CatalogDb; readonly now: Date } | undefined
  readonly configuration: Configuration
}

export interface ArchiveCommandOptions {
  readonly flags?: Flags
  readonly json?: boolean
}

/** Milliseconds for one statement on the catalog. */
const catalogStatementTimeoutMs = 30_000

/**
 * Opens both for reading, works, and closes them.
 * @param needs.manifestsOnly connects to no database
 * @throws SchedulerError
 */
export async function withArchive<T>(
  host: Host,
  { flags }: ArchiveCommandOptions,
  needs: { readonly manifestsOnly?: boolean },
  work: (archive: OpenArchive) => Promise<T>,
): Promise<T> {
  const alone = needs.manifestsOnly === true
  const configuration = await loadConfiguration(host, flags, { database: !alone })
  if (alone) return withStore(configuration, (store) => work({ store, catalog: undefined, configuration }))
  const { program } = configuration
  return withStore(configuration, (store) =>
    withDatabase(program, async ({ connections }) => {
      const { schemaVersion, now } = await new StateStore(connections, program.schema).readState()
      const reader = connections.reader({ statementTimeoutMs: catalogStatementTimeoutMs })
      const db = catalogIn(reader, program.schema)
      // A schema that is there and knows of no archive, beside a store that does, is as good as none.
      const isKnown =
        schemaVersion !== undefined && (await db.selectFrom('archive_batch').select('id').limit(1).execute()).length > 0
      return work({ store, catalog: isKnown ? { db, now } : undefined, configuration })
    }),
  )
}

async function withStore<T>(configuration: Configuration, work: (store: StoreReader) => Promise<T>): Promise<T> {
  try {
    const store = await openStore(storeOf(configuration))
    try {
      return await work(readOnly(store))
    } finally {
      await store.close()
    }
  } catch (error) {
    throw explainStore(error)
  }
}

/** What the store is opened with. @throws SchedulerError when none is configured */
export function storeOf(configuration: Configuration): ColdStorageConfig {
  const config = configuration.section('cold-storage')
  if (config?.url !== undefined) return config
  throw new SchedulerError('configuration', 'no cold storage is configured', {
    hint: 'set SCHEDULER_COLD_STORAGE_URL to file:///path or s3://bucket/prefix',
  })
}

/** Errors of the store and of manifests, in the words of the error table. */
function explainStore(error: unknown): unknown {
  const code = codeOf(error)
  if (error instanceof SchedulerError || code === undefined) return error
  if (!code.startsWith('store-') && code !== 'manifest-invalid') return error
  const { message, hint } = error as { readonly message: string; readonly hint?: string }
  return new SchedulerError('client-unavailable', message, { cause: error, ...(hint === undefined ? {} : { hint }) })
}
