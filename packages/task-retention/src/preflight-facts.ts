/** What the catalog says about the relations of the policies: read by `preflight-queries.ts`, judged by `preflight.ts`. */
import type { RelationName } from '@battlescope/database'

export interface PreflightFacts {
  /** The relations that the policies name and that exist, by {@link keyOf}. */
  readonly relations: ReadonlyMap<string, RelationFacts>
  /** Foreign keys to those relations and to their partitions, whoever holds them. */
  readonly references: readonly ReferenceFacts[]
  /** False where it is known that there is no session of its own for DETACH CONCURRENTLY. */
  readonly hasSession?: boolean
}

export type RelationKind = 'table' | 'partitioned' | 'view' | 'materialized-view' | 'foreign-table' | 'other'

export interface RelationFacts {
  readonly relation: RelationName
  readonly kind: RelationKind
  readonly isTemporary: boolean
  /** A partition of another relation. */
  readonly isPartition: boolean
  /** Leaves of a partitioned relation. */
  readonly partitionCount: number
  readonly hasDefaultPartition: boolean
  /** Some leaf keeps its rows elsewhere: a foreign table. */
  readonly hasForeignPartition: boolean
  /** Other tables that inherit from it without being partitions, or that it inherits from. */
  readonly inheritance: readonly RelationName[]
  readonly columns: readonly ColumnFacts[]
  /** Columns of the primary key in its order; empty: none. */
  readonly primaryKey: readonly KeyColumn[]
  readonly indexes: readonly IndexFacts[]
  /** Enabled user triggers that a DELETE or UPDATE fires, also those of partitions. */
  readonly triggers: readonly TriggerFacts[]
  /** Enabled rules ON DELETE and ON UPDATE, also those of partitions. */
  readonly rules: readonly RuleFacts[]
  /** none; active: hides rows from us; exempt: enabled, but not for us (superuser, BYPASSRLS, owner). */
  readonly rowSecurity: 'none' | 'active' | 'exempt'
  readonly privileges: Privileges
  /** Publications that make a DELETE or UPDATE impossible, since the replica identity says too little. */
  readonly refusingPublications: readonly PublicationFacts[]
  /** Rows as the planner believes; undefined: never analyzed. Partitions are summed up. */
  readonly estimatedRows: number | undefined
  /** What a sequential scan reads. */
  readonly heapBytes: number
  /** With indexes and TOAST. */
  readonly totalBytes: number
}

export interface ColumnFacts {
  readonly name: string
  /** As `format_type` writes it: `timestamp with time zone`, `numeric(10,2)`. */
  readonly type: string
  /** The same, of what a domain stands for. */
  readonly baseType: string
  /** Of its collation, where that takes texts for equal that are not the same. */
  readonly nondeterministicCollation: string | undefined
  readonly isNotNull: boolean
  readonly isGenerated: boolean
}

export interface KeyColumn {
  readonly name: string
  /** As `format_type` writes it: what a value that was read as text is cast to. */
  readonly type: string
}

export interface IndexFacts {
  readonly name: string
  readonly method: string
  /** Key columns in order; undefined stands for an expression. */
  readonly columns: readonly (string | undefined)[]
  readonly isUnique: boolean
  readonly isValid: boolean
  /** The condition of a partial index, as SQL. */
  readonly predicate: string | undefined
}

/** What a trigger, a rule or a publication is about. */
export type RowEvent = 'delete' | 'update'

export interface TriggerFacts {
  readonly name: string
  /** Where it is defined: the relation or one of its partitions. */
  readonly relation: RelationName
  readonly event: RowEvent
  /** A statement trigger fires even when there is no row. */
  readonly level: 'row' | 'statement'
}

export interface RuleFacts {
  readonly name: string
  readonly relation: RelationName
  readonly event: RowEvent
}

export interface PublicationFacts {
  readonly name: string
  readonly event: RowEvent
}

export interface Privileges {
  /** USAGE of the schema. */
  readonly usage: boolean
  readonly select: boolean
  /** Of any column: what FOR UPDATE asks for. */
  readonly update: boolean
  readonly delete: boolean
  readonly owner: boolean
}

export type ReferentialAction = 'no-action' | 'restrict' | 'cascade' | 'set-null' | 'set-default'

export interface ReferenceFacts {
  readonly name: string
  /** Where it is defined. */
  readonly from: RelationName
  /** The relations that `from` is a partition of, if any, nearest first. */
  readonly fromAncestors: readonly RelationName[]
  /** Without the last of a temporal key (`PERIOD`): that one is no equality. */
  readonly columns: readonly string[]
  /** The relation of the policies that it points to, or whose partition it points to. */
  readonly to: RelationName
  readonly references: readonly string[]
  readonly onDelete: ReferentialAction
  /** Its triggers fire for this session: false after DISABLE TRIGGER, and where `session_replication_role` is `replica`. */
  readonly isEnforced: boolean
}
