/** This task's own tables in the scheduler's schema: what it learned of each index, and every rebuild. Their DDL is a migration of scheduler-core. */
import { sql, type Kysely } from 'kysely'
import type { LearnedIndex, Rebuild } from './facts.js'

type Db = Kysely<unknown>

/** Rebuilds that decisions look back on. */
const historyDays = 400

// ── reads ────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Empty before the tables were made, as in the plan of a first run. */
export async function selectLearned(db: Db, schema: string | undefined): Promise<readonly LearnedIndex[]> {
  if (schema === undefined) return []
  const { rows } = await sql<Omit<LearnedIndex, 'bestBytesPerTuple'> & { bestBytesPerTuple: number | null }>`
    SELECT index_oid::int8::float8 AS oid, relation, index_name AS "indexName", definition, best_bytes_per_tuple AS "bestBytesPerTuple",
      first_seen_at AS "firstSeenAt"
    FROM ${sql.id(schema, 'reindex_index')} ORDER BY index_oid`.execute(db)
  return rows.map((row) => ({ ...row, bestBytesPerTuple: row.bestBytesPerTuple ?? undefined }))
}

type RebuildRow = { readonly [Key in keyof Rebuild]: Exclude<Rebuild[Key], undefined> | null }

/** Newest first; unfinished ones however old. */
export async function selectRebuilds(db: Db, schema: string | undefined): Promise<readonly Rebuild[]> {
  if (schema === undefined) return []
  const { rows } = await sql<RebuildRow>`
    SELECT id, relation, index_name AS "indexName", definition, table_oid::int8::float8 AS "tableOid", index_oid::int8::float8 AS "indexOid",
      new_index_oid::int8::float8 AS "newIndexOid", to_json(invalid_before::int8[]) AS "invalidBefore", session_name AS "sessionName",
      size_before_bytes::float8 AS "sizeBeforeBytes", work_bytes::float8 AS "workBytes", predicted_ms::float8 AS "predictedMs",
      started_at AS "startedAt", leftover_oid::int8::float8 AS "leftoverOid", ended_at AS "endedAt", outcome, error_code AS "errorCode",
      duration_ms::float8 AS "durationMs"
    FROM ${sql.id(schema, 'reindex_rebuild')}
    WHERE ended_at IS NULL OR started_at > now() - ${historyDays} * interval '1 day'
    ORDER BY started_at DESC, id LIMIT 2000`.execute(db)
  return rows.map((row) => ({
    ...(row as unknown as Rebuild),
    newIndexOid: row.newIndexOid ?? undefined,
    leftoverOid: row.leftoverOid ?? undefined,
    endedAt: row.endedAt ?? undefined,
    outcome: row.outcome ?? undefined,
    errorCode: row.errorCode ?? undefined,
    durationMs: row.durationMs ?? undefined,
  }))
}

// ── writes ───────────────────────────────────────────────────────────────────────────────────────────────────────

/** What was learned, and which indexes are no more. */
export interface Learning {
  readonly learned: readonly LearnedIndex[]
  readonly forgotten: readonly number[]
}

export async function saveLearning(db: Db, schema: string, { learned, forgotten }: Learning): Promise<void> {
  await sql`
    DELETE FROM ${sql.id(schema, 'reindex_index')}
    WHERE index_oid = ANY (SELECT o::oid FROM unnest(${forgotten.map(String)}::int8[]) AS o)`.execute(db)
  const rows = JSON.stringify(learned.map((index) => ({ ...index, firstSeenAt: index.firstSeenAt.toISOString() })))
  await sql`
    INSERT INTO ${sql.id(schema, 'reindex_index')} AS i (index_oid, relation, index_name, definition, best_bytes_per_tuple, first_seen_at)
    SELECT r.oid::int8::oid, r.relation, r."indexName", r.definition, r."bestBytesPerTuple", r."firstSeenAt"
    FROM json_to_recordset(${rows}::json) AS r (oid text, relation text, "indexName" text, definition text, "bestBytesPerTuple" float8,
      "firstSeenAt" timestamptz)
    ON CONFLICT (index_oid) DO UPDATE SET relation = excluded.relation, index_name = excluded.index_name, definition = excluded.definition,
      best_bytes_per_tuple = excluded.best_bytes_per_tuple, first_seen_at = excluded.first_seen_at, learned_at = now()`.execute(
    db,
  )
}

