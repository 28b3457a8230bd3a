/** What reads one server: a closure over a function that refuses every command outside a list, so that no caller can reach another one. */
import type { KeyFact, Looked, RedisMasterReader } from './contract.js'
import type { Command, Link } from './link.js'
import { explain, explainDriver, RedisError, type Where } from './redis-error.js'

/** Commands that change nothing in the data. https://redis.io/docs/latest/commands/ */
const reads = new Set([
  'cluster slots',
  'config get',
  'dbsize',
  'exists',
  'get',
  'hget',
  'hlen',
  'info',
  'lindex',
  'llen',
  'memory usage',
  'mget',
  'object encoding',
  'object idletime',
  'ping',
  'pttl',
  'scan',
  'scard',
  'sismember',
  'strlen',
  'type',
  'xlen',
  'zcard',
  'zcount',
  'zrange',
])
const containers = new Set(['cluster', 'config', 'memory', 'object'])

/** Commands of one pipeline: the server answers it in one go, and everybody else waits for that. */
const pipelineLength = 100

/** The command's name with its subcommand, in lower case. */
function nameOf([name, first]: Command): string {
  return containers.has(name) ? `${name} ${String(first)}` : name
}

/** Replies in order; error replies are values. */
export type Query = (commands: readonly Command[]) => Promise<readonly unknown[]>

export interface ServerFacts {
  readonly id: string
  readonly database: number
  readonly runId: string
  readonly version: string
  readonly evictionPolicy: string
}

export interface Counter {
  sent: number
}

/**
 * The same few commands for many keys, in one: the server answers as fast as before, and we need a third of the time and of the memory
 * that ioredis takes for single commands. EVAL_RO refuses whatever writes. Arguments: keys, then names of commands.
 */
const manyReads = `
local replies = {}
for _, key in ipairs(KEYS) do
  for _, name in ipairs(ARGV) do
    local container, subcommand = string.match(name, '^(%S+) (%S+)$')
    if container then
      replies[#replies + 1] = redis.pcall(container, subcommand, key)
    else
      replies[#replies + 1] = redis.pcall(name, key)
    end
  end
end
return replies`

/** How servers say that a script's user lacks a right, which has no code of its own there: from 7.2 on, and 7.0. */
const deniedInScript = /ACL failure|can't run this command/

/** Sends reads, and refuses everything else before anything is sent. */
function queryOf(link: Link, where: Where, counter: Counter): Query {
  return async (commands) => {
    for (const command of commands) {
      if (!reads.has(nameOf(command))) {
        throw new RedisError('redis-failed', `${nameOf(command).toUpperCase()} is no read, and was not sent`)
      }
    }
    const replies: unknown[] = []
    for (let start = 0; start < commands.length; start += pipelineLength) {
      const batch = commands.slice(start, start + pipelineLength)
      counter.sent += batch.length
      try {
        replies.push(...(await link.sendAll(batch)))
      } catch (error) {
        throw explain(error, where, batch[0] && nameOf(batch[0]))
      }
    }
    return replies
  }
}

/** The reply to one command. @throws RedisError when it is an error */
async function one(query: Query, where: Where, command: Command): Promise<unknown> {
  const [reply] = await query([command])
  if (reply instanceof Error) throw explain(reply, where, nameOf(command))
  return reply
}

/** In the order in which they are asked: a read of the value would make the key look busy, so it comes last. */
const lookUps: Readonly<Record<KeyFact, string>> = {
  idle: 'object idletime',
  type: 'type',
  encoding: 'object encoding',
  ttl: 'pttl',
  memory: 'memory usage',
  value: 'get',
}

/** Replies to each command for each key, key by key. */
type QueryKeys = (keys: readonly string[], names: readonly string[]) => Promise<readonly unknown[]>

/**
 * By a script where the server lets us; command by command in a cluster, whose scripts stay within a slot, and where the right to
 * EVAL_RO is missing, or a right to one of its commands: then a plain command tells which.
 */
function queryKeysOf(link: Link, query: Query, isCluster: boolean, where: Where, counter: Counter): QueryKeys {
  let byScript = !isCluster
  const plain: QueryKeys = (keys, names) =>
    query(keys.flatMap((key) => names.map((name) => [...name.split(' '), key] as unknown as Command)))
  const scripted = async (
    keys: readonly string[],
    names: readonly string[],
  ): Promise<readonly unknown[] | undefined> => {
    for (const name of names) {
      if (!reads.has(name)) throw new RedisError('redis-failed', `${name.toUpperCase()} is no read, and was not sent`)
    }
    const [replies] = await link
      .sendAll([['eval_ro', manyReads, keys.length, ...keys, ...names]])
      .catch((error: unknown) => {
        throw explain(error, where, names[0])
      })
    if (!Array.isArray(replies)) return undefined
    if (replies.some((reply) => reply instanceof Error && deniedInScript.test(reply.message))) return undefined
    counter.sent += replies.length
    return replies as unknown[]
  }
  return async (keys, names) => {
    const all: unknown[] = []
    const keysPerCall = Math.max(1, Math.floor(pipelineLength / names.length))
    for (let start = 0; start < keys.length; start += keysPerCall) {
      const batch = keys.slice(start, start + keysPerCall)
      const replies = byScript ? await scripted(batch, names) : undefined
      if (replies === undefined) byScript = false
      all.push(...(replies ?? (await plain(batch, names))))
    }
    return all
  }
}

/** Replies that concern one key alone: it moved to another master, has another type, or went. */
const aboutOneKey = new Set(['redis-moved', 'redis-wrong-type'])

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

