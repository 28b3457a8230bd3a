/** What the planner believes against what is there. */
import type pg from 'pg'

export interface RowEstimate {
  readonly table: string
  /** `pg_class.reltuples`; undefined before the first ANALYZE, when it is -1. */
  readonly estimated: number | undefined
  readonly rows: number
}

/** BattleScope's tables that have rows, the largest first. */
export async function selectRowEstimates(client: pg.Client): Promise<readonly RowEstimate[]> {
  const { rows: relations } = await client.query<{ table: string; estimated: number }>(
    `select c.relname as table, c.reltuples as estimated
       from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
      where n.nspname = 'public' and c.relkind = 'r'`,
  )
  const estimates: RowEstimate[] = []
  for (const { table, estimated } of relations) {
    const { rows } = await client.query<{ count: string }>(
      `select count(*) as count from public.${client.escapeIdentifier(table)}`,
    )
    const count = Number(rows[0]?.count)
    if (count > 0) estimates.push({ table, estimated: estimated < 0 ? undefined : estimated, rows: count })
  }
  return estimates.sort((a, b) => b.rows - a.rows || a.table.localeCompare(b.table))
}

export interface QueryEstimate {
  readonly question: string
  readonly estimated: number
  readonly rows: number
}

/** Questions that BattleScope's services ask, each a condition on one table. */
const questions = [
  { question: 'killmails that wait for the clusterer', from: 'killmail_events where processed_at is null' },
  { question: "enrichments that are 'failed'", from: `killmail_enrichments where status = 'failed'` },
  { question: 'capsules flown', from: 'pilot_ship_history where ship_type_id = 670' },
  {
    question: 'battles of the busiest system',
    from: 'battles where system_id = $busiest',
  },
] as const

/** How many rows the planner expects of such questions, and how many there are. */
export async function selectQueryEstimates(client: pg.Client): Promise<readonly QueryEstimate[]> {
  const { rows: busiest } = await client.query<{ system_id: string }>(
    'select system_id from public.battles group by 1 order by count(*) desc, 1 limit 1',
  )
  const estimates: QueryEstimate[] = []
  for (const { question, from: template } of questions) {
    // As a constant: what the planner cannot see it can only guess.
    const from = template.replace('$busiest', busiest[0]?.system_id ?? '0')
    const { rows: explained } = await client.query<{ 'QUERY PLAN': [{ Plan: { 'Plan Rows': number } }] }>(
      `explain (format json) select * from public.${from}`,
    )
    const { rows: counted } = await client.query<{ count: string }>(`select count(*) as count from public.${from}`)
    estimates.push({
      question,
      estimated: explained[0]?.['QUERY PLAN'][0].Plan['Plan Rows'] ?? 0,
      rows: Number(counted[0]?.count),
    })
  }
  return estimates
}
