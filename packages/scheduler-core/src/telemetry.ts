import type { MetricBatch } from './metrics.js'

/** What core needs of telemetry. The program brings OpenTelemetry when it is enabled; otherwise nothing is loaded. */
export interface Telemetry {
  /** Runs `work` in a span that ends with it; a rejection marks the span as failed. */
  span<T>(
    name: string,
    attributes: Readonly<Record<string, string | number | boolean>>,
    work: (span: Span) => Promise<T>,
  ): Promise<T>
  /**
   * Sends metrics, in place of what was sent before. Never rejects; ends when they were sent, or could not be. Absent where nobody wants
   * metrics: then nothing is read for them.
   */
  readonly sendMetrics?: (batch: MetricBatch) => Promise<void>
}

/** Where a span can be found, both in hexadecimal as in W3C trace context. */
export interface SpanReference {
  readonly traceId: string
  readonly spanId: string
}

export interface Span {
  /** Undefined where no traces are made. */
  readonly reference: SpanReference | undefined
  /** W3C trace context, to be passed on. */
  readonly traceparent: string | undefined
  set(attributes: Readonly<Record<string, string | number | boolean>>): void
  /** Names a span of another trace that this one goes on from. */
  link(to: SpanReference): void
}

export const noTelemetry: Telemetry = {
  span: (_name, _attributes, work) =>
    work({ reference: undefined, traceparent: undefined, set: () => undefined, link: () => undefined }),
}
