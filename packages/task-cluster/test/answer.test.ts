import { describe, expect, it } from 'vitest'
import { judge, pauseBeforeRetry, type Answer } from '../src/answer.js'
import { clusterConfig } from '../src/config.js'

const answered = (status: number, retryAfterMs?: number): Answer => ({ status, retryAfterMs })
const broken = (errorCode: string): Answer => ({ errorCode })

describe('judge', () => {
  it.each([
    [200, 'accepted', false],
    [201, 'accepted', false],
    [202, 'accepted', false],
    [204, 'accepted', false],
    [409, 'running', false],
    [404, 'not-offered', false],
    [405, 'not-offered', false],
    [501, 'not-offered', false],
    [504, 'no-answer', true],
    [429, 'refused', true],
    [502, 'refused', true],
    [503, 'refused', true],
    [301, 'refused', false],
    [307, 'refused', false],
    [400, 'refused', false],
    [401, 'refused', false],
    [403, 'refused', false],
    [422, 'refused', false],
    [500, 'refused', false],
  ])('%i is %s, retryable: %s', (status, verdict, retryable) => {
    expect(judge(answered(status))).toMatchObject({ verdict, retryable, code: `http-${status}` })
  })

  it.each([
    ['ETIMEDOUT', 'no-answer', false, 'http-no-answer'],
    ['ECONNREFUSED', 'refused', true, 'http-unreachable'],
    ['ECONNRESET', 'refused', true, 'http-unreachable'],
    ['UND_ERR_SOCKET', 'refused', true, 'http-unreachable'],
    ['EAI_AGAIN', 'refused', true, 'http-unreachable'],
    ['ENOTFOUND', 'refused', false, 'http-unreachable'],
    ['http-failed', 'refused', false, 'http-unreachable'],
    ['DEPTH_ZERO_SELF_SIGNED_CERT', 'refused', false, 'http-tls'],
    ['CERT_HAS_EXPIRED', 'refused', false, 'http-tls'],
    ['ERR_TLS_CERT_ALTNAME_INVALID', 'refused', false, 'http-tls'],
    ['UNABLE_TO_VERIFY_LEAF_SIGNATURE', 'refused', false, 'http-tls'],
    ['ERR_SSL_WRONG_VERSION_NUMBER', 'refused', false, 'http-tls'],
    ['EPROTO', 'refused', false, 'http-tls'],
    ['http-body-too-large', 'refused', false, 'http-body-too-large'],
    ['http-invalid-url', 'refused', false, 'http-invalid-url'],
  ])('%s is %s, retryable: %s', (errorCode, verdict, retryable, code) => {
    expect(judge(broken(errorCode))).toMatchObject({ verdict, retryable, code })
  })

  it.each([
    [answered(401), 'cluster.token'],
    [answered(403), 'cluster.token'],
    [answered(302), 'cluster.url'],
    [answered(404), 'cluster.url'],
    [broken('ECONNREFUSED'), 'cluster.url'],
    [broken('CERT_HAS_EXPIRED'), 'NODE_EXTRA_CA_CERTS'],
  ])('%j names what to change', (answer, hint) => {
    expect(judge(answer).summary).toContain(hint)
  })
})

describe('pauseBeforeRetry', () => {
  const config = clusterConfig.parse({ retries: 3, retryPause: '1s' })
  const pause = (answer: Answer, number = 1, remainingMs = 20_000) =>
    pauseBeforeRetry({ answer, number, remainingMs }, config)

  it('doubles its own pauses, and ends after the last attempt', () => {
    expect([1, 2, 3, 4].map((number) => pause(answered(503), number))).toEqual([1000, 2000, 4000, undefined])
  })

  it('does as Retry-After says', () => {
    expect(pause(answered(429, 7000))).toBe(7000)
    expect(pause(answered(503, 0))).toBe(0)
    expect(pause(answered(503, 100), 3)).toBe(100)
    expect(pause(answered(503, 100), 4)).toBeUndefined()
  })

  it('waits for nothing that the budget has no room for', () => {
    expect(pause(answered(429, 20_000))).toBeUndefined()
    expect(pause(answered(429, 19_999))).toBe(19_999)
    expect(pause(answered(429, Infinity))).toBeUndefined()
    expect(pause(answered(503), 1, 999)).toBeUndefined()
  })

  it.each([answered(202, 5), answered(409, 5), answered(404), answered(400), answered(500, 5), broken('ETIMEDOUT')])(
    'takes %j as final',
    (answer) => {
      expect(pause(answer)).toBeUndefined()
    },
  )
})
