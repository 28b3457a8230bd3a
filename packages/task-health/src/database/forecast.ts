/** How fast something grows, from one sample a day. Pure. */

export interface Sample {
  /** Days since 1970. */
  readonly day: number
  readonly bytes: number
}

/** Fewer say nothing about the next weeks. */
const fewestSamples = 4

/**
 * The median of the slopes between all pairs of samples (Theil and Sen): a night of VACUUM FULL, or a table that was dropped, does not
 * turn it. Undefined with too few samples.
 */
export function growthPerDay(samples: readonly Sample[]): number | undefined {
  if (samples.length < fewestSamples) return undefined
  const slopes: number[] = []
  for (const [index, first] of samples.entries()) {
    for (const second of samples.slice(index + 1)) {
      if (second.day !== first.day) slopes.push((second.bytes - first.bytes) / (second.day - first.day))
    }
  }
  slopes.sort((a, b) => a - b)
  return slopes[slopes.length >> 1]
}
