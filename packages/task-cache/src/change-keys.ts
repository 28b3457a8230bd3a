/** Changes keys that were judged before, each only if the judgement still holds: between look and act a key may have been replaced. */
import type { RedisChange, RedisMasterReader, RedisMasterWriter } from '@battlescope/redis'
import { factsFor, needsValue, targetOf, type Namespace } from './namespaces.js'
import type { Pace } from './pace.js'
import { judge, type Facts } from './plan.js'

/** Larger values are not read: a page of them would not fit into memory. */
const mostValueBytes = 1024 * 1024
/** Keys of one step: short enough that other clients of the server never wait long. */
const stepLength = 50

/** Where keys are looked at. */
export interface View {
  readonly master: RedisMasterReader
  readonly masterOf: (key: string) => Pick<RedisMasterReader, 'exists' | 'mget'>
  readonly namespaceOf: (key: string) => Namespace | undefined
  readonly now: () => number
}

/** What the policy needs to know of each key. */
export async function lookAt(
  view: View,
  namespace: Namespace,
  keys: readonly string[],
  watch: (keys: readonly string[]) => Promise<void> = async () => undefined,
): Promise<readonly Facts[]> {
  const { master } = view
  const looked = await master.look(keys, factsFor(namespace))
  if (!needsValue(namespace)) return looked
  const small = looked.filter(({ memoryBytes = 0 }) => memoryBytes > 0 && memoryBytes <= mostValueBytes)
  const values = new Map<string, string | undefined>()
  for (const batch of byBytes(small)) {
    const read = await master.mget(batch)
    for (const [index, key] of batch.entries()) values.set(key, read[index])
  }
  const facts = looked.map((each): Facts => {
    const value = values.get(each.key)
    return value === undefined ? each : { ...each, value }
  })
  return namespace.policy === 'pointer' ? withTargets(view, namespace, facts, watch) : facts
}

/** Keys in batches whose values fit into memory together. */
function byBytes(looked: readonly Facts[]): readonly (readonly string[])[] {
  const batches: { keys: string[]; bytes: number }[] = []
  for (const { key, memoryBytes = 0 } of looked) {
    const last = batches.at(-1)
    if (last === undefined || last.bytes + memoryBytes > mostValueBytes)
      batches.push({ keys: [key], bytes: memoryBytes })
    else {
      last.keys.push(key)
      last.bytes += memoryBytes
    }
  }
  return batches.map(({ keys }) => keys)
}

async function withTargets(
  view: View,
  namespace: Extract<Namespace, { policy: 'pointer' }>,
  pointers: readonly Facts[],
  watch: (keys: readonly string[]) => Promise<void>,
): Promise<readonly Facts[]> {
  const byMaster = new Map<ReturnType<View['masterOf']>, Set<string>>()
  for (const { value } of pointers) {
    if (value === undefined) continue
    const target = targetOf(namespace, value)
    const master = view.masterOf(target)
    byMaster.set(master, (byMaster.get(master) ?? new Set()).add(target))
  }
  const existing = new Set<string>()
  for (const [master, targets] of byMaster) {
    await watch([...targets])
    const there = await selectExisting(master, [...targets])
    for (const key of await withoutEnded(view, master, there)) existing.add(key)
  }
  return pointers.map((pointer) =>
    pointer.value === undefined
      ? pointer
      : { ...pointer, targetExists: existing.has(targetOf(namespace, pointer.value)) },
  )
}

async function selectExisting(
  master: ReturnType<View['masterOf']>,
  keys: readonly string[],
): Promise<readonly string[]> {
  const exists = await master.exists(keys)
  return keys.filter((_, index) => exists[index])
}

/** A session that has ended is as good as gone: this walk removes it too, and its pointer need not wait for the next one. */
async function withoutEnded(
  { namespaceOf, now }: View,
  master: ReturnType<View['masterOf']>,
  keys: readonly string[],
): Promise<readonly string[]> {
  const sessions = keys.filter((key) => namespaceOf(key)?.policy === 'session')
  const values = await master.mget(sessions)
  const ended = new Set(
    sessions.filter((key, index) => {
      const namespace = namespaceOf(key)
      const value = values[index]
      if (namespace === undefined || value === undefined) return false
      return judge(namespace, { key, ttlMs: null, value }, now()).kind === 'remove'
    }),
  )
  return keys.filter((key) => !ended.has(key))
}

export interface Changed {
  readonly keys: number
  readonly bytes: number
}

/** Sets a TTL where there still is none. */
export async function repairKeys(
  master: RedisMasterWriter,
  keys: readonly string[],
  ttlMs: number,
  pace: Pace,
): Promise<Changed> {
  let repaired = 0
  for (let start = 0; start < keys.length; start += stepLength) {
    const batch = keys.slice(start, start + stepLength)
    repaired += await pace.step(master, () => master.pexpire(batch, ttlMs, 'NX'))
  }
  return { keys: repaired, bytes: 0 }
}

export interface WritingView extends View {
  readonly master: RedisMasterWriter
}

/** Removes what is still to be removed. */
export async function removeKeys(
  view: WritingView,
  namespace: Namespace,
  keys: readonly string[],
  pace: Pace,
): Promise<Changed> {
  const { master } = view
  const total = { keys: 0, bytes: 0 }
  const remove = async (batch: readonly string[]): Promise<boolean> => {
    const changed = await pace.step(master, () => removeUnlessTouched(view, namespace, batch))
    total.keys += changed?.keys ?? 0
    total.bytes += changed?.bytes ?? 0
    return changed !== undefined
  }
  for (let start = 0; start < keys.length; start += master.keysPerTransaction) {
    const batch = keys.slice(start, start + master.keysPerTransaction)
    if (await remove(batch)) continue
    // One of them was touched. Alone, the others go, and that one is judged anew; if it is touched again it is in use.
    for (const key of batch) await remove([key])
  }
  return total
}

async function removeUnlessTouched(
  view: WritingView,
  namespace: Namespace,
  keys: readonly string[],
): Promise<Changed | undefined> {
  const { master, masterOf, now } = view
  let bytes = 0
  const removed = await master.changeUnlessTouched(keys, async (watch) => {
    // What a pointer points to may come into being: watched where it is on this server.
    const watchHere = (targets: readonly string[]) => watch(targets.filter((target) => masterOf(target) === master))
    const facts = await lookAt(view, namespace, keys, watchHere)
    const going = facts.filter((each) => judge(namespace, each, now()).kind === 'remove')
    bytes = going.reduce((sum, { memoryBytes = 0 }) => sum + memoryBytes, 0)
    return going.map(({ key }): RedisChange => ({ kind: 'unlink', key }))
  })
  return removed === undefined ? undefined : { keys: removed, bytes }
}
