import type { DeliveryContext, HttpClient, HttpRequest, HttpResponse } from '@battlescope/scheduler-core'

/** Over Node's own fetch, as small as it gets: what the program does beyond that (bounded bodies, codes of errors) it tests itself. */
export const fetchClient: HttpClient = {
  get: (request) => exchange('GET', request),
  post: (request) => exchange('POST', request, request.body),
  send: (request) => exchange(request.method, request, request.body),
}

async function exchange(method: string, request: HttpRequest, body?: string): Promise<HttpResponse> {
  const timeout = AbortSignal.timeout(request.timeoutMs)
  const signal = request.signal === undefined ? timeout : AbortSignal.any([timeout, request.signal])
  try {
    const response = await fetch(request.url, {
      method,
      redirect: 'manual',
      signal,
      ...(request.headers === undefined ? {} : { headers: request.headers }),
      ...(body === undefined ? {} : { body }),
    })
    return { status: response.status, headers: Object.fromEntries(response.headers), body: await response.text() }
  } catch (error) {
    const code = timeout.aborted ? 'ETIMEDOUT' : (error as { cause?: { code?: unknown } }).cause?.code
    // The message names the URL, as that of the program's client does: no channel may repeat it.
    throw Object.assign(new Error(`${method} ${request.url} failed`, { cause: error }), { code })
  }
}

/** What core hands to channels, at an instant of the test's choice. */
export function deliveryContext(now: Date, others: Partial<DeliveryContext> = {}): DeliveryContext {
  return {
    http: fetchClient,
    signal: new AbortController().signal,
    timeoutMs: 10_000,
    now,
    expectedIntervalMs: 300_000,
    ...others,
  }
}