export type Announcement = Pick<
  Rebuild,
  | 'id'
  | 'relation'
  | 'indexName'
  | 'definition'
  | 'tableOid'
  | 'indexOid'
  | 'sessionName'
  | 'sizeBeforeBytes'
  | 'workBytes'
  | 'predictedMs'
>

/**
 * Before the rebuild begins. What is invalid on the table is read in the very statement that writes it down, so that nothing comes between.
 * @returns false when the index is not what it was taken for any more; nothing is written then
 */
export async function announceRebuild(db: Db, schema: string, rebuild: Announcement): Promise<boolean> {
  const { rows } = await sql`
    INSERT INTO ${sql.id(schema, 'reindex_rebuild')} (id, relation, index_name, definition, table_oid, index_oid, invalid_before, session_name,
      size_before_bytes, work_bytes, predicted_ms)
    SELECT ${rebuild.id}, ${rebuild.relation}, ${rebuild.indexName}, ${rebuild.definition}, i.indrelid, i.indexrelid,
      coalesce((SELECT array_agg(o.indexrelid) FROM pg_catalog.pg_index o WHERE o.indrelid = i.indrelid AND NOT o.indisvalid), '{}'),
      ${rebuild.sessionName}, ${rebuild.sizeBeforeBytes}::int8, ${rebuild.workBytes}::int8, ${rebuild.predictedMs}::int8
    FROM pg_catalog.pg_index i
    WHERE i.indexrelid = (${rebuild.indexOid}::int8)::oid AND i.indrelid = (${rebuild.tableOid}::int8)::oid AND i.indisvalid
    RETURNING 1`.execute(db)
  return rows.length === 1
}

export async function noteNewIndex(db: Db, schema: string, id: string, oid: number): Promise<void> {
  await sql`
    UPDATE ${sql.id(schema, 'reindex_rebuild')} SET new_index_oid = (${oid}::int8)::oid
    WHERE id = ${id} AND ended_at IS NULL`.execute(db)
}

/** A copy gets another name with this, so from here on it has to be known by its number. */
export async function noteLeftover(db: Db, schema: string, id: string, oid: number): Promise<void> {
  await sql`
    UPDATE ${sql.id(schema, 'reindex_rebuild')} SET leftover_oid = (${oid}::int8)::oid,
      new_index_oid = CASE WHEN index_oid = (${oid}::int8)::oid THEN new_index_oid ELSE (${oid}::int8)::oid END
    WHERE id = ${id} AND ended_at IS NULL`.execute(db)
}

export interface RebuildEnd {
  readonly outcome: NonNullable<Rebuild['outcome']>
  readonly errorCode?: string | undefined
  readonly durationMs?: number | undefined
  readonly sizeAfterBytes?: number | undefined
  /** The index that serves now, when it is the copy. */
  readonly newIndexOid?: number | undefined
}

export async function closeRebuild(db: Db, schema: string, id: string, end: RebuildEnd): Promise<void> {
  await sql`
    UPDATE ${sql.id(schema, 'reindex_rebuild')}
    SET ended_at = now(), outcome = ${end.outcome}, error_code = coalesce(${end.errorCode ?? null}::text, error_code),
      duration_ms = coalesce(${end.durationMs ?? null}::int8, duration_ms), size_after_bytes = ${end.sizeAfterBytes ?? null}::int8,
      new_index_oid = coalesce(new_index_oid, (${end.newIndexOid ?? null}::int8)::oid)
    WHERE id = ${id} AND ended_at IS NULL`.execute(db)
}

/** The statement failed while its process was alive: how, and after how long. What it left is looked at next. */
export async function noteFailure(
  db: Db,
  schema: string,
  id: string,
  errorCode: string,
  durationMs: number,
): Promise<void> {
  await sql`
    UPDATE ${sql.id(schema, 'reindex_rebuild')} SET error_code = ${errorCode}, duration_ms = ${durationMs}::int8
    WHERE id = ${id} AND ended_at IS NULL`.execute(db)
}
