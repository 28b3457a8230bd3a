/** Whether the role may do what each task declares, and the SQL that lets it. */
import {
  maintainGrantedFrom,
  matchesRelation,
  mayMaintain,
  parseRelationPattern,
  quoteRelation,
  type ServerFacts,
} from '@battlescope/database'
import type { RegisteredTask, RelationRequirement } from '@battlescope/scheduler-core'
import { sql, type Kysely } from 'kysely'
import { identifier } from '../state-grants.js'
import type { Check } from './check.js'

type Privilege = RelationRequirement['privileges'][number]

export interface RelationGrants extends Readonly<Record<Privilege, boolean>> {
  readonly schema: string
  readonly name: string
  readonly kind: 'r' | 'p' | 'm'
  /** USAGE on the schema. */
  readonly usable: boolean
  readonly ownerName: string
  /** The owner is a superuser, or may become one; or is a role that can have no members. */
  readonly ownerIsOffLimits: boolean
}

export async function selectRelationGrants(
  db: Kysely<unknown>,
  { versionNum }: Pick<ServerFacts, 'versionNum'>,
): Promise<readonly RelationGrants[]> {
  const { rows } = await sql<RelationGrants>`
    SELECT n.nspname AS schema, c.relname AS name, c.relkind AS kind,
      pg_catalog.has_schema_privilege(n.oid, 'USAGE') AS usable,
      pg_catalog.pg_get_userbyid(c.relowner) AS "ownerName",
      o.rolname LIKE 'pg\\_%' OR EXISTS (SELECT 1 FROM pg_catalog.pg_roles s
        WHERE s.rolsuper AND pg_catalog.pg_has_role(c.relowner, s.oid, 'MEMBER')) AS "ownerIsOffLimits",
      ${mayMaintain(versionNum)} AS maintain, pg_catalog.pg_has_role(c.relowner, 'USAGE') AS owner,
      pg_catalog.has_table_privilege(c.oid, 'SELECT') AS "select", pg_catalog.has_table_privilege(c.oid, 'INSERT') AS "insert",
      pg_catalog.has_table_privilege(c.oid, 'UPDATE') AS "update", pg_catalog.has_table_privilege(c.oid, 'DELETE') AS "delete"
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      JOIN pg_catalog.pg_roles o ON o.oid = c.relowner
    WHERE c.relkind IN ('r', 'p', 'm') AND c.relpersistence <> 't'
      AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
    ORDER BY 1, 2`.execute(db)
  return rows
}

/** Pure. */
export function grantChecks(
  { name, requires }: Pick<RegisteredTask, 'name' | 'requires'>,
  relations: readonly RelationGrants[],
  facts: Pick<ServerFacts, 'currentUser' | 'versionNum'>,
): readonly Check[] {
  const check = `grants of ${name}`
  /** By what mends it, and then by what is denied: one statement may mend many relations. */
  const denied = new Map<string, Map<string, string[]>>()
  const fail = (verb: string, target: string, mend: string) => {
    const targets = denied.get(mend) ?? new Map<string, string[]>()
    denied.set(mend, targets.set(verb, [...(targets.get(verb) ?? []), target]))
  }
  for (const { relation, except = [], privileges } of requires.relations ?? []) {
    const wanted = parseRelationPattern(relation)
    const excepted = except.map(parseRelationPattern)
    const required = relations.filter(
      (each) => matchesRelation(wanted, each) && !excepted.some((pattern) => matchesRelation(pattern, each)),
    )
    for (const each of required) {
      const schema = identifier(each.schema)
      if (!each.usable)
        fail('use the schema', schema, `GRANT USAGE ON SCHEMA ${schema} TO ${identifier(facts.currentUser)};`)
      for (const privilege of privileges) {
        if (each[privilege]) continue
        fail(inWords(privilege), quoteRelation(each.schema, each.name), mendOf(privilege, each, facts))
      }
    }
  }
  if (denied.size > 0) {
    return [...denied].map(([mend, verbs]) => {
      const what = [...verbs].map(([verb, targets]) => `${verb} ${[...new Set(targets)].join(', ')}`).join('; ')
      return { check, result: 'fail', detail: `${facts.currentUser} may not ${what}`, mend }
    })
  }
  return [{ check, result: 'ok', detail: 'complete for the relations that exist' }]
}

function inWords(privilege: Privilege): string {
  if (privilege === 'owner') return 'act as the owner of'
  return privilege === 'maintain' ? 'maintain (ANALYZE, VACUUM)' : privilege
}

function mendOf(
  privilege: Privilege,
  { schema, name, kind, ownerName, ownerIsOffLimits }: RelationGrants,
  { currentUser, versionNum }: Pick<ServerFacts, 'currentUser' | 'versionNum'>,
): string {
  const target = quoteRelation(schema, name)
  const role = identifier(currentUser)
  const takesOwner = privilege === 'owner' || (privilege === 'maintain' && versionNum < maintainGrantedFrom)
  if (!takesOwner) return `GRANT ${privilege.toUpperCase()} ON ${target} TO ${role};`
  // Membership in a superuser's role would make a superuser of the scheduler: the relation changes hands instead.
  if (ownerIsOffLimits) return `ALTER ${kind === 'm' ? 'MATERIALIZED VIEW' : 'TABLE'} ${target} OWNER TO ${role};`
  return `GRANT ${identifier(ownerName)} TO ${role};`
}