/** Written into one object: a walk over a million keys makes enough of them. */
function note(looked: Mutable<Looked>, fact: KeyFact, reply: unknown): void {
  if (typeof reply === 'number') {
    if (fact === 'idle') looked.idleSeconds = reply
    else if (fact === 'memory') looked.memoryBytes = reply
    else if (fact === 'ttl' && reply >= -1) looked.ttlMs = reply === -1 ? null : reply
  } else if (typeof reply === 'string') {
    if (fact === 'value') looked.value = reply
    else if (fact === 'encoding') looked.encoding = reply
    else if (fact === 'type' && reply !== 'none') looked.type = reply
  }
}

export function masterReader(
  link: Link,
  facts: ServerFacts,
  isCluster: boolean,
  where: Where,
  counter: Counter,
): Readonly<RedisMasterReader> {
  const query = queryOf(link, where, counter)
  const queryKeys = queryKeysOf(link, query, isCluster, where, counter)
  const ask = (command: Command) => one(query, where, command)

  const look = async (keys: readonly string[], wanted: readonly KeyFact[]): Promise<readonly Looked[]> => {
    const inOrder = (Object.keys(lookUps) as KeyFact[]).filter((fact) => wanted.includes(fact))
    const replies = await queryKeys(
      keys,
      inOrder.map((fact) => lookUps[fact]),
    )
    return keys.map((key, row) => {
      const looked: Mutable<Looked> = { key }
      for (const [column, fact] of inOrder.entries()) {
        const reply = replies[row * inOrder.length + column]
        if (reply instanceof Error) {
          const error = explainDriver(reply, where, lookUps[fact])
          if (aboutOneKey.has(error.code) || isNoSuchKey(reply)) continue
          throw error
        }
        note(looked, fact, reply)
      }
      return looked
    })
  }

  const many = async (commands: readonly Command[]): Promise<readonly unknown[]> =>
    (await query(commands)).map((reply, index) => {
      if (!(reply instanceof Error)) return reply
      const error = explainDriver(reply, where, commands[index] && nameOf(commands[index]))
      if (aboutOneKey.has(error.code)) return undefined
      throw error
    })

  return Object.freeze({
    ...facts,
    commandsSent: () => counter.sent,
    ping: async () => {
      await ask(['ping'])
    },
    scan: async (cursor: string, { count = 100, match }: { count?: number; match?: string } = {}) => {
      const command: Command = ['scan', cursor, ...(match === undefined ? [] : ['match', match]), 'count', count]
      const [next, keys] = (await ask(command)) as readonly [string, readonly string[]]
      const readable = keys.filter((key) => !key.includes(replacement))
      return { cursor: next, keys: readable, binaryKeys: keys.length - readable.length }
    },
    look,
    get: async (key: string) => textOf(await ask(['get', key])),
    mget: async (keys: readonly string[]) => {
      // Keys of several slots must be asked for one by one.
      if (isCluster) return (await many(keys.map((key) => ['get', key]))).map(textOf)
      const values: (string | undefined)[] = []
      for (let start = 0; start < keys.length; start += pipelineLength) {
        const batch = keys.slice(start, start + pipelineLength)
        values.push(...((await ask(['mget', ...batch])) as readonly unknown[]).map(textOf))
      }
      return values
    },
    exists: async (keys: readonly string[]) =>
      (await queryKeys(keys, ['exists'])).map((reply) => {
        if (!(reply instanceof Error)) return reply === 1
        const error = explainDriver(reply, where, 'exists')
        if (aboutOneKey.has(error.code)) return false
        throw error
      }),
    length: async (key: string, type: keyof typeof lengths) => {
      const reply = await ask([lengths[type], key])
      return typeof reply === 'number' && reply > 0 ? reply : undefined
    },
    lindex: async (key: string, index: number) => textOf(await ask(['lindex', key, index])),
    hgetEach: async (keys: readonly string[], field: string) =>
      (await many(keys.map((key) => ['hget', key, field]))).map(textOf),
    sismember: async (key: string, member: string) => (await ask(['sismember', key, member])) === 1,
    zcount: async (key: string, min: number | '-inf', max: number | '+inf') =>
      Number(await ask(['zcount', key, min, max])),
    zrange: async (key: string, first: number, last: number) =>
      pairs(await ask(['zrange', key, first, last, 'withscores'])).map(([member, score]) => ({
        member,
        score: Number(score),
      })),
    info: async (section?: string) =>
      parseInfo(String(await ask(section === undefined ? ['info'] : ['info', section]))),
    configGet: async (pattern: string) => Object.fromEntries(pairs(await ask(['config', 'get', pattern]))),
    dbsize: async () => Number(await ask(['dbsize'])),
  })
}

const lengths = { string: 'strlen', list: 'llen', hash: 'hlen', set: 'scard', zset: 'zcard', stream: 'xlen' } as const

function textOf(reply: unknown): string | undefined {
  return typeof reply === 'string' ? reply : undefined
}

function pairs(reply: unknown): readonly (readonly [string, string])[] {
  const flat = reply as readonly string[]
  return flat.flatMap((name, index) => (index % 2 === 0 ? [[name, flat[index + 1] ?? ''] as const] : []))
}

/** What bytes become that are no UTF-8: as text they would name another key. A key that really contains it is left alone with them. */
const replacement = '\ufffd'

/** OBJECT answers in this form for a key that is gone, on some versions. */
function isNoSuchKey(error: Error): boolean {
  return error.message.startsWith('ERR no such key')
}

export function parseInfo(text: string): Readonly<Record<string, string>> {
  const entries = text
    .split(/\r?\n/)
    .filter((line) => line.includes(':') && !line.startsWith('#'))
    .map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1)] as const)
  return Object.fromEntries(entries)
}
