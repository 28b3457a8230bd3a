/** Traces of the built program, sent to a collector of the test's own. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createTestDatabase, type TestDatabase } from '@battlescope/postgres-testing'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { battlescope, records } from './support.js'

interface Collector {
  readonly url: string
  readonly requests: { readonly path: string; readonly contentType: string | undefined; readonly body: string }[]
  close(): Promise<void>
}

async function startCollector(
  answer: (response: ServerResponse) => void = (response) => response.end('{}'),
): Promise<Collector> {
  const requests: Collector['requests'] = []
  const server = createServer((request: IncomingMessage, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const body = Buffer.concat(chunks).toString()
      requests.push({ path: request.url ?? '', contentType: request.headers['content-type'], body })
      answer(response)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    close: async () => {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

interface Span {
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId?: string
  readonly name: string
  readonly attributes: readonly { readonly key: string; readonly value: object }[]
}
interface Batch {
  readonly resourceSpans: readonly {
    readonly resource: {
      readonly attributes: readonly { readonly key: string; readonly value: { stringValue?: string } }[]
    }
    readonly scopeSpans: readonly { readonly spans: readonly Span[] }[]
  }[]
}

const batches = ({ requests }: Collector) => requests.map(({ body }) => JSON.parse(body) as Batch)
const spans = (collector: Collector) =>
  batches(collector).flatMap(({ resourceSpans }) =>
    resourceSpans.flatMap(({ scopeSpans }) => scopeSpans.flatMap((scope) => scope.spans)),
  )
const serviceName = (collector: Collector) =>
  batches(collector)[0]?.resourceSpans[0]?.resource.attributes.find(({ key }) => key === 'service.name')?.value
    .stringValue

let database: TestDatabase
const collectors: Collector[] = []
beforeEach(async () => {
  database = await createTestDatabase()
  await database.query('CREATE TABLE public.battles AS SELECT generate_series(1, 700) AS id')
})
afterEach(async () => {
  for (const collector of collectors.splice(0)) await collector.close()
  await database.drop()
})
async function collect(answer?: (response: ServerResponse) => void): Promise<Collector> {
  const collector = await startCollector(answer)
  collectors.push(collector)
  return collector
}
const asJson = (collector: Collector) => ({
  DATABASE_URL: database.url,
  OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
  OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json',
})

describe('traces', () => {
  it('hold the run and its tasks; logs and history carry their ids', async () => {
    const collector = await collect()
    const { exitCode, stdout } = await battlescope([], asJson(collector))
    expect(exitCode).toBe(0)
    const sent = spans(collector)
    expect(sent.map(({ name }) => name).sort()).toEqual(['scheduler run', 'task analyze'])
    const run = sent.find(({ name }) => name === 'scheduler run')
    const task = sent.find(({ name }) => name === 'task analyze')
    expect(run?.parentSpanId ?? '').toBe('')
    expect(task).toMatchObject({ traceId: run?.traceId, parentSpanId: run?.spanId })
    expect(task?.attributes).toContainEqual({ key: 'scheduler.outcome', value: { stringValue: 'succeeded' } })
    expect(serviceName(collector)).toBe('battlescope-scheduler')
    const log = records(stdout)
    expect(log.length).toBeGreaterThan(2)
    for (const line of log.filter(({ event }) => event !== 'run-ended')) expect(line['trace_id']).toBe(run?.traceId)
    expect(log.find(({ event }) => event === 'task-started')?.['span_id']).toBe(task?.spanId)
    expect(await database.query('SELECT trace_id FROM scheduler.task_run')).toEqual([{ trace_id: run?.traceId }])
    expect(await database.query('SELECT trace_id FROM scheduler.run')).toEqual([{ trace_id: run?.traceId }])
  })

  it('continue the trace of whoever started the process, under the name that it chose', async () => {
    const collector = await collect()
    const traceId = '0af7651916cd43dd8448eb211c80319c'
    await battlescope([], {
      ...asJson(collector),
      TRACEPARENT: `00-${traceId}-b7ad6b7169203331-01`,
      OTEL_SERVICE_NAME: 'upkeep',
    })
    expect(spans(collector).find(({ name }) => name === 'scheduler run')).toMatchObject({
      traceId,
      parentSpanId: 'b7ad6b7169203331',
    })
    expect(serviceName(collector)).toBe('upkeep')
  })

  it('go out as protobuf unless JSON is asked for', async () => {
    const collector = await collect()
    await battlescope([], { DATABASE_URL: database.url, OTEL_EXPORTER_OTLP_ENDPOINT: collector.url })
    expect(collector.requests).toMatchObject([{ path: '/v1/traces', contentType: 'application/x-protobuf' }])
  })

  it('hold no secret', async () => {
    const collector = await collect()
    const { password } = new URL(database.url)
    await battlescope([], { ...asJson(collector), SCHEDULER_ANALYZE_RELATIONS: 'public.absent' })
    expect(collector.requests.length).toBeGreaterThan(0)
    for (const { body } of collector.requests) expect(body).not.toContain(password)
  })
})

describe('a collector', () => {
  it.each([
    ['refuses', undefined],
    ['answers 503', (response: ServerResponse) => response.writeHead(503).end()],
    ['never answers', () => undefined],
  ])('that %s changes neither exit code nor output', { timeout: 90_000 }, async (_what, answer) => {
    const collector = await collect(answer)
    if (answer === undefined) await collector.close()
    const { exitCode, stdout, stderr } = await battlescope([], asJson(collector))
    expect(exitCode).toBe(0)
    expect(stderr).toBe('')
    expect(records(stdout).map(({ event }) => event)).toContain('run-ended')
  })
})

describe('without telemetry', () => {
  it.each([
    ['no endpoint', {}],
    ['OTEL_SDK_DISABLED', { OTEL_SDK_DISABLED: 'true' }],
    ['OTEL_TRACES_EXPORTER=none', { OTEL_TRACES_EXPORTER: 'none' }],
  ])('(%s) nothing is sent, and logs have no ids', async (name, variables) => {
    const collector = await collect()
    const { OTEL_EXPORTER_OTLP_ENDPOINT: endpoint, ...rest } = asJson(collector)
    const environment = name === 'no endpoint' ? rest : { ...rest, OTEL_EXPORTER_OTLP_ENDPOINT: endpoint, ...variables }
    const { exitCode, stdout } = await battlescope([], environment)
    expect(exitCode).toBe(0)
    expect(collector.requests).toEqual([])
    for (const line of records(stdout)) expect(line).not.toHaveProperty('trace_id')
  })

  it('a protocol that is not in this build is one warning, and the run goes on', async () => {
    const collector = await collect()
    const { exitCode, stderr } = await battlescope([], { ...asJson(collector), OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' })
    expect(exitCode).toBe(0)
    expect(records(stderr)).toMatchObject([
      { level: 'warn', event: 'telemetry-off', hint: expect.any(String) as string },
    ])
  })
})
