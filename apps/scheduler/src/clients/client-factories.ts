/** Which kinds of clients tasks can have under a configuration: the one place, for runs and for `doctor`. */
import { parseConnectionString } from '@battlescope/database'
import type { ClientFactories, ClientKind, ClientRequest } from '@battlescope/scheduler-core'
import type {} from '@battlescope/task-backup'
import type { Configuration } from '../configuration/load.js'
import type { Environment, Host } from '../host.js'
import { httpClientFactory } from './http.js'
import { proxiesFor, type Proxies } from './proxies.js'

/** What clients are handed of this process's environment. */
interface Surroundings {
  /** Programs that a task starts get little of it. */
  readonly environment: Environment
  readonly proxies?: Proxies | undefined
}

/** Of the host, whose scrubber then knows the passwords of its proxies. */
export function surroundingsOf(host: Pick<Host, 'environment' | 'secrets'>): Surroundings {
  return { environment: host.environment, proxies: proxiesFor(host) }
}

/**
 * A kind that is absent is not configured: tasks that can do without it ask first, the others fail with `client-unavailable`.
 */
export function clientFactories(configuration: Configuration, { environment, proxies }: Surroundings): ClientFactories {
  const coldStorage = configuration.section('cold-storage')
  const redis = configuration.section('redis')
  return {
    http: () => httpClientFactory(proxies),
    program: async ({ signal }) => {
      const { openPrograms, readingPrograms } = await import('@battlescope/task-backup/dumps')
      const { databaseDirectUrl, databaseUrl = '' } = configuration.program
      // Dumping needs a session.
      const target = parseConnectionString(databaseDirectUrl ?? databaseUrl)
      const programs = openPrograms({ target, environment, signal })
      return { read: readingPrograms(programs), write: programs, close: () => Promise.resolve() }
    },
    ...(coldStorage?.url === undefined
      ? {}
      : {
          store: async () => {
            const { openStore, readOnly } = await import('@battlescope/cold-storage')
            const store = await openStore(coldStorage)
            return { read: readOnly(store), write: store, close: () => store.close() }
          },
        }),
    ...(redis === undefined || [redis.url, redis.esiCacheUrl, redis.sessionUrl].every((url) => url === undefined)
      ? {}
      : {
          redis: async ({ signal }: ClientRequest) => (await import('@battlescope/redis')).openRedis(redis, { signal }),
        }),
  }
}

/** What configures a kind of client. A kind that is brought by a third-party package is not in it. */
export const howToConfigure: Readonly<Partial<Record<ClientKind | (string & {}), string>>> = {
  store: 'set SCHEDULER_COLD_STORAGE_URL',
  redis: 'set REDIS_URL, ESI_REDIS_CACHE_URL or SESSION_REDIS_URL',
}
