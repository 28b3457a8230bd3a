/**
 * OpenTelemetry, behind core's interface. Evaluated only when telemetry is on.
 * NodeSDK has the traces; what it would start by itself beside them (metrics, logs, detectors, propagators) is named and turned off.
 */
import { summarizeStatement, type StatementReport } from '@battlescope/database'
import { codeOf, noTelemetry, type Span, type TaskLogger, type Telemetry } from '@battlescope/scheduler-core'
import {
  context,
  diag,
  DiagLogLevel,
  isSpanContextValid,
  ROOT_CONTEXT,
  SpanKind,
  SpanStatusCode,
  TraceFlags,
  trace,
  type Context,
  type SpanContext,
  type Span as OtelSpan,
} from '@opentelemetry/api'
import { OTLPTraceExporter as JsonTraceExporter } from '@opentelemetry/exporter-trace-otlp-http'
import { OTLPTraceExporter as ProtobufTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto'
import {
  defaultResource,
  detectResources,
  envDetector,
  resourceFromAttributes,
  type Resource,
} from '@opentelemetry/resources'
import { NodeSDK } from '@opentelemetry/sdk-node'
import { otlpMetrics } from './otlp-metrics.js'
import type { Protocol, StartedTelemetry } from './started-telemetry.js'

export interface SdkOptions {
  /** Undefined where they are off; so is the next. */
  readonly traces: Protocol | undefined
  readonly metrics: Protocol | undefined
  readonly serviceName: string
  readonly serviceVersion: string
  /** W3C trace context of whoever started this process. One that does not parse is ignored, as W3C asks for. */
  readonly traceparent: string | undefined
  readonly logger: Pick<TaskLogger, 'debug'>
  /** Takes secrets out of an attribute. */
  readonly scrub: (text: string) => string
}

/** Outcomes of a task that make its span an error. */
const failedOutcomes: readonly unknown[] = ['failed', 'timed-out', 'cancelled']

const scopeName = 'battlescope-scheduler'

export function startSdk(options: SdkOptions): StartedTelemetry {
  const { serviceName, serviceVersion, logger } = options
  const tell = (message: string) => logger.debug({ event: 'telemetry', detail: message }, 'telemetry reports')
  // NodeSDK hands its reports to the console when OTEL_LOG_LEVEL is set; stdout is not ours to give.
  diag.setLogger(
    { error: tell, warn: tell, info: tell, debug: () => undefined, verbose: () => undefined },
    { logLevel: DiagLogLevel.INFO, suppressOverrideMessage: true },
  )
  // The default detectors add process id, host name and the command line, which may hold secrets. What the environment names
  // (OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES) comes from the last one and wins.
  const resource = defaultResource()
    .merge(resourceFromAttributes({ 'service.name': serviceName, 'service.version': serviceVersion }))
    .merge(detectResources({ detectors: [envDetector] }))
  const traces = options.traces === undefined ? undefined : startTraces(options.traces, resource, options)
  const scope = { name: scopeName, version: serviceVersion }
  const metrics =
    options.metrics === undefined ? undefined : otlpMetrics({ protocol: options.metrics, resource, scope, tell })
  const sending = new Set<Promise<void>>()

  return {
    telemetry: {
      ...noTelemetry,
      ...(traces === undefined ? {} : { span: traces.span }),
      ...(metrics === undefined
        ? {}
        : {
            sendMetrics: async (batch) => {
              const sent = metrics.send(batch).finally(() => sending.delete(sent))
              sending.add(sent)
              // What is not sent by then goes on in the background, until shutdown: a run does not wait for its collector.
              await within(metricsCapMs, sent)
            },
          }),
    },
    traceFields: () => traces?.fields() ?? {},
    recordStatement: (report) => {
      traces?.recordStatement(report)
    },
    shutdown: async (capMs) => {
      const flushed = traces?.shutdown().catch((error: unknown) => {
        tell(error instanceof Error ? error.message : String(error))
      })
      await within(capMs, Promise.all([flushed, ...sending]))
      trace.disable()
      context.disable()
      diag.disable()
    },
  }
}

/** Milliseconds that a run waits for metrics to leave, where something that may hang the process comes next. */
const metricsCapMs = 1000

async function within(capMs: number, work: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const cap = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, capMs)
  })
  await Promise.race([work, cap])
  clearTimeout(timer)
}

