/** The scheduler's own table of partitions that are on their way out, statement by statement. */
import { maxIdentifierBytes, parseRelationName, quoteRelation } from '@battlescope/database'
import { sql, type Kysely, type RawBuilder } from 'kysely'
import type { ArchivedSoFar, PartitionPlace, PartitionRecord } from './partition-facts.js'
import { isSameRelation, keyOf } from './policy.js'
import { cutToBytes } from './preflight-indexes.js'
import { addMonths } from './restore-plan.js'

function tableIn(schema: string): RawBuilder<unknown> {
  return sql.id(schema, 'retention_partition')
}

interface RecordRow {
  readonly id: string
  readonly policy: string
  readonly relation: string
  readonly partition: string
  readonly oid: string
  readonly bounds: string
  readonly archive: boolean
  readonly announced_at: Date
  readonly session_name: string | null
  readonly is_sending: boolean
  readonly is_column_rewritten: boolean
  readonly detached_at: Date | null
  readonly attached_again_slot: string | null
  readonly batch_ids: readonly string[]
  readonly row_count: string
  readonly hash_high: string
  readonly hash_low: string
  readonly columns: string | null
  readonly last_time: string | null
  readonly last_key: readonly string[] | null
  readonly checked_ids: readonly string[]
  readonly now_schema: string | null
  readonly now_name: string | null
  readonly is_table: boolean | null
  readonly parent_schema: string | null
  readonly parent_name: string | null
  readonly is_pending: boolean | null
  readonly name_taken: boolean
  readonly is_restored: boolean
}

/** What was read back is not read again for so long: else a partition that takes longer than one run to read back would never go. */
const isCheckFresh = sql`r.checked_since > now() - interval '1 day'`

/** Of the first column there is. A detach and an attach write those of all columns; GRANT, VACUUM and REINDEX CONCURRENTLY write none. */
const columnVersion = sql`(SELECT k.xmin::text FROM pg_catalog.pg_attribute k
    WHERE k.attrelid = r.partition_oid AND k.attnum > 0 AND NOT k.attisdropped ORDER BY k.attnum LIMIT 1)`

/** Partitions that were announced and not dropped since, in the order of their announcement, with where they are now. */
export async function selectPartitionRecords(db: Kysely<unknown>, schema: string): Promise<readonly PartitionRecord[]> {
  const { rows } = await sql<RecordRow>`
    SELECT r.id, r.policy, r.relation, r.partition, r.partition_oid::text AS oid, r.bounds, r.archive,
      r.announced_at, r.session_name, r.detached_at, r.column_version IS NOT NULL AND r.column_version IS DISTINCT FROM ${columnVersion} AS is_column_rewritten,
      EXISTS (SELECT FROM pg_catalog.pg_stat_activity a WHERE r.session_name <> '' AND a.application_name = r.session_name) AS is_sending,
      r.attached_again_slot, r.batch_ids::text[] AS batch_ids, r.row_count::text AS row_count, r.hash_high::text AS hash_high,
      r.hash_low::text AS hash_low, r.columns, r.last_time, r.last_key,
      CASE WHEN ${isCheckFresh} THEN r.checked_ids ELSE '{}' END::text[] AS checked_ids, n.nspname AS now_schema, c.relname AS now_name,
      c.relkind = 'r' AS is_table, pn.nspname AS parent_schema, p.relname AS parent_name, i.inhdetachpending AS is_pending,
      pg_catalog.to_regclass(r.partition) IS NOT NULL AS name_taken,
      c.oid IS NULL AND EXISTS (SELECT FROM pg_catalog.pg_inherits a
        WHERE a.inhrelid = pg_catalog.to_regclass(r.partition) AND NOT a.inhdetachpending
          AND a.inhparent = pg_catalog.to_regclass(r.relation)) AS is_restored
    FROM ${tableIn(schema)} r
      LEFT JOIN pg_catalog.pg_class c ON c.oid = r.partition_oid
      LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      LEFT JOIN pg_catalog.pg_inherits i ON i.inhrelid = c.oid
      LEFT JOIN pg_catalog.pg_class p ON p.oid = i.inhparent
      LEFT JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace
    WHERE r.dropped_at IS NULL ORDER BY r.announced_at, r.id`.execute(db)
  return rows.map((row) => ({
    id: row.id,
    policy: row.policy,
    relation: row.relation,
    partition: row.partition,
    oid: row.oid,
    bounds: row.bounds,
    archive: row.archive,
    announcedAt: row.announced_at,
    session: row.session_name ?? undefined,
    isSending: row.is_sending,
    isColumnRewritten: row.is_column_rewritten,
    detachedAt: row.detached_at ?? undefined,
    attachedAgainSlot: row.attached_again_slot ?? undefined,
    archived: {
      batchIds: row.batch_ids,
      rows: Number(row.row_count),
      hash: { high: BigInt(row.hash_high), low: BigInt(row.hash_low) },
      columns: row.columns ?? undefined,
      last: row.last_time === null ? undefined : { time: row.last_time, key: row.last_key ?? [] },
    },
    checkedIds: row.checked_ids,
    place: placeOf(row),
  }))
}

