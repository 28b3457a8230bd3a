/**
 * Which rows of a policy expire, as SQL conditions. Pure: builds SQL, sends none.
 *
 * A row **expires** when its time lies before the horizon, no `keepWhile` applies to it, and no hold covers it; one that belongs to a group
 * only together with the group; and one that stands for a group only when every member lies before the horizon. It may be **deleted**
 * when, beyond that, no member is left that is not also a child: PostgreSQL would refuse, or change the member.
 *
 * All conditions are written so that the planner can answer them for a set of rows at once: NOT EXISTS becomes an anti-join, and the
 * newest row is looked up once per statement.
 */
import type { RelationName } from '@battlescope/database'
import { sql, type RawBuilder } from 'kysely'
import {
  horizonOf,
  isSameRelation,
  keyOf,
  type Horizons,
  type KeepCondition,
  type Link,
  type Member,
  type Policy,
} from './policy.js'
import type { KeyColumn } from './preflight-facts.js'
import type { PreflightReport } from './preflight-report.js'

/** All that decides which rows of one policy expire. */
export interface Expiry {
  readonly policy: Policy
  /** All policies that stand on this schema: those of groups and members decide, too. */
  readonly policies: readonly Policy[]
  readonly horizons: Horizons
  /** Where the holds are; undefined: there are none yet. */
  readonly stateSchema: string | undefined
  /** The primary key of the policy's relation. */
  readonly keyColumns: readonly KeyColumn[]
  /** Links without an index on their columns: see {@link PreflightReport}. */
  readonly unindexed: ReadonlySet<string>
  /** OIDs of partitions whose rows are not to be deleted one by one. */
  readonly exceptPartitions?: readonly string[]
}

/** `public.killmail_events(battle_id)`: one text per link, whatever it points to. */
export function linkKeyOf({ relation, columns }: Pick<Link, 'relation' | 'columns'>): string {
  return `${keyOf(relation)}(${[...columns].sort().join(',')})`
}

/**
 * The expiry of one policy of a report.
 * @throws RangeError when the report does not have the policy
 */
export function expiryOf(
  report: PreflightReport,
  policyName: string,
  horizons: Horizons,
  stateSchema: string | undefined,
): Expiry {
  const own = report.policies.find(({ policy }) => policy.name === policyName)
  if (own === undefined) throw new RangeError(`no policy '${policyName}' in this report`)
  return {
    policy: own.policy,
    policies: report.policies.filter(({ state }) => state !== 'not-applicable').map(({ policy }) => policy),
    horizons,
    stateSchema,
    keyColumns: own.keys.get(keyOf(own.policy.relation)) ?? [],
    unindexed: report.unindexed,
  }
}

type Condition = RawBuilder<boolean>

/** Whether the row `alias` is one of those that a statement is about. */
export type Among = (alias: string) => Condition

/**
 * Whether the row `alias` of the policy's relation may be deleted now: what keys are selected by. It may cost a scan of each relation that
 * is looked at. The names g, h, m, n and o are taken by subqueries.
 */
export function isDeletable(expiry: Expiry, alias: string): Condition {
  const { policy, exceptPartitions = [] } = expiry
  const elsewhere = sql<boolean>`${sql.id(alias, 'tableoid')} <> ALL (${`{${exceptPartitions.join()}}`}::oid[])`
  return and([
    isExpired(expiry, alias),
    isNotNewest(expiry, policy, alias),
    ...(exceptPartitions.length === 0 ? [] : [elsewhere]),
  ])
}

/**
 * The same as a condition for the deleting statement itself, so that a row that changed since its key was selected is spared. Leaves out
 * what would cost a scan per statement: members of the row's group without an index on their link, and the newest row, which no row
 * becomes by our own deletes. Lock the rows FOR UPDATE in a statement before: then no member can come to point to them any more.
 * @param among the rows that the statement is about anyway: only their groups are then looked at
 */
export function stillExpired(expiry: Expiry, alias: string, among: Among): Condition {
  return isExpired(expiry, alias, among)
}

/** @param among as in {@link stillExpired}, which leaves out what is not cheap; undefined: all rows, whatever it costs */
function isExpired(expiry: Expiry, alias: string, among?: Among): Condition {
  const { policy, horizons } = expiry
  const horizon = horizonFor(horizons, policy)
  const membersLeft = policy.members.map((member) =>
    exists(member.relation, 'm', [
      equal('m', member.columns, alias, member.references),
      ...(member.isChild ? [isNotBefore(member, horizon)] : []),
    ]),
  )
  return and([
    isOld(expiry, policy, alias, { byKey: among !== undefined }),
    ...membersLeft.map(not),
    ...groupGoes(expiry, alias, among),
  ])
}

