/**
 * HTTP for tasks, over Node's own fetch; through a proxy over that of undici, and over node:https where authorities are named. Nothing of
 * them is evaluated before the first exchange.
 */
import type { IncomingMessage } from 'node:http'
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
    const whole = { fetch, method, body, where, signal }
    return await (request.caCertificate === undefined
      ? fetched(request, whole)
      : exchangeTrusting(request.caCertificate, request, whole))
  } catch (error) {
    signal.throwIfAborted()
    if (error instanceof HttpError) throw error
    throw networkError(error, where)
  } finally {
    clearTimeout(timer)
  }
}

interface Exchange {
  readonly fetch: Fetching['fetch']
  readonly method: string
  readonly body: string | undefined
  readonly where: string
  readonly signal: AbortSignal
}

async function fetched(request: HttpRequest, { fetch, method, body, where, signal }: Exchange): Promise<HttpResponse> {
  const response = await fetch(request.url, {
    method,
    redirect: 'manual',
    signal,
    ...(request.headers === undefined ? {} : { headers: request.headers }),
    ...(body === undefined ? {} : { body }),
  })
  const chunks = response.body as AsyncIterable<Uint8Array> | null
  return {
    status: response.status,
    headers: Object.fromEntries(response.headers),
    body: chunks === null ? '' : await readBounded(chunks, where),
  }
}

/** fetch has no way to name authorities: an API server has one of its own, which Node knows nothing of. It is in the cluster: no proxy. */
async function exchangeTrusting(
  caCertificate: string,
  { url, headers }: HttpRequest,
  { method, body, where, signal }: Exchange,
): Promise<HttpResponse> {
  if (!URL.canParse(url) || new URL(url).protocol !== 'https:') {
    throw new HttpError('http-invalid-url', `${where}: authorities were named, and this is no https:// URL`)
  }
  const { request } = await import('node:https')
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    // A connection of its own: one that stays open would hold up the end of the process.
    const sent = request(url, {
      method,
      ca: caCertificate,
      agent: false,
      signal,
      headers: { ...headers, ...(body === undefined ? {} : { 'content-length': Buffer.byteLength(body) }) },
    })
    sent.once('response', resolve)
    sent.once('error', reject)
    sent.end(body)
  })
  return {
    status: response.statusCode ?? 0,
    headers: Object.fromEntries(
      Object.entries(response.headers).flatMap(([name, value]) =>
        value === undefined ? [] : [[name, Array.isArray(value) ? value.join(', ') : value] as const],
      ),
    ),
    body: await readBounded(response, where),
  }
}

async function readBounded(body: AsyncIterable<Uint8Array>, where: string): Promise<string> {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of body) {
    size += chunk.byteLength
    // Leaving the loop cancels the stream, and with it the exchange.
    if (size > maxBodyBytes) {
      throw new HttpError('http-body-too-large', `${where}: the response is larger than ${maxBodyBytes} bytes`)
    }
    chunks.push(chunk)
  }
  return new TextDecoder().decode(Buffer.concat(chunks))
}

/** fetch says "fetch failed"; what failed is its cause. node:https says it itself. */
function networkError(error: unknown, where: string): HttpError {
  const own = error as { cause?: unknown; code?: unknown } | undefined
  const cause = (typeof own?.code === 'string' ? own : own?.cause) as { code?: unknown; message?: unknown } | undefined
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
