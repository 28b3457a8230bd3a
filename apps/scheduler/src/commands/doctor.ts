/** `doctor`: can it work here, and what mends it when not. */
import { sql, type Kysely } from 'kysely'
import {
  exitCodes,
  formatDuration,
  refuseNewer,
  SchedulerError,
  schemaVersion,
  StateStore,
  type RegisteredTask,
  type RelationRequirement,
} from '@battlescope/scheduler-core'
import { parseRelationName, quoteRelation, type DatabaseConnections, type ServerFacts } from '@battlescope/database'
import { loadConfiguration, type Configuration } from '../configuration/load.js'
import { explain, open, refuseUnfit } from '../connect.js'
import type { Host } from '../host.js'
import { Output } from '../output.js'
import { loadRegistry, type InspectOptions } from './inspect.js'

export interface Check {
  readonly check: string
  readonly result: 'ok' | 'warn' | 'fail'
  readonly detail: string
  readonly mend?: string
}

/** Milliseconds. Two clocks further apart make slots and logs contradict each other. */
const largestClockSkewMs = 60_000
const statementTimeoutMs = 10_000

export async function doctor(host: Host, options: InspectOptions): Promise<number> {
  const configuration = await loadConfiguration(host.environment, options.flags)
  const output = new Output(host.terminal)
  const { checks, connected } = await examine(host, configuration)
  if (options.json === true) output.json(checks)
  else {
    output.table(
      ['check', 'result', 'detail'],
      checks.map(({ check, result, detail }) => [
        check,
        output.paint(result, result === 'ok' ? 'green' : result === 'warn' ? 'yellow' : 'red'),
        detail,
      ]),
    )
    for (const { check, mend } of checks) if (mend !== undefined) output.line(`${output.paint(check, 'cyan')}: ${mend}`)
  }
  if (!connected) return exitCodes.unavailable.code
  return checks.some(({ result }) => result === 'fail') ? exitCodes.configuration.code : exitCodes.ok.code
}

async function examine(
  host: Host,
  configuration: Configuration,
): Promise<{ checks: readonly Check[]; connected: boolean }> {
  const connections = open(configuration.program)
  try {
    const facts = await connections.probe()
    const registry = await loadRegistry(host, configuration)
    const db = connections.reader({ statementTimeoutMs }) as Kysely<unknown>
    const checks: Check[] = [
      connectionCheck(facts),
      serverCheck(facts),
      poolerCheck(facts, configuration, registry.tasks),
      clockCheck(facts),
      await schemaCheck(connections, configuration.program.schema, db, facts),
    ]
    for (const entry of registry.tasks) checks.push(...(await grantChecks(entry, db, facts)))
    for (const { name, reason, hint } of registry.disabled)
      checks.push({
        check: `task ${name}`,
        result: 'fail',
        detail: reason,
        ...(hint === undefined ? {} : { mend: hint }),
      })
    checks.push(...clientChecks(registry.tasks), ...(await foreignKeyChecks(db)))
    return { checks, connected: true }
  } catch (error) {
    const known = explain(error)
    if (!(known instanceof SchedulerError) || known.code !== 'database-unavailable') throw known
    return {
      checks: [
        {
          check: 'connection',
          result: 'fail',
          detail: known.message,
          ...(known.hint === undefined ? {} : { mend: known.hint }),
        },
      ],
      connected: false,
    }
  } finally {
    await connections.close()
  }
}

function connectionCheck(facts: ServerFacts): Check {
  const where = `${facts.currentUser} at ${facts.host}:${facts.port}/${facts.database}`
  return { check: 'connection', result: 'ok', detail: `${where}, ${facts.encrypted ? 'with TLS' : 'without TLS'}` }
}

function serverCheck(facts: ServerFacts): Check {
  try {
    refuseUnfit(facts)
    return { check: 'server', result: 'ok', detail: `PostgreSQL ${facts.version}, primary` }
  } catch (error) {
    const { message, hint } = error as SchedulerError
    return { check: 'server', result: 'fail', detail: message, ...(hint === undefined ? {} : { mend: hint }) }
  }
}

function poolerCheck(facts: ServerFacts, { program }: Configuration, tasks: readonly RegisteredTask[]): Check {
  if (facts.direct) return { check: 'pooler', result: 'ok', detail: 'DATABASE_URL reaches PostgreSQL itself' }
  const needing = tasks.filter(({ requires }) => requires.direct === true).map(({ name }) => name)
  if (needing.length === 0 || program.databaseDirectUrl !== undefined) {
    return {
      check: 'pooler',
      result: 'ok',
      detail: 'DATABASE_URL goes through a pooler, which is fine for the enabled tasks',
    }
  }
  return {
    check: 'pooler',
    result: 'fail',
    detail: `DATABASE_URL goes through a pooler, and ${needing.join(', ')} need${needing.length === 1 ? 's' : ''} a session`,
    mend: 'set DATABASE_DIRECT_URL to a connection string that reaches PostgreSQL itself',
  }
}

