/**
 * Redis for tasks. A *database* is what one URL names: a numbered database of a single server, or a cluster. A *master* is one server of
 * it that owns keys; a single server is its own only master. Keys and values are text: what is not UTF-8 is never touched.
 *
 * The read half reaches no command that writes: it holds nothing but a function that refuses every command outside a list.
 */
import type {} from '@battlescope/scheduler-core'

export const redisNames = ['redis', 'esiCache', 'session'] as const
/** `redis`: REDIS_URL. `esiCache`: ESI_REDIS_CACHE_URL. `session`: SESSION_REDIS_URL. */
export type RedisName = (typeof redisNames)[number]

export interface OpenOptions {
  /** Aborting closes the connections of this database; whatever is under way rejects with the signal's reason. */
  readonly signal?: AbortSignal
}

export interface RedisReader {
  /** The URLs that are set. */
  readonly configured: readonly RedisName[]
  /** Connects at the first call; later calls give the same database. @throws RedisError */
  open(name: RedisName, options?: OpenOptions): Promise<RedisDatabaseReader>
}

export interface RedisWriter {
  readonly configured: readonly RedisName[]
  open(name: RedisName, options?: OpenOptions): Promise<RedisDatabaseWriter>
}

export interface RedisDatabase<Master> {
  readonly name: RedisName
  /** Where it is, without secrets: `redis://cache:6379/1`. */
  readonly location: string
  readonly isCluster: boolean
  readonly masters: readonly Master[]
  /** The master that owns a key. @throws RedisError `redis-busy` when nobody does at the moment */
  readonly masterOf: (key: string) => Master
}

export type RedisDatabaseReader = RedisDatabase<RedisMasterReader>
export type RedisDatabaseWriter = RedisDatabase<RedisMasterWriter>

export interface ScanPage {
  /** `0` when this was the last page. */
  readonly cursor: string
  readonly keys: readonly string[]
  /** Keys that are not UTF-8 (or contain U+FFFD): no text names them, so nobody can touch them by accident. */
  readonly binaryKeys: number
}

export const keyFacts = ['idle', 'type', 'encoding', 'ttl', 'memory', 'value'] as const
export type KeyFact = (typeof keyFacts)[number]

/** What was asked for, of one key. A key that is gone has none of it. */
export interface Looked {
  readonly key: string
  /** Milliseconds; `null`: it has none and never expires. */
  readonly ttlMs?: number | null
  readonly memoryBytes?: number
  readonly type?: string
  readonly encoding?: string
  /** Seconds since the last access, where the eviction policy keeps them (not with LFU). */
  readonly idleSeconds?: number
  /** Of a string. Reading it counts as an access, which `idleSeconds` and eviction by LRU see (from Redis 7.2 on it does not). */
  readonly value?: string
}

export interface SortedSetMember {
  readonly member: string
  readonly score: number
}

export interface RedisMasterReader {
  /** Stable over restarts: the node's id in a cluster, the address otherwise; with the number of the database. */
  readonly id: string
  /** The number of the database. */
  readonly database: number
  /** New with every start of the server. A cursor of SCAN means nothing to another run. */
  readonly runId: string
  readonly version: string
  /** `maxmemory-policy`, such as `allkeys-lru`. */
  readonly evictionPolicy: string
  /** Commands sent so far. */
  commandsSent(): number
  ping(): Promise<void>
  /** One page of SCAN. `count` is how much the server looks at, about as many keys as come back. */
  scan(cursor: string, options?: { readonly count?: number; readonly match?: string }): Promise<ScanPage>
  /** Facts of many keys, in their order; sent in pipelines of at most 100 commands. Nothing but `value` counts as an access. */
  look(keys: readonly string[], wanted: readonly KeyFact[]): Promise<readonly Looked[]>
  get(key: string): Promise<string | undefined>
  /** Absent, and what is no string: undefined. */
  mget(keys: readonly string[]): Promise<readonly (string | undefined)[]>
  exists(keys: readonly string[]): Promise<readonly boolean[]>
  /** Bytes of a string, entries of a list, hash, set, sorted set or stream; undefined when absent. */
  length(key: string, type: 'string' | 'list' | 'hash' | 'set' | 'zset' | 'stream'): Promise<number | undefined>
  /** An entry of a list; negative indexes count from its end. Undefined when there is none. */
  lindex(key: string, index: number): Promise<string | undefined>
  /** One field of many hashes, in their order. */
  hgetEach(keys: readonly string[], field: string): Promise<readonly (string | undefined)[]>
  sismember(key: string, member: string): Promise<boolean>
  zcount(key: string, min: number | '-inf', max: number | '+inf'): Promise<number>
  /** By rank, lowest score first; both ends inclusive. */
  zrange(key: string, first: number, last: number): Promise<readonly SortedSetMember[]>
  /** A section of INFO, or the default ones, as pairs. */
  info(section?: string): Promise<Readonly<Record<string, string>>>
  /** CONFIG GET, which managed servers often refuse. */
  configGet(pattern: string): Promise<Readonly<Record<string, string>>>
  dbsize(): Promise<number>
}

export type RedisChange =
  | { readonly kind: 'unlink'; readonly key: string }
  | { readonly kind: 'pexpire'; readonly key: string; readonly ttlMs: number }
  | {
      readonly kind: 'evaluate'
      readonly script: string
      readonly keys: readonly string[]
      readonly args: readonly string[]
    }

/** `NX`: only without a TTL; `XX`: only with one; `GT`, `LT`: only to lengthen, only to shorten. Needs Redis 7. */
export type ExpireCondition = 'NX' | 'XX' | 'GT' | 'LT'

export interface RedisMasterWriter extends RedisMasterReader {
  /** How many keys one {@link changeUnlessTouched} may concern: one in a cluster, whose transactions stay within a slot. */
  readonly keysPerTransaction: number
  /** @returns how many of them existed */
  unlink(keys: readonly string[]): Promise<number>
  /** @returns of how many keys it was set */
  pexpire(keys: readonly string[], ttlMs: number, condition?: ExpireCondition): Promise<number>
  /**
   * Compare and act, without a script: watches the keys, lets `decide` look at them (and watch more), and changes what it returns only
   * if none of the watched keys was touched by anybody in between (WATCH, MULTI, EXEC).
   * @returns how many changes took effect (a key that was gone is none); undefined when something was touched, and nothing changed
   */
  changeUnlessTouched(
    watched: readonly string[],
    decide: (watch: (keys: readonly string[]) => Promise<void>) => Promise<readonly RedisChange[]>,
  ): Promise<number | undefined>
  /** A Lua script, for other libraries' own. */
  evaluate(script: string, keys: readonly string[], args: readonly string[]): Promise<unknown>
}

declare module '@battlescope/scheduler-core' {
  interface ClientTypes {
    redis: { read: RedisReader; write: RedisWriter }
  }
}
