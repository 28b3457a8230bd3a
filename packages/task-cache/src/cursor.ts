/** How far the walk over each Redis server has come: what one run leaves for the next. Pure. */
import type { RedisMasterReader } from '@battlescope/redis'
import { z } from 'zod'
import type { BigKey } from './plan.js'

const total = z.object({
  keys: z.number(),
  bytes: z.number(),
  /** Values that their policy cannot read. */
  unreadable: z.number(),
})
const bigKey = z.object({ key: z.string(), bytes: z.number() })
const tally = z.object({
  namespaces: z.record(z.string(), total),
  /** Keys outside of every namespace. */
  otherKeys: z.number(),
  bigKeys: z.array(bigKey).readonly(),
})

const walk = z.object({
  /** The start of the server that the cursor belongs to. */
  runId: z.string(),
  /** Where SCAN goes on; `0` at the beginning. */
  cursor: z.string(),
  /** The walk has reached its end; the next one begins when all servers have. */
  complete: z.boolean(),
  /** Of this walk so far. */
  seen: tally,
  /** Of the last complete walk. */
  last: tally.optional(),
})

export const cacheCursor = z.object({ masters: z.record(z.string(), walk) })

export type CacheCursor = z.output<typeof cacheCursor>
export type Walk = z.output<typeof walk>
export type Tally = z.output<typeof tally>
export type NamespaceTally = z.output<typeof total>

const nothing: Tally = { namespaces: {}, otherKeys: 0, bigKeys: [] }

/**
 * The walk to go on with. A cursor of SCAN belongs to one run of one server: after a restart the hash tables are other ones, and with the
 * old cursor keys would be missed.
 */
export function resumeWalk(cursor: CacheCursor, { id, runId }: Pick<RedisMasterReader, 'id' | 'runId'>): Walk {
  const known = cursor.masters[id]
  const last = known?.last
  if (known === undefined || known.runId !== runId) {
    return { runId, cursor: '0', complete: false, seen: nothing, ...(last && { last }) }
  }
  return known
}

export interface PageTally {
  readonly namespaces: Readonly<Record<string, NamespaceTally>>
  readonly otherKeys: number
  readonly bigKeys: readonly BigKey[]
}

export function withPage(walk: Walk, nextCursor: string, page: PageTally): Walk {
  const { seen } = walk
  const namespaces = { ...seen.namespaces }
  for (const [label, { keys, bytes, unreadable }] of Object.entries(page.namespaces)) {
    const before = namespaces[label] ?? { keys: 0, bytes: 0, unreadable: 0 }
    namespaces[label] = {
      keys: before.keys + keys,
      bytes: before.bytes + bytes,
      unreadable: before.unreadable + unreadable,
    }
  }
  const now: Tally = { namespaces, otherKeys: seen.otherKeys + page.otherKeys, bigKeys: page.bigKeys }
  if (nextCursor !== '0') return { ...walk, cursor: nextCursor, seen: now }
  return { ...walk, cursor: '0', complete: true, seen: nothing, last: now }
}

export function withWalk(cursor: CacheCursor, id: string, walk: Walk): CacheCursor {
  return { masters: { ...cursor.masters, [id]: walk } }
}

/** For the next round: every complete walk begins again, and servers that are not configured any more are forgotten. */
export function nextRound(cursor: CacheCursor, ids: readonly string[]): CacheCursor {
  const kept = Object.entries(cursor.masters).filter(([id]) => ids.includes(id))
  return { masters: Object.fromEntries(kept.map(([id, walk]) => [id, { ...walk, complete: false }])) }
}
