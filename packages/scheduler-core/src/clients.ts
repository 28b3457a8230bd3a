/**
 * Clients for what is not PostgreSQL. Packages that bring one add their kind here by declaration merging:
 *
 * ```ts
 * declare module '@battlescope/scheduler-core' {
 *   interface ClientTypes { store: { read: StoreReader; write: Store } }
 * }
 * ```
 */
export interface ClientTypes {
  http: { read: HttpReader; write: HttpClient }
}

export type ClientKind = keyof ClientTypes & string
export type ReadClient<K extends ClientKind> = ClientTypes[K]['read']
export type WriteClient<K extends ClientKind> = ClientTypes[K]['write']

/** How the program hands clients to tasks: made at first use, closed at the end of the run. */
export type ClientFactories = {
  readonly [K in ClientKind]?: () => Promise<{
    readonly read: ReadClient<K>
    readonly write: WriteClient<K>
    close(): Promise<void>
  }>
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
}

/** GET and HEAD alone. */
export interface HttpReader {
  get(request: HttpRequest): Promise<HttpResponse>
}

export interface HttpClient extends HttpReader {
  post(request: HttpRequest & { readonly body: string }): Promise<HttpResponse>
}