/** Number and name have to fit. After a restore by pg_dump the number is somebody else's; after a rename somebody means something by it. */
function placeOf(row: RecordRow): PartitionPlace {
  const { now_schema, now_name, parent_schema, parent_name } = row
  const isIt =
    now_schema !== null &&
    now_name !== null &&
    row.is_table === true &&
    isSameRelation({ schema: now_schema, name: now_name }, parseRelationName(row.partition))
  if (row.is_restored) return 'restored'
  if (!isIt) return row.name_taken || (now_name !== null && row.is_table === true) ? 'unknown' : 'gone'
  if (parent_schema === null || parent_name === null) return 'detached'
  if (!isSameRelation({ schema: parent_schema, name: parent_name }, parseRelationName(row.relation))) return 'elsewhere'
  return row.is_pending === true ? 'pending' : 'attached'
}

export type NewPartitionRecord = Pick<
  PartitionRecord,
  'id' | 'policy' | 'relation' | 'partition' | 'oid' | 'bounds' | 'archive'
>

/**
 * Before DETACH begins. One that was announced before, and never detached, is announced anew: with a number of its own, so that whoever
 * announced it before sends nothing any more.
 */
export async function upsertAnnounced(db: Kysely<unknown>, schema: string, record: NewPartitionRecord): Promise<void> {
  await sql`
    INSERT INTO ${tableIn(schema)} AS r (id, policy, relation, partition, partition_oid, bounds, archive, announced_at, session_name, column_version)
    SELECT ${record.id}::uuid, ${record.policy}::text, ${record.relation}::text, ${record.partition}::text, r.partition_oid,
      ${record.bounds}::text, ${record.archive}::boolean, clock_timestamp(), NULL, ${columnVersion} FROM (VALUES (${record.oid}::oid)) r (partition_oid)
    ON CONFLICT (partition_oid) WHERE dropped_at IS NULL DO UPDATE SET id = excluded.id, policy = excluded.policy,
      relation = excluded.relation, partition = excluded.partition, bounds = excluded.bounds, archive = excluded.archive,
      announced_at = excluded.announced_at, session_name = NULL, column_version = excluded.column_version, detached_at = NULL,
      attached_again_slot = NULL, batch_ids = '{}', row_count = 0, hash_high = 0, hash_low = 0, columns = NULL, last_time = NULL,
      last_key = NULL`.execute(db)
}

/**
 * In the session that sends DETACH, right before it: from now on a detach counts as ours, for as long as that session is there.
 * @returns false when the announcement was taken back meanwhile: then nothing may be sent
 */
export async function updateSession(db: Kysely<unknown>, schema: string, id: string): Promise<boolean> {
  const { numAffectedRows } = await sql`
    UPDATE ${tableIn(schema)} SET session_name = pg_catalog.current_setting('application_name')
    WHERE id = ${id}::uuid AND session_name IS NULL`.execute(db)
  return numAffectedRows === 1n
}

export async function updateDetached(db: Kysely<unknown>, schema: string, id: string): Promise<void> {
  await sql`UPDATE ${tableIn(schema)} r SET detached_at = clock_timestamp(), attached_again_slot = NULL, column_version = ${columnVersion}
    WHERE r.id = ${id}::uuid AND r.detached_at IS NULL`.execute(db)
}

