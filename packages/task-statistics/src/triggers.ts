/**
 * The opt-in triggers of mode `exact`: statement triggers with transition tables that note which days changed, in the transaction that
 * changes them.
 *
 * What makes the notes safe: they are only ever inserted, without a unique key, so that writers never wait for each other and none relies
 * on a note that another one's recount is about to take away. A row of a battle notes the battle, not its day: the day may be changed by
 * another transaction that is still open. They read no column but the time, or the battle's id: a column that a later version of
 * BattleScope drops or renames must not break its writes.
 */
import { quoteRelation } from '@battlescope/database'
import { sql } from 'kysely'
import { endOfDays, firstDay } from './days.js'
import { rollups, sourceNames, type SourceName } from './rollups.js'
import type { Db } from './tables.js'

const events = ['insert', 'update', 'delete', 'truncate'] as const
type TriggerEvent = (typeof events)[number]

/** How rows of a source tell what changed. */
const noted: Record<SourceName, { readonly column: 'day' | 'battle_id'; readonly expression: string }> = {
  killmail_events: { column: 'day', expression: `(r.occurred_at AT TIME ZONE 'UTC')::date` },
  pilot_ship_history: { column: 'day', expression: `(r.occurred_at AT TIME ZONE 'UTC')::date` },
  battles: { column: 'day', expression: `(r.start_time AT TIME ZONE 'UTC')::date` },
  battle_killmails: { column: 'battle_id', expression: 'r.battle_id' },
  battle_participants: { column: 'battle_id', expression: 'r.battle_id' },
}

/**
 * What identifies the installation: it changes whenever a trigger was made anew. Undefined unless every one is there and enabled.
 * `sources`: those that exist.
 */
export async function selectTriggers(
  db: Db,
  schema: string,
  sources: readonly SourceName[],
): Promise<string | undefined> {
  const { rows } = await sql<{ oid: string }>`
    SELECT t.oid::text AS oid
    FROM pg_catalog.pg_trigger t
      JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid
      JOIN pg_catalog.pg_namespace f ON f.oid = p.pronamespace AND f.nspname = ${schema}
      JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
      JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'public'
    WHERE t.tgenabled IN ('O', 'A') AND p.proname = 'note_' || c.relname AND t.tgname LIKE 'statistics_note_%'
      AND c.relname = ANY (ARRAY[${sql.join([...sources, ''])}]::text[])
    ORDER BY t.oid`.execute(db)
  return rows.length > 0 && rows.length === sources.length * events.length
    ? rows.map(({ oid }) => oid).join(' ')
    : undefined
}

/** Takes SHARE ROW EXCLUSIVE on the table until the transaction ends: reads go on, writes wait. */
export async function createTriggers(db: Db, schema: string, source: SourceName): Promise<void> {
  await sql.raw(functionText(schema, source)).execute(db)
  await sql.raw(events.map((event) => triggerText(schema, source, event)).join(';\n')).execute(db)
}

/** Takes ACCESS EXCLUSIVE on the table until the transaction ends, as DROP TRIGGER does: everything waits, for milliseconds. */
export async function dropTriggers(db: Db, schema: string, source: SourceName): Promise<void> {
  const drops = events.map(
    (event) => `DROP TRIGGER IF EXISTS ${triggerName(event)} ON ${quoteRelation('public', source)}`,
  )
  await sql.raw(drops.join(';\n')).execute(db)
  await sql`DROP FUNCTION IF EXISTS ${sql.id(schema, functionName(source))}()`.execute(db)
}

/** Notes that no triggers follow up tell nothing. */
export async function deleteAllNotes(db: Db, schema: string): Promise<number> {
  const result = await sql`DELETE FROM ${sql.id(schema, 'changed_days')}`.execute(db)
  return Number(result.numAffectedRows ?? 0)
}

export function existingSources(
  sources: Readonly<Record<SourceName, { readonly present: boolean }>>,
): readonly SourceName[] {
  return sourceNames.filter((name) => sources[name].present)
}

function functionName(source: SourceName): string {
  return `note_${source}`
}

function triggerName(event: TriggerEvent): string {
  return `statistics_note_${event}`
}

/**
 * SECURITY DEFINER: whoever writes to BattleScope's tables needs no right in the scheduler's schema. Nothing in it is looked up by a
 * search path. A time outside the calendar belongs to no day.
 */
function functionText(schema: string, source: SourceName): string {
  const notes = quoteRelation(schema, 'changed_days')
  const { column, expression } = noted[source]
  const within = column === 'day' ? ` WHERE ${expression} >= '${firstDay}' AND ${expression} < '${endOfDays}'` : ''
  const note = (...rows: readonly string[]) =>
    `INSERT INTO ${notes} (${column}) ${rows.map((each) => `SELECT DISTINCT ${expression} FROM ${each} r${within}`).join(' UNION ')};`
  // What is gone was counted on the days that have rollups, or is noted already.
  const counted = rollups.map(({ table }) => `SELECT day FROM ${quoteRelation(schema, table)}`).join(' UNION ')
  return `
CREATE OR REPLACE FUNCTION ${quoteRelation(schema, functionName(source))}() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $note$
BEGIN
  IF TG_OP = 'INSERT' THEN
    ${note('new_rows')}
  ELSIF TG_OP = 'DELETE' THEN
    ${note('old_rows')}
  ELSIF TG_OP = 'UPDATE' THEN
    ${note('old_rows', 'new_rows')}
  ELSE
    INSERT INTO ${notes} (day) ${counted};
  END IF;
  RETURN NULL;
END
$note$`
}

function triggerText(schema: string, source: SourceName, event: TriggerEvent): string {
  const tables: Record<TriggerEvent, string> = {
    insert: 'REFERENCING NEW TABLE AS new_rows ',
    update: 'REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows ',
    delete: 'REFERENCING OLD TABLE AS old_rows ',
    truncate: '',
  }
  return `CREATE OR REPLACE TRIGGER ${triggerName(event)} AFTER ${event.toUpperCase()} ON ${quoteRelation('public', source)}
  ${tables[event]}FOR EACH STATEMENT EXECUTE FUNCTION ${quoteRelation(schema, functionName(source))}()`
}
