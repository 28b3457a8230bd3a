/** What alerts need of a place that outlives the process. `state/alert-store.ts` is PostgreSQL's. */
import type { AlertReading } from '../state/alert-rows.js'
import type { AlertMessage, ChangeMessage } from './channel.js'
import type { AlertPlan } from './plan-alerts.js'
import type { MessagePlan, NewChangeMessage, NewMessage } from './plan-messages.js'
import type { ChangePlan } from './plan-changes.js'

/** What one evaluation changes, all of it or nothing. */
export interface AlertChanges {
  readonly alerts: AlertPlan
  readonly messages: MessagePlan
  readonly changes: ChangePlan
  /** Runs of tasks that were taken up. */
  readonly evaluated: readonly string[]
}

/** A message that this process may deliver now. */
export type ClaimedMessage = ClaimedAlertMessage | ClaimedChangeMessage

export interface ClaimedAlertMessage extends AlertMessage, Claim {}

export interface ClaimedChangeMessage extends ChangeMessage, Claim {
  readonly transition: 'completed'
}

interface Claim {
  readonly channel: string
  readonly name: string
  readonly incidentAt: Date
  /** This one included: the proof of the claim, too. */
  readonly attempts: number
  /** Set once the provider took it and did not say yet what became of it. */
  readonly receipt: string | undefined
}

/** How an attempt ended, as far as rows go. */
export type Settlement =
  | { readonly outcome: 'delivered' }
  | { readonly outcome: 'accepted'; readonly receipt: string; readonly afterMs: number }
  | {
      readonly outcome: 'retry'
      readonly reason: string
      readonly afterMs: number
      /** The provider wants to be left alone: nothing goes to this channel meanwhile. */
      readonly holdMs: number | undefined
    }
  | { readonly outcome: 'dead'; readonly reason: string }

export interface AlertStore {
  read(): Promise<AlertReading>
  /** One transaction in which no other process evaluates; `plan` may be called again, and changes nothing when it says undefined. */
  evaluate(plan: (reading: AlertReading) => AlertChanges | undefined): Promise<AlertChanges | undefined>
  /** A message that is there already stays as it is. */
  insertMessages(messages: readonly (NewMessage | NewChangeMessage)[]): Promise<void>
  /** Makes dead letters of what is older than `maximumAgeMs`. @returns how many */
  expire(maximumAgeMs: number): Promise<number>
  /** The next message of a channel, in order for each alert, and alerts before changes; leased for `leaseMs`. */
  claimNext(channel: string, leaseMs: number): Promise<ClaimedMessage | undefined>
  /** Everything that a digest channel is to be told at once, under one id that outlasts failed attempts. */
  claimDigest(
    channel: string,
    leaseMs: number,
  ): Promise<{ readonly id: string; readonly messages: readonly ClaimedAlertMessage[] } | undefined>
  /** Of messages whose lease another process has taken meanwhile nothing is changed. */
  settle(messages: readonly ClaimedMessage[], settlement: Settlement): Promise<void>
  /** For channels of which nothing is stored. */
  recordAttempt(channel: string, failure: string | undefined): Promise<void>
}
