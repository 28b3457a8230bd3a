/** What to do with a key, a row, a job, and what became of all of it. Pure. */
import type { Looked } from '@battlescope/redis'
import { formatDuration, formatSize, type Finding, type TaskResult } from '@battlescope/scheduler-core'
import type { KeepJobs, Namespace } from './namespaces.js'

/** What was read of one key. */
export interface Facts extends Looked {
  /** Of a pointer: whether the key that it points to is there. */
  readonly targetExists?: boolean
}

export const removals = ['expired', 'dangling', 'old', 'idle'] as const
export type Removal = (typeof removals)[number]

export type Judgement =
  | { readonly kind: 'keep' }
  /** The policy goes by the value, and the value does not tell. */
  | { readonly kind: 'unreadable' }
  | { readonly kind: 'repair'; readonly ttlMs: number }
  | { readonly kind: 'remove'; readonly why: Removal }

const keep: Judgement = { kind: 'keep' }

export function judge(namespace: Namespace, facts: Facts, nowMs: number): Judgement {
  // Gone meanwhile.
  if (facts.ttlMs === undefined) return keep
  const verdict = judgeContent(namespace, facts, nowMs)
  if (verdict.kind === 'remove') return verdict
  if (facts.ttlMs === null && namespace.ttlMs !== undefined) return { kind: 'repair', ttlMs: namespace.ttlMs }
  return verdict
}

function judgeContent(namespace: Namespace, facts: Facts, nowMs: number): Judgement {
  switch (namespace.policy) {
    case 'bullmq':
      return keep
    case 'session': {
      const expiresAtMs = timeIn(facts.value, namespace.field)
      if (expiresAtMs === undefined) return { kind: 'unreadable' }
      return expiresAtMs <= nowMs ? { kind: 'remove', why: 'expired' } : keep
    }
    case 'pointer':
      if (facts.value === undefined || facts.targetExists === undefined) return { kind: 'unreadable' }
      return facts.targetExists ? keep : { kind: 'remove', why: 'dangling' }
    case 'cache':
      return judgeCache(namespace, facts, nowMs)
  }
}

function judgeCache(namespace: Extract<Namespace, { policy: 'cache' }>, facts: Facts, nowMs: number): Judgement {
  const { maxIdleMs, maxAge } = namespace
  if (maxIdleMs !== undefined && facts.idleSeconds !== undefined && facts.idleSeconds * 1000 >= maxIdleMs)
    return { kind: 'remove', why: 'idle' }
  if (maxAge === undefined) return keep
  const atMs = timeIn(facts.value, maxAge.field)
  if (atMs === undefined) return { kind: 'unreadable' }
  return atMs <= nowMs - maxAge.ms ? { kind: 'remove', why: 'old' } : keep
}

/** Numbers below are seconds, numbers above milliseconds: in milliseconds this is 1973, in seconds the year 5138. */
const secondsBelow = 1e11

/** The time in a property of a JSON object: epoch milliseconds or seconds, or ISO 8601 text. Undefined for everything else. */
export function timeIn(value: string | undefined, field: string): number | undefined {
  if (value === undefined) return undefined
  let found: unknown
  try {
    const parsed = JSON.parse(value) as unknown
    if (typeof parsed !== 'object' || parsed === null || !Object.hasOwn(parsed, field)) return undefined
    found = (parsed as Record<string, unknown>)[field]
  } catch {
    return undefined
  }
  if (typeof found === 'number') {
    if (!Number.isFinite(found) || found < 0) return undefined
    return found < secondsBelow ? found * 1000 : found
  }
  if (typeof found !== 'string' || !/^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)$/.test(found))
    return undefined
  const atMs = Date.parse(found)
  return Number.isNaN(atMs) ? undefined : atMs
}

/** How a namespace's action is called, and why it is done. */
export function actionOf(judgement: Extract<Judgement, { kind: 'repair' | 'remove' }>): {
  readonly kind: string
  readonly why: string
} {
  if (judgement.kind === 'repair')
    return { kind: 'repair-ttl', why: `without a TTL: set to ${formatDuration(judgement.ttlMs)}` }
  return removalActions[judgement.why]
}

const removalActions = {
  expired: { kind: 'remove-sessions', why: 'past their end' },
  dangling: { kind: 'remove-pointers', why: 'that point to nothing' },
  old: { kind: 'remove-old-keys', why: 'older than allowed' },
  idle: { kind: 'remove-idle-keys', why: 'unused for longer than allowed' },
} as const satisfies Record<Removal, { kind: string; why: string }>

/** How many of the oldest jobs of a state go: those beyond age, and those beyond count, as BullMQ's own `removeOnComplete` means it. */
export function planTrim(jobs: { readonly total: number; readonly beyondAge: number }, { count }: KeepJobs): number {
  const beyondCount = count === undefined ? 0 : Math.max(0, jobs.total - count)
  return Math.min(jobs.total, Math.max(jobs.beyondAge, beyondCount))
}

/** A time as text, with all its digits, and how many expired rows lie up to it. */
export interface Boundary {
  readonly upTo: string
  readonly rows: number
}

