/** Slack, incoming webhook: one digest per run. https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks */
import type { AlertMessage, AlertTransition, DigestChannel, Severity } from '@battlescope/scheduler-core'
import type { AlertsConfig } from './config.js'
import { exchange } from './exchange.js'
import { linkFor, placeOf, type Installation } from './installation.js'
import { masking, secretsOfUrl } from './secrets.js'
import { targetOf } from './target.js'
import { cut, detailLines, oneLine } from './text-limits.js'

/** https://docs.slack.dev/reference/block-kit/blocks */
const maxBlocks = 50
/** https://docs.slack.dev/reference/block-kit/blocks/section-block */
const maxSectionText = 3000
/** Of all blocks: Slack refuses more than about 13 000 as `msg_blocks_too_long`, and documents it nowhere (slackapi/bolt-js#2509). */
const maxMessageText = 11_000
/** A digest is read on a phone: details stand in the logs and with the other channels. */
const maxSummary = 500
const maxDetails = 300

const severityMarks: Readonly<Record<Severity, string>> = {
  critical: ':red_circle:',
  error: ':large_orange_circle:',
  warning: ':large_yellow_circle:',
  info: ':large_blue_circle:',
}

/** Most urgent first, also in the digest. */
const order: readonly AlertTransition[] = ['raised', 'opened', 'reminded', 'changed', 'resolved']

const words: Readonly<Record<AlertTransition, string>> = {
  raised: 'raised',
  opened: 'opened',
  reminded: 'still there',
  changed: 'changed',
  resolved: 'resolved',
}

export function slackChannel(
  options: AlertsConfig['slack'] & { readonly webhookUrl: string },
  link: string | undefined,
  installation: Installation,
): DigestChannel {
  const { webhookUrl } = options
  const mask = masking(secretsOfUrl(webhookUrl))
  return {
    kind: 'digest',
    name: 'slack',
    target: targetOf(webhookUrl),
    transitions: order,
    async send(_id, messages, context) {
      if (messages.length === 0) return { outcome: 'delivered' }
      const { delivery } = await exchange(
        context,
        {
          method: 'POST',
          url: webhookUrl,
          headers: { 'content-type': 'application/json; charset=utf-8' },
          body: JSON.stringify(digestOf(messages, link, installation)),
        },
        mask,
      )
      return delivery
    },
  }
}

interface Block {
  readonly type: 'section'
  readonly text: { readonly type: 'mrkdwn'; readonly text: string }
}

/** The message: `text` is what notifications show, the blocks are what the channel shows. */
function digestOf(
  messages: readonly AlertMessage[],
  link: string | undefined,
  installation: Installation,
): { readonly text: string; readonly blocks: readonly Block[] } {
  const sorted = [...messages].sort((a, b) => order.indexOf(a.transition) - order.indexOf(b.transition))
  const counts = order
    .map((transition) => [transition, messages.filter((message) => message.transition === transition).length] as const)
    .filter(([, count]) => count > 0)
    .map(([transition, count]) => `${count} ${words[transition]}`)
  const title = `${escaped(installation.name, 100)}: ${counts.join(', ')}`
  const sections: string[] = [`*${title}*`]
  let left = maxMessageText - title.length
  let shown = 0
  for (const message of sorted) {
    const text = sectionOf(message, link)
    // One block is kept for what is not shown.
    if (sections.length >= maxBlocks - 1 || text.length > left) break
    sections.push(text)
    left -= text.length
    shown += 1
  }
  if (shown < sorted.length) sections.push(`and ${sorted.length - shown} more`)
  return {
    text: title,
    blocks: sections.map((text) => ({ type: 'section', text: { type: 'mrkdwn', text } })),
  }
}

function sectionOf({ transition, alert, at }: AlertMessage, link: string | undefined): string {
  const mark = transition === 'resolved' ? ':white_check_mark:' : severityMarks[alert.severity]
  const href = linkFor(link, alert)
  const place = escaped(placeOf(alert), 200)
  const shownPlace = href === undefined ? place : `<${escaped(href, 500).replaceAll('|', '%7C')}|${place}>`
  const head = `${mark} *${words[transition]}* ${alert.severity} · ${shownPlace}`
  const details = transition === 'resolved' ? '' : oneLine(detailLines(alert.details).join(' · '))
  const since = `since ${alert.openedAt.toISOString()}${transition === 'resolved' ? ` until ${at.toISOString()}` : ''}`
  const lines = [head, escaped(oneLine(alert.summary), maxSummary), escaped(details, maxDetails), `_${since}_`]
  return lines.filter((line) => line !== '').join('\n')
}

const entities: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;' }

/**
 * At most `max` characters with the three that Slack reads as its own escaped, so that no text can call a channel (`<!channel>`). Cut before a character, never within
 * the text that stands for it. https://docs.slack.dev/messaging/formatting-message-text#escaping
 */
export function escaped(text: string, max: number): string {
  const limit = Math.min(max, maxSectionText)
  const escape = (part: string) => part.replace(/[&<>]/g, (character) => entities[character] ?? character)
  let length = limit
  let result = escape(cut(text, length))
  while (result.length > limit && length > 0) {
    length -= Math.max(1, Math.ceil((result.length - limit) / 5))
    result = escape(cut(text, Math.max(0, length)))
  }
  return result
}
