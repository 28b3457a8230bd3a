/** Sessions that are too many, too old, or in each other's way. */
import { duration, formatDuration } from '@battlescope/scheduler-core'
import { z } from 'zod'
import { showAge } from '../ages.js'
import { defineCheck, measured, type Needs } from '../check.js'
import { selectSessions, type Session } from './session-queries.js'
import { sharedReading } from './shared-reading.js'

/** Without it the server hides what others do: their state is NULL, and none would seem to be old. */
const needs = (): Needs => ({ roles: ['pg_read_all_stats'] })

/** A dump holds one snapshot from its first to its last byte, and has to. The last is the name of those that the task `backup` makes. */
const dumps = ['pg_dump', 'pg_dumpall', 'pg_basebackup', 'pg_restore', 'battlescope-scheduler backup']

const readSessions = sharedReading(({ db }) => selectSessions(db, dumps))

function nameOf({ pid, user, application, state }: Session): string {
  return `pid ${pid} (${[user, application, state].filter((part) => part !== '').join(', ')})`
}

export const connections = defineCheck({
  key: 'connections',
  group: 'database',
  description: 'Connections in use, against what max_connections leaves to ordinary roles.',
  interval: 'every-run',
  severity: 'error',
  holdDownMs: 300_000,
  options: {
    ratio: z.number().min(0.1).max(1).default(0.8).describe('Share of the limit, from which on it is found.'),
  },
  hint: 'which application holds them? A pool that is too large, or connections that nobody closes',
  needs,
  read: async (context) => measured(await readSessions(context)),
  judge: ({ connections: inUse, limit, byApplication }, { ratio }) =>
    inUse < limit * ratio
      ? []
      : [
          {
            summary: `${inUse} of ${limit} connections are in use, the threshold is ${Math.round(ratio * 100)} %`,
            details: { inUse, limit, byApplication },
          },
        ],
  gauges: ({ connections: inUse, limit }) => ({ connections: inUse, connections_limit: limit }),
})

export const longTransactions = defineCheck({
  key: 'long-transactions',
  group: 'database',
  description:
    'Transactions that have been open for long, dumps left out: until they end, VACUUM removes nothing newer.',
  interval: 'every-run',
  severity: 'warning',
  holdDownMs: 0,
  options: { age: duration({ min: '1s' }).prefault('30m').describe('How long a transaction may be open.') },
  hint: 'whose is it? SELECT pg_cancel_backend(pid) ends its statement, pg_terminate_backend(pid) its session',
  needs,
  read: async (context) => measured(await readSessions(context)),
  judge: ({ oldestTransactions }, { age }) => {
    const long = oldestTransactions.filter(({ forMs }) => forMs >= age)
    const [oldest] = long
    return oldest === undefined
      ? []
      : [
          {
            summary: `a transaction of ${nameOf(oldest)} has been open for ${showAge(oldest.forMs)}, the threshold is ${formatDuration(age)}`,
            details: { sessions: long },
          },
        ]
  },
  gauges: ({ oldestTransactions }) => ({ oldest_transaction_seconds: (oldestTransactions[0]?.forMs ?? 0) / 1000 }),
})

export const idleTransactions = defineCheck({
  key: 'idle-transactions',
  group: 'database',
  description: 'Sessions that are idle inside a transaction: they keep its locks, and hold back VACUUM.',
  interval: 'every-run',
  severity: 'warning',
  holdDownMs: 0,
  options: { age: duration({ min: '1s' }).prefault('5m').describe('How long a session may be idle in a transaction.') },
  hint: 'whoever forgot it: SELECT pg_terminate_backend(pid); idle_in_transaction_session_timeout does it by itself',
  needs,
  read: async (context) => measured(await readSessions(context)),
  judge: ({ idleInTransaction }, { age }) => {
    const long = idleInTransaction.filter(({ forMs }) => forMs >= age)
    const [longest] = long
    return longest === undefined
      ? []
      : [
          {
            summary: `${nameOf(longest)} has been idle in a transaction for ${showAge(longest.forMs)}, the threshold is ${formatDuration(age)}`,
            details: { sessions: long },
          },
        ]
  },
})

export const blockedQueries = defineCheck({
  key: 'blocked-queries',
  group: 'database',
  description: 'Statements that have waited for a lock for long, and who holds it.',
  interval: 'every-run',
  severity: 'error',
  holdDownMs: 0,
  options: { wait: duration({ min: '1s' }).prefault('1m').describe('How long a statement may wait for a lock.') },
  hint: 'end the blocker, not the blocked: SELECT pg_terminate_backend(pid)',
  needs,
  read: async (context) => measured(await readSessions(context)),
  judge: ({ blocked }, { wait }) => {
    const long = blocked.filter(({ forMs }) => forMs >= wait)
    const [longest] = long
    if (longest === undefined) return []
    // Who waits is no root: it goes when what it waits for goes.
    const waiting = new Set(blocked.map(({ pid }) => pid))
    const roots = new Map(
      long.flatMap(({ blockers }) =>
        blockers.filter(({ pid }) => !waiting.has(pid)).map((one) => [one.pid, one] as const),
      ),
    )
    // In a circle everybody waits; and a prepared transaction has no session.
    const named = [...roots.values()].map(nameOf)
    const blockedBy =
      named.length > 0 ? named.join(', ') : longest.blockers.map(nameOf).join(', ') || 'a prepared transaction'
    return [
      {
        summary: `${long.length} ${long.length === 1 ? 'statement waits' : 'statements wait'} for a lock, one for ${showAge(longest.forMs)}, blocked by ${blockedBy}; the threshold is ${formatDuration(wait)}`,
        details: { blocked: long, blockers: [...roots.values()] },
      },
    ]
  },
  gauges: ({ blocked }) => ({ blocked_statements: blocked.length }),
})
