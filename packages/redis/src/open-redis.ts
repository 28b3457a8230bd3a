import { readFile } from 'node:fs/promises'
import {
  redisNames,
  type OpenOptions,
  type RedisDatabase,
  type RedisDatabaseReader,
  type RedisDatabaseWriter,
  type RedisMasterReader,
  type RedisMasterWriter,
  type RedisName,
  type RedisReader,
  type RedisWriter,
} from './contract.js'
import type { Connect, Link } from './link.js'
import { masterReader, parseInfo, type Counter } from './master-reader.js'
import { masterWriter } from './master-writer.js'
import type { RedisOptions } from './options.js'
import { explain, LinkAborted, RedisError, type Where } from './redis-error.js'
import { locationOf, parseRedisUrl, type Address, type RedisTarget } from './redis-url.js'
import { parseClusterSlots, slotOf, type SlotRange } from './slots.js'

const variables: Readonly<Record<RedisName, string>> = {
  redis: 'REDIS_URL',
  esiCache: 'ESI_REDIS_CACHE_URL',
  session: 'SESSION_REDIS_URL',
}

export interface OpenedRedis {
  readonly read: RedisReader
  readonly write: RedisWriter
  close(): Promise<void>
}

/**
 * Redis by the URLs of the configuration. Nothing is loaded and nothing connects before the first `open`; the two halves share their
 * connections. `defaults` hold for every `open` that says nothing else.
 */
export function openRedis(options: RedisOptions, defaults: OpenOptions = {}): OpenedRedis {
  const urls: Readonly<Record<RedisName, string | undefined>> = {
    redis: options.url,
    esiCache: options.esiCacheUrl,
    session: options.sessionUrl,
  }
  const configured = redisNames.filter((name) => urls[name] !== undefined)
  const links = new Set<Link>()
  const opened = new Map<RedisName, Promise<Database>>()
  const open = (name: RedisName, { signal = defaults.signal }: OpenOptions = {}): Promise<Database> => {
    const url = urls[name]
    if (url === undefined) {
      const message = `the Redis database '${name}' is not configured`
      return Promise.reject(new RedisError('redis-not-configured', message, `set ${variables[name]}`))
    }
    const opening = opened.get(name) ?? openDatabase(name, parseRedisUrl(url), options, links, signal)
    opened.set(name, opening)
    return opening
  }
  return {
    read: { configured, open: async (name, how) => (await open(name, how)).read },
    write: { configured, open: async (name, how) => (await open(name, how)).write },
    close: async () => {
      await Promise.allSettled(opened.values())
      for (const link of links) link.close()
    },
  }
}

interface Database {
  readonly read: RedisDatabaseReader
  readonly write: RedisDatabaseWriter
}

interface Opening {
  readonly name: RedisName
  readonly target: RedisTarget
  readonly connect: (address: Address) => Promise<Link>
}

async function openDatabase(
  name: RedisName,
  target: RedisTarget,
  options: RedisOptions,
  links: Set<Link>,
  signal: AbortSignal | undefined,
): Promise<Database> {
  signal?.throwIfAborted()
  const ca = options.tlsCaFile === undefined ? undefined : await readCertificates(options.tlsCaFile)
  const { connectIoredis } = await import('./ioredis-link.js')
  const opening: Opening = {
    name,
    target,
    connect: async (address) => {
      const where: Where = { location: locationOf(target, [address]), user: target.user }
      const link = await connectTo(connectIoredis, address, target, options, ca, where)
      const guarded = limited(link, where, options.commandTimeout, signal)
      links.add(guarded)
      await logIn(guarded, target, where)
      return guarded
    },
  }
  const seed = await connectToFirst(opening)
  const facts = await selectFacts(seed, opening)
  return facts.isCluster ? openCluster(opening, seed, signal) : openSingle(opening, seed, facts)
}

async function readCertificates(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    const why = (error as NodeJS.ErrnoException).code ?? 'unreadable'
    throw new RedisError('redis-tls', `the CA file ${path} cannot be read (${why})`)
  }
}

async function connectTo(
  connect: Connect,
  { host, port }: Address,
  target: RedisTarget,
  options: RedisOptions,
  ca: string | undefined,
  where: Where,
): Promise<Link> {
  try {
    return await connect({
      host,
      port,
      tls: target.tls ? { ca, serverName: options.tlsServerName ?? host } : undefined,
      connectTimeoutMs: options.connectTimeout,
    })
  } catch (error) {
    throw explain(error, where)
  }
}

/**
 * Ends an exchange when it takes too long, or when the signal aborts, and the connection with it: an answer that comes later must not be
 * taken for that of another command. One timer for each exchange, not for each of its commands: a walk sends millions.
 */
function limited(link: Link, where: Where, timeoutMs: number, signal: AbortSignal | undefined): Link {
  const ends = new Set<(problem: Error) => void>()
  const stop = (problem: Error) => {
    for (const reject of ends) reject(problem)
    link.close()
  }
  const onAbort = () => {
    stop(new LinkAborted(signal?.reason))
  }
  signal?.addEventListener('abort', onAbort, { once: true })
  const exchange = <T>(work: () => Promise<T>): Promise<T> =>
    new Promise<T>((resolve, reject) => {
      if (signal?.aborted === true) {
        reject(new LinkAborted(signal.reason))
        return
      }
      ends.add(reject)
      const timer = setTimeout(() => {
        stop(new RedisError('redis-timeout', `${where.location}: no answer within ${timeoutMs} ms`))
      }, timeoutMs)
      work()
        .then(resolve, reject)
        .finally(() => {
          clearTimeout(timer)
          ends.delete(reject)
        })
    })
  return {
    sendAll: (commands) => exchange(() => link.sendAll(commands)),
    transaction: (commands) => exchange(() => link.transaction(commands)),
    close: () => {
      signal?.removeEventListener('abort', onAbort)
      link.close()
    },
  }
}

