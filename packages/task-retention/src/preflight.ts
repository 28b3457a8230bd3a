/** Whether the policies can do their work on this schema without a surprise, and what would have to change. Pure. */
import type { Policy } from './policy.js'
import type { KeyColumn } from './preflight-facts.js'

export type ProblemCode =
  | 'relation-missing'
  | 'group-blocked'
  | 'not-a-table'
  | 'is-partition'
  | 'inheritance'
  | 'partitioned'
  | 'column-missing'
  | 'time-column-type'
  | 'key-missing'
  | 'not-permitted'
  | 'row-security'
  | 'delete-trigger'
  | 'delete-rule'
  | 'replica-identity'
  | 'refused-reference'
  | 'cascading-reference'
  | 'emptied-reference'
  | 'child-order'
  | 'reference-index-missing'
  | 'time-index-missing'

export interface Problem {
  readonly code: ProblemCode
  /** As {@link keyOf} writes it. */
  readonly relation: string
  /** One line. */
  readonly summary: string
  /** SQL that mends it, one statement each; absent where only people can decide. */
  readonly mend?: readonly string[]
  /** What it costs, in milliseconds, per `per`. */
  readonly predictedMs?: number
  readonly per?: 'batch' | 'slice'
  /** `mend` is a CREATE INDEX CONCURRENTLY that `createMissingIndexes` may build. */
  readonly index?: MissingIndex
}

export interface MissingIndex {
  readonly schema: string
  readonly name: string
  /** CREATE INDEX CONCURRENTLY. */
  readonly sql: string
  /** An invalid index of that name, left by an earlier attempt, or still being built: drop it first unless somebody builds it. */
  readonly replacesInvalid: boolean
}

export interface PolicyReport {
  /** What is left of the policy on this schema: without relations that do not exist, its children in the order of deletion. */
  readonly policy: Policy
  readonly state: 'ready' | 'blocked' | 'not-applicable'
  /** Why it is not applicable. */
  readonly reason?: string
  readonly blocked: readonly Problem[]
  readonly warnings: readonly Problem[]
  readonly isPartitioned: boolean
  /** Primary keys of the relation and its children, by {@link keyOf}. */
  readonly keys: ReadonlyMap<string, readonly KeyColumn[]>
}

export interface PreflightReport {
  /** In the order in which the policies run. */
  readonly policies: readonly PolicyReport[]
  /** Links, as {@link linkKeyOf} writes them, without an index on their columns: checking them costs a scan per statement. */
  readonly unindexed: ReadonlySet<string>
}
