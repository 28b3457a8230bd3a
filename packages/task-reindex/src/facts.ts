/** What is read of the database, as the decisions need it. */
import type { BtreeColumn } from './btree-estimate.js'

export interface IndexColumn extends BtreeColumn {
  /** What it is of, and how it sorts: two columns of two indexes with the same text are interchangeable. */
  readonly identity: string
  /** Number of the table's column; 0 for an expression. */
  readonly attribute: number
}

export interface IndexFacts {
  readonly oid: number
  readonly tableOid: number
  readonly schema: string
  readonly table: string
  readonly name: string
  readonly accessMethod: string
  /** `pg_get_indexdef` without the index's name; empty where it cannot be had now: it was dropped, or somebody holds the table in ACCESS EXCLUSIVE. */
  readonly definition: string
  readonly sizeBytes: number
  /** Undefined while nobody has counted them. */
  readonly tuples: number | undefined
  readonly tableBytes: number
  readonly tableRows: number
  /** Rows changed since ANALYZE: how far `tuples` may be off. */
  readonly changedRows: number
  readonly valid: boolean
  readonly unique: boolean
  /** It stands behind a constraint, or is the replica identity: more than an index. */
  readonly constrained: boolean
  readonly exclusion: boolean
  /** Behind a DEFERRABLE constraint: checked at the end of a statement or a transaction, and no rule for ON CONFLICT. */
  readonly deferrable: boolean
  readonly nullsNotDistinct: boolean
  /** Part of an index of a partitioned table: it can be rebuilt, and not dropped by itself. */
  readonly ofPartition: boolean
  readonly predicate: string | undefined
  readonly fillFactor: number
  readonly deduplicates: boolean
  readonly columns: readonly IndexColumn[]
  readonly scans: number
  /** Somebody vacuums the table, or builds an index on it: an invalid one may just be on its way. */
  readonly atWork: boolean
  /** We may act as the table's owner, and give its indexes other names: what a rebuild leaves gets one before it is dropped. */
  readonly owned: boolean
}

export interface ForeignKeyFacts {
  readonly schema: string
  readonly table: string
  readonly name: string
  readonly tableOid: number
  readonly tableBytes: number
  readonly columns: readonly string[]
  readonly attributes: readonly number[]
  readonly references: string
}

/** What earlier runs learned of one index. */
export interface LearnedIndex {
  readonly oid: number
  readonly relation: string
  readonly indexName: string
  readonly definition: string
  readonly bestBytesPerTuple: number | undefined
  readonly firstSeenAt: Date
}

/** A rebuild, as it was written down. */
export interface Rebuild {
  readonly id: string
  readonly relation: string
  readonly indexName: string
  readonly definition: string
  readonly tableOid: number
  readonly indexOid: number
  readonly newIndexOid: number | undefined
  readonly invalidBefore: readonly number[]
  readonly sessionName: string
  readonly sizeBeforeBytes: number
  readonly workBytes: number
  readonly predictedMs: number
  readonly startedAt: Date
  readonly leftoverOid: number | undefined
  readonly endedAt: Date | undefined
  readonly outcome: 'rebuilt' | 'interrupted' | 'gone' | undefined
  readonly errorCode: string | undefined
  readonly durationMs: number | undefined
}

/** One index of a table on which a rebuild was left unfinished. */
export interface SiblingIndex {
  readonly oid: number
  readonly schema: string
  readonly name: string
  readonly definition: string
  readonly valid: boolean
  readonly sizeBytes: number
}

/** What speaks against beginning a rebuild now. */
export interface PreflightFacts {
  /** Transactions of other sessions of this database. */
  readonly transactions: readonly TransactionFacts[]
  /** Builds of indexes anywhere on the server. */
  readonly otherBuilds: number
  readonly replicas: readonly { readonly name: string; readonly lagMs: number | undefined }[]
  /** Who holds a lock on the table that a rebuild would wait for: VACUUM, a change of the schema, a prepared transaction. */
  readonly tableLocks: readonly { readonly pid: number | undefined; readonly mode: string }[]
}

export interface TransactionFacts {
  readonly pid: number
  /** Undefined when we may not see it. */
  readonly ageMs: number | undefined
  readonly state: string | undefined
  readonly application: string
  readonly user: string
}

/** What pgstattuple found by reading the index. */
export interface MeasuredIndex {
  readonly leafPages: number
  readonly otherPages: number
  /** Percent of the space in leaf pages that is used. */
  readonly leafDensity: number
}

/** The quoted, qualified name: one text per relation. */
export function nameOf(schema: string, name: string): string {
  return `${quoteWhereNeeded(schema)}.${quoteWhereNeeded(name)}`
}

export function quoteWhereNeeded(identifier: string): string {
  return /^[a-z_][a-z0-9_$]*$/.test(identifier) ? identifier : `"${identifier.replaceAll('"', '""')}"`
}

export const relationOf = ({ schema, table }: Pick<IndexFacts, 'schema' | 'table'>): string => nameOf(schema, table)
export const indexNameOf = ({ schema, name }: Pick<IndexFacts, 'schema' | 'name'>): string => nameOf(schema, name)
