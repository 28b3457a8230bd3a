/**
 * The statements that compare the rollups with what they must be, and make them equal. Each is one statement for a whole slice, so that
 * the sources, the stored rows and the archive's manifest are seen in one snapshot: rows that retention has just deleted come with the
 * manifest that freezes their day.
 */
import { sql, type RawBuilder } from 'kysely'
import type { Day, DayRange } from './days.js'
import { archivedDays, columns, cte, freshRows, inRange, storedIn, type Counting } from './fresh-rows.js'
import type { Policy, Rollup, RollupName } from './rollups.js'
import type { Db } from './tables.js'

/** Rows of one rollup and day in which the stored ones differed from what they must be. */
export interface Difference {
  readonly rollup: RollupName
  readonly day: Day
  readonly added: number
  readonly changed: number
  readonly removed: number
}

interface DifferenceRow {
  readonly rollup: RollupName
  readonly day: string
  readonly added: string
  readonly changed: string
  readonly removed: string
}

/** Reads alone. Ordered by day, then by rollup. */
export async function selectDifferences(
  db: Db,
  rollups: readonly Rollup[],
  range: DayRange,
  counting: Counting,
): Promise<readonly Difference[]> {
  const compared = rollups.map(
    (rollup) => sql`
      SELECT ${rollup.name}::text AS rollup, coalesce(f.day, s.day) AS day,
        count(*) FILTER (WHERE s.day IS NULL) AS added,
        count(*) FILTER (WHERE s.day IS NOT NULL AND f.day IS NOT NULL) AS changed,
        count(*) FILTER (WHERE f.day IS NULL) AS removed
      FROM ${cte('fresh', rollup)} f
        FULL JOIN ${storedIn(rollup, range, counting)} s ON s.day = f.day AND s.${sql.id(rollup.key)} = f.key
      WHERE s.day IS NULL OR f.day IS NULL OR ${differs('f', 's')} GROUP BY 2`,
  )
  return differences(db, freshRows(rollups, range, counting), compared)
}

/** Which of the rollups have any row in the range. */
export async function selectWithRows(
  db: Db,
  rollups: readonly Rollup[],
  range: DayRange,
  schema: string,
): Promise<readonly RollupName[]> {
  const { rows } = await sql<{ name: RollupName }>`
    SELECT w.name FROM (VALUES ${sql.join(
      rollups.map(
        ({ name, table }) =>
          sql`(${name}::text, EXISTS (SELECT 1 FROM ${sql.id(schema, table)} r WHERE ${inRange(sql.id('r', 'day'), range)}))`,
      ),
    )}) AS w (name, present) WHERE w.present`.execute(db)
  return rows.map(({ name }) => name)
}

/**
 * Makes the stored rows of the range what they must be; rows that are right already are not written. `filled`: rollups that may have rows in
 * the range; the others are only inserted into.
 */
export async function writeRows(
  db: Db,
  rollups: readonly Rollup[],
  range: DayRange,
  counting: Counting,
  filled: readonly RollupName[],
): Promise<readonly Difference[]> {
  const writes = rollups.map((rollup) =>
    filled.includes(rollup.name) ? replacing(rollup, range, counting) : inserting(rollup, counting),
  )
  const ctes = sql.join([freshRows(rollups, range, counting), ...writes.map((write) => write.ctes)])
  return differences(
    db,
    ctes,
    writes.flatMap((write) => write.counted),
  )
}

interface Write {
  readonly ctes: RawBuilder<unknown>
  readonly counted: readonly RawBuilder<unknown>[]
}

function inserting(rollup: Rollup, { schema }: Counting): Write {
  return {
    ctes: sql`${cte('written', rollup)} AS (
      INSERT INTO ${sql.id(schema, rollup.table)} (day, ${sql.id(rollup.key)}, ${columns()})
      SELECT day, key, ${columns()} FROM ${cte('fresh', rollup)} RETURNING day)`,
    counted: [
      sql`SELECT ${rollup.name}::text AS rollup, day, count(*) AS added, 0 AS changed, 0 AS removed
        FROM ${cte('written', rollup)} GROUP BY day`,
    ],
  }
}

function replacing(rollup: Rollup, range: DayRange, counting: Counting): Write {
  const table = sql.id(counting.schema, rollup.table)
  const key = sql.id(rollup.key)
  return {
    ctes: sql`
      ${cte('changes', rollup)} AS MATERIALIZED (
        SELECT f.*, s.day IS NOT NULL AS known
        FROM ${cte('fresh', rollup)} f LEFT JOIN ${storedIn(rollup, range, counting)} s ON s.day = f.day AND s.${key} = f.key
        WHERE s.day IS NULL OR ${differs('f', 's')}
      ), ${cte('written', rollup)} AS (
        INSERT INTO ${table} (day, ${key}, ${columns()}) SELECT day, key, ${columns()} FROM ${cte('changes', rollup)}
        ON CONFLICT (day, ${key}) DO UPDATE SET (${columns()}) = ROW(${columns('excluded')})
      ), ${cte('removed', rollup)} AS (
        DELETE FROM ${table} r USING ${storedIn(rollup, range, counting)} s WHERE r.day = s.day AND r.${key} = s.${key}
          AND NOT EXISTS (SELECT 1 FROM ${cte('fresh', rollup)} f WHERE f.day = s.day AND f.key = s.${key})
        RETURNING r.day
      )`,
    counted: [
      sql`SELECT ${rollup.name}::text AS rollup, day, count(*) FILTER (WHERE NOT known) AS added,
        count(*) FILTER (WHERE known) AS changed, 0 AS removed FROM ${cte('changes', rollup)} GROUP BY day`,
      sql`SELECT ${rollup.name}::text, day, 0, 0, count(*) FROM ${cte('removed', rollup)} GROUP BY day`,
    ],
  }
}

async function differences(
  db: Db,
  ctes: RawBuilder<unknown>,
  counted: readonly RawBuilder<unknown>[],
): Promise<readonly Difference[]> {
  const { rows } = await sql<DifferenceRow>`
    WITH ${ctes}
    SELECT c.rollup, pg_catalog.to_char(c.day, 'YYYY-MM-DD') AS day, sum(c.added) AS added, sum(c.changed) AS changed, sum(c.removed) AS removed
    FROM (${sql.join(counted, sql` UNION ALL `)}) c (rollup, day, added, changed, removed)
    GROUP BY c.rollup, c.day ORDER BY c.day, c.rollup`.execute(db)
  return rows.map(({ rollup, day, added, changed, removed }) => ({
    rollup,
    day,
    added: Number(added),
    changed: Number(changed),
    removed: Number(removed),
  }))
}

/** Days of the range that an archive's manifest freezes. */
export async function countFrozenDays(db: Db, policy: Policy, range: DayRange, schema: string): Promise<number> {
  const { rows } = await sql<{ days: string }>`
    SELECT count(*) AS days FROM (${archivedDays(policy, range, schema)}) d`.execute(db)
  return Number(rows[0]?.days ?? 0)
}

function differs(a: string, b: string): RawBuilder<boolean> {
  return sql<boolean>`ROW(${columns(a)}) IS DISTINCT FROM ROW(${columns(b)})`
}
