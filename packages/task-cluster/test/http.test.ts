import { battlescopeDdl } from '@battlescope/database/battlescope-ddl'
import { createTestDatabase, type TestDatabase } from '@battlescope/scheduler-testing'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { cluster } from '../src/index.js'
import { insertKillmails } from './database.js'
import { logged, metricsOf, run, watchers } from './run.js'
import { Service, status, type Reply } from './service.js'

let service: Service
let database: TestDatabase
beforeAll(async () => {
  service = await Service.start()
  database = await createTestDatabase({ template: { name: 'battlescope', build: battlescopeDdl } })
  await insertKillmails(database, 91, 100)
})
afterAll(async () => {
  await service.stop()
  await database.drop()
})
beforeEach(async () => {
  logged.length = 0
  service.answers(status(202))
  await database.query('DROP SCHEMA IF EXISTS scheduler CASCADE')
})

const http = (given: object = {}) => ({ trigger: 'http', url: service.url, retryPause: 1, ...given })
const trail = () => database.query('SELECT kind, target, via, result, error_code FROM scheduler.action ORDER BY id')

describe('the trigger by HTTP', () => {
  const hang: Reply = () => undefined
  const hangUp: Reply = (response) => response.socket?.destroy()
  const big: Reply = (response) => response.writeHead(200).end('x'.repeat(1024 * 1024 + 1))
  const begin: Reply = (response) => response.writeHead(200).write('begun')
  const busy = (retryAfter: string) => status(429, { 'retry-after': retryAfter })
  const unanswered = { findings: ['no-answer'], recorded: 'http-no-answer', config: { requestTimeout: 200 } }
  interface Case {
    readonly name: string
    readonly replies: readonly Reply[]
    /** Requests that the service gets. Default: 1. */
    readonly requests?: number
    /** Default: a success. */
    readonly fails?: string
    /** Default: none. */
    readonly findings?: readonly string[]
    /** The code in the audit trail, of a success that was none of the trigger's. */
    readonly recorded?: string
    readonly config?: object
  }
  const cases: readonly Case[] = [
    { name: '200', replies: [status(200, {}, 'ok')] },
    { name: '202', replies: [status(202)] },
    { name: '204', replies: [status(204)] },
    { name: '409', replies: [status(409)] },
    { name: '404', replies: [status(404)], findings: ['no-endpoint'], recorded: 'http-404' },
    { name: '405', replies: [status(405)], findings: ['no-endpoint'], recorded: 'http-405' },
    { name: '400', replies: [status(400)], fails: 'http-400' },
    { name: '401', replies: [status(401)], fails: 'http-401' },
    { name: '403', replies: [status(403)], fails: 'http-403' },
    { name: '500', replies: [status(500)], fails: 'http-500' },
    { name: 'a redirect', replies: [status(302, { location: '/login' })], fails: 'http-302' },
    { name: '503, then 200', replies: [status(503), status(200)], requests: 2 },
    { name: '502, 502, then 409', replies: [status(502), status(502), status(409)], requests: 3 },
    { name: '503 to the end', replies: [status(503)], requests: 4, fails: 'http-503' },
    { name: '503 without retries', replies: [status(503)], fails: 'http-503', config: { retries: 0 } },
    { name: '504, then 202', replies: [status(504), status(202)], requests: 2 },
    { name: '504 to the end', replies: [status(504)], requests: 4, findings: ['no-answer'], recorded: 'http-504' },
    { name: '429, Retry-After: 0', replies: [busy('0'), status(202)], requests: 2 },
    { name: '429, a past date', replies: [busy('Sun, 06 Nov 1994 08:49:37 GMT'), status(202)], requests: 2 },
    { name: '429, nonsense', replies: [busy('soon'), status(202)], requests: 2 },
    { name: '429, an hour', replies: [busy('3600')], fails: 'http-429' },
    { name: '429, a far date', replies: [busy('Wed, 01 Jan 2098 00:00:00 GMT')], fails: 'http-429' },
    { name: 'no answer', replies: [hang], ...unanswered },
    { name: 'a body without end', replies: [begin], ...unanswered },
    { name: 'a huge body', replies: [big], fails: 'http-body-too-large' },
    { name: 'a hang-up, then 202', replies: [hangUp, status(202)], requests: 2 },
    { name: 'a hang-up to the end', replies: [hangUp], requests: 4, fails: 'http-unreachable' },
  ]

  it.each(cases)('$name', async ({ replies, requests = 1, fails, findings = [], recorded, config }) => {
    service.answers(...replies)
    const secrets = { url: `${service.url}?key=QuErYkEy`, token: 'ToKeN-SeCrEt' }
    const ended = await run(database, http({ ...secrets, ...config }))
    expect(ended.outcome).toBe(fails === undefined ? 'succeeded' : 'failed')
    expect(ended.errorCode).toBe(fails)
    expect(ended.findings.map(({ key }) => key)).toEqual(findings)
    expect(service.seen).toHaveLength(requests)
    expect(ended.attempts).toBe(1)

    // The audit trail says what became of it, and where.
    const errorCode = fails ?? recorded ?? null
    const action = { kind: 'trigger-clustering', target: service.url, via: 'http' }
    expect(await trail()).toEqual([
      { ...action, result: 'started', error_code: null },
      { ...action, result: errorCode === null ? 'succeeded' : 'failed', error_code: errorCode },
    ])

    // Every attempt is the same request.
    const [newest] = await database.query<{ slot_id: string }>('SELECT slot_id FROM scheduler.task_run')
    expect(new Set(service.seen.map(({ body }) => body)).size).toBe(1)
    for (const { method, path, headers, body } of service.seen) {
      expect({ method, path }).toEqual({ method: 'POST', path: '/internal/cluster?key=QuErYkEy' })
      expect(headers).toMatchObject({
        authorization: 'Bearer ToKeN-SeCrEt',
        'content-type': 'application/json',
        'idempotency-key': newest?.slot_id,
      })
      expect(JSON.parse(body)).toMatchObject({ version: 1, slotId: newest?.slot_id, backlog: 10 })
    }

    // No secret is written anywhere.
    const everything = await database.query(`
      SELECT to_jsonb(r) FROM scheduler.task_run r UNION ALL SELECT to_jsonb(a) FROM scheduler.action a
      UNION ALL SELECT to_jsonb(m) FROM scheduler.task_metric m UNION ALL SELECT to_jsonb(n) FROM scheduler.run n
      UNION ALL SELECT to_jsonb(c) FROM scheduler.checkpoint c`)
    for (const place of [everything, logged, ended]) {
      expect(JSON.stringify(place)).not.toMatch(/ToKeN-SeCrEt|QuErYkEy/)
    }
    expect(logged.length).toBeGreaterThan(0)
  })

  it('waits as long as Retry-After says', async () => {
    service.answers(status(503, { 'retry-after': '1' }), status(202))
    await run(database, http())
    expect(logged).toContainEqual(expect.objectContaining({ event: 'trigger-retry', code: 'http-503', pauseMs: 1000 }))
  })

  it('refused connections are tried again, and fail with a hint', async () => {
    const gone = await Service.start()
    const { url } = gone
    await gone.stop()
    const ended = await run(database, http({ url }))
    expect(ended).toMatchObject({ outcome: 'failed', errorCode: 'http-unreachable', attempts: 1 })
    expect(ended.reason).toContain('see cluster.url (ECONNREFUSED); 4 attempts')
    expect(await metricsOf(database)).toMatchObject({ 'triggers.refused': 1, backlog: 10 })
  })

  it('a service without TLS behind https is told apart', async () => {
    const ended = await run(database, http({ url: service.url.replace('http:', 'https:') }))
    expect(ended).toMatchObject({ outcome: 'failed', errorCode: 'http-tls' })
  })

  it('a token that is not known fails with a hint', async () => {
    service.answers(status(401, {}, 'no'))
    expect((await run(database, http())).reason).toBe(
      'the service answered 401: it does not know the token; see cluster.token',
    )
    expect(service.seen[0]?.headers.authorization).toBeUndefined()
  })

  it('carries the trace on', async () => {
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
    const traced: typeof cluster = { ...cluster, run: (context) => cluster.run({ ...context, traceparent }) }
    await run(database, http(), { task: traced })
    expect(service.seen[0]?.headers['traceparent']).toBe(traceparent)
    expect(JSON.parse(service.seen[0]!.body)).toMatchObject({ traceparent })
  })

  it('is only listed in a dry run', async () => {
    const ended = await run(database, http(), { dryRun: true })
    expect(ended).toMatchObject({
      outcome: 'succeeded',
      actions: [{ kind: 'trigger-clustering', target: service.url, via: 'http' }],
    })
    expect(service.seen).toEqual([])
  })

  it('fails where there is no client', async () => {
    expect(await run(database, http(), { clients: {} })).toMatchObject({
      outcome: 'failed',
      errorCode: 'client-unavailable',
    })
  })

  it('is over at the hard stop, and nobody takes that for an answer', async () => {
    const hardStop = new AbortController()
    service.answers(() => hardStop.abort('stopped by the test'))
    const ended = await run(database, http(), { hardStop: hardStop.signal })
    expect(ended).toMatchObject({ outcome: 'cancelled', abandoned: false, findings: [] })
    expect(await metricsOf(database)).toMatchObject({ 'triggers.no-answer': 0, 'triggers.refused': 0 })
  })

  it('comes to a border at a soft stop, whatever it was asked to wait for', async () => {
    const stop = new AbortController()
    service.answers(status(503, { 'retry-after': '20' }))
    const stopAtPause = (fields: { event?: string }) => {
      if (fields.event === 'trigger-retry') stop.abort('SIGTERM')
    }
    watchers.add(stopAtPause)
    const ended = await run(database, http(), { stop: stop.signal })
    watchers.delete(stopAtPause)
    expect(ended).toMatchObject({ outcome: 'partial', remaining: 10 })
    expect(service.seen).toHaveLength(1)
  })

  it('is asked again in the next run, with another key', async () => {
    await run(database, http())
    await run(database, http())
    const keys = service.seen.map(({ headers }) => headers['idempotency-key'])
    expect(new Set(keys).size).toBe(2)
  })
})