function clockCheck({ clockSkewMs }: ServerFacts): Check {
  const apart = formatDuration(Math.max(1, Math.abs(clockSkewMs)))
  if (Math.abs(clockSkewMs) < largestClockSkewMs)
    return { check: 'clock', result: 'ok', detail: `${apart} apart from the database` }
  return {
    check: 'clock',
    result: 'fail',
    detail: `${apart} apart from the database, whose time counts`,
    mend: 'synchronise the clocks (NTP): logs and slots contradict each other',
  }
}

async function schemaCheck(
  connections: DatabaseConnections,
  schema: string,
  db: Kysely<unknown>,
  facts: ServerFacts,
): Promise<Check> {
  const name = `schema ${schema}`
  const state = await new StateStore(connections, schema)
    .readState()
    .catch((error: unknown) => error as { code?: string })
  if (!('tasks' in state)) {
    if (state.code !== '42501') throw state as unknown
    return {
      check: name,
      result: 'fail',
      detail: `${facts.currentUser} may not use it`,
      mend: `ALTER SCHEMA ${quoteIdentifierOf(schema)} OWNER TO ${quoteIdentifierOf(facts.currentUser)};`,
    }
  }
  if (state.schemaVersion !== undefined) {
    try {
      refuseNewer(state.schemaVersion, schema)
    } catch (error) {
      return {
        check: name,
        result: 'fail',
        detail: (error as Error).message,
        mend: 'use the version of the scheduler that made it, or a newer one',
      }
    }
    return {
      check: name,
      result: 'ok',
      detail:
        state.schemaVersion === schemaVersion
          ? `version ${schemaVersion}`
          : `version ${state.schemaVersion}; the next run updates it to ${schemaVersion}`,
    }
  }
  const { rows } = await sql<{ may: boolean }>`
    SELECT coalesce(
      (SELECT pg_catalog.has_schema_privilege(n.oid, 'CREATE') FROM pg_catalog.pg_namespace n WHERE n.nspname = ${schema}),
      pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE')) AS may`.execute(db)
  if (rows[0]?.may === true) return { check: name, result: 'ok', detail: 'does not exist yet; the first run makes it' }
  return {
    check: name,
    result: 'fail',
    detail: `does not exist, and ${facts.currentUser} may not make it`,
    mend: `CREATE SCHEMA ${quoteIdentifierOf(schema)} AUTHORIZATION ${quoteIdentifierOf(facts.currentUser)};`,
  }
}

async function grantChecks(entry: RegisteredTask, db: Kysely<unknown>, facts: ServerFacts): Promise<readonly Check[]> {
  const check = `grants of ${entry.name}`
  const missing: { text: string; mend: string }[] = []
  for (const requirement of entry.requires.relations ?? [])
    missing.push(...(await missingGrants(requirement, db, facts)))
  if (missing.length === 0) return [{ check, result: 'ok', detail: 'complete for the relations that exist' }]
  return missing.map(({ text, mend }) => ({ check, result: 'fail' as const, detail: text, mend }))
}

