/**
 * Delivers what waits: every channel beside the others, one message at a time in each, until the time of the pass is over. Never throws
 * for what a provider does; what fails is tried again in a later run.
 */
import type { HttpClient } from '../clients.js'
import { messageOf } from '../errors.js'
import type { Timer } from '../execute/clock.js'
import type { SafeText } from '../execute/safe-text.js'
import type { TaskLogger } from '../task.js'
import type { AlertStore, ClaimedAlertMessage, ClaimedMessage, Settlement } from './alert-store.js'
import type {
  AlertChannel,
  Delivery,
  DeliveryContext,
  DigestChannel,
  EachChannel,
  Heartbeat,
  StateChannel,
} from './channel.js'

/** Back-off of one message: the first retry comes with the next run. */
const firstBackoffMs = 60_000
const longestBackoffMs = 1_800_000
/** Milliseconds beyond the pass for which nobody else takes a claimed message. */
const leaseMarginMs = 60_000

export interface DeliveryPass extends SendingPass {
  readonly store: AlertStore
  readonly channels: readonly AlertChannel[]
}

/** What sending needs where nothing is stored. */
export interface SendingPass {
  /** Opened at the first message. */
  readonly http: () => Promise<HttpClient>
  /** Database time. */
  readonly now: () => Date
  readonly expectedIntervalMs: number
  /** Milliseconds for the whole pass. */
  readonly capMs: number
  readonly timer: Timer
  readonly signal: AbortSignal
  readonly random: () => number
  readonly safe: SafeText
  readonly logger: TaskLogger
}

export async function deliverMessages(pass: DeliveryPass): Promise<void> {
  const storing = pass.channels.filter((channel) => channel.kind !== 'state')
  await withinCap(pass, (signal) =>
    Promise.all(
      storing.map((channel) =>
        (channel.kind === 'each' ? deliverEach(pass, channel, signal) : deliverDigest(pass, channel, signal)).catch(
          (error: unknown) => {
            pass.logger.error(
              { event: 'alerts-not-delivered', channel: channel.name, reason: pass.safe.text(messageOf(error)) },
              'alerts could not be taken from the database',
            )
          },
        ),
      ),
    ),
  )
}

/** What fires, to channels that want all of it each time. */
export async function deliverState(
  pass: DeliveryPass,
  stateOf: (channel: StateChannel) => Parameters<StateChannel['send']>[0] | undefined,
): Promise<void> {
  const wanted = pass.channels.flatMap((channel) => {
    const state = channel.kind === 'state' ? stateOf(channel) : undefined
    return channel.kind === 'state' && state !== undefined ? [{ channel, state }] : []
  })
  await withinCap(pass, (signal) =>
    Promise.all(
      wanted.map(async ({ channel, state }) => {
        const delivery = await attempt(pass, signal, (context) => channel.send(state, context))
        log(pass, channel.name, delivery, state.firing.length + state.resolved.length)
        await pass.store.recordAttempt(channel.name, failureOf(delivery))
      }),
    ),
  )
}

/** What nothing is stored of: heartbeats, and whatever must be said while there is no database. */
export async function sendUnstored(
  pass: SendingPass,
  senders: readonly Heartbeat[],
): Promise<readonly { readonly name: string; readonly delivery: Delivery }[]> {
  let deliveries: readonly { readonly name: string; readonly delivery: Delivery }[] = []
  await withinCap(pass, async (signal) => {
    deliveries = await Promise.all(
      senders.map(async (sender) => {
        const delivery = await attempt(pass, signal, (context) => sender.send(context))
        log(pass, sender.name, delivery, 1)
        return { name: sender.name, delivery }
      }),
    )
  })
  return deliveries
}

async function deliverEach(pass: DeliveryPass, channel: EachChannel, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const message = await pass.store.claimNext(channel.name, pass.capMs + leaseMarginMs)
    if (message === undefined) return
    const delivery = await attempt(pass, signal, (context) => sendOrAsk(channel, message, context))
    log(pass, channel.name, delivery, 1, message)
    await pass.store.settle([message], settlementFor(message, delivery, pass))
    // Whoever is down for one message is down for the next.
    if (delivery.outcome === 'retry') return
  }
}

async function deliverDigest(pass: DeliveryPass, channel: DigestChannel, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const digest = await pass.store.claimDigest(channel.name, pass.capMs + leaseMarginMs)
    if (digest === undefined) return
    const messages = digest.messages.map(bare)
    const delivery = await attempt(pass, signal, (context) => channel.send(digest.id, messages, context))
    log(pass, channel.name, delivery, messages.length)
    const attempts = Math.max(...digest.messages.map((message) => message.attempts))
    await pass.store.settle(digest.messages, settlementOf(delivery, attempts, pass))
    if (delivery.outcome === 'retry') return
  }
}

