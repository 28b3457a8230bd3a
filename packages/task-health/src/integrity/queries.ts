/**
 * Whether battles fit what they are made of, on samples: the newest, and a window that moves through all of them from time to time. All
 * of it goes by primary keys; the cost depends on the size of the sample alone.
 */
import { parseRelationName } from '@battlescope/database'
import { sql, type Kysely, type RawBuilder } from 'kysely'
import type { HealthSettings } from '../settings.js'

/** Wrong ones that are looked at again, each time, until they are right or gone: a window that moved on has not repaired them. */
const mostRemembered = 50

export interface Sample {
  /** Battles of the newest killmails. */
  readonly newest: number
  /** Battles, or rows, of the moving window. */
  readonly window: number
  /** Where the window begins: after this key. Undefined: at the beginning. */
  readonly after: string | undefined
  /** Keys that were wrong at the last look. */
  readonly remembered: readonly string[]
  /** Battles made since then may still be at work on. */
  readonly settledBefore: Date
}

export interface Sampled {
  /** How many were looked at. */
  readonly looked: number
  readonly wrong: number
  /** Keys of those that are wrong, of at most 50. */
  readonly keys: readonly string[]
  /** The last key of the window; undefined when it came to the end, and the next one begins anew. */
  readonly next: string | undefined
}

interface SampledRow {
  readonly looked: string
  readonly wrong: string
  readonly keys: readonly string[] | null
  readonly next: string | null
  readonly in_window: string
}

function tableOf(name: string): RawBuilder<unknown> {
  const relation = parseRelationName(name)
  return sql`${sql.id(relation.schema, relation.name)}`
}

/** Smaller than every other uuid. */
const firstBattle = '00000000-0000-0000-0000-000000000000'

/**
 * Ends a correlated sub-select: so PostgreSQL asks the index once for each row of the sample, and cannot choose to read the whole
 * relation into a hash table instead, which costs more the larger the relation is.
 */
const byIndex = sql`OFFSET 0`

/** CTEs `in_window (id)` and `sample (id, …)`: settled battles alone. */
function battleSample({ battles, killmails }: HealthSettings, sample: Sample): RawBuilder<unknown> {
  const { newest, window, after = firstBattle, remembered, settledBefore } = sample
  return sql`
    in_window AS (
      SELECT b.id FROM ${tableOf(battles)} b WHERE b.id > ${after}::uuid ORDER BY b.id LIMIT ${window}),
    sample AS (
      SELECT b.* FROM (
        SELECT id FROM in_window
        UNION
        SELECT n.battle_id FROM (
          SELECT k.battle_id FROM ${tableOf(killmails)} k ORDER BY k.killmail_id DESC LIMIT ${newest}) n
        UNION
        SELECT unnest(${remembered}::uuid[])) i
      CROSS JOIN LATERAL (
        SELECT b.id, b.total_kills, b.total_isk_destroyed FROM ${tableOf(battles)} b
        WHERE b.id = i.id AND b.created_at < ${settledBefore} ${byIndex}) b)`
}

/** Counts of a CTE `looked_at (key, is_wrong)`, and of the CTE `in_window`, whose keys are `windowKey`. */
function summary(windowKey: RawBuilder<unknown>): RawBuilder<unknown> {
  return sql`
    SELECT (SELECT count(*) FROM looked_at) AS looked,
      (SELECT count(*) FROM looked_at WHERE is_wrong) AS wrong,
      (SELECT json_agg(e.key) FROM (SELECT key FROM looked_at WHERE is_wrong ORDER BY key LIMIT ${mostRemembered}) e) AS keys,
      (SELECT count(*) FROM in_window) AS in_window,
      (SELECT ${windowKey}::text FROM in_window ORDER BY ${windowKey} DESC LIMIT 1) AS next`
}

function sampledOf(rows: readonly SampledRow[], window: number): Sampled {
  const [row] = rows
  return {
    looked: Number(row?.looked ?? 0),
    wrong: Number(row?.wrong ?? 0),
    keys: row?.keys ?? [],
    next: Number(row?.in_window ?? 0) < window ? undefined : (row?.next ?? undefined),
  }
}

/** Battles whose totals are not those of their killmails. Less than one ISK is rounding. */
export async function selectWrongTotals(
  db: Kysely<unknown>,
  settings: HealthSettings,
  sample: Sample,
): Promise<Sampled> {
  const { rows } = await sql<SampledRow>`
    WITH ${battleSample(settings, sample)},
    looked_at AS (
      SELECT s.id::text AS key, s.total_kills <> k.kills OR abs(s.total_isk_destroyed - k.isk) >= 1 AS is_wrong
      FROM sample s CROSS JOIN LATERAL (
        SELECT count(*) AS kills, coalesce(sum(bk.isk_value), 0) AS isk
        FROM ${tableOf(settings.battleKillmails)} bk WHERE bk.battle_id = s.id ${byIndex}) k)
    ${summary(sql`id`)}`.execute(db)
  return sampledOf(rows, sample.window)
}

