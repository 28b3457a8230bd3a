/**
 * What a way to tell people must offer. Core decides what is opened, changed, reminded of and resolved, and keeps every message until it was
 * delivered; a channel knows one provider's contract and nothing of the database.
 */
import type { HttpClient } from '../clients.js'
import type { ChangeLink, Severity } from '../task.js'

/** What is told of an alert. The text is already free of secrets. */
export interface AlertContent {
  /** Stable over runs, processes and versions, at most 255 characters of ASCII: what a provider recognises the alert by. */
  readonly key: string
  /** The task that reported it; undefined for the scheduler's own. */
  readonly task: string | undefined
  /** The finding's key, without the task. */
  readonly findingKey: string
  readonly severity: Severity
  /** One line. */
  readonly summary: string
  /** JSON-safe. */
  readonly details: Readonly<Record<string, unknown>>
  readonly openedAt: Date
}

/**
 * `opened`: it fires for the first time. `changed`: another summary, or a lower severity. `raised`: a higher severity, for which
 * people must be called again. `reminded`: it still fires after the reminder interval. `resolved`: it is over.
 */
export type AlertTransition = 'opened' | 'changed' | 'raised' | 'reminded' | 'resolved'

/** A message about one alert. */
export interface AlertMessage {
  /** The same over all attempts to deliver it: the idempotency key for providers that take one. */
  readonly id: string
  readonly transition: AlertTransition
  readonly alert: AlertContent
  /** When the transition happened; database time. */
  readonly at: Date
}

/** What is told of a change. The text is already free of secrets. */
export interface ChangeContent {
  /** The task that reported it. */
  readonly task: string
  /** The change's key, without the task. */
  readonly changeKey: string
  /** The slot that it finished. */
  readonly slotId: string
  /** One line. */
  readonly summary: string
  /** JSON-safe. */
  readonly details: Readonly<Record<string, unknown>>
  readonly links: readonly ChangeLink[]
}

/** Something that was done well and belongs on a time line: a finished retention, a backup. It calls nobody, and nothing follows it. */
export interface ChangeMessage {
  /** The same over all attempts to deliver it. */
  readonly id: string
  readonly change: ChangeContent
  /** When its run was recorded; database time. */
  readonly at: Date
}

/** Of a stored message: what happened to an alert, or `completed` for a change. */
export type MessageTransition = AlertTransition | 'completed'

/** How one attempt to deliver ended. */
export type Delivery =
  | { readonly outcome: 'delivered' }
  /** Taken, not done: ask about it by {@link EachChannel.poll} in a later run. */
  | { readonly outcome: 'accepted'; readonly receipt: string }
  /** Try again, at the earliest after so many milliseconds if the provider says so. */
  | { readonly outcome: 'retry'; readonly reason: string; readonly afterMs?: number }
  /** The provider will never take it: it becomes a dead letter. */
  | { readonly outcome: 'refused'; readonly reason: string }

export interface DeliveryContext {
  readonly http: HttpClient
  readonly signal: AbortSignal
  /** Milliseconds for one exchange. */
  readonly timeoutMs: number
  /** Database time; the process's own when the database is down. */
  readonly now: Date
  /** Milliseconds between two runs. */
  readonly expectedIntervalMs: number
}

/** One message per transition, in order per alert: PagerDuty, Opsgenie, Jira Service Management, a webhook. */
export interface EachChannel {
  readonly kind: 'each'
  readonly name: string
  /** A fingerprint of where it sends, without secrets. When it changes, what fires is opened anew there. Absent: changes go unnoticed. */
  readonly target?: string
  /** Transitions that the provider has a use for; others are not stored for it. */
  readonly transitions: readonly AlertTransition[]
  send(message: AlertMessage, context: DeliveryContext): Promise<Delivery>
  /** Asks what became of what was only accepted. Absent where nothing is. */
  poll?(receipt: string, context: DeliveryContext): Promise<Delivery>
  /** Absent where the provider has no time line. */
  sendChange?(change: ChangeMessage, context: DeliveryContext): Promise<Delivery>
}

/** One message per run, with everything that changed in it: Slack. */
export interface DigestChannel {
  readonly kind: 'digest'
  readonly name: string
  /** As of {@link EachChannel}. */
  readonly target?: string
  readonly transitions: readonly AlertTransition[]
  send(id: string, messages: readonly AlertMessage[], context: DeliveryContext): Promise<Delivery>
}

/** Everything that fires, in every run, and what was resolved since the last success: Alertmanager. Nothing of it is stored: the next run repeats it. */
export interface StateChannel {
  readonly kind: 'state'
  readonly name: string
  send(
    state: { readonly firing: readonly AlertContent[]; readonly resolved: readonly AlertMessage[] },
    context: DeliveryContext,
  ): Promise<Delivery>
}

export type AlertChannel = EachChannel | DigestChannel | StateChannel

/** Tells something outside that a run did its work: a dead man's switch. */
export interface Heartbeat {
  readonly name: string
  send(context: DeliveryContext): Promise<Delivery>
}

/** Where alerts go: which channel hears of which severity and key. */
export interface AlertRouting {
  readonly channels: readonly AlertChannel[]
  readonly heartbeats: readonly Heartbeat[]
  /** Names of the channels that hear of this alert. Pure; the same answer for the same alert. */
  channelsFor(alert: Pick<AlertContent, 'key' | 'task' | 'findingKey' | 'severity'>): readonly string[]
  /** Names of the channels that hear of this change, if they have a time line ({@link EachChannel.sendChange}). Pure. */
  channelsForChange(change: Pick<ChangeContent, 'task' | 'changeKey'>): readonly string[]
}
