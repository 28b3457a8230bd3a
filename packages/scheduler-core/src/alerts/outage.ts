/**
 * While PostgreSQL is down there is no state: no row can be read, and none written. Everything here follows from the time, the
 * configuration and the name of the database, so that each run says the same.
 */
import type { AlertChannel, AlertContent, AlertMessage, AlertRouting } from './channel.js'
import { alertName, dedupKey, shortHash, uuidOf } from './key.js'
import type { NewMessage } from './plan-messages.js'
import type { AlertPolicy } from './policy.js'

const outageFindingKey = 'database-unavailable'
const name = alertName(undefined, outageFindingKey)

/** Runs that begin further apart than so many intervals have a gap between them: a database that was down, or a scheduler. */
const gapIntervals = 1.5

export interface OutageIdentity {
  readonly policy: AlertPolicy
  /** Names the database without asking it: host, port and database, never a password. */
  readonly database: string
  /** Milliseconds between two runs. */
  readonly expectedIntervalMs: number
}

interface OutageQuestion extends OutageIdentity {
  readonly routing: AlertRouting
  /** The process's own time. */
  readonly now: Date
}

export interface OutageMessages {
  readonly each: readonly {
    readonly channel: Extract<AlertChannel, { kind: 'each' }>
    readonly message: AlertMessage
  }[]
  readonly digest: readonly {
    readonly channel: Extract<AlertChannel, { kind: 'digest' }>
    readonly message: AlertMessage
  }[]
  readonly state: readonly {
    readonly channel: Extract<AlertChannel, { kind: 'state' }>
    readonly content: AlertContent
  }[]
}

/**
 * What to send in a run that cannot reach the database. Channels with a key are told each time, under the same key. The id is another in
 * each run: nobody knows whether this is still the outage of the last one. A channel that collects messages has no key: it hears of it in
 * the first run of each outage interval of the clock.
 */
export function outageMessages(question: OutageQuestion, reason: string): OutageMessages {
  const { now, policy, routing, expectedIntervalMs } = question
  const content = outageContent(question, `PostgreSQL cannot be reached: ${reason}`, now)
  const wanted = new Set(routing.channelsFor(content))
  const messageOf = (channel: string, everyMs: number): AlertMessage => ({
    id: uuidOf(`${channel}\n${content.key}\n${Math.floor(now.getTime() / everyMs)}`),
    transition: 'opened',
    alert: content,
    at: now,
  })
  const channels = routing.channels.filter((channel) => wanted.has(channel.name))
  const isFirstOfInterval = now.getTime() % policy.outageInterval < expectedIntervalMs
  return {
    each: channels.flatMap((channel) =>
      channel.kind === 'each' ? [{ channel, message: messageOf(channel.name, expectedIntervalMs) }] : [],
    ),
    digest: channels.flatMap((channel) =>
      channel.kind === 'digest' && isFirstOfInterval
        ? [{ channel, message: messageOf(channel.name, policy.outageInterval) }]
        : [],
    ),
    state: channels.flatMap((channel) => (channel.kind === 'state' ? [{ channel, content }] : [])),
  }
}

/**
 * After a gap between runs whoever may have been told of an outage hears that it is over. Whether anybody was told is not known:
 * to close an alert that is not open changes nothing. Counted from start to start: a run that took long must not hide the one after it,
 * which failed.
 */
export function messagesAfterGap(question: OutageQuestion, lastRunBeganAt: Date | undefined): readonly NewMessage[] {
  const { now, expectedIntervalMs, routing } = question
  if (lastRunBeganAt === undefined) return []
  const gapMs = now.getTime() - lastRunBeganAt.getTime()
  if (gapMs <= gapIntervals * expectedIntervalMs) return []
  const summary = `PostgreSQL is reached again; the last run before this one began at ${lastRunBeganAt.toISOString()}`
  const content = outageContent(question, summary, lastRunBeganAt)
  const wanted = new Set(routing.channelsFor(content))
  return routing.channels
    .filter(
      (channel) => channel.kind !== 'state' && channel.transitions.includes('resolved') && wanted.has(channel.name),
    )
    .map((channel) => ({
      // Two processes that see the same gap make the same message.
      id: uuidOf(`${channel.name}\n${content.key}\n${lastRunBeganAt.toISOString()}`),
      channel: channel.name,
      name,
      incidentAt: lastRunBeganAt,
      transition: 'resolved',
      content,
      at: now,
    }))
}

function outageContent({ policy, database }: OutageIdentity, summary: string, openedAt: Date): AlertContent {
  return {
    key: dedupKey(policy.installation ?? shortHash(database), name),
    task: undefined,
    findingKey: outageFindingKey,
    severity: 'critical',
    summary,
    details: { database },
    openedAt,
  }
}
