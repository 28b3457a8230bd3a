/** What a restore decides: which batches in which order, and which columns of an object go where. Pure. */
import type { ArchivedColumn, BatchWithObjects, StoredArchiveObject } from '@battlescope/archive'
import { horizonOf, type Policy } from './policy.js'
import { keyOf } from './policy.js'
import type { Period } from '@battlescope/scheduler-core'

/** A relation as it is now, for rows that come back to it. */
export interface Target {
  /** As {@link keyOf} writes it. */
  readonly name: string
  readonly schema: string
  readonly relation: string
  readonly columns: readonly TargetColumn[]
  /** In the order of the key; empty: none. */
  readonly primaryKey: readonly string[]
  readonly foreignKeys: readonly TargetForeignKey[]
  readonly mayInsert: boolean
}

export interface TargetColumn {
  readonly name: string
  /** As the archive writes types: `numeric(10,2)`, `public.security_type`. */
  readonly typeName: string
  readonly notNull: boolean
  /** Gets a value by itself: DEFAULT, identity, generated. */
  readonly hasDefault: boolean
  readonly generated: boolean
}

export interface TargetForeignKey {
  readonly name: string
  readonly columns: readonly string[]
  /** As {@link keyOf} writes it. */
  readonly references: string
  readonly referencedSchema: string
  readonly referencedRelation: string
  readonly referencedColumns: readonly string[]
}

/** A column that is inserted. */
export interface RestoredColumn {
  readonly name: string
  /** The type now. */
  readonly typeName: string
  /** The type then, where it was another one: values must survive the way there and back. */
  readonly archivedAs: string | undefined
}

export interface ColumnPlan {
  readonly columns: readonly RestoredColumn[]
  /** Why rows of this object cannot come back as they were; empty: they can. */
  readonly problems: readonly ColumnProblem[]
}

export interface ColumnProblem {
  readonly summary: string
  readonly hint: string
}

/** Holds the columns of an object against those of its relation. */
export function planRestoredColumns(
  archived: readonly ArchivedColumn[],
  target: Target,
  { ignoreDroppedColumns }: { readonly ignoreDroppedColumns: boolean },
): ColumnPlan {
  const now = new Map(target.columns.map((column) => [column.name, column]))
  const then = new Set(archived.map(({ name }) => name))
  const problems: ColumnProblem[] = []
  // What was computed then is computed again.
  const dropped = archived.filter(({ name, generated }) => !generated && !now.has(name)).map(({ name }) => name)
  if (dropped.length > 0 && !ignoreDroppedColumns) {
    problems.push({
      summary: `${target.name} has no ${listed('column', dropped)} any more, and the archived rows have`,
      hint: 'add them again, or restore with --ignore-dropped-columns: their values stay in the archive alone',
    })
  }
  const added = target.columns
    .filter(({ name, notNull, hasDefault, generated }) => !then.has(name) && notNull && !hasDefault && !generated)
    .map(({ name }) => name)
  if (added.length > 0) {
    problems.push({
      summary: `${target.name} has ${listed('column', added)} that must not be NULL, have no default, and are not in the archive`,
      hint: `give them a default for the time of the restore: ALTER TABLE ${target.name} ALTER COLUMN … SET DEFAULT …`,
    })
  }
  if (target.primaryKey.length === 0) {
    problems.push({
      summary: `${target.name} has no primary key any more: rows that are there already could not be told`,
      hint: `ALTER TABLE ${target.name} ADD PRIMARY KEY (…)`,
    })
  }
  const lost = target.primaryKey.filter((name) => !then.has(name))
  if (lost.length > 0) {
    problems.push({
      summary: `the primary key of ${target.name} has ${listed('column', lost)} that the archive lacks`,
      hint: 'restore into a table with the old key, and convert from there',
    })
  }
  if (!target.mayInsert) {
    problems.push({ summary: `no right to insert into ${target.name}`, hint: `GRANT INSERT ON ${target.name} TO …` })
  }
  const columns = archived.flatMap(({ name, typeName }): RestoredColumn[] => {
    const column = now.get(name)
    if (column === undefined || column.generated) return []
    return [{ name, typeName: column.typeName, archivedAs: column.typeName === typeName ? undefined : typeName }]
  })
  return { columns, problems }
}

function listed(noun: string, names: readonly string[]): string {
  return `${noun}${names.length === 1 ? '' : 's'} ${names.join(', ')}`
}

/**
 * Batches in the order in which their rows can be inserted: groups before what belongs to them, which is how policies run, backwards; then
 * by month, and what was archived last first: its rows may have been restored and changed since they were archived before. What a foreign key
 * needs beyond that is found when it is missed.
 */
export function orderBatches(
  batches: readonly BatchWithObjects[],
  policies: readonly Policy[],
): readonly BatchWithObjects[] {
  const rank = new Map(policies.map(({ relation }, index) => [keyOf(relation), -index]))
  // Those of policies that are no longer configured first: nothing is known of what needs them.
  const rankOf = ({ relation }: BatchWithObjects) => rank.get(relation) ?? -policies.length
  return [...batches].sort(
    (a, b) =>
      rankOf(a) - rankOf(b) ||
      beginOfMonth(a.month).getTime() - beginOfMonth(b.month).getTime() ||
      (b.verifiedAt?.getTime() ?? 0) - (a.verifiedAt?.getTime() ?? 0) ||
      (a.firstAt?.getTime() ?? 0) - (b.firstAt?.getTime() ?? 0),
  )
}

/** Objects of one batch: what others point to comes first, and parts stay in their order. */
export function orderObjects(
  objects: readonly StoredArchiveObject[],
  targets: ReadonlyMap<string, Target>,
): readonly StoredArchiveObject[] {
  const left = [...new Set(objects.map(({ relation }) => relation))]
  const ordered: string[] = []
  while (left.length > 0) {
    const isFree = (relation: string) =>
      (targets.get(relation)?.foreignKeys ?? []).every(
        ({ references }) => references === relation || !left.includes(references),
      )
    // In a circle any of them is as good: PostgreSQL itself has the last word.
    const next = left.find(isFree) ?? left[0]
    if (next === undefined) break
    left.splice(left.indexOf(next), 1)
    ordered.push(next)
  }
  return ordered.flatMap((relation) => objects.filter((object) => object.relation === relation))
}

/** First instant of the month, in UTC. */
export function beginOfMonth(month: string): Date {
  const [year = 0, number = 1] = month.split('-').map(Number)
  const begin = new Date(0)
  begin.setUTCFullYear(year, number - 1, 1)
  return begin
}

/** `2020-12` + 1 → `2021-01` */
export function addMonths(month: string, count: number): string {
  const [year = 0, number = 1] = month.split('-').map(Number)
  const total = year * 12 + number - 1 + count
  const pad = (value: number, digits: number) => String(value).padStart(digits, '0')
  return `${pad(Math.floor(total / 12), 4)}-${pad((total % 12) + 1, 2)}`
}

/** When a hold ends that begins now. */
export function endOfHold(now: Date, holdMs: number | undefined, otherwise: Period): Date {
  if (holdMs !== undefined) return new Date(now.getTime() + holdMs)
  return horizonOf(now, { months: -otherwise.months, days: -otherwise.days })
}
