/** What a human should know of indexes, with the SQL: invalid, duplicate, unused and missing ones. The task itself never drops or makes one. Pure. */
import { formatDuration, type Finding } from '@battlescope/scheduler-core'
import type { ReindexConfig } from './config.js'
import {
  indexNameOf,
  nameOf,
  quoteWhereNeeded,
  relationOf,
  type ForeignKeyFacts,
  type IndexColumn,
  type IndexFacts,
  type LearnedIndex,
} from './facts.js'
import { learnedOf } from './learn.js'
import { formatBytes } from './plan.js'

export interface AdviceInput {
  readonly indexes: readonly IndexFacts[]
  readonly foreignKeys: readonly ForeignKeyFacts[]
  readonly learned: readonly LearnedIndex[]
  readonly statisticsResetAt: Date | undefined
  readonly replicas: readonly string[]
  readonly now: Date
}

interface Advice {
  readonly about: string
  readonly why: string
  readonly sql: string
}

export function adviceOn(input: AdviceInput, config: ReindexConfig): readonly Finding[] {
  const replicaHint =
    input.replicas.length === 0
      ? 'a replica that was connected before, or reads by another way, has statistics of its own'
      : `scans on replicas are not counted here: ask ${input.replicas.join(', ')} too (pg_stat_user_indexes.idx_scan) before you drop one`
  return [
    finding('invalid-indexes', 'warning', 'left invalid by a build that did not end, and not ours', invalid(input), {
      hint: 'it costs every write and serves no read; when nobody is building it (pg_stat_progress_create_index), drop or rebuild it',
    }),
    finding('duplicate-indexes', 'info', 'serve nothing that another index does not', duplicates(input, config)),
    finding(
      'unused-indexes',
      'info',
      `were not scanned for ${formatDuration(config.reportUnusedAfter)} and more`,
      unused(input, config),
      { hint: replicaHint },
    ),
    finding(
      'foreign-keys-without-index',
      'info',
      'are read as a whole for each row deleted there',
      missing(input, config),
      {
        hint: 'a delete, or an update of the key, in the referenced table looks here for rows that point to it',
      },
    ),
  ].filter((found) => found !== undefined)
}

function finding(
  key: string,
  severity: Finding['severity'],
  saying: string,
  advice: readonly Advice[],
  details: Readonly<Record<string, unknown>> = {},
): Finding | undefined {
  if (advice.length === 0) return undefined
  const summary = `${saying}: ${advice.map(({ about }) => about).join(', ')}`
  return { key, severity, summary, details: { ...details, indexes: advice } }
}

function invalid({ indexes }: AdviceInput): readonly Advice[] {
  return indexes
    .filter(({ valid, atWork }) => !valid && !atWork)
    .map((index) => ({
      about: indexNameOf(index),
      why: `${formatBytes(index.sizeBytes)} on ${relationOf(index)}`,
      sql: `DROP INDEX CONCURRENTLY ${indexNameOf(index)};`,
    }))
}

function duplicates({ indexes }: AdviceInput, { reportFrom }: ReindexConfig): readonly Advice[] {
  const usable = indexes.filter(({ valid, definition }) => valid && definition !== '')
  return usable.filter(isDroppable).flatMap((index) => {
    if (index.sizeBytes < reportFrom) return []
    const better = usable.find((other) => replaces(other, index))
    if (better === undefined) return []
    return {
      about: indexNameOf(index),
      why: `${indexNameOf(better)} on ${relationOf(index)} does the same`,
      sql: `DROP INDEX CONCURRENTLY ${indexNameOf(index)};`,
    }
  })
}

/** Whether everything that `index` is for is also done by `other`. Of two that are equal, the one made first stays. */
function replaces(other: IndexFacts, index: IndexFacts): boolean {
  if (other.oid === index.oid || other.tableOid !== index.tableOid || other.accessMethod !== index.accessMethod)
    return false
  if (other.predicate !== index.predicate) return false
  const [mine, theirs] = [index, other].map(({ columns }) => columns.map(described)) as [string[], string[]]
  const same = mine.length === theirs.length && mine.every((column, at) => column === theirs[at])
  if (same) {
    if (index.unique !== other.unique) return other.unique
    // Another rule: whoever drops one of them loses it.
    if (index.unique && (index.deferrable !== other.deferrable || index.nullsNotDistinct !== other.nullsNotDistinct))
      return false
    return isDroppable(other) ? other.oid < index.oid : true
  }
  // Only a B-tree reads by its first columns alone; and what is unique over fewer columns says more.
  const prefix = mine.length < theirs.length && mine.every((column, at) => column === theirs[at])
  return prefix && index.accessMethod === 'btree' && !index.unique && other.columns[mine.length - 1]?.key === true
}

function described({ identity, key }: IndexColumn): string {
  return `${key ? 'key' : 'include'} ${identity}`
}

/** More than an index: a constraint, a replica identity, part of a partitioned one. */
function isDroppable({ constrained, ofPartition }: IndexFacts): boolean {
  return !constrained && !ofPartition
}

/** Counted since the later of two instants that are known for sure: the reset of statistics, and when this task first saw the index. */
function unused({ indexes, learned, statisticsResetAt, now }: AdviceInput, config: ReindexConfig): readonly Advice[] {
  return indexes
    .filter(
      (index) =>
        index.valid && isDroppable(index) && !index.unique && index.sizeBytes >= config.reportFrom && index.scans === 0,
    )
    .flatMap((index) => {
      const seenAt = learnedOf(index, learned)?.firstSeenAt
      if (seenAt === undefined) return []
      const since = Math.max(seenAt.getTime(), statisticsResetAt?.getTime() ?? 0)
      if (now.getTime() - since < config.reportUnusedAfter) return []
      return {
        about: indexNameOf(index),
        why: `${formatBytes(index.sizeBytes)} on ${relationOf(index)}, not scanned since ${new Date(since).toISOString().slice(0, 10)}`,
        sql: `DROP INDEX CONCURRENTLY ${indexNameOf(index)};`,
      }
    })
}

function missing({ foreignKeys, indexes }: AdviceInput, { reportFrom }: ReindexConfig): readonly Advice[] {
  return foreignKeys
    .filter(({ tableBytes }) => tableBytes >= reportFrom)
    .filter((key) => !indexes.some((index) => index.tableOid === key.tableOid && finds(index, key)))
    .map((key) => ({
      about: `${nameOf(key.schema, key.table)} (${key.columns.map(quoteWhereNeeded).join(', ')})`,
      why: `${quoteWhereNeeded(key.name)} references ${key.references}, and no index begins with its columns`,
      sql: `CREATE INDEX CONCURRENTLY ON ${nameOf(key.schema, key.table)} (${key.columns.map(quoteWhereNeeded).join(', ')});`,
    }))
}

/** The columns of the key are the first ones, in any order. A predicate may leave out NULLs, which point to nothing. */
function finds(index: IndexFacts, { attributes, columns }: ForeignKeyFacts): boolean {
  if (!index.valid || !['btree', 'hash'].includes(index.accessMethod)) return false
  const first = index.columns.slice(0, attributes.length).filter(({ key }) => key)
  if (!attributes.every((attribute) => first.some((column) => column.attribute === attribute))) return false
  const { predicate } = index
  return predicate === undefined || columns.some((column) => predicate === `(${quoteWhereNeeded(column)} IS NOT NULL)`)
}