interface Traces {
  span: Telemetry['span']
  /** Of the moment; of the run itself outside its spans, and nothing before its start. */
  fields(): ReturnType<StartedTelemetry['traceFields']>
  recordStatement(report: StatementReport): void
  shutdown(): Promise<void>
}

function startTraces(
  protocol: Protocol,
  resource: Resource,
  { serviceVersion, traceparent, scrub }: SdkOptions,
): Traces {
  const sdk = new NodeSDK({
    traceExporter: protocol === 'http/json' ? new JsonTraceExporter() : new ProtobufTraceExporter(),
    metricReaders: [],
    logRecordProcessors: [],
    instrumentations: [],
    textMapPropagator: null,
    autoDetectResources: false,
    resource,
  })
  sdk.start()
  const tracer = trace.getTracer(scopeName, serviceVersion)
  const inbound = parentContext(traceparent)
  let root: SpanContext | undefined
  return {
    span: (name, attributes, work) => {
      const active = context.active()
      const parent = trace.getSpan(active) === undefined ? inbound : active
      return tracer.startActiveSpan(name, { attributes: scrubbed(attributes, scrub) }, parent, async (span) => {
        root ??= span.spanContext()
        try {
          return await work(spanForCore(span, scrub))
        } catch (error) {
          // Never the message: it may quote what must not leave.
          span.setAttribute('error.type', scrub(codeOf(error) ?? (error instanceof Error ? error.name : typeof error)))
          span.setStatus({ code: SpanStatusCode.ERROR })
          throw error
        } finally {
          span.end()
        }
      })
    },
    fields: () => {
      const current = trace.getActiveSpan()?.spanContext() ?? root
      return current === undefined ? {} : { trace_id: current.traceId, span_id: current.spanId }
    },
    recordStatement: ({ text, durationMs, error }) => {
      const active = context.active()
      const parent =
        trace.getSpan(active) === undefined && root !== undefined ? trace.setSpanContext(active, root) : active
      // Before the run's own span there is nothing that it could be a part of.
      if (trace.getSpan(parent) === undefined) return
      const { operation, text: summary } = summarizeStatement(text)
      const endsAt = performance.now()
      const attributes = {
        'db.system.name': 'postgresql',
        'db.operation.name': operation,
        ...(summary === undefined ? {} : { 'db.query.text': scrub(summary) }),
      }
      const span = tracer.startSpan(
        operation,
        { kind: SpanKind.CLIENT, startTime: endsAt - durationMs, attributes },
        parent,
      )
      if (error !== undefined) {
        span.setAttribute('error.type', scrub(codeOf(error) ?? 'error'))
        span.setStatus({ code: SpanStatusCode.ERROR })
      }
      span.end(endsAt)
    },
    shutdown: () => sdk.shutdown(),
  }
}

function spanForCore(span: OtelSpan, scrub: SdkOptions['scrub']): Span {
  const own = span.spanContext()
  return {
    reference: { traceId: own.traceId, spanId: own.spanId },
    traceparent: formatTraceparent(own),
    set: (attributes) => {
      span.setAttributes(scrubbed(attributes, scrub))
      if (failedOutcomes.includes(attributes['scheduler.outcome'])) span.setStatus({ code: SpanStatusCode.ERROR })
    },
    // Whether that one was sampled is not known.
    link: (to) => span.addLink({ context: { ...to, traceFlags: TraceFlags.NONE, isRemote: true } }),
  }
}

type Attributes = Parameters<Span['set']>[0]

function scrubbed(
  attributes: Attributes,
  scrub: SdkOptions['scrub'],
): Record<string, string | number | boolean | undefined> {
  return Object.fromEntries(
    Object.entries(attributes).map(([name, value]) => [name, typeof value === 'string' ? scrub(value) : value]),
  )
}

// https://www.w3.org/TR/trace-context/#traceparent-header
const traceparentPattern = /^(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?$/

function parentContext(traceparent: string | undefined): Context {
  const [, traceId = '', spanId = '', flags = '0'] = traceparentPattern.exec(traceparent ?? '') ?? []
  const parent: SpanContext = { traceId, spanId, traceFlags: Number.parseInt(flags, 16) & 1, isRemote: true }
  return isSpanContextValid(parent) ? trace.setSpanContext(ROOT_CONTEXT, parent) : ROOT_CONTEXT
}

function formatTraceparent({ traceId, spanId, traceFlags }: SpanContext): string {
  return `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, '0')}`
}
