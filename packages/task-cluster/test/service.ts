/** A small clustering service over real sockets, and a small HTTP client such as the program hands to tasks. */
import { createServer, type IncomingHttpHeaders, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { ClientFactories, HttpRequest, HttpResponse } from '@battlescope/scheduler-core'

export interface SeenRequest {
  readonly method: string | undefined
  readonly path: string | undefined
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

export type Reply = (response: ServerResponse, request: SeenRequest) => void

/** Answers with this status, and these headers. */
export const status =
  (code: number, headers: Record<string, string> = {}, body = ''): Reply =>
  (response) =>
    response.writeHead(code, headers).end(body)

export class Service {
  readonly seen: SeenRequest[] = []
  /** What it answers, in turn; the last one stays. */
  replies: readonly Reply[] = [status(202)]
  readonly #server: Server

  private constructor() {
    this.#server = createServer((request, response) => {
      let body = ''
      request.on('data', (chunk: Buffer) => (body += chunk.toString()))
      request.on('end', () => {
        const seen = { method: request.method, path: request.url, headers: request.headers, body }
        const reply = this.replies[Math.min(this.seen.length, this.replies.length - 1)]
        this.seen.push(seen)
        reply?.(response, seen)
      })
    })
  }

  static async start(): Promise<Service> {
    const service = new Service()
    await new Promise<void>((resolve) => service.#server.listen(0, '127.0.0.1', resolve))
    return service
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/internal/cluster`
  }

  answers(...replies: readonly Reply[]): void {
    this.replies = replies
    this.seen.length = 0
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}

const maxBodyBytes = 1024 * 1024

class HttpFailure extends Error {
  constructor(readonly code: string) {
    super(code)
  }
}

async function exchange(method: string, request: HttpRequest, body?: string): Promise<HttpResponse> {
  const timeout = AbortSignal.timeout(request.timeoutMs)
  try {
    const response = await fetch(request.url, {
      method,
      redirect: 'manual',
      signal: request.signal === undefined ? timeout : AbortSignal.any([timeout, request.signal]),
      ...(request.headers === undefined ? {} : { headers: request.headers }),
      ...(body === undefined ? {} : { body }),
    })
    const text = await response.text()
    if (text.length > maxBodyBytes) throw new HttpFailure('http-body-too-large')
    return { status: response.status, headers: Object.fromEntries(response.headers), body: text }
  } catch (error) {
    request.signal?.throwIfAborted()
    if (error instanceof HttpFailure) throw error
    if (timeout.aborted) throw new HttpFailure('ETIMEDOUT')
    const { cause } = error as { cause?: { code?: string } }
    throw new HttpFailure(cause?.code ?? 'http-failed')
  }
}

/** The codes of its errors are those of the program's client. */
export const httpClients: ClientFactories = {
  http: () => {
    const read = { get: (request: HttpRequest) => exchange('GET', request) }
    const write = {
      ...read,
      post: (request: HttpRequest & { readonly body: string }) => exchange('POST', request, request.body),
      send: (request: HttpRequest & { readonly method: string; readonly body?: string }) =>
        exchange(request.method, request, request.body),
    }
    return Promise.resolve({ read, write, close: () => Promise.resolve() })
  },
}
