/** What preflight tells: the result of `judgePreflight`. */
import type { Policy } from './policy.js'
import type { KeyColumn } from './preflight-facts.js'

export type ProblemCode =
  /** What retention needs is not there. */
  | 'column-missing'
  | 'column-type'
  | 'key-missing'
  | 'not-permitted'
  /** Deleting rows of such a relation is no matter of rows and keys alone. */
  | 'not-a-table'
  | 'is-partition'
  | 'inheritance'
  | 'row-security'
  | 'delete-rule'
  | 'delete-trigger'
  | 'replica-identity'
  /** What PostgreSQL would refuse, or change elsewhere. */
  | 'refused-reference'
  | 'cascading-reference'
  | 'emptied-reference'
  | 'reference-effect'
  | 'child-not-unique'
  | 'child-order'
  /** Because of another policy. */
  | 'group-blocked'
  | 'members-blocked'
  /** It works, but not as well as it could. */
  | 'relation-missing'
  | 'partitioned'
  | 'reference-index-missing'
  | 'time-index-missing'

export interface Problem {
  readonly code: ProblemCode
  /** As `keyOf` writes it. */
  readonly relation: string
  /** One line. */
  readonly summary: string
  /** What else could be done, in words. */
  readonly hint?: string
  /** SQL that mends it, one statement each; absent where SQL cannot, or people have to decide first. */
  readonly mend?: readonly string[]
  /** What it costs: milliseconds for each batch of deletes, or once in each slice. Rough: from the size of the relation. */
  readonly predictedMs?: number
  readonly per?: 'batch' | 'slice'
  /** The index that is missing, where it can be built CONCURRENTLY; `mend` says the same. */
  readonly index?: MissingIndex
}

export interface MissingIndex {
  readonly schema: string
  /** Of the index. */
  readonly name: string
  /** CREATE INDEX CONCURRENTLY. */
  readonly sql: string
  /** An invalid index of that name is there: left by an attempt that failed, or still being built. Only in the first case drop it. */
  readonly invalidExists: boolean
}

export interface PolicyReport {
  /** What is left of the policy on this schema: without relations that do not exist, its children in the order of deletion. */
  readonly policy: Policy
  /** not-applicable: its relation does not exist; nothing is wrong with that. */
  readonly state: 'ready' | 'blocked' | 'not-applicable'
  /** Why it is not applicable. */
  readonly reason: string | undefined
  /** Why not a single row may be deleted. */
  readonly blocked: readonly Problem[]
  readonly warnings: readonly Problem[]
  /** Primary keys of the relation and its children, by `keyOf`. */
  readonly keys: ReadonlyMap<string, readonly KeyColumn[]>
  readonly partitioning: Partitioning | undefined
}

/** Of a partitioned relation. */
export interface Partitioning {
  /** Leaves. */
  readonly count: number
  readonly hasDefault: boolean
  /** Foreign keys point to it. */
  readonly isReferenced: boolean
}

export interface PreflightReport {
  /** In the order in which the policies run. */
  readonly policies: readonly PolicyReport[]
  /** Links, as `linkKeyOf` writes them, without an index on their columns: looking rows up by them costs a scan. */
  readonly unindexed: ReadonlySet<string>
}
