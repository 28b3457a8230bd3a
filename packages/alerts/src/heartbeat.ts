/** A dead man's switch: something outside that calls people when it hears nothing. The URL is the key to it. */
import type { Heartbeat } from '@battlescope/scheduler-core'
import type { AlertsConfig } from './config.js'
import { exchange } from './exchange.js'
import { masking, secretsOfUrl } from './secrets.js'

export function heartbeat({ url, method }: AlertsConfig['heartbeat'] & { readonly url: string }): Heartbeat {
  const mask = masking(secretsOfUrl(url))
  return {
    name: 'heartbeat',
    async send(context) {
      const { delivery } = await exchange(context, { method, url, ...(method === 'POST' ? { body: '' } : {}) }, mask)
      return delivery
    },
  }
}
