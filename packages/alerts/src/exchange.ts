/** One HTTP exchange with a provider, and what its answer means for a message. */
import type { Delivery, DeliveryContext, HttpResponse } from '@battlescope/scheduler-core'
import { cut, oneLine } from './text-limits.js'

export interface ProviderRequest {
  readonly method: 'GET' | 'POST' | 'PUT'
  readonly url: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
}

export interface Answer {
  readonly delivery: Exclude<Delivery, { outcome: 'accepted' }>
  /** Absent where none came. */
  readonly response?: HttpResponse
}

/** Takes secrets out of a text. */
export type Mask = (text: string) => string

/** Characters of a provider's own words in a reason. */
const longestReason = 200

/** A provider that asks for more is asked again after a day: whoever repaired it should not have to wait for us. */
const longestWaitMs = 24 * 3_600_000

/**
 * Not the provider's word on the message: too early, too many, timed out on the way, or a proxy that wants to be told who we are. Everything else below 500 is.
 * https://www.rfc-editor.org/rfc/rfc9110#section-15.5
 */
const passing = new Set([407, 408, 425, 429])

/** Never rejects: what fails on the way is to be tried again. */
export async function exchange(context: DeliveryContext, request: ProviderRequest, mask: Mask): Promise<Answer> {
  const { http, signal, timeoutMs } = context
  const { method, url, headers = {}, body } = request
  try {
    const common = { url, headers, timeoutMs, signal }
    const response =
      method === 'GET'
        ? await http.get(common)
        : await http.send({ ...common, method, ...(body === undefined ? {} : { body }) })
    return { delivery: judge(response, context.now, mask), response }
  } catch (error) {
    // Messages of network errors name the URL, which may be a secret: only the code is told.
    const reason = signal.aborted ? 'the run was stopped' : `no answer: ${codeOf(error)}`
    return { delivery: { outcome: 'retry', reason } }
  }
}

function codeOf(error: unknown): string {
  const code = (error as { code?: unknown } | undefined)?.code
  return typeof code === 'string' && /^[A-Za-z0-9_-]{1,60}$/.test(code) ? code : 'network error'
}

/** What a response says about the message it answers. */
function judge({ status, headers, body }: HttpResponse, now: Date, mask: Mask): Answer['delivery'] {
  if (status >= 200 && status < 300) return { outcome: 'delivered' }
  // Masked before it is cut: half a secret would not be recognized.
  const words = cut(oneLine(mask(body)), longestReason)
  const reason = words === '' ? `HTTP ${status}` : `HTTP ${status}: ${words}`
  if (status < 500 && !passing.has(status)) return { outcome: 'refused', reason }
  const afterMs = retryAfterMs(headers, now)
  return { outcome: 'retry', reason, ...(afterMs === undefined ? {} : { afterMs }) }
}

/**
 * Milliseconds to wait, as `Retry-After` says in seconds or as a date; for Opsgenie, whose throttling names a period instead, the whole period.
 * https://www.rfc-editor.org/rfc/rfc9110#field.retry-after, https://docs.opsgenie.com/docs/api-rate-limiting
 */
function retryAfterMs(headers: Readonly<Record<string, string>>, now: Date): number | undefined {
  const text = (headerOf(headers, 'retry-after') ?? headerOf(headers, 'x-ratelimit-period-in-sec'))?.trim()
  if (text === undefined || text === '') return undefined
  const waitMs = /^\d+(\.\d+)?$/.test(text) ? Number(text) * 1000 : Date.parse(text) - now.getTime()
  return Number.isNaN(waitMs) ? undefined : Math.min(longestWaitMs, Math.max(0, Math.ceil(waitMs)))
}

function headerOf(headers: Readonly<Record<string, string>>, name: string): string | undefined {
  return Object.entries(headers).find(([each]) => each.toLowerCase() === name)?.[1]
}

/** The body as a JSON object; undefined for everything else. */
export function jsonObjectOf(response: HttpResponse | undefined): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(response?.body ?? '')
    return value !== null && typeof value === 'object' && !Array.isArray(value)
      ? (value as Readonly<Record<string, unknown>>)
      : undefined
  } catch {
    return undefined
  }
}