/** Battles with fewer killmails than a battle has. */
export async function selectTooSmall(
  db: Kysely<unknown>,
  settings: HealthSettings,
  sample: Sample,
  fewestKills: number,
): Promise<Sampled> {
  const { rows } = await sql<SampledRow>`
    WITH ${battleSample(settings, sample)},
    looked_at AS (
      SELECT s.id::text AS key, (
        SELECT count(*) FROM (SELECT 1 FROM ${tableOf(settings.battleKillmails)} bk
          WHERE bk.battle_id = s.id LIMIT ${fewestKills}) c) < ${fewestKills} AS is_wrong
      FROM sample s)
    ${summary(sql`id`)}`.execute(db)
  return sampledOf(rows, sample.window)
}

/** Battles in which nobody took part. */
export async function selectWithoutParticipants(
  db: Kysely<unknown>,
  settings: HealthSettings,
  sample: Sample,
): Promise<Sampled> {
  const { rows } = await sql<SampledRow>`
    WITH ${battleSample(settings, sample)},
    looked_at AS (
      SELECT s.id::text AS key, NOT EXISTS (
        SELECT 1 FROM ${tableOf(settings.battleParticipants)} p WHERE p.battle_id = s.id ${byIndex}) AS is_wrong
      FROM sample s)
    ${summary(sql`id`)}`.execute(db)
  return sampledOf(rows, sample.window)
}

/** A column by which rows belong to others. */
interface Reference {
  readonly column: string
  /** Of the relation that they belong to. */
  readonly key: string
  readonly type: RawBuilder<unknown>
  /** Smaller than every value. */
  readonly first: string
}

const toBattle: Reference = { column: 'battle_id', key: 'id', type: sql`uuid`, first: firstBattle }
const toKillmail: Reference = { column: 'killmail_id', key: 'killmail_id', type: sql`bigint`, first: '-1' }

type Window = Pick<Sample, 'window' | 'after' | 'remembered'>

/**
 * Rows of a relation that belong to what is not there. The window moves by what they belong to, and comes to an end within one of these only
 * if that has more rows than the window: then the rest of them is passed over, not the next one.
 */
async function selectOrphans(
  db: Kysely<unknown>,
  relation: string,
  { column, key, type, first }: Reference,
  owners: string,
  { window, after = first, remembered }: Window,
): Promise<Sampled> {
  const owner = sql.id(column)
  const { rows } = await sql<SampledRow>`
    WITH in_window AS (
      SELECT r.${owner} AS owner FROM ${tableOf(relation)} r
      WHERE r.${owner} > ${after}::${type} ORDER BY r.${owner} LIMIT ${window}),
    looked_at AS (
      SELECT d.owner::text AS key, NOT EXISTS (
        SELECT 1 FROM ${tableOf(owners)} o WHERE o.${sql.id(key)} = d.owner ${byIndex}) AS is_wrong
      FROM (
        SELECT owner FROM in_window
        UNION
        SELECT m.owner FROM unnest(${remembered}::${type}[]) m (owner)
        WHERE EXISTS (SELECT 1 FROM ${tableOf(relation)} r WHERE r.${owner} = m.owner ${byIndex})) d)
    ${summary(sql`owner`)}`.execute(db)
  return sampledOf(rows, window)
}

export function selectWithoutBattle(
  db: Kysely<unknown>,
  { battles }: HealthSettings,
  relation: string,
  sample: Window,
) {
  return selectOrphans(db, relation, toBattle, battles, sample)
}

export function selectWithoutKillmail(
  db: Kysely<unknown>,
  { killmails }: HealthSettings,
  relation: string,
  sample: Window,
) {
  return selectOrphans(db, relation, toKillmail, killmails, sample)
}

/** Of the newest killmails, those that say they belong to a battle which does not know them. */
export async function selectUnknownToBattle(
  db: Kysely<unknown>,
  settings: HealthSettings,
  { newest, remembered, settledBefore }: Sample,
): Promise<Sampled> {
  const { rows } = await sql<SampledRow>`
    WITH in_window AS (
      (SELECT k.killmail_id, k.battle_id, k.processed_at FROM ${tableOf(settings.killmails)} k
        ORDER BY k.killmail_id DESC LIMIT ${newest})
      UNION
      SELECT k.killmail_id, k.battle_id, k.processed_at FROM ${tableOf(settings.killmails)} k
      WHERE k.killmail_id = ANY (${remembered}::bigint[])),
    looked_at AS (
      SELECT w.killmail_id::text AS key, NOT EXISTS (
        SELECT 1 FROM ${tableOf(settings.battleKillmails)} bk
        WHERE bk.battle_id = w.battle_id AND bk.killmail_id = w.killmail_id ${byIndex}) AS is_wrong
      FROM in_window w WHERE w.battle_id IS NOT NULL AND w.processed_at < ${settledBefore})
    ${summary(sql`killmail_id`)}`.execute(db)
  return { ...sampledOf(rows, newest), next: undefined }
}
