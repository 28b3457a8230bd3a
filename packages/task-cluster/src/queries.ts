/** Every SQL statement of this task: reads first, then writes. Relations are configured, so each comes as an argument. */
import type { CatalogDatabase, KillmailEventTable, RelationName } from '@battlescope/database'
import { sql, type Kysely } from 'kysely'

export type ClusterTables = CatalogDatabase

type Killmail = Pick<KillmailEventTable, 'occurred_at' | 'processed_at' | 'fetched_at'>

/** What the table of jobs must have. */
export interface JobTable {
  slot_id: string
  requested_at: Date
  payload: unknown
  finished_at: Date | null
}

/** Names of a relation's columns; undefined when there is no such relation. */
export async function selectColumns(
  db: Kysely<ClusterTables>,
  { schema, name }: RelationName,
): Promise<ReadonlySet<string> | undefined> {
  const rows = await db
    .selectFrom('pg_catalog.pg_class as c')
    .innerJoin('pg_catalog.pg_namespace as n', 'n.oid', 'c.relnamespace')
    .leftJoin('pg_catalog.pg_attribute as a', (join) =>
      join.onRef('a.attrelid', '=', 'c.oid').on('a.attnum', '>', 0).on('a.attisdropped', '=', false),
    )
    .select('a.attname as column')
    .where('n.nspname', '=', schema)
    .where('c.relname', '=', name)
    .where('c.relkind', 'in', ['r', 'p', 'v', 'm', 'f'])
    .execute()
  return rows.length === 0 ? undefined : new Set(rows.flatMap(({ column }) => column ?? []))
}

export interface BacklogRequest {
  readonly relation: RelationName
  /** Database time. */
  readonly now: Date
  readonly processingDelayMs: number
  readonly serviceLevelMs: number
  readonly windowMs: number
  readonly countLimit: number
  /** Late arrivals can only be told where the relation says when they came. */
  readonly hasFetchedAt: boolean
}

export interface Backlog {
  /** Killmails that wait although they need not; at most `countLimit` are counted. */
  readonly waiting: number
  /** Of these, how many have been waiting for longer than the service level. */
  readonly late: number
  /** When the oldest of them took place. */
  readonly oldestAt: Date | undefined
  /** Since when the one that has waited longest could have been clustered. */
  readonly readySince: Date | undefined
  /** Killmails that could be clustered within the window, and how long 95 % of them had to wait at most, so far. */
  readonly recent: { readonly killmails: number; readonly p95LagMs: number }
}

/**
 * Everything about the backlog in one statement. Both reads of the relation go by the index on `processed_at` and have a limit, so that
 * the cost depends on what waits and on what was clustered lately, never on the size of the relation.
 */
export function backlogQuery(db: Kysely<ClusterTables>, request: BacklogRequest) {
  const { relation, now, processingDelayMs, serviceLevelMs, windowMs, countLimit } = request
  const killmails = sql<Killmail>`${sql.id(relation.schema, relation.name)}`.as('k')
  const at = (ms: number) => sql<Date>`${now}::timestamptz + ${ms}::float8 * interval '1 millisecond'`
  const delayed = sql<Date>`k.occurred_at + ${processingDelayMs}::float8 * interval '1 millisecond'`
  const readyAt = request.hasFetchedAt ? sql<Date>`greatest(${delayed}, k.fetched_at)` : delayed
  const lagMs = (from: string, until: string) =>
    sql<number>`greatest(0, extract(epoch FROM ${sql.ref(until)} - ${sql.ref(from)}) * 1000)::float8`
  return db
    .with('waiting', (qb) =>
      qb
        .selectFrom(killmails)
        .select(['k.occurred_at', readyAt.as('ready_at'), at(0).as('now')])
        .where('k.processed_at', 'is', null)
        .where('k.occurred_at', '<=', at(-processingDelayMs))
        .limit(countLimit),
    )
    .with('clustered', (qb) =>
      qb
        .selectFrom(killmails)
        .select(['k.processed_at', readyAt.as('ready_at')])
        .where('k.processed_at', '>', at(-windowMs))
        .orderBy('k.processed_at', 'desc')
        .limit(countLimit),
    )
    .with('recent', (qb) =>
      qb
        .selectFrom('waiting')
        .select(lagMs('ready_at', 'now').as('lag_ms'))
        .where('ready_at', '>', at(-windowMs))
        .unionAll(
          qb
            .selectFrom('clustered')
            .select(lagMs('ready_at', 'processed_at').as('lag_ms'))
            .where('ready_at', '>', at(-windowMs)),
        ),
    )
    .selectFrom('waiting')
    .select((eb) => [
      eb.fn.countAll<string>().as('waiting'),
      eb.fn.countAll<string>().filterWhere('ready_at', '<', at(-serviceLevelMs)).as('late'),
      eb.fn.min<Date | null>('occurred_at').as('oldest_at'),
      eb.fn.min<Date | null>('ready_at').as('ready_since'),
      eb.selectFrom('recent').select(eb.fn.countAll<string>().as('killmails')).as('recent_killmails'),
      eb
        .selectFrom('recent')
        .select(sql<number | null>`percentile_disc(0.95) WITHIN GROUP (ORDER BY lag_ms)`.as('lag'))
        .as('p95_lag_ms'),
    ])
}

export async function selectBacklog(db: Kysely<ClusterTables>, request: BacklogRequest): Promise<Backlog> {
  const row = await backlogQuery(db, request).executeTakeFirstOrThrow()
  return {
    waiting: Number(row.waiting),
    late: Number(row.late),
    oldestAt: row.oldest_at ?? undefined,
    readySince: row.ready_since ?? undefined,
    recent: { killmails: Number(row.recent_killmails), p95LagMs: row.p95_lag_ms ?? 0 },
  }
}

export interface OpenJob {
  readonly slotId: string
  readonly requestedAt: Date
}

/** The newest job that its worker has not finished. */
export async function selectOpenJob(
  db: Kysely<ClusterTables>,
  { schema, name }: RelationName,
): Promise<OpenJob | undefined> {
  const row = await db
    .selectFrom(sql<JobTable>`${sql.id(schema, name)}`.as('job'))
    .select(['job.slot_id', 'job.requested_at'])
    .where('job.finished_at', 'is', null)
    .orderBy('job.requested_at', 'desc')
    .limit(1)
    .executeTakeFirst()
  return row === undefined ? undefined : { slotId: row.slot_id, requestedAt: row.requested_at }
}

/** One row for each slot, however often this is asked for. Resolves to the rows that it added. */
export async function insertJob(
  db: Kysely<ClusterTables>,
  { schema, name }: RelationName,
  job: { readonly slotId: string; readonly requestedAt: Date; readonly payload: string },
): Promise<number> {
  const { numAffectedRows } = await sql`
    INSERT INTO ${sql.id(schema, name)} (slot_id, requested_at, payload)
    VALUES (${job.slotId}, ${job.requestedAt}, ${job.payload}::jsonb)
    ON CONFLICT (slot_id) DO NOTHING`.execute(db)
  return Number(numAffectedRows ?? 0n)
}

/** Sent when the transaction commits; nobody gets it who does not LISTEN then. */
export async function notify(db: Kysely<ClusterTables>, channel: string, payload: string): Promise<void> {
  await sql`SELECT pg_catalog.pg_notify(${channel}, ${payload})`.execute(db)
}
