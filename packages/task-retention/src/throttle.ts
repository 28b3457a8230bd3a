/** When retention stands aside for others. Pure: what was read decides. */
import type { RetentionConfig } from './config.js'

export interface ThrottleFacts {
  readonly replicas: readonly ReplicaFacts[]
  /** Relations of ours that autovacuum works on, or must soon, to prevent transaction id wraparound. */
  readonly wraparound: readonly string[]
  /** Sessions that wait for a lock on our relations. */
  readonly lockWaiters: number
}

export interface ReplicaFacts {
  readonly name: string
  /** Milliseconds until what is written here can be read there; undefined: it does not say. */
  readonly lagMs: number | undefined
}

export const throttleReasons = ['replica-lag', 'replica-lag-unknown', 'wraparound', 'lock-waiters'] as const
export type ThrottleReason = (typeof throttleReasons)[number]

export interface Throttle {
  readonly reason: ThrottleReason
  /** One line, for log and finding. */
  readonly summary: string
  /** Whether it may be over within seconds, so that waiting is worth it. */
  readonly passing: boolean
}

type Limits = Pick<RetentionConfig, 'maxReplicaLag' | 'yieldToLockWaiters' | 'yieldToWraparound'>

/** Undefined: go on. The reason that lasts longest comes first. */
export function decideThrottle(facts: ThrottleFacts, limits: Limits): Throttle | undefined {
  const unknown = facts.replicas.find(({ lagMs }) => lagMs === undefined)
  if (unknown !== undefined) {
    return {
      reason: 'replica-lag-unknown',
      summary: `the lag of replica '${unknown.name}' cannot be read: GRANT pg_monitor to this role`,
      passing: false,
    }
  }
  const [relation] = facts.wraparound
  if (limits.yieldToWraparound && relation !== undefined) {
    return {
      reason: 'wraparound',
      summary: `autovacuum has to prevent transaction id wraparound of ${facts.wraparound.join(', ')}`,
      passing: false,
    }
  }
  const slowest = facts.replicas.reduce<ReplicaFacts | undefined>(
    (worst, replica) => ((replica.lagMs ?? 0) > (worst?.lagMs ?? 0) ? replica : worst),
    undefined,
  )
  if (slowest?.lagMs !== undefined && slowest.lagMs > limits.maxReplicaLag) {
    return {
      reason: 'replica-lag',
      summary: `replica '${slowest.name}' lags ${Math.round(slowest.lagMs / 1000)} s behind`,
      passing: true,
    }
  }
  if (limits.yieldToLockWaiters && facts.lockWaiters > 0) {
    return {
      reason: 'lock-waiters',
      summary: `${facts.lockWaiters} sessions wait for a lock on the relations`,
      passing: true,
    }
  }
  return undefined
}
