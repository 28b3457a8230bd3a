/** A provider on loopback, and the channel to it: real HTTP, and a server that can be down. */
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { AlertInput } from '../../src/alerts/alerting.js'
import type { AlertMessage, Delivery, EachChannel, Heartbeat } from '../../src/alerts/channel.js'
import { defaultAlertPolicy, type AlertPolicy } from '../../src/alerts/policy.js'
import type { HttpClient, HttpRequest } from '../../src/clients.js'

export interface Received {
  readonly path: string
  readonly id: string
  readonly transition: AlertMessage['transition'] | 'completed'
  readonly name: string
  readonly summary: string
}

export class Webhook {
  readonly received: Received[] = []
  /** Answers instead of 200; headers too. */
  answer: { readonly status: number; readonly retryAfter?: string } = { status: 200 }
  /** Called before the answer. */
  onRequest: (received: Received) => void = () => undefined
  readonly #server: Server
  #url = ''

  constructor() {
    this.#server = createServer((request, response) => {
      const chunks: Buffer[] = []
      request.on('data', (chunk: Buffer) => chunks.push(chunk))
      request.on('end', () => {
        const body = JSON.parse(Buffer.concat(chunks).toString()) as Omit<Received, 'path'>
        const received = { path: request.url ?? '', ...body }
        this.onRequest(received)
        const { status, retryAfter } = this.answer
        if (status === 200) this.received.push(received)
        response.writeHead(status, retryAfter === undefined ? {} : { 'retry-after': retryAfter })
        response.end()
      })
    })
  }

  async start(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve))
    this.#url = `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  /** What arrived at a channel, as `transition name`. */
  at(path: string): readonly string[] {
    return this.received
      .filter((each) => each.path === `/${path}`)
      .map(({ transition, name }) => `${transition} ${name}`)
  }

  channel(name: string): EachChannel {
    return {
      kind: 'each',
      name,
      transitions: ['opened', 'raised', 'changed', 'reminded', 'resolved'],
      send: (message, { http, timeoutMs, signal }) =>
        this.#post(http, { timeoutMs, signal }, name, {
          id: message.id,
          transition: message.transition,
          name: `${message.alert.task ?? 'scheduler'}/${message.alert.findingKey}`,
          summary: message.alert.summary,
        }),
      sendChange: ({ id, change }, { http, timeoutMs, signal }) =>
        this.#post(http, { timeoutMs, signal }, name, {
          id,
          transition: 'completed',
          name: `${change.task}/${change.changeKey}`,
          summary: change.summary,
        }),
    }
  }

  heartbeat(name: string): Heartbeat {
    return {
      name,
      send: ({ http, timeoutMs, signal }) =>
        this.#post(http, { timeoutMs, signal }, name, { id: '', transition: 'opened', name: 'alive', summary: '' }),
    }
  }

  input(change: Partial<AlertPolicy> = {}, channels: readonly EachChannel[] = [this.channel('pager')]): AlertInput {
    return {
      routing: {
        channels,
        heartbeats: [this.heartbeat('switch')],
        channelsFor: () => channels.map(({ name }) => name),
        channelsForChange: () => channels.map(({ name }) => name),
      },
      policy: { ...defaultAlertPolicy, grace: 0, ...change },
      database: 'localhost:5432/test',
      http: () => Promise.resolve({ client: fetching, close: () => Promise.resolve() }),
    }
  }

  async #post(
    http: HttpClient,
    limits: { timeoutMs: number; signal: AbortSignal },
    path: string,
    body: Omit<Received, 'path'>,
  ): Promise<Delivery> {
    const { status, headers } = await http.post({ url: `${this.#url}/${path}`, ...limits, body: JSON.stringify(body) })
    if (status === 200) return { outcome: 'delivered' }
    const after = headers['retry-after']
    if (status === 429 || status >= 500)
      return {
        outcome: 'retry',
        reason: `status ${status}`,
        ...(after === undefined ? {} : { afterMs: Number(after) * 1000 }),
      }
    return { outcome: 'refused', reason: `status ${status}` }
  }
}

async function exchange(method: string, request: HttpRequest & { readonly body?: string }) {
  const response = await fetch(request.url, {
    method,
    ...(request.body === undefined ? {} : { body: request.body }),
    ...(request.signal === undefined ? {} : { signal: request.signal }),
  })
  return { status: response.status, headers: Object.fromEntries(response.headers), body: await response.text() }
}

const fetching: HttpClient = {
  get: (request) => exchange('GET', request),
  post: (request) => exchange('POST', request),
  send: (request) => exchange(request.method, request),
}
