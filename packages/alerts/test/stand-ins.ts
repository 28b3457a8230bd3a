/** One of each, and how to speak to it by hand. */
import { createHmac } from 'node:crypto'
import {
  startAlertmanager,
  startHeartbeat,
  startJsm,
  startPagerduty,
  startSlack,
  startWebhook,
  type ProviderServer,
  type Provider,
} from '../src/testing/index.js'
import type { Example } from './examples.js'

export const now = new Date('2026-11-25T12:00:00.000Z')

export interface StandIn {
  readonly server: ProviderServer
  /** What a channel is configured with. */
  readonly base: string
  readonly headers: (body: string) => Record<string, string>
}

const json = { 'content-type': 'application/json' }

export async function startStandIn(provider: Provider): Promise<StandIn> {
  switch (provider) {
    case 'pagerduty': {
      const server = await startPagerduty()
      return { server, base: server.url, headers: () => json }
    }
    case 'jsm':
    case 'opsgenie': {
      const server = await startJsm(provider)
      return { server, base: server.apiUrl, headers: () => ({ ...json, authorization: `GenieKey ${server.apiKey}` }) }
    }
    case 'alertmanager': {
      const server = await startAlertmanager({ now: () => now })
      return { server, base: server.url, headers: () => json }
    }
    case 'slack': {
      const server = await startSlack()
      return { server, base: server.webhookUrl, headers: () => json }
    }
    case 'webhook': {
      const server = await startWebhook({ now: () => now })
      return { server, base: server.webhookUrl, headers: (body) => ({ ...json, ...signedBy(server.secret, body) }) }
    }
    case 'heartbeat': {
      const server = await startHeartbeat()
      return { server, base: server.pingUrl, headers: () => ({}) }
    }
  }
}

/** By the specification, in code of its own. */
export function signedBy(
  secret: string,
  body: string,
  others: { readonly id?: string; readonly timestamp?: string } = {},
) {
  const { id = 'msg_2KWPBgLlAfxdpx2AI54pPJ85f4W', timestamp = String(now.getTime() / 1000) } = others
  const key = Buffer.from(secret.slice('whsec_'.length), 'base64')
  const signature = createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest('base64')
  return { 'webhook-id': id, 'webhook-timestamp': timestamp, 'webhook-signature': `v1,${signature}` }
}

export interface ByHand {
  readonly method: string
  readonly path: string
  readonly body: string | undefined
  /** Over those that belong to a right request; undefined leaves one out. */
  readonly headers?: Readonly<Record<string, string | undefined>>
  /** In place of the whole URL. */
  readonly url?: string
}

export async function sendByHand({ base, headers }: StandIn, request: ByHand): Promise<Response> {
  const all = { ...headers(request.body ?? ''), ...request.headers }
  const given = Object.entries(all).filter((entry): entry is [string, string] => entry[1] !== undefined)
  return fetch(request.url ?? base + request.path, {
    method: request.method,
    headers: Object.fromEntries(given),
    ...(request.body === undefined ? {} : { body: request.body }),
  })
}

export function asByHand({ method, path, body }: Example): ByHand {
  return { method, path, body: body === undefined ? undefined : JSON.stringify(body) }
}
