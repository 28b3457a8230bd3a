/** Sends without any state: while there is no database to keep it, and to try the channels. */
import type { HttpClient } from '../clients.js'
import type { Timer } from '../execute/clock.js'
import { safeText } from '../execute/safe-text.js'
import type { TaskLogger } from '../task.js'
import type { AlertInput } from './alerting.js'
import type { AlertChannel, AlertContent, AlertTransition, Delivery, DeliveryContext, Heartbeat } from './channel.js'
import { sendUnstored } from './deliver.js'
import { alertName, dedupKey, shortHash, uuidOf } from './key.js'
import { outageMessages } from './outage.js'

export interface DirectSetting {
  readonly input: AlertInput
  /** Milliseconds between two runs. */
  readonly expectedIntervalMs: number
  /** The process's own time. */
  readonly now: () => Date
  /** Milliseconds that this process still has. */
  readonly remainingMs: () => number
  readonly timer: Timer
  readonly signal: AbortSignal
  readonly random: () => number
  /** Takes secrets out of a text. */
  readonly scrub: (text: string) => string
  readonly logger: TaskLogger
}

/** Tells every channel that wants to hear of it that the database cannot be reached. No heartbeat is sent. */
export async function tellOutage(setting: DirectSetting, reason: string): Promise<void> {
  const { input, expectedIntervalMs, now, scrub } = setting
  const { policy, database, routing } = input
  const { each, digest, state } = outageMessages(
    { policy, database, expectedIntervalMs, routing, now: now() },
    safeText(scrub).text(reason),
  )
  await sendDirectly(setting, [
    ...each.map(({ channel, message }) => ({
      name: channel.name,
      send: (context: DeliveryContext) => channel.send(message, context),
    })),
    ...digest.map(({ channel, message }) => ({
      name: channel.name,
      send: (context: DeliveryContext) => channel.send(message.id, [message], context),
    })),
    ...state.map(({ channel, content }) => ({
      name: channel.name,
      send: (context: DeliveryContext) => channel.send({ firing: [content], resolved: [] }, context),
    })),
  ])
}

export interface TestResult {
  readonly name: string
  readonly message: AlertTransition
  readonly outcome: Delivery['outcome']
  readonly reason: string | undefined
}

/** Opens an alert of severity info at every channel, or at one, whatever their routes are, and resolves it. */
export async function sendTestAlert(setting: DirectSetting, only?: string): Promise<readonly TestResult[]> {
  const { input, now } = setting
  const findingKey = 'alerts-test'
  const openedAt = now()
  const alert: AlertContent = {
    key: dedupKey(input.policy.installation ?? shortHash(input.database), alertName(undefined, findingKey)),
    task: undefined,
    findingKey,
    severity: 'info',
    summary: 'A test of this channel, sent by hand: it is resolved at once',
    details: { database: input.database },
    openedAt,
  }
  const channels = input.routing.channels.filter(({ name }) => only === undefined || name === only)
  const results: TestResult[] = []
  for (const transition of ['opened', 'resolved'] as const) {
    const wanted = channels.filter((channel) => channel.kind === 'state' || channel.transitions.includes(transition))
    const sent = await sendDirectly(
      setting,
      wanted.map((channel) => ({
        name: channel.name,
        send: (context) => sendOne(channel, transition, alert, context),
      })),
    )
    for (const { name, delivery } of sent) {
      const reason = 'reason' in delivery ? delivery.reason : undefined
      results.push({ name, message: transition, outcome: delivery.outcome, reason })
    }
  }
  return results
}

function sendOne(
  channel: AlertChannel,
  transition: 'opened' | 'resolved',
  alert: AlertContent,
  context: DeliveryContext,
): Promise<Delivery> {
  const id = uuidOf(`${channel.name}\n${alert.key}\n${alert.openedAt.toISOString()}\n${transition}`)
  const message = { id, transition, alert, at: context.now }
  if (channel.kind === 'each') return channel.send(message, context)
  if (channel.kind === 'digest') return channel.send(id, [message], context)
  return channel.send(
    transition === 'opened' ? { firing: [alert], resolved: [] } : { firing: [], resolved: [message] },
    context,
  )
}

async function sendDirectly(setting: DirectSetting, senders: readonly Heartbeat[]) {
  if (senders.length === 0) return []
  const { input, expectedIntervalMs, now, timer, signal, random, scrub, logger } = setting
  let opened: ReturnType<AlertInput['http']> | undefined
  const http = async (): Promise<HttpClient> => {
    opened ??= input.http()
    return (await opened).client
  }
  const capMs = Math.min(input.policy.deliveryTimeout, setting.remainingMs())
  try {
    const pass = { http, now, expectedIntervalMs, capMs, timer, signal, random, safe: safeText(scrub), logger }
    return await sendUnstored(pass, senders)
  } finally {
    if (opened !== undefined) await (await opened).close()
  }
}
