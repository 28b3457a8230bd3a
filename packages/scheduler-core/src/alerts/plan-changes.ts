/** Which channels are told of what was done: changes become messages. Pure. */
import { alertName, matchesPattern } from './key.js'
import type { AlertRouting, ChangeContent } from './channel.js'
import type { Mute } from './plan-alerts.js'
import type { NewChangeMessage } from './plan-messages.js'

/** A change that no message was made of yet. */
export interface ChangeRow extends ChangeContent {
  /** Of the table `change`. */
  readonly id: string
  readonly at: Date
}

export interface ChangeQuestion {
  readonly now: Date
  readonly changes: readonly ChangeRow[]
  readonly routing: AlertRouting
  readonly mutes: readonly Mute[]
  readonly newId: () => string
}

export interface ChangePlan {
  readonly messages: readonly NewChangeMessage[]
  /** Rows that are done with, whether anybody is told or not: a channel that comes later has no use for what was before it. */
  readonly taken: readonly string[]
}

export function planChanges({ now, changes, routing, mutes, newId }: ChangeQuestion): ChangePlan {
  const withTimeLine = new Set(
    routing.channels.flatMap((channel) =>
      channel.kind === 'each' && channel.sendChange !== undefined ? [channel.name] : [],
    ),
  )
  const messages = changes.flatMap(({ id: _, at, ...content }) => {
    const name = alertName(content.task, content.changeKey)
    if (mutes.some(({ pattern, until }) => until > now && matchesPattern(pattern, name))) return []
    return routing
      .channelsForChange(content)
      .filter((channel) => withTimeLine.has(channel))
      .map((channel): NewChangeMessage => ({
        id: newId(),
        channel,
        name,
        incidentAt: at,
        transition: 'completed',
        content,
        at,
      }))
  })
  return { messages, taken: changes.map(({ id }) => id) }
}
