/** Eve's daily downtime, in which nothing is killed. Pure. */

const dayMs = 86_400_000

export interface Downtime {
  /** Milliseconds after midnight UTC. */
  readonly startMs: number
  readonly lengthMs: number
}

/** Milliseconds of the time between two instants that lie outside of every day's downtime. */
export function awakeMs(from: Date, until: Date, { startMs, lengthMs }: Downtime): number {
  const [begin, end] = [from.getTime(), until.getTime()]
  if (end <= begin) return 0
  let asleep = 0
  // The day before as well: a downtime may reach over midnight.
  for (let day = Math.floor(begin / dayMs) * dayMs - dayMs; day <= end; day += dayMs) {
    const overlap = Math.min(end, day + startMs + lengthMs) - Math.max(begin, day + startMs)
    asleep += Math.max(0, overlap)
  }
  return end - begin - asleep
}
