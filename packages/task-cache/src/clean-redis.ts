/** The Redis part: server after server, each from where the last run stopped. */
import { nextRound, resumeWalk, withWalk, type CacheCursor, type Walk } from './cursor.js'
import type { Context } from './delete-rows.js'
import { labelOf } from './namespaces.js'
import { Pace } from './pace.js'
import { isFragmented, withBigKey, type BigKey, type Found, type MemoryFacts } from './plan.js'
import { isRedisFailure, openServers, type Server } from './servers.js'
import { trimQueue } from './trim-queue.js'
import { walkServer } from './walk.js'

export interface RedisOutcome extends Pick<
  Found,
  'bigKeys' | 'fragmented' | 'idleUnknown' | 'unreadable' | 'queueProblems'
> {
  readonly servers: number
  readonly unfinished: number
  /** What failed; other servers were looked after all the same. */
  readonly failures: readonly Error[]
}

const nothing: RedisOutcome = {
  servers: 0,
  unfinished: 0,
  failures: [],
  bigKeys: [],
  fragmented: [],
  idleUnknown: [],
  unreadable: {},
  queueProblems: [],
}

export async function cleanRedis(context: Context): Promise<RedisOutcome> {
  if (!context.hasClient('redis')) return nothing
  const { servers, failures: closed } = await openServers(context)
  const { budget, checkpoint, clock, config } = context
  const pace = new Pace(clock, budget, config.commandsPerSecond)
  const failures = [...closed]
  let cursor: CacheCursor = (await checkpoint.load()) ?? { masters: {} }
  let outcome = { ...nothing, servers: servers.length }
  for (const server of servers) {
    const { id } = server.master
    const save = async (walk: Walk) => {
      cursor = withWalk(cursor, id, walk)
      await checkpoint.save(cursor)
    }
    try {
      outcome = merged(outcome, await cleanServer(context, server, pace, resumeWalk(cursor, server.master), save))
    } catch (error) {
      if (!isRedisFailure(error)) throw error
      failures.push(error)
    }
    reportSizes(context, server, cursor.masters[id])
  }
  // A server that is down must not keep the others from being walked over again.
  if (failures.length > 0 || (outcome.unfinished === 0 && servers.length > 0)) {
    await checkpoint.save(
      nextRound(
        cursor,
        servers.map(({ master }) => master.id),
      ),
    )
  }
  return { ...outcome, failures }
}

async function cleanServer(
  context: Context,
  server: Server,
  pace: Pace,
  from: Walk,
  save: (walk: Walk) => Promise<void>,
): Promise<RedisOutcome> {
  const { config } = context
  const label = (pattern: string) => labelOf(server.name, { pattern })
  const memory = await memoryOf(server)
  context.metrics.gauge('fragmentation_ratio', memory.ratio, { redis: server.name, server: server.master.id })
  const queueProblems: { queue: string; problem: string }[] = []
  let finished = true
  for (const queue of server.namespaces) {
    if (queue.policy !== 'bullmq') continue
    if (server.database.masterOf(`${queue.keyPrefix}meta`) !== server.master) continue
    const trimmed = await trimQueue(context, server, queue, pace)
    finished &&= trimmed.finished
    if (trimmed.problem !== undefined) queueProblems.push({ queue: label(queue.pattern), problem: trimmed.problem })
  }
  const mayWalk = !context.budget.exhausted()
  const walk = mayWalk ? await walkServer({ context, server, pace, save }, from) : from
  finished &&= walk.complete || context.dryRun
  return {
    ...nothing,
    unfinished: finished ? 0 : 1,
    bigKeys: bigKeysOf(walk),
    fragmented: isFragmented(memory, config.fragmentationRatio) ? [memory] : [],
    idleUnknown: server.idleUnknown.map(label),
    unreadable: unreadableOf(walk),
    queueProblems,
  }
}

async function memoryOf({ master, name }: Server): Promise<MemoryFacts> {
  const info = await master.info('memory')
  return {
    where: `${name} ${master.id}`,
    ratio: Number(info['mem_fragmentation_ratio'] ?? 1),
    lostBytes: Number(info['mem_fragmentation_bytes'] ?? 0),
  }
}

/** Of the last complete walk and of this one: a finding must not vanish because a walk is half done. */
function bigKeysOf({ seen, last }: Walk): readonly BigKey[] {
  return [...(last?.bigKeys ?? []), ...seen.bigKeys].reduce<readonly BigKey[]>(withBigKey, [])
}

function unreadableOf({ seen, last }: Walk): Readonly<Record<string, number>> {
  const namespaces = Object.entries((last ?? seen).namespaces)
  return Object.fromEntries(namespaces.map(([label, { unreadable }]) => [label, unreadable]))
}

function merged(a: RedisOutcome, b: RedisOutcome): RedisOutcome {
  const unreadable = { ...a.unreadable }
  for (const [label, count] of Object.entries(b.unreadable)) unreadable[label] = (unreadable[label] ?? 0) + count
  return {
    servers: a.servers,
    unfinished: a.unfinished + b.unfinished,
    failures: [],
    bigKeys: [...a.bigKeys, ...b.bigKeys].reduce<readonly BigKey[]>(withBigKey, []),
    fragmented: [...a.fragmented, ...b.fragmented],
    idleUnknown: [...new Set([...a.idleUnknown, ...b.idleUnknown])],
    unreadable,
    queueProblems: [...a.queueProblems, ...b.queueProblems],
  }
}

/** Sizes of the namespaces, as the last complete walk found them: in every run, so that the series has no gaps. */
function reportSizes({ metrics }: Context, server: Server, walk: Walk | undefined): void {
  const attributes = { redis: server.name, server: server.master.id }
  const { last } = walk ?? {}
  for (const namespace of server.namespaces) {
    const counters = ['keys_seen', 'bytes_seen', 'keys_repaired', 'keys_removed', 'bytes_removed']
    for (const counter of counters) metrics.count(counter, 0, { redis: server.name, namespace: namespace.pattern })
    if (last === undefined) continue
    const { keys, bytes } = last.namespaces[labelOf(server.name, namespace)] ?? { keys: 0, bytes: 0 }
    metrics.gauge('namespace_keys', keys, { ...attributes, namespace: namespace.pattern })
    metrics.gauge('namespace_bytes', bytes, { ...attributes, namespace: namespace.pattern })
  }
  if (last !== undefined) metrics.gauge('other_keys', last.otherKeys, attributes)
}