const nothingToDo = () => Promise.resolve<Delivery>({ outcome: 'delivered' })

function sendOrAsk(channel: EachChannel, message: ClaimedMessage, context: DeliveryContext): Promise<Delivery> {
  const { receipt } = message
  if (receipt !== undefined) return channel.poll?.(receipt, context) ?? nothingToDo()
  if (message.transition !== 'completed') return channel.send(bare(message), context)
  // Turned off since it was written: whoever does that wants it gone, not kept as a dead letter.
  const { id, change, at } = message
  return channel.sendChange?.({ id, change, at }, context) ?? nothingToDo()
}

/** What a channel may know of a message. */
function bare({ id, transition, alert, at }: ClaimedAlertMessage) {
  return { id, transition, alert, at }
}

/** A provider that wants no changes for a while may still be told of alerts: then only the change waits. */
function settlementFor(message: ClaimedMessage, delivery: Delivery, pass: SendingPass): Settlement {
  const settlement = settlementOf(delivery, message.attempts, pass)
  const isChange = message.transition === 'completed'
  return isChange && settlement.outcome === 'retry' ? { ...settlement, holdMs: undefined } : settlement
}

/** Pure but for `random`, which spreads retries of many processes. */
export function settlementOf(
  delivery: Delivery,
  attempts: number,
  { expectedIntervalMs, random }: Pick<SendingPass, 'expectedIntervalMs' | 'random'>,
): Settlement {
  switch (delivery.outcome) {
    case 'delivered':
      return { outcome: 'delivered' }
    case 'accepted':
      // Providers need seconds, and the next run is minutes away: any time before it will do.
      return { outcome: 'accepted', receipt: delivery.receipt, afterMs: expectedIntervalMs / 10 }
    case 'refused':
      return { outcome: 'dead', reason: delivery.reason }
    case 'retry': {
      const backoffMs = Math.min(longestBackoffMs, firstBackoffMs * 2 ** Math.min(attempts - 1, 10))
      const jittered = Math.round(backoffMs * (0.8 + 0.4 * random()))
      return {
        outcome: 'retry',
        reason: delivery.reason,
        afterMs: Math.max(jittered, delivery.afterMs ?? 0),
        holdMs: delivery.afterMs,
      }
    }
  }
}

async function withinCap(pass: SendingPass, work: (signal: AbortSignal) => Promise<unknown>): Promise<void> {
  const cap = new AbortController()
  const abort = () => {
    cap.abort(new Error('no time left in this run'))
  }
  const cancel = pass.timer.after(Math.max(0, pass.capMs), abort)
  if (pass.signal.aborted) abort()
  pass.signal.addEventListener('abort', abort, { once: true })
  try {
    await work(cap.signal)
  } finally {
    cancel()
    pass.signal.removeEventListener('abort', abort)
  }
}

/** One attempt, which ends with the pass even if the channel does not. Whatever is thrown is tried again. */
async function attempt(
  pass: SendingPass,
  signal: AbortSignal,
  send: (context: DeliveryContext) => Promise<Delivery>,
): Promise<Delivery> {
  let stop: () => void = () => undefined
  const cutOff = new Promise<Delivery>((resolve) => {
    stop = () => {
      resolve({ outcome: 'retry', reason: 'no answer within the time for deliveries' })
    }
    signal.addEventListener('abort', stop, { once: true })
  })
  try {
    const http = await pass.http()
    const context = {
      http,
      signal,
      timeoutMs: pass.capMs,
      now: pass.now(),
      expectedIntervalMs: pass.expectedIntervalMs,
    }
    const delivery = await Promise.race([send(context), cutOff])
    return 'reason' in delivery ? { ...delivery, reason: pass.safe.text(delivery.reason) } : delivery
  } catch (error) {
    return { outcome: 'retry', reason: pass.safe.text(messageOf(error)) }
  } finally {
    signal.removeEventListener('abort', stop)
  }
}

function failureOf(delivery: Delivery): string | undefined {
  return delivery.outcome === 'retry' || delivery.outcome === 'refused' ? delivery.reason : undefined
}

function log(pass: SendingPass, channel: string, delivery: Delivery, count: number, message?: ClaimedMessage): void {
  const fields = {
    event: 'alert-delivery',
    channel,
    outcome: delivery.outcome,
    reason: failureOf(delivery),
    count,
    alert: message?.name,
    transition: message?.transition,
    attempts: message?.attempts,
  }
  if (delivery.outcome === 'refused') pass.logger.error(fields, 'alert refused by its provider')
  else if (delivery.outcome === 'retry') pass.logger.warn(fields, 'alert not delivered')
  else pass.logger.info(fields, 'alert delivered')
}
