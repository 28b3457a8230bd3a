/** Which Redis servers to walk over, each once, with the namespaces that live there. */
import {
  redisNames,
  type RedisDatabaseReader,
  type RedisMasterReader,
  type RedisMasterWriter,
  type RedisName,
  type RedisWriter,
} from '@battlescope/redis'
import { codeOf } from '@battlescope/scheduler-core'
import type { Context } from './delete-rows.js'
import { matcherOf, namespaceOf, type Namespace } from './namespaces.js'

export interface Server {
  /** The first of the names that lead here; it stands for all of them. */
  readonly name: RedisName
  readonly database: RedisDatabaseReader
  readonly master: RedisMasterReader
  readonly namespaces: readonly Namespace[]
  readonly namespaceOf: (key: string) => Namespace | undefined
  /** Patterns whose `maxIdle` has no effect here. */
  readonly idleUnknown: readonly string[]
}

export interface Servers {
  readonly servers: readonly Server[]
  /** What could not be opened. */
  readonly failures: readonly Error[]
}

export async function openServers(context: Context): Promise<Servers> {
  const { config, logger, signal } = context
  const reader = await context.client('redis')
  const namespaces = config.namespaces.map(namespaceOf)
  const found = new Map<string, { names: RedisName[]; database: RedisDatabaseReader; master: RedisMasterReader }>()
  const failures: Error[] = []
  for (const name of redisNames) {
    if (!reader.configured.includes(name)) {
      logger.info({ event: 'redis-skipped', redis: name, reason: 'not configured' }, 'redis is skipped')
      continue
    }
    if (!namespaces.some(({ on }) => on.includes(name))) {
      logger.info({ event: 'redis-skipped', redis: name, reason: 'no namespace is on it' }, 'redis is skipped')
      continue
    }
    try {
      const database = await reader.open(name, { signal })
      for (const master of database.masters) {
        // Two URLs may lead to the same data, by two host names as well: the run of the server tells.
        const key = `${master.runId}/${master.database}`
        const known = found.get(key)
        if (known === undefined) found.set(key, { names: [name], database, master })
        else known.names.push(name)
      }
    } catch (error) {
      if (!isRedisFailure(error)) throw error
      failures.push(error)
    }
  }
  return { failures, servers: [...found.values()].map(({ names, ...rest }) => serverOf(names, rest, namespaces)) }
}

function serverOf(
  names: readonly RedisName[],
  { database, master }: Pick<Server, 'database' | 'master'>,
  all: readonly Namespace[],
): Server {
  const here = all.filter(({ on }) => names.some((name) => on.includes(name)))
  // https://redis.io/docs/latest/commands/object-idletime/: it fails while a policy of LFU is in force.
  const knowsIdle = !master.evictionPolicy.includes('lfu')
  const goesByIdle = (namespace: Namespace) => namespace.policy === 'cache' && namespace.maxIdleMs !== undefined
  const namespaces = here.map((namespace): Namespace =>
    knowsIdle || namespace.policy !== 'cache' ? namespace : { ...namespace, maxIdleMs: undefined },
  )
  return {
    name: names[0] ?? database.name,
    database,
    master,
    namespaces,
    namespaceOf: matcherOf(namespaces),
    idleUnknown: knowsIdle ? [] : here.filter(goesByIdle).map(({ pattern }) => pattern),
  }
}

/** The writing half of the same master. */
export async function writerOf(
  writer: RedisWriter,
  { database, master }: Pick<Server, 'database' | 'master'>,
  signal: AbortSignal,
): Promise<{ readonly master: RedisMasterWriter; readonly masterOf: (key: string) => RedisMasterWriter }> {
  const opened = await writer.open(database.name, { signal })
  const found = opened.masters.find(({ id }) => id === master.id)
  if (found === undefined) throw new Error(`${opened.location} has lost the master ${master.id}`)
  return { master: found, masterOf: opened.masterOf }
}

/** Redis failed, and not the run: other servers may be fine. */
export function isRedisFailure(error: unknown): error is Error {
  return codeOf(error)?.startsWith('redis-') === true
}
