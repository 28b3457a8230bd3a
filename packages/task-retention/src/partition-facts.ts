/** What is known of a partitioned relation, and of partitions that this task began to detach. */
import type { RelationName } from '@battlescope/database'

export interface PartitionedFacts {
  /** PARTITION BY RANGE of the policy's time column alone. */
  readonly isByTime: boolean
  readonly hasDefault: boolean
  /** Our role may detach from it. */
  readonly isOwned: boolean
  /** Publications send what is deleted from it, and would not send that a partition goes. */
  readonly isPublished: boolean
  /** Its direct ones. */
  readonly partitions: readonly PartitionFacts[]
}

export interface PartitionFacts {
  readonly oid: string
  readonly relation: RelationName
  /** Not partitioned itself, and not a foreign table. */
  readonly isTable: boolean
  readonly isOwned: boolean
  /** It has row-level security of its own, which hides rows from us. */
  readonly hidesRows: boolean
  /** Views and functions that name it would refuse that it is dropped. */
  readonly isNamedElsewhere: boolean
  /** Somebody began to detach it CONCURRENTLY, and did not come to the end. */
  readonly isPending: boolean
  /** FOR VALUES …, as ATTACH PARTITION wants it. */
  readonly bounds: string
  /** All its times lie before; undefined: MAXVALUE, or not by time. */
  readonly toAt: Date | undefined
  readonly sizeBytes: number
}

/** A partition whose detaching was announced and that was not dropped since. */
export interface PartitionRecord {
  readonly id: string
  readonly policy: string
  /** As keyOf writes them. */
  readonly relation: string
  readonly partition: string
  readonly oid: string
  readonly bounds: string
  /** Whether its rows go to the cold storage first, as its policy said at the announcement. */
  readonly archive: boolean
  readonly announcedAt: Date
  /** The session that sends DETACH, from right before it does; undefined: nothing was sent. */
  readonly session: string | undefined
  /** That session is still there. */
  readonly isSending: boolean
  readonly detachedAt: Date | undefined
  /**
   * The catalog's row of its first column is another one than after our detach, or, before that was noted, than at the announcement. Every
   * detach and every attach writes it anew, and else only who alters that column.
   */
  readonly isColumnRewritten: boolean
  readonly attachedAgainSlot: string | undefined
  readonly archived: ArchivedSoFar
  /** Batches of it that were read back from the store after they were archived, every value, and not long ago. */
  readonly checkedIds: readonly string[]
  readonly place: PartitionPlace
}

/** What of a detached partition is in the archive, verified. */
export interface ArchivedSoFar {
  readonly batchIds: readonly string[]
  readonly rows: number
  readonly hash: ContentHash
  /** Columns that the objects have, as one text; undefined: nothing is archived. */
  readonly columns: string | undefined
  readonly last: { readonly time: string; readonly key: readonly string[] } | undefined
}

/**
 * Where a recorded partition is now. `unknown`: under its name is another table, or it has another name. `restored`: nothing has its number,
 * and under its name is a partition of the same relation.
 */
export type PartitionPlace = 'attached' | 'pending' | 'detached' | 'elsewhere' | 'restored' | 'unknown' | 'gone'

/**
 * The content of some rows whatever their order: the sum over 16 bytes of SHA-256 of each row's key and version, in two halves. A sum, so
 * that batches of several runs add up to the whole, which one statement can then compute in bounded memory.
 */
export interface ContentHash {
  readonly high: bigint
  readonly low: bigint
}

/** What a partition holds now. */
export interface PartitionContent {
  readonly rows: number
  /** Rows that must stay: not expired, held, or the newest. */
  readonly staying: number
  readonly hash: ContentHash
}