async function missingGrants(
  { relation, privileges }: RelationRequirement,
  db: Kysely<unknown>,
  facts: ServerFacts,
): Promise<{ text: string; mend: string }[]> {
  const pattern = patternOf(relation)
  // The owner of the database may, too: https://www.postgresql.org/docs/15/sql-analyze.html, and /17/ for MAINTAIN
  const granted =
    facts.versionNum >= 170_000
      ? sql<boolean>`pg_catalog.has_table_privilege(c.oid, 'MAINTAIN')`
      : sql<boolean>`pg_catalog.pg_has_role(c.relowner, 'USAGE')`
  const maintain = sql<boolean>`${granted} OR pg_catalog.pg_has_role(d.datdba, 'USAGE')`
  const { rows } = await sql<
    { schema: string; name: string; maintain: boolean; owner: boolean; owner_name: string } & Record<string, boolean>
  >`
    SELECT n.nspname AS schema, c.relname AS name, (${maintain}) AS maintain, pg_catalog.pg_has_role(c.relowner, 'USAGE') AS owner,
      pg_catalog.pg_get_userbyid(c.relowner) AS owner_name,
      pg_catalog.has_table_privilege(c.oid, 'SELECT') AS "select", pg_catalog.has_table_privilege(c.oid, 'INSERT') AS "insert",
      pg_catalog.has_table_privilege(c.oid, 'UPDATE') AS "update", pg_catalog.has_table_privilege(c.oid, 'DELETE') AS "delete"
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      JOIN pg_catalog.pg_database d ON d.datname = pg_catalog.current_database()
    WHERE c.relkind IN ('r', 'p', 'm') AND n.nspname LIKE ${pattern.schema} AND c.relname LIKE ${pattern.name}`.execute(
    db,
  )
  const role = quoteIdentifierOf(facts.currentUser)
  return rows.flatMap((row) =>
    privileges
      .filter((privilege) => row[privilege] !== true)
      .map((privilege) => {
        const target = quoteRelation(row.schema, row.name)
        const grant =
          privilege === 'owner' || (privilege === 'maintain' && facts.versionNum < 170_000)
            ? `GRANT ${quoteIdentifierOf(row.owner_name)} TO ${role};`
            : `GRANT ${privilege.toUpperCase()} ON ${target} TO ${role};`
        return { text: `${facts.currentUser} may not ${privilege} ${target}`, mend: grant }
      }),
  )
}

/** What a requirement names, as LIKE patterns: `*` and `?` are wildcards outside quotes. */
function patternOf(relation: string): { schema: string; name: string } {
  const like = (text: string) =>
    text
      .replace(/[\\%_]/g, '\\$&')
      .replaceAll('*', '%')
      .replaceAll('?', '_')
  if (!relation.includes('"') && /[*?]/.test(relation)) {
    const [schema = '', name = schema] = relation.split('.')
    return relation.includes('.')
      ? { schema: like(schema), name: like(name) }
      : { schema: 'public', name: like(schema) }
  }
  const { schema, name } = parseRelationName(relation)
  const exact = (text: string) => text.replace(/[\\%_]/g, '\\$&')
  return { schema: exact(schema), name: exact(name) }
}

function clientChecks(tasks: readonly RegisteredTask[]): readonly Check[] {
  const kinds = [...new Set(tasks.flatMap(({ requires }) => requires.clients ?? []))]
  if (kinds.length === 0)
    return [{ check: 'clients', result: 'ok', detail: 'no enabled task uses Redis, a store or an endpoint' }]
  return [{ check: 'clients', result: 'ok', detail: `used by enabled tasks: ${kinds.join(', ')}` }]
}

/** A delete on the referenced side scans the referencing relation once per row when nothing indexes the reference. */
async function foreignKeyChecks(db: Kysely<unknown>): Promise<readonly Check[]> {
  const { rows } = await sql<{ relation: string; columns: string; referenced: string }>`
    SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) AS relation,
      (SELECT pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', ' ORDER BY k.position)
       FROM pg_catalog.unnest(f.conkey) WITH ORDINALITY AS k (attnum, position)
       JOIN pg_catalog.pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = k.attnum) AS columns,
      pg_catalog.format('%I.%I', rn.nspname, r.relname) AS referenced
    FROM pg_catalog.pg_constraint f
      JOIN pg_catalog.pg_class c ON c.oid = f.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      JOIN pg_catalog.pg_class r ON r.oid = f.confrelid JOIN pg_catalog.pg_namespace rn ON rn.oid = r.relnamespace
    WHERE f.contype = 'f' AND f.conparentid = 0 AND n.nspname NOT IN ('pg_catalog', 'information_schema')
      AND NOT EXISTS (
        SELECT 1 FROM pg_catalog.pg_index i
        WHERE i.indrelid = f.conrelid AND i.indisvalid AND i.indpred IS NULL
          AND (i.indkey::int2[])[0:pg_catalog.cardinality(f.conkey) - 1] @> f.conkey)
    ORDER BY 1, 2 LIMIT 20`.execute(db)
  if (rows.length === 0)
    return [{ check: 'foreign keys', result: 'ok', detail: 'each has an index on its referencing columns' }]
  return rows.map(({ relation, columns, referenced }) => ({
    check: 'foreign keys',
    result: 'warn' as const,
    detail: `${relation} (${columns}) references ${referenced} without an index: each deleted row of ${referenced} scans ${relation}`,
    mend: `CREATE INDEX CONCURRENTLY ON ${relation} (${columns});`,
  }))
}

function quoteIdentifierOf(name: string): string {
  return /^[a-z_][a-z0-9_]*$/.test(name) ? name : `"${name.replaceAll('"', '""')}"`
}
