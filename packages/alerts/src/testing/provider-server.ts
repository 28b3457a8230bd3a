/** What every provider's stand-in has in common: a real HTTP server on 127.0.0.1 that keeps what it got and fails when it is told to. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface ReceivedRequest {
  readonly method: string
  /** With the query. */
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

export interface ProviderAnswer {
  readonly status: number
  readonly headers?: Readonly<Record<string, string>>
  /** An object is sent as JSON. */
  readonly body?: object | string
}

/**
 * What goes wrong with one request. `status`: another answer, and nothing is done. `silence`: no answer, nothing is done. `reset`: the connection is closed, nothing is
 * done. `answer-lost`: all is done, and the connection closed before the answer.
 */
export type Fault =
  | ({ readonly kind: 'status' } & ProviderAnswer)
  | { readonly kind: 'silence' }
  | { readonly kind: 'reset' }
  | { readonly kind: 'answer-lost' }

/** Decides what a request does and how it is answered. */
export type Contract = (request: ReceivedRequest) => ProviderAnswer

export interface ProviderServer {
  /** Without a slash at the end. */
  readonly url: string
  /** Every request, those that failed too, oldest first. */
  readonly requests: readonly ReceivedRequest[]
  /** For the next requests, in this order. */
  failNext(...faults: readonly Fault[]): void
  /** For all requests until it is called again with undefined: an outage. */
  failAlways(fault: Fault | undefined): void
  /** From now on so many requests are let through, then 429 with `Retry-After`, until it is called again; undefined: no limit. */
  limitRate(limit: { readonly requests: number; readonly retryAfter: string } | undefined): void
  close(): Promise<void>
}

/** As large as what any of the providers could take, and larger. */
const maxBodyBytes = 4 * 1024 * 1024

export async function startProviderServer(contract: Contract): Promise<ProviderServer> {
  const requests: ReceivedRequest[] = []
  const faults: Fault[] = []
  let outage: Fault | undefined
  let rate: { left: number; readonly retryAfter: string } | undefined

  const answerTo = (request: ReceivedRequest): ProviderAnswer => {
    if (rate !== undefined) {
      if (rate.left === 0)
        return { status: 429, headers: { 'retry-after': rate.retryAfter }, body: 'too many requests' }
      rate.left -= 1
    }
    return contract(request)
  }
  const server = createServer((incoming, outgoing) => {
    readRequest(incoming).then(
      (request) => {
        requests.push(request)
        const fault = faults.shift() ?? outage
        if (fault?.kind === 'silence') return
        if (fault?.kind === 'reset') return void incoming.socket.destroy()
        const answer = fault?.kind === 'status' ? fault : answerTo(request)
        if (fault?.kind === 'answer-lost') incoming.socket.destroy()
        else write(outgoing, answer)
      },
      () => incoming.socket.destroy(),
    )
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(0, '127.0.0.1', resolve)
  })
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    requests,
    failNext: (...next) => void faults.push(...next),
    failAlways: (fault) => {
      outage = fault
    },
    limitRate: (limit) => {
      rate = limit === undefined ? undefined : { left: limit.requests, retryAfter: limit.retryAfter }
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

async function readRequest(incoming: IncomingMessage): Promise<ReceivedRequest> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of incoming as AsyncIterable<Buffer>) {
    size += chunk.byteLength
    if (size > maxBodyBytes) throw new RangeError('the body is too large')
    chunks.push(chunk)
  }
  const headers = Object.entries(incoming.headers).map(([name, value]) => [name, String(value)])
  return {
    method: incoming.method ?? '',
    path: incoming.url ?? '',
    headers: Object.fromEntries(headers) as Record<string, string>,
    body: Buffer.concat(chunks).toString(),
  }
}

function write(outgoing: ServerResponse, { status, headers = {}, body }: ProviderAnswer): void {
  const isText = typeof body === 'string' || body === undefined
  outgoing.writeHead(status, { 'content-type': isText ? 'text/plain' : 'application/json', ...headers })
  outgoing.end(isText ? body : JSON.stringify(body))
}
