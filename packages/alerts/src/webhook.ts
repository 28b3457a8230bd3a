/** Any receiver of JSON, signed as Standard Webhooks say. https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md */
import { createHmac } from 'node:crypto'
import type { EachChannel } from '@battlescope/scheduler-core'
import type { AlertsConfig } from './config.js'
import { exchange } from './exchange.js'
import type { Installation } from './installation.js'
import { masking, secretsOfUrl } from './secrets.js'
import { targetOf } from './target.js'
import { cut } from './text-limits.js'
import { keyOf } from './webhook-key.js'
import { defaultTemplate, filled, valuesOf } from './webhook-template.js'

/** Receivers reject what is too large, and each sets another limit: this much every usual one takes. */
const maxDetailBytes = 16 * 1024
const maxSummary = 4000

export function webhookChannel(
  options: AlertsConfig['webhook'] & { readonly url: string },
  link: string | undefined,
  installation: Installation,
): EachChannel {
  const { url, secret, headers = {} } = options
  const mask = masking([...secretsOfUrl(url), ...(secret === undefined ? [] : [secret]), ...Object.values(headers)])
  const template: unknown = options.template === undefined ? defaultTemplate : JSON.parse(options.template)
  return {
    kind: 'each',
    name: 'webhook',
    target: targetOf(url),
    transitions: ['opened', 'changed', 'raised', 'reminded', 'resolved'],
    async send(message, context) {
      const short = { ...message, alert: { ...message.alert, summary: cut(message.alert.summary, maxSummary) } }
      const body = JSON.stringify(filled(template, valuesOf(short, link, installation, maxDetailBytes)))
      const id = idOf(message.id)
      // Of the attempt, not of the message: receivers refuse old ones as repetitions by somebody else.
      const timestamp = String(Math.floor(context.now.getTime() / 1000))
      const { delivery } = await exchange(
        context,
        {
          method: 'POST',
          url,
          headers: {
            'content-type': 'application/json',
            ...headers,
            'webhook-id': id,
            'webhook-timestamp': timestamp,
            ...(secret === undefined ? {} : { 'webhook-signature': signatureOf({ id, timestamp, body }, secret) }),
          },
          body,
        },
        mask,
      )
      return delivery
    },
  }
}

/** A full stop in it would make signatures ambiguous, and headers take no line breaks. */
function idOf(id: string): string {
  return /^[A-Za-z0-9_-]{1,200}$/.test(id) ? id : Buffer.from(id).toString('base64url').slice(0, 200)
}

export interface Signed {
  readonly id: string
  readonly timestamp: string
  readonly body: string
}

export function signatureOf({ id, timestamp, body }: Signed, secret: string): string {
  const hmac = createHmac('sha256', keyOf(secret)).update(`${id}.${timestamp}.${body}`).digest('base64')
  return `v1,${hmac}`
}
