import { sql, type Kysely } from 'kysely'
import type { Connections, UnitOfWork } from '../connections.js'
import { codeOf, SchedulerError } from '../errors.js'
import { migrations as ownMigrations } from './migrations.js'

/** Milliseconds: a migration may build an index on a long history. */
const migrationTimeoutMs = 300_000

// An arbitrary constant that names our migration lock among transaction-level advisory locks of this database.
const migrationLock = 7_240_113_504_992

export interface MigrationResult {
  /** Undefined when the schema was made now. */
  readonly from: number | undefined
  readonly to: number
}

/**
 * Creates or updates the scheduler's schema, under a transaction-level lock, so that any number of processes may try at once
 * (a session-level lock would be lost behind a transaction pooler).
 * @throws SchedulerError `schema-newer` when a newer version made the schema, `database-permission` when the role may not.
 */
export async function migrate(
  connections: Connections,
  schema: string,
  options: { readonly signal?: AbortSignal; readonly migrations?: readonly string[] } = {},
): Promise<MigrationResult> {
  const migrations = options.migrations ?? ownMigrations
  const unit: UnitOfWork = {
    statementTimeoutMs: migrationTimeoutMs,
    lockTimeoutMs: 30_000,
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  }
  try {
    return await connections.transaction(unit, async ({ db }) => {
      await sql`SELECT pg_catalog.pg_advisory_xact_lock(${migrationLock})`.execute(db)
      const from = await selectVersion(db, schema)
      refuseNewer(from, schema, migrations.length)
      if (from === undefined) await createSchema(db, schema)
      for (const step of migrations.slice(from ?? 0)) {
        // One statement at a time: a text with several goes as one message, in which a failure would name no position.
        await sql.raw(step.replaceAll('{schema}', quoted(schema))).execute(db)
      }
      if (from !== migrations.length)
        await sql`UPDATE ${sql.id(schema, 'meta')} SET schema_version = ${migrations.length}`.execute(db)
      return { from, to: migrations.length }
    })
  } catch (error) {
    if (codeOf(error) !== '42501') throw error
    throw new SchedulerError('database-permission', `the role may not create or change the schema '${schema}'`, {
      hint: `as its owner or a superuser: CREATE SCHEMA ${quoted(schema)} AUTHORIZATION <role>; then run \`migrate\``,
      cause: error,
    })
  }
}

/** The version that this program makes. */
export const schemaVersion = ownMigrations.length

/** @throws SchedulerError `schema-newer` */
export function refuseNewer(found: number | undefined, schema: string, own = schemaVersion): void {
  if (found === undefined || found <= own) return
  throw new SchedulerError('schema-newer', `the schema '${schema}' has version ${found}, this program knows ${own}`, {
    hint: 'a newer version of the scheduler has run here: use that one, or a database of its own',
  })
}

async function createSchema(db: Kysely<unknown>, schema: string): Promise<void> {
  const { rows } = await sql<{
    present: boolean
  }>`SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = ${schema}) AS present`.execute(db)
  // CREATE SCHEMA IF NOT EXISTS would ask for CREATE on the database even where an administrator made the schema for us.
  if (rows[0]?.present !== true) await sql`CREATE SCHEMA ${sql.id(schema)}`.execute(db)
}

async function selectVersion(db: Kysely<unknown>, schema: string): Promise<number | undefined> {
  const present = await sql<{ present: boolean }>`
    SELECT pg_catalog.to_regclass(${`${quoted(schema)}.meta`}) IS NOT NULL AS present`.execute(db)
  if (present.rows[0]?.present !== true) return undefined
  const { rows } = await sql<{ schema_version: number }>`SELECT schema_version FROM ${sql.id(schema, 'meta')}`.execute(
    db,
  )
  return rows[0]?.schema_version
}

function quoted(identifier: string): string {
  return `"${identifier.replaceAll('"', '""')}"`
}
