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
  'llen',
  'memory usage',
  'object encoding',
  'object idletime',
  'ping',
  'pttl',
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
export function nameOf([name, first]: Command): string {
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

/** Sends reads, and refuses everything else before anything is sent. */
export function queryOf(link: Link, where: Where, counter: Counter): Query {
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

const lookUps: Readonly<Record<KeyFact, (key: string) => Command>> = {
  idle: (key) => ['object', 'idletime', key],
  type: (key) => ['type', key],
  encoding: (key) => ['object', 'encoding', key],
  ttl: (key) => ['pttl', key],
  memory: (key) => ['memory', 'usage', key],
  value: (key) => ['get', key],
}

/** Replies that concern one key alone: it moved to another master, has another type, or went. */
const aboutOneKey = new Set(['redis-moved', 'redis-wrong-type'])

function factOf(fact: KeyFact, reply: unknown): Partial<Looked> {
  switch (fact) {
    case 'idle':
      return typeof reply === 'number' ? { idleSeconds: reply } : {}
    case 'type':
      return typeof reply === 'string' && reply !== 'none' ? { type: reply } : {}
    case 'encoding':
      return typeof reply === 'string' ? { encoding: reply } : {}
    case 'ttl':
      return reply === -1 ? { ttlMs: null } : typeof reply === 'number' && reply >= 0 ? { ttlMs: reply } : {}
    case 'memory':
      return typeof reply === 'number' ? { memoryBytes: reply } : {}
    case 'value':
      return typeof reply === 'string' ? { value: reply } : {}
  }
}

export function masterReader(
  link: Link,
  facts: ServerFacts,
  where: Where,
  counter: Counter,
): Readonly<RedisMasterReader> {
  const query = queryOf(link, where, counter)
  const ask = (command: Command) => one(query, where, command)

  const look = async (keys: readonly string[], wanted: readonly KeyFact[]): Promise<readonly Looked[]> => {
    // A read of the value would make the key look busy: it comes last, whatever the caller's order.
    const inOrder = (Object.keys(lookUps) as KeyFact[]).filter((fact) => wanted.includes(fact))
    const commands = keys.flatMap((key) => inOrder.map((fact) => lookUps[fact](key)))
    const replies = await query(commands)
    return keys.map((key, row) => {
      const looked: Looked = { key }
      for (const [column, fact] of inOrder.entries()) {
        const index = row * inOrder.length + column
        const reply = replies[index]
        if (reply instanceof Error) {
          const error = explainDriver(reply, where, commands[index] && nameOf(commands[index]))
          if (aboutOneKey.has(error.code) || isNoSuchKey(reply)) continue
          throw error
        }
        Object.assign(looked, factOf(fact, reply))
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
      counter.sent += 1
      try {
        const [next, keys] = await link.scan([cursor, ...(match === undefined ? [] : ['match', match]), 'count', count])
        const texts = keys.map(decodeKey)
        const readable = texts.filter((key) => key !== undefined)
        return {
          cursor: Buffer.from(next).toString('latin1'),
          keys: readable,
          binaryKeys: texts.length - readable.length,
        }
      } catch (error) {
        throw explain(error, where, 'scan')
      }
    },
    look,
    get: async (key: string) => textOf(await ask(['get', key])),
    mget: async (keys: readonly string[]) => (await many(keys.map((key) => ['get', key]))).map(textOf),
    exists: async (keys: readonly string[]) =>
      (await many(keys.map((key) => ['exists', key]))).map((reply) => reply === 1),
    length: async (key: string, type: keyof typeof lengths) => {
      const reply = await ask([lengths[type], key])
      return typeof reply === 'number' && reply > 0 ? reply : undefined
    },
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

/** Undefined for bytes that are no UTF-8: as text they would name another key. */
function decodeKey(bytes: Uint8Array): string | undefined {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const text = buffer.toString('utf8')
  return text.includes('\ufffd') && !Buffer.from(text).equals(buffer) ? undefined : text
}

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
