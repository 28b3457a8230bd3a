/** Traces of the built program, sent to a collector of the test's own. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { gunzipSync } from 'node:zlib'
import { createTestDatabase, type TestDatabase } from '@battlescope/postgres-testing'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { standardVariables } from '../src/telemetry/standard-variables.js'
import { battlescope, records } from './support.js'

interface Collector {
  readonly url: string
  readonly requests: {
    readonly path: string
    readonly contentType: string | undefined
    readonly headers: IncomingMessage['headers']
    readonly body: string
  }[]
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
      const { headers } = request
      const bytes = Buffer.concat(chunks)
      const body = (headers['content-encoding'] === 'gzip' ? gunzipSync(bytes) : bytes).toString()
      requests.push({ path: request.url ?? '', contentType: headers['content-type'], headers, body })
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

describe('each documented variable of OpenTelemetry', () => {
  const run = async (variables: Record<string, string>, answer?: (response: ServerResponse) => void) => {
    const collector = await collect(answer)
    const { exitCode } = await battlescope([], { ...asJson(collector), ...variables })
    expect(exitCode).toBe(0)
    return collector
  }
  const header = (collector: Collector, name: string) => collector.requests[0]?.headers[name]
  const attribute = (collector: Collector, name: string) =>
    batches(collector)[0]?.resourceSpans[0]?.resource.attributes.find(({ key }) => key === name)?.value.stringValue
  const otherCollector = async (variable: string, path: string) => {
    const [wanted, other] = [await collect(), await collect()]
    await battlescope([], { ...asJson(other), [variable]: `${wanted.url}${path}` })
    return { wanted, other }
  }
  /** An export that is refused is tried again after about a second, if its time allows it. */
  const attemptsWithin = async (variables: Record<string, string>) =>
    (await run(variables, (response) => response.writeHead(503).end())).requests.length

  const tests: Readonly<Record<string, () => Promise<void>>> = {
    OTEL_EXPORTER_OTLP_ENDPOINT: async () => {
      expect((await run({})).requests).toMatchObject([{ path: '/v1/traces' }])
    },
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: async () => {
      const { wanted, other } = await otherCollector('OTEL_EXPORTER_OTLP_TRACES_ENDPOINT', '/elsewhere')
      expect(wanted.requests).toMatchObject([{ path: '/elsewhere' }])
      expect(other.requests).toEqual([])
    },
    OTEL_SDK_DISABLED: async () => {
      expect((await run({ OTEL_SDK_DISABLED: 'true' })).requests).toEqual([])
    },
    OTEL_TRACES_EXPORTER: async () => {
      expect((await run({ OTEL_TRACES_EXPORTER: 'none' })).requests).toEqual([])
      expect((await run({ OTEL_TRACES_EXPORTER: 'otlp' })).requests).toHaveLength(1)
    },
    OTEL_EXPORTER_OTLP_PROTOCOL: async () => {
      const collector = await run({ OTEL_EXPORTER_OTLP_PROTOCOL: 'http/protobuf' })
      expect(collector.requests).toMatchObject([{ contentType: 'application/x-protobuf' }])
    },
    OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: async () => {
      const collector = await run({ OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: 'http/protobuf' })
      expect(collector.requests).toMatchObject([{ contentType: 'application/x-protobuf' }])
    },
    OTEL_EXPORTER_OTLP_HEADERS: async () => {
      expect(header(await run({ OTEL_EXPORTER_OTLP_HEADERS: 'x-tenant=a%20b' }), 'x-tenant')).toBe('a b')
    },
    OTEL_EXPORTER_OTLP_TRACES_HEADERS: async () => {
      const variables = { OTEL_EXPORTER_OTLP_HEADERS: 'x-tenant=a', OTEL_EXPORTER_OTLP_TRACES_HEADERS: 'x-tenant=b' }
      expect(header(await run(variables), 'x-tenant')).toBe('b')
    },
    OTEL_EXPORTER_OTLP_COMPRESSION: async () => {
      const collector = await run({ OTEL_EXPORTER_OTLP_COMPRESSION: 'gzip' })
      expect(header(collector, 'content-encoding')).toBe('gzip')
      expect(spans(collector).length).toBeGreaterThan(0)
    },
    OTEL_EXPORTER_OTLP_TRACES_COMPRESSION: async () => {
      expect(header(await run({ OTEL_EXPORTER_OTLP_TRACES_COMPRESSION: 'gzip' }), 'content-encoding')).toBe('gzip')
    },
    OTEL_EXPORTER_OTLP_TIMEOUT: async () => {
      expect(await attemptsWithin({ OTEL_EXPORTER_OTLP_TIMEOUT: '500' })).toBe(1)
      expect(await attemptsWithin({})).toBeGreaterThan(1)
    },
    OTEL_EXPORTER_OTLP_TRACES_TIMEOUT: async () => {
      expect(await attemptsWithin({ OTEL_EXPORTER_OTLP_TRACES_TIMEOUT: '500' })).toBe(1)
    },
    OTEL_SERVICE_NAME: async () => {
      expect(serviceName(await run({ OTEL_SERVICE_NAME: 'upkeep' }))).toBe('upkeep')
    },
    OTEL_RESOURCE_ATTRIBUTES: async () => {
      const variables = { OTEL_RESOURCE_ATTRIBUTES: 'deployment.environment=a%20b,service.name=other' }
      const collector = await run(variables)
      expect(attribute(collector, 'deployment.environment')).toBe('a b')
      expect(serviceName(collector)).toBe('other')
    },
    OTEL_TRACES_SAMPLER: async () => {
      expect((await run({ OTEL_TRACES_SAMPLER: 'always_off' })).requests).toEqual([])
    },
    OTEL_TRACES_SAMPLER_ARG: async () => {
      const none = await run({ OTEL_TRACES_SAMPLER: 'traceidratio', OTEL_TRACES_SAMPLER_ARG: '0' })
      expect(none.requests).toEqual([])
      const all = await run({ OTEL_TRACES_SAMPLER: 'traceidratio', OTEL_TRACES_SAMPLER_ARG: '1' })
      expect(all.requests).toHaveLength(1)
    },
    TRACEPARENT: async () => {
      const traceId = '0af7651916cd43dd8448eb211c80319c'
      const collector = await run({ TRACEPARENT: `00-${traceId}-b7ad6b7169203331-01` })
      expect(new Set(spans(collector).map((span) => span.traceId))).toEqual(new Set([traceId]))
    },
  }

  it('has a test', () => {
    expect(standardVariables.map(({ name }) => name).sort()).toEqual(Object.keys(tests).sort())
  })

  it.each(Object.entries(tests))('%s works', async (_name, test) => {
    await test()
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
