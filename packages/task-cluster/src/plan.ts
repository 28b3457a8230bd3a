/** What was read, and the options. */
export interface ClusterFacts {
  readonly expiredRows: number
  readonly batchSize: number
}

export interface ClusterPlan {
  /** Rows of each batch, in the order in which they are deleted. */
  readonly batches: readonly number[]
}

/** Pure: what was read + options → what to do. */
export function planCluster({ expiredRows, batchSize }: ClusterFacts): ClusterPlan {
  const full = Math.floor(expiredRows / batchSize)
  const rest = expiredRows % batchSize
  return { batches: [...Array.from({ length: full }, () => batchSize), ...(rest === 0 ? [] : [rest])] }
}
