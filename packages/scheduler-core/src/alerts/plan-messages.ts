/**
 * Who is told what: alerts as they are, held against what each channel was told, become messages. Pure.
 *
 * Each channel is brought from what it knows to what is true, whatever happened in between: a mute that ended, a channel that is
 * new, a severity that now goes elsewhere, a message that got too old. So no transition can be missed.
 */
import type { Severity } from '../task.js'
import type {
  AlertContent,
  AlertRouting,
  AlertTransition,
  ChangeContent,
  DigestChannel,
  EachChannel,
  MessageTransition,
} from './channel.js'
import { isWorse, type AlertRow } from './plan-alerts.js'
import type { AlertPolicy } from './policy.js'

/** What one channel was told of one incident, counting messages that wait. */
export interface ToldRow {
  readonly channel: string
  readonly name: string
  /** When the alert fired: names the incident. */
  readonly incidentAt: Date
  /** `closing`: the message that it is over waits. `refused`: the provider will not take it. */
  readonly state: 'open' | 'closing' | 'refused'
  /** As told last. */
  readonly content: AlertContent
  /** The highest severity that people were called with since the last call. */
  readonly calledSeverity: Severity
  readonly toldAt: Date
  /** When people were last called, which is when the provider took the message. */
  readonly calledAt: Date | undefined
  readonly target: string | undefined
}

/** A message that waits, as far as planning must know. */
export interface WaitingMessage {
  readonly id: string
  readonly channel: string
  readonly name: string
  readonly incidentAt: Date
  readonly transition: MessageTransition
  readonly at: Date
  /** No attempt has been made to deliver it, and none is being made. */
  readonly untouched: boolean
}

export interface NewMessage {
  readonly id: string
  readonly channel: string
  readonly name: string
  readonly incidentAt: Date
  readonly transition: AlertTransition
  readonly content: AlertContent
  readonly at: Date
}

/** `incidentAt` is `at`: nothing follows a change. */
export interface NewChangeMessage extends Omit<NewMessage, 'transition' | 'content'> {
  readonly transition: 'completed'
  readonly content: ChangeContent
}

export interface MessageQuestion {
  readonly now: Date
  readonly rows: readonly AlertRow[]
  readonly told: readonly ToldRow[]
  readonly waiting: readonly WaitingMessage[]
  readonly routing: AlertRouting
  readonly policy: AlertPolicy
  readonly newId: () => string
}

export interface MessagePlan {
  readonly messages: readonly NewMessage[]
  /** Messages that nobody has tried to deliver yet, with what is true now. */
  readonly rewritten: readonly Pick<NewMessage, 'id' | 'transition' | 'content'>[]
  readonly told: readonly ToldRow[]
  readonly untold: readonly Pick<ToldRow, 'channel' | 'name' | 'incidentAt'>[]
  /** Messages that can no longer be delivered, and why. */
  readonly dead: readonly { readonly id: string; readonly reason: string }[]
}

/** The finding about a channel that does not deliver: that channel is the wrong one to tell of it. */
export const undeliveredPrefix = 'alerts-undelivered/'

/** What one message for two transitions must be: the one that calls louder. */
const callingOrder: Readonly<Record<AlertTransition, number>> = {
  changed: 0,
  reminded: 1,
  raised: 2,
  opened: 3,
  resolved: 3,
}

type StoringChannel = EachChannel | DigestChannel

export function planMessages(question: MessageQuestion): MessagePlan {
  const draft = new Draft(question)
  const channels = question.routing.channels.filter((channel) => channel.kind !== 'state')
  draft.dropRemovedChannels(new Set(channels.map(({ name }) => name)))
  for (const channel of channels) {
    draft.dropOldTarget(channel)
    for (const told of draft.toldTo(channel)) draft.endOver(channel, told)
    for (const row of question.rows) if (row.state === 'firing' && row.silence === undefined) draft.tell(channel, row)
  }
  return draft.plan()
}

export function routedTo(routing: AlertRouting, row: AlertRow): readonly string[] {
  return routing
    .channelsFor(row)
    .filter((name) => row.task !== undefined || row.findingKey !== `${undeliveredPrefix}${name}`)
}

export function contentOf(row: AlertRow, openedAt: Date): AlertContent {
  const { key, task, findingKey, severity, summary, details, flapping } = row
  const said = flapping ? { ...details, flapping: true } : details
  return { key, task, findingKey, severity, summary, details: said, openedAt }
}

class Draft {
  readonly #question: MessageQuestion
  readonly #messages: NewMessage[] = []
  readonly #rewritten: MessagePlan['rewritten'][number][] = []
  readonly #changed = new Map<string, ToldRow>()
  readonly #untold = new Map<string, ToldRow>()
  readonly #dead: MessagePlan['dead'][number][] = []

  constructor(question: MessageQuestion) {
    this.#question = question
  }

