/** What an answer of the service means, or that there was none, and whether to ask again. Pure. */
import type { ClusterConfig } from './config.js'

/** What one request came to: a status, or the code of the error in its place. */
export type Answer =
  | { readonly status: number; readonly retryAfterMs: number | undefined }
  | { readonly status?: undefined; readonly errorCode: string }

/**
 * - `accepted`: it works, or has worked.
 * - `running`: it works already, for an earlier trigger.
 * - `not-offered`: this version of the service has no such endpoint.
 * - `no-answer`: nobody knows whether it works.
 * - `refused`: it does not, and a human should know.
 * - `stopped`: the run is to end before the service is asked again.
 */
export const verdicts = ['accepted', 'running', 'not-offered', 'no-answer', 'refused', 'stopped'] as const
export type Verdict = (typeof verdicts)[number]

export interface Judgement {
  readonly verdict: Verdict
  /** May be otherwise a moment later. */
  readonly retryable: boolean
  /** For history and audit trail: `http-503`, `http-unreachable`. */
  readonly code: string
  /** What happened, and what to do about it. */
  readonly summary: string
}

/** Errors of a connection that a restart of the service, or of the name service, brings along. */
const transient = new Set(['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH'])
/** Undici's: the other side hung up; no connection within its own ten seconds. */
const transientOfFetch = new Set(['UND_ERR_SOCKET', 'UND_ERR_CONNECT_TIMEOUT'])
const ofCertificates = /CERT|SIGNATURE|^ERR_(TLS|SSL)_|^EPROTO$/

export function judge(answer: Answer): Judgement {
  return answer.status === undefined ? judgeError(answer.errorCode) : judgeStatus(answer.status)
}

function judgeStatus(status: number): Judgement {
  const code = `http-${status}`
  const judgement = (verdict: Verdict, summary: string, retryable = false): Judgement => ({
    verdict,
    retryable,
    code,
    summary: `the service answered ${status}: ${summary}`,
  })
  if (status >= 200 && status < 300) return judgement('accepted', 'it clusters')
  switch (status) {
    case 409:
      return judgement('running', 'it clusters already')
    case 404:
    case 405:
    case 501:
      return judgement('not-offered', 'it offers no trigger here; cluster.url may be wrong, or the service too old')
    case 504:
      // A gateway's timeout is one: the service behind it may well be at work.
      return judgement('no-answer', 'a gateway before it gave up waiting', true)
    case 429:
      return judgement('refused', 'too many requests', true)
    case 502:
    case 503:
      return judgement('refused', 'it is not available', true)
    case 401:
      return judgement('refused', 'it does not know the token; see cluster.token')
    case 403:
      return judgement('refused', 'the token may not trigger clustering; see cluster.token')
  }
  if (status >= 300 && status < 400) {
    return judgement(
      'refused',
      'redirects are not followed, the token would go along; put the last address into cluster.url',
    )
  }
  if (status >= 500) return judgement('refused', 'it failed; its log says why')
  return judgement('refused', 'it does not understand the request; the README of this task has the contract')
}

function judgeError(errorCode: string): Judgement {
  if (errorCode === 'ETIMEDOUT') {
    const summary = 'the service did not answer in time'
    return { verdict: 'no-answer', retryable: false, code: 'http-no-answer', summary }
  }
  const refused = (code: string, summary: string, retryable = false): Judgement => ({
    verdict: 'refused',
    retryable,
    code,
    summary: `${summary} (${errorCode})`,
  })
  if (errorCode === 'http-body-too-large') {
    return refused(errorCode, 'the service answered with a body that is larger than a trigger needs; see cluster.url')
  }
  if (errorCode === 'http-invalid-url') return refused(errorCode, 'cluster.url is no URL that can be fetched')
  if (ofCertificates.test(errorCode)) {
    return refused('http-tls', 'no trusted TLS connection; NODE_EXTRA_CA_CERTS adds a certificate authority')
  }
  const mayPass = transient.has(errorCode) || transientOfFetch.has(errorCode)
  return refused('http-unreachable', 'the service could not be reached; see cluster.url', mayPass)
}

export interface Attempt {
  readonly answer: Answer
  /** From 1 on. */
  readonly number: number
  /** Milliseconds of budget left. */
  readonly remainingMs: number
}

/**
 * Milliseconds to wait before asking again; undefined when this answer is the last. What the service asks for with Retry-After goes
 * before our own pauses, and nothing is waited for that the budget has no room for.
 */
export function pauseBeforeRetry(
  { answer, number, remainingMs }: Attempt,
  { retries, retryPause }: Pick<ClusterConfig, 'retries' | 'retryPause'>,
): number | undefined {
  if (!judge(answer).retryable || number > retries) return undefined
  const asked = answer.status === undefined ? undefined : answer.retryAfterMs
  const pauseMs = asked ?? retryPause * 2 ** (number - 1)
  return pauseMs < remainingMs ? pauseMs : undefined
}