/** What keeps a group: rows of a relation, with the columns that name the group and those of its members that hold them. */
interface Keeper {
  readonly relation: RelationName
  readonly alias: string
  readonly columns: readonly string[]
  readonly links: readonly string[]
  readonly condition: Condition
}

/** First what stands for the group, found by its key, then its members, which point to the same columns. */
function keepersOf(
  expiry: Expiry,
  link: NonNullable<Policy['with']>,
  { cheap }: { readonly cheap: boolean },
): readonly Keeper[] {
  const { policy, policies, horizons, unindexed } = expiry
  const group = policies.find(({ name }) => name === link.policy)
  if (group === undefined) throw new RangeError(`no policy '${link.policy}', which '${policy.name}' expires with`)
  const goes = [isOld(expiry, group, 'g'), ...(cheap ? [] : [isNotNewest(expiry, group, 'g')])]
  const members = group.members.filter((member) => !cheap || !unindexed.has(linkKeyOf(member)))
  const own = { relation: group.relation, alias: 'g', columns: link.references, links: link.columns }
  return [
    { ...own, condition: isNotTrue(and(goes)) },
    ...members.map((member) => ({
      relation: member.relation,
      alias: 'm',
      columns: member.columns,
      links: member.references.map((reference) => link.columns[link.references.indexOf(reference)] ?? ''),
      condition: isNotBefore(member, horizonFor(horizons, group)),
    })),
  ]
}

/**
 * Whether nothing keeps the group of a row. Of named rows it is asked once for each of their groups, not once for each row: killmails of one
 * battle are deleted together, and to look up their battle and all of its members for each of them takes a quarter of the time of the
 * deletes. Of all rows the planner joins better where it sees what it joins.
 *
 * A group must be one of those that were looked at: PostgreSQL asks again for a row that another transaction has just changed, but looks up
 * no other row again, so that one which had joined a live group would go as if it had none.
 */
function groupGoes(expiry: Expiry, alias: string, among: Among | undefined): readonly Condition[] {
  const { policy } = expiry
  const link = policy.with
  if (link === undefined) return []
  const keepers = keepersOf(expiry, link, { cheap: among !== undefined })
  const pointsTo = (keeper: Keeper, from: string) => equal(keeper.alias, keeper.columns, from, keeper.links)
  if (among === undefined) {
    return keepers.map((keeper) =>
      not(exists(keeper.relation, keeper.alias, [pointsTo(keeper, alias), keeper.condition])),
    )
  }
  const columnsOf = (of: string) => link.columns.map((column) => sql.id(of, column))
  const kept = keepers.map(
    (
      keeper,
    ) => sql`SELECT o.* FROM o JOIN ${tableOf(keeper.relation)} ${sql.id(keeper.alias)} ON ${pointsTo(keeper, 'o')}
      WHERE ${keeper.condition}`,
  )
  return [
    or([
      ...columnsOf(alias).map((column) => sql<boolean>`${column} IS NULL`),
      sql<boolean>`(${sql.join(columnsOf(alias))}) IN (
        WITH o AS MATERIALIZED (SELECT DISTINCT ${sql.join(columnsOf('n'))} FROM ${tableOf(policy.relation)} n WHERE ${among('n')})
        SELECT * FROM o EXCEPT (${sql.join(kept, sql` UNION ALL `)}))`,
    ]),
  ]
}

/**
 * Whether the row will be deletable in this slot, as far as can be told before the policies of its members have run: members that they
 * will delete count as gone. A forecast for plans, nothing to delete by.
 */
export function willBeDeletable(expiry: Expiry, alias: string): Condition {
  const { policy, policies, horizons } = expiry
  const horizon = horizonFor(horizons, policy)
  const alone = { ...expiry, policy: { ...policy, members: [] } }
  const free = policy.members.map((member) => {
    const owner = policies.find(({ relation }) => isSameRelation(relation, member.relation))
    const young = isNotBefore(member, horizon)
    // A member that no other policy deletes stays.
    const stays =
      owner === undefined || owner.name === policy.name
        ? []
        : [or([young, isNotTrue(and([isOld(expiry, owner, 'm'), isNotNewest(expiry, owner, 'm')]))])]
    return isWithoutMember(policy, member, alias, member.isChild ? [young] : stays)
  })
  return and([isDeletable(alone, alias), ...free])
}

/**
 * Whether no row of the member that meets the conditions points to the row `alias`. A difference of two sets, not a NOT EXISTS: of several
 * of those the planner believes that the first one leaves a single row, and then scans the relation of the next once for each row that is
 * really left: with 2 500 of 5 400 battles expired it ran into a limit of ten seconds, and takes one now.
 */
