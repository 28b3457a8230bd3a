/** HTTP for tasks, over Node's own fetch; through a proxy over that of undici. Nothing of either is evaluated before the first exchange. */
import type { HttpClient, HttpReader, HttpRequest, HttpResponse } from '@battlescope/scheduler-core'
import type { Proxies } from './proxies.js'

/** Bytes of a response's body: answers of health endpoints and APIs are small, and the process has 64 MiB. */
const maxBodyBytes = 1024 * 1024

/** An exchange that brought no response. `code` is Node's own where it has one (`ECONNREFUSED`), else one of ours. */
class HttpError extends Error {
  override readonly name = 'HttpError'
  readonly code: string
  constructor(code: string, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause })
    this.code = code
  }
}

/**
 * Clients of one task. Any status is a response, redirects too (they are not followed: headers would go where nobody sent them).
 * Exchanges reject with {@link HttpError}: `http-invalid-url`, `http-body-too-large`, `ETIMEDOUT`, or the network's code
 * (`http-failed` without one); aborted ones with the reason of the signal.
 */
export async function httpClientFactory(proxies?: Proxies): Promise<{
  readonly read: HttpReader
  readonly write: HttpClient
  close(): Promise<void>
}> {
  const closing = new AbortController()
  let proxied: Promise<Fetching> | undefined
  const fetching = () => (proxies === undefined ? direct : (proxied ??= fetchingThrough(proxies)))
  const exchange = async (method: Method, request: HttpRequest, body?: string) =>
    exchangeOver(await fetching(), method, request, body, closing.signal)
  const get = (request: HttpRequest) => exchange('GET', request)
  return {
    read: { get },
    write: {
      get,
      post: (request) => exchange('POST', request, request.body),
      send: (request) => exchange(request.method, request, request.body),
    },
    close: async () => {
      closing.abort(new HttpError('http-closed', 'the run of the task ended before the exchange did'))
      await (await proxied)?.close()
    },
  }
}

type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'

export interface Fetching {
  readonly fetch: typeof globalThis.fetch
  close(): Promise<void>
}

const direct: Fetching = { fetch: (...parameters) => fetch(...parameters), close: () => Promise.resolve() }

async function fetchingThrough(proxies: Proxies): Promise<Fetching> {
  return (await import('./proxied-fetch.js')).fetchingThrough(proxies)
}

async function exchangeOver(
  { fetch }: Fetching,
  method: Method,
  request: HttpRequest,
  body: string | undefined,
  closing: AbortSignal,
): Promise<HttpResponse> {
  const where = `${method} ${shown(request.url)}`
  const timeout = new AbortController()
  const timer = setTimeout(() => {
    timeout.abort(new HttpError('ETIMEDOUT', `${where}: no complete response within ${request.timeoutMs} ms`))
  }, request.timeoutMs)
  const signals = [timeout.signal, closing, ...(request.signal === undefined ? [] : [request.signal])]
  const signal = AbortSignal.any(signals)
  try {
    const response = await fetch(request.url, {
      method,
      redirect: 'manual',
      signal,
      ...(request.headers === undefined ? {} : { headers: request.headers }),
      ...(body === undefined ? {} : { body }),
    })
    return {
      status: response.status,
      headers: Object.fromEntries(response.headers),
      body: await readBounded(response, where),
    }
  } catch (error) {
    signal.throwIfAborted()
    if (error instanceof HttpError) throw error
    throw networkError(error, where)
  } finally {
    clearTimeout(timer)
  }
}

async function readBounded(response: Response, where: string): Promise<string> {
  if (response.body === null) return ''
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of response.body as AsyncIterable<Uint8Array>) {
    size += chunk.byteLength
    // Leaving the loop cancels the stream, and with it the exchange.
    if (size > maxBodyBytes) {
      throw new HttpError('http-body-too-large', `${where}: the response is larger than ${maxBodyBytes} bytes`)
    }
    chunks.push(chunk)
  }
  return new TextDecoder().decode(Buffer.concat(chunks))
}

/** fetch says "fetch failed"; what failed is its cause. */
function networkError(error: unknown, where: string): HttpError {
  const cause = (error as { cause?: unknown } | undefined)?.cause as { code?: unknown; message?: unknown } | undefined
  if (typeof cause?.code === 'string' && cause.code !== 'ERR_INVALID_URL') {
    return new HttpError(cause.code, `${where}: ${cause.code}`, error)
  }
  const detail = typeof cause?.message === 'string' ? cause.message : error instanceof Error ? error.message : ''
  const code =
    cause?.code === 'ERR_INVALID_URL' || !/^https?:/.test(where.split(' ')[1] ?? '')
      ? 'http-invalid-url'
      : 'http-failed'
  return new HttpError(code, `${where}: ${code === 'http-failed' ? detail : 'not a URL that can be fetched'}`, error)
}

/** Without credentials and query, where secrets travel. */
function shown(url: string): string {
  try {
    const { protocol, host, pathname } = new URL(url)
    return `${protocol}//${host}${pathname}`
  } catch {
    return '(invalid URL)'
  }
}
