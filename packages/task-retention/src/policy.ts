/** Policies as the rest of this package works with them, and when they expire. Pure. */
import { parseRelationName, type RelationName } from '@battlescope/database'
import type { Period } from '@battlescope/scheduler-core'
import type { RetentionConfig } from './config.js'
import { orderPolicies } from './policy-problems.js'

/** Rows of `relation` point to rows of the policy's relation: `columns[i]` holds the value of `references[i]`. */
export interface Link {
  readonly relation: RelationName
  readonly columns: readonly string[]
  readonly references: readonly string[]
}

/** Its rows are archived and deleted with the row that they point to. */
export type Child = Link

/** Its rows make up the group. Without a time column each of them keeps the group. */
export interface Member extends Link {
  readonly timeColumn: string | undefined
  /** Also a child: such rows need not be gone before the group is. */
  readonly isChild: boolean
}

/** Rows to which it applies stay. */
export type KeepCondition =
  { readonly column: string; readonly is: 'null' | 'not-null' } | { readonly column: string; readonly within: Period }

/** The group that rows of a policy belong to: a row of another policy. */
export interface Group {
  readonly policy: string
  /** Columns of this policy's relation; any NULL: the row belongs to no group. */
  readonly columns: readonly string[]
  /** Columns of the group's relation. */
  readonly references: readonly string[]
}

export interface Policy {
  readonly name: string
  readonly relation: RelationName
  readonly timeColumn: string
  readonly keep: Period
  readonly archive: boolean
  readonly allowTriggers: boolean
  readonly detachPartitions: boolean
  /** In the order in which they are deleted: {@link judgePreflight} puts those that point to other children first. */
  readonly children: readonly Child[]
  readonly keepWhile: readonly KeepCondition[]
  readonly members: readonly Member[]
  readonly with: Group | undefined
}

/** The configured policies with everything filled in, in the order in which they run: what belongs to a group before the group. */
export function resolvePolicies(config: RetentionConfig): readonly Policy[] {
  return orderPolicies(config.policies).map((policy) => ({
    name: policy.name,
    relation: parseRelationName(policy.relation),
    timeColumn: policy.timeColumn,
    keep: policy.keep ?? config.keep,
    archive: policy.archive,
    allowTriggers: policy.allowTriggers,
    detachPartitions: policy.detachPartitions,
    children: policy.children.map(linkOf),
    keepWhile: policy.keepWhile.map((condition) =>
      'is' in condition
        ? condition
        : {
            column: condition.column,
            within: condition.within === 'backfillGrace' ? config.backfillGrace : condition.within,
          },
    ),
    members: policy.members.map((member) => ({
      ...linkOf(member),
      timeColumn: member.timeColumn,
      isChild: policy.children.some((child) => isSameLink(linkOf(child), linkOf(member))),
    })),
    with: policy.with,
  }))
}

function linkOf(link: {
  readonly relation: string
  readonly columns: readonly string[]
  readonly references: readonly string[]
}): Link {
  return { relation: parseRelationName(link.relation), columns: link.columns, references: link.references }
}

/** Whether both follow the same columns of the same relation, in whatever order they are listed. */
function isSameLink(a: Link, b: Link): boolean {
  const pairs = ({ columns, references }: Link) =>
    columns.map((column, index) => JSON.stringify([column, references[index]])).sort()
  return isSameRelation(a.relation, b.relation) && pairs(a).join() === pairs(b).join()
}

export function isSameRelation(a: RelationName, b: RelationName): boolean {
  return a.schema === b.schema && a.name === b.name
}

/** One text per relation, for maps and messages: `public.battles`, quoted where the name needs it. */
export function keyOf({ schema, name }: RelationName): string {
  const quote = (identifier: string) =>
    /^[a-z_][a-z0-9_$]*$/.test(identifier) ? identifier : `"${identifier.replaceAll('"', '""')}"`
  return `${quote(schema)}.${quote(name)}`
}

/** Nothing is older: PostgreSQL's calendar begins 4713 BC, and a period may be longer than that. */
const beginningOfTime = new Date('0001-01-01T00:00:00Z')

/**
 * The instant before which rows expire: `slotAt - keep`, in UTC, as PostgreSQL's `timestamptz - interval` has it. First the months, and
 * a day that the month does not have becomes its last (31 March less one month is 28 or 29 February), then the days.
 * Never before the year 1.
 */
export function horizonOf(slotAt: Date, keep: Period): Date {
  const months = slotAt.getUTCFullYear() * 12 + slotAt.getUTCMonth() - keep.months
  const year = Math.floor(months / 12)
  const month = months - year * 12
  const horizon = new Date(slotAt)
  // Not through Date.UTC, which takes years below 100 for those of the last century.
  horizon.setUTCFullYear(year, month, Math.min(slotAt.getUTCDate(), daysIn(year, month)))
  horizon.setUTCDate(horizon.getUTCDate() - keep.days)
  return horizon.getTime() < beginningOfTime.getTime() ? beginningOfTime : horizon
}

function daysIn(year: number, month: number): number {
  const last = new Date(0)
  last.setUTCFullYear(year, month + 1, 0)
  return last.getUTCDate()
}

/** The horizons of one slot: fixed when it begins, and kept with it. */
export interface Horizons {
  readonly slotAt: Date
  /** By the name of the policy. */
  readonly byPolicy: Readonly<Record<string, Date>>
}

export function horizonsOf(policies: readonly Policy[], slotAt: Date): Horizons {
  return {
    slotAt,
    byPolicy: Object.fromEntries(policies.map(({ name, keep }) => [name, horizonOf(slotAt, keep)])),
  }
}
