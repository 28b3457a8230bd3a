/**
 * Clients for what is not PostgreSQL. Packages that bring one add their kind here by declaration merging:
 *
 * ```ts
 * declare module '@battlescope/scheduler-core' {
 *   interface ClientTypes { store: { read: StoreReader; write: Store } }
 * }
 * ```
 */
import type { TaskLogger } from './task.js'

export interface ClientTypes {
  http: { read: HttpReader; write: HttpClient }
}

export type ClientKind = keyof ClientTypes & string
export type ReadClient<K extends ClientKind> = ClientTypes[K]['read']
export type WriteClient<K extends ClientKind> = ClientTypes[K]['write']

/** How the program hands clients to tasks: made at first use, closed at the end of the task. Absent: not configured. */
export type ClientFactories = {
  readonly [K in ClientKind]?: (request: ClientRequest) => Promise<OpenClient<K>>
}

export interface OpenClient<K extends ClientKind> {
  readonly read: ReadClient<K>
  readonly write: WriteClient<K>
  close(): Promise<void>
}

/** Who asks for a client. */
export interface ClientRequest {
  readonly task: string
  /** The run's hard stop: whatever the client is doing ends with it. */
  readonly signal: AbortSignal
  readonly logger: TaskLogger
}

export interface HttpResponse {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

export interface HttpRequest {
  readonly url: string
  readonly headers?: Readonly<Record<string, string>>
  /** Milliseconds for the whole exchange. */
  readonly timeoutMs: number
  readonly signal?: AbortSignal
  /** PEM: the only authorities whose certificates this exchange trusts. Without it those that Node trusts. Of `https:` URLs alone. */
  readonly caCertificate?: string
}

export interface HttpReader {
  get(request: HttpRequest): Promise<HttpResponse>
}

export interface HttpClient extends HttpReader {
  post(request: HttpRequest & { readonly body: string }): Promise<HttpResponse>
  send(
    request: HttpRequest & { readonly method: 'POST' | 'PUT' | 'PATCH' | 'DELETE'; readonly body?: string },
  ): Promise<HttpResponse>
}