/** Rows to delete in one transaction: after the one time, up to the other. */
export interface RowRange {
  readonly after: string | undefined
  readonly upTo: string
  readonly rows: number
}

/** Ranges between boundaries. Rows that share one time are not divided by it: their range is larger, and is deleted in several statements. */
export function planRanges(boundaries: readonly Boundary[]): readonly RowRange[] {
  const distinct = boundaries.filter(({ upTo }, index) => boundaries[index + 1]?.upTo !== upTo)
  return distinct.map(({ upTo, rows }, index) => {
    const before = distinct[index - 1]
    return { after: before?.upTo, upTo, rows: rows - (before?.rows ?? 0) }
  })
}

export interface BigKey {
  readonly key: string
  readonly bytes: number
}

/** How many big keys are named. */
const mostBigKeys = 10

export function withBigKey(known: readonly BigKey[], big: BigKey): readonly BigKey[] {
  return [...known.filter(({ key }) => key !== big.key), big].sort((a, b) => b.bytes - a.bytes).slice(0, mostBigKeys)
}

/** Bytes that may be lost to fragmentation before the ratio means anything: of a small data set it is always high. */
const fragmentationFloorBytes = 64 * 1024 * 1024

export interface MemoryFacts {
  readonly where: string
  readonly ratio: number
  readonly lostBytes: number
}

export function isFragmented({ ratio, lostBytes }: MemoryFacts, limit: number): boolean {
  return ratio >= limit && lostBytes >= fragmentationFloorBytes
}

/** What a run found, relation by relation and server by server. */
export interface Found {
  /** Whether there was anything to look at: an existing relation, a configured Redis. */
  readonly looked: boolean
  /** Why there was not. */
  readonly nothing: string
  /** Parts that are not finished: relations and servers. */
  readonly unfinished: number
  readonly relationProblems: readonly { readonly relation: string; readonly problem: string }[]
  readonly unindexed: readonly string[]
  readonly bigKeys: readonly BigKey[]
  readonly fragmented: readonly MemoryFacts[]
  /** Namespaces whose `maxIdle` the eviction policy makes unknowable. */
  readonly idleUnknown: readonly string[]
  /** Values that hold no time, or no text, although the policy goes by it: namespace → how many. */
  readonly unreadable: Readonly<Record<string, number>>
  readonly queueProblems: readonly { readonly queue: string; readonly problem: string }[]
}

export function resultOf(found: Found): TaskResult {
  const findings = findingsOf(found)
  if (found.unfinished > 0) return { outcome: 'partial', remaining: found.unfinished, findings }
  if (found.looked) return { outcome: 'succeeded', findings }
  return { outcome: 'skipped', reason: found.nothing, findings }
}

function findingsOf(found: Found): readonly Finding[] {
  const { relationProblems, unindexed, bigKeys, fragmented, idleUnknown, queueProblems } = found
  const unreadable = Object.entries(found.unreadable).filter(([, count]) => count > 0)
  const finding = (
    when: boolean,
    key: string,
    severity: Finding['severity'],
    summary: string,
    details: Record<string, unknown>,
  ): readonly Finding[] => (when ? [{ key, severity, summary, details }] : [])
  return [
    ...finding(
      relationProblems.length > 0,
      'rows-not-deleted',
      'warning',
      `expired rows stay: ${relationProblems.map(({ relation, problem }) => `${relation} (${problem})`).join(', ')}`,
      { relations: relationProblems },
    ),
    ...finding(
      unindexed.length > 0,
      'no-index',
      'info',
      `no index begins with the expiry column, so every run reads the whole relation: ${unindexed.join(', ')}`,
      { relations: unindexed },
    ),
    ...finding(
      bigKeys.length > 0,
      'big-keys',
      'warning',
      `big keys: ${bigKeys.map(({ key, bytes }) => `${key} (${roundedSize(bytes)})`).join(', ')}`,
      { keys: bigKeys, hint: 'a big key blocks the server while it is read or deleted' },
    ),
    ...finding(
      fragmented.length > 0,
      'fragmentation',
      'warning',
      `memory is fragmented: ${fragmented.map(({ where, ratio }) => `${where} (ratio ${ratio})`).join(', ')}`,
      { servers: fragmented, hint: 'activedefrag yes, MEMORY PURGE, or a restart' },
    ),
    ...finding(
      idleUnknown.length > 0,
      'idle-unknown',
      'warning',
      `maxIdle has no effect, for the eviction policy is LFU: ${idleUnknown.join(', ')}`,
      { namespaces: idleUnknown, hint: 'use maxAge with timeField, or an LRU policy' },
    ),
    ...finding(
      unreadable.length > 0,
      'unreadable-values',
      'info',
      `values that their policy cannot read: ${unreadable.map(([label, count]) => `${label} (${count})`).join(', ')}`,
      { namespaces: Object.fromEntries(unreadable) },
    ),
    ...finding(
      queueProblems.length > 0,
      'queues-not-trimmed',
      'warning',
      `jobs stay: ${queueProblems.map(({ queue, problem }) => `${queue} (${problem})`).join(', ')}`,
      { queues: queueProblems },
    ),
  ]
}

function roundedSize(bytes: number): string {
  return formatSize(Math.round(bytes / 1024) * 1024)
}