/** AUTH and SELECT. From Redis 7.2 on also asks that our reads do not count as accesses; older servers refuse, which is no harm. */
async function logIn(link: Link, { user, password, database }: RedisTarget, where: Where): Promise<void> {
  const send = async (command: readonly [string, ...(string | number)[]]) => {
    const [reply] = await link.sendAll([command]).catch((error: unknown) => {
      throw explain(error, where, command[0])
    })
    if (reply instanceof Error) throw explain(reply, where, command[0])
  }
  if (password !== undefined) await send(user === 'default' ? ['auth', password] : ['auth', user, password])
  if (database !== 0) await send(['select', database])
  await link.sendAll([['client', 'no-touch', 'on']]).catch((error: unknown) => {
    throw explain(error, where)
  })
}

async function connectToFirst({ target, connect }: Opening): Promise<Link & { readonly address: Address }> {
  let problem: unknown
  for (const address of target.addresses) {
    try {
      return Object.assign(await connect(address), { address })
    } catch (error) {
      problem = error
    }
  }
  throw problem
}

interface Facts {
  readonly runId: string
  readonly version: string
  readonly evictionPolicy: string
  readonly isCluster: boolean
}

/** @throws RedisError `redis-replica`, `redis-busy`, `redis-permission` */
async function selectFacts(link: Link & { readonly address: Address }, { target }: Opening): Promise<Facts> {
  const where: Where = { location: locationOf(target, [link.address]), user: target.user }
  const [reply] = await link.sendAll([['info']]).catch((error: unknown) => {
    throw explain(error, where, 'info')
  })
  if (reply instanceof Error) throw explain(reply, where, 'info')
  const info = parseInfo(String(reply))
  const isCluster = info['cluster_enabled'] === '1'
  if (target.cluster && !isCluster) {
    const hint = 'write redis:// or rediss:// for a single server'
    throw new RedisError('redis-unsupported', `${where.location}: the server is no cluster`, hint)
  }
  if (info['loading'] === '1') throw new RedisError('redis-busy', `${where.location}: the server is loading its data`)
  if (!isCluster && info['role'] !== 'master') {
    throw new RedisError('redis-replica', `${where.location}: the server is a replica`, 'the URL must name a master')
  }
  return {
    runId: info['run_id'] ?? '',
    version: info['redis_version'] ?? '',
    evictionPolicy: info['maxmemory_policy'] ?? 'unknown',
    isCluster,
  }
}

interface Halves {
  readonly read: RedisMasterReader
  readonly write: RedisMasterWriter
}

function halvesOf(link: Link, { target }: Opening, address: Address, id: string, facts: Facts): Halves {
  const where: Where = { location: locationOf(target, [address]), user: target.user }
  const counter: Counter = { sent: 0 }
  const { runId, version, evictionPolicy } = facts
  const { database } = target
  const read = masterReader(link, { id, database, runId, version, evictionPolicy }, facts.isCluster, where, counter)
  return { read, write: masterWriter(link, read, facts.isCluster, where, counter) }
}

function openSingle(opening: Opening, link: Link & { readonly address: Address }, facts: Facts): Database {
  const { name, target } = opening
  const { host, port } = link.address
  const { read, write } = halvesOf(link, opening, link.address, `${host}:${port}/${target.database}`, facts)
  const common = { name, location: locationOf(target, [link.address]), isCluster: false }
  return {
    read: Object.freeze({ ...common, masters: [read], masterOf: () => read }),
    write: Object.freeze({ ...common, masters: [write], masterOf: () => write }),
  }
}

async function openCluster(
  opening: Opening,
  seed: Link & { readonly address: Address },
  signal: AbortSignal | undefined,
): Promise<Database> {
  const { name, target } = opening
  if (target.database !== 0) {
    const message = `${locationOf(target, [seed.address])}: a cluster has database 0 alone`
    throw new RedisError('redis-invalid-url', message)
  }
  const where: Where = { location: locationOf(target, [seed.address]), user: target.user }
  const [reply] = await seed.sendAll([['cluster', 'slots']])
  if (reply instanceof Error) throw explain(reply, where, 'cluster slots')
  const ranges = parseClusterSlots(reply, seed.address)
  const masters = new Map<string, Halves>()
  for (const { master } of ranges) {
    signal?.throwIfAborted()
    if (masters.has(master.id)) continue
    const link = Object.assign(await opening.connect(master), { address: master })
    masters.set(master.id, halvesOf(link, opening, master, master.id, await selectFacts(link, opening)))
  }
  const location = locationOf({ ...target, cluster: true }, target.addresses)
  const halves = [...masters.values()]
  const half = <M>(pick: (halves: Halves) => M): RedisDatabase<M> =>
    Object.freeze({
      name,
      location,
      isCluster: true,
      masters: halves.map(pick),
      masterOf: (key: string) => pick(ownerOf(key, ranges, masters, location)),
    })
  return { read: half(({ read }) => read), write: half(({ write }) => write) }
}

function ownerOf(
  key: string,
  ranges: readonly SlotRange[],
  masters: ReadonlyMap<string, Halves>,
  location: string,
): Halves {
  const slot = slotOf(key)
  const range = ranges.find(({ first, last }) => first <= slot && slot <= last)
  const owner = range === undefined ? undefined : masters.get(range.master.id)
  if (owner === undefined) throw new RedisError('redis-busy', `${location}: nobody serves slot ${slot}`)
  return owner
}
