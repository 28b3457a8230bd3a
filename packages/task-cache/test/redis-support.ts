/** What the tests of the Redis part share. */
import { openRedis, redisOptions, type RedisDatabaseWriter, type RedisMasterWriter } from '@battlescope/redis'
import type { TestClient } from '@battlescope/redis/testing'
import type { ClientFactories } from '@battlescope/scheduler-core'
import { runOneTask, type OneTaskRun, type RunOneTaskOptions, type TestDatabase } from '@battlescope/scheduler-testing'
import { cache, cacheConfig } from '../src/index.js'

/** Replaces methods of the writing half of every master, to act between a look and a change. */
export type Disturb = (master: RedisMasterWriter) => Partial<RedisMasterWriter>

export function redisClients(urls: object, disturb?: Disturb): ClientFactories {
  return {
    redis: async () => {
      const { read, write, close } = openRedis(redisOptions.parse(urls))
      if (disturb === undefined) return { read, write, close }
      const open: typeof write.open = async (name, options) => {
        const database = await write.open(name, options)
        const disturbed = new Map(database.masters.map((master) => [master, { ...master, ...disturb(master) }]))
        const of = (master: RedisMasterWriter) => disturbed.get(master) ?? master
        return {
          ...database,
          masters: database.masters.map(of),
          masterOf: (key: string) => of(database.masterOf(key)),
        } satisfies RedisDatabaseWriter
      }
      return { read, write: { ...write, open }, close }
    },
  }
}

export interface CacheRun extends Partial<RunOneTaskOptions> {
  readonly options?: object
  readonly urls: object
  readonly disturb?: Disturb
}

/** One run of the task with options as they are written in a file. */
export function runCache(
  database: TestDatabase,
  { options = {}, urls, disturb, ...rest }: CacheRun,
): Promise<OneTaskRun> {
  return runOneTask({
    task: cache,
    databaseUrl: database.url,
    config: cacheConfig.parse({ commandsPerSecond: 1_000_000, ...options }),
    clients: redisClients(urls, disturb),
    force: true,
    ...rest,
  })
}

/** Every key with its bytes and whether it expires, as one text each. */
export async function dumpAll(client: TestClient): Promise<Readonly<Record<string, string>>> {
  const keys = ((await client.call('KEYS', '*')) as string[]).sort()
  const dump: Record<string, string> = {}
  for (const key of keys) {
    const bytes = await client.call('DEBUG', 'DIGEST-VALUE', key)
    const expires = Number(await client.call('PEXPIRETIME', key))
    dump[key] = `${String(bytes)} ${expires}`
  }
  return dump
}

export const actionsOf = ({ task }: OneTaskRun): readonly string[] =>
  (task.run?.actions ?? []).map(({ kind, target, reason }) => `${kind} ${target}: ${reason ?? ''}`)
