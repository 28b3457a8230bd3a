/** What the role may do with the scheduler's own schema, and the SQL that gives it what is missing. */
import { quoteIdentifier, type DatabaseConnections } from '@battlescope/database'
import { sql, type Kysely } from 'kysely'

const statementTimeoutMs = 10_000

/** What the scheduler does with its tables, and tasks with theirs. */
const needed = ['SELECT', 'INSERT', 'UPDATE', 'DELETE'] as const

export interface StateGrants {
  /** False when there is no such schema. */
  readonly exists: boolean
  /** May make the schema, or tables in it. */
  readonly mayCreate: boolean
  readonly mayUse: boolean
  readonly tables: readonly {
    readonly name: string
    /** May alter it, as a migration does. */
    readonly owned: boolean
    readonly lacks: readonly string[]
  }[]
}

/** Everybody may read this in the catalog, whatever they may not do. */
export async function selectStateGrants(connections: DatabaseConnections, schema: string): Promise<StateGrants> {
  const db = connections.reader({ statementTimeoutMs }) as Kysely<unknown>
  const { rows } = await sql<{
    exists: boolean
    may_create: boolean
    may_use: boolean
    tables: StateGrants['tables']
  }>`
    SELECT n.oid IS NOT NULL AS exists,
      coalesce(pg_catalog.has_schema_privilege(n.oid, 'CREATE'),
        pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE')) AS may_create,
      coalesce(pg_catalog.has_schema_privilege(n.oid, 'USAGE'), false) AS may_use,
      coalesce((
        SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('name', c.relname, 'owned', pg_catalog.pg_has_role(c.relowner, 'USAGE'),
          'lacks', (SELECT coalesce(pg_catalog.jsonb_agg(p.name), '[]') FROM pg_catalog.unnest(${[...needed]}::text[]) AS p (name)
            WHERE NOT pg_catalog.has_table_privilege(c.oid, p.name))) ORDER BY c.relname)
        FROM pg_catalog.pg_class c WHERE c.relnamespace = n.oid AND c.relkind IN ('r', 'p')), '[]') AS tables
    FROM (SELECT 1) AS one LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = ${schema}`.execute(db)
  const [row] = rows
  if (row === undefined) throw new Error('no row from a statement that has one')
  return { exists: row.exists, mayCreate: row.may_create, mayUse: row.may_use, tables: row.tables }
}

export interface Denial {
  /** What the role may not do, to be read behind its name. */
  readonly detail: string
  /** SQL, for whoever may. */
  readonly mend: string
}

/** Why a run could not work on this schema; undefined when it could. Pure. */
export function stateDenial(grants: StateGrants, schema: string, user: string): Denial | undefined {
  const [name, role] = [identifier(schema), identifier(user)]
  const { exists, mayCreate, mayUse, tables } = grants
  if (!exists) {
    if (mayCreate) return undefined
    return { detail: `may not make the schema ${name}`, mend: `CREATE SCHEMA ${name} AUTHORIZATION ${role};` }
  }
  if (tables.length === 0) {
    if (mayUse && mayCreate) return undefined
    return {
      detail: `may not make tables in the schema ${name}`,
      mend: `GRANT USAGE, CREATE ON SCHEMA ${name} TO ${role};`,
    }
  }
  const denied = tables.filter(({ lacks }) => lacks.length > 0)
  const details = [...(mayUse ? [] : [`may not use the schema ${name}`]), ...lacksInWords(denied, name)]
  if (details.length === 0) return undefined
  const mends = [
    ...(mayUse ? [] : [`GRANT USAGE ON SCHEMA ${name} TO ${role};`]),
    ...(denied.length === 0 ? [] : [`GRANT ${needed.join(', ')} ON ALL TABLES IN SCHEMA ${name} TO ${role};`]),
  ]
  return { detail: details.join('; '), mend: mends.join(' ') }
}

/** Tables that lack the same are told together, and not all of them. */
function lacksInWords(denied: StateGrants['tables'], schema: string): readonly string[] {
  const mostNamed = 3
  return [...new Set(denied.map(({ lacks }) => lacks.join(', ')))].map((lacks) => {
    const tables = denied.filter((table) => table.lacks.join(', ') === lacks)
    const named = tables.slice(0, mostNamed).map((table) => `${schema}.${identifier(table.name)}`)
    const more = tables.length > mostNamed ? ` and ${tables.length - mostNamed} more` : ''
    return `lacks ${lacks} on ${named.join(', ')}${more}`
  })
}

/** As people write it: quoted only where it has to be. */
export function identifier(name: string): string {
  return /^[a-z_][a-z0-9_]*$/.test(name) ? name : quoteIdentifier(name)
}
