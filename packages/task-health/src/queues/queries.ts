/**
 * What waits in PostgreSQL. Every statement goes by an index that is there anyway and has a limit on the rows that it looks at, so that
 * its cost does not grow with the relation, nor with the backlog.
 */
import { parseRelationName } from '@battlescope/database'
import { sql, type Kysely, type RawBuilder } from 'kysely'

/** Waiting rows that one statement looks at, at most. */
const mostRows = 10_000

export interface Waiting {
  readonly rows: number
  /** There may be more. */
  readonly isCapped: boolean
  /** Of the rows that were looked at; undefined when there is none. */
  readonly oldestAt: Date | undefined
}

interface CountRow {
  readonly rows: string
  readonly oldest: Date | null
}

function tableOf(name: string): RawBuilder<unknown> {
  const relation = parseRelationName(name)
  return sql`${sql.id(relation.schema, relation.name)}`
}

async function selectWaiting(db: Kysely<unknown>, rows: RawBuilder<unknown>): Promise<Waiting> {
  const { rows: counts } = await sql<CountRow>`
    SELECT count(*) AS rows, min(w.at) AS oldest FROM (${rows} LIMIT ${mostRows}) w`.execute(db)
  const count = Number(counts[0]?.rows ?? 0)
  return { rows: count, isCapped: count >= mostRows, oldestAt: counts[0]?.oldest ?? undefined }
}

/**
 * By the index on `status`. Of a large backlog PostgreSQL expects to meet enough rows soon without it, and reads all finished ones in front
 * of them; the order keeps it to the index, and BETWEEN keeps the order, which would be dropped as constant beside an equality.
 */
export function selectPendingEnrichments(db: Kysely<unknown>, enrichments: string): Promise<Waiting> {
  return selectWaiting(
    db,
    sql`SELECT e.created_at AS at FROM ${tableOf(enrichments)} e
      WHERE e.status BETWEEN 'pending' AND 'pending' ORDER BY e.status`,
  )
}

/** Begun, or not even begun, and untouched since then. By the index on `status`, and kept to it in the same way. */
export function selectStuckEnrichments(db: Kysely<unknown>, enrichments: string, since: Date): Promise<Waiting> {
  return selectWaiting(
    db,
    sql`SELECT u.updated_at AS at FROM (
        SELECT e.updated_at FROM ${tableOf(enrichments)} e
        WHERE e.status IN ('pending', 'processing') ORDER BY e.status LIMIT ${mostRows}) u
      WHERE u.updated_at < ${since}`,
  )
}

/** By the index on `processed_at`, to which the order keeps it; those within the processing delay wait on purpose and are left out. */
export function selectUnclustered(db: Kysely<unknown>, killmails: string, readyBefore: Date): Promise<Waiting> {
  return selectWaiting(
    db,
    sql`SELECT k.occurred_at AS at FROM ${tableOf(killmails)} k
      WHERE k.processed_at IS NULL AND k.occurred_at <= ${readyBefore} ORDER BY k.processed_at`,
  )
}

export interface NewestEnrichments {
  readonly rows: number
  readonly failed: number
}

/** Of the newest killmails, how many enrichments failed. By the primary key: no index finds the newest failures. */
export async function selectNewestEnrichments(
  db: Kysely<unknown>,
  enrichments: string,
  sample: number,
): Promise<NewestEnrichments> {
  const { rows } = await sql<{ rows: string; failed: string }>`
    SELECT count(*) FILTER (WHERE n.status IN ('succeeded', 'failed')) AS rows,
      count(*) FILTER (WHERE n.status = 'failed') AS failed
    FROM (SELECT e.status FROM ${tableOf(enrichments)} e ORDER BY e.killmail_id DESC LIMIT ${sample}) n`.execute(db)
  return { rows: Number(rows[0]?.rows ?? 0), failed: Number(rows[0]?.failed ?? 0) }
}

/**
 * Of the newest killmails that came before then, those that nobody even wants to enrich. By both primary keys: OFFSET keeps PostgreSQL
 * from reading all enrichments into a hash table.
 */
export async function selectUnqueuedKillmails(
  db: Kysely<unknown>,
  relations: { readonly killmails: string; readonly enrichments: string },
  fetchedBefore: Date,
  sample: number,
): Promise<Waiting> {
  const { rows } = await sql<CountRow>`
    SELECT count(*) AS rows, min(n.fetched_at) AS oldest
    FROM (SELECT k.killmail_id, k.fetched_at FROM ${tableOf(relations.killmails)} k
      ORDER BY k.killmail_id DESC LIMIT ${sample}) n
    WHERE n.fetched_at < ${fetchedBefore}
      AND NOT EXISTS (SELECT 1 FROM ${tableOf(relations.enrichments)} e WHERE e.killmail_id = n.killmail_id OFFSET 0)`.execute(
    db,
  )
  const count = Number(rows[0]?.rows ?? 0)
  return { rows: count, isCapped: count >= sample, oldestAt: rows[0]?.oldest ?? undefined }
}

export interface Arrivals {
  readonly newestAt: Date | undefined
  /** Killmails of the sample that came since then. */
  readonly recent: number
  /** 95 % of those took at most this long from the kill to our database. */
  readonly p95LagMs: number
}

/** The newest killmails by their numbers, which grow with time; no index knows when they came. */
export async function selectArrivals(
  db: Kysely<unknown>,
  killmails: string,
  since: Date,
  sample: number,
): Promise<Arrivals> {
  const { rows } = await sql<{ newest: Date | null; recent: string; lag: number | null }>`
    SELECT max(n.fetched_at) AS newest,
      count(*) FILTER (WHERE n.fetched_at >= ${since}) AS recent,
      percentile_disc(0.95) WITHIN GROUP (ORDER BY (extract(epoch FROM n.fetched_at - n.occurred_at) * 1000)::float8)
        FILTER (WHERE n.fetched_at >= ${since}) AS lag
    FROM (SELECT k.fetched_at, k.occurred_at FROM ${tableOf(killmails)} k
      ORDER BY k.killmail_id DESC LIMIT ${sample}) n`.execute(db)
  const [row] = rows
  return {
    newestAt: row?.newest ?? undefined,
    recent: Number(row?.recent ?? 0),
    p95LagMs: Math.max(0, row?.lag ?? 0),
  }
}