  plan(): MessagePlan {
    return {
      messages: this.#messages,
      rewritten: this.#rewritten,
      told: [...this.#changed.values()],
      untold: [...this.#untold.values()],
      dead: this.#dead,
    }
  }

  toldTo({ name }: StoringChannel): readonly ToldRow[] {
    return this.#question.told.filter((told) => told.channel === name && !this.#untold.has(idOf(told)))
  }

  dropRemovedChannels(names: ReadonlySet<string>): void {
    for (const told of this.#question.told) if (!names.has(told.channel)) this.#forget(told)
    for (const { id, channel } of this.#question.waiting)
      if (!names.has(channel)) this.#dead.push({ id, reason: 'the channel is no longer configured' })
  }

  /** What is open at the old address stays open there: nobody has the key to it any more. */
  dropOldTarget(channel: StoringChannel): void {
    if (channel.target === undefined) return
    const elsewhere = this.toldTo(channel).filter(({ target }) => target !== undefined && target !== channel.target)
    for (const told of elsewhere) {
      this.#forget(told)
      for (const { id } of this.#waitingFor(told))
        this.#dead.push({ id, reason: 'the channel now sends elsewhere; what is open there must be closed by hand' })
    }
  }

  endOver(channel: StoringChannel, told: ToldRow): void {
    const { now, rows } = this.#question
    const row = rows.find(({ name }) => name === told.name)
    if (row?.state === 'firing' && row.openedAt?.getTime() === told.incidentAt.getTime()) return
    if (told.state === 'closing') return
    if (told.state === 'refused' || !channel.transitions.includes('resolved')) {
      this.#forget(told)
      return
    }
    // Known to the provider by the same key: the late end of this one would close the other. It is told after that one's end.
    if (this.toldTo(channel).some((other) => isNewer(other, told))) return
    const resolution = row?.state === 'resolved' ? row.resolution : undefined
    const details = resolution === undefined ? told.content.details : { ...told.content.details, resolution }
    const content = { ...told.content, details }
    this.#send(channel, told, 'resolved', content)
    this.#changed.set(idOf(told), { ...told, state: 'closing', content, toldAt: now })
  }

  tell(channel: StoringChannel, row: AlertRow): void {
    const { now, told: all, routing } = this.#question
    const { openedAt } = row
    if (openedAt === undefined) return
    const pair = { channel: channel.name, name: row.name, incidentAt: openedAt }
    const told = all.find((each) => idOf(each) === idOf(pair) && !this.#untold.has(idOf(each)))
    const content = contentOf(row, openedAt)
    if (told === undefined) {
      if (!routedTo(routing, row).includes(channel.name)) return
      this.#untold.delete(idOf(pair))
      this.#send(channel, pair, 'opened', content)
      const called = channel.transitions.includes('opened') ? undefined : now
      const first = { state: 'open', content, calledSeverity: row.severity, toldAt: now, calledAt: called } as const
      this.#changed.set(idOf(pair), { ...pair, ...first, target: channel.target })
      return
    }
    if (told.state === 'refused') return
    const transition = this.#changeOf(told, row)
    if (transition === undefined || !this.#sendChange(channel, told, transition, content)) return
    const calls = transition === 'raised' || transition === 'reminded'
    this.#changed.set(idOf(pair), {
      ...told,
      content,
      toldAt: now,
      calledSeverity: calls ? row.severity : told.calledSeverity,
      // Until the provider took it nobody was called, and nobody is reminded.
      calledAt: calls && channel.transitions.includes(transition) ? undefined : calls ? now : told.calledAt,
    })
  }

  #changeOf(told: ToldRow, { severity, summary }: AlertRow): AlertTransition | undefined {
    const { now, policy } = this.#question
    if (isWorse(severity, told.calledSeverity)) return 'raised'
    if (severity !== told.content.severity) return 'changed'
    if (told.calledAt !== undefined && now.getTime() - told.calledAt.getTime() >= policy.reminderInterval)
      return 'reminded'
    const mayUpdate = now.getTime() - told.toldAt.getTime() >= policy.updateInterval
    return summary !== told.content.summary && mayUpdate ? 'changed' : undefined
  }

  /** @returns false when the channel is to hear of it later */
  #sendChange(channel: StoringChannel, told: ToldRow, transition: AlertTransition, content: AlertContent): boolean {
    const waiting = this.#waitingFor(told)
    const last = waiting.at(-1)
    if (last === undefined || (transition === 'raised' && !last.untouched)) {
      this.#send(channel, told, transition, content)
      return true
    }
    // Whoever has not heard of the last message yet need not hear of two.
    if (!last.untouched) return false
    const outranks = callingOrder[transition] > callingOrder[last.transition]
    // As a mere change it would call nobody, and who was never called is never reminded.
    const as = outranks && channel.transitions.includes(transition) ? transition : last.transition
    this.#rewritten.push({ id: last.id, transition: as, content })
    return true
  }

  #waitingFor(pair: Pick<ToldRow, 'channel' | 'name' | 'incidentAt'>): readonly WaitingAlertMessage[] {
    return this.#question.waiting.filter(isOfAlert).filter((message) => idOf(message) === idOf(pair))
  }

  #send(
    channel: StoringChannel,
    { name, incidentAt }: Pick<ToldRow, 'name' | 'incidentAt'>,
    transition: AlertTransition,
    content: AlertContent,
  ): void {
    if (!channel.transitions.includes(transition)) return
    const { newId, now } = this.#question
    this.#messages.push({ id: newId(), channel: channel.name, name, incidentAt, transition, content, at: now })
  }

  #forget(told: ToldRow): void {
    this.#untold.set(idOf(told), told)
  }
}

type WaitingAlertMessage = WaitingMessage & { readonly transition: AlertTransition }

function isOfAlert(message: WaitingMessage): message is WaitingAlertMessage {
  return message.transition !== 'completed'
}

/** A later incident of the same alert, which may be open at the provider. */
function isNewer(other: ToldRow, than: ToldRow): boolean {
  return other.name === than.name && other.incidentAt > than.incidentAt && other.state !== 'refused'
}

function idOf({ channel, name, incidentAt }: Pick<ToldRow, 'channel' | 'name' | 'incidentAt'>): string {
  return `${channel}\n${name}\n${incidentAt.getTime()}`
}
