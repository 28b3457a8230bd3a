/** The walk over one Redis server: page by page, judging keys, changing them in batches, saving how far it came. */
import type { RedisName } from '@battlescope/redis'
import { lookAt, removeKeys, repairKeys, type Changed } from './change-keys.js'
import { withPage, type NamespaceTally, type PageTally, type Walk } from './cursor.js'
import type { Context } from './delete-rows.js'
import { labelOf, type Namespace } from './namespaces.js'
import type { Pace } from './pace.js'
import { actionOf, judge, withBigKey, type Judgement } from './plan.js'
import { writerOf, type Server } from './servers.js'

/** Keys of one page, about: the server answers it, and the look-ups that follow, in well under a millisecond. */
const pageLength = 100
/** A login writes a session and the pointer to it one after the other; a pointer must be seen dangling for longer than that. */
const loginMs = 1000

type Actionable = Extract<Judgement, { kind: 'repair' | 'remove' }>

interface Pending {
  readonly namespace: Namespace
  readonly judgement: Actionable
  readonly keys: string[]
}

export interface WalkOptions {
  readonly context: Context
  readonly server: Server
  readonly pace: Pace
  /** Called whenever everything up to the walk's cursor is done. */
  readonly save: (walk: Walk) => Promise<void>
}

export async function walkServer(options: WalkOptions, from: Walk): Promise<Walk> {
  const { context, server, pace, save } = options
  const { budget, config, dryRun } = context
  const { master } = server
  const collected = new Collected()
  let walk = from
  let looked = 0
  while (!walk.complete) {
    const page = await pace.step(master, () => master.scan(walk.cursor, { count: pageLength }))
    const tally = await judgePage(options, page.keys, collected, walk)
    walk = withPage(walk, page.cursor, { ...tally, otherKeys: tally.otherKeys + page.binaryKeys })
    looked += page.keys.length
    context.progress({ done: looked, unit: 'keys', current: `${server.name} ${master.id}` })
    if (dryRun) {
      if (looked >= config.sampleKeys) break
      continue
    }
    const isBorder = walk.complete || budget.exhausted()
    if (isBorder || collected.size >= Math.min(config.keyBatchSize, config.commandsPerSecond)) {
      await flush(options, collected, '')
      await save(walk)
    }
    if (budget.exhausted()) break
  }
  if (dryRun) await flush(options, collected, `of ${looked} sampled `)
  return walk
}

class Collected {
  readonly #pending = new Map<string, Pending>()
  size = 0

  add(namespace: Namespace, judgement: Actionable, key: string): void {
    const name = `${actionOf(judgement).kind} ${namespace.pattern}`
    const pending = this.#pending.get(name) ?? { namespace, judgement, keys: [] }
    this.#pending.set(name, pending)
    pending.keys.push(key)
    this.size += 1
  }

  take(): readonly Pending[] {
    const taken = [...this.#pending.values()]
    this.#pending.clear()
    this.size = 0
    return taken
  }
}

async function judgePage(
  { context, server, pace }: WalkOptions,
  keys: readonly string[],
  collected: Collected,
  { seen }: Walk,
): Promise<PageTally> {
  const { master, database, name } = server
  const view = { master, masterOf: database.masterOf, namespaceOf: server.namespaceOf, now: nowOf(context) }
  const groups = new Map<Namespace, string[]>()
  let otherKeys = 0
  for (const key of keys) {
    const namespace = server.namespaceOf(key)
    const group = namespace && groups.get(namespace)
    if (namespace === undefined) otherKeys += 1
    else if (group === undefined) groups.set(namespace, [key])
    else group.push(key)
  }
  const namespaces: Record<string, NamespaceTally> = {}
  let { bigKeys } = seen
  for (const [namespace, members] of groups) {
    const label = labelOf(name, namespace)
    const facts = await pace.step(master, () => lookAt(view, namespace, members))
    const nowMs = view.now()
    let bytes = 0
    let unreadable = 0
    for (const fact of facts) {
      const { key, memoryBytes = 0 } = fact
      bytes += memoryBytes
      if (memoryBytes >= context.config.bigKey)
        bigKeys = withBigKey(bigKeys, { key: shown(name, namespace, key), bytes: memoryBytes })
      const judgement = judge(namespace, fact, nowMs)
      if (judgement.kind === 'repair' || judgement.kind === 'remove') collected.add(namespace, judgement, key)
      if (judgement.kind === 'unreadable') unreadable += 1
    }
    namespaces[label] = { keys: members.length, bytes, unreadable }
    countKeys(context, name, namespace, { keys_seen: members.length, bytes_seen: bytes })
  }
  return { namespaces, otherKeys, bigKeys }
}

/** The key of a session is its token: whoever reads a finding must not get it. */
function shown(redis: RedisName, namespace: Namespace, key: string): string {
  return `${redis} ${namespace.policy === 'session' ? `one of ${namespace.pattern}` : key}`
}

/** One action for each namespace and kind of change. */
async function flush(options: WalkOptions, collected: Collected, among: string): Promise<void> {
  const taken = collected.take()
  const { context } = options
  if (!context.dryRun && taken.some(({ namespace }) => namespace.policy === 'pointer'))
    await context.clock.sleep(loginMs)
  for (const pending of taken) await change(options, pending, among)
}

async function change({ context, server, pace }: WalkOptions, pending: Pending, among: string): Promise<void> {
  const { namespace, judgement, keys } = pending
  const { kind, why } = actionOf(judgement)
  const effect = await context.act(
    {
      kind,
      target: labelOf(server.name, namespace),
      reason: `${keys.length} ${among}${keys.length === 1 ? 'key' : 'keys'} ${why}`,
      via: 'redis',
    },
    async (client) => {
      const { master, masterOf } = await writerOf(client, server, context.signal)
      const changed: Changed =
        judgement.kind === 'repair'
          ? await repairKeys(master, keys, judgement.ttlMs, pace)
          : await removeKeys(
              { master, masterOf, namespaceOf: server.namespaceOf, now: nowOf(context) },
              namespace,
              keys,
              pace,
            )
      return {
        rows: changed.keys,
        bytes: changed.bytes,
        details: { found: keys.length, spared: keys.length - changed.keys },
      }
    },
  )
  const { rows = 0, bytes = 0 } = effect ?? {}
  const counts = judgement.kind === 'repair' ? { keys_repaired: rows } : { keys_removed: rows, bytes_removed: bytes }
  countKeys(context, server.name, namespace, counts)
}

function nowOf({ clock }: Context): () => number {
  return () => clock.now().getTime()
}

function countKeys(
  context: Context,
  redis: RedisName,
  { pattern }: Namespace,
  counts: Readonly<Record<string, number>>,
) {
  for (const [name, count] of Object.entries(counts)) context.metrics.count(name, count, { redis, namespace: pattern })
}