function isWithoutMember(policy: Policy, member: Member, alias: string, conditions: readonly Condition[]): Condition {
  const columnsOf = (of: string, columns: readonly string[]) => sql.join(columns.map((column) => sql.id(of, column)))
  return sql`(${columnsOf(alias, member.references)}) IN (
    SELECT ${columnsOf('n', member.references)} FROM ${tableOf(policy.relation)} n
    EXCEPT SELECT ${columnsOf('m', member.columns)} FROM ${tableOf(member.relation)} m
    ${conditions.length === 0 ? sql`` : sql`WHERE ${and(conditions)}`})`
}

/** Nothing older expires: to_char knows no year before 1, and -infinity has no month. Such rows stay for people to look at. */
const beginningOfTime = sql`'0001-01-01 00:00:00+00'::timestamptz`

/**
 * What the row says itself: before the horizon, not kept by a column, not held. Never true for a NULL time.
 * `byKey`: rows are found by their key. IS TRUE then keeps the planner off the index on the time column, by which it would look through
 * everything that has expired in every batch.
 */
function isOld({ horizons, stateSchema }: Expiry, policy: Policy, alias: string, { byKey = false } = {}): Condition {
  const time = sql.id(alias, policy.timeColumn)
  const old = [
    sql<boolean>`${time} < ${instant(horizonFor(horizons, policy))}`,
    sql<boolean>`${time} >= ${beginningOfTime}`,
  ]
  const conditions = [
    ...(byKey ? [sql<boolean>`${and(old)} IS TRUE`] : old),
    ...policy.keepWhile.map((condition) => isNotKept(condition, horizons.slotAt, alias)),
  ]
  if (stateSchema === undefined) return and(conditions)
  const held = exists({ schema: stateSchema, name: 'archive_hold' }, 'h', [
    sql<boolean>`h.policy = ${policy.name}`,
    sql<boolean>`h.until > now()`,
    sql<boolean>`${time} >= h.from_at`,
    sql<boolean>`${time} < h.to_at`,
  ])
  return and([...conditions, not(held)])
}

function isNotKept(condition: KeepCondition, slotAt: Date, alias: string): Condition {
  const column = sql.id(alias, condition.column)
  if ('within' in condition)
    return sql`(${column} IS NULL OR ${column} <= ${instant(horizonOf(slotAt, condition.within))})`
  return condition.is === 'null' ? sql`${column} IS NOT NULL` : sql`${column} IS NULL`
}

/**
 * Rows of the same time as the newest stay, too: none of them is newer. Mostly a row behind the horizon is found at once, and is newer than
 * all that expired: the newest is looked for only without one, because without an index on the time that is a scan. One subquery, because of
 * two PostgreSQL would compute both before it starts parallel workers.
 */
function isNotNewest({ horizons }: Expiry, policy: Policy, alias: string): Condition {
  const other = sql.id('n', policy.timeColumn)
  const relation = tableOf(policy.relation)
  const horizon = instant(horizonFor(horizons, policy))
  return sql`${sql.id(alias, policy.timeColumn)} < (SELECT CASE
    WHEN EXISTS (SELECT FROM ${relation} n WHERE ${other} >= ${horizon}) THEN ${horizon}
    ELSE (SELECT max(${other}) FROM ${relation} n) END)`
}

/** Members without a time are never before anything. */
function isNotBefore({ timeColumn }: Member, horizon: Date): Condition {
  return timeColumn === undefined ? sql`true` : isNotTrue(sql`${sql.id('m', timeColumn)} < ${instant(horizon)}`)
}

/**
 * The horizon of a policy.
 * @throws RangeError when the slot has none for it
 */
function horizonFor({ byPolicy }: Horizons, { name }: Policy): Date {
  const horizon = byPolicy[name]
  if (horizon === undefined) throw new RangeError(`no horizon for the policy '${name}'`)
  return horizon
}

export function tableOf({ schema, name }: RelationName): RawBuilder<unknown> {
  return sql.id(schema, name)
}

function instant(at: Date): RawBuilder<unknown> {
  return sql`${at.toISOString()}::timestamptz`
}

export function and(conditions: readonly Condition[]): Condition {
  return sql`(${sql.join(conditions, sql` AND `)})`
}

function or(conditions: readonly Condition[]): Condition {
  return sql`(${sql.join(conditions, sql` OR `)})`
}

function not(condition: Condition): Condition {
  return sql`NOT ${condition}`
}

/** NULL counts as false: a row of which nothing is known stays. */
function isNotTrue(condition: Condition): Condition {
  return sql`(${condition}) IS NOT TRUE`
}

function exists(relation: RelationName, alias: string, conditions: readonly Condition[]): Condition {
  return sql`EXISTS (SELECT FROM ${tableOf(relation)} ${sql.id(alias)} WHERE ${sql.join(conditions, sql` AND `)})`
}

export function equal(a: string, columnsOfA: readonly string[], b: string, columnsOfB: readonly string[]): Condition {
  return and(columnsOfA.map((column, index) => sql`${sql.id(a, column)} = ${sql.id(b, columnsOfB[index] ?? '')}`))
}