/** In the transaction that marks the batch verified. */
export async function updateArchived(
  db: Kysely<unknown>,
  schema: string,
  id: string,
  archived: ArchivedSoFar,
): Promise<void> {
  await sql`UPDATE ${tableIn(schema)} SET batch_ids = ${[...archived.batchIds]}::uuid[], row_count = ${archived.rows},
      hash_high = ${archived.hash.high.toString()}::numeric, hash_low = ${archived.hash.low.toString()}::numeric,
      columns = ${archived.columns ?? null}, last_time = ${archived.last?.time ?? null},
      last_key = ${archived.last === undefined ? null : [...archived.last.key]}::text[]
    WHERE id = ${id}::uuid`.execute(db)
}

export async function updateChecked(
  db: Kysely<unknown>,
  schema: string,
  id: string,
  checkedIds: readonly string[],
): Promise<void> {
  await sql`UPDATE ${tableIn(schema)} r SET checked_ids = ${[...checkedIds]}::uuid[],
      checked_since = CASE WHEN ${isCheckFresh} THEN r.checked_since ELSE now() END
    WHERE r.id = ${id}::uuid`.execute(db)
}

export async function updateAttachedAgain(
  db: Kysely<unknown>,
  schema: string,
  id: string,
  slotId: string,
): Promise<void> {
  await sql`UPDATE ${tableIn(schema)} SET attached_again_slot = ${slotId} WHERE id = ${id}::uuid`.execute(db)
}

export async function updateDropped(db: Kysely<unknown>, schema: string, id: string): Promise<void> {
  await sql`UPDATE ${tableIn(schema)} SET dropped_at = clock_timestamp() WHERE id = ${id}::uuid`.execute(db)
}

/** Unless a session has begun to send its DETACH since the record was read. */
export async function deletePartitionRecord(
  db: Kysely<unknown>,
  schema: string,
  { id, session }: Pick<PartitionRecord, 'id' | 'session'>,
): Promise<void> {
  await sql`DELETE FROM ${tableIn(schema)} WHERE id = ${id}::uuid AND session_name IS NOT DISTINCT FROM ${session ?? null}`.execute(
    db,
  )
}

/** Batches of partitions that are archived and not dropped yet: verified, and to be kept. */
export async function selectKeptBatchIds(db: Kysely<unknown>, schema: string): Promise<ReadonlySet<string>> {
  const { rows } = await sql<{ readonly id: string }>`
    SELECT unnest(batch_ids)::text AS id FROM ${tableIn(schema)} WHERE dropped_at IS NULL`.execute(db)
  return new Set(rows.map(({ id }) => id))
}

/** SQL that makes room for the rows of a batch which left with their partition; undefined: they did not. */
export async function selectCreateStatement(
  db: Kysely<unknown>,
  schema: string,
  batchId: string,
): Promise<string | undefined> {
  const { rows } = await sql<Pick<RecordRow, 'relation' | 'partition' | 'bounds'>>`
    SELECT relation, partition, bounds FROM ${tableIn(schema)} WHERE batch_ids @> ARRAY[${batchId}::uuid]`.execute(db)
  const [row] = rows
  return row === undefined ? undefined : createStatement(row)
}

/** The same for rows that left one by one: a partition of their month. */
export function createMonthStatement({
  relation,
  month,
}: {
  readonly relation: string
  readonly month: string
}): string {
  const { schema, name } = parseRelationName(relation)
  const ending = `_${month.replace('-', '_')}`
  const partition = keyOf({ schema, name: `${cutToBytes(name, maxIdentifierBytes - ending.length)}${ending}` })
  const bounds = `FOR VALUES FROM ('${month}-01 00:00:00+00') TO ('${addMonths(month, 1)}-01 00:00:00+00')`
  return createStatement({ relation, partition, bounds })
}

function createStatement(record: Pick<PartitionRecord, 'relation' | 'partition' | 'bounds'>): string {
  return `CREATE TABLE ${quoted(record.partition)} PARTITION OF ${quoted(record.relation)} ${record.bounds}`
}

export function attachStatement(record: Pick<PartitionRecord, 'relation' | 'partition' | 'bounds'>): string {
  return `ALTER TABLE ${quoted(record.relation)} ATTACH PARTITION ${quoted(record.partition)} ${record.bounds}`
}

function quoted(relation: string): string {
  const { schema, name } = parseRelationName(relation)
  return quoteRelation(schema, name)
}
