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
  readonly announced_at: Date
  readonly detached_at: Date | null
  readonly attached_again_slot: string | null
  readonly batch_ids: readonly string[]
  readonly row_count: string
  readonly hash_high: string
  readonly hash_low: string
  readonly columns: string | null
  readonly last_time: string | null
  readonly last_key: readonly string[] | null
  readonly now_schema: string | null
  readonly now_name: string | null
  readonly is_table: boolean | null
  readonly parent_schema: string | null
  readonly parent_name: string | null
  readonly is_pending: boolean | null
  readonly name_taken: boolean
  readonly is_restored: boolean
}

/** Partitions that were announced and not dropped since, in the order of their announcement, with where they are now. */
export async function selectPartitionRecords(db: Kysely<unknown>, schema: string): Promise<readonly PartitionRecord[]> {
  const { rows } = await sql<RecordRow>`
    SELECT r.id, r.policy, r.relation, r.partition, r.partition_oid::text AS oid, r.bounds, r.announced_at, r.detached_at,
      r.attached_again_slot, r.batch_ids::text[] AS batch_ids, r.row_count::text AS row_count, r.hash_high::text AS hash_high,
      r.hash_low::text AS hash_low, r.columns, r.last_time, r.last_key, n.nspname AS now_schema, c.relname AS now_name,
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
    announcedAt: row.announced_at,
    detachedAt: row.detached_at ?? undefined,
    attachedAgainSlot: row.attached_again_slot ?? undefined,
    archived: {
      batchIds: row.batch_ids,
      rows: Number(row.row_count),
      hash: { high: BigInt(row.hash_high), low: BigInt(row.hash_low) },
      columns: row.columns ?? undefined,
      last: row.last_time === null ? undefined : { time: row.last_time, key: row.last_key ?? [] },
    },
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

export type NewPartitionRecord = Pick<PartitionRecord, 'id' | 'policy' | 'relation' | 'partition' | 'oid' | 'bounds'>

/** Before DETACH begins. One that was announced before, and never detached, is announced anew. @returns its id */
export async function upsertAnnounced(
  db: Kysely<unknown>,
  schema: string,
  record: NewPartitionRecord,
): Promise<string> {
  const { rows } = await sql<{ readonly id: string }>`
    INSERT INTO ${tableIn(schema)} AS r (id, policy, relation, partition, partition_oid, bounds, announced_at)
    VALUES (${record.id}::uuid, ${record.policy}, ${record.relation}, ${record.partition}, ${record.oid}::oid, ${record.bounds},
      clock_timestamp())
    ON CONFLICT (partition_oid) WHERE dropped_at IS NULL DO UPDATE SET policy = excluded.policy, relation = excluded.relation,
      partition = excluded.partition, bounds = excluded.bounds, announced_at = excluded.announced_at, detached_at = NULL,
      attached_again_slot = NULL, batch_ids = '{}', row_count = 0, hash_high = 0, hash_low = 0, columns = NULL, last_time = NULL,
      last_key = NULL
    RETURNING r.id`.execute(db)
  return rows[0]?.id ?? record.id
}

export async function updateDetached(db: Kysely<unknown>, schema: string, id: string): Promise<void> {
  await sql`UPDATE ${tableIn(schema)} SET detached_at = clock_timestamp(), attached_again_slot = NULL
    WHERE id = ${id}::uuid AND detached_at IS NULL`.execute(db)
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

export async function deletePartitionRecord(db: Kysely<unknown>, schema: string, id: string): Promise<void> {
  await sql`DELETE FROM ${tableIn(schema)} WHERE id = ${id}::uuid`.execute(db)
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
