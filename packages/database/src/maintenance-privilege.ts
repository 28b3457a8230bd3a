import { sql, type RawBuilder } from 'kysely'

/** `server_version_num` from which on there is a privilege for it. */
export const maintainGrantedFrom = 170_000

/**
 * Whether the current role may ANALYZE and VACUUM a relation, as an expression over a row of `pg_class` called `c`. USAGE on the schema,
 * without which nothing in it can be named, is not part of it.
 *
 * MAINTAIN is asked for from PostgreSQL 17 on; before, it takes the owner of the relation, and asking for MAINTAIN is an error (22023).
 * The owner of the database may on every major (https://www.postgresql.org/docs/15/sql-analyze.html, docs/17/).
 */
export function mayMaintain(versionNum: number): RawBuilder<boolean> {
  const granted =
    versionNum >= maintainGrantedFrom
      ? sql`pg_catalog.has_table_privilege(c.oid, 'MAINTAIN')`
      : sql`pg_catalog.pg_has_role(c.relowner, 'USAGE')`
  return sql<boolean>`(${granted} OR (SELECT pg_catalog.pg_has_role(d.datdba, 'USAGE') FROM pg_catalog.pg_database d
    WHERE d.datname = pg_catalog.current_database()))`
}
