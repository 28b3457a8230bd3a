/** Traces and metrics of the built program, sent to a collector of the test's own. */
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
  readonly links?: readonly { readonly traceId: string; readonly spanId: string }[]
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

const sentTraces = ({ requests }: Collector) => requests.filter(({ path }) => !path.endsWith('/v1/metrics'))
const sentMetrics = ({ requests }: Collector) => requests.filter(({ path }) => path.endsWith('/v1/metrics'))
const batches = (collector: Collector) => sentTraces(collector).map(({ body }) => JSON.parse(body) as Batch)
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
  // A busy machine makes statements slow.
  SCHEDULER_SLOW_STATEMENT: '1h',
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

  it('link each run to the one before it, where that was traced', async () => {
    const collector = await collect()
    const runOnce = async (environment: Record<string, string>) => {
      expect((await battlescope([], environment)).exitCode).toBe(0)
      return spans(collector).filter(({ name }) => name === 'scheduler run')
    }
    const [first] = await runOnce(asJson(collector))
    expect(first?.links ?? []).toEqual([])
    const [, second] = await runOnce(asJson(collector))
    expect(second?.traceId).not.toBe(first?.traceId)
    expect(second?.links).toMatchObject([{ traceId: first?.traceId, spanId: first?.spanId }])
    await runOnce({ DATABASE_URL: database.url })
    const [, , fourth] = await runOnce(asJson(collector))
    expect(fourth?.links ?? []).toEqual([])
  })

  it('hold slow statements inside what sent them, without their values', async () => {
    // No machine samples that many rows within a millisecond.
    await database.query('INSERT INTO public.battles SELECT generate_series(1, 200000)')
    const collector = await collect()
    const { exitCode } = await battlescope([], { ...asJson(collector), SCHEDULER_SLOW_STATEMENT: '1ms' })
    expect(exitCode).toBe(0)
    const sent = spans(collector)
    const task = sent.find(({ name }) => name === 'task analyze')
    const attributesOf = ({ attributes }: Span) =>
      Object.fromEntries(attributes.map(({ key, value }) => [key, (value as { stringValue?: string }).stringValue]))
    const analyze = sent.find(({ name }) => name === 'ANALYZE')
    expect(analyze).toMatchObject({ traceId: task?.traceId, parentSpanId: task?.spanId })
    expect(attributesOf(analyze as Span)).toMatchObject({
      'db.system.name': 'postgresql',
      'db.operation.name': 'ANALYZE',
      'db.query.text': 'analyze "public"."battles"',
    })
    for (const text of sent.map((span) => attributesOf(span)['db.query.text'] ?? '')) expect(text).not.toMatch(/'/)
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
    const contentType = 'application/x-protobuf'
    expect(sentTraces(collector)).toMatchObject([{ path: '/v1/traces', contentType }])
    expect(sentMetrics(collector)).toMatchObject([{ path: '/v1/metrics', contentType }])
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
  type Answer = (response: ServerResponse) => void
  const run = async (variables: Record<string, string>, answer?: Answer) => {
    const collector = await collect(answer)
    const { exitCode } = await battlescope([], { ...asJson(collector), ...variables })
    expect(exitCode).toBe(0)
    return collector
  }
  const otherCollector = async (variable: string, path: string) => {
    const [wanted, other] = [await collect(), await collect()]
    await battlescope([], { ...asJson(other), [variable]: `${wanted.url}${path}` })
    return { wanted: wanted.requests, other: other.requests }
  }
  const attribute = (collector: Collector, name: string) =>
    batches(collector)[0]?.resourceSpans[0]?.resource.attributes.find(({ key }) => key === name)?.value.stringValue
  const signals = [
    { signal: 'TRACES', path: '/v1/traces', sent: sentTraces, others: sentMetrics },
    { signal: 'METRICS', path: '/v1/metrics', sent: sentMetrics, others: sentTraces },
  ] as const
  /** An export that is refused is tried again after about a second, if its time allows it. */
  const attempts = async (variables: Record<string, string>) =>
    run(variables, (response) => response.writeHead(503).end())

  const tests: Record<string, () => Promise<void>> = {
    OTEL_EXPORTER_OTLP_ENDPOINT: async () => {
      expect((await run({})).requests.map(({ path }) => path).sort()).toEqual(['/v1/metrics', '/v1/traces'])
    },
    OTEL_SDK_DISABLED: async () => {
      expect((await run({ OTEL_SDK_DISABLED: 'true' })).requests).toEqual([])
    },
    OTEL_EXPORTER_OTLP_PROTOCOL: async () => {
      const { requests } = await run({ OTEL_EXPORTER_OTLP_PROTOCOL: 'http/protobuf' })
      expect(requests.map(({ contentType }) => contentType)).toEqual(Array(2).fill('application/x-protobuf'))
    },
    OTEL_EXPORTER_OTLP_HEADERS: async () => {
      const { requests } = await run({ OTEL_EXPORTER_OTLP_HEADERS: 'x-tenant=a%20b' })
      expect(requests.map(({ headers }) => headers['x-tenant'])).toEqual(['a b', 'a b'])
    },
    OTEL_EXPORTER_OTLP_COMPRESSION: async () => {
      const collector = await run({ OTEL_EXPORTER_OTLP_COMPRESSION: 'gzip' })
      expect(collector.requests.map(({ headers }) => headers['content-encoding'])).toEqual(['gzip', 'gzip'])
      expect(spans(collector).length).toBeGreaterThan(0)
    },
    OTEL_EXPORTER_OTLP_TIMEOUT: async () => {
      const once = await attempts({ OTEL_EXPORTER_OTLP_TIMEOUT: '500' })
      expect([sentTraces(once).length, sentMetrics(once).length]).toEqual([1, 1])
      const more = await attempts({})
      expect(sentTraces(more).length).toBeGreaterThan(1)
      expect(sentMetrics(more).length).toBeGreaterThan(1)
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
      const collector = await run({ OTEL_TRACES_SAMPLER: 'always_off' })
      expect([sentTraces(collector).length, sentMetrics(collector).length]).toEqual([0, 1])
    },
    OTEL_TRACES_SAMPLER_ARG: async () => {
      const none = await run({ OTEL_TRACES_SAMPLER: 'traceidratio', OTEL_TRACES_SAMPLER_ARG: '0' })
      expect(sentTraces(none)).toEqual([])
      const all = await run({ OTEL_TRACES_SAMPLER: 'traceidratio', OTEL_TRACES_SAMPLER_ARG: '1' })
      expect(sentTraces(all)).toHaveLength(1)
    },
    TRACEPARENT: async () => {
      const traceId = '0af7651916cd43dd8448eb211c80319c'
      const collector = await run({ TRACEPARENT: `00-${traceId}-b7ad6b7169203331-01` })
      expect(new Set(spans(collector).map((span) => span.traceId))).toEqual(new Set([traceId]))
    },
  }
  for (const { signal, path, sent, others } of signals) {
    tests[`OTEL_EXPORTER_OTLP_${signal}_ENDPOINT`] = async () => {
      const { wanted, other } = await otherCollector(`OTEL_EXPORTER_OTLP_${signal}_ENDPOINT`, `/elsewhere${path}`)
      expect(wanted.map((request) => request.path)).toEqual([`/elsewhere${path}`])
      expect(other.map((request) => request.path)).toEqual(
        signals.map((each) => each.path).filter((each) => each !== path),
      )
    }
    tests[`OTEL_${signal}_EXPORTER`] = async () => {
      const none = await run({ [`OTEL_${signal}_EXPORTER`]: 'none' })
      expect([sent(none).length, others(none).length]).toEqual([0, 1])
      expect(sent(await run({ [`OTEL_${signal}_EXPORTER`]: 'otlp' }))).toHaveLength(1)
    }
    tests[`OTEL_EXPORTER_OTLP_${signal}_PROTOCOL`] = async () => {
      const collector = await run({ [`OTEL_EXPORTER_OTLP_${signal}_PROTOCOL`]: 'http/protobuf' })
      expect(sent(collector)).toMatchObject([{ contentType: 'application/x-protobuf' }])
      expect(others(collector)).toMatchObject([{ contentType: 'application/json' }])
    }
    tests[`OTEL_EXPORTER_OTLP_${signal}_HEADERS`] = async () => {
      const own = `OTEL_EXPORTER_OTLP_${signal}_HEADERS`
      const collector = await run({ OTEL_EXPORTER_OTLP_HEADERS: 'x-tenant=a', [own]: 'x-tenant=b' })
      expect([sent(collector)[0]?.headers['x-tenant'], others(collector)[0]?.headers['x-tenant']]).toEqual(['b', 'a'])
    }
    tests[`OTEL_EXPORTER_OTLP_${signal}_COMPRESSION`] = async () => {
      const collector = await run({ [`OTEL_EXPORTER_OTLP_${signal}_COMPRESSION`]: 'gzip' })
      expect(sent(collector)[0]?.headers['content-encoding']).toBe('gzip')
      expect(others(collector)[0]?.headers['content-encoding']).toBeUndefined()
    }
    tests[`OTEL_EXPORTER_OTLP_${signal}_TIMEOUT`] = async () => {
      expect(sent(await attempts({ [`OTEL_EXPORTER_OTLP_${signal}_TIMEOUT`]: '500' }))).toHaveLength(1)
    }
  }

  it('has a test', () => {
    expect(standardVariables.map(({ name }) => name).sort()).toEqual(Object.keys(tests).sort())
  })

  it.each(Object.entries(tests))('%s works', async (_name, test) => {
    await test()
  })
})

interface SentMetric {
  readonly name: string
  readonly unit: string
  readonly sum?: SentPoints & { readonly aggregationTemporality: number; readonly isMonotonic: boolean }
  readonly gauge?: SentPoints
  readonly histogram?: SentPoints & { readonly aggregationTemporality: number }
}
interface SentPoints {
  readonly dataPoints: readonly {
    readonly attributes: readonly { readonly key: string; readonly value: { readonly stringValue: string } }[]
    readonly startTimeUnixNano: string
    readonly asDouble?: number
    readonly asInt?: string
    readonly count?: number
    readonly sum?: number
    readonly bucketCounts?: readonly number[]
  }[]
}
interface MetricsRequest {
  readonly resourceMetrics: readonly {
    readonly resource: Batch['resourceSpans'][number]['resource']
    readonly scopeMetrics: readonly { readonly metrics: readonly SentMetric[] }[]
  }[]
}

/** What the newest request says: resource attributes, and series by name and attributes. */
function newest(collector: Collector) {
  const { resourceMetrics } = JSON.parse(sentMetrics(collector).at(-1)?.body ?? '') as MetricsRequest
  const [only] = resourceMetrics
  const metrics = only?.scopeMetrics.flatMap((scope) => scope.metrics) ?? []
  const series = metrics.flatMap((metric) =>
    (metric.sum ?? metric.gauge ?? metric.histogram)?.dataPoints.map((point) => {
      const labels = point.attributes.map(({ key, value }) => `${key}=${value.stringValue}`).sort()
      return [`${metric.name}{${labels.join()}}`, { metric, point }] as const
    }),
  )
  const resource = new Map(only?.resource.attributes.map(({ key, value }) => [key, value.stringValue]))
  return { resource, metrics, series: new Map(series.filter((each) => each !== undefined)) }
}

describe('metrics', () => {
  it('go on where the last process ended: totals, buckets and start times are those of the database', async () => {
    const collector = await collect()
    await battlescope([], asJson(collector))
    const first = newest(collector)
    await battlescope([], asJson(collector))
    const second = newest(collector)
    expect([...second.series.keys()].sort()).toEqual([...first.series.keys()].sort())
    const name = 'scheduler.runs{exit_code=0}'
    expect([first, second].map(({ series }) => series.get(name)?.point.asDouble)).toEqual([1, 2])
    const runs = second.series.get(name)
    expect(runs?.metric.sum).toMatchObject({ aggregationTemporality: 2, isMonotonic: true })
    expect(runs?.point.startTimeUnixNano).toBe(first.series.get(name)?.point.startTimeUnixNano)
    const duration = second.series.get('scheduler.task.duration{task=analyze}')
    expect(duration?.metric).toMatchObject({ unit: 's', histogram: { aggregationTemporality: 2 } })
    expect(duration?.point.count).toBe(2)
    const [row] = await database.query<{ counts: string[]; seconds: number }>(
      `SELECT bucket_counts::text[] AS counts, duration_ms_sum / 1000.0::float8 AS seconds
       FROM scheduler.task_total WHERE task = 'analyze' AND outcome = 'succeeded'`,
    )
    expect(duration?.point.bucketCounts?.map(String)).toEqual(row?.counts)
    expect(duration?.point.sum).toBeCloseTo(row?.seconds ?? NaN)
    expect(second.series.get('scheduler.analyze.relations_analyzed{}')?.metric.sum?.isMonotonic).toBe(true)
  })

  it('carry a resource that every process shares, and neither host nor command line', async () => {
    const collector = await collect()
    await battlescope([], asJson(collector))
    const [meta] = await database.query<{ instance_id: string }>('SELECT instance_id FROM scheduler.meta')
    const { resource } = newest(collector)
    expect(resource.get('service.instance.id')).toBe(meta?.instance_id)
    expect(resource.get('service.name')).toBe('battlescope-scheduler')
    expect([...resource.keys()].filter((key) => /^(host|process)\./.test(key))).toEqual([])
  })

  it('are not sent when the database cannot be reached: never zeros in place of a number', async () => {
    const collector = await collect()
    const { exitCode } = await battlescope([], { ...asJson(collector), DATABASE_URL: 'postgres://u:p@127.0.0.1:1/d' })
    expect(exitCode).toBe(69)
    expect(sentMetrics(collector)).toEqual([])
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
    ['exporters none', { OTEL_TRACES_EXPORTER: 'none', OTEL_METRICS_EXPORTER: 'none' }],
  ])('(%s) nothing is sent, and logs have no ids', async (name, variables) => {
    const collector = await collect()
    const { OTEL_EXPORTER_OTLP_ENDPOINT: endpoint, ...rest } = asJson(collector)
    const environment = name === 'no endpoint' ? rest : { ...rest, OTEL_EXPORTER_OTLP_ENDPOINT: endpoint, ...variables }
    const { exitCode, stdout } = await battlescope([], environment)
    expect(exitCode).toBe(0)
    expect(collector.requests).toEqual([])
    for (const line of records(stdout)) expect(line).not.toHaveProperty('trace_id')
  })

  it('a protocol that is not in this build is a warning for each signal, and the run goes on', async () => {
    const collector = await collect()
    const { exitCode, stderr } = await battlescope([], { ...asJson(collector), OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' })
    expect(exitCode).toBe(0)
    const warning = { level: 'warn', event: 'telemetry-off', hint: expect.any(String) as string }
    expect(records(stderr)).toMatchObject([warning, warning])
  })
})
