/** A dead man's switch: something outside that calls people when it hears nothing. The URL is the key to it. */
import type { Delivery, Heartbeat } from '@battlescope/scheduler-core'
import type { AlertsConfig } from './config.js'
import { exchange } from './exchange.js'
import { masking, secretsOfUrl } from './secrets.js'

export function heartbeat({ url, method }: AlertsConfig['heartbeat'] & { readonly url: string }): Heartbeat {
  const mask = masking(secretsOfUrl(url))
  return {
    name: 'heartbeat',
    async send(context) {
      const request = { method, url, ...(method === 'POST' ? { body: '' } : {}) }
      const { delivery, response } = await exchange(context, request, mask)
      return delivery.outcome === 'delivered' ? (unheard(response?.body ?? '') ?? delivery) : delivery
    },
  }
}

/** healthchecks.io answers 200 to every URL with a UUID, and says in the body when nobody heard it. */
function unheard(body: string): Delivery | undefined {
  if (/^OK \(not found\)/i.test(body)) return { outcome: 'refused', reason: 'HTTP 200: OK (not found)' }
  return /^OK \(rate limited\)/i.test(body) ? { outcome: 'retry', reason: 'HTTP 200: OK (rate limited)' } : undefined
}
